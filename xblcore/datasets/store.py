"""Built tasks on disk: plain .npy files and a manifest that says what they must hash to.

``<root>/<task>/<split>/<array>.npy`` and ``<root>/<task>/manifest.json``. A task is written under
another name and renamed when it is whole, so a killed build leaves nothing that could be loaded.
"""

from __future__ import annotations

import json
import os
import reprlib
import shutil
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from xblcore.datasets.drawing import VIEWS, Drawn
from xblcore.project import sha256_of

Manifest = dict[str, Any]  # what json.loads gives; its keys are set by write()

MANIFEST = "manifest.json"
FORMAT = 1
ARRAYS = tuple(field.name for field in fields(Drawn) if field.name != "decoy_size")


def write(root: Path, task: str, drawn: Mapping[str, Drawn], about: Manifest) -> Path:
    """Write all splits of a task and, last, their manifest; replaces an earlier build.

    Args:
        root: folder of the built tasks.
        task: name of the task's folder.
        drawn: the splits.
        about: what else the manifest should say.

    Returns:
        Path of the manifest.
    """
    folder, partial = root / task, root / f".{task}.partial"
    shutil.rmtree(partial, ignore_errors=True)  # what a killed build left
    hashes = {}
    for name, split in drawn.items():
        (partial / name).mkdir(parents=True)
        for array in ARRAYS:
            path = partial / name / f"{array}.npy"
            np.save(path, getattr(split, array))
            hashes[f"{name}/{path.name}"] = sha256_of(path)
    manifest: Manifest = {
        "format": FORMAT,
        "task": task,
        **about,
        "splits": {
            split: {"images": len(drawn[base].labels), **drawn[base].information(view)}
            for split, (base, view) in VIEWS.items()
        },
        "files": hashes,
    }
    (partial / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)
    return folder / MANIFEST


def read_manifest(root: Path, task: str) -> Manifest:
    """Manifest of a built task.

    Raises:
        FileNotFoundError: the task was not built under ``root``.
        ValueError: the manifest is damaged or of another version of this package.
    """
    path = root / task / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(
            f"{task} must be built under {root}, got no {MANIFEST} there; run: {_remedy(task)}"
        )
    try:
        manifest: Manifest = json.loads(path.read_text())
        found = manifest["format"], manifest["task"]
        if found == (FORMAT, task):
            _check_kinds(manifest)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} must be a manifest, got {error!r}; run: {_remedy(task)}"
        ) from error
    if found != (FORMAT, task):
        raise ValueError(
            f"format and task in {path} must be {(FORMAT, task)}, got {found}; run: {_remedy(task)}"
        )
    return manifest


def _check_kinds(manifest: Manifest) -> None:
    needed = {
        "data": (manifest["data"], str),
        "classes": (manifest["classes"], list),
        "files": (manifest["files"], dict),
        "config.decoy.size": (manifest["config"]["decoy"]["size"], int),
    }
    for key, (value, kind) in needed.items():
        if not isinstance(value, kind):
            raise TypeError(f"{key} {reprlib.repr(value)}")


def read(root: Path, task: str, name: str) -> Drawn:
    """One drawn split of a built task, every file checked against the manifest.

    Raises:
        FileNotFoundError: the task was not built, or a file of it is gone.
        ValueError: a file is not what was built.
    """
    manifest = read_manifest(root, task)
    arrays = {}
    for array in ARRAYS:
        file = f"{name}/{array}.npy"
        path = root / task / file
        if not path.is_file():
            raise FileNotFoundError(f"{path} must be there, got no such file; run: {_remedy(task)}")
        found, expected = sha256_of(path), manifest["files"].get(file)
        if found != expected:
            raise ValueError(
                f"sha256 of {path} must be {expected}, got {found}: "
                f"it was altered since it was built; run: {_remedy(task)}"
            )
        arrays[array] = np.load(path)
    return Drawn(**arrays, decoy_size=manifest["config"]["decoy"]["size"])


def _remedy(task: str) -> str:
    return f"python -m xblcore.pipeline.decoy {task}"
