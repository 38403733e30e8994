"""Random images of any shape, marked, for benchmarks of time that learn nothing."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from xblcore import models
from xblcore.evaluate import Marked
from xblcore.methods import Annotations
from xblcore.train import TrainingSet


@dataclass(frozen=True)
class Shape:
    """A network of :data:`xblcore.models.MODELS`, and what goes in and out of it."""

    network: str
    channels: int
    classes: int
    size: int

    def model(self) -> models.SplitNet:
        """With random weights, which cost the same as trained ones."""
        return models.build(
            self.network, channels=self.channels, classes=self.classes, size=self.size, seed=0
        )


def training_set(shape: Shape, images: int, *, share: float = 1.0) -> TrainingSet:
    """Random images, a patch marked in a corner of each and an object in the middle.

    Args:
        shape: of the images and the network.
        images: how many.
        share: of the images are marked, the first so many.
    """
    size = shape.size
    generator = torch.Generator().manual_seed(0)
    decoy_pixels = torch.zeros(images, size, size, dtype=torch.bool)
    decoy_pixels[:, : size // 7, : size // 7] = True
    pixels = torch.rand(images, shape.channels, size, size, generator=generator)
    cells, _ = models.grid_size(shape.model(), pixels)
    decoy_mask = torch.zeros(images, cells, cells, dtype=torch.bool)
    decoy_mask[:, : cells // 7 + 1, : cells // 7 + 1] = True
    object_mask = torch.zeros_like(decoy_mask)
    object_mask[:, cells // 4 : -(cells // 4), cells // 4 : -(cells // 4)] = True
    distance = (~object_mask).float() / 2
    unmarked = slice(round(share * images), None)
    for mask in (decoy_pixels, decoy_mask, object_mask):
        mask[unmarked] = False
    distance[unmarked] = torch.nan
    return TrainingSet(
        pixels,
        torch.randint(0, shape.classes, (images,), generator=generator),
        Annotations(object_mask, decoy_mask, distance, decoy_pixels),
    )


def marked(data: TrainingSet) -> Marked:
    """The same images, to be measured on."""
    notes = data.annotations
    return Marked(data.images, data.labels, notes.object_mask, notes.decoy_mask, notes.distance)
