"""The committed gallery as a source for the explorer: at once, without training, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xblcore.datasets.drawing import View
from xblcore.explorer.gallery import BASES, VIEWS, Gallery
from xblcore.explorer.shelf import Shelf, answer_table
from xblcore.explorer.views import EXPLAINERS, Answer, Ask, Look, Picture, explainer_of


class Committed:
    """Implements :class:`xblcore.explorer.views.Source` with what a gallery holds.

    The explained class is the predicted one, the layer the study's; CAM kinds and scores are those
    of the study's explainers.

    Args:
        gallery: from :func:`xblcore.explorer.gallery.load`.
    """

    free_target = False
    splits: tuple[str, ...] = BASES

    def __init__(self, gallery: Gallery) -> None:
        about = gallery.about
        self._gallery = gallery
        self.task, self.data = about.task, about.data
        self.classes, self.methods = tuple(about.classes), tuple(about.methods)
        self.weights: Mapping[str, float] = dict(zip(about.methods, about.weights, strict=True))
        self.seeds = tuple(about.seeds)
        self.layers: tuple[str, ...] = (about.layer,)
        scores: dict[str, tuple[str, ...]] = {}
        for (kind, score), name in EXPLAINERS.items():
            if name in about.explainers:
                scores[kind] = (*scores.get(kind, ()), score)
        self.scores: Mapping[str, tuple[str, ...]] = scores
        self._shelves = {
            s: Shelf(part.drawn, part.positions.tolist()) for s, part in gallery.shown.items()
        }
        count = sum(len(shelf.positions) for shelf in self._shelves.values())
        self.about = (
            f"The committed gallery: {count} fixed images, the predicted class, the study's layer "
            f"({about.layer}) and explainers; profile {about.profile}."
        )

    def numbers(self, split: str) -> Sequence[int]:
        """Position in the split of each image that can be shown."""
        return self._shelves[split].positions

    def picture(self, ask: Ask, number: int) -> Picture:
        """The image at position ``number`` of the split."""
        height, width = self._gallery.shown[ask.split].cams.shape[-2:]
        return self._shelves[ask.split].picture(number, view=ask.view, grid=(height, width))

    def look(self, ask: Ask, number: int) -> Look:
        """What the network made of it when the gallery was made."""
        part, row = self._gallery.shown[ask.split], self._shelves[ask.split].row(number)
        explainer, *net = self._axes(ask)
        where = (*net, row)
        answers = {
            view: Answer(int(part.predicted[v, *where]), float(part.confidence[v, *where]))
            for v, view in enumerate(VIEWS)
        }
        values = part.metrics[explainer, *where].tolist()
        return Look(
            part.cams[explainer, *where] / np.float32(255),
            answers[ask.view].predicted,
            answers,
            dict(zip(self._gallery.about.metrics, values, strict=True)),
        )

    def answers(self, ask: Ask) -> pd.DataFrame:
        """One row an image: ``label, predicted, wrong``."""
        return answer_table(self._shelves[ask.split], self._predicted(ask, ask.view))

    def flipped(self, ask: Ask) -> pd.Series[bool]:
        """Whether the answer differs between the image's decoy and that of another class."""
        flips = self._predicted(ask, "decoy") != self._predicted(ask, "swapped")
        return pd.Series(flips, index=self._shelves[ask.split].positions)

    def _predicted(self, ask: Ask, view: View) -> NDArray[np.int64]:
        _, *net = self._axes(ask)
        found = self._gallery.shown[ask.split].predicted[VIEWS.index(view), *net]
        return np.asarray(found, np.int64)

    def values(self, ask: Ask, metric: str) -> pd.Series[float]:
        """One metric of every image's explanation."""
        part, about = self._gallery.shown[ask.split], self._gallery.about
        found = part.metrics[*self._axes(ask)][:, about.metrics.index(metric)]
        return pd.Series(found, index=self._shelves[ask.split].positions)

    def _axes(self, ask: Ask) -> tuple[int, int, int]:
        """Where explainer, method and seed stand in the arrays.

        Raises:
            ValueError: the gallery has no such map.
        """
        about, explainer = self._gallery.about, explainer_of(ask)
        for name, value, known in (
            ("split", ask.split, self.splits),
            ("explainer", explainer, about.explainers),
            ("method", ask.method, about.methods),
            ("seed", ask.seed, about.seeds),
            ("layer", ask.layer, self.layers),
        ):
            if value not in known:
                there = ", ".join(map(str, known))
                raise ValueError(f"{name} must be one of the gallery's ({there}), got {value!r}")
        return (
            about.explainers.index(str(explainer)),
            about.methods.index(ask.method),
            about.seeds.index(ask.seed),
        )
