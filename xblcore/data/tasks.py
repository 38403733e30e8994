"""The tasks. To add one, write a function that draws its splits and add an entry to ``TASKS``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from xblcore.data import cifar10, coco, fashion_mnist
from xblcore.data.splits import DataConfig, Drawn
from xblcore.decoys import Decoy, Pixels, colour_palette, grey_palette


@dataclass(frozen=True, eq=False)
class Recipe:
    """How the images of a task are made from one source."""

    classes: tuple[str, ...]  # in the order of the labels
    palette: Pixels  # uint8 (classes, C), the decoy's value for each class
    decoy: Decoy  # the default decoy
    # Clean images of the four base splits, given the raw folder and the config.
    draw: Callable[[Path, DataConfig], dict[str, Drawn]]
    # Checksums of the raw files by name, or None if some are missing.
    sources: Callable[[Path, DataConfig], dict[str, str] | None] = lambda raw, config: {}
    # Gets the raw files; raises DataUnavailableError if it cannot.
    fetch: Callable[[Path, DataConfig], None] = lambda raw, config: None


@dataclass(frozen=True, eq=False)
class Task:
    """A classification task with its original data and, for some, a stand-in."""

    original: Recipe | None
    stand_in: Recipe | None = None

    @property
    def chance(self) -> float:
        """Accuracy of guessing."""
        recipe = self.original or self.stand_in
        assert recipe is not None
        return 1 / len(recipe.classes)


FASHION_MNIST = Recipe(
    fashion_mnist.CLASSES, grey_palette(10), Decoy(size=4),
    fashion_mnist.draw, fashion_mnist.RAW.checksums, fashion_mnist.RAW.fetch,
)  # fmt: skip
CIFAR10 = Recipe(
    cifar10.CLASSES, colour_palette(10), Decoy(size=4),
    cifar10.draw, cifar10.RAW.checksums, cifar10.RAW.fetch,
)  # fmt: skip
COCO = Recipe(coco.CLASSES, colour_palette(2), Decoy(size=16), coco.draw, coco.sources, coco.fetch)
MOSAICS = Recipe(
    cifar10.MOSAIC_CLASSES, colour_palette(2), Decoy(size=8),
    cifar10.draw_mosaics, cifar10.RAW.checksums, cifar10.RAW.fetch,
)  # fmt: skip
# Here the background is the shortcut: 98% of the horses on photos of deer, of the trucks on photos
# of automobiles. Only `predictive` of the decoy applies.
NATURAL = replace(
    MOSAICS, decoy=Decoy(predictive=0.98), draw=partial(cifar10.draw_mosaics, contexts=True)
)

TASKS: dict[str, Task] = {
    "decoy_fashion_mnist": Task(FASHION_MNIST),
    "decoy_cifar10": Task(CIFAR10),
    "decoy_coco": Task(COCO, stand_in=MOSAICS),
    "natural_shortcut": Task(None, stand_in=NATURAL),
}
