"""Built tasks on disk: one .npz of clean images for each base split, and a manifest.

``<root>/<task>/<split>.npz`` holds ``images``, ``labels``, ``object_mask`` (packed bits),
``source`` and, if the background is the shortcut, ``contexts``. ``manifest.json`` is
written last and has the SHA-256 of each file.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xblcore import project
from xblcore.data.sources import DataUnavailableError, is_tiny
from xblcore.data.splits import BASE_SPLITS, SPLITS, DataConfig, clean_examples
from xblcore.data.tasks import TASKS, Recipe
from xblcore.decoys import Decoy, Decoyed, add_decoys, swap_contexts
from xblcore.examples import Examples
from xblcore.project import sha256_of, write_atomic


def fetch(task: str, config: DataConfig, *, raw: str | Path | None = None) -> str:
    """Get the raw files of a task; arguments as :func:`build`.

    Returns ``original``, ``stand-in``, or ``tiny`` for a folder of made-up test data.

    Raises:
        DataUnavailableError: no source provides the files; the message says what helps.
    """
    raw = _folder(raw, "raw")
    recipes = _recipes(task, config.source)
    kind, files = _available(recipes, raw, config)
    if files is None and is_tiny(raw):
        raise DataUnavailableError(f"{raw} holds no tiny version of {task}.")
    if files is None:
        recipes[kind].fetch(raw, config)
    return "tiny" if is_tiny(raw) else kind


def build(
    task: str, config: DataConfig, *, raw: str | Path | None = None, out: str | Path | None = None
) -> Path:
    """Write the clean images of a task; returns the folder of the task.

    Args:
        task: a name in ``TASKS``.
        config: which source and how many images.
        raw: folder of the raw files; ``data/raw`` of the project by default.
        out: folder of the built tasks; ``data/built`` of the project by default.
    """
    raw, folder = _folder(raw, "raw"), _folder(out, "built") / task
    recipes = _recipes(task, config.source)
    kind, files = _available(recipes, raw, config)
    if files is None:
        raise DataUnavailableError(
            f"The raw files of {task} ({kind}) must be in {raw}; run: "
            f"make data, or call xblcore.data.fetch({task!r}, config)"
        )
    (folder / "manifest.json").unlink(missing_ok=True)
    splits = {}
    for name, (examples, source, contexts) in recipes[kind].draw(raw, config).items():
        path = folder / f"{name}.npz"
        with write_atomic(path) as temporary:
            arrays: dict[str, Any] = {
                "images": examples.images.numpy(),
                "labels": examples.labels.numpy(),
                "object_mask": np.packbits(examples.object_mask.numpy(), axis=-1),
                "source": source.numpy(),
            }
            np.savez(temporary, **arrays | ({} if contexts is None else {"contexts": contexts}))
        splits[name] = {"images": len(examples), "sha256": sha256_of(path)}
    data = "tiny" if is_tiny(raw) else kind
    identity = {"data": data, "splits": splits, "seed": config.seed}
    manifest = {
        "data": data,
        "recipe": kind,
        "classes": recipes[kind].classes,
        "config": asdict(config),
        "sources": files,
        "splits": splits,
        "digest": hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest(),
    }
    with write_atomic(folder / "manifest.json") as temporary:
        temporary.write_text(json.dumps(manifest, indent=2) + "\n")
    return folder


def info(task: str, *, root: str | Path | None = None) -> dict[str, Any]:
    """Return the manifest of a built task.

    Its keys: ``data`` (``original``, ``stand-in`` or ``tiny``), ``recipe``, ``classes``,
    ``config``, ``sources`` (SHA-256 of the raw files), ``splits`` and ``digest`` (of all images and
    the seed of the decoys).
    """
    path = _folder(root, "built") / task / "manifest.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{task} must be built under {path.parents[1]}; run: dvc repro (or xblcore.data.build)"
        )
    manifest: dict[str, Any] = json.loads(path.read_text())
    return manifest


def is_built(task: str, config: DataConfig | None = None) -> bool:
    """Return whether a task is built, with this configuration if one is given."""
    try:
        built = info(task)["config"]
    except FileNotFoundError:
        return False
    return config is None or built == asdict(config)


def load(
    task: str, *, split: str, decoy: Decoy | None = None, root: str | Path | None = None
) -> Examples:
    """Load one split of a built task.

    In ``train`` and ``val`` the decoy's value predicts the label, in ``test_decoy`` it is random.
    ``val_swapped`` and ``test_decoy_swapped`` show the same images with the decoy's value of
    another class. ``train_clean`` and ``test_decoy_clean`` show them without decoy, ``test_clean``
    other test images. Tensors are shared between calls; do not change them in place.

    Args:
        task: a name in ``TASKS``.
        split: a name in ``SPLITS``.
        decoy: its settings; None for the task's default decoy.
        root: folder of the built tasks; ``data/built`` of the project by default.

    Raises:
        FileNotFoundError: the task was not built.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    if split.endswith("_clean"):
        base = split if split in BASE_SPLITS else split.removesuffix("_clean")
        return _stored(task, base, root)[0]
    done = decoyed(task, split=split.removesuffix("_swapped"), decoy=decoy, root=root)
    return done.swapped if split.endswith("_swapped") else done.examples


def decoyed(
    task: str, *, split: str, decoy: Decoy | None = None, root: str | Path | None = None
) -> Decoyed:
    """Load ``train``, ``val`` or ``test_decoy``, also with swapped decoys, and their classes."""
    if split not in ("train", "val", "test_decoy"):
        raise ValueError(f"split must be train, val or test_decoy, got {split!r}")
    manifest = info(task, root=root)
    recipe = _recipes(task, manifest["recipe"])[manifest["recipe"]]
    clean, contexts = _stored(task, split, root)
    add = add_decoys if contexts is None else functools.partial(swap_contexts, contexts)
    return add(
        clean,
        decoy or recipe.decoy,
        recipe.palette,
        predictive=split != "test_decoy",
        seed=[manifest["config"]["seed"], BASE_SPLITS.index(split)],
    )


def _stored(task: str, split: str, root: str | Path | None) -> tuple[Examples, Tensor | None]:
    sha256 = info(task, root=root)["splits"][split]["sha256"]
    return _read(_folder(root, "built") / task / f"{split}.npz", sha256)


@functools.lru_cache(maxsize=8)  # two tasks
def _read(path: Path, sha256: str) -> tuple[Examples, Tensor | None]:
    found = sha256_of(path)
    if found != sha256:
        raise ValueError(
            f"sha256 of {path} must be {sha256}, got {found}; delete it and build again"
        )
    with np.load(path) as arrays:
        images, packed = arrays["images"], arrays["object_mask"]
        mask = np.unpackbits(packed, axis=-1, count=images.shape[-1]).astype(bool)
        contexts = torch.from_numpy(arrays["contexts"]) if "contexts" in arrays else None
        return clean_examples(images, arrays["labels"], mask), contexts


def _recipes(task: str, source: str) -> dict[str, Recipe]:
    """Recipes of a task that ``DataConfig.source`` allows, the original first."""
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
    kinds = {"original": TASKS[task].original, "stand-in": TASKS[task].stand_in}
    found = {kind: one for kind, one in kinds.items() if one and source in ("auto", kind)}
    if not found:
        raise DataUnavailableError(f"{task} has no {source} data.")
    return found


def _available(
    recipes: dict[str, Recipe], raw: Path, config: DataConfig
) -> tuple[str, dict[str, str] | None]:
    """First recipe whose raw files are there, and their checksums; or which to fetch, and None."""
    for kind, recipe in recipes.items():
        if (files := recipe.sources(raw, config)) is not None:
            return kind, files
    return list(recipes)[-1], None  # the stand-in, if there is one: MS-COCO is a large download


def _folder(given: str | Path | None, name: str) -> Path:
    return project.root() / "data" / name if given is None else Path(given)
