"""A task's splits as the study needs them: tensors, annotations brought to the CAM's grid."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from xblcore import datasets, distance, models
from xblcore.config import TaskConfig
from xblcore.evaluate import Marked
from xblcore.methods import Annotations
from xblcore.train import TrainingSet

GALLERY = 8  # images of test_decoy that the figures show


@dataclass(frozen=True)
class TaskData:
    """All splits of a task as tensors on one device, and the network's input and output sizes.

    Attributes:
        training: ``train`` and ``train_clean``.
        evaluation: the splits that models are measured on.
        swapped: their images with the decoy's value changed, where there is a decoy.
        gallery: one image of each class from ``test_decoy``, at most :data:`GALLERY`.
        channels: of the images.
        classes: how many.
        size: height and width of the images.
        kind: ``original`` or ``stand-in``.
        fingerprint: digest of all the files.
    """

    training: dict[str, TrainingSet]
    evaluation: dict[str, Marked]
    swapped: dict[str, Tensor]
    gallery: Marked
    channels: int
    classes: int
    size: int
    kind: str
    fingerprint: str


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
    splits = {name: datasets.load(settings.task, split=name, root=root) for name in datasets.SPLITS}
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
        fingerprint=digest(manifest["files"]),
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


def digest(values: object) -> str:
    """Short digest of anything that JSON can hold."""
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
