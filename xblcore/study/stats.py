"""From runs to verdicts: recovery, intervals, rank correlations, claims.

Two kinds of interval, for two kinds of sample. Over *seeds* there are about five values: there
:func:`mean_ci` and :func:`paired_difference` use Student's t. Over *runs* the statistic may be
anything: there the bootstrap is used, in the form that allows for a small sample (Hesterberg 2015,
"What teachers should know about the bootstrap", doi 10.1080/00031305.2015.1089789): the percentiles
are moved out to ``Phi(-+ sqrt(n / (n - 1)) t_(n-1))``, since the plain ones assume that the spread
is known. How often each interval holds the true value is measured in ``tests/test_coverage.py``.

Arguments are one-dimensional and paired by position; pandas series must agree in their index. NaN
is "undefined", never zero: a value, pair or run with one is left out and counted in
:class:`Estimate`. ``level`` in (0, 1) is the share of repetitions in which such an interval holds
the true value; ``n_resamples`` (at least 1) is how many samples the bootstrap draws, and the same
``seed`` draws the same ones. ``groups`` names what each run belongs to, such as its method: runs of
one group are alike, so whole groups are drawn, and their number is the size of the sample. Taken
for independent, five seeds of a method would count as five methods, and what is called a 95%
interval would hold the true correlation in 45% to 65% of studies. None: every run is a group of its
own. What breaks these rules, infinity included, is a ``ValueError``.
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

from xblcore import resampling
from xblcore.resampling import Codes

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
        method: ``(seeds,)`` accuracies, or any measure where higher is better, on the same test
            images as the next two.
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

    Exact for normal values, whatever their variance. Five values cannot show that they are not
    normal, and without that no interval of them reaches 95%: this one holds the mean in 94% of
    studies for uniform values, 89% for exponential ones, 85% where half of the seeds pile up on a
    bound, and far less where a rare seed collapses (one in seven: 66%). All values the same: an
    interval of no width, which says that the seeds agree and no more. One value has no interval.

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
    """Any statistic of one sample with its expanded percentile bootstrap interval.

    For some 10 values and more; :func:`mean_ci` is the better choice for the mean of a few, where
    this covers 90% instead of 95% of five normal values. A ``statistic`` that takes ``axis`` is
    computed for all resamples at once.

    >>> bootstrap_ci([0.0, 1.0] * 20).value
    0.5
    """
    _check_level(level, n_resamples)
    (kept,), dropped = _complete(*_paired(values=values))
    value = float(statistic(kept)) if len(kept) else math.nan
    if len(kept) < resampling.FEWEST:
        return Estimate(value, math.nan, math.nan, len(kept), dropped)
    interval = stats.bootstrap(
        (kept,),
        statistic,
        n_resamples=n_resamples,
        batch=max(1, 2**22 // len(kept)),  # bounds the memory
        confidence_level=1 - 2 * resampling.tail(level, len(kept)),
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Estimate(value, float(interval.low), float(interval.high), len(kept), dropped)


def rank_correlation(
    x: ArrayLike,
    y: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Spearman's rank correlation with a bootstrap interval over the runs, or groups of them.

    Pearson's correlation of the ranks, ties sharing their mean rank; in [-1, 1]. Each resample
    draws whole groups and is ranked anew. Resamples in which one side is constant have no
    correlation and are left out. NaN throughout for fewer than 3 pairs or a constant side, and no
    interval for fewer than :data:`xblcore.resampling.FEWEST` groups.

    >>> rank_correlation([1.0, 2.0, 3.0, 4.0], [1.0, 8.0, 27.0, float("nan")]).value
    1.0
    """
    _check_level(level, n_resamples)
    runs, codes, dropped = _grouped(groups, x=x, y=y)
    counts = resampling.draw_groups(codes, n_resamples, seed)
    x_ranks, y_ranks = (resampling.ranks(side, codes, counts) for side in runs)
    drawn = resampling.spearman(x_ranks, y_ranks, counts[:, codes])
    return _estimate(drawn, level, codes, dropped)


def correlation_difference(
    x1: ArrayLike,
    x2: ArrayLike,
    y: ArrayLike,
    *,
    higher_is_better: tuple[bool, bool] = (True, True),
    absolute: bool = False,
    groups: ArrayLike | None = None,
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
        groups, level, n_resamples, seed: as in the module's docstring.

    Returns:
        In [-2, 2], with a bootstrap interval; NaN as in :func:`rank_correlation`.

    >>> correlation_difference([1, 2, 3], [3, 1, 2], [1, 2, 3]).value
    1.5
    """
    _check_level(level, n_resamples)
    (*metrics, target), codes, dropped = _grouped(groups, x1=x1, x2=x2, y=y)
    counts = resampling.draw_groups(codes, n_resamples, seed)
    ranks, weights = resampling.ranks(target, codes, counts), counts[:, codes]
    first, second = (
        (1 if up else -1)
        * resampling.spearman(resampling.ranks(metric, codes, counts), ranks, weights)
        for metric, up in zip(metrics, higher_is_better, strict=True)
    )
    drawn = np.abs(first) - np.abs(second) if absolute else first - second
    return _estimate(drawn, level, codes, dropped)


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
            raise ValueError(f"{name} must have the index of {first}, got another; pair them first")
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


def _grouped(groups: ArrayLike | None, **named: ArrayLike) -> tuple[list[Floats], Codes, int]:
    """The complete runs, the number of each one's group from 0 on, and how many were left out."""
    arrays = _paired(**named)
    labels = np.arange(len(arrays[0])) if groups is None else np.asarray(groups)
    if labels.shape != arrays[0].shape or pd.isna(labels).any():
        told = f"shape {labels.shape}, {pd.isna(labels).sum()} missing"
        raise ValueError(f"groups must be a label for each of {len(arrays[0])} runs, got {told}")
    keep = ~np.isnan(arrays).any(axis=0)
    runs, dropped = _complete(*arrays)
    return runs, pd.factorize(labels[keep])[0], dropped


def _estimate(drawn: Floats, level: float, codes: Codes, dropped: int) -> Estimate:
    """Of a correlation in the sample, row 0, and in the resamples; it needs three pairs."""
    value = float(drawn[0]) if len(codes) > 2 else math.nan
    if math.isnan(value):
        return Estimate(value, value, value, len(codes), dropped)
    low, high = resampling.interval(drawn[1:], level, len(np.unique(codes)))
    return Estimate(value, low, high, len(codes), dropped)


def _check_level(level: float, n_resamples: int = 1) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), got {level}")
    if n_resamples < 1:
        raise ValueError(f"n_resamples must be at least 1, got {n_resamples}")
