"""`thrift audit`: what could be saved, before anything is changed."""

from __future__ import annotations

import argparse
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thrift_core.commands.subparsers import Subparsers
from thrift_core.errors import ConfigurationError
from thrift_core.prices import PriceBook, Unpriced
from thrift_core.token_counters import default_counter

if TYPE_CHECKING:
    from thrift_core.audit.prompt_lint import PromptLint

_CALLS = 1000
_MILLION = Decimal(1_000_000)


def add(commands: Subparsers) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "audit", help="dead weight in system prompts and tool definitions", description=run.__doc__
    )
    parser.add_argument(
        "--prompts",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="system prompts as text, tools as JSON, or a whole request as JSON",
    )
    parser.add_argument("--model", default="gpt-5-mini", help="whose prices and tokens to use (default: %(default)s)")
    parser.add_argument("--provider", help="who serves it, where its name does not say")
    parser.add_argument("--json", metavar="FILE", help="write the findings as JSON; - writes them here")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Point at text that every call pays for and few need, in tokens and dollars per 1,000 calls; nothing changes."""
    if not arguments.prompts:
        raise ConfigurationError("give --prompts FILE..., the files with what is sent with every call")
    from thrift_core.audit.prompt_files import read_prompts  # noqa: PLC0415 - only this command needs it
    from thrift_core.audit.prompt_lint import lint_prompts  # noqa: PLC0415

    lint = lint_prompts(read_prompts(arguments.prompts), default_counter(arguments.model).count)
    price = _price(arguments.model, arguments.provider)
    if arguments.json:
        _write_json(arguments.json, lint, price)
    if arguments.json != "-":
        _print(lint, price, arguments.model)
    return 0


def _price(model: str, provider: str | None) -> tuple[Decimal, Decimal] | None:
    """Return what a token costs, fresh and from the prompt cache, in dollars; None where that is not known."""
    pricing = PriceBook().pricing(model, provider)
    if isinstance(pricing, Unpriced):
        sys.stderr.write(f"no price: {pricing.reason}\n")
        return None
    return pricing.input / _MILLION, min(pricing.cache_read, pricing.input) / _MILLION


def _cost(tokens: int, price: tuple[Decimal, Decimal] | None, kind: str) -> str:
    """Return dollars per 1,000 calls, from the cache and fresh; volatile text costs the difference."""
    if price is None:
        return "?"
    fresh, cached = (_CALLS * tokens * rate for rate in price)
    return f"${fresh - cached:,.2f}" if kind == "volatile text" else f"${cached:,.2f} to ${fresh:,.2f}"


def _print(lint: PromptLint, price: tuple[Decimal, Decimal] | None, model: str) -> None:
    from rich.console import Console  # noqa: PLC0415 - slow to import
    from rich.markup import escape  # noqa: PLC0415

    console = Console(highlight=False)
    total = lint.prompt_tokens + lint.tool_tokens
    console.print(
        f"Every call sends {total:,} tokens: {lint.prompt_tokens:,} of system prompt, {lint.tool_tokens:,} of tools."
        f" 1,000 calls of {model}: {_cost(total, price, '')} (read from the prompt cache, or fresh)."
    )
    if not lint.findings:
        console.print("Nothing to suggest.")
        return
    for found in lint.findings:
        cost = _cost(found.tokens, price, found.kind)
        console.print(
            f"\n[bold]{found.kind}[/bold] {escape(found.where)}: {found.tokens:,} tokens, {cost}", soft_wrap=True
        )
        console.print(f"  {escape(found.text)}\n  {escape(found.advice)}", soft_wrap=True)
    console.print(
        "\nDollars are per 1,000 calls. Suggestions overlap; each is yours to judge: measure answers before and after."
    )


def _write_json(file: str, lint: PromptLint, price: tuple[Decimal, Decimal] | None) -> None:
    rows: list[dict[str, Any]] = []
    for found in lint.findings:
        fresh, cached = (None, None) if price is None else (str(_CALLS * found.tokens * rate) for rate in price)
        rows.append(
            {
                "kind": found.kind,
                "where": found.where,
                "text": found.text,
                "advice": found.advice,
                "tokens": found.tokens,
                "usd_per_1000_calls": fresh,
                "usd_per_1000_calls_cached": cached,
            }
        )
    whole = {"prompt_tokens": lint.prompt_tokens, "tool_tokens": lint.tool_tokens, "findings": rows}
    text = json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
    if file == "-":
        sys.stdout.write(text)
    else:
        Path(file).write_text(text, encoding="utf-8")
