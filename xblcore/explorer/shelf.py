"""The images of a split as the explorer shows them: any view, and masks on any grid."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xblcore import distance
from xblcore.datasets.drawing import Drawn, View
from xblcore.datasets.split import Split
from xblcore.explorer.views import Picture


class Shelf:
    """Some images of a drawn split, looked up by their position in it.

    Args:
        drawn: the images, with the decoys that belong on them.
        positions: ``(n,)`` position of each in the whole split.
    """

    def __init__(self, drawn: Drawn, positions: Sequence[int]) -> None:
        self.drawn = drawn
        self.positions = tuple(int(position) for position in positions)
        self._row = {position: row for row, position in enumerate(self.positions)}
        self.render = functools.cache(self._render)
        self.marked = functools.cache(self._marked)

    def row(self, position: int) -> int:
        """Where the image at a position of the split stands here.

        Raises:
            ValueError: it is not here.
        """
        if position not in self._row:
            some = ", ".join(map(str, self.positions[:8]))
            raise ValueError(f"image must be one of those at hand ({some}, ...), got {position}")
        return self._row[position]

    def picture(self, position: int, *, view: View, grid: tuple[int, int]) -> Picture:
        """One image with its masks, and its distance map on a grid."""
        row, split = self.row(position), self.render(view)
        away = self.marked(view, grid)[2]
        return Picture(
            split.images[row],
            int(split.labels[row]),
            split.object_mask[row],
            split.decoy_mask[row],
            away[row],
        )

    def _render(self, view: View) -> Split:
        return self.drawn.render(view)

    def _marked(
        self, view: View, grid: tuple[int, int]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.float32]]:
        """Object mask, decoy mask and distance map, each ``(n, h, w)``, as the study makes them."""
        split = self.render(view)
        inside = distance.to_grid(split.object_mask, grid)
        decoy = distance.to_grid(split.decoy_mask, grid)
        return inside, decoy, distance.distance_map(inside)


def answer_table(shelf: Shelf, predicted: NDArray[np.integer]) -> pd.DataFrame:
    """What :meth:`xblcore.explorer.views.Source.answers` gives, of predicted classes ``(n,)``."""
    labels = shelf.drawn.labels
    columns = {"label": labels, "predicted": predicted, "wrong": predicted != labels}
    return pd.DataFrame(columns, index=pd.Index(shelf.positions))


def pick(drawn: Drawn, rows: Sequence[int]) -> Drawn:
    """Some of the images, in the order of ``rows``."""
    index = np.asarray(rows)
    arrays = {
        field.name: getattr(drawn, field.name)[index]
        for field in dataclasses.fields(Drawn)
        if field.name != "decoy_size"
    }
    return dataclasses.replace(drawn, **arrays)


def even(labels: Sequence[int], count: int) -> list[int]:
    """Rows of ``count`` images, as many of each class as can be, the first of each, in order.

    >>> even([0, 0, 0, 1, 1], 3)
    [0, 1, 3]
    """
    rows: dict[int, list[int]] = {}
    for row, label in enumerate(labels):
        rows.setdefault(int(label), []).append(row)
    rounds = [(n, label, row) for label in rows for n, row in enumerate(rows[label])]
    return sorted(row for _, _, row in sorted(rounds)[:count])
