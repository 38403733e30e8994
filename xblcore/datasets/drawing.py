"""From pools of clean images to the disjoint splits of a task, decoys drawn but not yet put on.

A split is kept as its clean images and a small table of decoys (corner, value, another value).
Its twins, the same images without the decoy or with its value changed, are other views of the same
arrays, so nothing but the decoy can differ between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from xblcore import decoys
from xblcore.datasets.settings import DataConfig
from xblcore.datasets.split import Split

View = Literal["decoy", "clean", "swapped"]

# Every split that can be loaded: which drawn images, and how they are looked at.
VIEWS: dict[str, tuple[str, View]] = {
    "train": ("train", "decoy"),
    "val": ("val", "decoy"),
    "test_decoy": ("test_decoy", "decoy"),
    "test_clean": ("test_clean", "clean"),
    "train_clean": ("train", "clean"),
    "val_swapped": ("val", "swapped"),
    "test_decoy_swapped": ("test_decoy", "swapped"),
}


@dataclass(frozen=True, eq=False)
class Pool:
    """Clean images to draw splits from.

    Attributes:
        images: uint8 ``(N, H, W, C)``.
        labels: int64 ``(N,)``.
        object_mask: bool ``(N, H, W)``; all False where the source has none and
            :mod:`xblcore.datasets.annotation` makes them up later.
        source: int64 ``(N,)``, identity of each image, unique within a task.
    """

    images: decoys.Pixels
    labels: npt.NDArray[np.int64]
    object_mask: decoys.Mask
    source: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Drawn:
    """Clean images of one split and the decoys that belong on them.

    Attributes:
        images, labels, object_mask, source: as in :class:`Pool`; the object before the decoy
            covers it.
        corners: uint8 ``(N,)``.
        values: uint8 ``(N, C)``, of the decoy.
        swapped: uint8 ``(N, C)``, of the decoy of another class in the same place.
        decoy_size: side of the patch in pixels.
    """

    images: decoys.Pixels
    labels: npt.NDArray[np.int64]
    object_mask: decoys.Mask
    source: npt.NDArray[np.int64]
    corners: npt.NDArray[np.uint8]
    values: decoys.Pixels
    swapped: decoys.Pixels
    decoy_size: int

    def render(self, view: View) -> Split:
        """The split as a learner sees it: with its decoy, without it, or with another value."""
        images, decoy_mask = self.images, np.zeros_like(self.object_mask)
        if view != "clean":
            values = self.values if view == "decoy" else self.swapped
            images, decoy_mask = decoys.add_corner_patch(
                images, values, self.corners, self.decoy_size
            )
        scaled = np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)  # (N, C, H, W)
        scaled /= 255
        return Split(scaled, self.labels, self.object_mask & ~decoy_mask, decoy_mask)

    def information(self, view: View) -> dict[str, float]:
        """Bits that the decoy tells about the label, and what chance alone would show."""
        values = {
            "decoy": self.values, "swapped": self.swapped, "clean": np.zeros_like(self.values)
        }[view]  # fmt: skip
        return {
            "decoy_label_bits": round(decoys.mutual_information(values, self.labels), 4),
            "chance_bits": round(decoys.chance_information(values, self.labels), 4),
        }


def draw_splits(
    train: Pool, test: Pool, *, palette: decoys.Pixels, config: DataConfig
) -> dict[str, Drawn]:
    """The four disjoint splits of a task: ``train, val, test_decoy, test_clean``.

    Training images are shuffled and dealt from the front to ``train`` and from the back to
    ``val``; test images are shuffled and halved between ``test_decoy`` and ``test_clean``. Corners
    and values are drawn for the whole pool first, so where two profiles have the same pool and seed
    the images of the smaller one, decoys included, are among those of the larger one.

    Args:
        train, test: pools that share no image.
        palette: uint8 ``(K, C)``, values of the decoy; of a ``predictive`` one, one a class.
        config: counts, seed and decoy.

    Returns:
        Name to :class:`Drawn`.

    Raises:
        ValueError: more images asked for than there are, a decoy larger than the image, a label
            without a value.
    """
    wanted = config.n_train + config.n_val
    if wanted > len(train.labels):
        raise ValueError(
            f"n_train + n_val must be at most {len(train.labels)}, the training images, "
            f"got {wanted}"
        )
    half = len(test.labels) // 2
    if config.n_test > half:
        raise ValueError(
            f"n_test must be at most {half}, half of the test images, got {config.n_test}"
        )
    side = min(train.images.shape[1:3])
    if config.decoy.size > side:
        raise ValueError(f"decoy size must be at most {side}, got {config.decoy.size}")
    generator = np.random.default_rng([config.seed, 0])
    order = generator.permutation(len(train.labels))
    predictive = config.decoy.kind == "predictive"
    drawn = _put_decoys(train, palette, config.decoy.size, predictive, generator)
    splits = {
        "train": _pick(drawn, order[: config.n_train]),
        "val": _pick(drawn, order[len(order) - config.n_val :]),
    }
    generator = np.random.default_rng([config.seed, 1])
    order = generator.permutation(len(test.labels))
    drawn = _put_decoys(test, palette, config.decoy.size, False, generator)
    splits["test_decoy"] = _pick(drawn, order[: config.n_test])
    splits["test_clean"] = _pick(drawn, order[half : half + config.n_test])
    return splits


def _put_decoys(
    pool: Pool, palette: decoys.Pixels, size: int, predictive: bool, generator: np.random.Generator
) -> Drawn:
    count = len(pool.labels)
    corners = decoys.random_corners(count, generator).astype(np.uint8)
    codes = pool.labels if predictive else generator.integers(len(palette), size=count)
    values = decoys.class_values(codes, palette)
    swapped = palette[decoys.other_class(codes, len(palette), generator)]
    return Drawn(
        pool.images, pool.labels, pool.object_mask, pool.source, corners, values, swapped, size
    )


def _pick(drawn: Drawn, index: npt.NDArray[np.int64]) -> Drawn:
    return Drawn(
        drawn.images[index],
        drawn.labels[index],
        drawn.object_mask[index],
        drawn.source[index],
        drawn.corners[index],
        drawn.values[index],
        drawn.swapped[index],
        drawn.decoy_size,
    )
