import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thrift_core.calibration.binomial import share_at_least, share_at_most, share_interval
from thrift_core.calibration.bounds import (
    RunningMean,
    betting_p_value,
    fixed_sequence,
    mean_at_most,
    net_loss_at_most,
    net_loss_p_value,
)


def test_the_exact_bound_solves_the_binomial_tail():
    most = share_at_most(3, 50)
    tail = sum(math.comb(50, k) * most**k * (1 - most) ** (50 - k) for k in range(4))
    assert tail == pytest.approx(0.05, abs=1e-9)


def test_a_two_sided_interval_is_two_one_sided_bounds():
    assert share_interval(3, 50, confidence=0.9) == (share_at_least(3, 50), share_at_most(3, 50))


def test_the_tail_of_a_net_loss_is_what_counting_says():
    # Nine examples: every way in which losses and gains can fall out, summed by hand at the worst share.
    losses, gains, total, at = 0, 1, 9, 0.4
    worst = 0.0
    for differing in np.linspace(at, share_at_most(1, total, confidence=0.999), 300):
        up, down = (differing + at) / 2, (differing - at) / 2
        worst = max(
            worst,
            sum(
                math.comb(total, i) * math.comb(total - i, j) * up**i * down**j * (1 - up - down) ** (total - i - j)
                for i in range(total + 1)
                for j in range(total - i + 1)
                if i - j <= losses - gains
            ),
        )
    assert net_loss_p_value(losses, gains, total, max_loss=at) == pytest.approx(worst + 0.002, abs=1e-3)


@pytest.mark.parametrize(("up", "down"), [(0.06, 0.03), (0.03, 0.0), (0.2, 0.17)])
def test_a_true_hypothesis_seldom_falls(up, down):
    rng = np.random.default_rng(5)
    drawn = rng.multinomial(250, [up, down, 1 - up - down], size=600)
    exact = np.mean([net_loss_p_value(int(a), int(b), 250, max_loss=up - down) <= 0.05 for a, b, _ in drawn[:300]])
    assert exact <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
    bets = [
        betting_p_value(np.repeat([1.0, -1.0, 0.0], counts), mean=up - down, low=-1, high=1) <= 0.05 for counts in drawn
    ]
    assert np.mean(bets) <= 0.05


def test_the_exact_test_needs_fewer_labels_than_betting():
    assert net_loss_p_value(4, 6, 300, max_loss=0.03) < 0.05
    assert betting_p_value([1.0] * 4 + [-1.0] * 6 + [0.0] * 290, mean=0.03, low=-1, high=1) > 0.05


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.01, 0.99))
def test_the_order_of_values_does_not_matter_and_a_p_value_is_one(values, mean):
    p_value = betting_p_value(values, mean=mean)
    assert 0 <= p_value <= 1
    assert p_value == pytest.approx(betting_p_value(values[::-1], mean=mean))
    assert mean_at_most(values) >= np.mean(values) - 1e-9


@settings(max_examples=30)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 200))
def test_more_gains_never_raise_the_bound(losses, gains, even):
    total = losses + gains + even + 1
    assert net_loss_at_most(losses, gains + 1, total) <= net_loss_at_most(losses, gains, total) + 0.01


def test_nothing_seen_bounds_nothing():
    assert net_loss_p_value(0, 0, 0, max_loss=0.1) == 1.0
    assert net_loss_at_most(0, 0, 0) == 1.0
    assert mean_at_most([]) == 1.0
    assert betting_p_value([], mean=0.5) == 1.0


def test_a_value_outside_its_limits_is_refused():
    with pytest.raises(ValueError, match="between 0"):
        betting_p_value([1.5], mean=0.5)
    with pytest.raises(ValueError, match="make no sense"):
        net_loss_p_value(3, 3, 5, max_loss=0.1)


def test_testing_stops_at_the_first_that_stands():
    assert fixed_sequence([0.01, 0.06, 0.001]) == 1
    assert fixed_sequence([float("nan"), 0.001]) == 0
    assert fixed_sequence([0.04, 0.04], confidence=0.99) == 0


def test_a_running_bound_holds_at_every_moment():
    broken = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        seen = RunningMean(steps=100)
        for value in rng.random(120) < 0.2:
            seen.add(float(value))
            if not seen.at_least <= 0.2 <= seen.at_most:
                broken += 1
                break
    assert broken <= 6


def test_a_running_bound_notices_drift():
    seen = RunningMean(low=-1, high=1)
    for _ in range(300):
        seen.add(0.0)
    assert seen.at_most < 0.1
    for _ in range(1000):
        seen.add(0.5)
    assert seen.at_least > 0.1
