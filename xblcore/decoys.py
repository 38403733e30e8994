"""Decoys: patches whose colour predicts the label in training and is random at test time.

Source: Ross, Hughes and Doshi-Velez 2017, "Right for the Right Reasons" (Decoy MNIST).
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, minimum_filter

from xblcore.distance import Mask
from xblcore.examples import Examples

Pixels = NDArray[np.uint8]
Integers = NDArray[np.int64]
Place = Literal["corner", "top_left", "object"]
Pattern = Literal["plain", "striped", "chequered"]


@dataclass(frozen=True, kw_only=True)
class Decoy:
    """What a decoy looks like, where it lies and how well it predicts the label.

    Attributes:
        size: side of the square patch in pixels.
        place: ``corner``: a random one for each image; ``top_left``; or ``object``, see ``gap``.
        gap: with ``place="object"``, pixels between patch and object; 0 touches it, and -3 reaches
            three pixels into it. Where no position fits, the nearest possible one is used.
        pattern: ``plain``, or every other row (``striped``) or pixel (``chequered``) black.
        predictive: share of the training and validation images whose patch has the value of their
            class; the others have that of another class.
    """

    size: int = 4
    place: Place = "corner"
    gap: int = 0
    pattern: Pattern = "plain"
    predictive: float = 1.0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be at least 1 pixel, got {self.size}")
        for name, choices in (("place", ("corner", "top_left", "object")),
                              ("pattern", ("plain", "striped", "chequered"))):  # fmt: skip
            if getattr(self, name) not in choices:
                names = ", ".join(map(str, choices))
                raise ValueError(f"{name} must be one of {names}, got {getattr(self, name)!r}")
        if not 0 <= self.predictive <= 1:
            raise ValueError(f"predictive must be in [0, 1], got {self.predictive}")


@dataclass(frozen=True, eq=False)
class Decoyed:
    """Images with their decoys.

    Attributes:
        examples: with the decoy; covered pixels are no longer part of the object.
        swapped: the same with the decoy of another class.
        codes: int64 ``(N,)``, the class whose value the decoy has.
    """

    examples: Examples
    swapped: Examples
    codes: torch.Tensor


def add_decoys(
    clean: Examples, decoy: Decoy, palette: Pixels, *, predictive: bool, seed: Sequence[int]
) -> Decoyed:
    """Put decoys on clean images.

    Args:
        clean: with uint8 images ``(N, C, H, W)``.
        decoy: its settings.
        palette: uint8 ``(K, C)``, the value of each class.
        predictive: whether the decoy predicts the label (training and validation images) or has
            the value of a random class (test images).
        seed: of numpy.random.default_rng.

    >>> blank = torch.zeros(2, 6, 6, dtype=torch.bool)
    >>> clean = Examples(torch.zeros(2, 1, 6, 6, dtype=torch.uint8), torch.tensor([0, 1]), blank,
    ...     blank)
    >>> done = add_decoys(clean, Decoy(size=2), grey_palette(2), predictive=True, seed=[0])
    >>> done.examples.images.amax((1, 2, 3)), done.examples.decoy_mask.sum((1, 2))
    (tensor([255, 230], dtype=torch.uint8), tensor([4, 4]))
    """
    if clean.images.dtype != torch.uint8:
        raise ValueError(f"images must be uint8, got {clean.images.dtype}")
    if palette.shape[1] != clean.images.shape[1]:
        raise ValueError(
            f"palette must have the {clean.images.shape[1]} channels of the images, got "
            f"{palette.shape[1]}; use grey_palette or colour_palette"
        )
    side = min(clean.images.shape[2:])
    if decoy.size > side:
        raise ValueError(f"size must be at most {side}, the side of the images, got {decoy.size}")
    generator = np.random.default_rng(seed)
    classes = len(palette)
    codes = _codes(clean, classes, generator, predictive=predictive)
    positions = _positions(clean, decoy, generator)
    codes, other = _others(codes, classes, generator, share=decoy.predictive if predictive else 1)

    def render(values: Integers) -> Examples:
        images, mask = put_patch(
            clean.images.numpy(), palette[values], positions, decoy.size, pattern=decoy.pattern
        )
        covered = torch.from_numpy(mask)
        return replace(
            clean,
            images=torch.from_numpy(images),
            object_mask=clean.object_mask & ~covered,
            decoy_mask=covered,
        )

    return Decoyed(render(codes), render(other), torch.from_numpy(codes))


def swap_contexts(
    contexts: torch.Tensor, clean: Examples, decoy: Decoy, palette: Pixels, *, predictive: bool,
    seed: Sequence[int],
) -> Decoyed:  # fmt: skip
    """Show images on backgrounds that predict the label: a shortcut without a patch.

    Everything but the object is marked as wrong. Of ``decoy`` only ``predictive`` applies.
    ``contexts`` are the images ``(classes, N, C, H, W)`` with the background of each class; other
    arguments as in :func:`add_decoys`.

    >>> blank = torch.zeros(2, 6, 6, dtype=torch.bool)
    >>> clean = Examples(torch.zeros(2, 1, 6, 6, dtype=torch.uint8), torch.tensor([0, 1]), blank,
    ...     blank)
    >>> contexts = torch.arange(2, dtype=torch.uint8).reshape(2, 1, 1, 1, 1).expand(2, 2, 1, 6, 6)
    >>> done = swap_contexts(contexts, clean, Decoy(), grey_palette(2), predictive=True, seed=[0])
    >>> done.examples.images.amax((1, 2, 3)), done.swapped.images.amax((1, 2, 3))
    (tensor([0, 1], dtype=torch.uint8), tensor([1, 0], dtype=torch.uint8))
    """
    generator = np.random.default_rng(seed)
    classes = len(palette)
    codes = _codes(clean, classes, generator, predictive=predictive)
    codes, other = _others(codes, classes, generator, share=decoy.predictive if predictive else 1)
    rows = torch.arange(len(clean))

    def render(values: Integers) -> Examples:
        images = contexts[torch.from_numpy(values), rows]  # (N, C, H, W)
        return replace(clean, images=images, decoy_mask=~clean.object_mask)

    return Decoyed(render(codes), render(other), torch.from_numpy(codes))


def _codes(
    clean: Examples, classes: int, generator: np.random.Generator, *, predictive: bool
) -> Integers:
    """Class that the decoy of each image stands for, ``(N,)``."""
    labels: Integers = clean.labels.numpy()
    return labels.copy() if predictive else generator.integers(classes, size=len(labels))


def _others(
    codes: Integers, classes: int, generator: np.random.Generator, *, share: float
) -> tuple[Integers, Integers]:
    """Another class for each code, both ``(N,)``; they change places in all but ``share``."""
    other = other_class(codes, classes, generator)
    if share < 1:
        keep = generator.random(len(codes)) < share
        codes, other = np.where(keep, codes, other), np.where(keep, other, codes)
    return codes, other


def patch_mask(positions: Integers, shape: tuple[int, int], size: int) -> Mask:
    """Pixels of square patches, bool ``(N, H, W)``.

    Args:
        positions: ``(N, 2)``, row and column of each patch's first pixel.
        shape: ``(H, W)``.
        size: side of the patches in pixels.

    >>> patch_mask(np.array([[0, 2]]), (2, 3), 1).astype(int)
    array([[[0, 0, 1],
            [0, 0, 0]]])
    """
    row, column = np.arange(shape[0]), np.arange(shape[1])
    rows = (row >= positions[:, :1]) & (row < positions[:, :1] + size)  # (N, H)
    columns = (column >= positions[:, 1:]) & (column < positions[:, 1:] + size)  # (N, W)
    mask: Mask = rows[:, :, None] & columns[:, None, :]  # (N, H, W)
    return mask


def put_patch(
    images: Pixels, values: Pixels, positions: Integers, size: int, *, pattern: Pattern = "plain"
) -> tuple[Pixels, Mask]:
    """Put a patch of one colour on a copy of each image.

    Args:
        images: uint8 ``(N, C, H, W)``.
        values: uint8 ``(N, C)``, the colours.
        positions: ``(N, 2)``, row and column of each patch's first pixel.
        size: side of the patches in pixels.
        pattern: as in :class:`Decoy`.

    Returns:
        The images with the patch, and its pixels, bool ``(N, H, W)``.

    >>> images, mask = put_patch(np.zeros((1, 1, 2, 2), np.uint8), np.array([[7]], np.uint8),
    ...     np.array([[1, 1]]), 1)
    >>> images.tolist(), int(mask.sum())
    ([[[[0, 0], [0, 7]]]], 1)
    """
    mask = patch_mask(positions, (images.shape[2], images.shape[3]), size)
    patched = np.where(mask[:, None], values[:, :, None, None], images)  # (N, C, H, W)
    if pattern != "plain":
        row, column = np.indices(mask.shape[1:])
        odd = (row if pattern == "striped" else row + column) % 2 == 1
        patched[np.broadcast_to((mask & odd)[:, None], patched.shape)] = 0
    return patched, mask


def _positions(clean: Examples, decoy: Decoy, generator: np.random.Generator) -> Integers:
    """Row and column of each patch's first pixel, ``(N, 2)``."""
    count, last = len(clean), np.array(clean.images.shape[2:]) - decoy.size
    if decoy.place == "corner":
        corners = generator.integers(4, size=count)
        return np.stack([corners // 2, corners % 2], 1) * last
    if decoy.place == "top_left":
        return np.zeros((count, 2), np.int64)
    if not clean.object_mask.flatten(1).any(1).all():
        raise ValueError(
            "object_mask must not be empty for place='object', got an image without object; use "
            "another place"
        )
    found = np.empty((count, 2), np.int64)
    target = decoy.gap + 1 if decoy.gap >= 0 else decoy.gap
    for mask, position in zip(clean.object_mask.numpy(), found, strict=True):
        signed = distance_transform_edt(~mask) - distance_transform_edt(mask)  # < 0 inside
        # The origin shifts the window so that the value at (r, c) is that of a patch from (r, c).
        nearest = minimum_filter(signed, decoy.size, origin=-(decoy.size // 2), mode="nearest")
        error = np.abs(nearest[: last[0] + 1, : last[1] + 1] - target)
        rows, columns = np.nonzero(error <= error.min() + 1e-9)
        chosen = generator.integers(len(rows))
        position[:] = rows[chosen], columns[chosen]
    return found


def grey_palette(classes: int) -> Pixels:
    """Grey value ``255 - 25 * label`` of each class, as in Decoy MNIST; uint8 ``(classes, 1)``.

    >>> grey_palette(10)[:, 0].tolist()
    [255, 230, 205, 180, 155, 130, 105, 80, 55, 30]
    """
    if not 2 <= classes <= 11:
        raise ValueError(f"classes must be in [2, 11] for 255 - 25 * label, got {classes}")
    return np.arange(255, 255 - 25 * classes, -25).astype(np.uint8).reshape(-1, 1)


def colour_palette(classes: int) -> Pixels:
    """A saturated colour for each class, with evenly spaced hues; uint8 ``(classes, 3)``, RGB.

    >>> colour_palette(3).tolist()
    [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    """
    if not 2 <= classes <= 64:
        raise ValueError(f"classes must be in [2, 64] for distinct colours, got {classes}")
    colours = [colorsys.hsv_to_rgb(label / classes, 1.0, 1.0) for label in range(classes)]
    return np.array([[round(255 * part) for part in colour] for colour in colours], np.uint8)


def other_class(codes: Integers, classes: int, generator: np.random.Generator) -> Integers:
    """For each code ``(N,)`` a different one, uniform over the other ``classes - 1``.

    >>> other_class(np.array([0, 1]), 2, np.random.default_rng(0)).tolist()
    [1, 0]
    """
    return (codes + generator.integers(1, classes, size=len(codes))) % classes
