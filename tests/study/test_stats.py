"""Recovery, intervals, tests and verdicts: by hand and against SciPy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import norm, permutation_test, spearmanr, t, ttest_1samp

from xblcore.study import stats
from xblcore.study.stats import Estimate

nan = math.nan
GROUPS = np.repeat(list("abcdefgh"), 3)  # eight methods with three seeds each


def ends(estimate: Estimate) -> tuple[float, float]:
    return estimate.low, estimate.high


def alike() -> tuple[np.ndarray, np.ndarray]:
    """Two metrics of three runs of each method, which are alike; correlation of methods: 0.6."""
    generator = np.random.default_rng(0)
    x, noise = np.repeat(generator.normal(size=(2, 8)), 3, axis=1)
    return x, 0.6 * x + 0.8 * noise + 0.01 * generator.normal(size=24)


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


@pytest.mark.parametrize("size", [2, 5, 8])
def test_sign_flip_is_scipys_exact_permutation_test(size: int) -> None:
    for seed in range(4):
        values = np.random.default_rng(seed).normal(0.4, 1, size).round(1)  # with ties
        expected = permutation_test((values,), np.mean, permutation_type="samples")
        assert stats.sign_flip([*values, nan]) == pytest.approx(expected.pvalue)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.1] * 5, 2 / 32),  # only all signs alike give as large a sum
        ([-0.3, -0.2, -0.1], 2 / 8),
        ([0.1, 0.2, 0.3, -0.1], 6 / 16),  # sums 0.7 and, twice, 0.5, of both signs
        ([0.0, 0.0, 0.0], 1.0),
        ([0.1] * 20, 2 / 2**20),
        ([nan], nan),
    ],
)
def test_sign_flip_by_hand(values: list[float], expected: float) -> None:
    assert stats.sign_flip(values) == pytest.approx(expected, nan_ok=True)


def test_holm_is_its_definition() -> None:
    """The k-th smallest p is rejected at a level if p_j (m - j + 1) is at most that for j <= k."""
    p = np.random.default_rng(0).uniform(0, 0.3, 7)
    found = stats.holm([*p[:3], nan, *p[3:]])
    assert np.isnan(found[3])
    order, worst = np.argsort(p), 0.0
    for rank, index in enumerate(order):
        worst = max(worst, min(1.0, p[index] * (7 - rank)))
        assert found[index if index < 3 else index + 1] == pytest.approx(worst)
    assert np.isnan(stats.holm([nan, nan])).all()


@pytest.mark.parametrize("sd", [0.0, 0.01, 0.05, 0.3, 2.0])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_seeds_needed_is_the_least_number_with_a_narrow_interval(sd: float, level: float) -> None:
    found = stats.seeds_needed(sd, 0.05, level=level)

    def half(n: int) -> float:
        return t.ppf((1 + level) / 2, n - 1) * sd / math.sqrt(n)

    assert half(found) <= 0.05
    assert found == 2 or half(found - 1) > 0.05


def of_seeds(*samples: list[float], level: float = 0.95) -> list[Estimate]:
    return [stats.mean_ci(values, level=level) for values in samples]


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_random_effects_against_the_estimating_equation(level: float) -> None:
    """Paule and Mandel: the weighted squares, with weights 1 / (tau^2 + se^2), sum to K - 1."""
    samples = [[0.1, 0.2, 0.15], [0.5, 0.3, 0.45, 0.4], [-0.1, 0.0, 0.1, 0.05, 0.0]]
    mean, tau, i2 = stats.random_effects(of_seeds(*samples, level=level), level=level)
    x = np.array([np.mean(values) for values in samples])
    variance = np.array([np.var(values, ddof=1) / len(values) for values in samples])
    w = 1 / (variance + tau**2)
    assert mean.value == pytest.approx(w @ x / w.sum())
    assert (w * (x - mean.value) ** 2).sum() == pytest.approx(2)
    half = t.ppf((1 + level) / 2, 2) / math.sqrt(w.sum())
    assert ends(mean) == pytest.approx((mean.value - half, mean.value + half))
    assert 0.9 < i2 < 1
    assert (mean.n, mean.dropped) == (3, 0)


def test_random_effects_of_the_bcg_trials() -> None:
    """Log risk ratios of 13 trials (Colditz et al. 1994); statsmodels 0.15 gives these."""
    effects = [-0.8893, -1.5854, -1.3481, -1.4416, -0.2175, -0.7861, -1.6209, 0.0120, -0.4694,
               -1.3713, -0.3394, 0.4459, -0.0173]  # fmt: skip
    variances = [0.3256, 0.1946, 0.4154, 0.0200, 0.0512, 0.0069, 0.2230, 0.0040, 0.0564, 0.0730,
                 0.0124, 0.5325, 0.0714]  # fmt: skip
    halves = t.ppf(0.975, 9) * np.sqrt(variances)
    trials = [Estimate(x, x - h, x + h, 10) for x, h in zip(effects, halves, strict=True)]
    mean, tau, i2 = stats.random_effects(trials)
    assert [mean.value, tau**2, i2] == pytest.approx([-0.71497, 0.31808, 0.92318], abs=2e-5)
    assert ends(mean) == pytest.approx((-1.10911, -0.32083), abs=2e-5)


def test_equal_effects_have_no_heterogeneity_and_no_narrower_interval_than_fixed_effects() -> None:
    same = of_seeds([0.1, 0.2, 0.3], [0.1, 0.2, 0.3])  # se 0.0577 each
    mean, tau, i2 = stats.random_effects(same)
    assert (mean.value, tau, i2) == pytest.approx((0.2, 0, 0))
    assert mean.high - 0.2 == pytest.approx(t.ppf(0.975, 1) * 0.0577 / math.sqrt(2), rel=1e-3)


def test_random_effects_without_spread_and_with_undefined_tasks() -> None:
    constant = of_seeds([0.2] * 3, [0.4] * 3, [nan], [0.9])  # the last has no interval
    mean, tau, i2 = stats.random_effects(constant)
    assert (mean.value, tau) == pytest.approx((0.3, math.sqrt(0.02)), abs=1e-4)
    assert (mean.n, mean.dropped) == (2, 2)
    assert i2 == pytest.approx(1, abs=1e-4)
    alone, tau, i2 = stats.random_effects(constant[1:])
    assert np.isnan([alone.value, *ends(alone), tau, i2]).all()
    assert (alone.n, alone.dropped) == (1, 2)


@pytest.mark.filterwarnings("error")
def test_one_value_has_no_interval_and_none_has_no_mean() -> None:
    one, none = stats.mean_ci([nan, 2.0]), stats.mean_ci([nan, nan])
    assert (one.value, one.n, one.dropped) == (2, 1, 1)
    assert (none.n, none.dropped) == (0, 2)
    assert np.isnan([*ends(one), none.value, *ends(none)]).all()


def test_rank_correlation_is_scipys_with_ties_and_nan() -> None:
    generator = np.random.default_rng(0)
    x = generator.integers(0, 5, 50).astype(float)
    y = x + generator.integers(0, 8, 50)
    expected = spearmanr(x, y).statistic
    found = stats.rank_correlation([nan, 1, *x], [2, nan, *y])
    assert [found.value, found.n, found.dropped] == pytest.approx([expected, 50, 2])


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
    count, resamples = 8, 40
    drawn = np.random.default_rng(3).multinomial(count, np.full(count, 1 / count), resamples)
    tail = norm.cdf(-math.sqrt(count / (count - 1)) * t.ppf(0.95, count - 1))  # of the 90% interval
    rows = [np.repeat(np.arange(24), np.repeat(counts, 3)) for counts in drawn]
    expected = [spearmanr(x[index], y[index]).statistic for index in rows]
    found = stats.rank_correlation(x, y, groups=GROUPS, level=0.9, n_resamples=resamples, seed=3)
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


@pytest.mark.parametrize(
    ("low", "high", "margin", "expected"),
    [
        (0.1, 0.3, None, "supported"),
        (0.1, 0.3, 0.5, "equivalent"),  # above 0, yet within the margin
        (-0.3, -0.1, 0.5, "equivalent"),
        (0.1, 0.6, 0.5, "supported"),
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
        (lambda: stats.sign_flip([1.0] * 25), "values must be at most 24, got 25"),
        (lambda: stats.seeds_needed(0.1, 0.0), "half_width must be above 0.*got 0.0 and 0.1"),
        (lambda: stats.seeds_needed(nan, 0.1), "sd finite, got 0.1 and nan"),
        (lambda: stats.recovery([1], [1, 2], [1]), r"erm must have shape \(1,\)"),
        (lambda: stats.rank_correlation([1, 2], [1]), r"y must have shape \(2,\).*got \(1,\)"),
        (lambda: stats.rank_correlation([1, 2], [1, 2], groups=["a"]), r"groups must have shape"),
    ],
)
def test_bad_input(attempt: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attempt()
