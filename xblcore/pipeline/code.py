"""What training by each method rests on beside what all methods share, for DVC to depend on.

A stage's dependencies in ``dvc.yaml`` are one list for all methods, and methods differ in what they
import. So each method gets a file of its own with the digests of its module and of all that this
imports: a new method, or a change to another's loss, leaves it as it was.

    python -m xblcore.pipeline.code     # xblcore/methods/<name>.py -> build/code/<name>.txt
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from xblcore import config, imports, project
from xblcore.pipeline import stage


def write(folder: Path) -> list[Path]:
    """One file a method: a line ``digest  path`` for each module.

    Args:
        folder: emptied first.

    Returns:
        The files, by method.

    Raises:
        ValueError: a method of ``params.yaml`` that there is not.
    """
    from xblcore.methods import METHODS  # slow: the stage's end is watched for before

    for name in config.load().methods:
        if name not in METHODS:
            raise ValueError(
                "methods in params.yaml must be modules of xblcore/methods/, "
                f"got {name!r}{config.nearest(name, METHODS)}"
            )
    shutil.rmtree(folder, ignore_errors=True)
    paths = []
    for name in METHODS:
        digests = imports.digests(f"xblcore.methods.{name}")
        lines = [f"{digest}  {path}\n" for path, digest in digests.items()]
        paths.append(folder / f"{name}.txt")
        with project.write_atomic(paths[-1]) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")
    return paths


def main() -> int:
    """Command line; returns the exit code."""
    try:
        paths = write(project.root() / "build" / "code")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(paths)} methods")
    return 0


if __name__ == "__main__":
    sys.exit(stage.run(main))
