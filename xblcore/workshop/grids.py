"""Small grids with their numbers written in, for what is done by hand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from xblcore.plots import images as pictures
from xblcore.plots.style import BLACK, GREY
from xblcore.workshop import checks_cam, checks_distance
from xblcore.workshop.figures import WIDTH, new_figure


def numbers(
    grids: Mapping[str, ArrayLike],
    *,
    masks: Mapping[str, ArrayLike] | None = None,
    side: float = 2.1,
) -> Figure:
    """Small grids with the number written in each cell, darker blue for more, orange for less.

    Args:
        grids: title to ``(h, w)``, signed.
        masks: title to bool ``(h, w)``, outlined.
        side: width of a grid in inches, at most.
    """
    arrays = {title: np.asarray(values, dtype=float) for title, values in grids.items()}
    rows, columns = next(iter(arrays.values())).shape
    side = min(side, WIDTH / len(arrays))
    fig = new_figure(side * rows / columns + 0.35, width=side * len(arrays))
    axes = fig.subplots(1, len(arrays), squeeze=False)[0]
    for ax, (title, values) in zip(axes, arrays.items(), strict=True):
        _numbered(ax, values).set_title(title)
        if masks and title in masks:
            pictures.outline(ax, masks[title], colour=pictures.DECOY, width=2.5)
    return fig


def _numbered(ax: Axes, values: NDArray[np.float64]) -> Axes:
    rows, columns = values.shape
    top = max(float(np.abs(values).max()), 1e-9)
    ax.imshow(values, cmap="PuOr", vmin=-1.6 * top, vmax=1.6 * top, extent=pictures.UNIT)
    ax.set(xticks=[], yticks=[], aspect=rows / columns)
    ax.grid(False)
    ax.spines[:].set(visible=True, color=GREY)
    size = 15 if max(rows, columns) <= 3 else 10
    for (row, column), value in np.ndenumerate(values):
        x, y = (column + 0.5) / columns, (row + 0.5) / rows
        ax.text(x, y, f"{value:.3g}", size=size, ha="center", va="center", color=BLACK)
    for line in range(1, rows):
        ax.axhline(line / rows, color=GREY, linewidth=0.6)
    for line in range(1, columns):
        ax.axvline(line / columns, color=GREY, linewidth=0.6)
    return ax


def reading(share: float) -> Figure:
    """Both maps of the 2x2 example, if the head reads ``A_1`` in two cells instead of one.

    Args:
        share: of the gradient at the top left; the rest is at the bottom right.
    """
    gradients = checks_cam.GRADIENTS.clone()
    gradients[0] = torch.tensor([[4 * share, 0.0], [0.0, 4 * (1 - share)]])
    return numbers(
        {
            "$G_1$": gradients[0],
            "Grad-CAM": checks_cam.right_grad_cam(checks_cam.FEATURES, gradients),
            "HiResCAM": checks_cam.right_hires_cam(checks_cam.FEATURES, gradients),
        }
    )


def object_at(row: int, column: int, size: int) -> Figure:
    """Distance map of a square object on 8x8 cells, in cells.

    Args:
        row: of the object's first cell; the object is cut off at the border.
        column: likewise.
        size: of the object in cells.
    """
    mask = np.zeros((8, 8), bool)
    mask[row : row + size, column : column + size] = True
    away = checks_distance.right_distances(mask)
    fig = numbers({"distance to the object, in cells": away}, side=4.2)
    pictures.outline(fig.axes[0], mask, colour=pictures.OBJECT, width=2.5)
    return fig
