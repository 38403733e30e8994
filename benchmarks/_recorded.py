"""Where the time of a finished checkout went, by what its runs left: manifests and files' times.

What no file tells is left out: fetching and building the data, the gallery, and DVC before a stage.
The learning curves of a training notebook count as its start, for they are drawn before anything is
written.
"""

from __future__ import annotations

import json
import math
import reprlib
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
import torch
from _watched import DATA, DVC, EVALUATION, FIGURES, STARTS, TRAINING
from torch import nn

from xblcore import config, methods, prepare, project, study, weights
from xblcore.config import TaskConfig
from xblcore.methods import Method
from xblcore.prepare import TaskData
from xblcore.results import KEYS
from xblcore.train import EpochLog, OnEpoch, TrainConfig, TrainingSet

Written = list[tuple[Path, dict[str, Any]]]  # manifests and their files
RECORDED = "recorded"
KINDS = KEYS | {"config": dict, "method": str}  # of a manifest
MANIFEST, TRAIN, TASK, PAPER = "manifest.json", "train.ipynb", "task.ipynb", "paper.ipynb"


def manifests(folder: Path) -> Written:
    """The manifest of every task x method, and its file.

    Raises:
        ValueError: there is none, or a damaged one.
    """
    found = sorted((folder / "build" / "runs").glob(f"*/*/{MANIFEST}"))
    if not found:
        raise ValueError(
            f"{folder} must be a checkout in which networks were trained, got no manifest under "
            "build/runs/; train them with: make reproduce"
        )
    return [(path, read_manifest(path)) for path in found]


def read_manifest(path: Path) -> dict[str, Any]:
    """One manifest, with all that is read of it here and in :mod:`_costs`.

    Raises:
        ValueError: it is damaged.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        wrong = [key for key in KINDS if not fits(key, found[key])]
        if wrong:
            raise TypeError(f"{wrong[0]} {reprlib.repr(found[wrong[0]])}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path} must be a manifest, got {error!r}; delete it and run: make reproduce"
        ) from error
    return found


def fits(key: str, value: Any) -> bool:
    """Whether a manifest may have this; seconds are those of one run at least.

    >>> fits("seconds", {"0/0": 1.5}), fits("seconds", {}), fits("seconds", [1.5])
    (True, False, False)
    """
    if key != "seconds" or not isinstance(value, dict):
        return isinstance(value, KINDS[key])
    return bool(value) and all(
        isinstance(each, int | float) and 0 < each < math.inf for each in value.values()
    )


def seconds_of_evaluation(
    data: TaskData, settings: TaskConfig, method: Method, state: dict[str, torch.Tensor]
) -> float:
    """What one run spends beside training: the study's own run, with training done already."""

    def trained(
        model: nn.Module,
        _data: TrainingSet,
        _method: Method,
        run: TrainConfig,
        *,
        layer: str,
        on_epoch: OnEpoch,
    ) -> list[EpochLog]:
        model.load_state_dict(state)
        for epoch in range(run.epochs):
            on_epoch(EpochLog(epoch + 1, math.nan, math.nan, math.nan))
        return []

    clock = time.process_time if settings.threads == 1 else time.perf_counter
    with mock.patch.object(study, "fit", trained):
        started = clock()
        study.run(data, settings, method, weight=0.0, seed=0)
        return clock() - started


def measured_anew(folder: Path, written: Written) -> pd.DataFrame:
    """By task, seconds of loading its data once and of evaluating one network."""
    rows = {}
    for path, manifest in written:
        settings = config.from_mapping(TaskConfig, manifest["config"], str(path))
        if settings.task in rows:
            continue
        torch.set_num_threads(settings.threads)
        started = time.process_time()
        data = prepare.load_data(settings, root=folder / "data" / "decoy")
        loading = time.process_time() - started
        state = next(iter(weights.read(path.with_name("weights.pt")).values()))
        method = methods.get(manifest["method"])
        rows[settings.task] = loading, seconds_of_evaluation(data, settings, method, state)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["loading", "evaluating"])


def between(first: Path | float, last: Path, *, less: float = 0.0) -> float:
    """Seconds from one file to another, less some; 0 where that is nothing, NaN without a file."""
    try:
        begun = first.stat().st_mtime if isinstance(first, Path) else first
        return max(0.0, last.stat().st_mtime - begun - less)
    except FileNotFoundError:
        return math.nan


def begun(folder: Path, notebook: Path) -> Path:
    """The file that a notebook's command writes when it begins."""
    name = project.file_name(str(notebook.relative_to(folder)))
    return folder / "build" / "locks" / f"{name}.pid"


def beside_the_runs(
    folder: Path, path: Path, manifest: dict[str, Any], loading: float
) -> dict[str, float]:
    """Seconds of a training stage that are not its runs': before, behind, and in the first one."""
    first, *others = manifest["seconds"].values()
    runs, notebook = first + sum(others), path.with_name(TRAIN)
    task, method = path.parent.parent.name, path.parent.name
    log = folder / "build" / "logs" / f"{project.file_name(f'train@{task}-{method}')}.log"
    return {
        "before": between(begun(folder, notebook), path, less=runs + loading),
        "behind": between(path, notebook),
        "imports": first - statistics.median(others or [first]),
        "dvc": between(notebook, log),
    }


def training(folder: Path, written: Written, anew: pd.DataFrame) -> Iterator[tuple[str, float]]:
    """Parts of all training stages.

    What is beside the runs is taken as the median over the stages, for one that was taken up again
    or restored by DVC has files that tell nothing of it.
    """
    beside = []
    runs = evaluation = loading = 0.0
    for path, manifest in written:
        task = anew.loc[manifest["config"]["task"]]
        beside.append(beside_the_runs(folder, path, manifest, task["loading"]))
        seconds = manifest["seconds"].values()
        runs += sum(seconds)
        evaluation += sum(min(task["evaluating"], one) for one in seconds)
        loading += task["loading"]
    usual = pd.DataFrame(beside).median().clip(lower=0) * len(written)
    imports = min(usual["imports"], runs - evaluation)  # PyTorch loads some when it first trains
    yield TRAINING, runs - evaluation - imports
    yield EVALUATION, evaluation
    yield DATA, loading
    yield STARTS, usual["before"] + usual["behind"] + imports
    yield DVC, usual["dvc"]


def drawing(
    folder: Path, notebook: Path, first: Path, loading: float
) -> Iterator[tuple[str, float]]:
    """Parts of a notebook that draws; ``first`` is the first figure that it writes."""
    yield DATA, loading
    yield STARTS, between(begun(folder, notebook), first, less=loading)
    yield FIGURES, between(first, notebook)


def recorded(folder: Path) -> pd.DataFrame:
    """Seconds by stage and part.

    Args:
        folder: of the checkout.

    Returns:
        Columns ``run``, ``stage``, ``part``, ``seconds``, ``cpu_seconds`` (NaN).

    Raises:
        ValueError: nothing was trained there.
    """
    written = manifests(folder)
    anew = measured_anew(folder, written)
    print(anew.rename_axis("task").round(2).to_string())
    rows: list[tuple[str, str, float]] = []
    rows += [("train", part, seconds) for part, seconds in training(folder, written, anew)]
    for task, (loading, _) in anew.iterrows():
        results = folder / "results" / str(task)
        stage = drawing(folder, results / TASK, results / "data.png", loading)
        rows += [("task", part, seconds) for part, seconds in stage]
        digest = folder / "build" / "tasks" / f"{task}.sha256"
        rows.append(("task", DVC, between(results / TASK, digest)))
    paper = folder / "results" / "paper"
    stage = drawing(folder, paper / PAPER, paper / "summary.png", 0.0)
    rows += [("paper", part, seconds) for part, seconds in stage]
    table = pd.DataFrame(rows, columns=["stage", "part", "seconds"])
    table = table.groupby(["stage", "part"], as_index=False, sort=False)["seconds"].sum()
    return table.assign(run=RECORDED, cpu_seconds=math.nan)
