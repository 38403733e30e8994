"""Other decoys on the images of a task: larger, less reliable, or two of them.

A built task keeps clean images and a table of decoys (:class:`xblcore.datasets.drawing.Drawn`).
From these the same images are rendered with other decoys, so that experiments on the decoy need no
data of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from xblcore import decoys
from xblcore.datasets.drawing import Drawn

View = Literal["decoy", "clean", "swapped", "first_swapped", "second_swapped"]
LAST_CORNER = len(decoys.CORNERS) - 1


@dataclass(frozen=True, eq=False)
class Patch:
    """One decoy an image.

    Attributes:
        corners: ``(N,)`` indices into :data:`xblcore.decoys.CORNERS`.
        values: uint8 ``(N, C)``.
        swapped: uint8 ``(N, C)``, of another class in the same place.
        chequered: every other pixel black, so that it can be told from a plain one.
    """

    corners: NDArray[np.uint8]
    values: decoys.Pixels
    swapped: decoys.Pixels
    chequered: bool = False

    def put_on(self, images: decoys.Pixels, size: int, *, swapped: bool) -> decoys.Pixels:
        """A copy of the images ``(N, H, W, C)`` with the patch."""
        values = self.swapped if swapped else self.values
        images, mask = decoys.add_corner_patch(images, values, self.corners, size)
        if self.chequered:
            images[mask & (np.indices(mask.shape[1:]).sum(0) % 2 == 1)] = 0
        return images


@dataclass(frozen=True, eq=False)
class Scenes:
    """Clean images of a split and the decoys that belong on them.

    Attributes:
        drawn: the images, labels and objects.
        size: side of the patches in pixels.
        patches: one or two an image.
    """

    drawn: Drawn
    size: int
    patches: tuple[Patch, ...]

    def masks(self) -> list[decoys.Mask]:
        """Pixels of each decoy, bool ``(N, H, W)``."""
        shape = self.drawn.images.shape[1], self.drawn.images.shape[2]
        return [decoys.corner_mask(patch.corners, shape, self.size) for patch in self.patches]

    def images(self, view: View) -> NDArray[np.float32]:
        """Images ``(N, C, H, W)`` in [0, 1] with their decoys, without, or with other values."""
        images = self.drawn.images
        for n, patch in enumerate(self.patches if view != "clean" else ()):
            swapped = view in ("swapped", ("first_swapped", "second_swapped")[n])
            images = patch.put_on(images, self.size, swapped=swapped)
        scaled = np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)  # (N, C, H, W)
        scaled /= 255
        return scaled

    def object_mask(self, *, covered: bool) -> decoys.Mask:
        """Pixels of the object, bool ``(N, H, W)``; ``covered``: without those under a decoy."""
        mask = self.drawn.object_mask
        for patch in self.masks() if covered else ():
            mask = mask & ~patch
        return mask


def scenes(
    drawn: Drawn,
    *,
    size: int | None,
    predictive: float,
    count: int,
    told: bool,
    palette: decoys.Pixels,
    generator: np.random.Generator,
) -> Scenes:
    """The images of a split with other decoys.

    A second decoy lies in the opposite corner and tells class ``c`` by the value that the first
    has for class ``K - 1 - c``. It is chequered: the corners are drawn for each image, so nothing
    but its look says which of the two codes to read it in. Each tells the label by itself.

    Args:
        drawn: of the built task.
        size: side of the patches in pixels; None: as drawn.
        predictive: share of images whose decoy is as drawn; on the others its value is another
            class's. Counts only where ``told``.
        count: 1 or 2 decoys.
        told: the decoys of this split tell the label.
        palette: uint8 ``(K, C)``, value of each class.
        generator: source of randomness.

    Raises:
        ValueError: two decoys that would meet, or a value that is not in the palette.
    """
    size = drawn.decoy_size if size is None else size
    side = min(drawn.images.shape[1:3])
    if count * size > side:
        raise ValueError(f"{count} decoys of {size} pixels must fit a side of {side} pixels")
    first = Patch(drawn.corners, drawn.values, drawn.swapped)
    patches = [first]
    if count == 2:
        classes = len(palette)
        codes = codes_of(drawn.values, palette)
        codes = codes if told else generator.integers(classes, size=len(codes))
        other = decoys.other_class(codes, classes, generator)
        corners = (LAST_CORNER - drawn.corners).astype(np.uint8)
        patches.append(Patch(corners, palette[::-1][codes], palette[::-1][other], True))
    if told and predictive < 1:
        patches = [_less_predictive(patch, predictive, generator) for patch in patches]
    return Scenes(drawn, size, tuple(patches))


def palette_of(train: Drawn) -> decoys.Pixels:
    """Value of each class, uint8 ``(K, C)``, from images whose decoy tells the label.

    Raises:
        ValueError: a class with more than one value.
    """
    rows = []
    for label in range(int(train.labels.max()) + 1):
        values = np.unique(train.values[train.labels == label], axis=0)
        if len(values) != 1:
            raise ValueError(
                f"the decoy must have one value a class, got {len(values)} for class {label}; "
                "experiments on the decoy need a predictive one"
            )
        rows.append(values[0])
    return np.stack(rows)


def codes_of(values: decoys.Pixels, palette: decoys.Pixels) -> NDArray[np.int64]:
    """Class that each value stands for, ``(N,)``.

    Raises:
        ValueError: a value that is not in the palette.
    """
    same = (values[:, None] == palette).all(2)  # (N, K)
    if not same.any(1).all():
        raise ValueError("values must be in the palette of the training images, got others")
    codes: NDArray[np.int64] = same.argmax(1)
    return codes


def _less_predictive(patch: Patch, share: float, generator: np.random.Generator) -> Patch:
    told = (generator.random(len(patch.values)) < share)[:, None]
    return replace(
        patch,
        values=np.where(told, patch.values, patch.swapped),
        swapped=np.where(told, patch.swapped, patch.values),
    )
