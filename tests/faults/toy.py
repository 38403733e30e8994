"""A DVC project of one stage, quickly made, and what becomes of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import victims

REPOSITORY = Path(__file__).parents[2]
ONE_STAGE = """\
stages:
  make:
    cmd: python stage.py
    deps: [source, stage.py]
    outs: [out]
"""
NOTEBOOK_STAGE = """\
stages:
  make:
    cmd: python -m xblcore.pipeline.notebook numbers.ipynb out/numbers.ipynb
    deps: [source, numbers.ipynb]
    outs: [out]
"""
# Leaves its number, waits where it is told to, and writes what follows from the source alone.
STAGE = """\
import os, pathlib, time

with open("ran", "a") as log:
    print(os.getpid(), file=log)
while os.path.exists("wait"):
    time.sleep(0.02)
pathlib.Path("out").mkdir()
text = pathlib.Path("source").read_text()
pathlib.Path("out/numbers.csv").write_text("".join(f"{i},{text}\\n" for i in range(50_000)))
"""


def project(folder: Path, stages: str = ONE_STAGE) -> Path:
    """A project of which nothing has run."""
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc" / "config").write_text("[core]\nno_scm = True\nanalytics = false\n")
    (folder / "params.yaml").write_text("{}\n")
    (folder / "dvc.yaml").write_text(stages)
    (folder / "stage.py").write_text(STAGE)
    (folder / "source").write_text("0.5")
    return folder


def numbers(text: str) -> str:
    """What the stage must write where ``source`` holds a text."""
    return "".join(f"{i},{text}\n" for i in range(50_000))


def ran(folder: Path) -> int:
    """How many times the stage has begun."""
    path = folder / "ran"
    return len(path.read_text().splitlines()) if path.exists() else 0


def python(
    folder: Path, *arguments: str | Path, path: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Python in a project with this repository's code; ``path`` comes before it."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env=environment(folder, path),
        capture_output=True,
        text=True,
        check=False,
    )


def environment(folder: Path, path: Path | None = None) -> dict[str, str]:
    """Of a command in a toy project."""
    return victims.environment(folder, *([path] if path else []), REPOSITORY)


def mount_command() -> list[str]:
    """What runs a command with mounts of its own, gone with it; the test is skipped without.

    Root needs no user namespace, in which a container may not let it mount.
    """
    if shutil.which("unshare") is None:
        pytest.skip("unshare (util-linux) is missing, by which a test gets a mount of its own")
    for options in (["--mount"], ["--mount", "--map-root-user"]):
        command = ["unshare", *options]
        tried = subprocess.run([*command, "mount", "-t", "tmpfs", "none", "/mnt"], check=False)
        if tried.returncode == 0:
            return command
    pytest.skip("the right to mount a tmpfs, as root or in a user namespace, is missing")


def with_mounts(folder: Path, script: str, *arguments: str | Path) -> str:
    """Output of a shell script that may mount, ``$PYTHON`` in it and arguments from ``$1`` on.

    Any command in it that fails without being asked whether it does fails the test.
    """
    done = subprocess.run(
        [*mount_command(), "bash", "-euc", script, "bash", *map(str, arguments)],
        cwd=folder,
        env=environment(folder) | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout
