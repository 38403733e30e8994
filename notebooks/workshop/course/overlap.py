"""Notebook 3: losses based on overlap, and the receptive field."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from course import task
from course.exercise import Case, Exercise, Feedback, check_answers
from xblcore.study.models import SplitNet

# One map of 3x4 cells; the decoy is in the four cells at the top left.
CAM = torch.tensor([[[4.0, 2.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 3.0]]])
DECOY = torch.zeros(1, 3, 4, dtype=torch.bool)
DECOY[0, :2, :2] = True


def _scaled(cam: Tensor) -> Tensor:
    return cam / cam.amax((1, 2), keepdim=True)


def _rrr_g(cam: Tensor, mask: Tensor) -> Tensor:
    return (_scaled(cam) * mask).square().sum((1, 2)).mean()


overlap = Exercise(
    "overlap",
    solution=_rrr_g,
    gradient_to=0,
    cases=(
        Case("the map of this notebook", (CAM, DECOY)),
        Case("a strong map and a weak one",
             (torch.cat([CAM, CAM.flip(1, 2) / 10]), torch.cat([DECOY, DECOY]))),
    ),
    success="16/16 + 4/16 + 1/16 = 1.3125 for the map above, and the loss has a gradient.",
    hint="Three steps: divide each map by its own maximum; multiply by the mask and square; take "
    "the sum over the cells and the mean over the images.",
    mistakes=(
        ("the loss of unscaled maps", lambda cam, mask: (cam * mask).square().sum((1, 2)).mean(),
         "Scale each map to a maximum of 1, or a weak map costs nothing."),
        ("the loss with the maximum of the batch",
         lambda cam, mask: (cam / cam.max() * mask).square().sum((1, 2)).mean(),
         "Each map has its own maximum, over its cells only."),
        ("the loss without the square",
         lambda cam, mask: (_scaled(cam) * mask).sum((1, 2)).mean(), "Square before you add up."),
    ),
)  # fmt: skip


def sees_decoy(network: SplitNet, images: Tensor) -> Tensor:
    """Cells whose features change with the decoy at the top left, bool ``(h, w)``.

    ``images`` are clean, uint8 ``(N, 1, H, W)``; each gets the decoy of every class.
    """
    with torch.no_grad():
        maps = torch.stack([network.features(task.with_each_decoy(image).float() / 255)
                            for image in images])  # (N, classes, K, h, w)  # fmt: skip
    return (maps != maps[:, :1]).flatten(0, 2).any(0)


pixels_seen = Exercise(
    "pixels_seen",
    solution=lambda cell: (max(2 * cell - 3, 0), min(2 * cell + 4, 27)),
    cases=(
        Case("cell 4", (4,)),
        Case("cell 3", (3,)),
        Case("cell 0, at the border", (0,)),
        Case("cell 13, at the other border", (13,)),
    ),
    success="8 pixels, although a cell is 2 pixels wide. Cell 3 sees pixel 3, the decoy's last.",
    hint="Go one layer at a time. Which pooled cells does the second convolution read? Which rows "
    "is each of them made of? How far do these rows see?",
    mistakes=(
        ("the pixels that the cell covers", lambda cell: (2 * cell, 2 * cell + 1),
         "The two convolutions see further."),
        ("rows outside the image", lambda cell: (2 * cell - 3, 2 * cell + 4),
         "Correct inside, but the image has the rows 0 to 27."),
        ("the field of the second convolution",
         lambda cell: (max(2 * cell - 2, 0), min(2 * cell + 3, 27)),
         "The convolution before the pooling adds one pixel on each side."),
    ),
)  # fmt: skip


def margin(pixels: Any, *, expected: int = 3) -> Feedback:
    """Check by how many pixels the mask of the decoy must be widened."""
    hint = "A cell covers 2 pixels in a row. By how many pixels does it see beyond them?"
    success = "the widened mask has all cells that see a pixel of the decoy."
    return check_answers({"margin": pixels}, {"margin": (expected, hint)}, success)
