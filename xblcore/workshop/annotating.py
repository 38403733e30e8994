"""The 25 images of notebook 6: written to a folder, marked by a person or by a simulated hand.

What a person marks stays in ``build/workshop/marks/mine`` from one visit to the next. The strokes
of the simulated hand (:mod:`xblcore.widgets.simulated`) are a model of a person, not a person.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from xblcore import models, project
from xblcore.decoys import Mask
from xblcore.widgets.folder import write_images
from xblcore.widgets.marked import MarkedImages
from xblcore.widgets.refined import Refined
from xblcore.widgets.refining import refine
from xblcore.widgets.simulated import strokes_over
from xblcore.widgets.store import AnnotationStore
from xblcore.widgets.strokes import LAYERS, Layer
from xblcore.workshop import course
from xblcore.workshop.task import Data

COUNT = 25  # images to be marked
AT_HAND = 1000  # training images that refining goes on with, the 25 among them
HAND_SEED = 0  # of the simulated hand
EPOCHS, LEARNING_RATE = 4, 0.002  # of refining

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


def store(data: Data, whose: Whose = "mine", *, root: Path | None = None) -> AnnotationStore:
    """Open the marks of a person, or those of the simulated hand, on the images.

    Args:
        data: of the workshop.
        whose: ``mine``, what was painted, which may be nothing yet; ``simulated``, both layers on
            every image, drawn where they are not all there.
        root: as in :func:`write`.

    Raises:
        ValueError: another name.
    """
    if whose not in ("simulated", "mine"):
        raise ValueError(f"whose must be simulated or mine, got {whose!r}")
    folder = write(data, root=root)
    marks = folder.parent / "marks" / whose
    if whose == "simulated" and len(AnnotationStore(folder, marks).marked) < COUNT:
        _simulate(data, folder, marks)
    return AnnotationStore(folder, marks)


def _simulate(data: Data, folder: Path, marks: Path) -> None:
    """Draw what the simulated hand does, all of it or nothing: a run may be interrupted."""
    part = marks.with_name(f"{marks.name}.part")
    for unfinished in (part, marks):
        shutil.rmtree(unfinished, ignore_errors=True)
    drawn = AnnotationStore(folder, part)
    generator = np.random.default_rng(HAND_SEED)
    for n, name in enumerate(drawn.names):
        for layer in LAYERS:
            for stroke in strokes_over(truth(data, layer)[n], layer, generator=generator):
                drawn.add(name, stroke)
    part.rename(marks)


def truth(data: Data, layer: Layer) -> Mask:
    """Where the decoys, or the garments, really are, bool ``(25, H, W)``."""
    decoys = data.decoy_pixels["train"][:COUNT].numpy()
    if layer == "wrong":
        return decoys
    seen = data.splits["train_clean"].images[:COUNT, 0].numpy() > 0
    garments: Mask = seen & ~decoys
    return garments


def marked_images(
    data: Data,
    marks: AnnotationStore,
    *,
    layers: tuple[Layer, ...] = LAYERS,
    only: Sequence[int] | None = None,
) -> MarkedImages:
    """The training images at hand, with the marks on those of the 25 that have any.

    Args:
        data: of the workshop.
        marks: from :func:`store`.
        layers: marks that count.
        only: positions of the images whose marks count; None: all.

    Raises:
        ValueError: nothing is marked there on these layers.
    """
    train = data.splits["train"]
    masks = {layer: np.zeros((AT_HAND, *train.images.shape[2:]), bool) for layer in LAYERS}
    for n in range(COUNT) if only is None else only:
        for layer in layers:
            masks[layer][n] = marks.mask(names()[n], layer)
    if not any(mask.any() for mask in masks.values()):
        raise ValueError(
            f"marks must be there on {' or '.join(layers)}, got none; paint some above, or set "
            'WHOSE = "simulated"'
        )
    return MarkedImages(
        tuple(f"{n:04}" for n in range(AT_HAND)),
        train.images[:AT_HAND],
        train.labels[:AT_HAND],
        masks["object"],
        masks["wrong"],
    )


def refined(
    data: Data, fooled: models.SplitNet, marked: MarkedImages, method: str = "xbl_d"
) -> Refined:
    """Train a copy of a network on with what is marked; three seconds on one core.

    Args:
        data: of the workshop.
        fooled: the network; left as it is.
        marked: from :func:`marked_images`.
        method: of :func:`xblcore.widgets.refine`; ``erm`` sees the same images and ignores marks.
    """
    with course.threads(data.settings.threads):
        return refine(
            fooled, marked, method, epochs=EPOCHS, batch_size=data.settings.batch_size,
            learning_rate=LEARNING_RATE, progress=False,
        )  # fmt: skip


def corners(data: Data) -> Tensor:
    """Corner of the decoy on each of the 25 images, ``(25,)``, see ``xblcore.decoys.CORNERS``."""
    decoys = torch.from_numpy(truth(data, "wrong"))
    low, right = decoys[:, -1].any(1), decoys[:, :, -1].any(1)
    return 2 * low.long() + right.long()


def masks(marks: AnnotationStore, layer: Layer) -> Mask:
    """What is marked on a layer of the 25 images, bool ``(25, H, W)``."""
    return np.stack([marks.mask(name, layer) for name in names()])


def marked_positions(marks: AnnotationStore, layer: Layer = "wrong") -> list[int]:
    """Positions of those of the 25 images on which something is marked, rising."""
    return [n for n, mask in enumerate(masks(marks, layer)) if mask.any()]


def recovered(
    data: Data,
    fooled: models.SplitNet,
    scores: Mapping[str, course.Scores],
    marks: AnnotationStore,
    only: Sequence[int],
) -> float:
    """Recovery after refining with what is marked as wrong on some of the images.

    Args:
        data: of the workshop.
        fooled: the network.
        scores: of ``fooled`` and ``oracle``.
        marks: from :func:`store`.
        only: positions of the images whose marks count.
    """
    marked = marked_images(data, marks, layers=("wrong",), only=only)
    score = course.scores(refined(data, fooled, marked).model, data)
    return course.recovery(score, scores["fooled"], scores["oracle"])


def four_of_each_kind(data: Data, among: Sequence[int]) -> tuple[list[int], list[int]]:
    """One image of each corner, and four of one corner; fewer where fewer are marked.

    Args:
        data: of the workshop.
        among: positions of the images to choose among, at least one.

    Returns:
        Positions of the first image of each corner, and of the first four of the upper left one, or
        where there is none of it, of the next.
    """
    where = corners(data).tolist()
    of_corner = [[n for n in among if where[n] == corner] for corner in range(4)]
    known = [positions for positions in of_corner if positions]
    return [positions[0] for positions in known], known[0][:4]
