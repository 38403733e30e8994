"""The tasks there are, each with its original data or a stand-in, or both.

To add one, write a function that takes the folder of raw files and a ``DataConfig`` and returns
the drawn splits (``drawing.draw_splits`` makes them from two pools of clean images), and name it
in :data:`TASKS`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from xblcore.datasets import fashion_mnist
from xblcore.datasets.drawing import Drawn
from xblcore.datasets.settings import DataConfig, DataKind
from xblcore.datasets.sources import Source, fetch, missing_files

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """How the splits of a task are made from raw files.

    Attributes:
        draw: the folder of raw files and a config to the four disjoint splits.
        classes: name of each class.
        sources: raw files it needs.
    """

    draw: Callable[[Path, DataConfig], dict[str, Drawn]]
    classes: tuple[str, ...]
    sources: tuple[Source, ...]


TASKS: dict[str, dict[DataKind, Recipe]] = {
    "decoy_fashion_mnist": {
        "original": Recipe(
            fashion_mnist.decoy_fashion_mnist, fashion_mnist.CLASSES, (fashion_mnist.SOURCE,)
        ),
    },
}


def recipes(task: str, data: str) -> dict[DataKind, Recipe]:
    """Recipes of a task that ``data`` allows, the original first.

    Raises:
        ValueError: no such task, or not with such data.
    """
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
    order: tuple[DataKind, ...] = ("original", "stand-in")
    found = {
        kind: TASKS[task][kind] for kind in order if kind in TASKS[task] and data in (kind, "auto")
    }
    if not found:
        names = ", ".join(["auto", *TASKS[task]])
        raise ValueError(f"data of {task} must be one of {names}, got {data!r}")
    return found


def fetch_task(task: str, raw_root: Path, *, data: str = "auto", progress: bool = True) -> DataKind:
    """Fetch the raw files of a task; with ``auto``, those of the stand-in if it must be.

    Returns:
        Which data can now be built.

    Raises:
        ValueError: no such task, or not with such data.
        FileNotFoundError: the files are not to be had; the message says what helps.
    """
    failures = []
    for kind, recipe in recipes(task, data).items():
        try:
            for source in recipe.sources:
                fetch(source, raw_root, progress=progress)
        except FileNotFoundError as error:
            failures.append(str(error))
        else:
            if failures:
                log.warning("%s\n%s: FALLING BACK TO THE STAND-IN", "\n".join(failures), task)
            return kind
    raise FileNotFoundError("\n".join(failures))


def choose(task: str, raw_root: Path, data: str) -> tuple[DataKind, Recipe]:
    """The first recipe of a task whose raw files are all there, the last one if none's are.

    Says so loudly where ``auto`` comes to a stand-in.
    """
    found = recipes(task, data)
    ready = (
        kind
        for kind, recipe in found.items()
        if not any(missing_files(source, raw_root) for source in recipe.sources)
    )
    kind = next(ready, list(found)[-1])
    if kind == "stand-in" and data == "auto":
        log.warning("%s: the original data is not in %s; USING THE STAND-IN", task, raw_root)
    return kind, found[kind]
