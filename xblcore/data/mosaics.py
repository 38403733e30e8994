"""Mosaics of CIFAR-10 photos, which stand in for MS-COCO where it is not available.

A mosaic of 64x64 pixels shows one photo of a horse or a truck at a random position on a 2x2 grid of
photos of the other eight classes. Similar: the grid pointing game of Rao, Böhle and Schiele 2022,
"Towards Better Understanding Attribution Methods".
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from xblcore.data import cifar10
from xblcore.data.splits import MOSAICS_SEED, DataConfig, Drawn, clean_examples
from xblcore.decoys import Integers, patch_mask
from xblcore.examples import Examples

CLASSES = ("horse", "truck")
TIED = ("deer", "automobile")  # backgrounds of DataConfig.context
TILE = 32

sources = cifar10.sources
fetch = cifar10.fetch


def draw(raw: Path, config: DataConfig) -> dict[str, Drawn]:
    """Draw the splits; the tile with the horse or truck is the object.

    Training mosaics use training photos only, test mosaics test photos only. No two splits share
    a photo of a horse or a truck. Within a split such a photo is used again, at another position
    and on another background, once all have been used.
    """
    train, test = (drawn.examples for drawn in cifar10.read(raw))
    share = config.n_train / (config.n_train + config.n_val)
    splits = {}
    for n, (photos, fraction, names, counts, context) in enumerate(
        (
            (train, share, ("train", "val"), (config.n_train, config.n_val), config.context),
            (test, 0.5, ("test_decoy", "test_clean"), (config.n_test, config.n_test), None),
        )
    ):
        generator = np.random.default_rng([config.seed, MOSAICS_SEED + n])
        orders = [generator.permutation(_of_class(photos, name)) for name in CLASSES]
        cuts = [min(max(round(fraction * len(order)), 1), len(order) - 1) for order in orders]
        halves = (
            [order[:cut] for order, cut in zip(orders, cuts, strict=True)],
            [order[cut:] for order, cut in zip(orders, cuts, strict=True)],
        )
        for name, objects, count in zip(names, halves, counts, strict=True):
            splits[name] = compose(photos, objects, count, generator, context=context)
    return splits


def compose(
    photos: Examples,
    objects: list[Integers],
    count: int,
    generator: np.random.Generator,
    *,
    context: float | None = None,
) -> Drawn:
    """Compose mosaics; even ones show the first class, odd ones the second.

    Args:
        photos: of CIFAR-10, ``(N, 3, 32, 32)``.
        objects: of each class, positions in ``photos`` of the photos to show, in their order.
        count: number of mosaics.
        generator: of positions and backgrounds.
        context: as in :class:`DataConfig`.
    """
    images = photos.images.numpy()
    labels = np.arange(count) % 2
    shown = np.array([objects[n % 2][n // 2 % len(objects[n % 2])] for n in range(count)], np.int64)
    others = np.flatnonzero(~np.isin(photos.labels, [cifar10.CLASSES.index(c) for c in CLASSES]))
    backgrounds = generator.choice(others, (count, 4))
    if context is not None:
        tied = generator.random(count) < context
        for label, name in enumerate(TIED):
            rows = tied & (labels == label)
            backgrounds[rows] = generator.choice(_of_class(photos, name), (rows.sum(), 4))
    grid = images[backgrounds].reshape(count, 2, 2, 3, TILE, TILE)
    mosaics = grid.transpose(0, 3, 1, 4, 2, 5).reshape(count, 3, 2 * TILE, 2 * TILE)
    positions = generator.integers(TILE + 1, size=(count, 2))
    for mosaic, photo, (row, column) in zip(mosaics, images[shown], positions, strict=True):
        mosaic[:, row : row + TILE, column : column + TILE] = photo
    mask = patch_mask(positions, (2 * TILE, 2 * TILE), TILE)
    return Drawn(clean_examples(mosaics, labels, mask), torch.from_numpy(shown))


def _of_class(photos: Examples, name: str) -> Integers:
    """Positions of the photos of a CIFAR-10 class."""
    return np.flatnonzero(photos.labels.numpy() == cifar10.CLASSES.index(name))
