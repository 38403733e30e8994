"""The row of pictures as HTML: image, what was marked, distance map, the CAMs of two networks.

Each picture is an SVG with the pixels as they are, enlarged by the browser, and the outlines as
lines: sharp at any size, and made in a few milliseconds, where a figure of matplotlib takes 200.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from xblcore.explorer.views import Look, Picture
from xblcore.plots.images import DECOY, OBJECT

COLOURS = "viridis"  # of maps, as in the figures: even to the eye, and for the colour-blind
SIDE = 100  # units of the SVG along a picture's side


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two networks that are compared.

    Attributes:
        name: as a reader sees it.
        look: what it makes of the image.
        answer: its answer, with a tick or a cross.
    """

    name: str
    look: Look
    answer: str


def row(
    picture: Picture,
    sides: Sequence[Side],
    *,
    classes: Sequence[str],
    by: str,
    of_class: bool = True,
) -> str:
    """The row of pictures; every CAM is scaled to its own maximum.

    Args:
        picture: the image.
        sides: the networks, two as a rule.
        classes: name of each class.
        by: CAM kind and score, for the CAMs' captions.
        of_class: whether the score is that of a class, which is then named.
    """
    inside, wrong = {"object": picture.object_mask}, {"decoy": picture.decoy_mask}
    true = classes[picture.label]
    farthest = float(picture.distance.max())  # NaN without an object
    pixels = _pixels(picture.image)
    panels = [
        _panel("Image", true, "the true class", pixels, wrong),
        _panel("What was marked", _key(wrong), "", pixels, inside | wrong, key=True),
        _panel(
            "Distance map",
            f"0 to {farthest:.2f}" if farthest >= 0 else "no object",
            "to the object, in grid diagonals",
            coloured(picture.distance),
            wrong,
        ),
    ]
    for side in sides:
        dead = not np.any(side.look.cam)
        of = f"{by} of {classes[side.look.target]}" if of_class else by
        below = "dead: no positive value" if dead else of
        maps = coloured(side.look.cam)
        panels.append(_panel(side.name, side.answer, below, maps, inside | wrong, line=0.7))
    return f'<div class="xbl-row">{"".join(panels)}</div>'


def coloured(values: ArrayLike) -> NDArray[np.uint8]:
    """A map ``(h, w)``, at least 0, as colours ``(h, w, 3)``; its maximum is the brightest.

    >>> coloured([[0.0, 2.0]]).tolist(), coloured([[0.0, 0.0]]).tolist()
    ([[[68, 1, 84], [253, 231, 36]]], [[[68, 1, 84], [68, 1, 84]]])
    """
    known = np.nan_to_num(np.asarray(values, float))
    peak = known.max()
    shares = known / peak if peak > 0 else known
    return np.asarray(mpl.colormaps[COLOURS](shares, bytes=True)[..., :3], np.uint8)


def outline(mask: NDArray[np.bool_]) -> str:
    """Border of a mask ``(H, W)`` along its cells, as the path of an SVG of :data:`SIDE` units.

    >>> outline(np.array([[True, False]]))
    'M0,0H50M0,100H50M0,0V100M50,0V100'
    """
    cells = np.pad(mask, 1)
    high, wide = SIDE / mask.shape[0], SIDE / mask.shape[1]
    rows, columns = np.nonzero(cells[1:, 1:-1] != cells[:-1, 1:-1])
    across = [f"M{c * wide:g},{r * high:g}H{(c + 1) * wide:g}"
              for r, c in zip(rows, columns, strict=True)]  # fmt: skip
    rows, columns = np.nonzero(cells[1:-1, 1:] != cells[1:-1, :-1])
    down = [f"M{c * wide:g},{r * high:g}V{(r + 1) * high:g}"
            for r, c in zip(rows, columns, strict=True)]  # fmt: skip
    return "".join([*across, *down])


def _pixels(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    """An image ``(C, H, W)`` in [0, 1] as uint8 ``(H, W, 3)``."""
    scaled = np.asarray(np.rint(image * 255), np.uint8).transpose(1, 2, 0)
    return np.broadcast_to(scaled, (*scaled.shape[:2], 3))


def _panel(
    title: str,
    above: str,
    below: str,
    pixels: NDArray[np.uint8],
    outlines: Mapping[str, NDArray[np.bool_]],
    *,
    key: bool = False,
    line: float = 1.0,
) -> str:
    """One picture with its title, a line above it and one below; ``above`` may be a key in HTML."""
    content = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(content, "PNG", compress_level=1)
    data = base64.b64encode(content.getvalue()).decode()
    lines, look = "", {"object": OBJECT, "decoy": DECOY}
    for name, mask in outlines.items():
        path = outline(mask)
        for colour, width in (("#000000", 1.9 * line), (look[name], line)):
            lines += f'<path d="{path}" stroke="{colour}" stroke-width="{width}"/>'
    told = html.escape(f"{title}. {'' if key else above + '. '}{below}", quote=True)
    return (
        f'<figure class="xbl-panel"><p class="xbl-panel-title">{html.escape(title)}</p>'
        f"<p>{above if key else html.escape(above)}</p>"
        f'<svg viewBox="-1 -1 {SIDE + 2} {SIDE + 2}" role="img" aria-label="{told}">'
        f'<image width="{SIDE}" height="{SIDE}" preserveAspectRatio="none" '
        f'href="data:image/png;base64,{data}"/>'
        f'<g fill="none" stroke-linecap="square">{lines}</g></svg>'
        f"<figcaption>{html.escape(below)}&nbsp;</figcaption></figure>"
    )


def _key(wrong: Mapping[str, NDArray[np.bool_]]) -> str:
    """Colours of the outlines that there are."""
    names = {"object": OBJECT} | ({"decoy": DECOY} if wrong["decoy"].any() else {})
    return " ".join(
        f'<span class="xbl-swatch" style="background:{colour}"></span> {name}'
        for name, colour in names.items()
    )
