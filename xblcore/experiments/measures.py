"""From tidy rows of runs to values by seed and their estimates: what every table is made of.

Rows are those of :func:`xblcore.experiments.engine.run_all`. A run is compared with ERM and the
oracle of its own seed that were trained on the same data for as many epochs. Without torch.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xblcore import project, stats
from xblcore.results import BOUNDS, CLEAN, DECOY, select

EXPLAINER = "hires_cam"  # of the distance focus beside what a run does

# What changes the data or the number of epochs, for ERM and the oracle as for the methods.
CONDITION = ["task", "switch_on", "decoy_size", "predictive", "decoys"]
ESTIMATE = ["mean", "ci_low", "ci_high", "n", "undefined", "nan_share"]

OUTCOMES = {
    "accuracy": (CLEAN, "none"),
    "decoy_flip_rate": (DECOY, "none"),
    "distance_focus": (DECOY, EXPLAINER),
}


def write(rows: pd.DataFrame, path: str | Path) -> None:
    """Write the rows of an experiment, compressed, whole or not at all.

    There are tens of thousands of them, much alike: a twentieth of the size. The same rows give the
    same bytes.
    """
    text = rows.to_csv(index=False, float_format="%.10g", lineterminator="\n")
    with project.write_atomic(path) as temporary:
        temporary.write_bytes(gzip.compress(text.encode(), mtime=0))


def read(path: str | Path) -> pd.DataFrame:
    """Rows that :func:`write` wrote; empty is "not given", and the explainer ``none`` is a name."""
    given = {name: [""] for name in ("annotated", "layer", "cam", "score", "decoy_size", "value")}
    rows = pd.read_csv(path, keep_default_na=False, na_values=given, float_precision="round_trip")
    return rows.astype({"weight": float, "value": float, "nan_share": float})


def beside(rows: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """What the method ``name`` reached with the seed and under the condition of each row.

    Args:
        rows: of any metrics, with those of ``name`` among them.
        name: ``erm`` or ``oracle``.

    Returns:
        ``(len(rows),)``, by the same metric, split and explainer; NaN where it was not run.

    Raises:
        ValueError: two runs of ``name`` under one condition disagree.
    """
    key = [*CONDITION, "seed", "split", "explainer", "metric"]
    own = rows.assign(decoy_size=pd.to_numeric(rows["decoy_size"]))  # None and NaN are the same
    reference = own.loc[own["method"] == name, [*key, "value"]].drop_duplicates()
    if reference.duplicated(key).any():
        raise ValueError(f"runs of {name} must be one a condition and seed, got several")
    found = own[key].merge(reference, how="left", on=key)["value"]
    return found.to_numpy(np.float64)


def recoveries(runs: pd.DataFrame) -> pd.DataFrame:
    """Recovery of every run, paired by seed, as rows like those of ``runs``.

    NaN where ERM or the oracle was not run under a run's condition, or has nothing to recover.
    """
    rows = select(runs, "accuracy", split=CLEAN)
    share = stats.recovery(rows["value"].to_numpy(), beside(rows, "erm"), beside(rows, "oracle"))
    return rows.assign(metric="recovery", value=share, nan_share=np.isnan(share).astype(float))


def outcomes(runs: pd.DataFrame) -> pd.DataFrame:
    """Rows of what a run came to: recovery, clean accuracy, flips and distance focus."""
    parts = [select(runs, metric, split=split, explainer=explainer)
             for metric, (split, explainer) in OUTCOMES.items()]  # fmt: skip
    return pd.concat([recoveries(runs), *parts], ignore_index=True)


def changes(rows: pd.DataFrame, by: str, reference: Any) -> pd.DataFrame:
    """Recovery minus that of the same method, weight and seed where ``by`` is ``reference``.

    Args:
        rows: from :func:`outcomes`.
        by: a column of the Spec.
        reference: one of its values.

    Returns:
        Rows of the metric ``recovery_change``; none for ERM and the oracle.
    """
    own = rows[(rows["metric"] == "recovery") & ~rows["method"].isin(BOUNDS)]
    key = ["task", "method", "weight", "seed"]
    start = own.loc[own[by] == reference, [*key, "value"]]
    before = own[key].merge(start, how="left", on=key, validate="many_to_one")["value"]
    value = own["value"].to_numpy() - before.to_numpy()
    nan_share = np.isnan(value).astype(float)
    return own.assign(metric="recovery_change", value=value, nan_share=nan_share)


def estimates(rows: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Mean over seeds with its 95% Student interval, by method, then ``by``, then weight.

    Args:
        rows: of one value a seed for each ``task, data, method, weight, *by, metric``.
        by: further columns that tell runs apart.

    Returns:
        These columns, then :data:`ESTIMATE`: ``n`` seeds have a value, on ``undefined`` it is NaN;
        ``nan_share`` is the share of images on which it is undefined, for a recovery of seeds.

    Raises:
        ValueError: two values of one seed.
    """
    keys = ["task", "data", "method", "weight", *by, "metric"]
    found = []
    for key, group in rows.groupby(keys, sort=False, dropna=False):
        if group["seed"].duplicated().any():
            told = ", ".join(f"{name}={value}" for name, value in zip(keys, key, strict=True))
            raise ValueError(f"rows must be one a seed, got several of {told}")
        mean = stats.mean_ci(group["value"])
        numbers = (mean.value, mean.low, mean.high, mean.n, mean.dropped)
        found.append((*key, *numbers, group["nan_share"].mean()))
    table = pd.DataFrame(found, columns=[*keys, *ESTIMATE])
    return _in_order(table, rows, ["method", *by, "weight"])


def _in_order(table: pd.DataFrame, rows: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Numbers ascending, "none" first, and names in the order in which ``rows`` have them."""
    ranks = pd.DataFrame(index=table.index)
    for name in by:
        numeric = pd.api.types.is_numeric_dtype(table[name])
        names = pd.Categorical(table[name], rows[name].dropna().unique())
        ranks[name] = table[name].astype(float) if numeric else names.codes
    order = ranks.sort_values(list(by), kind="stable", na_position="first").index
    return table.loc[order].reset_index(drop=True)


def cell(mean: float, low: float, high: float, undefined: int) -> str:
    """Mean and half the interval, and how many seeds have no value.

    >>> cell(0.5, 0.4, 0.6, 0), cell(0.5, 0.4, 0.6, 1), cell(float("nan"), 0, 0, 5)
    ('0.500 ± 0.100', '0.500 ± 0.100 (1 NaN)', 'undefined')
    """
    if mean != mean:
        return "undefined"
    half = (high - low) / 2
    text = f"{mean:z.3f}" + (f" ± {half:.3f}" if half == half else "")
    return text + (f" ({undefined} NaN)" if undefined else "")


def readable(
    table: pd.DataFrame, rows: str, columns: str, *, head: Callable[[Any], str]
) -> pd.DataFrame:
    """Estimates ready to print, a row and a column for each value of two columns of the table.

    Args:
        table: from :func:`estimates`, of one estimate for each pair; a dash stands for none.
        rows: column whose values lead the rows.
        columns: column whose values head the columns, in the order of the table.
        head: text of such a value.
    """
    texts = table.assign(
        text=[cell(*row) for row in table[ESTIMATE[:3] + ["undefined"]].itertuples(index=False)]
    )
    wide = texts.pivot(index=rows, columns=columns, values="text")
    wide = wide.reindex(index=table[rows].unique(), columns=table[columns].unique()).fillna("–")
    wide.index, wide.columns = wide.index.map(head), wide.columns.map(head)
    return wide.rename_axis(index=None, columns=None).reset_index(names=head(rows))
