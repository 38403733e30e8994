"""Recovery, intervals, correlations and verdicts: by hand, against SciPy, and by simulation."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap, norm, spearmanr, t, ttest_1samp, ttest_rel

from xblcore import resampling, stats
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


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("function", [stats.mean_ci, stats.bootstrap_ci])
def test_one_value_has_no_interval_and_none_has_no_mean(
    function: Callable[..., Estimate],
) -> None:
    one, none = function([nan, 2.0]), function([nan, nan])
    assert (one.value, one.n, one.dropped) == (2, 1, 1)
    assert (none.n, none.dropped) == (0, 2)
    assert np.isnan([*ends(one), none.value, *ends(none)]).all()
    assert ends(function([3.0] * 5)) == (3, 3)


def test_none_counts_as_nan() -> None:
    assert (stats.mean_ci([1.0, None]).n, stats.mean_ci([1.0, None]).dropped) == (1, 1)


def test_no_statistic_is_asked_about_no_values() -> None:
    assert np.isnan(stats.bootstrap_ci([nan], statistic=lambda sample: sample.max()).value)


def test_of_fewer_than_five_values_the_bootstrap_has_no_interval() -> None:
    assert np.isnan(ends(stats.bootstrap_ci([1.0, 2.0, 3.0, 4.0]))).all()
    assert np.isfinite(ends(stats.bootstrap_ci([1.0, 2.0, 3.0, 4.0, 5.0]))).all()
    four = stats.rank_correlation([1, 3, 2, 4], [1, 2, 3, 4])
    assert four.value == pytest.approx(0.8)
    assert np.isnan(ends(four)).all()


def test_bootstrap_ci_of_any_statistic_is_scipys() -> None:
    values = np.random.default_rng(0).exponential(size=40)
    tail = norm.cdf(-math.sqrt(40 / 39) * t.ppf(0.9, 39))  # Hesterberg's, beyond the plain 0.1
    for statistic in (np.mean, np.median, lambda sample: sample.max()):
        found = stats.bootstrap_ci(
            [*values, nan], statistic=statistic, n_resamples=300, level=0.8, seed=5
        )
        expected = bootstrap(
            (values,), statistic, n_resamples=300, confidence_level=1 - 2 * tail,
            method="percentile", rng=5,
        ).confidence_interval  # fmt: skip
        assert (found.value, *ends(found)) == (statistic(values), expected.low, expected.high)
        assert (found.n, found.dropped) == (40, 1)


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


GROUPS = np.repeat(list("abcdefgh"), 3)


def grouped_pair(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """24 runs of eight methods, alike within a method."""
    generator = np.random.default_rng(seed)
    x, noise = np.repeat(generator.normal(size=(2, 8)), 3, axis=1)
    return x, x + noise + 0.01 * generator.normal(size=24)


def test_whole_groups_are_drawn() -> None:
    """As if each group were one value: three copies of a run tell nothing new."""
    x, y = grouped_pair()
    once = stats.rank_correlation(x[::3], np.round(y, 1)[::3])
    thrice = stats.rank_correlation(x, np.repeat(np.round(y, 1)[::3], 3), groups=GROUPS)
    assert thrice.value == pytest.approx(once.value)
    assert ends(thrice) == pytest.approx(ends(once))
    alone = stats.rank_correlation(x, y)
    assert thrice.high - thrice.low > 1.3 * (alone.high - alone.low)


def test_a_group_by_itself_is_a_run() -> None:
    x, y = grouped_pair()
    assert stats.rank_correlation(x, y, groups=np.arange(24)[::-1]) == stats.rank_correlation(x, y)


def test_grouped_resamples_are_those_drawn_run_by_run() -> None:
    """An independent way: concatenate the drawn groups' runs, and let SciPy rank them."""
    x, y = grouped_pair()
    z, codes = np.roll(x, 1), np.repeat(np.arange(8), 3)
    counts = resampling.draw_groups(codes, 40, 3)
    rows = [np.repeat(np.arange(24), np.round(own[codes]).astype(int)) for own in counts]
    first = np.array([spearmanr(x[own], y[own]).statistic for own in rows])
    second = np.array([spearmanr(z[own], y[own]).statistic for own in rows])
    tail = resampling.tail(0.9, 8)
    options = {"groups": GROUPS, "level": 0.9, "n_resamples": 40, "seed": 3}
    for found, drawn in (
        (stats.rank_correlation(x, y, **options), first),
        (stats.correlation_difference(x, z, y, **options), first - second),
        (stats.correlation_difference(x, z, y, higher_is_better=(False, True), **options),
         -first - second),
        (stats.correlation_difference(x, z, y, absolute=True, **options),
         np.abs(first) - np.abs(second)),
    ):  # fmt: skip
        expected = [drawn[0], *np.quantile(drawn[1:], [tail, 1 - tail])]
        assert [found.value, *ends(found)] == pytest.approx(expected)
    assert (counts[0] == 1).all() and (counts.sum(axis=1) == 8).all() and counts.shape == (41, 8)


def test_too_few_groups_have_no_interval_and_a_group_may_be_lost() -> None:
    x, y = grouped_pair()
    four = stats.rank_correlation(x[:12], y[:12], groups=GROUPS[:12])
    assert np.isnan(ends(four)).all() and np.isfinite(four.value)
    five = stats.rank_correlation(x[:15], y[:15], groups=GROUPS[:15])
    assert np.isfinite(ends(five)).all()
    x[3:6] = nan
    lost = stats.rank_correlation(x[:15], y[:15], groups=GROUPS[:15])
    assert (lost.n, lost.dropped) == (12, 3)
    assert np.isnan(ends(lost)).all()


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
        partial(stats.bootstrap_ci, np.arange(30.0) ** 2),
        partial(stats.rank_correlation, np.arange(30) % 7, np.arange(30)),
        partial(stats.correlation_difference, np.arange(30) % 7, np.arange(30) % 5, np.arange(30)),
    ],
)
def test_2000_resamples_with_seed_0_unless_told(function: Callable[..., Estimate]) -> None:
    assert function() == function(n_resamples=2000, seed=0)


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
        (lambda: stats.rank_correlation([1, 2], [1, 2], groups=["a"]),
         r"groups must be a label for each of 2 runs, got shape \(1,\), 0 missing"),
        (lambda: stats.rank_correlation([1, 2], [1, 2], groups=["a", None]),
         r"groups must be a label for each of 2 runs, got shape \(2,\), 1 missing"),
        (lambda: stats.mean_ci([1.0], level=1), r"level must be in \(0, 1\), got 1"),
        (lambda: stats.bootstrap_ci([1.0, 2.0], n_resamples=0), "n_resamples must be at least 1"),
        (lambda: stats.rank_correlation([1], [1], n_resamples=0), "n_resamples must be at least 1"),
        (lambda: stats.correlation_difference([1], [1], [1], n_resamples=0),
         "n_resamples must be at least 1, got 0"),
        (lambda: stats.correlation_difference([1], [1], [1], higher_is_better=(True,) * 3),
         "zip"),
        (lambda: stats.correlation_difference([1], [1, 2], [1]), r"x2 must be of shape \(1,\)"),
        (lambda: stats.verdict(0, 1, -1), "ci_low must be at most ci_high, got 1 and -1"),
    ],
)  # fmt: skip
def test_bad_input(attempt: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        attempt()
