"""The arithmetic of one decision: what to write to the cache, and for how long.

Costs are in uncached input tokens. The call at hand is known; of what follows, two things are estimated: the chance
that the conversation goes on soon or late, and how many further conversations will share the tools and the system
prompt. The next call is reckoned with as one that does what pays in the long run with whatever it does not find cached.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from thrift_core.caching.provider_rules import LifetimeName

# However surely a conversation goes on, not more than about fifty further calls are reckoned with.
_MOST_CERTAIN = 0.98


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePrices:
    """Prices as multiples of the uncached input price.

    Attributes:
        read: of a token read.
        write: of a token written, by lifetime, the shortest first; only lifetimes the provider offers.
    """

    read: float
    write: dict[LifetimeName, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known when a request is about to be sent. Lengths in tokens from the start of the request.

    Attributes:
        hit: the longest cached prefix.
        lasting_hit: the longest one that lives for the longest lifetime.
        tools: the end of the tools, 0 where no marker can stand there.
        shared: the end of the system prompt, 0 where no marker can stand there.
        tail: the end of the last message that the next request is expected to keep, 0 where none can be marked.
        total: the whole request.
        soon: the chance that the conversation goes on within the shortest lifetime.
        late: the chance that it goes on after that, within the longest.
        shared_uses: further conversations that a write of `shared` serves, with the shortest and the longest lifetime.
        tools_uses: the same for `tools`.
    """

    hit: int
    lasting_hit: int
    tools: int
    shared: int
    tail: int
    total: int
    soon: float
    late: float
    shared_uses: tuple[float, float]
    tools_uses: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Choice:
    """What to write: a lifetime per place, None for no marker.

    Attributes:
        tools: the tools alone.
        shared: tools and system prompt.
        tail: everything up to the last message that stays.
        expected_cost: of this call and the next, in uncached input tokens.
    """

    tools: LifetimeName | None = None
    shared: LifetimeName | None = None
    tail: LifetimeName | None = None
    expected_cost: float = 0.0

    @property
    def markers(self) -> int:
        """How many places are marked."""
        return sum(ttl is not None for ttl in (self.tools, self.shared, self.tail))


def choose(situation: Situation, prices: CachePrices) -> Choice:
    """Return the cheapest choice; of equally cheap ones that with the fewest markers and the shortest lives."""
    best: Choice | None = None
    best_rank = (0.0, 0, 0.0)
    for tools, shared, tail in _options(situation, prices):
        cost = expected_cost(situation, prices, tools=tools, shared=shared, tail=tail)
        choice = Choice(tools, shared, tail, cost)
        rank = (round(cost, 6), choice.markers, float([tools, shared, tail].count("1h")))
        if best is None or rank < best_rank:
            best, best_rank = choice, rank
    assert best is not None  # noqa: S101 - the choice of no marker is always among the options
    return best


def expected_cost(
    situation: Situation,
    prices: CachePrices,
    *,
    tools: LifetimeName | None,
    shared: LifetimeName | None,
    tail: LifetimeName | None,
) -> float:
    """Return what this call and the next are expected to cost, less what further conversations are saved."""
    at = situation
    done = at.hit
    cost = prices.read * done
    places: tuple[tuple[int, LifetimeName | None], ...] = ((at.tools, tools), (at.shared, shared), (at.tail, tail))
    for end, ttl in places:
        if ttl is not None and end > done:
            cost += prices.write[ttl] * (end - done)
            done = end
    cost += at.total - done
    return cost + _next_call(at, prices, shared, tail) - _further(at, prices, tools, shared)


def steady_price(soon: float, late: float, prices: CachePrices) -> float:
    """Return what a token that is not cached costs in a conversation that does in every call what pays in the long run.

    Of never writing, and of always writing with one of the lifetimes, the cheapest over all calls to come is taken.
    With `q` the chance of a further call, per token: `1 / (1 - q)`, or
    `write + (hits * read + misses * write) / (1 - q)`.
    """
    goes_on = min(soon + late, _MOST_CERTAIN)
    best_price, best_total = 1.0, 1.0 / (1.0 - goes_on)
    for n, price in enumerate(prices.write.values()):
        missed = late if n == 0 and len(prices.write) > 1 else 0.0
        total = price + ((goes_on - missed) * prices.read + missed * price) / (1.0 - goes_on)
        if total < best_total:
            best_price, best_total = price, total
    return best_price


def _next_call(at: Situation, prices: CachePrices, shared: LifetimeName | None, tail: LifetimeName | None) -> float:
    miss = steady_price(at.soon, at.late, prices)
    reach = max(at.tail, at.hit)
    soon = max(at.hit, at.shared if shared else 0, at.tail if tail else 0)
    late = max(at.lasting_hit, at.shared if shared == "1h" else 0, at.tail if tail == "1h" else 0)
    return at.soon * (prices.read * soon + miss * (reach - soon)) + at.late * (
        prices.read * late + miss * (reach - late)
    )


def _further(at: Situation, prices: CachePrices, tools: LifetimeName | None, shared: LifetimeName | None) -> float:
    miss = next(iter(prices.write.values()))
    gain = 0.0
    for end, ttl, uses in ((at.tools, tools, at.tools_uses), (at.shared, shared, at.shared_uses)):
        if ttl is not None and end > at.hit:
            gain += uses[1 if ttl == "1h" else 0] * (miss - prices.read) * end
    return gain


def _options(
    at: Situation, prices: CachePrices
) -> Iterator[tuple[LifetimeName | None, LifetimeName | None, LifetimeName | None]]:
    lives: tuple[LifetimeName | None, ...] = (None, *prices.write)
    for tail in lives if at.tail > at.hit else (None,):
        for shared in lives if at.shared > at.hit else (None,):
            for tools in lives if at.tools > at.hit else (None,):
                # A longer life may not stand behind a shorter one.
                given = [ttl for ttl in (tools, shared, tail) if ttl is not None]
                if given == sorted(given, key=lambda ttl: ttl != "1h"):
                    yield tools, shared, tail
