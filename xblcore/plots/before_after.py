"""What a model looked at before it was refined by marks, and what it looks at now."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import patheffects
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from xblcore.plots.images import DECOY, OBJECT, SMALL, image_grid, outline, show, show_cam
from xblcore.plots.style import BLACK, VERMILLION

FEWEST = 4  # columns that the width is shared among, so that one image does not fill the page


def before_and_after(
    fig: Figure,
    images: ArrayLike,
    before: ArrayLike,
    after: ArrayLike,
    *,
    object_mask: ArrayLike,
    decoy_mask: ArrayLike,
    truth: Sequence[str],
    predictions: tuple[Sequence[str], Sequence[str]],
) -> Figure:
    """Images with their marks, and below each its CAM before and after, with the class predicted.

    Args:
        fig: an empty figure, about 9.5 inches wide for eight images; the height is made to fit.
        images: ``(G, C, H, W)`` in [0, 1], at least one.
        before, after: CAMs ``(G, h, w)``, at least 0; each is scaled to its own maximum.
        object_mask, decoy_mask: bool ``(G, H, W)``, what was marked as object and as wrong.
        truth: class of each image.
        predictions: class predicted for each, before and after.

    Raises:
        ValueError: no image.
    """
    pictures = np.asarray(images)
    if not len(pictures):
        raise ValueError("images must be at least one, got none; mark some first")
    grid = image_grid(fig, 3, max(FEWEST, len(pictures)), row_gap=0.22, margin=0.7)
    for unused in fig.axes:
        unused.set_axis_off()
    marks = (np.asarray(object_mask), OBJECT), (np.asarray(decoy_mask), DECOY)
    cams = np.asarray(before), np.asarray(after)
    for n, picture in enumerate(pictures):
        show(grid[0, n], picture).set_title(truth[n], size=SMALL + 0.5)
        for row, (cam, predicted) in enumerate(zip(cams, predictions, strict=True), start=1):
            right = predicted[n] == truth[n]
            show_cam(grid[row, n], cam[n]).set_xlabel(
                predicted[n] if right else f"✗ {predicted[n]}",
                size=SMALL, labelpad=2, color=BLACK if right else VERMILLION,
            )  # fmt: skip
        for axes in grid[:, n]:
            axes.set_axis_on()
            for mask, colour in marks:
                outline(axes, mask[n], colour=colour)
    for axes, name in zip(grid[:, 0], ("marked", "before", "after"), strict=True):
        axes.set_ylabel(name)
    fig.suptitle("Where the model looks, and what it says, before and after refining")
    key = {"marked as wrong": DECOY, "marked as object": OBJECT}
    rim = [patheffects.withStroke(linewidth=3.7, foreground=BLACK)]
    lines = [
        Line2D([], [], color=colour, lw=2.5, label=name, path_effects=rim)
        for name, colour in key.items()
    ]
    fig.legend(handles=lines, loc="outside lower center", ncols=2)
    return fig
