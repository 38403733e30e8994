"""Recovery, intervals, correlations and verdicts: by hand, against SciPy, and by simulation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm, spearmanr, t, ttest_1samp, ttest_rel

from xblcore.study import stats
from xblcore.study.stats import Estimate

nan = math.nan
GROUPS = np.repeat(list("abcdefgh"), 3)  # eight methods with three seeds each


def ends(estimate: Estimate) -> tuple[float, float]:
    return estimate.low, estimate.high


def alike(seed: int = 0, *, methods: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Two metrics of three runs of each method, which are alike; correlation of methods: 0.6."""
    generator = np.random.default_rng(seed)
    x, noise = np.repeat(generator.normal(size=(2, methods)), 3, axis=1)
    return x, 0.6 * x + 0.8 * noise + 0.01 * generator.normal(size=3 * methods)


def test_recovery_by_hand() -> None:
    found = stats.recovery([0.4, 0.6, 0.8, 0.9, 0.3], [0.4] * 5, [0.8] * 5)
    assert found == pytest.approx([0, 0.5, 1, 1.25, -0.25])
    # Undefined where nothing, or too little, was lost, or the floor lies above the ceiling.
    found = stats.recovery([0.6] * 4, [0.8, 0.75, 0.8, nan], [0.8, 0.755, 0.7, 0.8])
    assert np.isnan(found).all()
    assert stats.recovery([0.75], [0.5], [0.75], min_gap=0.25) == pytest.approx([nan], nan_ok=True)


def test_mean_ci_by_hand_and_by_the_t_test() -> None:
    by_hand = stats.mean_ci([1.0, 3.0])  # s = sqrt(2), so that the half width is t_1 = 12.706
    assert [by_hand.value, *ends(by_hand)] == pytest.approx([2, -10.706, 14.706], abs=1e-3)
    values = [0.81, 0.83, 0.80, 0.86, 0.84]
    found = stats.mean_ci([*values, nan], level=0.9)
    expected = ttest_1samp(values, 0).confidence_interval(0.9)
    assert ends(found) == pytest.approx((expected.low, expected.high))
    assert [found.value, found.n, found.dropped] == pytest.approx([0.828, 5, 1])


def test_paired_difference_is_the_paired_t_test() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 6))
    found = stats.paired_difference([*a, nan, 1.0], [*b, 2.0, nan])
    expected = ttest_rel(a, b).confidence_interval()
    assert ends(found) == pytest.approx((expected.low, expected.high))
    assert (found.n, found.dropped) == (6, 2)


@pytest.mark.filterwarnings("error")
def test_one_value_has_no_interval_and_none_has_no_mean() -> None:
    one, none = stats.mean_ci([nan, 2.0]), stats.mean_ci([nan, nan])
    assert (one.value, one.n, one.dropped) == (2, 1, 1)
    assert (none.n, none.dropped) == (0, 2)
    assert np.isnan([*ends(one), none.value, *ends(none)]).all()


def test_rank_correlation_is_scipys_with_ties_and_nan() -> None:
    generator = np.random.default_rng(0)
    x = generator.integers(0, 5, 50).astype(float)
    y, z = x + generator.integers(0, 8, 50), generator.normal(size=50)
    expected = spearmanr(x, y).statistic
    found = stats.rank_correlation([nan, 1, *x], [2, nan, *y])
    assert [found.value, found.n, found.dropped] == pytest.approx([expected, 50, 2])
    # A run that lacks one metric is left out for both.
    found = stats.correlation_difference([nan, 1, 1, *x], [1, nan, 1, *z], [1, 1, nan, *y])
    expected -= spearmanr(z, y).statistic
    assert [found.value, found.n, found.dropped] == pytest.approx([expected, 50, 3])
    same = stats.correlation_difference(x, 2 * x + 1, y)
    assert (same.value, *ends(same)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("x", "n"), [([1.0, 1.0, 1.0, 1.0], 4), ([1.0, 2.0, nan, nan], 2), ([nan] * 4, 0)]
)
def test_rank_correlation_of_a_constant_or_two_pairs_is_undefined(x: list[float], n: int) -> None:
    found = stats.rank_correlation(x, [1.0, 2.0, 3.0, 4.0])
    assert np.isnan([found.value, *ends(found)]).all()
    assert (found.n, found.dropped) == (n, 4 - n)


def test_grouped_bootstrap_is_that_of_concatenated_groups() -> None:
    """The oracle concatenates the runs of the drawn groups, and SciPy ranks them."""
    x, y = alike()
    z, count, resamples = np.roll(x, 1), 8, 40
    drawn = np.random.default_rng(3).multinomial(count, np.full(count, 1 / count), resamples)
    tail = norm.cdf(-math.sqrt(count / (count - 1)) * t.ppf(0.95, count - 1))  # of the 90% interval
    rows = [np.repeat(np.arange(24), np.repeat(counts, 3)) for counts in drawn]
    first, second = (
        np.array([spearmanr(values[index], y[index]).statistic for index in rows])
        for values in (x, z)
    )
    options: dict[str, Any] = {"groups": GROUPS, "level": 0.9, "n_resamples": resamples, "seed": 3}
    for found, expected in (
        (stats.rank_correlation(x, y, **options), first),
        (stats.correlation_difference(x, z, y, **options), first - second),
    ):
        assert ends(found) == pytest.approx(np.quantile(expected, [tail, 1 - tail]))


def test_fewer_than_five_groups_have_no_interval() -> None:
    x, y = alike()
    for groups, finite in ((4, False), (5, True)):
        runs = slice(3 * groups)
        found = stats.rank_correlation(x[runs], y[runs], groups=GROUPS[runs])
        assert np.isfinite(ends(found)).all() == finite
        assert np.isfinite(found.value)


def test_interval_contains_its_estimate() -> None:
    for seed in range(40):
        generator = np.random.default_rng(seed)
        x = generator.integers(0, 2, 10)  # constant in many resamples
        y = x + generator.normal(size=10) * 0.3
        found = stats.rank_correlation(x, y, groups=np.repeat(np.arange(5), 2), n_resamples=30)
        assert math.isnan(found.value) or -1 <= found.low <= found.value <= found.high <= 1


def test_interval_over_groups_covers_the_true_correlation() -> None:
    """In 300 simulated studies of twelve methods; intervals over runs cover far less often."""
    true = 6 / math.pi * math.asin(0.6 / 2)  # Spearman's rho of a bivariate normal
    groups, hits = np.repeat(np.arange(12), 3), np.zeros(2)
    for seed in range(300):
        x, y = alike(seed, methods=12)
        for which, own in enumerate((groups, None)):
            found = stats.rank_correlation(x, y, groups=own, n_resamples=200)
            hits[which] += found.low <= true <= found.high
    by_group, by_run = hits / 300
    assert 0.94 <= by_group <= 0.995  # a little conservative
    assert by_run < 0.85


@pytest.mark.parametrize(
    ("low", "high", "margin", "expected"),
    [
        (0.1, 0.3, 0.5, "supported"),  # within the margin, yet above 0
        (0.0, 0.3, None, "undecided"),  # 0 itself is not above 0
        (-0.1, 0.3, 0.2, "undecided"),
        (-0.3, -0.1, None, "contradicted"),
        (-0.02, 0.04, 0.05, "equivalent"),
        (-0.05, 0.04, 0.05, "undecided"),  # the margin itself is not within
        (nan, nan, 0.05, "undecided"),
    ],
)
def test_verdict(low: float, high: float, margin: float | None, expected: str) -> None:
    assert stats.verdict(Estimate((low + high) / 2, low, high, 5), margin=margin) == expected


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: stats.mean_ci([[1.0]]), r"values must have shape \(1,\).*got \(1, 1\)"),
        (lambda: stats.mean_ci([math.inf]), "values must be finite or NaN, got infinity"),
        (lambda: stats.paired_difference([1, 2], [1]), r"b must have shape \(2,\).*got \(1,\)"),
        (lambda: stats.recovery([1], [1, 2], [1]), r"erm must have shape \(1,\)"),
        (lambda: stats.correlation_difference([1], [1, 2], [1]), r"x2 must have shape \(1,\)"),
        (lambda: stats.rank_correlation([1, 2], [1, 2], groups=["a"]), r"groups must have shape"),
    ],
)
def test_bad_input(attempt: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attempt()
