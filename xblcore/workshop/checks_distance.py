"""Checks of notebook 4: the distance map, and the mean distance of a CAM."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xblcore.workshop.exercise import Case, Exercise, Slip
from xblcore.workshop.feedback import Feedback

Mask = NDArray[np.bool_]
Numbers = NDArray[np.float64]

# The example of the notebook: 3x4 cells, the object in one of them.
OBJECT = np.zeros((3, 4), bool)
OBJECT[1, 1] = True
_CORNERED = np.zeros((4, 5), bool)
_CORNERED[2:, 3:] = True
_CORNERED[3, 0] = True


def _offsets(mask: Mask) -> tuple[Numbers, Numbers]:
    """Rows and columns from each cell to each object cell, ``(h, w, cells)`` each."""
    cells = np.indices(mask.shape).astype(np.float64)  # rows, columns
    object_rows, object_columns = np.nonzero(mask)
    return cells[0][..., None] - object_rows, cells[1][..., None] - object_columns


def right_distances(mask: Mask) -> Numbers:
    """Euclidean distance of each cell to the nearest object cell, in cells.

    >>> right_distances(np.array([[True, False, False]])).tolist()
    [[0.0, 1.0, 2.0]]
    """
    nearest: Numbers = np.hypot(*_offsets(mask)).min(-1)
    return nearest


def _flattened(mask: Mask) -> Numbers:
    index = np.arange(mask.size, dtype=np.float64).reshape(mask.shape)
    nearest: Numbers = np.abs(index[..., None] - index[mask]).min(-1)
    return nearest


def _to_centre(mask: Mask) -> Numbers:
    down, across = _offsets(mask)
    middle: Numbers = np.hypot(down.mean(-1), across.mean(-1))
    return middle


DISTANCES = Exercise(
    name="distances",
    right=right_distances,
    cases=(
        Case((OBJECT,), right_distances(OBJECT), "the example of this notebook"),
        Case((_CORNERED,), right_distances(_CORNERED), "an object of five cells in two places"),
    ),
    done="0 on the object, and a diagonal neighbour is 1.414 away, not 1 and not 2.",
    hint="Two steps: from `down` and `across` the Euclidean distance to every object cell; then, "
    "of those along the last axis, the one that counts.",
    slips=(
        Slip(
            lambda mask: np.abs(_offsets(mask)).sum(0).min(-1),
            "these are steps along the grid (city blocks): a diagonal neighbour is not 2 away.",
        ),
        Slip(
            lambda mask: np.abs(_offsets(mask)).max(0).min(-1),
            "these are moves of a chess king: a diagonal neighbour is not 1 away.",
        ),
        Slip(
            _flattened,
            "this is measured along the flattened grid, where the cell above is a whole row away "
            "and a row's end lies next to the next row's start.",
        ),
        Slip(
            lambda mask: np.hypot(*_offsets(mask)).max(-1),
            "this is the farthest object cell; the nearest one is wanted.",
        ),
        Slip(
            lambda mask: np.hypot(*_offsets(mask)).mean(-1),
            "this is the mean over the object cells: it is not 0 on the object. Take the nearest.",
        ),
        Slip(_to_centre, "this is the distance to the object's centre; its nearest cell counts."),
        Slip(lambda mask: right_distances(mask) ** 2, "these are squared distances."),
        Slip(
            lambda mask: right_distances(~mask),
            "this is the distance to the nearest cell that is *not* object.",
        ),
    ),
)

# Three maps on 4x4 cells: all on the decoy, all beside it, all beside the object.
WHERE = {"on the decoy": (0, 0), "beside the decoy": (1, 1), "beside the object": (2, 1)}
CAMS = torch.zeros(3, 4, 4)
for _n, _cell in enumerate(WHERE.values()):
    CAMS[_n][_cell] = 3.0
DECOY = torch.zeros(3, 4, 4, dtype=torch.bool)
DECOY[:, 0, 0] = True
_INSIDE = np.zeros((4, 4), bool)
_INSIDE[2:, 2:] = True
DISTANCE = torch.from_numpy(right_distances(_INSIDE)).float().expand(3, 4, 4)

_MIXED = torch.tensor([[[3.0, 1.0], [0.0, 0.0]], [[0.0, 2.0], [2.0, 4.0]]])
_FAR = torch.tensor([[[0.0, 1.0], [1.0, 2.0]], [[0.0, 1.0], [3.0, 0.0]]])


def right_mean_distance(cam: Tensor, distance: Tensor) -> Tensor:
    """``(N,)``, the distance at which a map's attribution lies on average."""
    share = cam / cam.sum((1, 2), keepdim=True)
    return (share * distance).sum((1, 2))


MEAN_DISTANCE = Exercise(
    name="mean_distance",
    right=right_mean_distance,
    gradient_to=0,
    cases=(
        Case((_MIXED, _FAR), torch.tensor([0.25, 1.0]), "two maps of 2x2 cells"),
        Case((CAMS, DISTANCE), right_mean_distance(CAMS, DISTANCE), "the three maps above"),
    ),
    done="beside the decoy is better than on it, and beside the object better still: the loss "
    "has a slope everywhere that leads to the object.",
    hint="Scale each image's map to sum 1, multiply by the distance, add up over its cells.",
    slips=(
        Slip(
            lambda cam, distance: (cam * distance).sum((1, 2)),
            "this is the mass: a map twice as bright counts twice. Here each map is scaled to "
            "sum 1 first.",
        ),
        Slip(
            lambda cam, distance: (cam / cam.amax((1, 2), keepdim=True) * distance).sum((1, 2)),
            "each map is scaled to its maximum; a mean needs weights that sum to 1.",
        ),
        Slip(
            lambda cam, distance: (cam * distance).mean((1, 2)),
            "this is a mean over the cells; the attribution is what weighs them.",
        ),
        Slip(
            lambda cam, distance: (cam * distance).sum((1, 2)) / cam.sum(),
            "all maps together are below the line; each image has its own sum.",
        ),
        Slip(
            lambda cam, distance: right_mean_distance(cam, distance).mean(),
            "this is one number; one for each image is wanted.",
        ),
    ),
)


def distances(function: Any) -> Feedback:
    """Check a distance map made from scratch."""
    return DISTANCES.check(function)


def mean_distance(function: Any) -> Feedback:
    """Check the mean distance of a map."""
    return MEAN_DISTANCE.check(function)
