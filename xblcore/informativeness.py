"""Claim C3: what each metric of a model tells about its accuracy where the shortcut is gone.

Spearman's correlation over runs (method x weight x seed), oriented so that higher is better: 1
ranks the runs as their accuracy does, -1 the wrong way round. Without torch.

The claim is about methods, not about these eight: runs of one method are alike, whatever their seed
and mostly whatever their weight and task, so the bootstrap draws whole methods.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pandas as pd

from xblcore import stats
from xblcore.results import CLEAN, DECOY
from xblcore.stats import Estimate

Kind = Literal["distance", "overlap", "behaviour", "health"]

# Kind and direction (higher is better) of each metric of an explanation or of reliance; a test
# holds this to be what xblcore.metrics, which needs torch, declares.
METRICS: dict[str, tuple[Kind, bool]] = {
    "attribution_distance": ("distance", False),
    "distance_focus": ("distance", True),
    "activation_precision": ("overlap", True),
    "activation_recall": ("overlap", True),
    "iou": ("overlap", True),
    "wrong_reason": ("overlap", False),
    "energy_pointing_game": ("overlap", True),
    "pointing_game": ("overlap", True),
    "relevance_rank_accuracy": ("overlap", True),
    "decoy_flip_rate": ("behaviour", False),
    "dead_cam": ("health", False),
}
POOLED = "pooled"  # the task's name in rows that pool all tasks
NONE = "none"  # explainer of the metrics that need none


def informativeness(
    runs: pd.DataFrame, *, splits: tuple[str, ...] = (DECOY, "val"), n_resamples: int = 2000
) -> pd.DataFrame:
    """Correlation with clean test accuracy of every metric, by task, split and explainer.

    Args:
        runs: from :func:`xblcore.results.load_runs`.
        splits: where the metrics are measured; the accuracy is always that on ``test_clean``.
        n_resamples: of the bootstrap over methods.

    Returns:
        Columns ``task, split, explainer, metric, kind, higher_is_better, rho, ci_low, ci_high,
        runs, undefined``; with several tasks also rows of the task ``pooled``. ``undefined``
        counts runs left out because the metric is NaN; ``rho`` is NaN where a metric is constant.
    """
    rows = []
    for (task, split, explainer), table in _tables(runs, splits):
        for metric in (name for name in METRICS if name in table):
            found = correlation(table, metric, n_resamples=n_resamples)
            numbers = (found.value, found.low, found.high, found.n, found.dropped)
            rows.append((task, split, explainer, metric, *METRICS[metric], *numbers))
    columns = ["task", "split", "explainer", "metric", "kind", "higher_is_better", "rho", "ci_low",
               "ci_high", "runs", "undefined"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def gains(
    runs: pd.DataFrame, *, splits: tuple[str, ...] = (DECOY,), n_resamples: int = 2000
) -> pd.DataFrame:
    """Paired difference of correlations for every distance metric against every overlap metric.

    Args and rows: as :func:`informativeness`.

    Returns:
        Columns ``task, split, explainer, distance_metric, overlap_metric, difference, ci_low,
        ci_high, runs, undefined``; above 0 where the distance metric tells more.
    """
    rows = []
    for (task, split, explainer), table in _tables(runs, splits):
        if explainer == NONE:
            continue
        for first in of_kind("distance", table):
            for second in of_kind("overlap", table):
                found = gain(table, first, second, n_resamples=n_resamples)
                numbers = (found.value, found.low, found.high, found.n, found.dropped)
                rows.append((task, split, explainer, first, second, *numbers))
    columns = ["task", "split", "explainer", "distance_metric", "overlap_metric", "difference",
               "ci_low", "ci_high", "runs", "undefined"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def of_kind(kind: Kind, table: pd.DataFrame) -> list[str]:
    """Metrics of a kind that a table has."""
    return [name for name, (own, _) in METRICS.items() if own == kind and name in table]


def _tables(
    runs: pd.DataFrame, splits: tuple[str, ...]
) -> Iterator[tuple[tuple[str, str, str], pd.DataFrame]]:
    """A :func:`run_table` for each task, and one for all of several, by split and explainer."""
    parts = {str(task): rows for task, rows in runs.groupby("task", sort=False)}
    if len(parts) > 1:
        parts[POOLED] = runs
    for task, rows in parts.items():
        for split in splits:
            for explainer in dict.fromkeys(rows.loc[rows["split"] == split, "explainer"]):
                yield (task, split, explainer), run_table(rows, split=split, explainer=explainer)


def run_table(runs: pd.DataFrame, *, split: str, explainer: str) -> pd.DataFrame:
    """One row a run (task, method, weight, seed): its metrics, and clean accuracy as ``target``.

    As measured, whatever the task; :func:`correlation` and :func:`gain` rank them.
    """
    key = ["task", "method", "weight", "seed"]
    rows = runs[(runs["split"] == split) & (runs["explainer"] == explainer)]
    rows = rows[rows["metric"].isin(METRICS)]
    table = rows.pivot(index=key, columns="metric", values="value")
    clean = runs[(runs["split"] == CLEAN) & (runs["metric"] == "accuracy")]
    table["target"] = clean.set_index(key)["value"]
    return table


def _ranked(table: pd.DataFrame, *metrics: str) -> pd.DataFrame:
    """Target and metrics as ranks within their task, so that tasks of any difficulty can be pooled.

    The ranks, in (0, 1], are among the runs that have all of them: a run without a metric, and so
    without a place among the others, must not shift the target of its task against other tasks'.
    """
    columns = [*metrics, "target"]
    complete = table[columns].dropna()
    return complete.groupby("task").rank(pct=True).reindex(table.index)


def correlation(table: pd.DataFrame, metric: str, *, n_resamples: int = 2000) -> Estimate:
    """Oriented rank correlation of a metric with the target of a :func:`run_table`."""
    sign = 1 if METRICS[metric][1] else -1
    ranks = _ranked(table, metric)
    return stats.rank_correlation(
        sign * ranks[metric],
        ranks["target"],
        groups=table.index.get_level_values("method"),
        n_resamples=n_resamples,
    )


def gain(table: pd.DataFrame, first: str, second: str, *, n_resamples: int = 2000) -> Estimate:
    """How much more ``first`` tells than ``second``, from the same runs and resamples."""
    ranks = _ranked(table, first, second)
    return stats.correlation_difference(
        ranks[first],
        ranks[second],
        ranks["target"],
        higher_is_better=(METRICS[first][1], METRICS[second][1]),
        groups=table.index.get_level_values("method"),
        n_resamples=n_resamples,
    )
