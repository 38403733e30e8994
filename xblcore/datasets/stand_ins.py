"""Stand-in for CIFAR-10: Fashion-MNIST in small coloured scenes.

For machines without the original: the same shape and number of classes, and exact object masks.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from xblcore import decoys
from xblcore.datasets import fashion_mnist, scenes
from xblcore.datasets.drawing import Drawn, draw_splits
from xblcore.datasets.settings import DataConfig

CIFAR_LIKE = scenes.Style(side=32, scales=(0.75, 1.14), octaves=(4, 8, 16, 32), flipped=False)


def decoy_cifar10(raw_root: Path, config: DataConfig) -> dict[str, Drawn]:
    """Stand-in for Decoy CIFAR-10: ten classes of garments in scenes of 32x32 in colour.

    A scene depends on the seed and its garment alone, not on the size of the splits.

    Args:
        raw_root: folder that holds ``fashion-mnist``.
        config: counts, seed and decoy.

    Returns:
        The four disjoint splits of :func:`draw_splits`, the test scenes with garments from the
        test images.
    """
    train, test = fashion_mnist.read_pools(raw_root)
    palette = decoys.colour_palette(len(fashion_mnist.CLASSES))
    splits = draw_splits(train, test, palette=palette, config=config)
    return {name: _in_scenes(split, config.seed) for name, split in splits.items()}


def _in_scenes(split: Drawn, seed: int) -> Drawn:
    drawn = [
        scenes.scene(image[..., 0], CIFAR_LIKE, np.random.default_rng([seed, 2, source]))
        for image, source in zip(split.images, split.source, strict=True)
    ]
    images, masks = (np.stack(parts) for parts in zip(*drawn, strict=True))
    return replace(split, images=images, object_mask=masks)
