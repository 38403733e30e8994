"""One run of an experiment, told in full: what is trained, on which data, and what is marked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

from xblcore.cam import CamMethod, ScoreKind
from xblcore.experiments.feedback import KINDS

MARKED = ("all", "first")


@dataclass(frozen=True)
class Spec:
    """A run; two that are equal give the same numbers.

    Attributes:
        task: name of the task.
        method: a key of :data:`xblcore.methods.METHODS`.
        weight: of the explanation loss.
        seed: of the initial weights, the order of the images, and what is marked.
        annotated: how many training images are marked, drawn by the seed; None: all.
        feedback: what is marked on them, a name in :data:`xblcore.experiments.feedback.KINDS`.
        switch_on: epochs of plain training before the explanation loss is turned on; as many
            epochs as ever follow.
        layer: the explained layer in training; None: the network's own.
        cam: the CAM in training; None: the method's own.
        score: of the CAM in training; None: the method's own.
        decoy_size: side of the decoy in pixels; None: the task's.
        predictive: share of the training and validation images whose decoy tells the label; on the
            others it tells another one.
        decoys: 1, or 2: a chequered one in the opposite corner, as predictive, in another code.
        marked: which decoys are marked as wrong.

    Raises:
        ValueError: a value outside its range.
    """

    task: str
    method: str
    weight: float
    seed: int
    annotated: int | None = None
    feedback: str = "correct"
    switch_on: int = 0
    layer: str | None = None
    cam: str | None = None
    score: str | None = None
    decoy_size: int | None = None
    predictive: float = 1.0
    decoys: int = 1
    marked: str = "all"

    def __post_init__(self) -> None:
        choices = {
            "feedback": KINDS,
            "cam": (None, *get_args(CamMethod)),
            "score": (None, *get_args(ScoreKind)),
            "decoys": (1, 2),
            "marked": MARKED,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                names = ", ".join(map(str, allowed))
                raise ValueError(f"{name} must be one of {names}, got {getattr(self, name)!r}")
        for name, least in (("annotated", 1), ("decoy_size", 1), ("switch_on", 0), ("weight", 0)):
            value = getattr(self, name)
            if value is not None and not least <= value < math.inf:
                raise ValueError(f"{name} must be at least {least} and finite, got {value}")
        if not 0 <= self.predictive <= 1:
            raise ValueError(f"predictive must be in [0, 1], got {self.predictive}")
        for name in ("weight", "predictive"):  # 3 and 3.0 are one run, also where it is written out
            object.__setattr__(self, name, float(getattr(self, name)))
