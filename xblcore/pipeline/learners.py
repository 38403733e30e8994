"""The workshop as learners get it: without solutions and without what was printed.

    python -m xblcore.pipeline.learners                 # to build/workshop
    python -m xblcore.pipeline.learners FOLDER          # elsewhere

A notebook that a learner has worked in is never overwritten; the others are brought up to date.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from xblcore import project
from xblcore.pipeline.strip import dumps, notebooks, read, strip

SOLUTION = "solution"
MADE = ".made.json"  # digests of what was written here, to tell a learner's work from it
ALSO = ("README.md",)


@dataclass(frozen=True)
class Written:
    """What became of the notebooks in a folder.

    Attributes:
        new: those that were written; they were not there, or nobody had changed them.
        kept: files that were worked in, or were not made here, left as they are.
        same: names of those that nothing is new in.
    """

    new: list[Path]
    kept: list[Path]
    same: list[str]

    def __str__(self) -> str:
        """For a terminal, with the way on.

        >>> print(Written([Path("1.ipynb")], [], ["2.ipynb"]))
        1 file written, 1 up to date
        """
        said = f"{len(self.new)} {'file' if len(self.new) == 1 else 'files'} written"
        if self.same:
            said += f", {len(self.same)} up to date"
        if not self.kept:
            return said
        names = ", ".join(path.name for path in self.kept)
        return (
            f"{said}, {len(self.kept)} left alone, changed by somebody or not made here: {names}\n"
            "For a fresh copy rename or move it and run this again, or write to another folder: "
            ".venv/bin/python -m xblcore.pipeline.learners FOLDER"
        )


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


def write(source: Path, destination: Path) -> Written:
    """Write the learners' version of every notebook in ``source``, and what else belongs to it.

    Each file is replaced whole or not at all; one that was worked in, or was not made here, stays.

    Args:
        source: the workshop's folder.
        destination: made if it is missing. Notebooks in it that were only run are kept as they are
            where nothing is new.

    Raises:
        ValueError: the record of what was made here cannot be read.
    """
    texts = {path.name: _handed_out(path) for path in notebooks(source)}
    texts |= {name: _handed_out(source / name) for name in ALSO}
    made = _made(destination)
    wanted, kept = {}, []
    for name, text in texts.items():
        there = destination / name
        found = _found(there) if there.is_file() else None
        if found is not None and found not in (_digest(text), made.get(name)):
            kept.append(name)
        elif found != _digest(text):
            wanted[name] = text
    for name, text in wanted.items():
        with project.write_atomic(destination / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    # Of what was worked in, the record stays that of the edition that was handed out.
    digests = {name: _digest(text) for name, text in texts.items() if name not in kept}
    digests |= {name: made[name] for name in kept if name in made}
    with project.write_atomic(destination / MADE) as temporary:
        temporary.write_text(json.dumps(digests, indent=2) + "\n")
    return Written(
        [destination / name for name in wanted],
        [destination / name for name in kept],
        [name for name in texts if name not in wanted and name not in kept],
    )


def _handed_out(path: Path) -> str:
    """A file as learners get it; of a notebook that was only run, as it was before."""
    if path.suffix == ".ipynb":
        return dumps(for_learners(read(path)))
    return path.read_text(encoding="utf-8")


def _found(path: Path) -> str:
    """Digest of a file that is there, as it was handed out."""
    try:
        return _digest(_handed_out(path))
    except UnicodeDecodeError:  # what is written here is UTF-8, so it is someone's own work
        return hashlib.sha256(path.read_bytes()).hexdigest()


def _made(folder: Path) -> dict[str, str]:
    """What was written here before; without a record every file counts as someone's work."""
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
        written = write(root / "notebooks" / "workshop", destination)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{destination}: {written}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
