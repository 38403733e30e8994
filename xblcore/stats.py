"""From runs to verdicts: recovery, intervals, rank correlations, claims.

Two kinds of interval, for two kinds of sample. Over *seeds* there are about five values: there the
percentile bootstrap covers far below its level (about 84% instead of 95% for five normal values),
so :func:`mean_ci` and :func:`paired_difference` use Student's t. Over *runs* or *images* there are
dozens or more, and the statistic may be anything: there the bootstrap is used.

Arguments are one-dimensional and paired by position; pandas series must agree in their index. NaN
is "undefined", never zero: a value, pair or run with one is left out and counted in
:class:`Estimate`. ``level`` in (0, 1) is the share of repetitions in which such an interval holds
the true value; ``n_resamples`` (at least 1) is how many samples the bootstrap draws, and the same
``seed`` draws the same ones. What breaks these rules, infinity included, is a ``ValueError``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]
Verdict = Literal["supported", "not supported", "undecided"]


@dataclass(frozen=True)
class Estimate:
    """A number with its interval."""

    value: float
    low: float  # NaN, like high, where there is no interval
    high: float
    n: int  # values, or pairs, that it rests on
    dropped: int = 0  # those left out because they were NaN


def recovery(
    method: ArrayLike, erm: ArrayLike, oracle: ArrayLike, *, min_gap: float = 0.01
) -> Floats:
    """Share of the accuracy lost to the shortcut that a method wins back, for each seed.

    ``(acc(method) - acc(erm)) / (acc(oracle) - acc(erm))``: 0 is no better than plain training, 1
    level with training without the decoy; below 0 and above 1 are possible.

    Args:
        method: ``(seeds,)`` accuracies in [0, 1] on the same test images as the next two.
        erm: ``(seeds,)``, the floor.
        oracle: ``(seeds,)``, the ceiling.
        min_gap: a seed where ``oracle - erm`` is not above this has lost nothing worth recovering;
            the ratio would be noise, or of the wrong sign, and is NaN.

    Returns:
        ``(seeds,)``; higher is better; NaN by ``min_gap`` or where an accuracy is NaN.

    >>> recovery([0.7, 0.5], [0.4, 0.5], [0.8, 0.5]).round(2)
    array([0.75,  nan])
    """
    if not min_gap >= 0:
        raise ValueError(f"min_gap must be at least 0, got {min_gap}")
    reached, floor, ceiling = _paired(method=method, erm=erm, oracle=oracle)
    gap = ceiling - floor
    share = np.full_like(gap, np.nan)
    np.divide(reached - floor, gap, out=share, where=gap > min_gap)
    return share


def mean_ci(values: ArrayLike, *, level: float = 0.95) -> Estimate:
    """Mean with Student's t interval, ``mean +- t_(n-1) s / sqrt(n)``: the one for a few seeds.

    Exact for normal values, close to its level for anything not very skewed. One value has no
    interval.

    >>> mean_ci([1.0, 1.0, 1.0, float("nan")])
    Estimate(value=1.0, low=1.0, high=1.0, n=3, dropped=1)
    """
    _check_level(level)
    (kept,), dropped = _complete(*_paired(values=values))
    if not len(kept):
        return Estimate(math.nan, math.nan, math.nan, 0, dropped)
    mean, half = float(kept.mean()), math.nan
    if len(kept) > 1:
        quantile = float(stats.t.ppf((1 + level) / 2, len(kept) - 1))
        half = quantile * float(kept.std(ddof=1)) / math.sqrt(len(kept))
    return Estimate(mean, mean - half, mean + half, len(kept), dropped)


def paired_difference(a: ArrayLike, b: ArrayLike, *, level: float = 0.95) -> Estimate:
    """Mean of ``a - b`` over seeds, with the t interval of :func:`mean_ci`.

    Pairing removes what a seed does to both methods alike (initial weights, order of the images),
    so that the interval is narrower than that of two separate means.

    >>> paired_difference([0.75, 1.0], [0.5, 0.75])
    Estimate(value=0.25, low=0.25, high=0.25, n=2, dropped=0)
    """
    first, second = _paired(a=a, b=b)
    return mean_ci(first - second, level=level)


def bootstrap_ci(
    values: ArrayLike,
    *,
    statistic: Callable[..., Any] = np.mean,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Any statistic of one sample with its percentile bootstrap interval (Efron 1979).

    For some 20 values and more; :func:`mean_ci` is the better choice for the mean of a few. A
    ``statistic`` that takes ``axis`` is computed for all resamples at once.

    >>> bootstrap_ci([0.0, 1.0] * 20).value
    0.5
    """
    _check_level(level, n_resamples)
    (kept,), dropped = _complete(*_paired(values=values))
    value = float(statistic(kept)) if len(kept) else math.nan
    if len(kept) < 2:
        return Estimate(value, math.nan, math.nan, len(kept), dropped)
    interval = stats.bootstrap(
        (kept,),
        statistic,
        n_resamples=n_resamples,
        batch=max(1, 2**22 // len(kept)),  # bounds the memory
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Estimate(value, float(interval.low), float(interval.high), len(kept), dropped)


def rank_correlation(
    x: ArrayLike, y: ArrayLike, *, level: float = 0.95, n_resamples: int = 2000, seed: int = 0
) -> Estimate:
    """Spearman's rank correlation with a percentile bootstrap interval over the pairs (the runs).

    Pearson's correlation of the ranks, ties sharing their mean rank; in [-1, 1]. Each resample
    draws whole runs and is ranked anew. Resamples in which one side is constant have no correlation
    and are left out. NaN throughout for fewer than 3 pairs or a constant side.

    >>> rank_correlation([1.0, 2.0, 3.0, 4.0], [1.0, 8.0, 27.0, float("nan")]).value
    1.0
    """
    _check_level(level, n_resamples)
    (x_kept, y_kept), dropped = _complete(*_paired(x=x, y=y))
    rows = _resamples(len(x_kept), n_resamples, seed)
    drawn = _spearman(_ranks(x_kept, rows), _ranks(y_kept, rows))
    return _percentile(drawn, level, len(x_kept), dropped)


def correlation_difference(
    x1: ArrayLike,
    x2: ArrayLike,
    y: ArrayLike,
    *,
    higher_is_better: tuple[bool, bool] = (True, True),
    absolute: bool = False,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """How much more the metric ``x1`` tells about ``y`` than ``x2``: ``rho(x1, y) - rho(x2, y)``.

    Each metric is oriented first, so that higher is better and a good one has a correlation near 1.
    A metric that ranks the runs the wrong way round then counts as worse than one that tells
    nothing; ``absolute=True`` credits it instead, ``|rho(x1, y)| - |rho(x2, y)|``. Paired: both
    correlations come from the same runs and the same resamples, so what they share cancels.

    Args:
        x1: ``(runs,)``; a run with a NaN in any of the three is left out for both.
        x2: ``(runs,)``.
        y: ``(runs,)``, performance, higher is better.
        higher_is_better: direction of ``x1`` and of ``x2``.
        absolute: compare strengths whatever the sign.
        level, n_resamples, seed: as in the module's docstring.

    Returns:
        In [-2, 2], with a percentile bootstrap interval; NaN as in :func:`rank_correlation`.

    >>> correlation_difference([1, 2, 3], [3, 1, 2], [1, 2, 3]).value
    1.5
    """
    _check_level(level, n_resamples)
    (a, b, target), dropped = _complete(*_paired(x1=x1, x2=x2, y=y))
    rows = _resamples(len(a), n_resamples, seed)
    ranks = _ranks(target, rows)
    first, second = (
        (1 if up else -1) * _spearman(_ranks(metric, rows), ranks)
        for metric, up in zip((a, b), higher_is_better, strict=True)
    )
    drawn = np.abs(first) - np.abs(second) if absolute else first - second
    return _percentile(drawn, level, len(a), dropped)


def verdict(estimate: float, ci_low: float, ci_high: float, *, threshold: float = 0.0) -> Verdict:
    """Whether the data support the claim "the true value is above ``threshold``".

    ``supported``: estimate and whole interval lie above it. ``not supported``: estimate and whole
    interval lie at it or below. ``undecided``: everything else, that is an interval which holds
    values on both sides, or a NaN. A claim "below" is the claim "above" of the negated numbers.

    >>> verdict(0.3, 0.1, 0.5), verdict(0.3, -0.1, 0.5), verdict(-0.3, -0.5, 0.0)
    ('supported', 'undecided', 'not supported')
    """
    if ci_low > ci_high:
        raise ValueError(f"ci_low must be at most ci_high, got {ci_low} and {ci_high}")
    numbers = (estimate, ci_low, ci_high)
    if all(number > threshold for number in numbers):
        return "supported"
    if all(number <= threshold for number in numbers):
        return "not supported"
    return "undecided"


def _paired(**named: ArrayLike) -> list[Floats]:
    """The arguments as float arrays of one length; pandas series must agree in their index."""
    series = {name: values.index for name, values in named.items() if isinstance(values, pd.Series)}
    for name, index in series.items():
        if not index.equals(next(iter(series.values()))):
            first = next(iter(series))
            raise ValueError(f"{name} must have the index of {first}, got another; set it to seeds")
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in named.items()}
    shape = next(iter(arrays.values())).shape
    for name, array in arrays.items():
        if array.ndim != 1 or array.shape != shape:
            rule = f"of shape {shape}, one value a run" if len(shape) == 1 else "one-dimensional"
            raise ValueError(f"{name} must be {rule}, got shape {array.shape}")
        if np.isinf(array).any():
            raise ValueError(f"{name} must be finite or NaN, got infinity")
    return list(arrays.values())


def _complete(*arrays: Floats) -> tuple[list[Floats], int]:
    """The arrays without the positions at which one of them is NaN, and how many these are."""
    keep = ~np.isnan(arrays).any(axis=0)
    return [array[keep] for array in arrays], int((~keep).sum())


def _resamples(n: int, n_resamples: int, seed: int) -> NDArray[np.int64]:
    """Row 0 is the sample itself, the others are drawn with replacement: (1 + n_resamples, n)."""
    drawn = np.random.default_rng(seed).integers(0, max(n, 1), (n_resamples, n))
    return np.vstack([np.arange(n), drawn])


def _ranks(values: Floats, rows: NDArray[np.int64]) -> Floats:
    """Ranks within each resample, ties sharing their mean rank, about a mean of 0."""
    if len(values) < 3:
        return np.zeros(rows.shape)  # constant, hence without a correlation
    ranks: Floats = stats.rankdata(values[rows], axis=1) - (len(values) + 1) / 2
    return ranks


def _spearman(x_ranks: Floats, y_ranks: Floats) -> Floats:
    """Correlation of the ranks in each row, NaN where one side is constant."""
    product = (x_ranks * y_ranks).sum(axis=1)
    norm = np.sqrt((x_ranks**2).sum(axis=1) * (y_ranks**2).sum(axis=1))
    correlation: Floats = np.full_like(norm, np.nan)
    np.divide(product, norm, out=correlation, where=norm > 0)
    return correlation


def _percentile(drawn: Floats, level: float, n: int, dropped: int) -> Estimate:
    """Estimate from row 0, interval from the other rows that have a value."""
    value, drawn = float(drawn[0]), drawn[1:][~np.isnan(drawn[1:])]
    if math.isnan(value) or not len(drawn):
        return Estimate(math.nan, math.nan, math.nan, n, dropped)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high), n, dropped)


def _check_level(level: float, n_resamples: int = 1) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), got {level}")
    if n_resamples < 1:
        raise ValueError(f"n_resamples must be at least 1, got {n_resamples}")
