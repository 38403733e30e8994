"""What the explorer asks for and what it is shown; committed files and live networks answer alike.

Without torch. A CAM kind and a score together are what the study calls an explainer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xblcore.datasets.drawing import VIEWS, View

# CAM kind and score of the explainers that the tables name; a test holds it to xblcore.explainers.
EXPLAINERS: dict[tuple[str, str], str] = {
    ("grad_cam", "logit"): "grad_cam",
    ("hires_cam", "logit"): "hires_cam",
    ("hires_cam", "log_prob"): "hires_cam_log_prob",
}
# How an image can be seen: with its decoy, with that of another class, without one.
SEEN: dict[View, str] = {
    "decoy": "with the decoy",
    "swapped": "with another class's decoy",
    "clean": "without a decoy",
}
PREDICTED = None  # the target class that is whatever the network answers


@dataclass(frozen=True)
class Ask:
    """What is to be explained, and how.

    Attributes:
        method: that trained the network.
        seed: of the network.
        split: a key of :data:`xblcore.datasets.drawing.VIEWS`.
        kind: of CAM, ``grad_cam`` or ``hires_cam``.
        score: ``logit``, ``log_prob`` or ``projection``.
        target: class whose score is explained; None: the predicted one.
        layer: dotted name of the explained layer.
    """

    method: str
    seed: int
    split: str
    kind: str
    score: str
    target: int | None
    layer: str

    @property
    def view(self) -> View:
        """How the images of the split are seen."""
        return VIEWS[self.split][1]

    @property
    def base(self) -> str:
        """The drawn images that the split is a view of."""
        return VIEWS[self.split][0]


@dataclass(frozen=True, eq=False)
class Picture:
    """One image of a split and what was marked on it.

    Attributes:
        image: ``(C, H, W)`` in [0, 1].
        label: its class.
        object_mask: bool ``(H, W)``.
        decoy_mask: bool ``(H, W)``; all False without a decoy.
        distance: ``(h, w)``, to the object on the CAM's grid, in grid diagonals.
    """

    image: NDArray[np.float32]
    label: int
    object_mask: NDArray[np.bool_]
    decoy_mask: NDArray[np.bool_]
    distance: NDArray[np.float32]


@dataclass(frozen=True)
class Answer:
    """A network's answer: a class and the probability that it gives it."""

    predicted: int
    confidence: float


@dataclass(frozen=True, eq=False)
class Look:
    """What one network makes of one image.

    Attributes:
        cam: ``(h, w)``, at least 0.
        target: the class that the CAM explains.
        answers: by how the image is seen, see :data:`SEEN`.
        metrics: of the explanation and of this image, NaN where undefined.
    """

    cam: NDArray[np.floating]
    target: int
    answers: Mapping[View, Answer]
    metrics: Mapping[str, float]


class Source(Protocol):
    """Where pictures and CAMs come from.

    Attributes:
        task: name of the task.
        data: ``original`` or ``stand-in``.
        classes: name of each class.
        methods: that there are networks of.
        weights: of each method's explanation loss.
        seeds: that every method has.
        splits: that can be shown.
        scores: CAM kind to the scores it can explain.
        layers: that can be explained, the study's first.
        free_target: whether the target class can be chosen.
        about: one sentence on where the pictures come from.
    """

    task: str
    data: str
    classes: tuple[str, ...]
    methods: tuple[str, ...]
    weights: Mapping[str, float]
    seeds: tuple[int, ...]
    splits: tuple[str, ...]
    scores: Mapping[str, tuple[str, ...]]
    layers: tuple[str, ...]
    free_target: bool
    about: str

    def numbers(self, split: str) -> Sequence[int]:
        """Position in the split of each image that can be shown."""

    def picture(self, ask: Ask, number: int) -> Picture:
        """The image at position ``number`` of the split."""

    def look(self, ask: Ask, number: int) -> Look:
        """What the network makes of it."""

    def answers(self, ask: Ask) -> pd.DataFrame:
        """One row an image: ``label, predicted`` and bool ``wrong``, by position in the split."""

    def flipped(self, ask: Ask) -> pd.Series[bool]:
        """Whether the answer differs between the image's decoy and that of another class."""

    def values(self, ask: Ask, metric: str) -> pd.Series[float]:
        """One metric of every image's explanation, NaN where undefined."""


def explainer_of(ask: Ask) -> str | None:
    """The study's name for what is asked, None where its tables have none.

    >>> explainer_of(Ask("erm", 0, "test_decoy", "grad_cam", "logit", None, "features"))
    'grad_cam'
    """
    return EXPLAINERS.get((ask.kind, ask.score)) if ask.target is PREDICTED else None
