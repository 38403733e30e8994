"""How far a mean over seeds may move from one machine to another.

On the same versions and kind of processor the numbers are the same bit for bit. Elsewhere other
rounding sets the trainings apart, and a run comes out at worst as if it had another seed. So the
spread over the seeds tells the tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

FALSE_ALARMS = 0.01  # share of readers who see one, over all numbers of a profile
MIN_SEEDS = 3  # for a spread of one's own
RULE = (
    "tolerance = t * s * sqrt(2 / n), half of the prediction interval for the difference of two "
    "means over n seeds. s: standard deviation over the seeds, at least one image's share; with "
    f"fewer than {MIN_SEEDS} seeds, at least the root mean square of it over the methods of the "
    f"task. t: Student's quantile at 1 - {FALSE_ALARMS:g} / (2 N), N the numbers of the profile, "
    f"so that by chance alone at most {FALSE_ALARMS:.0%} of readers see any of them disagree "
    "(Bonferroni). At most 1 where the quantity lies in [0, 1]."
)


def tolerances(
    values: Mapping[str, Sequence[float]], *, alarm: float, resolution: float
) -> dict[str, float]:
    """How far the mean over seeds may lie from that of a second set of as many seeds.

    ``t_df(1 - alarm / 2) * s * sqrt(2 / n)``, half of the prediction interval for normal values;
    ``s`` is the standard deviation over the n seeds, ``df = n - 1``. With fewer than
    :data:`MIN_SEEDS` values that quantile is in the thousands and the interval says nothing. There
    ``s`` is the larger of the method's own and the root mean square over the methods, which have
    the ``df`` of all of them together. A method's seeds can tie, since accuracies are counts of
    images, so no ``s`` is taken to be below ``resolution``.

    Args:
        values: of one quantity of one task, per method, one a seed; NaN is left out.
        alarm: probability in (0, 1) that a method is off by more although nothing is wrong.
        resolution: smallest step of the quantity, above 0.

    Returns:
        Per method, above 0; NaN where it has no value, or no method has two.

    >>> found = tolerances({"erm": [0.1, 0.2, 0.3], "rrr": [0.5]}, alarm=0.05, resolution=0.01)
    >>> {method: round(value, 3) for method, value in found.items()}  # t_2 = 4.303, s = 0.1
    {'erm': 0.351, 'rrr': 0.608}
    """
    if not 0 < alarm < 1 or not resolution > 0:
        raise ValueError(f"alarm must be in (0, 1), resolution above 0, got {alarm}, {resolution}")
    kept = {method: np.asarray(own, float) for method, own in values.items()}
    kept = {method: own[~np.isnan(own)] for method, own in kept.items()}
    spread = {m: max(float(own.std(ddof=1)), resolution) for m, own in kept.items() if len(own) > 1}
    freedom = sum(len(kept[method]) - 1 for method in spread)
    squares = sum((len(kept[method]) - 1) * sd**2 for method, sd in spread.items())
    shared = math.sqrt(squares / freedom) if freedom else math.nan
    found = {}
    for method, own in kept.items():
        n, df = len(own), len(own) - 1
        sd = spread.get(method, shared)
        if n < MIN_SEEDS:
            sd, df = max(sd, shared), freedom
        usable = n > 0 and freedom > 0
        quantile = float(stats.t.ppf(1 - alarm / 2, df)) if usable else math.nan
        found[method] = quantile * sd * math.sqrt(2 / max(n, 1))
    return found
