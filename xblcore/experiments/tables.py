"""The tables of the experiments on what people mark, when the loss is turned on, and the decoy.

One row a method, condition and metric, with the t interval over seeds. Those on the weight are in
:mod:`xblcore.experiments.weighing`, those on explainers in :mod:`xblcore.experiments.gaming`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from xblcore.experiments import measures
from xblcore.plots.style import label
from xblcore.results import BOUNDS, DECOY, select

HEADS = {"annotated": "{:g} marked", "switch_on": "after {:g} epochs"}
SECOND = "second_decoy_flip_rate"


def interaction(runs: pd.DataFrame, *, n_train: int) -> pd.DataFrame:
    """Outcomes against how many images are marked.

    Args:
        runs: of one decoy, marked correctly.
        n_train: training images, in place of "all".

    Returns:
        :func:`~xblcore.experiments.measures.estimates` by ``annotated``, which is NaN for ERM and
        the oracle.
    """
    rows = measures.outcomes(runs)
    counts = pd.to_numeric(rows["annotated"]).fillna(n_train)
    rows["annotated"] = counts.where(~rows["method"].isin(BOUNDS))
    return measures.estimates(rows, ["annotated"])


def feedback(runs: pd.DataFrame) -> pd.DataFrame:
    """Outcomes by the kind of feedback, and what it changes against the correct one.

    A box around a square is the square, so that methods that are told of the decoy alone have no
    runs of boxes: their correct ones stand there too, as ``repeated``.

    Returns:
        Estimates by ``feedback`` and ``repeated``, with the metric ``recovery_change``.
    """
    rows = measures.outcomes(runs)
    rows = pd.concat([rows, measures.changes(rows, "feedback", "correct")], ignore_index=True)
    rows["repeated"] = False
    if (rows["feedback"] == "boxes").any():
        boxed = {*rows.loc[rows["feedback"] == "boxes", "method"], *BOUNDS}
        same = rows[(rows["feedback"] == "correct") & ~rows["method"].isin(boxed)]
        same = same.assign(feedback="boxes", repeated=True)
        rows = pd.concat([rows, same], ignore_index=True)
    return measures.estimates(rows, ["feedback", "repeated"])


def switch_on(runs: pd.DataFrame) -> pd.DataFrame:
    """Outcomes by the epochs before the loss is turned on, and what the wait changes.

    Returns:
        Estimates by ``switch_on``, with the metric ``recovery_change`` against no wait.
    """
    rows = measures.outcomes(runs)
    rows = pd.concat([rows, measures.changes(rows, "switch_on", 0)], ignore_index=True)
    return measures.estimates(rows, ["switch_on"])


def decoys(runs: pd.DataFrame, *, decoy_size: int) -> pd.DataFrame:
    """Outcomes by the decoy: its size, how often it tells the label, and whether there are two.

    Args:
        runs: those with two decoys have rows of ``second_decoy_flip_rate``.
        decoy_size: the task's own.

    Returns:
        Estimates by ``decoy_size``, ``predictive``, ``decoys`` and ``marked``. With two decoys also
        ``second_decoy_flip_rate_change``, against ERM and paired by seed: above 0 where the second
        decoy is followed more than by ERM.
    """
    rows = measures.outcomes(runs)
    if (runs["decoys"] == 2).any():
        second = select(runs, SECOND, split=DECOY)
        value = second["value"].to_numpy() - measures.beside(second, "erm")
        undefined = np.isnan(value).astype(float)
        change = second.assign(metric=f"{SECOND}_change", value=value, nan_share=undefined)
        rows = pd.concat([rows, second, change], ignore_index=True)
    rows["decoy_size"] = pd.to_numeric(rows["decoy_size"]).fillna(decoy_size).astype(int)
    return measures.estimates(rows, ["decoys", "decoy_size", "predictive", "marked"])


def readable(table: pd.DataFrame, columns: str, *, metric: str = "recovery") -> pd.DataFrame:
    """One metric, a method a row and a condition a column, ready to print.

    Args:
        table: of this module, where ``columns`` alone tells its rows apart.
        columns: ``annotated``, ``feedback``, ``switch_on`` and so on.
        metric: of the table.
    """
    rows = table[(table["metric"] == metric) & table[columns].notna()]
    text = HEADS.get(columns, "{}")
    return measures.readable(
        rows, "method", columns, head=lambda v: label(v) if isinstance(v, str) else text.format(v)
    )


def one_decoy(table: pd.DataFrame) -> pd.DataFrame:
    """Recovery by size and reliability of one decoy, ready to print.

    Args:
        table: from :func:`decoys`.
    """
    rows = table[(table["decoys"] == 1) & (table["metric"] == "recovery")]
    heads = [f"{size:g} pixels, {share:.0%} tell" for size, share in
             zip(rows["decoy_size"], rows["predictive"], strict=True)]  # fmt: skip
    return _by_head(rows.assign(measured=heads))


def two_decoys(table: pd.DataFrame) -> pd.DataFrame:
    """Flip rates of both decoys, both or only the first of them marked, ready to print.

    Args:
        table: from :func:`decoys`.
    """
    against = "second, against ERM"
    rates = {"decoy_flip_rate": "first", SECOND: "second", f"{SECOND}_change": against}
    rows = table[(table["decoys"] == 2) & table["metric"].isin(rates)]
    which = {"all": "both marked", "first": "first marked"}
    heads = rows["marked"].map(which) + ": " + rows["metric"].map(rates)
    return _by_head(rows.assign(measured=heads).sort_values("marked", kind="stable"))


def _by_head(rows: pd.DataFrame) -> pd.DataFrame:
    wide = measures.readable(rows, "method", "measured", head=str)
    return wide.assign(method=wide["method"].map(label)).rename(columns={"method": "Method"})
