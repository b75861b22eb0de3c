"""The cascade router: which tier to ask, whether its answer will do, where to go if it fails."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from thrift_core.accounting.attribution import current_attribution
from thrift_core.accounting.call import Saving
from thrift_core.accounting.usage import Usage
from thrift_core.errors import ConfigurationError
from thrift_core.messages import Request
from thrift_core.prices import PriceBook
from thrift_core.routing.agent_signs import failed_results, repeated_calls
from thrift_core.routing.decision import Attempt, Decision, ErrorKind, Outcome
from thrift_core.routing.draft import Draft
from thrift_core.routing.draft_checks import DraftProblem, draft_problem
from thrift_core.routing.drift import DriftReport, DriftWatch
from thrift_core.routing.outages import Outages
from thrift_core.routing.policy import Estimate, Policy
from thrift_core.routing.request_fit import misfits, rough_tokens
from thrift_core.routing.rules import Rules
from thrift_core.routing.settings import RouterSettings
from thrift_core.routing.settlement import settle
from thrift_core.routing.threads import Pin, Threads, call_usd, saving_of_move
from thrift_core.routing.tier import Tier, check_order, levels, pricings

if TYPE_CHECKING:
    from thrift_core.accounting.ledger import Ledger
    from thrift_core.calibration.certificate import Certificate

logger = logging.getLogger("thrift")
_RESTING_KINDS = frozenset({"rate_limit", "outage", "timeout"})
_USUAL_OUTPUT_TOKENS = 400


class CascadeRouter:
    """Asks the cheapest tier that is expected to do, and a stronger one where its answer is not expected to be right.

    It decides and never calls a model: an adapter asks the tier that a decision names, hands the answer to `judge` or
    the error to `fail`, and follows the decision that comes back, until one is accepted or exhausted. `finish` books
    what it saved. None of `start`, `judge`, `fail` and `finish` ever raises: where the router itself fails, the
    strongest tier is asked and its answer accepted, as without it.

    Without a policy it goes by careful rules, uncalibrated, and says so once: `calibrate_router` makes a policy from
    50 to 250 labelled examples of your own.

    Example:
        >>> from thrift_core.messages import Message
        >>> router = CascadeRouter([Tier("small", "gpt-4.1-nano"), Tier("large", "gpt-4.1")])
        >>> decision = router.start(Request((Message("user", "Translate 'bread' into French"),)))
        >>> decision.tier.name, decision.accepted
        ('small', False)
        >>> router.judge(decision, Draft("Pain.")).accepted
        True
        >>> router.judge(decision, Draft("I'm not sure, perhaps 'pain'.")).tier.name
        'large'

    Args:
        tiers: the models, cheapest first.
        policy: a trained policy, the certificate that holds one, or the path of its file; None: rules.
        settings: what else can be set.
        ledger: where savings and faults are booked, and whose price book is used.
        on_decision: called with each decision, for logs and tests; what it raises is counted and ignored.

    Raises:
        ConfigurationError: tiers are missing, named twice or not cheapest first; the policy is for other tiers.
    """

    def __init__(
        self,
        tiers: Sequence[Tier],
        *,
        policy: Policy | Certificate | str | Path | None = None,
        settings: RouterSettings | None = None,
        ledger: Ledger | None = None,
        on_decision: Callable[[Decision], object] | None = None,
    ) -> None:
        self.tiers = tuple(tiers)
        self.settings = settings or RouterSettings()
        self.ledger = ledger
        self._levels = levels(self.tiers)
        self._pricings = pricings(self.tiers, ledger.prices if ledger is not None else PriceBook())
        check_order(self.tiers, self._pricings, self._levels)
        self._policy, self.certificate = _policy(policy, self.tiers)
        # Naming a policy reads all its weights: once is enough.
        self._policy_name = self.certificate.name if self.certificate is not None else self._policy.version
        self._threads = Threads(max_threads=self.settings.max_threads, cache_seconds=self.settings.cache_seconds)
        self._outages = Outages()
        self._watch = _watch(self.certificate)
        self._on_decision = on_decision
        self._output_tokens: dict[int, float] = {}
        self._audits = random.Random()  # noqa: S311 - which answers are audited is no secret
        self._warned: set[str] = set()
        if policy is None and len(self.tiers) > 1:
            logger.info(
                "the cascade routes by uncalibrated rules: short simple requests go to %s, the rest to %s; "
                "`thrift calibrate router` makes a policy from labelled examples",
                self.tiers[0].name,
                self.tiers[-1].name,
            )

    @property
    def policy_name(self) -> str:
        """Names the policy and its certificate."""
        return self._policy_name

    def start(self, request: Request, *, thread: str | None = None, side_effects: Collection[str] = ()) -> Decision:
        """Return which tier to ask first. Never raises.

        Args:
            request: what is about to be sent.
            thread: a key of the conversation, which then stays with its tier; None: each request by itself.
            side_effects: names of tools that act on the world; their calls need more confidence.
        """
        blank = self._blank(request, thread, side_effects)
        return self._guarded("start", blank, lambda: self._start(blank))

    def judge(self, decision: Decision, draft: Draft, *, is_streamed: bool = False) -> Decision:
        """Return the decision that accepts a draft, or that names the next tier to ask. Never raises.

        Args:
            decision: the decision whose tier has answered.
            draft: the answer.
            is_streamed: some of its text has been passed on already and cannot be taken back.
        """
        fallback = replace(decision, accepted=True, draft=draft, reason="accepted unjudged: the router failed")
        return self._guarded("judge", fallback, lambda: self._judge(decision, draft, is_streamed=is_streamed))

    def fail(self, decision: Decision, error_kind: ErrorKind, retry_after: float | None = None) -> Decision:
        """Return where to go after a tier failed to answer: an equal, a stronger, a rejected draft, a weaker one.

        Args:
            decision: the decision whose tier has failed.
            error_kind: how; a rate limit, an outage and a timeout let the tier rest for other requests, too.
            retry_after: for how many seconds, where the provider says so.
        """
        lost = replace(decision, is_exhausted=True, accepted=False, reason=f"{error_kind}, and the router failed")
        return self._guarded("fail", lost, lambda: self._fail(decision, error_kind, retry_after))

    def finish(
        self,
        decision: Decision,
        usages: Iterable[tuple[int, Usage]] = (),
        *,
        extra_usd: Decimal = Decimal(0),
        call_id: str | None = None,
    ) -> Saving | None:
        """Book what the request saved against always asking the strongest tier, and pin the thread. Never raises.

        Args:
            decision: the accepted decision.
            usages: what each call used, by the tier's place: drafts, retries and hedges included. Empty: what the
                drafts say.
            extra_usd: whatever else it cost: judges, samples, embeddings.
            call_id: the ledger's id of the call that answered.
        """
        try:
            return self._finish(decision, list(usages), extra_usd, call_id)
        except Exception as error:
            self._note("finish", error)
            return None

    def audit(self, decision: Decision, loss: float) -> DriftReport:
        """Take in how an audited answer compared with the strongest tier's, and return how the watch stands.

        Args:
            decision: the decision of the answer that was compared.
            loss: quality of the strongest tier's answer less that of the accepted one, -1 to 1.
        """
        self._watch.add_audit(loss)
        report = self._watch.report()
        if report.is_broken and "drift" not in self._warned:
            self._warned.add("drift")
            logger.warning(
                "the cascade loses more than was certified (at least %.1f points): it asks %s from now on; calibrate "
                "again",
                100 * report.loss_at_least,
                self.tiers[-1].name,
            )
        return report

    @property
    def drift(self) -> DriftReport:
        """How what was seen since compares with calibration."""
        return self._watch.report()

    def forget(self, thread: str) -> None:
        """Forget a thread that has ended."""
        self._threads.forget(thread)

    def _guarded(self, step: str, fallback: Decision, work: Callable[[], Decision]) -> Decision:
        try:
            decision = work()
        except Exception as error:  # whatever goes wrong here, the app gets its answer
            self._note(step, error)
            decision = fallback
        if self._on_decision is not None:
            try:
                self._on_decision(decision)
            except Exception as error:
                self._note("on_decision", error)
        return decision

    def _note(self, step: str, error: Exception) -> None:
        reason = f"{step}: {type(error).__name__}"
        if self.ledger is not None:
            self.ledger.count_fault("router", reason)
        if reason not in self._warned:
            self._warned.add(reason)
            logger.warning("thrift's router failed, the strongest tier answers: %s: %s", reason, error)

    def _blank(self, request: Request, thread: str | None, side_effects: Collection[str]) -> Decision:
        return Decision(
            tier=self.tiers[-1],
            index=len(self.tiers) - 1,
            reason="the router failed",
            request=request,
            is_committed=True,
            policy=self.policy_name,
            thread=thread if self.settings.pin_threads else None,
            side_effects=frozenset(side_effects),
        )

    def _start(self, blank: Decision) -> Decision:
        request = blank.request
        usable, unfit = self._usable(request)
        if self._watch.report().is_broken:
            return self._ask(blank, usable[-1], "shut: it loses more than was certified")
        pin = self._threads.get(blank.thread)
        if stuck := self._stuck(request, pin):
            above = [i for i in usable if pin is not None and self._levels[i] > self._levels[pin.index]]
            return self._ask(blank, (above or usable)[0 if above else -1], stuck, is_stuck=True)
        if pin is not None and pin.index in usable and self._stays(pin, request):
            return self._ask(blank, pin.index, "the agent stays with the tier that got it unstuck", is_stuck=True)
        return self._choose(blank, usable, pin, unfit)

    def _usable(self, request: Request) -> tuple[list[int], str]:
        """Return the tiers that can take the request, those that rest left out where others remain, and what cannot."""
        unfit = misfits(request, self.tiers)
        able = [i for i in range(len(self.tiers)) if i not in unfit] or [self._roomiest()]
        resting = self._outages.resting()
        awake = [i for i in able if i not in resting]
        return awake or able, "; ".join(unfit.values())

    def _roomiest(self) -> int:
        limits = [float("inf") if tier.context_limit is None else tier.context_limit for tier in self.tiers]
        return max(range(len(limits)), key=lambda i: (limits[i], i))

    def _stuck(self, request: Request, pin: Pin | None) -> str | None:
        messages = request.messages[pin.messages if pin is not None and pin.is_stuck else 0 :]
        if (times := repeated_calls(messages)) >= self.settings.stall_repeats:
            return f"stalled: the same tool call {times} times in a row"
        if (failed := failed_results(messages)) >= self.settings.tool_errors:
            return f"stuck: {failed} tool calls in a row failed"
        return None

    def _stays(self, pin: Pin, request: Request) -> bool:
        return pin.is_stuck and all(message.role != "user" for message in request.messages[pin.messages :])

    def _choose(self, blank: Decision, usable: list[int], pin: Pin | None, unfit: str) -> Decision:
        last: Estimate | None = None
        for index in usable:
            if index == usable[-1]:
                break
            estimate = self._policy.before(blank.request, self.tiers[index].name)
            if self._is_worth(estimate, blank, index):
                last = estimate
                continue
            return self._pinned(blank, usable, pin, index=index, estimate=estimate)
        reason = last.reason if last is not None else unfit or "the only tier"
        return self._pinned(blank, usable, pin, index=usable[-1], estimate=last, reason=reason)

    def _pinned(
        self,
        blank: Decision,
        usable: list[int],
        pin: Pin | None,
        *,
        index: int,
        estimate: Estimate | None,
        reason: str | None = None,
    ) -> Decision:
        """Return the tier the policy wants, unless leaving the thread's tier for it costs more than it saves."""
        wanted = reason or (estimate.reason if estimate is not None else "")
        if pin is None or pin.index not in usable or self._levels[index] >= self._levels[pin.index]:
            return self._ask(blank, index, wanted, estimate)
        saving = self._saving_of_move(blank.request, pin, index)
        if saving is None or saving <= 0:
            return self._ask(blank, pin.index, f"pinned: moving to {self.tiers[index].name} would lose its cache")
        return self._ask(blank, index, f"{wanted}; saves ${saving:.6f} after the lost cache", estimate)

    def _saving_of_move(self, request: Request, pin: Pin, index: int) -> Decimal | None:
        stay, move = self._pricings[pin.index], self._pricings[index]
        if stay is None or move is None:
            return None
        tokens = rough_tokens(request)
        return saving_of_move(
            stay,
            move,
            input_tokens=tokens,
            cached_tokens=self._threads.cached_tokens(pin, tokens),
            output_tokens=self._output(index),
        )

    def _ask(
        self, decision: Decision, index: int, reason: str, estimate: Estimate | None = None, *, is_stuck: bool = False
    ) -> Decision:
        is_top = not self._stronger(decision, index)
        is_calibrated = estimate is not None and estimate.is_calibrated
        has_tools = bool(decision.request.tools)
        return replace(
            decision,
            tier=self.tiers[index],
            index=index,
            reason=reason,
            accepted=False,
            is_committed=is_top or (estimate is not None and estimate.is_sure and not has_tools),
            expected_gain=estimate.gain if is_calibrated and estimate is not None else None,
            expected_loss=None if not is_calibrated or estimate is None else 0.0 if is_top else estimate.gain,
            expected_usd=self._expected_usd(decision.request, decision.thread, index),
            signals={**(estimate.signals if estimate is not None else {}), **({"stuck": 1.0} if is_stuck else {})},
        )

    def _expected_usd(self, request: Request, thread: str | None, index: int) -> Decimal | None:
        pricing = self._pricings[index]
        if pricing is None:
            return None
        tokens = rough_tokens(request)
        pin = self._threads.get(thread)
        cached = self._threads.cached_tokens(pin, tokens) if pin is not None and pin.index == index else 0
        usd = call_usd(pricing, input_tokens=tokens, cached_tokens=cached, output_tokens=self._output(index))
        return usd.quantize(Decimal("0.000000001"))

    def _output(self, index: int) -> int:
        return round(self._output_tokens.get(index, _USUAL_OUTPUT_TOKENS))

    def _is_worth(self, estimate: Estimate, decision: Decision, index: int, factor: float = 1.0) -> bool:
        """Whether the strongest tier is worth asking for the gain that is expected of it."""
        threshold = estimate.threshold if self.settings.threshold is None else self.settings.threshold
        worth = self.settings.usd_per_right_answer
        if worth is not None and estimate.is_calibrated:
            top = self._expected_usd(decision.request, decision.thread, len(self.tiers) - 1)
            if top is not None and worth > 0:
                threshold = float(top / worth)
        return estimate.gain > (threshold * factor if threshold > 0 else threshold)

    def _judge(self, decision: Decision, draft: Draft, *, is_streamed: bool) -> Decision:
        self._outages.wake(decision.index)
        problem = draft_problem(draft, decision.request, decision.side_effects)
        if problem is not None and problem.is_final:
            return self._after_invalid(decision, draft, problem, is_streamed=is_streamed)
        if is_streamed or decision.is_committed or not self._stronger(decision, decision.index):
            return self._accept(decision, draft, decision.reason if decision.is_committed else "no stronger tier")
        if problem is not None:
            return self._reject(decision, draft, problem.reason, "invalid" if problem.is_useless else "rejected")
        return self._by_estimate(decision, draft)

    def _by_estimate(self, decision: Decision, draft: Draft) -> Decision:
        estimate = self._policy.after(decision.request, decision.tier.name, draft, decision.tried)
        acts = any(call.name in decision.side_effects for call in draft.tool_calls)
        factor = self.settings.side_effect_factor if acts else 1.0
        if acts and (factor == 0 or not estimate.is_calibrated):
            return self._reject(
                decision, draft, "acts on the world, which only the strongest tier may", estimate=estimate
            )
        has_escalated = self._is_worth(estimate, decision, decision.index, factor)
        self._watch.add_draft(has_escalated=has_escalated)
        if has_escalated:
            return self._reject(decision, draft, estimate.reason, estimate=estimate)
        is_audit = self.settings.audit_share > 0 and self._audits.random() < self.settings.audit_share
        return replace(
            self._accept(decision, draft, estimate.reason),
            expected_loss=estimate.gain if estimate.is_calibrated else None,
            expected_gain=estimate.gain if estimate.is_calibrated else None,
            signals={**decision.signals, **estimate.signals},
            is_audit=is_audit,
        )

    def _accept(self, decision: Decision, draft: Draft, reason: str) -> Decision:
        attempt = Attempt(decision.index, decision.tier.name, "accepted", reason, draft)
        return replace(decision, accepted=True, draft=draft, reason=reason, tried=(*decision.tried, attempt))

    def _reject(
        self,
        decision: Decision,
        draft: Draft,
        reason: str,
        outcome: Outcome = "rejected",
        estimate: Estimate | None = None,
    ) -> Decision:
        tried = (*decision.tried, Attempt(decision.index, decision.tier.name, outcome, reason, draft))
        signals = {**decision.signals, **(estimate.signals if estimate is not None else {})}
        decision = replace(decision, tried=tried, signals=signals)
        above = self._stronger(decision, decision.index)
        if not above:
            return self._without(decision, reason)
        is_last_chance = len(tried) >= self.settings.max_tiers - 1
        index = above[-1] if is_last_chance else self._best_above(above, estimate)
        return replace(self._ask(decision, index, reason), signals=signals)

    def _best_above(self, above: list[int], estimate: Estimate | None) -> int:
        """Return the tier that the policy wants to ask; the next one where it does not say."""
        wanted = estimate.ask if estimate is not None else None
        return next((index for index in above if self.tiers[index].name == wanted), above[0])

    def _stronger(self, decision: Decision, index: int) -> list[int]:
        """Return the tiers of higher levels that can still be asked, lowest first."""
        usable, _ = self._usable(decision.request)
        failed = {attempt.index for attempt in decision.tried}
        return [i for i in usable if self._levels[i] > self._levels[index] and i not in failed]

    def _after_invalid(self, decision: Decision, draft: Draft, problem: DraftProblem, *, is_streamed: bool) -> Decision:
        rejected = Attempt(decision.index, decision.tier.name, "invalid", problem.reason, draft)
        if is_streamed:
            return replace(
                decision, tried=(*decision.tried, rejected), is_exhausted=True, reason=f"streamed, but {problem.reason}"
            )
        if self._stronger(decision, decision.index):
            return self._reject(decision, draft, problem.reason, "invalid")
        times = sum(attempt.index == decision.index for attempt in decision.tried)
        again = replace(decision, tried=(*decision.tried, rejected), reason=f"again, because {problem.reason}")
        if times < self.settings.strongest_retries:
            return again
        return replace(again, is_exhausted=True, reason=problem.reason)

    def _fail(self, decision: Decision, error_kind: ErrorKind, retry_after: float | None) -> Decision:
        if error_kind in _RESTING_KINDS:
            seconds = self.settings.cooldown_seconds if retry_after is None else retry_after
            self._outages.rest(decision.index, seconds)
        attempt = Attempt(decision.index, decision.tier.name, "failed", error_kind)
        decision = replace(decision, tried=(*decision.tried, attempt))
        return self._without(decision, f"{attempt.tier}: {error_kind}")

    def _without(self, decision: Decision, reason: str) -> Decision:
        """Return what is left when the tier of a decision is out: sideways, up, a rejected draft, down, nothing."""
        usable, _ = self._usable(decision.request)
        failed = {attempt.index for attempt in decision.tried}
        level = self._levels[decision.index]
        left = [i for i in usable if i not in failed]
        if onwards := [i for i in left if self._levels[i] >= level]:
            return self._ask(decision, onwards[0], reason)
        drafts = [a for a in decision.tried if a.outcome == "rejected" and a.draft is not None]
        if drafts and self.settings.answer_in_outage:
            best = max(drafts, key=lambda attempt: attempt.index)
            return replace(
                decision,
                tier=self.tiers[best.index],
                index=best.index,
                accepted=True,
                is_degraded=True,
                draft=best.draft,
                reason=f"{reason}; the rejected draft of {best.tier} answers",
            )
        if left and self.settings.answer_in_outage:
            return replace(self._ask(decision, left[-1], f"{reason}; only a weaker tier is left"), is_degraded=True)
        return replace(decision, is_exhausted=True, accepted=False, reason=f"{reason}; no tier is left")

    def _finish(
        self, decision: Decision, usages: list[tuple[int, Usage]], extra_usd: Decimal, call_id: str | None
    ) -> Saving | None:
        if not usages:
            usages = [
                (attempt.index, attempt.draft.usage)
                for attempt in decision.tried
                if attempt.draft is not None and attempt.draft.usage is not None
            ]
        own = [usage for index, usage in usages if index == decision.index]
        for index, usage in usages:
            before = self._output_tokens.get(index, float(usage.output_tokens))
            self._output_tokens[index] = before + 0.1 * (usage.output_tokens - before)
        cached = self._threads.cached_tokens(self._threads.get(decision.thread), own[-1].input_tokens if own else 0)
        if own:
            self._threads.put(
                decision.thread,
                decision.index,
                tokens=own[-1].total_tokens,
                is_stuck=bool(decision.signals.get("stuck")),
                messages=len(decision.request.messages),
            )
        if not usages or not decision.accepted:
            return None
        settled = settle(usages, self._pricings, answered_by=decision.index, cached_tokens=cached, extra_usd=extra_usd)
        saving = Saving(
            lever="router",
            tokens=settled.tokens,
            cost_usd=settled.saved_usd,
            attribution=current_attribution(),
            call_id=call_id,
        )
        if self.ledger is not None:
            self.ledger.book(saving)
        return saving


def _policy(
    given: Policy | Certificate | str | Path | None, tiers: Sequence[Tier]
) -> tuple[Policy, Certificate | None]:
    if given is None:
        return Rules(), None
    from thrift_core.calibration.certificate import Certificate  # noqa: PLC0415 - brings json and hashes
    from thrift_core.routing.trained import RouterCertificate, TrainedPolicy  # noqa: PLC0415 - brings numpy

    found = RouterCertificate.load(given) if isinstance(given, str | Path) else given
    if isinstance(found, RouterCertificate):
        found.policy.require([tier.name for tier in tiers])
        return found.policy, found
    if isinstance(found, TrainedPolicy):
        found.require([tier.name for tier in tiers])
    if isinstance(found, Certificate) or not hasattr(found, "before"):
        raise ConfigurationError(
            f"policy={found!r}: give what calibrate_router returned, the path it was saved to, or an object with "
            "before and after"
        )
    return found, None


def _watch(certificate: Certificate | None) -> DriftWatch:
    if certificate is None:
        return DriftWatch(max_loss=1.0)
    return DriftWatch(max_loss=certificate.max_loss, escalations=certificate.figures.get("escalated"))
