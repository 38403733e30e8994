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

from xblcore.datasets import cifar10, coco_2014, coco_stand_in, fashion_mnist, stand_ins
from xblcore.datasets.collection import Collection
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
        collection: raw files that depend on the config, gathered from the sources; None: none.
    """

    draw: Callable[[Path, DataConfig], dict[str, Drawn]]
    classes: tuple[str, ...]
    sources: tuple[Source, ...]
    collection: Collection | None = None

    def is_ready(self, raw_root: Path, config: DataConfig) -> bool:
        """Whether all raw files are there, unaltered."""
        return not any(missing_files(source, raw_root) for source in self.sources) and (
            self.collection is None or self.collection.is_ready(raw_root, config)
        )


TASKS: dict[str, dict[DataKind, Recipe]] = {
    "decoy_fashion_mnist": {
        "original": Recipe(
            fashion_mnist.decoy_fashion_mnist, fashion_mnist.CLASSES, (fashion_mnist.SOURCE,)
        ),
    },
    "decoy_cifar10": {
        "original": Recipe(cifar10.decoy_cifar10, cifar10.CLASSES, (cifar10.SOURCE,)),
        "stand-in": Recipe(stand_ins.decoy_cifar10, fashion_mnist.CLASSES, (fashion_mnist.SOURCE,)),
    },
    "decoy_coco": {
        "original": Recipe(
            coco_2014.decoy_coco, coco_2014.CLASSES, (coco_2014.SOURCE,), coco_2014.COLLECTION
        ),
        "stand-in": Recipe(
            coco_stand_in.decoy_coco,
            coco_stand_in.CLASSES,
            (fashion_mnist.SOURCE,),
            coco_stand_in.COLLECTION,
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


def fetch_task(task: str, config: DataConfig, *, raw_root: Path, progress: bool = True) -> DataKind:
    """Fetch the raw files of a task; with ``auto``, those of the stand-in if it must be.

    Args:
        task: a name in :data:`TASKS`.
        config: which data, and how many images where not all are fetched.
        raw_root: folder with one folder of raw files a source.
        progress: show bars while downloading.

    Returns:
        Which data can now be built.

    Raises:
        ValueError: no such task, or not with such data.
        FileNotFoundError: the files are not to be had; the message says what helps.
    """
    failures = []
    for kind, recipe in recipes(task, config.data).items():
        own = config.of_kind(kind)
        try:
            for source in recipe.sources:
                fetch(source, raw_root, progress=progress)
            if recipe.collection and not recipe.collection.is_ready(raw_root, own):
                recipe.collection.gather(raw_root, own, progress)
        except FileNotFoundError as error:
            failures.append(str(error))
        else:
            if failures:
                log.warning("%s\n%s: FALLING BACK TO THE STAND-IN", "\n".join(failures), task)
            return kind
    raise FileNotFoundError("\n".join(failures))


def choose(task: str, config: DataConfig, raw_root: Path) -> tuple[Recipe, DataConfig]:
    """The first recipe of a task whose raw files are all there, the last one if none's are.

    Says so loudly where ``auto`` comes to a stand-in.

    Returns:
        The recipe, and the config for its kind of data, which is ``data`` of it.
    """
    found = recipes(task, config.data)
    ready = (
        kind for kind, recipe in found.items() if recipe.is_ready(raw_root, config.of_kind(kind))
    )
    kind = next(ready, list(found)[-1])
    if kind == "stand-in" and config.data == "auto":
        log.warning("%s: the original data is not in %s; USING THE STAND-IN", task, raw_root)
    return found[kind], config.of_kind(kind)
