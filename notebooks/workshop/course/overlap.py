"""Notebook 3: losses based on overlap, and the receptive field."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from course import task
from course.exercise import Case, Exercise
from xblcore.distance import to_grid
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
        ("a mean over the cells", lambda cam, mask: (_scaled(cam) * mask).square().mean(),
         "Add up the cells; average over the images only."),
        ("a sum over the images", lambda cam, mask: (_scaled(cam) * mask).square().sum(),
         "Take the mean, so that a weight means the same for every batch size."),
    ),
)  # fmt: skip

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
        ("the field of the first convolution",
         lambda cell: (max(2 * cell - 1, 0), min(2 * cell + 2, 27)),
         "A second convolution follows the pooling, where one step is 2 pixels."),
        ("the field of the second convolution",
         lambda cell: (max(2 * cell - 2, 0), min(2 * cell + 3, 27)),
         "The convolution before the pooling adds one pixel on each side."),
    ),
)  # fmt: skip

_CORNER, _DOT = torch.zeros(2, 1, 7, 8, dtype=torch.bool)
_CORNER[0, :2, :2] = _DOT[0, 3, 3] = True


def _widened(mask: Tensor, side: int = 5) -> Tensor:
    return max_pool2d(mask.float()[:, None], side, stride=1, padding=side // 2)[:, 0] > 0


widened = Exercise(
    "widened",
    solution=_widened,
    cases=(
        Case("a decoy of 2x2 cells in the corner", (_CORNER,)),
        Case("a single cell in the middle", (_DOT,)),
    ),
    success="4 cells in a corner become 16: all cells that see a pixel of the decoy.",
    hint="The maximum over a window around a cell is 1 if the mask is near. How many cells wide is "
    "a window with two cells on each side of its centre?",
    mistakes=(
        ("the mask itself", lambda mask: mask, "Widen it by two cells on each side."),
        ("the mask widened by one cell", lambda mask: _widened(mask, 3), "Two are needed."),
        ("the ring without the mask", lambda mask: _widened(mask) & ~mask,
         "The decoy's own cells belong to it too."),
    ),
)  # fmt: skip


def cells_that_see(model: SplitNet, data: task.Data) -> tuple[Tensor, Tensor]:
    """Find the cells that carry information on a decoy at the top left, by changing it.

    Returns:
        Bool ``(h, w)`` each: the cells that the decoy covers, and those whose features change in
        any of 50 images if only the decoy does.
    """
    changed = torch.zeros(task.GRID, dtype=torch.bool)
    with torch.no_grad():
        for image in data.test_clean.images[:50]:
            features = model.features(task.with_each_decoy(image).float() / 255)
            changed |= (features != features[:1]).any(0).any(0)  # (classes, K, h, w) to (h, w)
    pixels = np.zeros((1, 28, 28), bool)
    pixels[:, : task.PATCH, : task.PATCH] = True
    return torch.from_numpy(to_grid(pixels, task.GRID))[0], changed
