"""From runs to verdicts: recovery, intervals, rank correlations.

Two kinds of interval. Over *seeds* there are few values: :func:`mean_ci` and
:func:`paired_difference` use Student's t. Over *runs* the bootstrap is used, in its expanded form
for small samples (Hesterberg 2015, doi 10.1080/00031305.2015.1089789). It draws whole groups
(methods), because runs of one method are alike and not independent.

Arguments are one-dimensional and paired by position. NaN means undefined: such a value, pair or run
is left out and counted in :class:`Estimate`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]
Verdict = Literal["supported", "contradicted", "equivalent", "undecided"]
FEWEST_GROUPS = 5  # with fewer, the bootstrap gives no useful interval


@dataclass(frozen=True)
class Estimate:
    """A number with its interval."""

    value: float
    low: float  # NaN, like high, if there is no interval
    high: float
    n: int  # values, pairs or runs that it is computed from
    dropped: int = 0  # those left out because they are NaN


def recovery(
    method: ArrayLike, erm: ArrayLike, oracle: ArrayLike, *, min_gap: float = 0.01
) -> Floats:
    """Share of the accuracy lost to the shortcut that a method wins back, per seed.

    ``(acc(method) - acc(erm)) / (acc(oracle) - acc(erm))``: 0 is the level of plain training, 1
    that of training without the decoy; values below 0 and above 1 are possible.

    All are accuracies ``(seeds,)`` on the same test images. Seeds where ``oracle - erm`` is at most
    ``min_gap`` have lost nothing worth recovering; their ratio would be noise and is NaN.

    >>> recovery([0.7, 0.5], [0.4, 0.5], [0.8, 0.5]).round(2)
    array([0.75,  nan])
    """
    reached, floor, ceiling = _arrays(method=method, erm=erm, oracle=oracle)
    gap = ceiling - floor
    share = np.full_like(gap, np.nan)
    np.divide(reached - floor, gap, out=share, where=gap > min_gap)
    return share


def mean_ci(values: ArrayLike, *, level: float = 0.95) -> Estimate:
    """Mean with Student's t interval, ``mean +- t_(n-1) s / sqrt(n)``.

    Exact for normally distributed values. Bimodal values, such as one collapsed seed in seven, are
    covered far less often than the level says. One value has no interval.

    >>> mean_ci([1.0, 1.0, 1.0, float("nan")])
    Estimate(value=1.0, low=1.0, high=1.0, n=3, dropped=1)
    """
    (array,) = _arrays(values=values)
    kept = array[~np.isnan(array)]
    dropped = len(array) - len(kept)
    if not len(kept):
        return Estimate(math.nan, math.nan, math.nan, 0, dropped)
    mean, half = float(kept.mean()), math.nan
    if len(kept) > 1:
        quantile = float(stats.t.ppf((1 + level) / 2, len(kept) - 1))
        half = quantile * float(kept.std(ddof=1)) / math.sqrt(len(kept))
    return Estimate(mean, mean - half, mean + half, len(kept), dropped)


def paired_difference(a: ArrayLike, b: ArrayLike, *, level: float = 0.95) -> Estimate:
    """Mean of ``a - b`` over seeds with the interval of :func:`mean_ci`.

    >>> paired_difference([0.75, 1.0], [0.5, 0.75])
    Estimate(value=0.25, low=0.25, high=0.25, n=2, dropped=0)
    """
    first, second = _arrays(a=a, b=b)
    return mean_ci(first - second, level=level)


def rank_correlation(
    x: ArrayLike, y: ArrayLike, *, groups: ArrayLike | None = None, level: float = 0.95,
    n_resamples: int = 2000, seed: int = 0,
) -> Estimate:  # fmt: skip
    """Spearman's rank correlation with a bootstrap interval over groups of runs.

    Args:
        x: ``(runs,)``.
        y: ``(runs,)``.
        groups: ``(runs,)``, label of each run's group; None: every run is its own group.
        level: of the interval.
        n_resamples: of the bootstrap.
        seed: of the bootstrap.

    >>> rank_correlation([1.0, 2.0, 3.0, 4.0], [1.0, 8.0, 27.0, float("nan")]).value
    1.0
    """
    return correlation_difference(
        x, None, y, groups=groups, level=level, n_resamples=n_resamples, seed=seed
    )


def correlation_difference(
    x1: ArrayLike, x2: ArrayLike | None, y: ArrayLike, *, groups: ArrayLike | None = None,
    level: float = 0.95, n_resamples: int = 2000, seed: int = 0,
) -> Estimate:  # fmt: skip
    """Difference ``rho(x1, y) - rho(x2, y)`` of two correlations from the same runs and resamples.

    Both metrics must be oriented alike (higher is better). A run with a NaN in any argument is left
    out for both. ``x2=None`` gives ``rho(x1, y)``. Other arguments as :func:`rank_correlation`.

    >>> correlation_difference([1, 2, 3], [3, 1, 2], [1, 2, 3]).value
    1.5
    """
    named = {"x1": x1, "y": y} | ({} if x2 is None else {"x2": x2})
    arrays = dict(zip(named, _arrays(**named), strict=True))
    size = len(arrays["y"])
    labels = np.arange(size) if groups is None else np.asarray(groups)
    if labels.shape != (size,):
        raise ValueError(f"groups must have shape ({size},), one label per run, got {labels.shape}")
    keep = ~np.isnan(list(arrays.values())).any(axis=0)
    kept = {name: array[keep] for name, array in arrays.items()}
    codes = pd.factorize(labels[keep])[0]
    count = len(np.unique(codes))
    if len(codes) < 3:
        return Estimate(math.nan, math.nan, math.nan, len(codes), size - len(codes))
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(count, np.full(count, 1 / count), n_resamples)
    weights = np.vstack([np.ones(count), drawn])[:, codes]  # (1 + resamples, runs); first: sample
    target = _ranks(kept["y"], weights)
    rho = _correlation(_ranks(kept["x1"], weights), target, weights)
    if x2 is not None:
        rho = rho - _correlation(_ranks(kept["x2"], weights), target, weights)
    low, high = math.nan, math.nan
    defined = rho[1:][~np.isnan(rho[1:])]
    if count >= FEWEST_GROUPS and len(defined):
        quantile = stats.t.ppf((1 + level) / 2, count - 1)
        tail = float(stats.norm.cdf(-math.sqrt(count / (count - 1)) * quantile))
        low, high = (float(end) for end in np.quantile(defined, [tail, 1 - tail]))
        low, high = min(low, float(rho[0])), max(high, float(rho[0]))  # holds its estimate
    return Estimate(float(rho[0]), low, high, len(codes), size - len(codes))


def _ranks(values: Floats, weights: Floats) -> Floats:
    """Mean ranks of the runs within each resample, centred on 0; ``(resamples, runs)``."""
    below = np.less.outer(values, values) + 0.5 * np.equal.outer(values, values)
    ranks: Floats = weights @ below - weights.sum(axis=1, keepdims=True) / 2
    return ranks


def _correlation(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Weighted correlation of ranks in each resample; NaN if one side is constant."""
    product, xx, yy = ((weights * a * b).sum(axis=1) for a, b in ((x, y), (x, x), (y, y)))
    norm = np.sqrt(xx * yy)
    result = np.full_like(norm, np.nan)
    np.divide(product, norm, out=result, where=norm > 1e-9)
    return result


def verdict(estimate: Estimate, *, margin: float | None = None) -> Verdict:
    """Verdict on the claim "the true value is above 0".

    ``supported``: the interval lies above 0. ``contradicted``: it lies below 0. ``equivalent``: it
    lies within ``margin`` of 0, if a margin is given. Otherwise ``undecided``.

    >>> verdict(Estimate(0.3, 0.1, 0.5, 5)), verdict(Estimate(0.3, -0.1, 0.5, 5))
    ('supported', 'undecided')
    >>> verdict(Estimate(0.01, -0.02, 0.04, 5), margin=0.05)
    'equivalent'
    """
    if estimate.low > 0:
        return "supported"
    if estimate.high < 0:
        return "contradicted"
    if margin is not None and -margin < estimate.low and estimate.high < margin:
        return "equivalent"
    return "undecided"


def _arrays(**named: ArrayLike) -> list[Floats]:
    """Convert the arguments to float arrays of the same length."""
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in named.items()}
    shape = (next(iter(arrays.values())).size,)
    for name, array in arrays.items():
        if array.shape != shape:
            raise ValueError(
                f"{name} must have shape {shape}, one value per run, got {array.shape}"
            )
        if np.isinf(array).any():
            raise ValueError(f"{name} must be finite or NaN, got infinity")
    return list(arrays.values())
