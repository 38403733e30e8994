"""The 25 images of notebook 6: written to a folder, marked by a person or by a simulated hand.

What a person marks stays in ``build/workshop/marks/mine`` from one visit to the next. The strokes
of the simulated hand (:mod:`xblcore.widgets.simulated`) are a model of a person, not a person.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch

from xblcore import project
from xblcore.decoys import Mask
from xblcore.widgets.folder import write_images
from xblcore.widgets.marked import MarkedImages
from xblcore.widgets.simulated import strokes_over
from xblcore.widgets.store import AnnotationStore
from xblcore.widgets.strokes import LAYERS, Layer
from xblcore.workshop.course import CLASSES, Data

COUNT = 25  # images to be marked
AT_HAND = 1000  # training images that refining goes on with, the 25 among them
HAND_SEED = 0  # of the simulated hand

Whose = Literal["simulated", "mine"]


def home() -> Path:
    """Folder of the images and of what was marked on them, kept out of git."""
    return project.root() / "build" / "workshop"


def names() -> tuple[str, ...]:
    """Names of the images in the order of the training set.

    >>> names()[0], len(names())
    ('000.png', 25)
    """
    return tuple(f"{n:03}.png" for n in range(COUNT))


def write(data: Data, *, root: Path | None = None) -> Path:
    """Write the first :data:`COUNT` training images as PNG files; what was marked is left alone.

    Args:
        data: of the workshop.
        root: folder for the images and the marks; None: :func:`home`.

    Returns:
        The folder of the images.
    """
    images = data.splits["train"].images[:COUNT, 0].mul(255).round().byte().numpy()
    return write_images((root or home()) / "images", dict(zip(names(), images, strict=True)))


def labels(data: Data) -> dict[str, str]:
    """Class of each of the images by its name."""
    classes = data.splits["train"].labels[:COUNT].tolist()
    return {name: CLASSES[label] for name, label in zip(names(), classes, strict=True)}


def store(data: Data, whose: Whose = "mine", *, root: Path | None = None) -> AnnotationStore:
    """Open the marks of a person, or those of the simulated hand, on the images.

    Args:
        data: of the workshop.
        whose: ``mine``, what was painted, which may be nothing yet; ``simulated``, both layers on
            every image, drawn when there are none.
        root: as in :func:`write`.

    Raises:
        ValueError: another name.
    """
    if whose not in ("simulated", "mine"):
        raise ValueError(f"whose must be simulated or mine, got {whose!r}")
    folder = write(data, root=root)
    opened = AnnotationStore(folder, folder.parent / "marks" / whose)
    if whose == "simulated" and not opened.marked:
        generator = np.random.default_rng(HAND_SEED)
        for n, name in enumerate(opened.names):
            for layer in LAYERS:
                for stroke in strokes_over(truth(data, layer)[n], layer, generator=generator):
                    opened.add(name, stroke)
    return opened


def truth(data: Data, layer: Layer) -> Mask:
    """Where the decoys, or the garments, really are, bool ``(25, H, W)``."""
    decoys = data.decoy_pixels["train"][:COUNT].numpy()
    if layer == "wrong":
        return decoys
    seen = data.splits["train_clean"].images[:COUNT, 0].numpy() > 0
    garments: Mask = seen & ~decoys
    return garments


def marked_images(
    data: Data, marks: AnnotationStore, *, layers: tuple[Layer, ...] = LAYERS, count: int = COUNT
) -> MarkedImages:
    """Training images at hand, with the marks on the first ``count`` of those that have any.

    Args:
        data: of the workshop.
        marks: from :func:`store`.
        layers: marks that count.
        count: of the marked images, at least 1.

    Raises:
        ValueError: nothing is marked on these layers.
    """
    train = data.splits["train"]
    masks = {layer: np.zeros((AT_HAND, *train.images.shape[2:]), bool) for layer in LAYERS}
    used = 0
    for n, name in enumerate(names()):
        drawn = {layer: marks.mask(name, layer) for layer in layers}
        if used < count and any(mask.any() for mask in drawn.values()):
            used += 1
            for layer, mask in drawn.items():
                masks[layer][n] = mask
    if not used:
        raise ValueError(
            f"marks must be there on {' or '.join(layers)}, got none; paint some above, or set "
            'WHOSE = "simulated"'
        )
    return MarkedImages(
        tuple(f"{n:04}" for n in range(AT_HAND)),
        train.images[:AT_HAND],
        torch.as_tensor(train.labels[:AT_HAND]),
        masks["object"],
        masks["wrong"],
    )
