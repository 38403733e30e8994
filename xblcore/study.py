"""The study's runs: every candidate weight and seed of one method on one task, resumable.

:func:`run` is one run from weights drawn to metrics measured; :func:`train_method` is all runs of a
task x method. A finished run is kept under ``build/checkpoints`` until the stage's results are
written, so that a killed stage goes on where it was.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from xblcore import config, datasets, distance, methods, models, project, selection
from xblcore.config import TaskConfig
from xblcore.evaluate import EXPLAINERS, Explainer, Marked, Measurement, attributions, measure
from xblcore.manifest import environment
from xblcore.methods import Annotations, Method
from xblcore.train import EpochLog, TrainConfig, TrainingSet, fit

GALLERY = 8  # images of test_decoy whose CAMs are kept for the figures
WATCHED = EXPLAINERS[1]  # the explainer shown over training

# A finished run is taken up again only if none of these has changed since.
DECIDING = ("cam", "distance", "losses", "released", "methods", "models", "train", "evaluate",
            "metrics", "study")  # fmt: skip


@dataclass(frozen=True)
class TaskData:
    """All splits of a task as tensors, and the network's input and output sizes."""

    training: dict[str, TrainingSet]
    evaluation: dict[str, Marked]
    swapped: dict[str, Tensor]
    gallery: Marked
    channels: int
    classes: int
    size: int
    kind: str
    fingerprint: str


@dataclass(frozen=True)
class Run:
    """One finished run."""

    weight: float
    seed: int
    measurements: list[Measurement]
    history: list[EpochLog]
    gallery: dict[str, Tensor]
    over_training: Tensor
    state: dict[str, Tensor]
    seconds: float


def device_of(settings: TaskConfig) -> torch.device:
    """The device that ``auto`` comes to, or the one named.

    Raises:
        ValueError: ``cuda`` where there is none.
    """
    available = torch.cuda.is_available()
    if settings.device == "cuda" and not available:
        raise ValueError("device must be one that is there, got 'cuda'; set device: cpu")
    return torch.device("cuda" if available and settings.device != "cpu" else "cpu")


def load_data(settings: TaskConfig, *, root: Path | None = None) -> TaskData:
    """Every split of a task, its annotations brought to the network's CAM grid.

    Args:
        settings: of the task.
        root: folder of the built tasks; None: the project's.

    Raises:
        FileNotFoundError, ValueError: as :func:`xblcore.datasets.load`.
    """
    manifest = datasets.manifest(settings.task, root=root)
    splits = {
        name: datasets.load(settings.task, split=name, root=root) for name in datasets.SPLITS
    }
    images = splits["train"].images
    classes = len(manifest["classes"])
    model = models.build(
        settings.model, channels=images.shape[1], classes=classes, size=images.shape[2], seed=0
    )
    grid = models.grid_size(model, torch.from_numpy(images[:1]))
    device = device_of(settings)
    marked = {name: _marked(split, grid, device) for name, split in splits.items()}
    training = {
        name: TrainingSet(
            marked[name].images,
            marked[name].labels,
            Annotations(
                marked[name].object_mask,
                marked[name].decoy_mask,
                marked[name].distance,
                torch.from_numpy(splits[name].decoy_mask).to(device),
            ),
        )
        for name in ("train", "train_clean")
    }
    return TaskData(
        training=training,
        evaluation={n: marked[n] for n in ("val", "val_swapped", "test_decoy", "test_clean")},
        swapped={n: marked[f"{n}_swapped"].images for n in ("val", "test_decoy")},
        gallery=_one_of_each_class(marked["test_decoy"], GALLERY),
        channels=images.shape[1],
        classes=classes,
        size=images.shape[2],
        kind=manifest["data"],
        fingerprint=_digest(manifest["files"]),
    )


def _marked(split: datasets.Split, grid: tuple[int, int], device: torch.device) -> Marked:
    object_mask = distance.to_grid(split.object_mask, grid)
    return Marked(
        torch.from_numpy(split.images).to(device),
        torch.from_numpy(split.labels).to(device),
        torch.from_numpy(object_mask).to(device),
        torch.from_numpy(distance.to_grid(split.decoy_mask, grid)).to(device),
        torch.from_numpy(distance.distance_map(object_mask)).to(device),
    )


def _one_of_each_class(marked: Marked, count: int) -> Marked:
    """The first image of each class, in the order of the classes, at most ``count`` of them."""
    labels = marked.labels.tolist()
    index = torch.tensor([labels.index(label) for label in sorted(set(labels))][:count])
    return Marked(*(getattr(marked, f.name)[index] for f in dataclasses.fields(Marked)))


def run(
    data: TaskData, settings: TaskConfig, method: Method, *, weight: float, seed: int
) -> Run:
    """Train one network and measure it.

    Args:
        data: from :func:`load_data` with the same settings.
        settings: of the task.
        method: how to train.
        weight: of the explanation loss.
        seed: of the initial weights, the order of the images and random scores.
    """
    torch.set_num_threads(settings.threads)
    started = time.perf_counter()
    model = models.build(
        settings.model, channels=data.channels, classes=data.classes, size=data.size, seed=seed
    ).to(data.gallery.images.device)
    watched: list[Tensor] = []
    history = fit(
        model,
        data.training[method.train_split],
        method,
        train_config(settings, weight=weight, seed=seed),
        layer=model.cam_layer,
        on_epoch=lambda _log: watched.append(_gallery_cam(model, data, WATCHED)),
    )
    model.eval()
    measurements = measure(
        model,
        data.evaluation,
        data.swapped,
        layer=model.cam_layer,
        explained=settings.explained_images,
    )
    return Run(
        weight=weight,
        seed=seed,
        measurements=measurements,
        history=history,
        gallery={e.name: _gallery_cam(model, data, e) for e in EXPLAINERS},
        over_training=torch.stack(watched),
        state={name: value.cpu() for name, value in model.state_dict().items()},
        seconds=time.perf_counter() - started,
    )


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


def _gallery_cam(model: models.SplitNet, data: TaskData, explainer: Explainer) -> Tensor:
    return attributions(model, data.gallery.images, explainer, layer=model.cam_layer).cpu()


@dataclass(frozen=True)
class MethodRuns:
    """All runs of one task x method, and the weight that the rule chose among them."""

    settings: TaskConfig
    method: Method
    data: str
    weight: float
    runs: list[Run]

    @property
    def chosen(self) -> list[Run]:
        """The runs with the chosen weight, by seed."""
        return sorted((r for r in self.runs if r.weight == self.weight), key=lambda r: r.seed)

    def table(self) -> pd.DataFrame:
        """Tidy, one row a run x split x explainer x metric, in a fixed order."""
        rows = [
            {
                "task": self.settings.task,
                "data": self.data,
                "method": self.method.name,
                "weight": run.weight,
                "chosen": run.weight == self.weight,
                "seed": run.seed,
                **asdict(measurement),
            }
            for run in sorted(self.runs, key=lambda r: (r.weight, r.seed))
            for measurement in run.measurements
        ]
        return pd.DataFrame(rows)

    def history(self) -> pd.DataFrame:
        """One row an epoch of every run."""
        return pd.DataFrame(
            {"weight": run.weight, "chosen": run.weight == self.weight, "seed": run.seed,
             **asdict(log)}
            for run in sorted(self.runs, key=lambda r: (r.weight, r.seed))
            for log in run.history
        )  # fmt: skip


def train_method(task: str, method_name: str, *, root: Path | None = None) -> MethodRuns:
    """All runs of a task x method in the profile of ``params.yaml``.

    Every candidate weight is tried with the sweep's seeds; the weight that
    :func:`xblcore.selection.choose_weight` picks is run with the others too.

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
    done: list[Run] = []
    rest = [seed for seed in settings.seeds if seed not in settings.sweep_seeds]
    total = len(candidates) * len(settings.sweep_seeds) + len(rest)
    with tqdm(total=total, desc=f"{task} {method_name}", unit="run") as bar:
        for weight in candidates:
            for seed in settings.sweep_seeds:
                done.append(_run_once(data, settings, method, weight, seed, root))
                bar.update()
        weight = selection.choose_weight(MethodRuns(settings, method, data.kind, 0.0, done).table())
        for seed in rest:
            done.append(_run_once(data, settings, method, weight, seed, root))
            bar.update()
    return MethodRuns(settings, method, data.kind, weight, done)


def save(result: MethodRuns, folder: Path, *, root: Path | None = None) -> None:
    """Write what the later stages read, then drop the checkpoints that it replaces.

    ``runs.csv``, ``history.csv``, ``gallery.pt`` (CAMs of the chosen runs, for the figures),
    ``weights.pt`` (their networks) and, last, ``manifest.json``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chosen = result.chosen
    tensors = {
        "gallery.pt": {
            "seeds": [run.seed for run in chosen],
            "cams": {e.name: torch.stack([run.gallery[e.name] for run in chosen]) for e in EXPLAINERS},
            "over_training": chosen[0].over_training,
        },
        "weights.pt": {str(run.seed): run.state for run in chosen},
    }  # fmt: skip
    for name, values in tensors.items():
        with project.write_atomic(folder / name) as path:
            torch.save(values, path)
    for name, table in {"runs.csv": result.table(), "history.csv": result.history()}.items():
        with project.write_atomic(folder / name) as path:
            table.to_csv(path, index=False)
    manifest = {
        "config": asdict(result.settings),
        "method": result.method.name,
        "data": result.data,
        "weight": result.weight,
        "device": str(device_of(result.settings)),
        "seconds": {f"{run.weight:g}/{run.seed}": round(run.seconds, 2) for run in result.runs},
        **environment(),
    }
    with project.write_atomic(folder / "manifest.json") as path:
        path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(
        checkpoint_folder(root or project.root(), result.settings.task, result.method.name),
        ignore_errors=True,
    )


def checkpoint_folder(root: Path, task: str, method: str) -> Path:
    """Where finished runs of a task x method wait for the others."""
    return root / "build" / "checkpoints" / task / method


def _run_once(
    data: TaskData, settings: TaskConfig, method: Method, weight: float, seed: int, root: Path
) -> Run:
    """The run from its checkpoint, or run now and kept as one."""
    key = run_key(data, settings, method, weight=weight, seed=seed)
    path = checkpoint_folder(root, settings.task, method.name) / f"{key}.pt"
    if path.is_file():
        kept = torch.load(path, weights_only=True)
        kept["measurements"] = [Measurement(**row) for row in kept["measurements"]]
        kept["history"] = [EpochLog(**row) for row in kept["history"]]
        return Run(**kept)
    finished = run(data, settings, method, weight=weight, seed=seed)
    with project.write_atomic(path) as partial:
        torch.save(asdict(finished), partial)
    return finished


def run_key(
    data: TaskData, settings: TaskConfig, method: Method, *, weight: float, seed: int
) -> str:
    """Digest of all that decides a run's numbers: settings, data, code, PyTorch and device."""
    relevant = {
        name: value
        for name, value in asdict(settings).items()
        if name not in ("profile", "weights", "seeds", "sweep_seeds", "device")
    }
    return _digest(
        {
            "settings": relevant,
            "method": method.name,
            "weight": weight,
            "seed": seed,
            "data": data.fingerprint,
            "code": [digest for digest in _code()],
            "torch": torch.__version__,
            "device": str(device_of(settings)),
        }
    )


def _code() -> Iterator[str]:
    for name in DECIDING:
        source = Path(__file__).with_name(f"{name}.py").read_bytes()
        yield hashlib.sha256(source).hexdigest()


def _digest(values: Any) -> str:
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
