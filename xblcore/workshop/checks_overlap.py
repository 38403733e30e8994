"""Checks of notebook 3: the overlap loss, the receptive field, and a mask widened by it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from xblcore import losses, metrics
from xblcore.methods import Step
from xblcore.workshop.exercise import Case, Exercise, Slip
from xblcore.workshop.feedback import Feedback

# One map of 3x4 cells, the decoy in the four cells at the top left.
CAM = torch.tensor([[[4.0, 2.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 3.0]]])
DECOY = torch.zeros(1, 3, 4, dtype=torch.bool)
DECOY[0, :2, :2] = True
_DIM = torch.cat([CAM, CAM.flip(1, 2) / 10])
_DECOYS = torch.cat([DECOY, DECOY])

FIRST_PIXEL, LAST_PIXEL = 0, 27  # of a row of the image


def right_overlap(cam: Tensor, decoy_mask: Tensor) -> Tensor:
    """RRR-G, a number: the sum over the decoy of ``(M / max M)^2``, averaged over the images."""
    scaled = cam / cam.amax((1, 2), keepdim=True)
    return (scaled * decoy_mask).square().sum((1, 2)).mean()


OVERLAP = Exercise(
    name="overlap",
    right=right_overlap,
    gradient_to=0,
    cases=(
        Case((CAM, DECOY), 1.3125, "the map of this notebook"),
        Case((_DIM, _DECOYS), 0.9375, "a bright map and a dim one, turned round"),
    ),
    done="16/16 + 4/16 + 1/16 = 1.3125 for the map above, and a gradient flows through it.",
    hint="Three steps: divide each image's map by its own maximum, multiply by the mask, square; "
    "then the sum over the cells and the mean over the images.",
    slips=(
        Slip(
            lambda cam, mask: (cam * mask).square().sum((1, 2)).mean(),
            "the map is not scaled to a maximum of 1: a dim map would go unpunished.",
        ),
        Slip(
            lambda cam, mask: (cam / cam.max() * mask).square().sum((1, 2)).mean(),
            "all maps are divided by the largest maximum of the batch; each has its own.",
            "cam.amax((1, 2), keepdim=True) is the maximum of each image, of shape (N, 1, 1).",
        ),
        Slip(
            lambda cam, mask: (
                (cam / cam.sum((1, 2), keepdim=True) * mask).square().sum((1, 2)).mean()
            ),
            "the map is divided by its sum; here it is scaled to a maximum of 1.",
        ),
        Slip(
            lambda cam, mask: (cam / cam.amax((1, 2), keepdim=True) * mask).sum((1, 2)).mean(),
            "the square is missing.",
        ),
        Slip(
            lambda cam, mask: (cam / cam.amax((1, 2), keepdim=True) * mask).square().mean(),
            "this is the mean over the cells; they are added up.",
        ),
        Slip(
            lambda cam, mask: (cam / cam.amax((1, 2), keepdim=True) * mask).square().sum(),
            "this adds up the images; their mean is wanted, so that a weight means the same at "
            "every batch size.",
        ),
        Slip(
            lambda cam, mask: right_overlap(cam, ~mask),
            "this punishes what is *not* on the decoy.",
        ),
    ),
)


def right_pixels_seen(cell: int) -> tuple[int, int]:
    """First and last row of pixels that a row of cells sees; 3x3, pooled by 2, 3x3.

    >>> right_pixels_seen(0), right_pixels_seen(4), right_pixels_seen(13)
    ((0, 4), (5, 12), (23, 27))
    """
    return max(2 * cell - 3, FIRST_PIXEL), min(2 * cell + 4, LAST_PIXEL)


PIXELS_SEEN = Exercise(
    name="pixels_seen",
    right=right_pixels_seen,
    cases=(
        Case((4,), [5, 12], "cell 4"),
        Case((3,), [3, 10], "cell 3"),
        Case((0,), [0, 4], "cell 0, at the edge"),
        Case((13,), [23, 27], "cell 13, at the other edge"),
    ),
    done="8 pixels, although a cell is 2 pixels wide. Cell 3 sees pixel 3, the decoy's last one.",
    hint="Go down one layer at a time: which pooled cells does the second convolution look at, "
    "which rows is each of them made of, and how far do these see? The image has the rows 0 to 27.",
    slips=(
        Slip(
            lambda cell: (2 * cell, 2 * cell + 1),
            "these are the pixels that the cell covers; the two convolutions see further.",
        ),
        Slip(
            lambda cell: (2 * cell - 3, 2 * cell + 4),
            "right inside, but the image ends at pixel 0 and at pixel 27.",
            "max(..., 0) and min(..., 27).",
        ),
        Slip(
            lambda cell: (max(2 * cell - 1, 0), min(2 * cell + 2, 27)),
            "this is one convolution; there is another one behind the pooling, where a step is "
            "2 pixels wide.",
        ),
        Slip(
            lambda cell: (max(2 * cell - 2, 0), min(2 * cell + 3, 27)),
            "one of the convolutions is missing: the one before the pooling adds a pixel on "
            "each side.",
        ),
        Slip(
            lambda cell: (max(2 * cell - 2, 0), min(2 * cell + 2, 27)),
            "the steps of the second convolution are counted in pixels; behind the pooling each "
            "of them is 2 pixels wide.",
        ),
    ),
)


def right_widened(mask: Tensor) -> Tensor:
    """Every cell within two of the mask, sideways and diagonally: those that see its pixels."""
    return max_pool2d(mask.float()[:, None], 5, stride=1, padding=2)[:, 0] > 0


_CORNER = torch.zeros(1, 6, 6, dtype=torch.bool)
_CORNER[0, :2, :2] = True
_DOT = torch.zeros(1, 7, 8, dtype=torch.bool)
_DOT[0, 3, 3] = True


def _by(mask: Tensor, side: int) -> Tensor:
    return max_pool2d(mask.float()[:, None], side, stride=1, padding=side // 2)[:, 0] > 0


WIDENED = Exercise(
    name="widened",
    right=right_widened,
    cases=(
        Case((_CORNER,), right_widened(_CORNER), "a decoy of 2x2 cells in the corner"),
        Case((_DOT,), right_widened(_DOT), "a single cell in the middle"),
    ),
    done="4 cells become 16 in a corner: all those that have seen a pixel of the decoy.",
    hint="A maximum over a window around each cell is True where the mask is near. How many cells "
    "a side has the window, if two on each side of its middle belong to it?",
    slips=(
        Slip(lambda mask: mask, "the mask is as it was."),
        Slip(lambda mask: _by(mask, 3), "this widens by one cell; the decoy is seen two away."),
        Slip(lambda mask: _by(mask, 7), "this widens by three cells; the decoy is seen two away."),
        Slip(
            lambda mask: right_widened(mask) & ~mask,
            "this is the ring alone; the decoy's own cells belong to it as well.",
        ),
    ),
)


def overlap(function: Any) -> Feedback:
    """Check the loss by overlap."""
    return OVERLAP.check(function)


def pixels_seen(function: Any) -> Feedback:
    """Check the receptive field of a cell."""
    return PIXELS_SEEN.check(function)


def widened(function: Any) -> Feedback:
    """Check a mask that covers all cells which see the decoy."""
    return WIDENED.check(function)


def share(cam: Tensor, mask: Tensor) -> float:
    """Mean over the images of the share of each map inside its mask; dead maps left out."""
    return metrics.energy_pointing_game(cam, mask).nanmean().item()


def widened_penalty(step: Step) -> Tensor:
    """XBL-overlap on the widened decoy, for training."""
    return losses.overlap(
        step.cam("hires_cam", "projection"), right_widened(step.annotations.decoy_mask)
    )
