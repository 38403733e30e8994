"""Every run of a task as a dot, a metric against clean accuracy. Without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from xblcore import project, results
from xblcore.informativeness import METRICS, NONE, run_table
from xblcore.plots.style import label

SPLIT = results.DECOY  # where the metrics are measured, as in the figure of claim C3

Columns = dict[str, type[str] | type[float] | type[int] | type[bool]]
COLUMNS: Columns = {
    "task": str, "data": str, "method": str, "weight": float, "chosen": bool, "seed": int,
    "split": str, "explainer": str, "metric": str, "value": float, "nan_share": float,
}  # fmt: skip
RANKING: Columns = {
    "split": str, "explainer": str, "metric": str, "rho": float, "ci_low": float, "ci_high": float,
}  # fmt: skip


@dataclass(frozen=True)
class RunKey:
    """One run of a task.

    Attributes:
        method: how the network was trained.
        weight: of the explanation loss.
        seed: of the run.
        chosen: whether the weight is the one that the study's rule chose; of these runs alone the
            network is kept.
    """

    method: str
    weight: float
    seed: int
    chosen: bool

    @property
    def name(self) -> str:
        """As a reader sees it.

        >>> RunKey("xbl_d", 30.0, 2, True).name
        'XBL-D, weight 30, seed 2'
        """
        return f"{label(self.method)}, weight {self.weight:g}, seed {self.seed}"


@dataclass(frozen=True)
class Dot:
    """A run and where it stands."""

    run: RunKey
    x: float
    y: float


class Runs:
    """All runs of a task, as ``results/<task>/runs.csv`` has them.

    Args:
        task: name of the task.
        root: of the project; None: found from the current folder.

    Raises:
        FileNotFoundError: there are no results.
        ValueError: the file is not such a table.
    """

    def __init__(self, task: str, *, root: Path | None = None) -> None:
        path = (root or project.root()) / "results" / task / "runs.csv"
        if not path.is_file():
            raise FileNotFoundError(f"no results of {task} yet ({path}); run: make reproduce")
        self.task = task
        self._told = path.with_name("informativeness.csv")
        try:
            table = self._table = _read(path, COLUMNS, may_be_empty=["value"])
            if table.empty or set(table["task"]) != {task}:
                raise ValueError(f"one of {', '.join(sorted(set(table['task']))) or 'no task'}")
            if not table["value"].dropna().between(0, 1).all():
                raise ValueError("values outside [0, 1]")
            self.data = str(table["data"].iloc[0])
            rows = table[["method", "weight", "seed", "chosen"]].drop_duplicates()
            self.keys = [
                RunKey(str(m), float(w), int(s), bool(c)) for m, w, s, c in rows.to_numpy()
            ]
            measured = dict.fromkeys(table.loc[table["split"] == SPLIT, "explainer"])
            self._by = {
                name: run_table(table, split=SPLIT, explainer=name).droplevel("task")
                for name in [*measured, NONE]
            }
            if not self.explainers:
                raise ValueError(f"no metric of an explanation on {SPLIT}")
        except (OSError, ValueError, OverflowError) as error:
            raise ValueError(
                f"{path} must be a table of runs, got: {error}; run: make reproduce"
            ) from error

    @property
    def methods(self) -> list[str]:
        """In the order of the table."""
        return list(dict.fromkeys(key.method for key in self.keys))

    @property
    def explainers(self) -> list[str]:
        """That measured the runs on :data:`SPLIT`."""
        return [name for name, table in self._by.items() if name != NONE and {*METRICS} & {*table}]

    def metrics(self, explainer: str) -> list[str]:
        """What the runs can be drawn by: an explainer's metrics and the decoy flip rate."""
        return [name for name in METRICS if name in self._by[_measured_by(name, explainer)]]

    def dots(self, metric: str, explainer: str) -> list[Dot]:
        """One dot a run; a run on which the metric is undefined has none."""
        table = self._by[_measured_by(metric, explainer)]
        places = table[[metric, "target"]].to_dict("index")
        found = []
        for key in self.keys:
            place = places.get((key.method, key.weight, key.seed), {})
            x, y = place.get(metric, math.nan), place.get("target", math.nan)
            if not math.isnan(x + y):
                found.append(Dot(key, float(x), float(y)))
        return found

    def facts(self, run: RunKey, explainer: str) -> dict[str, float]:
        """What was measured of a run, by name: behaviour, then the explainer's metrics."""
        own = self._table[
            (self._table["method"] == run.method)
            & (self._table["weight"] == run.weight)
            & (self._table["seed"] == run.seed)
        ]
        by = own.set_index(["split", "explainer", "metric"])["value"].to_dict()
        wanted = [(results.CLEAN, "none", "accuracy", "Accuracy, without a decoy")]
        wanted += [(SPLIT, "none", "accuracy", "Accuracy, with a random decoy")]
        wanted += [(SPLIT, "none", "decoy_flip_rate", "Decoy flip rate")]
        wanted += [(SPLIT, explainer, m, label(m)) for m in METRICS if m != "decoy_flip_rate"]
        return {
            name: float(by[split, source, metric])
            for split, source, metric, name in wanted
            if (split, source, metric) in by
        }

    def told(self, metric: str, explainer: str) -> str:
        """How the metric ranks the runs, by ``informativeness.csv``; empty without that file.

        Where the file is damaged, a sentence that says so.
        """
        if not self._told.is_file():
            return ""
        try:
            rows = _read(self._told, RANKING, may_be_empty=["rho", "ci_low", "ci_high"])
        except (OSError, ValueError) as error:
            return f"{self._told} must be a table of metrics, got: {error}; run: make reproduce"
        rows = rows[
            (rows["split"] == SPLIT)
            & (rows["metric"] == metric)
            & (rows["explainer"] == _measured_by(metric, explainer))
        ]
        if rows.empty or math.isnan(rows["rho"].iloc[0]):
            return ""
        rho, low, high = rows[["rho", "ci_low", "ci_high"]].iloc[0]
        return f"Spearman's ρ = {rho:.2f} [{low:.2f}, {high:.2f}], oriented so that 1 is best"


def _read(path: Path, columns: Columns, *, may_be_empty: list[str]) -> pd.DataFrame:
    """These columns of a table, each of its type; empty is NaN, and "none" is an explainer."""
    empty = {name: [""] for name in may_be_empty}
    return pd.read_csv(
        path, usecols=list(columns), dtype=columns, keep_default_na=False, na_values=empty
    )


def _measured_by(metric: str, explainer: str) -> str:
    return NONE if METRICS[metric][0] == "behaviour" else explainer
