"""Decoys: patches of colour in a corner of an image, which tell the class or only seem to.

A decoy has a corner and a value; :func:`add_corner_patch` puts it on. Everything here is a pure
function of arrays; what is random takes an explicit generator. NumPy only.
"""

from __future__ import annotations

import colorsys
import math

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.integer]
Mask = npt.NDArray[np.bool_]

CORNERS = ("top left", "top right", "bottom left", "bottom right")


def corner_mask(corners: Integers, shape: tuple[int, int], size: int) -> Mask:
    """Pixels of a square patch in a corner.

    Args:
        corners: ``(N,)`` indices into :data:`CORNERS`.
        shape: height and width of the images.
        size: side of the patch in pixels, from 1 to the shorter side of the image.

    Returns:
        bool ``(N, H, W)``.

    Raises:
        ValueError: a corner or a size outside its range.

    >>> corner_mask(np.array([1]), (2, 3), 1).astype(int)
    array([[[0, 0, 1],
            [0, 0, 0]]])
    """
    height, width = shape
    if not 1 <= size <= min(shape):
        raise ValueError(f"size must be in [1, {min(shape)}] for images of {shape}, got {size}")
    index = _checked_index("corners", np.asarray(corners), len(CORNERS))
    row, column = np.arange(height), np.arange(width)
    rows = np.stack([row < size, row >= height - size])[index // 2]  # (N, H)
    columns = np.stack([column < size, column >= width - size])[index % 2]  # (N, W)
    mask: Mask = rows[:, :, None] & columns[:, None, :]  # (N, H, W)
    return mask


def add_corner_patch(
    images: Pixels, values: Pixels, corners: Integers, size: int
) -> tuple[Pixels, Mask]:
    """Images with a patch of one colour in a corner, and where it is.

    Source: Ross et al. 2017, "Right for the Right Reasons" (Decoy MNIST).

    Args:
        images: uint8 ``(N, H, W)`` or ``(N, H, W, C)``; not changed.
        values: uint8 ``(N, C)``, colour of each patch (``C = 1`` for grey).
        corners: ``(N,)`` indices into :data:`CORNERS`.
        size: side of the patch in pixels.

    Returns:
        The images with the patch, of the same shape, and its mask, bool ``(N, H, W)``.

    Raises:
        ValueError: arrays that are not uint8 or do not fit each other; a corner or a size outside
            its range.

    >>> images, mask = add_corner_patch(
    ...     np.zeros((1, 2, 2), np.uint8), np.array([[7]], np.uint8), np.array([3]), 1)
    >>> images.tolist(), int(mask.sum())
    ([[[0, 0], [0, 7]]], 1)
    """
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise ValueError(
            "images must be uint8 (N, H, W) or (N, H, W, C), "
            f"got {images.dtype} of shape {images.shape}"
        )
    expected = (len(images), images.shape[3] if images.ndim == 4 else 1)
    if values.dtype != np.uint8 or values.shape != expected:
        raise ValueError(
            f"values must be uint8 of shape {expected} for these images, "
            f"got {values.dtype} of shape {values.shape}"
        )
    if np.shape(corners) != (len(images),):
        raise ValueError(f"corners must have shape ({len(images)},), got {np.shape(corners)}")
    mask = corner_mask(corners, (images.shape[1], images.shape[2]), size)
    patched = images.copy()
    # Every patch has size * size pixels, and boolean indexing visits them image by image.
    colours = values.repeat(size * size, axis=0)  # (N * size * size, C)
    patched[mask] = colours if images.ndim == 4 else colours[:, 0]
    return patched, mask


def grey_palette(classes: int) -> Pixels:
    """Grey value ``255 - 25 * label`` of each class, as in Decoy MNIST.

    Args:
        classes: number of classes, 2 to 11; beyond that the formula leaves the grey values.

    Returns:
        uint8 ``(classes, 1)``.

    Raises:
        ValueError: number of classes outside that range.

    >>> grey_palette(10)[:, 0].tolist()
    [255, 230, 205, 180, 155, 130, 105, 80, 55, 30]
    """
    if not 2 <= classes <= 11:
        raise ValueError(f"classes must be in [2, 11] for 255 - 25 * label, got {classes}")
    return np.arange(255, 255 - 25 * classes, -25).astype(np.uint8).reshape(-1, 1)


def colour_palette(classes: int) -> Pixels:
    """A saturated colour for each class, the hues evenly spaced from red on.

    Args:
        classes: number of classes, 2 to 64.

    Returns:
        uint8 ``(classes, 3)``, RGB.

    Raises:
        ValueError: number of classes outside that range.

    >>> colour_palette(3).tolist()
    [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    """
    if not 2 <= classes <= 64:
        raise ValueError(f"classes must be in [2, 64] for distinct colours, got {classes}")
    colours = [colorsys.hsv_to_rgb(label / classes, 1.0, 1.0) for label in range(classes)]
    return np.array([[round(255 * part) for part in colour] for colour in colours], np.uint8)


def class_values(labels: Integers, palette: Pixels) -> Pixels:
    """Decoy value of each label: ``palette[label]``, and an error where there is none.

    Args:
        labels: ``(N,)`` integers in ``[0, classes)``.
        palette: uint8 ``(classes, C)``.

    Returns:
        uint8 ``(N, C)``.

    Raises:
        ValueError: a label outside the classes, labels that are not integers.

    >>> class_values(np.array([1, 0]), grey_palette(10)).tolist()
    [[230], [255]]
    """
    return palette[_checked_index("labels", np.asarray(labels), len(palette))]


def random_corners(count: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """``(count,)`` indices into :data:`CORNERS`, uniform."""
    return generator.integers(len(CORNERS), size=count)


def other_class(
    codes: Integers, classes: int, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Another class for each, uniform over the ``classes - 1`` that it is not.

    Args:
        codes: ``(N,)`` integers in ``[0, classes)``.
        classes: number of classes, at least 2.
        generator: source of randomness.

    Returns:
        int64 ``(N,)``, nowhere equal to ``codes``.

    Raises:
        ValueError: a code outside the classes.

    >>> other_class(np.array([0, 1]), 2, np.random.default_rng(0)).tolist()
    [1, 0]
    """
    index = _checked_index("codes", np.asarray(codes), classes)
    return (index + generator.integers(1, classes, size=len(index))) % classes


def mutual_information(values: npt.NDArray[np.generic], labels: Integers) -> float:
    r"""How much a decoy tells about the label, in bits: 0 nothing, ``log2(classes)`` everything.

    The plug-in estimate ``sum_{v,c} p(v,c) log2(p(v,c) / (p(v) p(c)))`` from the observed
    frequencies ``p``. It never exceeds the entropy of the labels, at most ``log2(classes)``, and
    is biased upwards: see :func:`chance_information`.

    Args:
        values: ``(N,)`` or ``(N, C)``; rows that are equal are one value of the decoy.
        labels: ``(N,)`` integers.

    Returns:
        Bits, at least 0.

    Raises:
        ValueError: no images, or lengths that differ.

    >>> mutual_information(np.array([9, 9, 5, 5]), np.array([0, 0, 1, 1]))
    1.0
    >>> mutual_information(np.array([9, 5, 9, 5]), np.array([0, 0, 1, 1]))
    0.0
    """
    counts = _joint_counts(values, labels)
    joint = counts / counts.sum()
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    seen = joint > 0
    return max(0.0, float((joint[seen] * np.log2(joint[seen] / independent[seen])).sum()))


def chance_information(values: npt.NDArray[np.generic], labels: Integers) -> float:
    """What :func:`mutual_information` shows on average, in bits, of independent arrays.

    ``(V - 1) (K - 1) / (2 N ln 2)`` for ``V`` values of the decoy and ``K`` classes seen in ``N``
    images, to first order in ``1 / N``. Source: Miller 1955, "Note on the bias of information
    estimates". Arguments and errors as :func:`mutual_information`.

    >>> round(chance_information(np.array([9, 5, 9, 5]), np.array([0, 0, 1, 1])), 3)
    0.18
    """
    counts = _joint_counts(values, labels)
    freedom: int = (counts.shape[0] - 1) * (counts.shape[1] - 1)
    return freedom / (2 * int(counts.sum()) * math.log(2))


def _joint_counts(values: npt.NDArray[np.generic], labels: Integers) -> npt.NDArray[np.int64]:
    values, labels = np.asarray(values), np.asarray(labels)
    if len(values) == 0 or labels.shape != (len(values),):
        raise ValueError(
            "values and labels must be of one length, at least 1, "
            f"got shapes {values.shape} and {labels.shape}"
        )
    seen, value = np.unique(values.reshape(len(values), -1), axis=0, return_inverse=True)
    classes, label = np.unique(labels, return_inverse=True)
    counts = np.zeros((len(seen), len(classes)), np.int64)
    np.add.at(counts, (value.ravel(), label), 1)
    return counts


def _checked_index(name: str, index: Integers, size: int) -> Integers:
    if index.ndim != 1 or not np.issubdtype(index.dtype, np.integer):
        raise ValueError(f"{name} must be (N,) integers, got {index.dtype} of shape {index.shape}")
    outside = (index < 0) | (index >= size)
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        raise ValueError(f"{name} must be in [0, {size}), got {index[first]} at position {first}")
    return index
