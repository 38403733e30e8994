"""The committed notebooks: outputs only where nbval checks them, short cells, prose, no library."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest

from xblcore.pipeline.strip import CHECKED, dumps, read, strip

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
LONGEST = 15


LEARNERS = {"exercise", "solution"}  # tags of the cells in which a learner writes code


def cells(path: Path, kind: str, *, without: set[str] = frozenset()) -> list[str]:
    notebook = nbformat.read(path, as_version=4)
    return [
        cell.source
        for cell in notebook.cells
        if cell.cell_type == kind and not without & set(cell.metadata.get("tags", ()))
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_committed_stripped(path):
    assert path.read_text(encoding="utf-8") == dumps(strip(read(path))), (
        "run: python -m xblcore.pipeline.strip --in-place"
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_code_cells_are_short_and_define_nothing(path):
    """But for a learner's answers: writing the function is the exercise."""
    for source in cells(path, "code"):
        assert len(source.splitlines()) <= LONGEST, source
    for source in cells(path, "code", without=LEARNERS):
        kinds = (ast.FunctionDef, ast.ClassDef)
        assert not [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_only_checked_cells_keep_what_they_printed_and_it_is_plain_text(path):
    """nbval compares it; a cell that is to be checked and has nothing to compare checks nothing."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        checked = CHECKED in cell.metadata.get("tags", ())
        assert [output.output_type for output in cell.get("outputs", [])] == ["stream"] * checked


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_explains_itself(path):
    """It opens with a title, and there is prose for every two pieces of code."""
    prose, code = cells(path, "markdown"), cells(path, "code")
    assert prose[0].startswith("# ")
    assert 2 * len(prose) >= len(code)


def test_there_is_a_notebook_for_each_stage():
    assert {path.stem for path in NOTEBOOKS} >= {"train", "task", "paper"}
