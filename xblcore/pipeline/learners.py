"""The workshop as learners get it: without solutions and without what was printed.

    python -m xblcore.pipeline.learners                 # to build/workshop
    python -m xblcore.pipeline.learners FOLDER          # elsewhere

A notebook that a learner has worked in is never overwritten.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from nbformat import NotebookNode

from xblcore import project
from xblcore.pipeline.strip import dumps, notebooks, read, strip

SOLUTION = "solution"
MADE = ".made.json"  # digests of what was written here, to tell a learner's work from it
ALSO = ("README.md",)


def for_learners(notebook: NotebookNode) -> NotebookNode:
    """Copy of ``notebook`` without outputs and without the cells tagged ``solution``.

    >>> import nbformat
    >>> cell = nbformat.v4.new_code_cell("1 + 1", metadata={"tags": ["solution"]})
    >>> for_learners(nbformat.v4.new_notebook(cells=[cell])).cells
    []
    """
    notebook = strip(notebook)
    notebook.cells = [
        cell for cell in notebook.cells if SOLUTION not in cell.metadata.get("tags", ())
    ]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            # A printed result would answer the question before it.
            cell.outputs, cell.execution_count = [], None
    return notebook


def write(source: Path, destination: Path) -> list[Path]:
    """Write the learners' version of every notebook in ``source``, and what else belongs to it.

    Nothing is written unless all of it can be; each file is replaced whole or not at all.

    Args:
        source: the workshop's folder.
        destination: made if it is missing. Notebooks in it that were only run are kept as they are
            where nothing is new.

    Returns:
        The files that changed.

    Raises:
        ValueError: the folder holds a notebook that was worked in, or one not made here.
    """
    texts = {path.name: dumps(for_learners(read(path))) for path in notebooks(source)}
    made = _made(destination)
    wanted, kept = {}, []
    for name, text in texts.items():
        there = destination / name
        found = _digest(dumps(for_learners(read(there)))) if there.is_file() else None
        if found is not None and found not in (_digest(text), made.get(name)):
            kept.append(name)
        elif found != _digest(text):
            wanted[name] = text
    if kept:
        raise ValueError(
            f"{destination} must hold no notebook that was worked in, got {', '.join(kept)}; "
            "rename or move what is to be kept, or write to another folder: "
            "python -m xblcore.pipeline.learners FOLDER"
        )
    for name, text in wanted.items():
        with project.write_atomic(destination / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    for name in ALSO:
        with project.write_atomic(destination / name) as temporary:
            shutil.copyfile(source / name, temporary)
    digests = {name: _digest(text) for name, text in texts.items()}
    with project.write_atomic(destination / MADE) as temporary:
        temporary.write_text(json.dumps(digests, indent=2) + "\n")
    return [destination / name for name in wanted]


def _made(folder: Path) -> dict[str, str]:
    """What was written here before; without a record every notebook counts as someone's work."""
    path = folder / MADE
    if not path.is_file():
        return {}
    try:
        return {str(name): str(digest) for name, digest in json.loads(path.read_text()).items()}
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} must be a record of files, got {error}; delete it") from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the learners' version; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m xblcore.pipeline.learners")
    parser.add_argument("folder", nargs="?", help="where to; none: build/workshop of the project")
    folder = parser.parse_args(arguments).folder
    root = project.root()
    destination = Path(folder) if folder else root / "build" / "workshop"
    try:
        changed = write(root / "notebooks" / "workshop", destination)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{destination}: {len(changed)} notebooks written, the others are up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
