"""Runs with a known truth, in the form of xblcore.study.runs.table, without training."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from xblcore.metrics import METRICS
from xblcore.study.config import Condition
from xblcore.study.evaluate import Measurement
from xblcore.study.runs import Result, Run, table

TASKS = ("decoy_fashion_mnist", "decoy_cifar10", "decoy_coco")
# Accuracy on clean images; distance focus follows it, overlap does not. As the paper claims.
CLEAN = {
    "erm": 0.40, "oracle": 0.86, "xbl_d": 0.62, "xbl_d_plus": 0.84, "xbl_d_released": 0.42,
    "xbl_overlap": 0.74, "activation": 0.52, "shuffled_masks": 0.58, "centre_prior": 0.66,
    "uniform": 0.46, "rrr": 0.78, "rrr_g": 0.56,
}  # fmt: skip


def result(
    task: str,
    method: str,
    seed: int,
    values: Mapping[tuple[str, str, str], float],
    *,
    condition: Condition | None = None,
    data: str = "original",
    weight: float = 1.0,
) -> Result:
    """Result of a run that measured ``{(split, explainer, metric): value}`` in two seconds."""
    run = Run(task, method, weight, seed, condition or Condition())
    rows = [Measurement(*key, value, 0.0, value) for key, value in values.items()]
    return Result(run, data, rows, [], 2.0)


def make_runs(
    clean: Mapping[str, float] = CLEAN,
    *,
    tasks: Sequence[str] = TASKS[:1],
    seeds: int = 5,
    noise: float = 0.01,
    data: str | Mapping[str, str] = "original",
    informative: Iterable[str] = ("distance",),
    conditions: Sequence[Condition] = (Condition(),),
) -> pd.DataFrame:
    """Tidy table of one run per task, method, condition and seed.

    ``clean`` is the accuracy on clean images of each method, which falls by 0.05 from condition to
    condition; ERM and the oracle run in the first one only. ``noise`` is the standard deviation
    over the seeds, and ``data`` the kind of data (of each task). The ``informative`` kinds of
    metrics follow the accuracy; the others are random by method.
    """
    generator = np.random.default_rng(0)
    finished = []
    for task in tasks:
        for method, accuracy in clean.items():
            unrelated = generator.uniform(0.2, 0.9)
            own = conditions[:1] if method in ("erm", "oracle") else conditions
            for (place, condition), seed in itertools.product(enumerate(own), range(seeds)):
                mean = accuracy - 0.05 * place
                reached = float(np.clip(mean + generator.normal(0, noise), 0, 1))
                values = {
                    ("val", "none", "accuracy"): 0.95,
                    ("test_clean", "none", "accuracy"): reached,
                    ("test_decoy", "none", "accuracy"): reached - 0.02,
                    ("test_decoy", "none", "decoy_flip_rate"): 1 - reached,
                }
                for name, metric in METRICS.items():
                    if metric.kind not in ("overlap", "distance"):
                        continue
                    good = reached if metric.kind in informative else unrelated
                    good = float(np.clip(good + generator.normal(0, noise), 0, 1))
                    value = good if metric.higher_is_better else 1 - good
                    values["test_decoy", "grad_cam", name] = value
                kind = data if isinstance(data, str) else data[task]
                finished.append(result(task, method, seed, values, condition=condition, data=kind))
    return table(finished)


def setting(value: float, **columns: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """A change of the table: the rows with these entries get the value."""

    def change(runs: pd.DataFrame) -> pd.DataFrame:
        matches = _matches(runs, columns)
        return runs.assign(**{name: runs[name].mask(matches, value) for name in ("value", "worst")})

    return change


def without(**columns: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """A change of the table: the rows with these entries are gone."""
    return lambda runs: runs[~_matches(runs, columns)]


def like(method: str, other: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """A change of the table: a method has the numbers of another one, seed by seed."""

    def change(runs: pd.DataFrame) -> pd.DataFrame:
        twin = runs[runs["method"] == other].assign(method=method)
        return pd.concat([runs[runs["method"] != method], twin], ignore_index=True)

    return change


def _matches(runs: pd.DataFrame, columns: Mapping[str, object]) -> pd.Series:
    return (runs[list(columns)] == list(columns.values())).all(axis=1)
