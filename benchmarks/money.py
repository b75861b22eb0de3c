"""Every recorded payload of the data, priced through each path and compared with the price that is known for it.

A row of the data is one response of a provider, with the price that each provider who could have sent it would have
asked. Only the provider who did send it sends a bill: the paths are measured on that one. `core-extractors` measures
the core on all of them, each with its provider and dialect named; `core-auto` on the bills, with nothing but the
payload to go by.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from thrift_core.accounting.reading import read_usage
from thrift_core.prices import Price, PriceBook, Unpriced

from benchmarks.records import Options, Record, percent, stem, watched

FIGURES = {
    "--part": "core, langchain(-stream), llamaindex(-stream), core-extractors, core-auto; without it, all",
    "langchain, llamaindex": "the real client of the payload's provider gets it over HTTP from a local server, in one"
    " piece or streamed as that provider streams, and the price is that of the one call in the ledger afterwards",
    "n": "payloads (core-extractors: readings of payloads by a provider)",
    "priceable": "those for which the data knows a price",
    "exact_pct": "share of these whose price of input and price of output both are equal to the data's, as decimals",
    "unpriced": "reported as having no price, with a reason, whether the data knows one or not",
    "wrong": "priced, but otherwise than the data says and than the installed price list by itself says",
    "newer": "priced as the installed price list says, where the data's older list had another price or none",
    "tiers": "the data's prices are those of the standard tier, whatever tier a payload names; no other is asked for",
    "at": "the time that prices are asked for; the data's prices are those of that time",
}

Row = Mapping[str, Any]
Priced = Price | Unpriced
PricingPath = Callable[[Row, str, str | None], Priced]

# The data's prices were made with the prices in force at some time before most of today's changes; this is such a time.
AT = datetime(2026, 1, 1, tzinfo=UTC)
# Where each path is: a function of that name in that module, made when it is needed.
PATHS = {
    "core": "benchmarks.money:core",
    "langchain": "benchmarks.money_langchain:langchain",
    "langchain-stream": "benchmarks.money_langchain:langchain_stream",
    "llamaindex": "benchmarks.money_llamaindex:llamaindex",
    "llamaindex-stream": "benchmarks.money_llamaindex:llamaindex_stream",
}
# Who served an OpenAI-shaped response is told by the name of the recording alone.
_SERVERS = (
    (re.compile(r"openrouter"), "openrouter"),
    (re.compile(r"huggingface"), "huggingface"),
    (re.compile(r"cerebras"), "cerebras"),
    (re.compile(r"ollama"), "ollama"),
    (re.compile(r"heroku"), "heroku"),
    (re.compile(r"azure"), "azure"),
    (re.compile(r"groq"), "groq"),
    (re.compile(r"(^|[/_])zai"), "zai"),
    (re.compile(r"bedrock"), "aws"),
)


@dataclass(frozen=True, slots=True)
class Expected:
    """A provider's reading of a row and the price the data knows for it, None where it knows none."""

    provider: str
    flavor: str | None
    price: tuple[Decimal, Decimal] | None


def run(options: Options) -> Iterator[Record]:
    """Yield one record for each data file and path."""
    for file in options.files("money"):
        rows = options.rows(file)
        for part in _parts(options.part):
            yield _measured(stem(file), part, list(_asked(rows, part)))


def core(row: Row, provider: str, flavor: str | None) -> Priced:
    """Price a row through the core."""
    reading = read_usage(row["body"], provider=provider, api_flavor=flavor)
    return _book().price(reading.usage, reading.model or row.get("model"), provider, at=AT)


def bill(row: Row) -> Expected:
    """Return what the provider who sent a row asks for it."""
    body = row["body"]
    reading = read_usage(body)
    readings = list(expected(row))
    provider = reading.provider
    if "prompt_tokens" in body.get("usage", {}):
        name = body.get("file", "").lower().replace("-", "_")
        provider = next((server for pattern, server in _SERVERS if pattern.search(name)), provider)
    if len({entry.provider for entry in readings}) == 1:
        provider = readings[0].provider
    own = [entry for entry in readings if entry.provider == provider]
    if provider in {None, "huggingface"}:
        # Nothing says who it was: any whose price is known will do to measure by.
        own = [entry for entry in readings if entry.price is not None and entry.provider.startswith(provider or "")]
    same = [entry for entry in own if entry.flavor == reading.api_flavor]
    return next(iter(same or own), Expected(provider or "unknown", None, None))


def expected(row: Row) -> Iterator[Expected]:
    """Yield every reading of a row that the data knows."""
    for reading in row["extracted"]:
        for entry in reading["extractors"]:
            price = None
            if "input_price" in entry:
                price = Decimal(entry["input_price"]), Decimal(entry["output_price"])
            yield Expected(entry["provider_id"], entry["api_flavor"], price)


def _parts(part: str | None) -> list[str]:
    known = [*PATHS, "core-extractors", "core-auto"]
    if part is None:
        return [name for name in known if _is_present(name)]
    if part not in known or not _is_present(part):
        raise SystemExit(f"--part {part}: there is {', '.join(name for name in known if _is_present(name))}")
    return [part]


def _is_present(name: str) -> bool:
    return name not in PATHS or importlib.util.find_spec(PATHS[name].partition(":")[0]) is not None


def _asked(rows: list[dict[str, Any]], part: str) -> Iterator[tuple[Row, Expected, PricingPath]]:
    path: PricingPath = core if part == "core-extractors" else _auto if part == "core-auto" else _path(part)
    for row in rows:
        for entry in expected(row) if part == "core-extractors" else [bill(row)]:
            yield row, entry, path


def _path(name: str) -> PricingPath:
    module, _, function = PATHS[name].partition(":")
    path: PricingPath = getattr(importlib.import_module(module), function)
    return path


def _auto(row: Row, provider: str, flavor: str | None) -> Priced:
    reading = read_usage(row["body"])
    return _book().price(reading.usage, reading.model, reading.provider, at=AT)


def _measured(data: str, part: str, asked: list[tuple[Row, Expected, PricingPath]]) -> Record:
    counts: Counter[str] = Counter()
    for row, entry, path in watched(asked, f"{data} {part}"):
        priced = path(row, entry.provider, entry.flavor)
        counts["priceable"] += entry.price is not None
        counts["unpriced"] += isinstance(priced, Unpriced)
        counts[_verdict(row, entry, priced)] += 1
    record: Record = {"benchmark": "money", "part": part, "data": data, "system": "thrift", "path": part}
    record |= {"n": len(asked), "priceable": counts["priceable"]}
    if counts["priceable"]:
        record["exact_pct"] = percent(counts["exact"], counts["priceable"])
    return record | {
        "unpriced": counts["unpriced"],
        "wrong": counts["wrong"],
        "newer": counts["newer"],
        "at": f"{AT:%Y-%m-%dT%H:%MZ}",
    }


def _verdict(row: Row, entry: Expected, priced: Priced) -> str:
    if isinstance(priced, Unpriced):
        return "unknown" if entry.price is None else "missed"
    got = priced.input_usd, priced.output_usd
    if got == entry.price:
        return "exact"
    return "newer" if got == _listed(row, entry) else "wrong"


def _listed(row: Row, entry: Expected) -> tuple[Decimal, Decimal] | None:
    """Return what the installed price list makes of a row by itself, without any of ours."""
    from genai_prices import calc_price  # noqa: PLC0415
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415

    try:
        provider = get_snapshot().find_provider(None, entry.provider, None)
        model, usage = provider.extract_usage(row["body"], api_flavor=entry.flavor or "default")
        price = calc_price(
            usage, model or row.get("model") or "", provider_id=entry.provider, genai_request_timestamp=AT
        )
    except (LookupError, ValueError):
        return None
    return price.input_price, price.output_price


@lru_cache(maxsize=1)
def _book() -> PriceBook:
    return PriceBook()
