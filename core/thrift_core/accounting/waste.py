"""Spend that a user could look into: each line a rule of its own, never a promise of a saving."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any, Unpack

from thrift_core.accounting.call import Call
from thrift_core.accounting.exact_sums import exact_sum
from thrift_core.accounting.filters import Filters, calls_where
from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.ledger_rows import CALL_COLUMNS, COUNTS, Row, call_from, moment, usage_from
from thrift_core.errors import ConfigurationError
from thrift_core.prices import Price, Unpriced

_MILLION = Decimal(1_000_000)
# A cheaper model has to be markedly cheaper to be worth a mention.
_MARKEDLY = Decimal("0.5")
_COUNT_SUMS = ", ".join(f"sum({name})" for name in COUNTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class WasteRules:
    """Where each line begins. All in tokens, but `repeat_seconds`.

    Attributes:
        long_context_tokens: input above this is long. Answers get worse and dearer long before a window is full.
        verbose_output_tokens: an answer above this, reasoning left out, is verbose.
        easy_input_tokens: a call with at most this much input can be easy.
        easy_output_tokens: a call with at most this much output can be easy.
        cacheable_tokens: input that providers would cache; 1,024 is the smallest prefix at OpenAI and Anthropic.
        repeat_seconds: how soon a repeat must come to find the cache warm; providers keep it 5 minutes at least.

    Raises:
        ConfigurationError: a value is not a whole number above 0.
    """

    long_context_tokens: int = 32_000
    verbose_output_tokens: int = 1_000
    easy_input_tokens: int = 1_000
    easy_output_tokens: int = 200
    cacheable_tokens: int = 1_024
    repeat_seconds: int = 300

    def __post_init__(self) -> None:
        for rule in fields(self):
            value = getattr(self, rule.name)
            if type(value) is not int or value < 1:
                raise ConfigurationError(f"{rule.name} must be a whole number, 1 or more; got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Waste:
    """One waste line. Lines overlap: a retried call can be long as well, so they are never added up.

    Attributes:
        name: `retries`, `long_context`, `verbose_output`, `over_large_model` or `uncached_repeats`.
        title: the name for people.
        definition: the rule in words, with its thresholds.
        calls: how many calls it concerns.
        tokens: the tokens it concerns.
        cost_usd: what those tokens cost, or for an upper bound what they cost more than they had to at best.
        unpriced_calls: calls among them that have no known price and so are not in `cost_usd`.
        is_upper_bound: the dollars are the most that could be at stake, and the true amount may be far less.
    """

    name: str
    title: str
    definition: str
    calls: int
    tokens: int
    cost_usd: Decimal
    unpriced_calls: int
    is_upper_bound: bool = False


def waste_lines(
    ledger: Ledger,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    rules: WasteRules | None = None,
    **filters: Unpack[Filters],
) -> list[Waste]:
    """Return every waste line of the calls meant, in a fixed order, those of nothing included."""
    scope = _Scope(ledger, rules or WasteRules(), *calls_where(since, until, filters))
    return [rule(scope) for rule in (_retries, _long_context, _verbose_output, _over_large_model, _uncached_repeats)]


@dataclass(frozen=True, slots=True)
class _Scope:
    ledger: Ledger
    rules: WasteRules
    condition: str
    values: list[Any]

    def calls(self, condition: str, *values: object) -> Iterator[Call]:
        where = f"{self.condition} AND {condition}"
        pages = self.ledger.store.pages("calls", "started_at", CALL_COLUMNS, where, [*self.values, *values])
        return map(call_from, pages)

    def groups(self, query: str, *values: object) -> list[Row]:
        """Return the rows of a query: `{where}` stands for the calls meant, `{counts}` for the sums of their tokens."""
        query = query.replace("{where}", self.condition).replace("{counts}", _COUNT_SUMS)
        return self.ledger.store.read(query, [*self.values, *values])


def _retries(scope: _Scope) -> Waste:
    rows = scope.groups(
        "SELECT count(*), total(input_tokens + output_tokens), coalesce(decimal_sum(cost_usd), '0'), "
        "count(*) - count(cost_usd) "
        "FROM calls WHERE {where} AND outcome IN ('error', 'retried') "
        "AND (cost_usd IS NULL OR CAST(cost_usd AS REAL) > 0)"
    )
    calls, tokens, cost, unpriced = rows[0]
    return Waste(
        name="retries",
        title="Retries",
        definition="calls that failed or were tried again, and were billed all the same",
        calls=calls,
        tokens=int(tokens),
        cost_usd=Decimal(cost),
        unpriced_calls=unpriced,
    )


def _long_context(scope: _Scope) -> Waste:
    limit = scope.rules.long_context_tokens
    return _excess(
        scope,
        scope.calls("input_tokens > ?", limit),
        excess=lambda call: (call.usage.input_tokens - limit, call.usage.input_tokens),
        share=lambda price: price.input_usd,
        name="long_context",
        title="Long context",
        definition=f"input above {limit:,} tokens: its share of the input's dollars, cached tokens at their price",
    )


def _verbose_output(scope: _Scope) -> Waste:
    limit = scope.rules.verbose_output_tokens
    return _excess(
        scope,
        scope.calls("output_tokens - reasoning_tokens > ?", limit),
        excess=lambda call: (
            call.usage.output_tokens - call.usage.reasoning_tokens - limit,
            call.usage.output_tokens,
        ),
        share=lambda price: price.output_usd,
        name="verbose_output",
        title="Verbose output",
        definition=f"answers above {limit:,} tokens, reasoning left out: the dollars of the tokens above",
    )


def _excess(
    scope: _Scope,
    calls: Iterator[Call],
    *,
    excess: Callable[[Call], tuple[int, int]],
    share: Callable[[Price], Decimal],
    name: str,
    title: str,
    definition: str,
) -> Waste:
    """Add up the dollars of the tokens that are too many, of all those that the share of the price was paid for."""
    costs: list[Decimal] = []
    count = tokens = unpriced = 0
    for call in calls:
        too_many, of = excess(call)
        count, tokens = count + 1, tokens + too_many
        paid = _paid(scope.ledger, call, share)
        if paid is None:
            unpriced += 1
        else:
            costs.append(paid * too_many / of)
    return Waste(
        name=name,
        title=title,
        definition=definition,
        calls=count,
        tokens=tokens,
        cost_usd=exact_sum(costs),
        unpriced_calls=unpriced,
    )


def _paid(ledger: Ledger, call: Call, share: Callable[[Price], Decimal]) -> Decimal | None:
    """Return a share of what the call cost, as the price book divides it."""
    if not call.cost_usd:
        return call.cost_usd
    price = ledger.prices.price(
        call.usage,
        call.model,
        call.provider,
        at=call.started_at,
        service_tier=call.service_tier,
        is_batch=call.is_batch,
    )
    if isinstance(price, Unpriced) or not price.cost_usd:
        return None
    # The ledger holds what was paid, perhaps at a user's own prices; today's price book only says how it divides.
    return call.cost_usd * share(price) / price.cost_usd


def _over_large_model(scope: _Scope) -> Waste:
    rules = scope.rules
    answering: dict[str, list[str]] = {}
    for provider, model in scope.groups(
        "SELECT DISTINCT provider, model FROM calls WHERE {where} AND provider IS NOT NULL AND output_tokens > 0"
    ):
        answering.setdefault(provider, []).append(model)
    easy = scope.groups(
        "SELECT provider, model, service_tier, is_batch, min(started_at), count(*), count(*) - count(cost_usd), "
        "decimal_sum(cost_usd), {counts} FROM calls WHERE {where} AND provider IS NOT NULL AND outcome = 'ok' "
        "AND input_tokens <= ? AND output_tokens BETWEEN 1 AND ? AND reasoning_tokens = 0 AND tool_calls IS NULL "
        "AND input_audio_tokens = 0 AND output_audio_tokens = 0 AND other IS NULL "
        "GROUP BY 1, 2, 3, 4, date(started_at / 1000000, 'unixepoch'), cost_usd IS NULL",
        rules.easy_input_tokens,
        rules.easy_output_tokens,
    )
    costs: list[Decimal] = []
    calls = tokens = unpriced = 0
    for group in easy:
        provider, model, _, _, _, count, without_price, cost, *_ = group
        others = [other for other in answering.get(provider, []) if other != model]
        if not others:
            continue
        best = None if without_price else _cheapest(scope.ledger, others, group)
        if without_price:
            unpriced += count
        elif best is not None and best <= Decimal(cost) * _MARKEDLY:
            costs.append(Decimal(cost) - best)
            calls, tokens = calls + count, tokens + usage_from(group[8:], None).total_tokens
    return Waste(
        name="over_large_model",
        title="Over-large model",
        definition=(
            f"short calls (input up to {rules.easy_input_tokens:,} tokens, output up to {rules.easy_output_tokens:,}, "
            "no tools, no reasoning) on a model when another of the same provider, used here too, costs half or less: "
            "the difference, if the cheaper one had answered as well"
        ),
        calls=calls,
        tokens=tokens,
        cost_usd=exact_sum(costs),
        unpriced_calls=unpriced,
        is_upper_bound=True,
    )


def _cheapest(ledger: Ledger, models: Sequence[str], group: Row) -> Decimal | None:
    provider, _, tier, is_batch, at, count, _, _, *counts = group
    usage = usage_from(tuple(counts), None)
    costs: list[Decimal] = []
    for model in models:
        pricing = ledger.prices.pricing(model, provider, at=moment(at), service_tier=tier, is_batch=bool(is_batch))
        if not isinstance(pricing, Unpriced):
            costs.append(pricing.cost(usage) + pricing.per_call * (count - 1))
    return min(costs, default=None)


def _uncached_repeats(scope: _Scope) -> Waste:
    rules = scope.rules
    rows = scope.groups(
        "WITH sent AS (SELECT *, lag(input_tokens) OVER one AS tokens_before, lag(started_at) OVER one AS sent_before "
        "FROM calls WHERE {where} AND outcome <> 'cache_hit' "
        "WINDOW one AS (PARTITION BY feature, model, provider ORDER BY started_at, seq)) "
        "SELECT provider, model, service_tier, is_batch, min(started_at), count(*), count(*) - count(cost_usd), "
        "decimal_sum(cost_usd), sum(min(input_tokens, tokens_before)) FROM sent "
        "WHERE cache_read_tokens = 0 AND cache_write_tokens = 0 AND min(input_tokens, tokens_before) >= ? "
        "AND started_at - sent_before <= ? "
        "GROUP BY 1, 2, 3, 4, date(started_at / 1000000, 'unixepoch'), cost_usd IS NULL",
        rules.cacheable_tokens,
        rules.repeat_seconds * 1_000_000,
    )
    costs: list[Decimal] = []
    calls = tokens = unpriced = 0
    for provider, model, tier, is_batch, at, count, without_price, cost, repeated in rows:
        pricing = scope.ledger.prices.pricing(
            model,
            provider,
            at=moment(at),
            service_tier=tier,
            is_batch=bool(is_batch),
            input_tokens=repeated // count,
        )
        if without_price or isinstance(pricing, Unpriced):
            calls, tokens, unpriced = calls + count, tokens + repeated, unpriced + count
        elif pricing.has_cache_discount:
            calls, tokens = calls + count, tokens + repeated
            costs.append(min(Decimal(cost), repeated * (pricing.input - pricing.cache_read) / _MILLION))
    return Waste(
        name="uncached_repeats",
        title="Uncached repeats",
        definition=(
            f"calls that send {rules.cacheable_tokens:,} tokens or more within {rules.repeat_seconds:,} seconds of "
            "another call of the same feature and model, and use no prompt cache: the cache's discount, if all of the "
            "shorter of the two inputs was a common beginning"
        ),
        calls=calls,
        tokens=tokens,
        cost_usd=exact_sum(costs),
        unpriced_calls=unpriced,
        is_upper_bound=True,
    )
