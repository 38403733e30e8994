"""Which splits a task has, and how they are drawn from the images of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from xblcore.decoys import Pixels
from xblcore.examples import Examples

# Splits that are stored; the others show the same images with another decoy, or with none.
BASE_SPLITS = ("train", "val", "test_decoy", "test_clean")
SPLITS = (
    "train", "val", "val_swapped", "test_decoy", "test_decoy_swapped", "test_clean", "train_clean",
    "test_decoy_clean",
)  # fmt: skip

# Second number of the seeds, after DataConfig.seed. Decoys use the index of the base split.
IMAGES_SEED, MOSAICS_SEED, COCO_SEED = 10, 20, 30


@dataclass(frozen=True)
class DataConfig:
    """How many images a task has, and where they come from.

    Attributes:
        n_train: images of ``train``.
        n_val: images of ``val``.
        n_test: images of ``test_decoy`` and of ``test_clean``, each.
        seed: of the choice of images and of their decoys.
        source: ``original``, ``stand-in``, or ``auto``: the original if its files are there or if
            there is no stand-in. MS-COCO is downloaded for ``original`` only.
        image_size: side in pixels to which MS-COCO is resized; 224 by default.
    """

    n_train: int
    n_val: int
    n_test: int
    seed: int = 0
    source: Literal["auto", "original", "stand-in"] = "auto"
    image_size: int | None = None

    def __post_init__(self) -> None:
        for name in ("n_train", "n_val", "n_test"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.source not in ("auto", "original", "stand-in"):
            raise ValueError(f"source must be auto, original or stand-in, got {self.source!r}")


class Drawn(NamedTuple):
    """Clean images of one split."""

    examples: Examples  # uint8 images without decoy
    source: Tensor  # int64 (N,), position of each image in its source; for MS-COCO, the image id
    # uint8 (classes, N, C, H, W): the images with the background of each class, if the shortcut is
    # the background and not a decoy.
    contexts: Tensor | None = None


def clean_examples(
    images: Pixels, labels: np.ndarray, object_mask: np.ndarray | None = None
) -> Examples:
    """Examples without decoy from arrays; ``object_mask`` is None if it is not annotated."""
    nothing = torch.zeros(len(images), *images.shape[2:], dtype=torch.bool)
    return Examples(
        images=torch.from_numpy(np.ascontiguousarray(images)),
        labels=torch.from_numpy(np.asarray(labels, np.int64)),
        object_mask=nothing if object_mask is None else torch.from_numpy(object_mask),
        decoy_mask=nothing,
    )


def draw_splits(train: Drawn, test: Drawn, config: DataConfig) -> dict[str, Drawn]:
    """Draw the four base splits, which share no image.

    ``train`` and ``val`` come from the two ends of the shuffled training images, ``test_decoy`` and
    ``test_clean`` from those of the shuffled test images. For one seed, the images of a small
    config are therefore among those of a larger one.
    """
    wanted = (
        (train, "train", config.n_train, "val", config.n_val),
        (test, "test_decoy", config.n_test, "test_clean", config.n_test),
    )
    splits = {}
    for n, (pool, front, n_front, back, n_back) in enumerate(wanted):
        size = len(pool.source)
        if n_front + n_back > size:
            raise ValueError(
                f"images of {front} and {back} must be at most {size} together, "
                f"got {n_front} + {n_back}; lower n_train, n_val or n_test"
            )
        generator = np.random.default_rng([config.seed, IMAGES_SEED + n])
        order = torch.from_numpy(generator.permutation(size))
        for name, index in ((front, order[:n_front]), (back, order[size - n_back :])):
            splits[name] = Drawn(pool.examples.take(index), pool.source[index])
    return splits
