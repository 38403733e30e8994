"""Output-free, normalised copies of the notebooks, for DVC to depend on.

DVC hashes the file, so a notebook that was merely run or saved in JupyterLab would retrain
everything. What a save changes (outputs, counts, ids, metadata) is not in the copy.

    python -m xblcore.pipeline.strip             # notebooks/**.ipynb -> build/notebooks/**.ipynb
    python -m xblcore.pipeline.strip --in-place  # for authors, before a commit

Two tags of the workshop are looked at: cells tagged ``nbval-check-output`` keep what they printed,
for nbval compares it with what a later run prints, and cells tagged ``solution`` are folded.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from xblcore import project

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
KEPT_CELL_METADATA = ("tags", "slideshow")
CHECKED = "nbval-check-output"
FOLDED = "solution"
# JupyterLab adds these to cells that it shows in the property inspector.
EMPTY: tuple[object, ...] = ([], {}, {"slide_type": ""}, {"slide_type": "-"})


def normalise(notebook: NotebookNode) -> NotebookNode:
    """Copy of ``notebook`` without what varies by machine, program or moment; outputs are kept.

    Cell ids are dropped (format 4.4): those made by JupyterLab and papermill are random, and
    numbered ones would change in every cell behind an inserted one.

    Args:
        notebook: of format 4.

    >>> cell = nbformat.v4.new_code_cell("1 + 1", metadata={"trusted": True, "tags": ["a"]})
    >>> normalise(nbformat.v4.new_notebook(cells=[cell])).cells[0].metadata
    {'tags': ['a']}
    """
    notebook = copy.deepcopy(notebook)
    notebook.metadata = METADATA  # NotebookNode copies a dict that it is given
    notebook.nbformat_minor = 4
    for cell in notebook.cells:
        cell.pop("id", None)
        kept = {name: cell.metadata.get(name, {}) for name in KEPT_CELL_METADATA}
        cell.metadata = {name: value for name, value in kept.items() if value not in EMPTY}
        if FOLDED in cell.metadata.get("tags", ()):  # whatever was unfolded when it was saved
            cell.metadata["jupyter"] = {"source_hidden": True}
        if not cell.get("attachments", True):
            del cell["attachments"]
    return notebook


def strip(notebook: NotebookNode) -> NotebookNode:
    """Copy of ``notebook`` that holds what its author wrote, and nothing else.

    The one exception is what a cell tagged ``nbval-check-output`` printed.

    Args:
        notebook: of format 4.

    >>> cell = nbformat.v4.new_code_cell("1 + 1", execution_count=7)
    >>> strip(nbformat.v4.new_notebook(cells=[cell])).cells[0].execution_count is None
    True
    """
    notebook = normalise(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            printed = _printed(cell) if CHECKED in cell.metadata.get("tags", ()) else []
            # nbval takes a cell with outputs and without a count for one that was never run.
            cell.outputs, cell.execution_count = printed, 1 if printed else None
    return notebook


def _printed(cell: NotebookNode) -> list[NotebookNode]:
    """What a cell printed, as one output: how a kernel cuts it into pieces varies."""
    text = "".join(
        output.text
        for output in cell.outputs
        if output.output_type == "stream" and output.name == "stdout"
    )
    made: list[NotebookNode] = [nbformat.v4.new_output("stream", text=text)] if text else []  # type: ignore[no-untyped-call]
    return made


def dumps(notebook: NotebookNode) -> str:
    """Text of the notebook's file: sorted keys, one newline at the end."""
    text: str = nbformat.writes(notebook)  # type: ignore[no-untyped-call]
    return text.rstrip("\n") + "\n"


def read(path: Path) -> NotebookNode:
    """Notebook at ``path``, raised to format 4.

    Raises:
        ValueError: it is not a notebook.
    """
    try:
        notebook: NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, AttributeError) as error:
        raise ValueError(f"{path} must be a Jupyter notebook, got {error}") from error
    return notebook


def notebooks(folder: Path) -> list[Path]:
    """Notebooks under ``folder``, sorted, JupyterLab's checkpoints and hidden folders left out."""
    found = sorted(path.relative_to(folder) for path in folder.rglob("*.ipynb"))
    return [folder / path for path in found if not any(part[0] == "." for part in path.parts)]


def strip_folder(source: Path, destination: Path) -> list[Path]:
    """Write the stripped copy of every notebook under ``source`` to ``destination``.

    A copy that is right already is not touched; one whose notebook is gone is removed.

    Args:
        source: folder of notebooks.
        destination: folder of the copies; may be ``source``.

    Returns:
        The files that changed.
    """
    changed = []
    copies = {destination / path.relative_to(source): path for path in notebooks(source)}
    for target, path in copies.items():
        text = dumps(strip(read(path)))
        if not target.is_file() or target.read_bytes() != text.encode():
            with project.write_atomic(target) as temporary:
                temporary.write_bytes(text.encode())
            changed.append(target)
    for stale in set(notebooks(destination)) - set(copies):
        stale.unlink()
        changed.append(stale)
    return changed


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m xblcore.pipeline.strip",
        description="Write output-free copies of notebooks/ to build/notebooks/.",
    )
    parser.add_argument("--in-place", action="store_true", help="strip notebooks/ itself")
    options = parser.parse_args(arguments)
    root = project.root()
    source = root / "notebooks"
    try:
        changed = strip_folder(source, source if options.in_place else root / "build/notebooks")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    for path in sorted(changed):
        print("stripped" if path.exists() else "removed", path.relative_to(root))
    return 0


if __name__ == "__main__":
    from xblcore.pipeline import stage  # needs psutil, which not every user of this module has

    sys.exit(stage.run(main))
