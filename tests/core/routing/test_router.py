import json
import logging
from decimal import Decimal

import pytest
from thrift_core import CascadeRouter, Ledger, Tier
from thrift_core.accounting.usage import Usage
from thrift_core.errors import ConfigurationError
from thrift_core.messages import Message, Opaque, Request, ToolCall
from thrift_core.rates import Pricing
from thrift_core.routing import Draft, Estimate, RouterSettings


def pricing(dollars):
    price = Decimal(str(dollars))
    return Pricing(
        input=price,
        cache_read=price / 10,
        cache_write_5m=price,
        cache_write_1h=price,
        output=4 * price,
        reasoning=4 * price,
    )


SMALL = Tier("small", "m1", price=pricing(1), context_limit=1000)
LARGE = Tier("large", "m3", price=pricing(10))
EASY = Request((Message("user", "Translate 'bread' into French"),))
HARD = Request((Message("user", "Prove that there is no largest prime"),))


class Fixed:
    """A policy that always expects the same."""

    version = "fixed"

    def __init__(self, gain, *, before=-1.0, threshold=0.1, ask=None):
        self.estimate = Estimate(gain=gain, threshold=threshold, is_calibrated=True, ask=ask)
        self.first = Estimate(gain=before, threshold=threshold, is_calibrated=True)

    def before(self, request, tier):
        return self.first

    def after(self, request, tier, draft, earlier=()):
        return self.estimate


class Broken:
    version = "broken"

    def before(self, request, tier):
        raise RuntimeError("no")

    after = before


def test_easy_goes_down_and_hard_goes_up():
    router = CascadeRouter([SMALL, LARGE])
    assert router.start(EASY).tier.name == "small"
    assert router.start(HARD).tier.name == "large"


def test_the_strongest_tier_streams_straight_through_and_a_draft_does_not():
    router = CascadeRouter([SMALL, LARGE])
    assert router.start(HARD).is_committed
    assert not router.start(EASY).is_committed


def test_without_a_policy_it_says_once_that_it_is_not_calibrated(caplog):
    with caplog.at_level(logging.INFO, logger="thrift"):
        router = CascadeRouter([SMALL, LARGE])
        router.start(EASY)
    assert len([record for record in caplog.records if "uncalibrated" in record.message]) == 1
    assert router.start(EASY).expected_loss is None


def test_a_rejected_draft_is_kept_in_the_history_and_the_next_tier_is_asked():
    router = CascadeRouter([SMALL, LARGE])
    decision = router.judge(router.start(EASY), Draft("I'm not sure."))
    assert (decision.tier.name, decision.accepted) == ("large", False)
    assert [(attempt.tier, attempt.outcome) for attempt in decision.tried] == [("small", "rejected")]
    done = router.judge(decision, Draft("Pain."))
    assert done.accepted
    assert done.draft == Draft("Pain.")


def test_a_policy_is_obeyed_and_its_loss_stated():
    router = CascadeRouter([SMALL, LARGE], policy=Fixed(0.05))
    done = router.judge(router.start(HARD), Draft("done"))
    assert done.accepted
    assert done.expected_loss == 0.05
    assert not CascadeRouter([SMALL, LARGE], policy=Fixed(0.2)).judge(router.start(HARD), Draft("done")).accepted


def test_a_threshold_set_by_hand_goes_before_the_policys():
    router = CascadeRouter([SMALL, LARGE], policy=Fixed(0.2), settings=RouterSettings(threshold=0.5))
    assert router.judge(router.start(HARD), Draft("done")).accepted


def test_a_right_answer_that_is_worth_little_is_not_bought():
    cheap = RouterSettings(usd_per_right_answer=Decimal("0.0001"))
    dear = RouterSettings(usd_per_right_answer=Decimal(100))
    for settings, accepted in ((cheap, True), (dear, False)):
        router = CascadeRouter([SMALL, LARGE], policy=Fixed(0.2), settings=settings)
        assert router.judge(router.start(HARD), Draft("done")).accepted is accepted


def test_what_does_not_fit_goes_where_it_fits():
    router = CascadeRouter([SMALL, LARGE], policy=Fixed(-1))
    long = Request((Message("user", "word " * 2000),))
    decision = router.start(long)
    assert decision.tier.name == "large"
    assert "do not fit" in decision.reason


def test_images_and_tools_go_to_a_tier_that_can():
    plain = Tier("small", "m1", price=pricing(1), capabilities=frozenset({"streaming"}))
    router = CascadeRouter([plain, LARGE], policy=Fixed(-1))
    image = Request((Message("user", "what is it?", opaque=(Opaque("image"),)),))
    assert "images" in router.start(image).reason
    assert "tools" in router.start(Request(EASY.messages, tools=({"name": "f"},))).reason
    assert router.start(EASY).tier.name == "small"


TOOLS = ({"name": "pay", "parameters": {"properties": {"to": {"type": "string"}}, "required": ["to"]}},)
PAY = Request((Message("user", "Pay Ann"),), tools=TOOLS)


def test_an_invalid_call_goes_up_and_from_the_strongest_is_asked_for_again_and_then_refused():
    router = CascadeRouter([SMALL, LARGE], policy=Fixed(-1))
    bad = Draft(tool_calls=(ToolCall("pay", "{}"),))
    decision = router.judge(router.start(PAY), bad)
    assert decision.tier.name == "large"
    again = router.judge(decision, bad)
    assert (again.tier.name, again.accepted, again.is_exhausted) == ("large", False, False)
    last = router.judge(again, bad)
    assert last.is_exhausted
    assert not last.accepted


def test_what_was_streamed_is_never_taken_back():
    router = CascadeRouter([SMALL, LARGE], policy=Fixed(1.0))
    decision = router.start(EASY)
    assert router.judge(decision, Draft("so far"), is_streamed=True).accepted
    bad = Draft("so far", tool_calls=(ToolCall("none", "{}"),))
    assert router.judge(decision, bad, is_streamed=True).is_exhausted


def test_a_call_that_acts_needs_more_confidence():
    call = Draft(tool_calls=(ToolCall("pay", '{"to": "Ann"}'),))
    router = CascadeRouter([SMALL, LARGE], policy=Fixed(0.08, threshold=0.1))
    assert router.judge(router.start(PAY), call).accepted
    assert not router.judge(router.start(PAY, side_effects={"pay"}), call).accepted
    sure = CascadeRouter([SMALL, LARGE], policy=Fixed(0.01, threshold=0.1))
    assert sure.judge(sure.start(PAY, side_effects={"pay"}), call).accepted
    invented = Draft(tool_calls=(ToolCall("pay", '{"to": "Bob"}'),))
    assert not sure.judge(sure.start(PAY, side_effects={"pay"}), invented).accepted


def test_rules_never_let_a_cheap_tier_act():
    router = CascadeRouter([SMALL, LARGE])
    request = Request((Message("user", "thanks, pay Ann"),), tools=TOOLS)
    decision = router.start(request, side_effects=["pay"])
    call = Draft(tool_calls=(ToolCall("pay", '{"to": "Ann"}'),))
    assert decision.tier.name == "small"
    assert router.judge(decision, call).tier.name == "large"


def test_errors_go_sideways_then_up_then_to_the_rejected_draft_then_out():
    equal = Tier("twin", "m3b", price=pricing(10), level=1)
    tiers = [Tier("small", "m1", price=pricing(1), level=0), Tier("large", "m3", price=pricing(10), level=1), equal]
    router = CascadeRouter(tiers, policy=Fixed(1.0))
    decision = router.judge(router.start(EASY), Draft("meh"))
    assert decision.tier.name == "large"
    decision = router.fail(decision, "outage")
    assert decision.tier.name == "twin"
    decision = router.fail(decision, "timeout")
    assert (decision.accepted, decision.is_degraded, decision.draft) == (True, True, Draft("meh"))


def test_nothing_left_says_so():
    router = CascadeRouter([LARGE])
    decision = router.fail(router.start(EASY), "disconnect")
    assert decision.is_exhausted
    assert "no tier is left" in decision.reason


def test_an_app_may_refuse_weaker_answers_in_an_outage():
    router = CascadeRouter([SMALL, LARGE], policy=Fixed(1.0), settings=RouterSettings(answer_in_outage=False))
    decision = router.judge(router.start(EASY), Draft("meh"))
    assert router.fail(decision, "outage").is_exhausted


def test_a_tier_that_is_limited_rests_for_other_requests_too():
    router = CascadeRouter([SMALL, LARGE], policy=Fixed(-1))
    router.fail(router.start(EASY), "rate_limit", retry_after=60)
    assert router.start(EASY).tier.name == "large"


def test_a_router_that_breaks_asks_the_strongest_and_counts_it(caplog):
    ledger = Ledger()
    router = CascadeRouter([SMALL, LARGE], policy=Broken(), ledger=ledger)
    decision = router.start(EASY)
    assert (decision.tier.name, decision.is_committed) == ("large", True)
    assert ledger.faults() == {("router", "start: RuntimeError"): 1}
    assert "the strongest tier answers" in caplog.text


def test_a_listener_that_raises_is_no_trouble(caplog):
    router = CascadeRouter([SMALL, LARGE], on_decision=lambda decision: 1 / 0)
    assert router.start(EASY).tier.name == "small"
    assert "ZeroDivisionError" in caplog.text


def test_a_stalled_agent_gets_a_stronger_tier_and_keeps_it():
    call = Message("assistant", "", (ToolCall("look", "{}"),))
    loop = (Message("user", "find it"), *(call, Message("tool", "nothing")) * 3)
    router = CascadeRouter([SMALL, LARGE], policy=Fixed(-1))
    decision = router.start(Request(loop, tools=({"name": "look"},)), thread="t")
    assert decision.tier.name == "large"
    assert "stalled" in decision.reason
    done = router.judge(decision, Draft("found it"))
    router.finish(done, [(1, Usage(input_tokens=100, output_tokens=10))])
    on = Request((*loop, Message("assistant", "", (ToolCall("go", "{}"),)), Message("tool", "went")))
    assert router.start(on, thread="t").tier.name == "large"
    assert router.start(Request((*on.messages, Message("user", "thanks"))), thread="t").tier.name == "small"


@pytest.mark.parametrize(("cached", "tier"), [(100_000, "large"), (0, "small")])
def test_a_thread_moves_only_if_the_saving_exceeds_the_lost_cache(cached, tier):
    near = Tier("near", "m2", price=pricing(8))
    router = CascadeRouter([near, LARGE], policy=Fixed(-1))
    long = Request((Message("user", "word " * 80_000),))
    first = router.judge(router.fail(router.start(long, thread="t"), "other"), Draft("yes"))
    router.finish(first, [(1, Usage(input_tokens=cached, output_tokens=1))])
    assert router.start(long, thread="t").tier.name == ("near" if tier == "small" else "large")


def test_savings_are_against_the_strongest_with_a_warm_cache_and_every_draft_is_charged():
    ledger = Ledger()
    router = CascadeRouter([SMALL, LARGE], policy=Fixed(-1), ledger=ledger)
    usage = Usage(input_tokens=1_000_000, output_tokens=0)
    first = router.judge(router.start(EASY, thread="t"), Draft("yes", usage=usage))
    assert router.finish(first).cost_usd == Decimal(9)
    second = router.judge(router.start(EASY, thread="t"), Draft("yes", usage=usage))
    # Always-strong would have read it all from its cache, for a tenth: nothing is saved.
    assert router.finish(second).cost_usd == Decimal(0)
    both = CascadeRouter([SMALL, LARGE], policy=Fixed(1.0), ledger=ledger)
    escalated = both.judge(both.judge(both.start(EASY), Draft("no")), Draft("yes"))
    assert both.finish(escalated, [(0, usage), (1, usage)], extra_usd=Decimal("0.5")).cost_usd == Decimal("-1.5")
    assert len(list(ledger.savings())) == 3


def test_an_unknown_price_is_never_nothing():
    router = CascadeRouter([Tier("a", "nobody-knows-it"), Tier("b", "nor-this")])
    done = router.judge(router.start(HARD), Draft("x", usage=Usage(input_tokens=5)))
    assert done.expected_usd is None
    assert router.finish(done).cost_usd is None


def test_audits_that_show_a_loss_shut_the_cascade(caplog):
    from thrift_core.routing.drift import DriftWatch

    router = CascadeRouter([SMALL, LARGE], policy=Fixed(-1), settings=RouterSettings(audit_share=1.0))
    router._watch = DriftWatch(max_loss=0.05)
    done = router.judge(router.start(EASY), Draft("x"))
    assert done.is_audit
    for _ in range(100):
        router.audit(done, 1.0)
    assert router.drift.is_broken
    assert router.start(EASY).tier.name == "large"
    assert "calibrate" in caplog.text


def test_metadata_is_json():
    router = CascadeRouter([SMALL, LARGE])
    done = router.judge(router.start(EASY), Draft("Pain."))
    assert json.loads(json.dumps(done.as_metadata()))["tier"] == "small"


@pytest.mark.parametrize(
    ("tiers", "message"),
    [
        ([], "at least one tier"),
        ([SMALL, SMALL], "given twice"),
        ([LARGE, SMALL], "cheapest first"),
        ([Tier("a", "m", level=2), Tier("b", "n", level=1)], "cheapest first"),
    ],
)
def test_tiers_that_cannot_work_are_refused(tiers, message):
    with pytest.raises(ConfigurationError, match=message):
        CascadeRouter(tiers)


@pytest.mark.parametrize(
    "settings", [{"threshold": 2}, {"max_tiers": 1}, {"audit_share": -1}, {"usd_per_right_answer": 0}]
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ConfigurationError):
        RouterSettings(**settings)
    with pytest.raises(ConfigurationError, match="unknown capabilities"):
        Tier("a", "b", capabilities=frozenset({"flying"}))
    with pytest.raises(ConfigurationError, match="before and after"):
        CascadeRouter([SMALL, LARGE], policy=7)
