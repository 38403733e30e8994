"""The tasks. To add one, write a function that draws its splits and add an entry to ``TASKS``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from xblcore.data import cifar10, coco, fashion_mnist, mosaics
from xblcore.data.splits import DataConfig, Drawn
from xblcore.decoys import Decoy, Pixels, colour_palette, grey_palette


@dataclass(frozen=True, eq=False)
class Recipe:
    """How the images of a task are made from one source.

    Attributes:
        classes: names, in the order of the labels.
        palette: uint8 ``(classes, C)``, the decoy's value for each class.
        decoy: the default decoy.
        draw: returns the clean images of ``train``, ``val``, ``test_decoy`` and ``test_clean``,
            given the raw folder and the config.
        sources: returns the checksums of the raw files by name, or None if some are missing.
        fetch: gets the raw files, with a progress bar if the last argument is true; raises
            :class:`DataUnavailableError` if it cannot.
    """

    classes: tuple[str, ...]
    palette: Pixels
    decoy: Decoy
    draw: Callable[[Path, DataConfig], dict[str, Drawn]]
    sources: Callable[[Path, DataConfig], dict[str, str] | None] = lambda raw, config: {}
    fetch: Callable[[Path, DataConfig, bool], None] = lambda raw, config, progress: None


@dataclass(frozen=True, eq=False)
class Task:
    """A classification task with its original data and, for some, a stand-in."""

    original: Recipe
    stand_in: Recipe | None = None

    def recipes(self, source: str) -> dict[str, Recipe]:
        """Recipes that ``DataConfig.source`` allows, the original first."""
        found = {"original": self.original}
        if self.stand_in is not None:
            found["stand-in"] = self.stand_in
        if source != "auto":
            found = {kind: recipe for kind, recipe in found.items() if kind == source}
        return found


FASHION_MNIST = Recipe(
    fashion_mnist.CLASSES, grey_palette(10), Decoy(size=4),
    fashion_mnist.draw, fashion_mnist.sources, fashion_mnist.fetch,
)  # fmt: skip
CIFAR10 = Recipe(
    cifar10.CLASSES, colour_palette(10), Decoy(size=4),
    cifar10.draw, cifar10.sources, cifar10.fetch,
)  # fmt: skip
COCO = Recipe(
    coco.CLASSES, colour_palette(2), Decoy(size=16),
    coco.draw, coco.sources, coco.fetch,
)  # fmt: skip
MOSAICS = Recipe(
    mosaics.CLASSES, colour_palette(2), Decoy(size=8),
    mosaics.draw, mosaics.sources, mosaics.fetch,
)  # fmt: skip

TASKS: dict[str, Task] = {
    "decoy_fashion_mnist": Task(FASHION_MNIST),
    "decoy_cifar10": Task(CIFAR10),
    "decoy_coco": Task(COCO, stand_in=MOSAICS),
}
