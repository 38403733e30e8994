"""Built tasks on disk: one .npz of clean images for each base split, and a manifest.

``<root>/<task>/<split>.npz`` holds ``images``, ``labels``, ``object_mask`` (packed bits) and
``source``. ``manifest.json`` is written last and has the SHA-256 of each file.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from xblcore.data.sources import DataUnavailableError, is_tiny
from xblcore.data.splits import BASE_SPLITS, SPLITS, DataConfig, clean_examples
from xblcore.data.tasks import TASKS, Task
from xblcore.decoys import Decoy, Decoyed, add_decoys
from xblcore.examples import Examples
from xblcore.project import root as project_root
from xblcore.project import sha256_of, write_atomic

log = logging.getLogger(__name__)


def fetch(
    task: str, config: DataConfig, *, raw: str | Path | None = None, progress: bool = True
) -> str:
    """Get the raw files of a task.

    Args:
        task: a name in ``TASKS``.
        config: which source, and how many images where not all are downloaded.
        raw: folder of the raw files; ``data/raw`` of the project by default.
        progress: show progress bars.

    Returns:
        ``original``, ``stand-in``, or ``tiny`` for a folder of made-up test data.

    Raises:
        DataUnavailableError: no source provides the files; the message says what helps.
    """
    raw = _raw(raw)
    failures = []
    for kind, recipe in _task(task).recipes(config.source).items():
        try:
            if recipe.sources(raw, config) is None:
                if is_tiny(raw):
                    raise DataUnavailableError(f"{raw} holds no tiny version of it.")
                recipe.fetch(raw, config, progress)
        except DataUnavailableError as error:
            failures.append(f"{kind}: {error}")
        else:
            if failures:
                log.warning("%s: using the %s data. %s", task, kind, "\n".join(failures))
            return "tiny" if is_tiny(raw) else kind
    raise DataUnavailableError("\n".join(failures) or f"{task} has no {config.source} data.")


def build(
    task: str, config: DataConfig, *, raw: str | Path | None = None, out: str | Path | None = None
) -> Path:
    """Write the clean images of a task, unless they are already what the config asks for.

    Args:
        task: a name in ``TASKS``.
        config: which source and how many images.
        raw: folder of the raw files; ``data/raw`` of the project by default.
        out: folder of the built tasks; ``data/built`` of the project by default.

    Returns:
        The folder of the task.

    Raises:
        DataUnavailableError: the raw files were not fetched.
    """
    raw = _raw(raw)
    folder = _built(out) / task
    recipes = _task(task).recipes(config.source)
    made_from = {kind: recipe.sources(raw, config) for kind, recipe in recipes.items()}
    kind = next((kind for kind, files in made_from.items() if files is not None), None)
    wanted: dict[str, Any] = {"task": task, "config": asdict(config), "code": _code_digest()}
    if kind is not None:  # otherwise, what was built from raw files that are gone will do
        wanted |= {
            "data": "tiny" if is_tiny(raw) else kind,
            "recipe": kind,
            "sources": made_from[kind],
        }
    if _is_current(folder, wanted):
        return folder
    if kind is None:
        raise DataUnavailableError(
            f"The raw files of {task} must be in {raw}; run: python -m xblcore.data fetch {task}"
        )
    (folder / "manifest.json").unlink(missing_ok=True)
    splits = {}
    for name, (examples, source) in recipes[kind].draw(raw, config).items():
        path = folder / f"{name}.npz"
        with write_atomic(path) as temporary:
            np.savez(
                temporary,
                images=examples.images.numpy(),
                labels=examples.labels.numpy(),
                object_mask=np.packbits(examples.object_mask.numpy(), axis=-1),
                source=source.numpy(),
            )
        splits[name] = {"images": len(examples), "sha256": sha256_of(path)}
    identity = {"data": wanted["data"], "splits": splits, "seed": config.seed}
    manifest = wanted | {
        "classes": list(recipes[kind].classes),
        "splits": splits,
        "digest": hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest(),
    }
    with write_atomic(folder / "manifest.json") as temporary:
        temporary.write_text(json.dumps(manifest, indent=2) + "\n")
    return folder


def info(task: str, *, root: str | Path | None = None) -> dict[str, Any]:
    """Return the manifest of a built task.

    Its keys: ``data`` (``original``, ``stand-in`` or ``tiny``), ``classes``, ``config``,
    ``sources`` (SHA-256 of the raw files), ``splits`` and ``digest`` (of all images and the seed
    of the decoys).

    Raises:
        FileNotFoundError: the task was not built.
    """
    path = _built(root) / task / "manifest.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{task} must be built under {path.parents[1]}; run: dvc repro (or xblcore.data.build)"
        )
    manifest: dict[str, Any] = json.loads(path.read_text())
    return manifest


def load(
    task: str, *, split: str, decoy: Decoy | None = None, root: str | Path | None = None
) -> Examples:
    """Load one split of a built task.

    In ``train`` and ``val`` the decoy's value predicts the label, in ``test_decoy`` it is random.
    ``val_swapped`` and ``test_decoy_swapped`` show the same images with the decoy's value of
    another class. ``train_clean`` and ``test_clean`` have no decoy. Tensors are shared between
    calls; do not change them in place.

    Args:
        task: a name in ``TASKS``.
        split: a name in ``SPLITS``.
        decoy: its settings; None for the task's default decoy.
        root: folder of the built tasks; ``data/built`` of the project by default.

    Raises:
        FileNotFoundError: the task was not built.
        ValueError: a file is corrupt.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    if split in ("train_clean", "test_clean"):
        return _clean(task, "train" if split == "train_clean" else split, root)
    done = decoyed(task, split=split.removesuffix("_swapped"), decoy=decoy, root=root)
    return done.swapped if split.endswith("_swapped") else done.examples


def decoyed(
    task: str, *, split: str, decoy: Decoy | None = None, root: str | Path | None = None
) -> Decoyed:
    """Load ``train``, ``val`` or ``test_decoy`` with everything about its decoys.

    Arguments and errors as :func:`load`.
    """
    if split not in ("train", "val", "test_decoy"):
        raise ValueError(f"split must be train, val or test_decoy, got {split!r}")
    manifest = info(task, root=root)
    recipe = _task(task).recipes(manifest["recipe"])[manifest["recipe"]]
    return add_decoys(
        _clean(task, split, root),
        decoy or recipe.decoy,
        recipe.palette,
        predictive=split != "test_decoy",
        seed=[manifest["config"]["seed"], BASE_SPLITS.index(split)],
    )


def _clean(task: str, split: str, root: str | Path | None) -> Examples:
    sha256 = info(task, root=root)["splits"][split]["sha256"]
    return _read(_built(root) / task / f"{split}.npz", sha256)


@functools.lru_cache(maxsize=8)  # two tasks
def _read(path: Path, sha256: str) -> Examples:
    found = sha256_of(path)
    if found != sha256:
        raise ValueError(
            f"sha256 of {path} must be {sha256}, got {found}; delete it and build again"
        )
    with np.load(path) as arrays:
        images, packed = arrays["images"], arrays["object_mask"]
        mask = np.unpackbits(packed, axis=-1, count=images.shape[-1]).astype(bool)
        return clean_examples(images, arrays["labels"], mask)


def _is_current(folder: Path, wanted: dict[str, Any]) -> bool:
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        return all(manifest[key] == value for key, value in wanted.items()) and all(
            sha256_of(folder / f"{name}.npz") == split["sha256"]
            for name, split in manifest["splits"].items()
        )
    except (OSError, ValueError, KeyError):
        return False


def _code_digest() -> str:
    """Digest of this package; tasks are built again when its code changes."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _task(task: str) -> Task:
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
    return TASKS[task]


def _raw(folder: str | Path | None) -> Path:
    return project_root() / "data" / "raw" if folder is None else Path(folder)


def _built(folder: str | Path | None) -> Path:
    return project_root() / "data" / "built" if folder is None else Path(folder)
