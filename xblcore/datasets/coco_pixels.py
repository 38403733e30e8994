"""Pixels of images and masks in the format of MS-COCO: decoded, checked, brought to one size."""

from __future__ import annotations

import io
import math
import reprlib
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from xblcore.datasets.coco_format import Annotated, Picture, checked
from xblcore.decoys import Mask, Pixels

# What Pillow raises for a file that is broken, or made to break it.
BROKEN = (
    OSError, ValueError, SyntaxError, EOFError, IndexError, struct.error, zlib.error,
    Image.DecompressionBombError,
)  # fmt: skip
# COCO's own polygons have some hundred vertices. A bound, since the work grows with their number.
MOST_VERTICES = 4096
# Pixels along a polygon's outline, each of which costs pycocotools some 100 bytes.
MOST_OUTLINE = 2**18
# Pixels that a vertex may lie outside its image: annotation tools round.
TOLERANCE = 1.0


def union_mask(image: Annotated) -> Mask:
    """Pixels of all instances of an image, polygons and run lengths, at the image's own size.

    Raises:
        ValueError: an annotation without a segmentation, with a broken one, or outside its image.
    """
    picture = image.picture
    mask = np.zeros((picture.height, picture.width), bool)
    for instance in image.instances:
        where = f"annotation {instance['id']} of {picture.file_name}"
        for part in _parts(instance, picture, where):
            encoded = coco_mask.frPyObjects(part, picture.height, picture.width)
            encoded = coco_mask.merge(encoded) if isinstance(encoded, list) else encoded
            mask |= coco_mask.decode(encoded).astype(bool)
    return mask


def read_image(content: bytes, picture: Picture) -> Image.Image:
    """The whole image in RGB; its size is compared before anything is decoded.

    Raises:
        ValueError: no JPEG or PNG, cut short or broken, or not of the annotated size.
    """
    name, expected = picture.file_name, (picture.width, picture.height)
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
            size = image.size
            pixels = image.convert("RGB") if size == expected else None
    except BROKEN as error:
        raise ValueError(f"{name} must be a whole JPEG or PNG image, got: {error}") from error
    if pixels is None:
        raise ValueError(f"{name} must be of the annotated size {expected}, got {size}")
    return pixels


def resized(image: Image.Image, size: int) -> Pixels:
    """Uint8 ``(size, size, 3)``, anti-aliased."""
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))


def resized_mask(mask: Mask, size: int) -> Mask:
    """Bool ``(size, size)``: each pixel is that of the nearest one.

    >>> resized_mask(np.array([[True, True, False, False]]), 2).astype(int)
    array([[1, 0],
           [1, 0]])
    """
    return np.asarray(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST))


def encode(mask: Mask) -> dict[str, object]:
    """A mask as compressed run lengths, the way an annotation file has them.

    >>> encode(np.array([[False, True], [False, True]]))
    {'size': [2, 2], 'counts': '22'}
    """
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode("ascii")}


def _parts(instance: dict[str, object], picture: Picture, where: str) -> Iterator[object]:
    """What pycocotools can be given without harm: it checks neither sizes nor coordinates."""
    if "segmentation" not in instance:
        raise ValueError(f"{where} must have the field 'segmentation', got none")
    segmentation = instance["segmentation"]
    if isinstance(segmentation, dict):
        yield _checked_runs(segmentation, picture, where)
    elif isinstance(segmentation, list) and segmentation:
        yield [_checked_polygon(polygon, picture, where) for polygon in segmentation]
    else:
        raise ValueError(
            f"segmentation of {where} must be polygons or run lengths, "
            f"got {reprlib.repr(segmentation)}"
        )


def _checked_polygon(polygon: object, picture: Picture, where: str) -> list[float]:
    if (
        not isinstance(polygon, list)
        or len(polygon) % 2
        or not 6 <= len(polygon) <= 2 * MOST_VERTICES
        or not all(type(value) in (int, float) for value in polygon)
    ):
        raise ValueError(
            f"polygon of {where} must be a list of 3 to {MOST_VERTICES} pairs of numbers, "
            f"got {reprlib.repr(polygon)}"
        )
    for values, side, name in (
        (polygon[::2], picture.width, "x"), (polygon[1::2], picture.height, "y")
    ):  # fmt: skip
        for value in values:
            if not -TOLERANCE <= value <= side + TOLERANCE:  # nor is NaN
                raise ValueError(
                    f"{name} of {where} must lie in its image, in [0, {side}], got {value}"
                )
    outline = np.abs(np.diff(np.reshape(polygon, (-1, 2)), axis=0)).max(axis=1).sum()
    if outline > MOST_OUTLINE:
        raise ValueError(
            f"polygon of {where} must be of at most {MOST_OUTLINE} pixels around, got {outline:.0f}"
        )
    return polygon


def _checked_runs(runs: dict[str, object], picture: Picture, where: str) -> dict[str, object]:
    checked(runs, {"size": list}, f"segmentation of {where}")
    size = [picture.height, picture.width]
    if runs["size"] != size:
        raise ValueError(
            f"size of {where} must be that of its image, {size}, got {reprlib.repr(runs['size'])}"
        )
    counts = runs.get("counts")
    if isinstance(counts, str):
        counts = _unpacked(counts, where)
    if (
        not isinstance(counts, list)
        or not all(type(count) is int and count >= 0 for count in counts)
        or sum(counts) != math.prod(size)
    ):
        raise ValueError(
            f"counts of {where} must be run lengths that add up to {math.prod(size)}, its pixels, "
            f"got {reprlib.repr(counts)}"
        )
    return {"size": size, "counts": counts}


def _unpacked(text: str, where: str) -> list[int]:
    """Run lengths in COCO's compressed form: 5 bits a character, signed, from the fourth one on as
    the difference to the last but one.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 30:
            raise ValueError(f"counts of {where} must be packed run lengths, got {character!r}")
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            value -= (code & 16) << (shift - 4)
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError(f"counts of {where} must be packed run lengths, got a truncated one")
    return counts
