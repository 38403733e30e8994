"""Where the time of a finished checkout went, by what its runs left: manifests and files' times.

What no file tells is left out: fetching and building the data, the gallery, and DVC before a stage.
The learning curves of a training notebook count as its start, for they are drawn before anything is
written. A stage that was taken up again after a stop has its kept runs in full and no start.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
import torch
from _watched import DATA, DVC, EVALUATION, FIGURES, STARTS, TRAINING
from torch import nn

from xblcore import config, methods, prepare, project, study
from xblcore.config import TaskConfig
from xblcore.methods import Method
from xblcore.prepare import TaskData
from xblcore.train import EpochLog, OnEpoch, TrainConfig, TrainingSet

RECORDED = "recorded"
MANIFEST, TRAIN, TASK, PAPER = "manifest.json", "train.ipynb", "task.ipynb", "paper.ipynb"


def run_again_as_a_kernel() -> None:
    """Start this command anew in the environment that the pipeline gives its kernels.

    Their settings of the C library's allocator make a training step a third faster, and are read
    at the start of a process alone.
    """
    from xblcore.pipeline.execute import KERNEL_ENVIRONMENT

    missing = {name: v for name, v in KERNEL_ENVIRONMENT.items() if name not in os.environ}
    if missing:
        sys.stdout.flush()
        os.execve(sys.executable, sys.orig_argv, os.environ | missing)


def manifests(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The manifest of every task x method, and its file.

    Raises:
        ValueError: there is none.
    """
    found = sorted((folder / "build" / "runs").glob(f"*/*/{MANIFEST}"))
    if not found:
        raise ValueError(
            f"{folder} must be a checkout in which networks were trained, got no manifest under "
            "build/runs/; train them with: make reproduce"
        )
    return [(path, json.loads(path.read_text(encoding="utf-8"))) for path in found]


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


def measured_anew(folder: Path, written: Sequence[tuple[Path, dict[str, Any]]]) -> pd.DataFrame:
    """By task, seconds of loading its data once and of evaluating one network."""
    rows = {}
    for path, manifest in written:
        settings = config.from_mapping(TaskConfig, manifest["config"], str(path))
        if settings.task in rows:
            continue
        torch.set_num_threads(settings.threads)
        started = time.perf_counter()
        data = prepare.load_data(settings, root=folder / "data" / "decoy")
        loading = time.perf_counter() - started
        state = next(iter(torch.load(path.with_name("weights.pt"), weights_only=True).values()))
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


def training(
    folder: Path, path: Path, manifest: dict[str, Any], loading: float, evaluating: float
) -> Iterator[tuple[str, float]]:
    """Parts of one training stage."""
    runs, notebook = list(manifest["seconds"].values()), path.with_name(TRAIN)
    task, method = path.parent.parent.name, path.parent.name
    evaluation = sum(min(evaluating, seconds) for seconds in runs)
    log = folder / "build" / "logs" / f"{project.file_name(f'train@{task}-{method}')}.log"
    yield TRAINING, sum(runs) - evaluation
    yield EVALUATION, evaluation
    yield DATA, loading
    yield STARTS, between(begun(folder, notebook), path, less=sum(runs) + loading)
    yield STARTS, between(path, notebook)
    yield DVC, between(notebook, log)


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
    for path, manifest in written:
        loading, evaluating = anew.loc[path.parent.parent.name]
        stage = training(folder, path, manifest, loading, evaluating)
        rows += [("train", part, seconds) for part, seconds in stage]
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
