"""Data of the tasks: fetched, given decoys, split, and loaded again with every file verified.

``fetch_task`` gets raw files, ``build`` makes the splits of a task from them, ``load`` reads one.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xblcore import project
from xblcore.datasets import store
from xblcore.datasets.collection import read_manifest
from xblcore.datasets.drawing import VIEWS
from xblcore.datasets.settings import DataConfig, DecoyConfig
from xblcore.datasets.split import Split
from xblcore.datasets.store import Manifest
from xblcore.datasets.tasks import TASKS, choose, fetch_task

__all__ = [
    "SPLITS", "TASKS", "DataConfig", "DecoyConfig", "Manifest", "Split",
    "build", "fetch_task", "information_table", "load", "manifest", "source_index",
]  # fmt: skip

SPLITS = tuple(VIEWS)


def build(task: str, config: DataConfig, *, raw_root: Path, out_root: Path) -> Path:
    """Make the splits of a task and write them, whole or not at all.

    The same config and raw files give the same bytes.

    Args:
        task: a name in :data:`TASKS`.
        config: counts, seed, decoy, and which data; the manifest keeps it as it is for the data
            that is used.
        raw_root: folder with one folder of raw files a source.
        out_root: folder with one folder a built task.

    Returns:
        Path of the manifest.

    Raises:
        ValueError: unknown task, a config that the data cannot serve, an altered raw file.
        FileNotFoundError: a raw file that was not fetched.
    """
    recipe, own = choose(task, config, raw_root)
    drawn = recipe.draw(raw_root, own)
    about: Manifest = {
        "data": own.data,
        "classes": list(recipe.classes),
        "config": asdict(own),
        "sources": {source.name: dict(source.files) for source in recipe.sources},
    }
    if recipe.collection:
        gathered = read_manifest(raw_root / recipe.collection.name)
        about["gathered"] = {key: value for key, value in gathered.items() if key != "files"}
    return store.write(out_root, task, drawn, about)


def load(task: str, *, split: str, root: Path | None = None) -> Split:
    """One split of a built task; every file is verified by sha256 on the way.

    ``train``, ``val``, ``test_decoy`` and ``test_clean`` share no image. ``train_clean`` is
    ``train`` without the decoy; ``val_swapped`` and ``test_decoy_swapped`` are the same images as
    ``val`` and ``test_decoy``, only the value of the decoy being that of another class.

    Args:
        task: a name in :data:`TASKS`.
        split: a name in :data:`SPLITS`.
        root: folder of the built tasks; None: ``data/decoy`` of the project.

    Returns:
        The :class:`Split`; twins are in the same order, image by image.

    Raises:
        ValueError: unknown task or split, an altered file.
        FileNotFoundError: the task was not built.
    """
    base, view = VIEWS[_checked_split(task, split)]
    return store.read(root or default_root(), task, base).render(view)


def source_index(task: str, *, split: str, root: Path | None = None) -> npt.NDArray[np.int64]:
    """Identity ``(N,)`` of each image of a split in its source, as in :func:`load`."""
    base, _ = VIEWS[_checked_split(task, split)]
    return store.read(root or default_root(), task, base).source


def manifest(task: str, *, root: Path | None = None) -> Manifest:
    """What is known of a built task: data, classes, config, sources, splits, files.

    Raises:
        ValueError: unknown task, a damaged manifest.
        FileNotFoundError: the task was not built.
    """
    _checked_split(task, SPLITS[0])
    return store.read_manifest(root or default_root(), task)


def information_table(manifest: Manifest) -> str:
    """Markdown table of what the decoy tells about the label, split by split."""
    rows = [
        "| split | images | decoy and label (bits) | by chance (bits) |",
        "|---|---:|---:|---:|",
    ]
    for split, about in manifest["splits"].items():
        bits, chance = about["decoy_label_bits"], about["chance_bits"]
        rows.append(f"| `{split}` | {about['images']:,} | {bits:.4f} | {chance:.4f} |")
    return "\n".join(rows)


def default_root() -> Path:
    """``data/decoy`` of the project."""
    return project.root() / "data" / "decoy"


def _checked_split(task: str, split: str) -> str:
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
    if split not in VIEWS:
        raise ValueError(f"split must be one of {', '.join(VIEWS)}, got {split!r}")
    return split
