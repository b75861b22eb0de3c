import json
import random

import numpy as np
import pytest
from thrift_core import CascadeRouter, Tier, calibrate_router
from thrift_core.cli import main
from thrift_core.errors import ConfigurationError
from thrift_core.messages import Message, Request
from thrift_core.routing import Draft
from thrift_core.routing.calibrating import PRICES, learn
from thrift_core.routing.curve import curve
from thrift_core.routing.golden import read_golden
from thrift_core.routing.operating_point import Limits, limits, run
from thrift_core.routing.trained import RouterCertificate

TOWNS = ["Rome", "Oslo", "Lima", "Cairo", "Quito", "Delhi"]


def rows(count, *, seed=0, right=0.95, wrong=0.1, answers=True):
    """Questions whose cheap answer is mostly wrong where it hedges; the strong one is nearly always right."""
    drawn = random.Random(seed)
    made = []
    for number in range(count):
        hedges = drawn.random() < 0.3
        town = drawn.choice(TOWNS)
        scores = {"small": float(drawn.random() < (wrong if hedges else right)), "large": float(drawn.random() < 0.95)}
        text = f"I'm not sure, perhaps {town}." if hedges else f"The answer is {town}."
        told = {"answers": {"small": text, "large": f"It is {town}."}} if answers else {}
        made.append({"prompt": f"Which town is number {number} of {drawn.choice(TOWNS)}?", "scores": scores, **told})
    return made


@pytest.fixture(scope="module")
def certificate():
    return calibrate_router(rows(300), max_loss=0.06)


TIERS = [Tier("small", "gpt-4.1-nano"), Tier("large", "gpt-4.1")]
ASKED = Request((Message("user", "Which town is number 7 of Oslo?"),))


def test_a_golden_set_teaches_what_to_reject(certificate):
    router = CascadeRouter(TIERS, policy=certificate)
    decision = router.start(ASKED)
    assert decision.tier.name == "small"
    sure = router.judge(decision, Draft("The answer is Oslo."))
    assert sure.accepted
    assert sure.expected_loss < 0.2
    assert sure.policy == certificate.name
    assert router.judge(decision, Draft("I'm not sure, perhaps Oslo.")).tier.name == "large"


def test_the_certificate_states_figures_that_hold_on_new_rows(certificate):
    assert certificate.is_certified
    assert certificate.bound <= 0.06
    router = CascadeRouter(TIERS, policy=certificate)
    loss, calls = [], 0
    for row in rows(250, seed=9):
        decision = router.judge(
            router.start(Request((Message("user", row["prompt"]),))), Draft(row["answers"]["small"])
        )
        calls += not decision.accepted
        loss.append(row["scores"]["large"] - row["scores"]["small"] if decision.accepted else 0.0)
    assert np.mean(loss) < 0.06
    assert calls / 250 == pytest.approx(certificate.figures["strong_calls"], abs=0.1)
    assert certificate.figures["apgr"] > 0.7


def test_too_few_labels_certify_nothing_and_say_what_they_support():
    certificate = calibrate_router(rows(50), max_loss=0.01)
    assert not certificate.is_certified
    assert "50 labels cannot certify a loss of 1.0%" in certificate.note
    router = CascadeRouter(TIERS, policy=certificate)
    assert router.start(ASKED).tier.name == "large"


def test_a_true_loss_above_the_target_is_seldom_certified():
    # Cheap answers are wrong at random: whatever is accepted loses about 0.45.
    certified = []
    for seed in range(4):
        made = calibrate_router(rows(100, seed=seed, right=0.5, wrong=0.5), max_loss=0.2, seed=seed)
        certified.append(made.figures["strong_calls"] if made.is_certified else 1.0)
    assert sum(share < 0.5 for share in certified) <= 1


def test_it_comes_back_from_its_file_and_decides_the_same(certificate, tmp_path):
    certificate.save(tmp_path / "router.npz")
    read = RouterCertificate.load(tmp_path / "router.npz")
    assert read == certificate
    draft = Draft("I'm not sure, perhaps Oslo.")
    gains = [found.policy.after(ASKED, "small", draft).gain for found in (read, certificate)]
    assert gains[0] == pytest.approx(gains[1], abs=1e-3)
    assert CascadeRouter(TIERS, policy=tmp_path / "router.npz").start(ASKED).tier.name == "small"


def test_a_file_of_other_features_or_tiers_or_no_policy_is_refused(certificate, tmp_path, monkeypatch):
    certificate.save(tmp_path / "router.npz")
    with pytest.raises(ConfigurationError, match="trained for the tiers small, large"):
        CascadeRouter([Tier("tiny", "gpt-4.1-nano"), TIERS[1]], policy=tmp_path / "router.npz")
    (tmp_path / "bad.npz").write_bytes(b"no")
    with pytest.raises(ConfigurationError, match="no router certificate"):
        RouterCertificate.load(tmp_path / "bad.npz")
    with pytest.raises(ConfigurationError, match="calibrate again"):
        RouterCertificate.load(tmp_path / "router.npz", version="router-other")
    monkeypatch.setattr("thrift_core.routing.trained.VERSION", "signs-0")
    with pytest.raises(ConfigurationError, match="calibrate again"):
        RouterCertificate.load(tmp_path / "router.npz")


def test_without_answers_it_routes_before_the_call_and_commits():
    certificate = calibrate_router(rows(150, answers=False, right=0.97, wrong=0.97), max_loss=0.1)
    router = CascadeRouter(TIERS, policy=certificate)
    decision = router.start(ASKED)
    assert (decision.tier.name, decision.is_committed) == ("small", True)
    assert router.judge(decision, Draft("anything")).accepted


def test_agreement_of_a_middle_tier_decides():
    drawn = random.Random(3)
    made = []
    for number in range(300):
        right = drawn.choice(TOWNS)
        answers, scores = {}, {}
        for tier, chance in (("small", 0.6), ("middle", 0.7), ("large", 0.95)):
            town = right if drawn.random() < chance else drawn.choice(TOWNS)
            answers[tier], scores[tier] = town, float(town == right)
        cost = {"small": 0.01, "middle": 0.05, "large": 1.0}
        made.append({"prompt": f"Town number {number}?", "answers": answers, "scores": scores, "cost": cost})
    certificate = calibrate_router(made, max_loss=0.06)
    tiers = [TIERS[0], Tier("middle", "gpt-4.1-mini"), TIERS[1]]
    router = CascadeRouter(tiers, policy=certificate)
    outcomes = {"Oslo": 0, "Lima": 0}
    for number in range(300, 340):
        first = router.start(Request((Message("user", f"Town number {number}?"),)))
        second = router.judge(first, Draft("Oslo"))
        assert second.tier.name == "middle"
        for town in outcomes:
            outcomes[town] += router.judge(second, Draft(town)).accepted
    assert outcomes["Oslo"] == 40
    assert outcomes["Lima"] < 20


def test_without_scores_agreement_with_the_strongest_is_the_label():
    made = [{"prompt": "Where?", "answers": {"small": "Oslo", "large": town}} for town in ("Oslo", "Rome")]
    assert [row.scores["small"] for row in read_golden(made)] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "x"}, "row 1"),
        ({"scores": {"a": 1, "b": 1}}, "row 1"),
        ({"prompt": " ", "scores": {"a": 1, "b": 1}}, "no prompt"),
        ({"prompt": "x", "scores": {"a": 1}}, "two tiers"),
        ({"prompt": "x", "scores": {"a": 1, "b": 7}}, "from 0 to 1"),
    ],
)
def test_rows_that_cannot_be_used_are_named(row, message):
    with pytest.raises(ConfigurationError, match=message):
        calibrate_router([row])
    with pytest.raises(ConfigurationError, match="empty"):
        calibrate_router([])


def test_messages_are_read_like_prompts():
    row = {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "scores": {"a": 1, "b": 1}}
    assert read_golden([row])[0].prompt == "Hi"


def test_graded_scores_are_certified_by_betting():
    made = [{**row, "scores": {"small": 0.5 + row["scores"]["small"] / 2, "large": 0.9}} for row in rows(300)]
    assert calibrate_router(made, max_loss=0.2).is_certified


def test_the_command_shows_the_curve_and_writes_what_the_router_reads(tmp_path, capsys):
    golden = tmp_path / "golden.jsonl"
    golden.write_text("".join(json.dumps(row) + "\n" for row in rows(120)), encoding="utf-8")
    out = tmp_path / "router.npz"
    tiers = ["--tier", "small=gpt-4.1-nano@openai", "--tier", "large=gpt-4.1@openai"]
    assert main(["calibrate", "router", str(golden), "--max-loss", "0.1", *tiers, "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "APGR" in shown
    assert "quality by dollars" in shown
    assert CascadeRouter(TIERS, policy=out).certificate.n == 120


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    assert main(["calibrate", "router", str(tmp_path / "none.jsonl")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_dearer_quality_escalates_less():
    learned = learn(read_golden(rows(200)))
    calls = [float((learned.outcome(float(price)).answered == 1).mean()) for price in PRICES[::5]]
    assert calls == sorted(calls, reverse=True)


def test_a_perfect_gain_is_worth_the_oracle():
    weak, strong = np.array([1.0, 0, 0, 1]), np.array([1.0, 1, 1, 0])
    found = curve(strong - weak, weak, strong, weak_cost=np.zeros(4), strong_cost=np.ones(4))
    assert found.cpt(0.5) == 0.25
    assert found.best_within(0.5) == 1.0
    assert found.parity_cost == 0.25


def test_no_gap_has_no_share_of_it():
    flat = np.ones(3)
    found = curve(flat, flat, flat, weak_cost=flat, strong_cost=flat)
    assert (found.apgr, found.cpt(0.5)) == (None, None)


def test_a_middle_tier_is_asked_only_where_its_answer_is_worth_its_price():
    gain = np.linspace(0, 0.6, 200)
    told = np.where(np.arange(200) % 2 == 0, 0.0, 2 * gain)
    cheap = limits([gain, told], [0.01, 0.05, 1.0], 0.3)
    dear = limits([gain, told], [0.01, 0.9, 1.0], 0.3)
    assert cheap[0].accept < 0.3 <= cheap[0].direct
    assert dear[0] == Limits(0.3, 0.3)


def test_a_draft_is_paid_for_whoever_answers():
    scores = [np.array([1.0, 0.0]), np.array([1.0, 1.0])]
    costs = [np.array([0.1, 0.1]), np.array([1.0, 1.0])]
    led = run([np.array([0.0, 1.0])], scores, costs, [Limits(0.5, 0.5)], drafts=[True])
    assert led.cost.tolist() == [0.1, 1.1]
    unseen = run([np.array([0.0, 1.0])], scores, costs, [Limits(0.5, 0.5)], drafts=[False])
    assert unseen.cost.tolist() == [0.1, 1.0]
