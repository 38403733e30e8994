"""The committed notebooks: no outputs, short cells, prose, and nothing that belongs in xblcore."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest

from xblcore.pipeline.strip import dumps, read, strip

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
LONGEST = 15


def cells(path: Path, kind: str) -> list[str]:
    notebook = nbformat.read(path, as_version=4)
    return [cell.source for cell in notebook.cells if cell.cell_type == kind]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_committed_stripped(path):
    assert path.read_text(encoding="utf-8") == dumps(strip(read(path))), (
        "run: python -m xblcore.pipeline.strip --in-place"
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_code_cells_are_short_and_define_nothing(path):
    for source in cells(path, "code"):
        assert len(source.splitlines()) <= LONGEST, source
        kinds = (ast.FunctionDef, ast.ClassDef)
        assert not [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_explains_itself(path):
    """It opens with a title, and there is prose for every two pieces of code."""
    prose, code = cells(path, "markdown"), cells(path, "code")
    assert prose[0].startswith("# ")
    assert 2 * len(prose) >= len(code)


def test_there_is_a_notebook_for_each_stage():
    assert {path.stem for path in NOTEBOOKS} >= {"train", "task", "paper"}
