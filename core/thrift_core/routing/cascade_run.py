"""One request on its way through the tiers: what both adapters do around their calls, without making any."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Generic, TypeVar, cast

from thrift_core.accounting.attribution import attribute, current_attribution
from thrift_core.accounting.call import Outcome, Saving
from thrift_core.accounting.recorded import Recorded
from thrift_core.accounting.usage import Usage
from thrift_core.errors import CascadeExhausted
from thrift_core.messages import Request
from thrift_core.routing.decision import Decision
from thrift_core.routing.draft import Draft
from thrift_core.routing.error_kinds import failure_of
from thrift_core.routing.router import CascadeRouter

logger = logging.getLogger("thrift")
A = TypeVar("A")
# Above what any settings allow; a router that goes round in circles must not go on spending.
_MOST_CALLS_PER_TIER = 6


@dataclass(frozen=True, slots=True)
class Asked(Generic[A]):
    """A tier that was asked.

    Attributes:
        index: its place in the cascade.
        answer: what it answered, in the framework's own form; None if it failed.
        draft: the answer as the router sees it; None if it failed.
        calls: what ledgers recorded of it.
    """

    index: int
    answer: A | None
    draft: Draft | None
    calls: Sequence[Recorded] = ()


class CascadeRun(Generic[A]):
    """Follows one request from the first tier to the answer.

    Ask the tier of `decision`, tell `answered` or `failed`, and so on until `is_over`; then `answer` is the answer, and
    `finish` puts everything into the ledger: what was saved, and how each call ended.

    Args:
        router: decides.
        request: what is about to be sent.
        thread: a key of the conversation.
        side_effects: names of tools that act on the world.
    """

    def __init__(
        self, router: CascadeRouter, request: Request, *, thread: str | None = None, side_effects: Collection[str] = ()
    ) -> None:
        self.router = router
        self.decision: Decision = router.start(request, thread=thread, side_effects=side_effects)
        self._attribution = current_attribution()
        self._asked: list[Asked[A]] = []
        self._accepted: Asked[A] | None = None
        self._is_booked = False
        # Calls that nobody waits for any more end in threads of their own.
        self._lock = threading.Lock()

    @property
    def is_over(self) -> bool:
        """Whether there is an answer."""
        return self._accepted is not None

    @property
    def accepted(self) -> Asked[A]:
        """The tier that answered, with its answer.

        Raises:
            RuntimeError: there is no answer yet.
        """
        if self._accepted is None:
            raise RuntimeError("the cascade is not over")
        return self._accepted

    @property
    def answer(self) -> A:
        """The answer; raises as `accepted` does."""
        return cast("A", self.accepted.answer)

    @property
    def hedge(self) -> int | None:
        """The tier that may be asked at the same time, in case the one that is asked is slow: the strongest."""
        last = len(self.router.tiers) - 1
        has_failed = any(attempt.index == last for attempt in self.decision.tried)
        return None if self.decision.index == last or has_failed else last

    def answered(self, asked: Asked[A], *, is_streamed: bool = False) -> None:
        """Take in an answer: it is accepted, or another tier is to be asked.

        Args:
            asked: who answered what. A tier other than that of `decision` was a hedge that came first.
            is_streamed: some of its text was passed on already.

        Raises:
            CascadeExhausted: it cannot be used, and nobody is left to ask.
        """
        decision = self.decision
        if asked.draft is None:
            raise ValueError("an answer without a draft cannot be judged")
        if asked.index != decision.index:
            tier = self.router.tiers[asked.index]
            decision = replace(
                decision, tier=tier, index=asked.index, is_committed=True, reason="hedged: it answered first"
            )
        self._note(asked)
        self._follow(self.router.judge(decision, asked.draft, is_streamed=is_streamed), None)

    def failed(self, asked: Asked[A], error: BaseException, *, is_streamed: bool = False) -> None:
        """Take in an error: another tier is to be asked, or an earlier draft answers.

        Args:
            asked: who failed.
            error: how.
            is_streamed: some of its text was passed on already, so nobody else can answer.

        Raises:
            BaseException: the error itself, where no other tier can help or none is left.
        """
        failure = failure_of(error)
        self._note(asked)
        if failure is None:
            self.close()
            raise error
        decision = self.router.fail(self.decision, failure.kind, failure.retry_after)
        if is_streamed:
            error.add_note(f"{self.decision.tier.name} failed in the middle of its answer, which was streamed already")
            self.decision = decision
            self.close()
            raise error
        logger.debug("tier %s failed: %s", self.decision.tier.name, type(error).__name__)
        self._follow(decision, error)

    def late(self, asked: Asked[A]) -> None:
        """Take in an answer that nobody waits for any more: a hedge that lost, or one that timed out. Never raises."""
        self._amend(asked.calls, "rejected")
        with self._lock:
            is_booked = self._is_booked
            if not is_booked:
                self._asked.append(asked)
        if is_booked:
            self._book_late(asked)

    def finish(self) -> None:
        """Put into the ledger what the request saved and how each call ended, once. Never raises."""
        with self._lock:
            if self._is_booked:
                return
            self._is_booked = True
        accepted = self.accepted
        usages = [(asked.index, usage) for asked in self._asked for usage in self._usages(asked)]
        calls = self._ours(accepted.calls)
        call_id = calls[-1].call.id if calls else None
        whom = self._attribution
        with attribute(whom.feature, whom.user, tenant=whom.tenant, task=whom.task, run=whom.run):
            self.router.finish(self.decision, usages, call_id=call_id)
        self.close()

    def close(self) -> None:
        """Say in the ledger how each call ended, where no answer came out of it. Never raises."""
        with self._lock:
            self._is_booked = True
        for place, asked in enumerate(self._asked):
            if asked is self._accepted:
                continue
            others = self._asked[place + 1 :]
            if asked.draft is None:
                self._amend(asked.calls, "retried" if others else "error")
            else:
                is_passed_on = any(other.index > asked.index for other in others)
                self._amend(asked.calls, "escalated" if is_passed_on else "rejected")

    def as_metadata(self) -> dict[str, Any]:
        """Return the decision as JSON, with the signals that say anything, and what each call used."""
        facts = self.decision.as_metadata()
        signals = {name: value for name, value in facts["signals"].items() if value}
        calls = [call for asked in self._asked for call in self._told(asked)]
        return {**facts, "signals": signals, "calls": calls}

    def _told(self, asked: Asked[A]) -> list[dict[str, Any]]:
        tier = self.router.tiers[asked.index].name
        costs = [recorded.call.cost_usd for recorded in self._ours(asked.calls)] or [None]
        usages = self._usages(asked) or [Usage()]
        if len(costs) != len(usages):
            costs = [None] * len(usages)
        return [
            {
                "tier": tier,
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
                "cost_usd": None if cost is None else str(cost),
            }
            for usage, cost in zip(usages, costs, strict=True)
        ]

    def _note(self, asked: Asked[A]) -> None:
        self._asked.append(asked)
        if len(self._asked) > _MOST_CALLS_PER_TIER * len(self.router.tiers):
            raise CascadeExhausted(f"{len(self._asked)} calls were made for one answer, and none would do")

    def _follow(self, decision: Decision, error: BaseException | None) -> None:
        self.decision = decision
        if decision.is_exhausted:
            self.close()
            if error is not None:
                error.add_note(f"no tier answered: {_tries(decision)}")
                raise error
            raise CascadeExhausted(f"no answer that can be used ({decision.reason}); {_tries(decision)}")
        if decision.accepted:
            drafts = [asked for asked in self._asked if asked.draft is not None and asked.draft is decision.draft]
            own = [asked for asked in self._asked if asked.draft is not None and asked.index == decision.index]
            self._accepted = (drafts or own)[-1]

    def _usages(self, asked: Asked[A]) -> list[Usage]:
        """Return what asking a tier used: what the ledger has, else what the answer says."""
        recorded = [recorded.call.usage for recorded in self._ours(asked.calls) if recorded.call.outcome != "cache_hit"]
        if recorded or asked.draft is None or asked.draft.usage is None:
            return recorded
        return [asked.draft.usage]

    def _ours(self, calls: Sequence[Recorded]) -> list[Recorded]:
        """Return the calls as one ledger has them, the router's if it is among those that recorded them."""
        ledgers = [recorded.ledger for recorded in calls]
        if not ledgers:
            return []
        chosen = next((ledger for ledger in ledgers if ledger is self.router.ledger), ledgers[0])
        # Two meters over one ledger tell of a call twice; it is kept once, by its id.
        return list({recorded.call.id: recorded for recorded in calls if recorded.ledger is chosen}.values())

    def _book_late(self, asked: Asked[A]) -> None:
        ledger = self.router.ledger
        if ledger is None:
            return
        try:
            for recorded in self._ours(asked.calls):
                cost = recorded.call.cost_usd
                ledger.book(
                    Saving(
                        lever="router",
                        tokens=-recorded.call.usage.total_tokens,
                        cost_usd=None if cost is None else Decimal(0) - cost,
                        attribution=self._attribution,
                        call_id=recorded.call.id,
                    )
                )
        except Exception as error:  # a line in the books is not worth an answer
            ledger.count_fault("router", f"late: {type(error).__name__}")

    def _amend(self, calls: Sequence[Recorded], outcome: Outcome) -> None:
        for recorded in calls:
            if recorded.call.outcome == "cache_hit" or (recorded.call.outcome == "error" and outcome != "retried"):
                continue
            try:
                recorded.ledger.amend(recorded.call.id, outcome)
            except Exception as error:  # a label is not worth an answer
                recorded.ledger.count_fault("router", f"amend: {type(error).__name__}")


def _tries(decision: Decision) -> str:
    tried = "; ".join(f"{attempt.tier} {attempt.outcome} ({attempt.reason})" for attempt in decision.tried)
    return tried or decision.reason
