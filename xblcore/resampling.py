"""The bootstrap of a rank correlation: groups drawn, runs ranked anew, percentiles moved out.

Groups of runs, not runs, are drawn with replacement, since runs of one group are alike (the cluster
bootstrap). A resample is told by how often it has each group, ``counts``, and ``codes`` is the
number of each run's group, from 0 on.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
FEWEST = 5  # values or groups; with fewer the bootstrap has no interval to trust


def draw_groups(codes: Codes, n_resamples: int, seed: int) -> Floats:
    """How often each resample has each group; row 0 is the sample itself, each group once.

    Returns:
        ``(1 + n_resamples, groups)``.

    >>> draw_groups(np.array([0, 0, 1]), 3, seed=0).sum(axis=1)
    array([2., 2., 2., 2.])
    """
    size = max(len(np.unique(codes)), 1)
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(size, np.full(size, 1 / size), n_resamples)
    return np.vstack([np.ones(size), drawn])


def ranks(values: Floats, codes: Codes, counts: Floats) -> Floats:
    """Rank of each run within each resample, ties sharing their mean rank, about a mean of 0.

    Counted rather than sorted, which takes ``runs ** 2`` numbers of memory: a run stands above all
    that is less than it and above half of what is equal.

    Args:
        values: ``(runs,)``, no NaN.
        codes: ``(runs,)``.
        counts: ``(resamples, groups)``.

    Returns:
        ``(resamples, runs)``; that of a run not drawn is where it would stand.

    >>> ranks(np.array([3.0, 1.0, 1.0]), np.arange(3), np.array([[1.0, 1.0, 1.0], [0.0, 2.0, 1.0]]))
    array([[ 1. , -0.5, -0.5],
           [ 1.5,  0. ,  0. ]])
    """
    below = np.less.outer(values, values) + 0.5 * np.equal.outer(values, values)
    member = np.equal.outer(np.arange(counts.shape[1]), codes).astype(np.float64)
    by_group = member @ below  # (groups, runs)
    found: Floats = counts @ by_group - counts @ member.sum(axis=1, keepdims=True) / 2
    return found


def spearman(x_ranks: Floats, y_ranks: Floats, weights: Floats) -> Floats:
    """Correlation of the ranks in each resample, NaN where one side is constant.

    Args:
        x_ranks: ``(resamples, runs)``, from :func:`ranks`.
        y_ranks: ``(resamples, runs)``.
        weights: ``(resamples, runs)``, how often each has each run: ``counts[:, codes]``.

    Returns:
        ``(resamples,)`` in [-1, 1].
    """
    product, x_square, y_square = (
        np.einsum("ij,ij,ij->i", weights, a, b)
        for a, b in ((x_ranks, y_ranks), (x_ranks, x_ranks), (y_ranks, y_ranks))
    )
    norm = np.sqrt(x_square * y_square)
    correlation: Floats = np.full_like(norm, np.nan)
    np.divide(product, norm, out=correlation, where=norm > 0)
    return correlation


def tail(level: float, n: int) -> float:
    """Share of the bootstrap's distribution to leave out at each end, for ``n`` values or groups.

    ``Phi(-sqrt(n / (n - 1)) t)``, with Student's quantile ``t`` of ``n - 1`` degrees of freedom:
    the expanded percentile interval (Hesterberg 2015, doi 10.1080/00031305.2015.1089789). For
    normal values and their mean it is Student's interval, but for the bootstrap's own error.

    >>> round(tail(0.95, 8), 4), round(tail(0.95, 1000), 4)  # the plain percentile leaves 0.025
    (0.0057, 0.0248)
    """
    quantile = stats.t.ppf((1 + level) / 2, n - 1)
    return float(stats.norm.cdf(-math.sqrt(n / (n - 1)) * quantile))


def interval(drawn: Floats, level: float, n: int) -> tuple[float, float]:
    """Both ends of the expanded percentile interval; NaN for fewer than :data:`FEWEST` groups.

    Args:
        drawn: ``(resamples,)``, a statistic of each; NaN, where it has none, is left out.
        level: in (0, 1).
        n: number of values or groups that were drawn from.
    """
    defined = drawn[~np.isnan(drawn)]
    if n < FEWEST or not len(defined):
        return math.nan, math.nan
    left_out = tail(level, n)
    low, high = np.quantile(defined, [left_out, 1 - left_out])
    return float(low), float(high)
