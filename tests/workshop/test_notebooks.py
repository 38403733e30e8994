"""The notebooks: every blank is reported, every solution passes, and nothing is stored."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from course.exercise import Feedback
from nbclient import NotebookClient
from nbformat import NotebookNode

WORKSHOP = Path(__file__).parents[2] / "notebooks" / "workshop"
NOTEBOOKS = sorted(WORKSHOP.glob("**/[0-9]_*.ipynb"))


@dataclass(frozen=True)
class Task:
    """Cells of an exercise, and the imports of its notebook, on which alone it may depend."""

    name: str
    imports: str
    prose: str
    blank: str
    solution: str


def cells(path: Path) -> list[NotebookNode]:
    found: list[NotebookNode] = nbformat.read(path, as_version=4).cells
    return found


def tagged(cell: NotebookNode, tag: str) -> bool:
    return tag in cell.metadata.get("tags", ())


def tasks() -> list[Task]:
    found = []
    for path in NOTEBOOKS:
        notebook = cells(path)
        imports = "\n".join(
            ast.unparse(node)
            for cell in notebook
            if cell.cell_type == "code"
            for node in ast.parse(cell.source).body
            if isinstance(node, ast.Import | ast.ImportFrom)
        )
        for prose, blank, solution in zip(notebook, notebook[1:], notebook[2:], strict=False):
            if tagged(blank, "exercise"):
                assert tagged(solution, "solution")
                name = f"{path.stem}: {blank.source.splitlines()[-1]}"
                found.append(Task(name, imports, prose.source, blank.source, solution.source))
    return found


TASKS = tasks()


def reply(imports: str, source: str) -> Feedback:
    """Run a cell and return the value of its last line."""
    *body, last = ast.parse(source).body
    assert isinstance(last, ast.Expr)
    names: dict[str, object] = {}
    exec(f"{imports}\n{ast.unparse(ast.Module(body, []))}", names)
    return eval(ast.unparse(last), names)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_an_exercise(task):
    assert "<details>" in task.prose  # folded hints
    assert task.blank.splitlines()[-1] == task.solution.splitlines()[-1]
    blank = reply(task.imports, task.blank)
    assert not blank.passed
    assert "still has a blank" in blank.message
    solution = reply(task.imports, task.solution)
    assert solution.passed, solution


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_code_cells_have_no_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_lead_to_files(path):
    for cell in cells(path):
        for target in re.findall(r"\]\(([^)#:]+)\)", cell.source):
            assert (path.parent / target).is_file()


def test_blanks_stop_nothing():
    """Without the cells of the solutions; the notebook with the least training."""
    notebook = nbformat.read(WORKSHOP / "2_grad_cam_by_hand.ipynb", as_version=4)
    notebook.cells = [cell for cell in notebook.cells if not tagged(cell, "solution")]
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": WORKSHOP}}).execute()
    outputs = [cell.outputs[0] for cell in notebook.cells if tagged(cell, "exercise")]
    assert all("still has a blank" in output["data"]["text/plain"] for output in outputs)
