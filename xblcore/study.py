"""The study's runs: every candidate weight and seed of one method on one task, resumable.

:func:`run` is one run from weights drawn to metrics measured; :func:`train_method` is all runs of a
task x method, and :func:`save` writes what the later stages read.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from xblcore import (
    checkpoints,
    config,
    explainers,
    imports,
    methods,
    models,
    project,
    selection,
)
from xblcore.checkpoints import Run
from xblcore.config import TaskConfig
from xblcore.evaluate import Marked, attributions, behaviour, explanations
from xblcore.explainers import CAMS, HELD_OUT
from xblcore.manifest import environment
from xblcore.methods import Method
from xblcore.prepare import TaskData, device_of, load_data
from xblcore.train import EpochLog, TrainConfig, fit

WATCHED = explainers.get("hires_cam")  # shown over training


def run(
    data: TaskData,
    settings: TaskConfig,
    method: Method,
    *,
    weight: float | None = None,
    seed: int = 0,
) -> Run:
    """Train one network by any method on any task, and measure it.

    Args:
        data: from :func:`xblcore.prepare.load_data` with the same settings.
        settings: of the task.
        method: how to train.
        weight: of the explanation loss; None: the method's default for the task.
        seed: of the initial weights, the order of the images and random scores.
    """
    weight = method.weight_for(settings.task) if weight is None else weight
    torch.set_num_threads(settings.threads)
    started = time.perf_counter()
    model = new_model(settings, data, seed=seed)
    images, watched = data.gallery.images, list[Tensor]()

    def watch(_log: EpochLog) -> None:
        watched.append(attributions(model, images, WATCHED, layer=model.cam_layer).cpu())

    history = fit(
        model,
        data.training[method.train_split],
        method,
        train_config(settings, weight=weight, seed=seed),
        layer=model.cam_layer,
        on_epoch=watch,
    )
    layer, splits = model.cam_layer, data.evaluation
    explained = {name: split for name, split in splits.items() if name != selection.SPLIT}
    few = {"test_decoy": splits["test_decoy"]}
    measurements = [
        *behaviour(model, splits, data.swapped),
        *explanations(model, explained, CAMS, layer=layer, count=settings.explained_images),
        *explanations(model, few, HELD_OUT, layer=layer, count=settings.held_out_images),
    ]
    return Run(
        weight=weight,
        seed=seed,
        measurements=measurements,
        history=history,
        over_training=torch.stack(watched),
        state={name: value.cpu() for name, value in model.state_dict().items()},
        seconds=time.perf_counter() - started,
    )


def new_model(settings: TaskConfig, data: TaskData, *, seed: int) -> models.SplitNet:
    """The task's network with weights drawn from ``seed``, on the data's device."""
    model = models.build(
        settings.model, channels=data.channels, classes=data.classes, size=data.size, seed=seed
    )
    return model.to(data.gallery.images.device)


def train_config(settings: TaskConfig, *, weight: float, seed: int) -> TrainConfig:
    """The part of a task's settings that the training loop needs."""
    return TrainConfig(
        weight=weight,
        ramp_epochs=settings.ramp_epochs,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        seed=seed,
    )


@dataclass(frozen=True)
class MethodRuns:
    """All runs of one task x method, and the weight that the rule chose among them.

    Attributes:
        settings: of the task.
        method: how the networks were trained.
        data: ``original`` or ``stand-in``.
        fingerprint: digest of all files of the data.
        gallery: the images that were watched.
        weight: the chosen one.
        runs: all of them.
    """

    settings: TaskConfig
    method: Method
    data: str
    fingerprint: str
    gallery: Marked
    weight: float
    runs: list[Run]

    @property
    def ordered(self) -> list[Run]:
        """All runs by weight and seed."""
        return sorted(self.runs, key=lambda run: (run.weight, run.seed))

    @property
    def chosen(self) -> list[Run]:
        """The runs with the chosen weight, by seed."""
        return [run for run in self.ordered if run.weight == self.weight]

    def table(self) -> pd.DataFrame:
        """Tidy, one row a run x split x explainer x metric, in a fixed order."""
        task = {"task": self.settings.task, "data": self.data, "method": self.method.name}
        return pd.DataFrame(
            {**task, **self._keys(run), **asdict(measurement)}
            for run in self.ordered
            for measurement in run.measurements
        )

    def history(self) -> pd.DataFrame:
        """One row an epoch of every run."""
        return pd.DataFrame(
            {**self._keys(run), **asdict(log)} for run in self.ordered for log in run.history
        )

    def _keys(self, run: Run) -> dict[str, object]:
        return {"weight": run.weight, "chosen": run.weight == self.weight, "seed": run.seed}


def code_of(method_name: str) -> dict[str, str]:
    """Digests of the modules that a method's runs rest on."""
    return imports.digests(__name__, f"xblcore.methods.{method_name}")


def train_method(task: str, method_name: str, *, root: Path | None = None) -> MethodRuns:
    """All runs of a task x method in the profile of ``params.yaml``.

    Every candidate weight is tried with the sweep's seeds; the weight that
    :func:`xblcore.selection.choose_weight` picks is run with the others too. Finished runs are kept
    as checkpoints until :func:`save`, and a second call takes them up.

    Args:
        task: a task of the grid.
        method_name: a key of :data:`xblcore.methods.METHODS`.
        root: of the project; None: found from the current folder.

    Raises:
        ValueError: an unknown task, method or profile, or data that do not fit.
    """
    root = root or project.root()
    method = methods.get(method_name)
    settings = config.load(root).task(task)
    candidates = sorted(settings.weights_of(method_name))
    torch.set_num_threads(settings.threads)
    data = load_data(settings, root=root / "data" / "decoy")
    rest = [seed for seed in settings.seeds if seed not in settings.sweep_seeds]
    done: list[Run] = []
    code = code_of(method_name)
    collect = functools.partial(
        MethodRuns, settings, method, data.kind, data.fingerprint, data.gallery, runs=done
    )
    total = len(candidates) * len(settings.sweep_seeds) + len(rest)
    with tqdm(total=total, desc=f"{task} {method_name}", unit="run") as bar:

        def finish(weight: float, seeds: Sequence[int]) -> None:
            for seed in seeds:
                start = functools.partial(run, data, settings, method, weight=weight, seed=seed)
                key = checkpoints.run_key(
                    settings, data=data.fingerprint, code=code, method=method.name, weight=weight,
                    seed=seed,
                )  # fmt: skip
                folder = checkpoints.folder(root, task, method_name)
                done.append(checkpoints.once(folder / f"{key}.pt", start))
                bar.update()

        for candidate in candidates:
            finish(candidate, settings.sweep_seeds)
        weight = selection.choose_weight(collect(weight=0.0).table())
        finish(weight, rest)
    return collect(weight=weight)


def save(result: MethodRuns, folder: Path, *, root: Path | None = None) -> None:
    """Write what the later stages read, then drop the checkpoints that it replaces.

    ``runs.csv``, ``history.csv``, ``weights.pt`` (the chosen runs' networks, by seed) and, last,
    ``manifest.json``, which says what these must hash to: a disk or a cache may alter them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # To an open file: of a path, the archive would hold the temporary name, different each time.
    with project.write_atomic(folder / "weights.pt") as path, path.open("wb") as file:
        torch.save({str(run.seed): run.state for run in result.chosen}, file)
    tables = {"runs.csv": result.table(), "history.csv": result.history()}
    for name, table in tables.items():
        with project.write_atomic(folder / name) as path:
            table.to_csv(path, index=False)
    manifest = {
        "config": asdict(result.settings),
        "method": result.method.name,
        "data": result.data,
        "data_digest": result.fingerprint,
        "weight": result.weight,
        "device": str(device_of(result.settings)),
        "seconds": {f"{run.weight:g}/{run.seed}": round(run.seconds, 2) for run in result.ordered},
        "files": {name: project.sha256_of(folder / name) for name in ("weights.pt", *tables)},
        **environment(),
    }
    with project.write_atomic(folder / "manifest.json") as path:
        path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    checkpoints.drop(root or project.root(), result.settings.task, result.method.name)
