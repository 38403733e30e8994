"""The 4x4 maps of notebook 5: small enough to work every metric out on paper.

The object is the first column, so the distance of a cell, in cells, is the number of its column.
"""

from __future__ import annotations

import torch

from xblcore.distance import distance_map

OBJECT = torch.tensor([[True, False, False, False]] * 4)  # (4, 4)
DISTANCE = torch.from_numpy(distance_map(OBJECT[None].numpy(), normalise=False))[0]  # (4, 4)

_ON_OBJECT = [[4.0, 0, 0, 0], [2, 0, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0]]


def with_rest_at(column: int) -> torch.Tensor:
    """A map of sum 10 with 8 on the object and 2 in a cell of the first row.

    Args:
        column: of that cell, 1 (beside the object) to 3 (as far away as can be).

    Raises:
        ValueError: another column.

    >>> with_rest_at(1)[0].tolist(), with_rest_at(3)[0].tolist()
    ([4.0, 2.0, 0.0, 0.0], [4.0, 0.0, 0.0, 2.0])
    """
    if column not in (1, 2, 3):
        raise ValueError(f"column must be 1, 2 or 3, got {column}")
    cam = torch.tensor(_ON_OBJECT)
    cam[0, column] = 2
    return cam


NEAR, FAR = with_rest_at(1), with_rest_at(3)
DEAD = torch.zeros(4, 4)

# All of the attribution on a decoy that touches the object, and a map that is mostly right.
ON_DECOY_BESIDE = torch.tensor([[0.0, 0, 0, 0], [0, 5, 0, 0], [0, 5, 0, 0], [0, 0, 0, 0]])
MOSTLY_OBJECT = torch.tensor([[0.0, 0, 0, 4], [2, 0, 0, 0], [2, 0, 0, 0], [2, 0, 0, 0]])
