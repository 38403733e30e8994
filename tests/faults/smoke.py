"""A copy of the project in which all is done in the smoke profile, and what two runs agree on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import victims
import yaml

from xblcore.pipeline.expected import copy_in_profile

ROOT = Path(__file__).parents[2]
TASK = "decoy_fashion_mnist"
METHODS = ["erm", "oracle", "xbl_d", "xbl_d_released", "rrr_g"]
# Stages that are killed, and what each leaves; `train` by a method with several runs to resume.
OUTS = {
    "strip": ["build/notebooks"],
    "code": ["build/code"],
    "fetch": ["data/raw"],
    f"decoy@{TASK}": [f"data/decoy/{TASK}"],
    f"train@{TASK}-xbl_d": [f"build/runs/{TASK}/xbl_d"],
    f"task@{TASK}": [f"results/{TASK}", f"build/tasks/{TASK}.sha256"],
    f"gallery@{TASK}": [f"results/gallery/{TASK}.npz"],
    "paper": ["results/metrics.csv", "results/paper"],
}
DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # a source of its own, so data/raw can go


def make(folder: Path) -> None:
    """Copy the project, one task and five methods of it, and run all."""
    copy_in_profile(ROOT, folder, "smoke")
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(params | {"tasks": [TASK], "methods": METHODS}), "utf-8")
    for raw in (folder / "data" / "raw").glob("*"):
        if raw.name != "fashion-mnist":
            shutil.rmtree(raw)
    dvc(folder, "repro")


def dvc(folder: Path, *arguments: str) -> str:
    """Output of a DVC command that must succeed.

    Raises:
        RuntimeError: it did not.
    """
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder,
        env=victims.environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"dvc {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def unfinished(template: Path, folder: Path, stage: str) -> None:
    """A copy of the finished project in which one stage was never run, nor its result kept."""
    shutil.copytree(template, folder, symlinks=True)
    shutil.rmtree(folder / ".dvc" / "cache" / "runs", ignore_errors=True)
    path = folder / "dvc.lock"
    lock = yaml.safe_load(path.read_text(encoding="utf-8"))
    del lock["stages"][stage]
    path.write_text(yaml.safe_dump(lock, sort_keys=False), "utf-8")
    for out in OUTS[stage]:
        if stage != "fetch" or DEBIAN.is_dir():
            remove(folder / out)


def remove(path: Path) -> None:
    """Delete a file or a folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def changed(folder: Path) -> list[str]:
    """Stages that DVC would run."""
    return list(json.loads(dvc(folder, "status", "--json", "dvc.yaml")))


def digests(folder: Path) -> dict[str, str]:
    """Path to sha256 of all that the pipeline makes."""
    found = {}
    for top in ("results", "build", "data/decoy", "data/raw"):
        for path in (folder / top).rglob("*"):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and not name.startswith(("build/locks", "build/logs")):
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def under(name: str, stage: str) -> bool:
    """Whether a file is of what a stage leaves."""
    return any(name == out or name.startswith(out + os.sep) for out in OUTS[stage])
