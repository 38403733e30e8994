"""Scenes for the stand-ins: a grey garment, tinted, moved and scaled, on a random textured ground.

Neither the ground nor the tint nor the place is drawn with a look at the class, and the mask of the
object is exact: a pixel is the garment's or the ground's, never a blend of both.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from xblcore.decoys import Mask, Pixels

Floats = npt.NDArray[np.float32]

# Of 255: what is no brighter is noise around the garment, unless the garment encloses it.
BRIGHTER_THAN = 16
# Brightness of a garment's black parts, so that they can be told from a black ground.
DARKEST = 0.15
# How much an octave of the ground's noise counts, of the next coarser one.
PERSISTENCE = 0.7


@dataclass(frozen=True)
class Style:
    """What scenes look like.

    Attributes:
        side: of the scene in pixels.
        scales: least and greatest magnification of the garment.
        octaves: cells along a side of each octave of the ground's noise, the coarsest first.
        flipped: whether half of the garments are mirrored.
    """

    side: int
    scales: tuple[float, float]
    octaves: tuple[int, ...]
    flipped: bool


def garment(grey: Pixels) -> Mask:
    """Pixels of the garment on a grey photograph ``(H, W)`` with black ground, holes included.

    >>> ring = np.full((5, 5), 200, np.uint8)
    >>> ring[2, 2] = 0
    >>> ring[0] = 9
    >>> garment(ring).astype(int).sum(1).tolist()
    [0, 5, 5, 5, 5]
    """
    filled: Mask = ndimage.binary_fill_holes(grey > BRIGHTER_THAN)
    return filled


def ground(style: Style, generator: np.random.Generator) -> Floats:
    """A ground ``(side, side, 3)`` in [0, 1]: noise of several octaves between two colours."""
    size = (style.side, style.side)
    noise = np.zeros((*size, 1), np.float32)
    for octave, cells in enumerate(style.octaves):
        grid = Image.fromarray(generator.random((cells, cells), np.float32))
        noise[..., 0] += (
            np.asarray(grid.resize(size, Image.Resampling.BICUBIC)) * PERSISTENCE**octave
        )
    noise -= noise.min()
    noise /= noise.max()
    colours = generator.random((2, 3), np.float32)
    blend: Floats = colours[0] + (colours[1] - colours[0]) * noise
    return blend


def scene(grey: Pixels, style: Style, generator: np.random.Generator) -> tuple[Pixels, Mask]:
    """A garment at a random place on a random ground, in a random tint.

    Args:
        grey: uint8 ``(H, W)``, the garment on black ground.
        style: what the scene should look like.
        generator: of this scene alone, so that no scene depends on another.

    Returns:
        The scene, uint8 ``(side, side, 3)``, and the garment's pixels in it, bool ``(side, side)``.
    """
    canvas = ground(style, generator)
    # A colour that is neither grey nor dark, so that the shades of the garment remain visible.
    hue, saturation, value = generator.uniform((0, 0.2, 0.6), 1)
    tint = np.array(colorsys.hsv_to_rgb(hue, saturation, value), np.float32)
    scale = generator.uniform(*style.scales)
    height, width = (round(scale * side) for side in grey.shape)
    top = generator.integers(style.side - height + 1)
    left = generator.integers(style.side - width + 1)
    if generator.random() < 0.5 and style.flipped:
        grey = grey[:, ::-1]
    photograph, shape = Image.fromarray(grey), Image.fromarray(garment(grey))
    shade = np.asarray(photograph.resize((width, height), Image.Resampling.BILINEAR)) / 255
    inside = np.asarray(shape.resize((width, height), Image.Resampling.NEAREST))
    window = canvas[top : top + height, left : left + width]
    window[inside] = (tint * (DARKEST + (1 - DARKEST) * shade)[..., None])[inside]
    mask = np.zeros(canvas.shape[:2], bool)
    mask[top : top + height, left : left + width] = inside
    return np.rint(255 * canvas.clip(0, 1)).astype(np.uint8), mask
