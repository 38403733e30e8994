"""The data of one run: the built task's images, its decoys as told, marked as told, as tensors."""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xblcore import distance, models
from xblcore.cam import capture
from xblcore.config import TaskConfig
from xblcore.datasets import store
from xblcore.datasets.drawing import Drawn
from xblcore.evaluate import Marked
from xblcore.experiments import feedback, variants
from xblcore.experiments.spec import Spec
from xblcore.experiments.variants import Scenes
from xblcore.methods import Annotations
from xblcore.models import SplitNet
from xblcore.prepare import device_of, digest
from xblcore.train import TrainingSet

# First word of a seed sequence, so that no two things are drawn from the same numbers.
DECOYS, MARKS, CHOICE = 1, 2, 3
SPLITS = ("train", "val", "test_decoy", "test_clean")
TRAINING_VIEWS: dict[str, variants.View] = {"train": "decoy", "train_clean": "clean"}
EVALUATION_VIEWS: dict[str, tuple[str, variants.View]] = {
    "val": ("val", "decoy"),
    "val_swapped": ("val", "swapped"),
    "test_decoy": ("test_decoy", "decoy"),
    "test_clean": ("test_clean", "clean"),
}


@dataclass(frozen=True)
class RunData:
    """What a run learns from and is measured on.

    Attributes:
        model: the untrained network, its weights drawn by the seed.
        training: ``train`` and ``train_clean``, annotated on the grid of the explained layer.
        evaluation: ``val``, ``val_swapped``, ``test_decoy`` and ``test_clean``, with the true masks
            on the grid of the network's own CAM layer.
        swapped: images of ``val`` and ``test_decoy`` with the first decoy's value changed.
        second_swapped: images of ``test_decoy`` with the second one's; None: there is one decoy.
        kind: ``original`` or ``stand-in``.
    """

    model: SplitNet
    training: dict[str, TrainingSet]
    evaluation: dict[str, Marked]
    swapped: dict[str, Tensor]
    second_swapped: Tensor | None
    kind: str


def load(spec: Spec, settings: TaskConfig, root: Path) -> RunData:
    """Everything for one run.

    Args:
        spec: the run.
        settings: of its task, at the size of the experiments.
        root: of the project.

    Raises:
        FileNotFoundError, ValueError: as :func:`xblcore.datasets.load`; a condition that these
            data cannot serve.
    """
    folder = root / "data" / "decoy"
    manifest = store.read_manifest(folder, spec.task)
    scenes = {name: _scenes(name, spec, settings, folder) for name in SPLITS}
    device = device_of(settings)
    height, width, channels = scenes["train"].drawn.images.shape[1:]
    model = models.build(
        settings.model,
        channels=channels,
        classes=len(manifest["classes"]),
        size=height,
        seed=spec.seed,
    )
    size = (channels, height, width)
    measured = _explained_grid(model, model.cam_layer, size)
    trained = _explained_grid(model, spec.layer or model.cam_layer, size)
    evaluation = {
        name: _marked(scenes[split], view, measured, device)
        for name, (split, view) in EVALUATION_VIEWS.items()
    }

    def altered(split: str, view: variants.View) -> Tensor:
        return torch.from_numpy(scenes[split].images(view)).to(device)

    return RunData(
        model=model.to(device),
        training=_training(scenes["train"], trained, spec, device),
        evaluation=evaluation,
        swapped={split: altered(split, "first_swapped") for split in ("val", "test_decoy")},
        second_swapped=altered("test_decoy", "second_swapped") if spec.decoys == 2 else None,
        kind=manifest["data"],
    )


def fingerprint(folder: Path, task: str) -> str:
    """Digest of all files of a built task."""
    return digest(store.read_manifest(folder, task)["files"])


@functools.lru_cache(maxsize=len(SPLITS))
def _drawn(folder: Path, task: str, split: str, count: int, _version: str) -> Drawn:
    """The first ``count`` images of a split, verified; kept for the runs that follow."""
    drawn = store.read(folder, task, split)
    if count > len(drawn.labels):
        raise ValueError(
            f"n_{split.split('_')[0]} of the experiments must be at most {len(drawn.labels)}, the "
            f"images of {split} as built for this profile, got {count}"
        )
    arrays = {name: getattr(drawn, name)[:count] for name in store.ARRAYS}
    return Drawn(**arrays, decoy_size=drawn.decoy_size)


def _scenes(split: str, spec: Spec, settings: TaskConfig, folder: Path) -> Scenes:
    version = fingerprint(folder, spec.task)
    counts = {"train": settings.n_train, "val": settings.n_val}
    drawn = {
        name: _drawn(folder, spec.task, name, counts.get(name, settings.n_test), version)
        for name in ("train", split)
    }
    return variants.scenes(
        drawn[split],
        size=spec.decoy_size,
        predictive=spec.predictive,
        count=spec.decoys,
        told=split in counts,
        palette=variants.palette_of(drawn["train"]),
        generator=np.random.default_rng([DECOYS, SPLITS.index(split), settings.data_seed]),
    )


def _marked(
    scenes: Scenes, view: variants.View, grid: tuple[int, int], device: torch.device
) -> Marked:
    """What the metrics compare attributions to: where the object and the decoys really are."""
    there = view != "clean"
    object_mask = distance.to_grid(scenes.object_mask(covered=there), grid)
    decoy_mask = np.logical_or.reduce(scenes.masks()) & there
    return Marked(
        torch.from_numpy(scenes.images(view)).to(device),
        torch.from_numpy(scenes.drawn.labels).to(device),
        torch.from_numpy(object_mask).to(device),
        torch.from_numpy(distance.to_grid(decoy_mask, grid)).to(device),
        torch.from_numpy(distance.distance_map(object_mask)).to(device),
    )


def _training(
    scenes: Scenes, grid: tuple[int, int], spec: Spec, device: torch.device
) -> dict[str, TrainingSet]:
    masks = scenes.masks()
    wrong = np.logical_or.reduce(masks if spec.marked == "all" else masks[:1])
    marked = feedback.mark(
        spec.feedback,
        scenes.object_mask(covered=True),
        wrong,
        np.random.default_rng([MARKS, spec.seed]),
    )
    if spec.annotated is not None:
        choice = np.random.default_rng([CHOICE, spec.seed])
        marked = feedback.only_some(marked, spec.annotated, choice)
    object_mask = distance.to_grid(marked.object_mask, grid)
    annotations = Annotations(
        torch.from_numpy(object_mask).to(device),
        torch.from_numpy(distance.to_grid(marked.decoy_mask, grid)).to(device),
        torch.from_numpy(distance.distance_map(object_mask)).to(device),
        torch.from_numpy(marked.decoy_mask).to(device),
    )
    labels = torch.from_numpy(scenes.drawn.labels).to(device)
    return {
        name: TrainingSet(torch.from_numpy(scenes.images(view)).to(device), labels, annotations)
        for name, view in TRAINING_VIEWS.items()
    }


def _explained_grid(model: SplitNet, layer: str, size: tuple[int, int, int]) -> tuple[int, int]:
    """Height and width of a layer's output for images ``(C, H, W)``."""
    probe = copy.deepcopy(model).eval()  # batch norm would learn from this one image
    with torch.no_grad(), capture(probe, layer) as seen:
        probe(torch.zeros(1, *size))
    if seen.features is None or seen.features.ndim != 4:
        raise ValueError(f"layer must return features (N, K, h, w) of the images, got {layer!r}")
    return seen.features.shape[2], seen.features.shape[3]
