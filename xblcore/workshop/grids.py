"""Examples done by hand that a learner can change, drawn as small grids of numbers."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure

from xblcore.plots import images as pictures
from xblcore.workshop import checks_cam, checks_distance
from xblcore.workshop.figures import numbers


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
