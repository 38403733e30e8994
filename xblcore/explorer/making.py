"""Make the gallery that is committed, from the networks that were trained here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xblcore import config
from xblcore.explorer.gallery import BASES, VIEWS, About, Gallery, Shown, share_of_maximum
from xblcore.explorer.live import Live
from xblcore.explorer.shelf import even, pick
from xblcore.explorer.views import EXPLAINERS, PREDICTED, Ask, Look

Pixels = NDArray[np.uint8]
Numbers = NDArray[np.float32]

IMAGES = 30  # of each split: three of each class where there are ten


def make(task: str, *, root: Path | None = None) -> Gallery:
    """What every network of a task makes of a fixed choice of images.

    Raises:
        ValueError, FileNotFoundError: as :class:`~xblcore.explorer.live.Live`; a method of the grid
            whose networks are missing.
    """
    live, study = Live(task, root=root), config.load(root)
    missing = [name for name in study.methods if name not in live.methods]
    if missing:
        raise FileNotFoundError(
            f"no networks of {missing[0]} on {task}; run: dvc repro train@{task}-{missing[0]}"
        )
    names: list[str] = []
    shown = {}
    for split in BASES:
        shelf = live.shelf(split)
        rows = even(shelf.drawn.labels.tolist(), IMAGES)
        looks = [
            [[live.looks(_ask(live, split, m, s, *by), rows) for s in live.seeds]
             for m in live.methods] for by in EXPLAINERS
        ]  # fmt: skip
        names = list(looks[0][0][0][0].metrics)
        shown[split] = Shown(
            np.array([shelf.positions[row] for row in rows]),
            pick(shelf.drawn, rows),
            *_arrays(looks),
        )
    about = About(
        task=task,
        data=live.data,
        profile=study.profile,
        classes=list(live.classes),
        methods=list(live.methods),
        weights=[live.weights[name] for name in live.methods],
        seeds=list(live.seeds),
        explainers=list(EXPLAINERS.values()),
        metrics=names,
        layer=live.layers[0],
        decoy_size=shown[BASES[0]].drawn.decoy_size,
    )
    return Gallery(about, shown)


def _ask(live: Live, split: str, method: str, seed: int, kind: str, score: str) -> Ask:
    return Ask(method, seed, split, kind, score, PREDICTED, live.layers[0])


def _arrays(looks: list[list[list[list[Look]]]]) -> tuple[Pixels, Numbers, Pixels, Numbers]:
    """CAMs, metrics, predicted classes and their confidence of looks ``[E][M][S][n]``."""
    cams = share_of_maximum(_each(looks, lambda look: look.cam))
    values = _each(looks, lambda look: list(look.metrics.values()))
    first = looks[0]  # the answers are the same by every explainer
    answers = _each(first, lambda look: [astuple(look.answers[view]) for view in VIEWS])
    predicted, confidence = answers.transpose(4, 3, 0, 1, 2)  # each (V, M, S, n)
    return cams, values.astype(np.float32), predicted.astype(np.uint8), confidence.astype("f4")


def _each(looks: list[Any], what: Callable[[Look], ArrayLike]) -> NDArray[np.float64]:
    """``what`` of every look in nested lists, as one array with the lists' axes first."""

    def of(part: Any) -> Any:
        return what(part) if isinstance(part, Look) else [of(inner) for inner in part]

    return np.array(of(looks), float)
