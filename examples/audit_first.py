"""What could be saved, before anything is changed: dead weight in prompts and tools, and what a limit would have done.

`thrift audit --prompts` reads what is sent with every call and says what each suggestion is worth. A ledger of past
calls then says where the money went, and `thrift budget try` what a limit would have stopped. Nothing is sent anywhere.

    python examples/audit_first.py
"""

from __future__ import annotations

import contextlib
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

from thrift_core import Attribution, Call, Ledger, Usage
from thrift_core.cli import main as thrift

PROMPT = """Today is 2026-11-20 09:14. You help the customers of a bicycle shop.
Never promise a delivery date to a customer.
Example: Where is my bike? -> Let me look that up for you.
Example: Can I pay later? -> Yes, by invoice, within 14 days.
Example: Do you repair? -> Yes, in every branch, without an appointment.
You must never promise a delivery date to a customer.
"""
TOOLS = [
    {
        "name": name,
        "description": "Use this tool whenever the customer asks for it. Be careful with customer data at all times.",
        "parameters": {"type": "object", "title": name, "properties": {"order": {"title": "Order", "type": "string"}}},
    }
    for name in ("find_order", "cancel_order", "invoice_of_order")
]


def trace(path: Path) -> None:
    """Write a day's calls to a ledger, as the adapters do: most of the money went to one user."""
    start = datetime(2026, 11, 19, 8, tzinfo=UTC)
    with Ledger(path) as ledger:
        for number in range(120):
            user = "ann" if number % 3 else "a script"
            usage = Usage(input_tokens=9000 if user == "a script" else 1500, output_tokens=200)
            about = Attribution(feature="support", user=user)
            at = start + timedelta(minutes=number)
            ledger.record(Call(model="gpt-5-mini", provider="openai", usage=usage, attribution=about, started_at=at))


def main() -> None:
    """Audit the prompts, then the trace."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "system.md").write_text(PROMPT, encoding="utf-8")
        (folder / "tools.json").write_text(json.dumps(TOOLS), encoding="utf-8")
        files = [str(folder / "system.md"), str(folder / "tools.json")]
        thrift(["audit", "--model", "gpt-5-mini", "--prompts", *files])

        ledger = folder / "thrift.sqlite"
        trace(ledger)
        thrift(["report", str(ledger)])
        thrift(["budget", "try", str(ledger), "--usd", "0.05", "--per", "user", "--window", "day"])

        # The same findings for a program, such as a check of pull requests.
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            thrift(["audit", "--json", "-", "--prompts", *files])
        findings = json.loads(shown.getvalue())["findings"]
        volatile = next(found for found in findings if found["kind"] == "volatile text")
        lost = Decimal(volatile["usd_per_1000_calls"]) - Decimal(volatile["usd_per_1000_calls_cached"])
        print(f"\n{volatile['where']} makes 1,000 calls cost ${lost:.4f} more: {volatile['advice']}")


if __name__ == "__main__":
    main()
