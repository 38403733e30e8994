"""From runs to verdicts: recovery, intervals, tests, rank correlations.

Three kinds of interval. Over *seeds* there are few values: :func:`mean_ci`, of paired differences
where methods are compared, uses Student's t. Over *tasks*, :func:`random_effects` lets the effect
differ from task to task. Over *runs* the bootstrap is used, in its expanded form for small samples
(Hesterberg 2015, doi 10.1080/00031305.2015.1089789). It draws whole groups (methods), because runs
of one method are alike and not independent.

Arguments are one-dimensional and paired by position. NaN means undefined: such a value, pair or run
is left out and counted in :class:`Estimate`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

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


def sign_flip(values: ArrayLike) -> float:
    """Exact two-sided p value of the sign-flip test of a zero mean.

    The share of the ``2^n`` sign vectors with ``|sum s_i x_i| >= |sum x_i|``. Unlike Student's
    t, it needs no normal distribution, only one that is symmetric around 0. With ``n`` values, p is
    at least ``2^(1-n)``: 0.0625 for five seeds, 0.002 for ten.

    Source: Fisher 1935, "The design of experiments", section 21. At most 24 values ``(seeds,)``.

    >>> sign_flip([0.1, 0.2, 0.3, 0.2, 0.1]), sign_flip([1.0, -1.0])
    (0.0625, 1.0)
    """
    (array,) = _arrays(values=values)
    kept = array[~np.isnan(array)]
    if len(kept) > 24:
        raise ValueError(f"values must be at most 24, got {len(kept)}; use a Monte Carlo test")
    if not len(kept):
        return math.nan
    sums = kept[:1]  # the first sign is fixed: the test is symmetric
    for value in kept[1:]:
        sums = np.concatenate([sums + value, sums - value])
    return float((np.abs(sums) >= abs(kept.sum()) - 1e-12 * np.abs(kept).sum()).mean())


def holm(p_values: ArrayLike) -> Floats:
    """Correct the p values ``(tests,)`` of a family for multiple testing; NaN are no tests.

    The k-th smallest of ``m`` is multiplied by ``m - k + 1``; the results never decrease with k.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".

    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    (p,) = _arrays(p_values=p_values)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # NaN are last
    corrected = np.full_like(p, np.nan)
    scaled = p[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return corrected


def seeds_needed(sd: float, half_width: float, *, level: float = 0.95) -> int:
    """Seeds whose t interval is at most ``+- half_width``: least n, ``t_(n-1) sd / sqrt(n) <= h``.

    ``sd`` is the standard deviation over the seeds, of paired differences if these are compared.

    >>> seeds_needed(0.05, half_width=0.05)
    7
    """
    if not (0 <= sd < math.inf and half_width > 0):
        raise ValueError(f"half_width must be above 0 and sd finite, got {half_width} and {sd}")
    start = math.ceil((stats.norm.ppf((1 + level) / 2) * sd / half_width) ** 2)
    return next(
        n for n in itertools.count(max(2, start))
        if stats.t.ppf((1 + level) / 2, n - 1) * sd <= half_width * math.sqrt(n)
    )  # fmt: skip


def random_effects(
    estimates: Sequence[Estimate], *, level: float = 0.95
) -> tuple[Estimate, float, float]:
    """Mean effect over tasks that may differ, with their heterogeneity tau and I^2.

    ``x_k ~ N(mu, tau^2 + se_k^2)`` with ``tau`` by Paule and Mandel (1982) and the standard errors
    ``se_k`` of :func:`mean_ci`. The interval is that of Hartung, Knapp, Sidik and Jonkman, with a
    scale of at least 1 (Roever et al. 2015, doi 10.1186/s12874-015-0091-1): ``t_(K-1)`` standard
    errors, 4.3 for three tasks. ``I^2`` is the share of the variance between the estimates that is
    not due to the seeds (Higgins and Thompson 2002). Estimates without interval are left out; fewer
    than two have no mean.

    >>> mean, tau, i2 = random_effects([Estimate(0.1, 0, 0.2, 10), Estimate(0.3, 0.2, 0.4, 10)])
    >>> round(mean.value, 3), round(tau, 3), round(i2, 2)
    (0.2, 0.134, 0.9)
    """
    known = [one for one in estimates if not math.isnan(one.high - one.low)]
    counts = (len(known), len(estimates) - len(known))
    if len(known) < 2:
        return Estimate(math.nan, math.nan, math.nan, *counts), math.nan, math.nan
    values, half, n = np.array([(e.value, (e.high - e.low) / 2, e.n) for e in known]).T
    variance = np.maximum((half / stats.t.ppf((1 + level) / 2, n - 1)) ** 2, 1e-8)

    def combined(tau2: float) -> tuple[float, float, float]:
        """Return the mean, its variance, and the excess of the weighted squares over K - 1."""
        w = 1 / (variance + tau2)
        mean = float(w @ values / w.sum())
        return mean, float(1 / w.sum()), float(w @ (values - mean) ** 2) - (len(known) - 1)

    tau2 = 0.0
    if combined(0.0)[2] > 0:
        tau2 = float(optimize.brentq(lambda t: combined(t)[2], 0, values.var(ddof=1)))
    mean, mean_variance, _ = combined(tau2)
    half_width = float(stats.t.ppf((1 + level) / 2, len(known) - 1)) * math.sqrt(mean_variance)
    w = 1 / variance
    typical = (len(known) - 1) * w.sum() / (w.sum() ** 2 - (w**2).sum())
    found = Estimate(mean, mean - half_width, mean + half_width, *counts)
    return found, math.sqrt(tau2), float(tau2 / (tau2 + typical))


def rank_correlation(
    x: ArrayLike, y: ArrayLike, *, groups: ArrayLike | None = None, level: float = 0.95,
    n_resamples: int = 2000, seed: int = 0,
) -> Estimate:  # fmt: skip
    """Spearman's rank correlation with a bootstrap interval over groups of runs.

    ``x``, ``y`` and ``groups``, the label of each run's group, have shape ``(runs,)``. Without
    groups, every run is its own. ``seed`` is that of the bootstrap.

    >>> rank_correlation([1.0, 2.0, 3.0, 4.0], [1.0, 8.0, 27.0, float("nan")]).value
    1.0
    """
    both = np.array(_arrays(x=x, y=y))
    size = both.shape[1]
    labels = np.arange(size) if groups is None else np.asarray(groups)
    if labels.shape != (size,):
        raise ValueError(f"groups must have shape ({size},), one label per run, got {labels.shape}")
    keep = ~np.isnan(both).any(axis=0)
    codes = pd.factorize(labels[keep])[0]
    count = len(np.unique(codes))
    if len(codes) < 3:
        return Estimate(math.nan, math.nan, math.nan, len(codes), size - len(codes))
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), n_resamples)
    weights = np.vstack([np.ones(count), drawn])[:, codes]  # (1 + resamples, runs); first: sample
    ranks, target = (_ranks(values, weights) for values in both[:, keep])
    rho = _correlation(ranks, target, weights)
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

    ``equivalent``: the interval lies within ``margin`` of 0, if one is given. This comes first:
    a difference that is certainly below the margin has no practical meaning, even if it is
    certainly not 0. ``supported``: the interval lies above 0. ``contradicted``: it lies below 0.
    Otherwise ``undecided``. With a 95% interval, ``equivalent`` is an equivalence test (TOST) at
    level 0.025.

    >>> verdict(Estimate(0.3, 0.1, 0.5, 5)), verdict(Estimate(0.3, -0.1, 0.5, 5))
    ('supported', 'undecided')
    >>> verdict(Estimate(0.03, 0.02, 0.04, 5), margin=0.05)
    'equivalent'
    """
    if margin is not None and -margin < estimate.low and estimate.high < margin:
        return "equivalent"
    if estimate.low > 0:
        return "supported"
    if estimate.high < 0:
        return "contradicted"
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
