"""Renew ``results/expected.json``: ``python -m xblcore.pipeline.expected [--smoke]``."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from xblcore import config, expected, project, reported

SMOKE = "smoke"
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv*", "build", "decoy", "results", "__pycache__", "tmp", "cache", ".*_cache",
    "*.egg-info", "dvc.lock",
)  # fmt: skip


def copy_in_profile(root: Path, folder: Path, profile: str) -> None:
    """A copy of the project with its data, in which nothing was run, set to a profile.

    Args:
        root: of the project.
        folder: the copy, which must not be there yet.
        profile: that it runs.
    """
    shutil.copytree(root, folder, ignore=LEFT_OUT)
    path = folder / "params.yaml"
    text = path.read_text(encoding="utf-8")
    changed, lines = re.subn(r"(?m)^profile:\s*\w+", f"profile: {profile}", text)
    if lines != 1:
        raise ValueError(f"params.yaml must have one line `profile: NAME`, got {lines}")
    path.write_text(changed, encoding="utf-8")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)  # DVC asks for it


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a profile's block from its results; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m xblcore.pipeline.expected", description=__doc__
    )
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="run the smoke profile in a copy that is removed afterwards, and write its block; "
        "without: that of the profile in params.yaml, from the results that are here",
    )
    options = parser.parse_args(arguments)
    try:
        root = project.root()
        if options.smoke:
            with tempfile.TemporaryDirectory() as scratch:
                copy = Path(scratch) / "project"
                copy_in_profile(root, copy, SMOKE)
                command = [sys.executable, "-m", "xblcore.pipeline.reproduce"]
                subprocess.run(command, cwd=copy, check=True)
                block, profile = reported.own(root=copy), SMOKE
        elif missing := reported.not_trained_here(root):
            raise ValueError(
                f"expected results must be of trainings run here, {len(missing)} were not, first "
                f"{missing[0]}; run: make reproduce"
            )
        else:
            block, profile = reported.own(root=root), config.load(root).profile
        expected.renew(profile, block, root=root)
    except (ValueError, FileNotFoundError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{expected.FILE} has the results of profile {profile}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
