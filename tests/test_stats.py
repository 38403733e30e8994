"""Recovery, intervals, correlations and verdicts: by hand, against SciPy, and by simulation."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap, spearmanr, ttest_1samp, ttest_rel

from xblcore import stats
from xblcore.stats import Estimate

nan = math.nan


def ends(estimate: Estimate) -> tuple[float, float]:
    return estimate.low, estimate.high


def test_recovery_by_hand() -> None:
    found = stats.recovery([0.4, 0.6, 0.8, 0.9, 0.3], [0.4] * 5, [0.8] * 5)
    assert found == pytest.approx([0, 0.5, 1, 1.25, -0.25])


@pytest.mark.parametrize(
    ("erm", "oracle", "min_gap", "expected"),
    [
        (0.8, 0.8, 0.01, nan),  # nothing was lost
        (0.8, 0.7, 0.01, nan),  # the floor lies above the ceiling
        (0.75, 0.755, 0.01, nan),  # too little was lost
        (0.75, 0.7525, 0.0, 2.0),
        (0.5, 0.75, 0.25, nan),  # not above the gap
        (nan, 0.8, 0.01, nan),
    ],
)
def test_recovery_is_undefined_where_nothing_was_lost(
    erm: float, oracle: float, min_gap: float, expected: float
) -> None:
    found = stats.recovery([0.755, 0.6], [erm, 0.4], [oracle, 0.8], min_gap=min_gap)
    assert found == pytest.approx([expected, 0.5], nan_ok=True)


def test_mean_ci_is_the_t_test_turned_round() -> None:
    values = [0.81, 0.83, 0.80, 0.86, 0.84]
    found = stats.mean_ci([*values, nan], level=0.9)
    expected = ttest_1samp(values, 0).confidence_interval(0.9)
    assert ends(found) == pytest.approx((expected.low, expected.high))
    assert [found.value, found.n, found.dropped] == pytest.approx([0.828, 5, 1])


def test_paired_difference_is_the_paired_t_test() -> None:
    generator = np.random.default_rng(0)
    shared = generator.normal(size=6)
    a, b = shared + 0.2 * generator.normal(size=6) + 1, shared
    found = stats.paired_difference([*a, nan, 1.0], [*b, 2.0, nan])
    expected = ttest_rel(a, b).confidence_interval()
    assert ends(found) == pytest.approx((expected.low, expected.high))
    assert (found.n, found.dropped) == (6, 2)
    unpaired = stats.mean_ci(a)
    assert found.high - found.low < 0.5 * (unpaired.high - unpaired.low)


@pytest.mark.parametrize("function", [stats.mean_ci, stats.bootstrap_ci])
def test_one_value_has_no_interval_and_none_has_no_mean(
    function: Callable[..., Estimate],
) -> None:
    one, none = function([nan, 2.0]), function([nan, nan])
    assert (one.value, one.n, one.dropped) == (2, 1, 1)
    assert (none.n, none.dropped) == (0, 2)
    assert np.isnan([*ends(one), none.value, *ends(none)]).all()
    assert ends(function([3.0] * 4)) == (3, 3)


def test_bootstrap_ci_of_any_statistic_is_scipys() -> None:
    values = np.random.default_rng(0).exponential(size=40)
    for statistic in (np.mean, np.median, lambda sample: sample.max()):
        found = stats.bootstrap_ci(
            [*values, nan], statistic=statistic, n_resamples=300, level=0.8, seed=5
        )
        expected = bootstrap(
            (values,), statistic, n_resamples=300, confidence_level=0.8, method="percentile", rng=5
        ).confidence_interval
        assert (found.value, *ends(found)) == (statistic(values), expected.low, expected.high)
        assert (found.n, found.dropped) == (40, 1)


def covers(make: Callable[[np.random.Generator, int], Estimate], true: float, runs: int) -> float:
    generator = np.random.default_rng(2024)
    found = [make(generator, run) for run in range(runs)]
    return float(np.mean([estimate.low <= true <= estimate.high for estimate in found]))


def test_mean_ci_covers_at_its_level_and_the_bootstrap_of_five_values_does_not() -> None:
    assert 0.93 < covers(lambda g, _: stats.mean_ci(g.normal(3, 2, 5)), 3, 2000) < 0.97
    assert 0.78 < covers(lambda g, _: stats.mean_ci(g.normal(3, 2, 5), level=0.8), 3, 2000) < 0.82
    five = covers(
        lambda g, run: stats.bootstrap_ci(g.normal(3, 2, 5), n_resamples=200, seed=run), 3, 400
    )
    assert five < 0.89


def test_bootstrap_ci_covers_at_its_level() -> None:
    def one(generator: np.random.Generator, run: int) -> Estimate:
        return stats.bootstrap_ci(generator.normal(3, 2, 80), n_resamples=400, seed=run)

    assert 0.93 < covers(one, 3, 1200) < 0.97


def test_rank_correlation_covers_at_its_level() -> None:
    slope = 0.5
    true = 6 / math.pi * math.asin(slope / 2)  # Spearman's of a bivariate normal

    def one(generator: np.random.Generator, run: int) -> Estimate:
        x, noise = generator.normal(size=(2, 60))
        y = slope * x + math.sqrt(1 - slope**2) * noise
        return stats.rank_correlation(x, y, n_resamples=300, seed=run)

    assert 0.93 < covers(one, true, 300) < 0.98


def test_rank_correlation_is_scipys_with_ties_and_nan() -> None:
    generator = np.random.default_rng(0)
    x = generator.integers(0, 5, 50).astype(float)
    y = x + generator.integers(0, 8, 50)
    expected = spearmanr(x, y).statistic
    with_nan = stats.rank_correlation([nan, 1, *x], [2, nan, *y])
    assert [with_nan.value, with_nan.n, with_nan.dropped] == pytest.approx([expected, 50, 2])
    oracle = bootstrap(
        (x, y), lambda a, b: spearmanr(a, b).statistic, paired=True, n_resamples=1000,
        method="percentile", rng=1,
    ).confidence_interval  # fmt: skip
    assert ends(with_nan) == pytest.approx((oracle.low, oracle.high), abs=0.04)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y, level: stats.paired_difference(x, y, level=level),
        lambda x, y, level: stats.bootstrap_ci(x - y, level=level),
        lambda x, y, level: stats.rank_correlation(x, y, level=level),
        lambda x, y, level: stats.correlation_difference(x, -y, y - x, level=level),
    ],
)
def test_a_lower_level_gives_an_interval_inside(function: Callable[..., Estimate]) -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 30))
    wide, narrow = function(x, y, 0.95), function(x, y, 0.5)
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high
    assert 0.2 < (narrow.high - narrow.low) / (wide.high - wide.low) < 0.5  # normal: 0.34


def test_rank_correlation_knows_only_the_order() -> None:
    x = np.arange(1.0, 21)
    assert stats.rank_correlation(x, np.exp(x)) == Estimate(1.0, 1.0, 1.0, 20)
    assert stats.rank_correlation(x, -(x**3)) == Estimate(-1.0, -1.0, -1.0, 20)


@pytest.mark.parametrize(
    ("x", "n"), [([1.0, 1.0, 1.0, 1.0], 4), ([1.0, 2.0, nan, nan], 2), ([nan] * 4, 0)]
)
def test_rank_correlation_is_undefined_for_a_constant_or_two_pairs(x: list[float], n: int) -> None:
    found = stats.rank_correlation(x, [1.0, 2.0, 3.0, 4.0])
    assert np.isnan([found.value, *ends(found)]).all()
    assert (found.n, found.dropped) == (n, 4 - n)


def test_constant_resamples_are_left_out_and_the_interval_stays() -> None:
    found = stats.rank_correlation([0, 0, 0, 1, 0], [1, 2, 3, 4, 5])  # a third draws no 1
    assert -1 <= found.low < found.value < found.high <= 1


def test_correlation_difference_orients_each_metric() -> None:
    y = np.arange(30.0)
    noisy = y + 12 * np.random.default_rng(0).normal(size=30)
    rho = spearmanr(noisy, y).statistic
    as_given = stats.correlation_difference(y, noisy, y)
    assert as_given.value == pytest.approx(1 - rho)
    assert as_given.low > 0
    # A metric that falls as performance rises, declared so, tells as much as its mirror image ...
    mirrored = stats.correlation_difference(-y, noisy, y, higher_is_better=(False, True))
    assert mirrored == as_given
    # ... and one that points the wrong way less than nothing, unless only its strength counts.
    assert stats.correlation_difference(-y, noisy, y).value == pytest.approx(-1 - rho)
    assert stats.correlation_difference(-y, noisy, y, absolute=True).value == as_given.value


def test_correlation_difference_is_paired() -> None:
    generator = np.random.default_rng(0)
    x, noise = generator.normal(size=(2, 60))
    y = x + noise
    same = stats.correlation_difference(x, 2 * x + 1, y)
    assert (same.value, *ends(same)) == (0, 0, 0)
    twin = stats.correlation_difference(x, x + 0.1 * generator.normal(size=60), y)
    single = stats.rank_correlation(x, y)
    assert twin.high - twin.low < 0.5 * (single.high - single.low)


def test_correlation_difference_drops_a_run_for_both() -> None:
    generator = np.random.default_rng(0)
    x1, x2, y = generator.normal(size=(3, 20))
    x1[0] = x2[1] = y[2] = nan
    found = stats.correlation_difference(x1, x2, y)
    expected = spearmanr(x1[3:], y[3:]).statistic - spearmanr(x2[3:], y[3:]).statistic
    assert [found.value, found.n, found.dropped] == pytest.approx([expected, 17, 3])


@pytest.mark.parametrize(
    "function",
    [
        lambda seed: stats.bootstrap_ci(np.arange(30.0), n_resamples=50, seed=seed),
        lambda seed: stats.rank_correlation(np.arange(30) % 7, np.arange(30), seed=seed),
        lambda seed: stats.correlation_difference(
            np.arange(30) % 7, np.arange(30) % 5, np.arange(30), seed=seed
        ),
    ],
)
def test_the_same_seed_gives_the_same_interval(function: Callable[[int], Estimate]) -> None:
    assert function(3) == function(3)
    assert ends(function(3)) != ends(function(4))


@pytest.mark.parametrize(
    ("numbers", "threshold", "expected"),
    [
        ((0.2, 0.1, 0.3), 0.0, "supported"),
        ((0.2, 0.0, 0.3), 0.0, "undecided"),  # the threshold itself is not above it
        ((0.2, -0.1, 0.3), 0.0, "undecided"),
        ((-0.2, -0.3, 0.1), 0.0, "undecided"),
        ((-0.2, -0.3, -0.1), 0.0, "not supported"),
        ((0.0, 0.0, 0.0), 0.0, "not supported"),
        ((0.97, 0.96, 0.98), 0.95, "supported"),
        ((0.97, 0.94, 0.99), 0.95, "undecided"),
        ((0.5, 0.4, 0.6), 0.95, "not supported"),
        ((-0.1, 0.1, 0.3), 0.0, "undecided"),  # an interval that the estimate contradicts
        ((nan, nan, nan), 0.0, "undecided"),
        ((0.2, nan, nan), 0.0, "undecided"),  # one seed
        ((nan, 0.1, 0.3), 0.0, "undecided"),
    ],
)
def test_verdict_rule(numbers: tuple[float, float, float], threshold: float, expected: str) -> None:
    assert stats.verdict(*numbers, threshold=threshold) == expected


@pytest.mark.parametrize(
    ("effect", "expected"), [(0.2, "supported"), (-0.2, "not supported"), (0.0, "undecided")]
)
def test_verdicts_on_tables_with_a_known_truth(effect: float, expected: str) -> None:
    generator = np.random.default_rng(7)
    found: list[str] = []
    for _ in range(200):
        erm = generator.normal(0.5, 0.05, 5)
        method = erm + effect + generator.normal(0, 0.03, 5)
        difference = stats.paired_difference(method, erm)
        found.append(stats.verdict(difference.value, *ends(difference)))
    assert found.count(expected) >= 185
    if effect:
        wrong = {"supported", "not supported"} - {expected}
        assert wrong.isdisjoint(found)


def test_series_are_paired_by_their_index() -> None:
    erm = pd.Series([0.4, 0.5], index=[0, 1])
    oracle = pd.Series([0.8, 0.9], index=[0, 1])
    assert stats.recovery(erm, erm, oracle).tolist() == [0, 0]
    with pytest.raises(ValueError, match=r"^oracle must have the index of method, got another"):
        stats.recovery(erm, erm, oracle[::-1])


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: stats.mean_ci([[1.0]]), r"values must be one-dimensional, got shape \(1, 1\)"),
        (lambda: stats.mean_ci(1.0), r"values must be one-dimensional, got shape \(\)"),
        (lambda: stats.mean_ci([1.0, math.inf]), "values must be finite or NaN, got infinity"),
        (lambda: stats.mean_ci([1.0], level=95), r"level must be in \(0, 1\), got 95"),
        (lambda: stats.paired_difference([1, 2], [1]),
         r"b must be of shape \(2,\), one value a run, got shape \(1,\)"),
        (lambda: stats.recovery([1], [1, 2], [1]), r"erm must be of shape \(1,\)"),
        (lambda: stats.recovery([1], [1], [1], min_gap=-0.1), "min_gap must be at least 0, got -"),
        (lambda: stats.recovery([1], [1], [1], min_gap=nan), "min_gap must be at least 0, got nan"),
        (lambda: stats.rank_correlation([1, 2], [1]), r"y must be of shape \(2,\)"),
        (lambda: stats.rank_correlation([1], [1], level=0), r"level must be in \(0, 1\), got 0"),
        (lambda: stats.bootstrap_ci([1.0, 2.0], n_resamples=0), "n_resamples must be at least 1"),
        (lambda: stats.correlation_difference([1], [1, 2], [1]), r"x2 must be of shape \(1,\)"),
        (lambda: stats.verdict(0, 1, -1), "ci_low must be at most ci_high, got 1 and -1"),
    ],
)  # fmt: skip
def test_bad_input(attempt: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        attempt()
