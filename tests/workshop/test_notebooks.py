"""The notebooks: every blank is reported, every solution passes, learners get no solutions."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from course.exercise import Feedback
from nbclient import NotebookClient
from nbformat import NotebookNode

WORKSHOP = Path(__file__).parents[2] / "notebooks" / "workshop"
NOTEBOOKS = sorted(WORKSHOP.glob("**/[0-9]_*.ipynb"))
MOST_LINES = 15


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
def test_code_cells_are_short_and_have_no_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert max(len(cell.source.splitlines()) for cell in code) <= MOST_LINES
    assert not any(cell.outputs or cell.execution_count for cell in code)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_explanations_and_solutions_are_folded(path):
    for cell in cells(path):
        if cell.cell_type == "markdown":
            unfolded = re.sub("<details>.*?</details>", "", cell.source, flags=re.DOTALL)
            assert "Explain</b>" not in unfolded and "<details" not in unfolded
        elif tagged(cell, "solution"):
            assert cell.metadata.jupyter.source_hidden
            assert cell.source.startswith("# ")  # JupyterLab shows the first line of a folded cell


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_lead_to_files(path):
    for cell in cells(path):
        for target in re.findall(r"\]\(([^)#:]+)\)", cell.source):
            assert (path.parent / target).is_file()


@pytest.fixture(scope="module")
def for_learners(tmp_path_factory) -> Path:
    """The notebooks without solutions, as made by `make workshop`."""
    folder = tmp_path_factory.mktemp("learners")
    command = (
        sys.executable, "-m", "jupyter", "nbconvert", "--to", "notebook",
        "--TagRemovePreprocessor.enabled=True", "--TagRemovePreprocessor.remove_cell_tags=solution",
        "--output-dir", folder, *NOTEBOOKS,
    )  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_learners_get_everything_but_the_solutions(for_learners, path):
    expected = [cell.source for cell in cells(path) if not tagged(cell, "solution")]
    assert [cell.source for cell in cells(for_learners / path.name)] == expected


def test_blanks_stop_nothing(for_learners):
    """The notebook with the least training."""
    notebook = nbformat.read(for_learners / "2_grad_cam_by_hand.ipynb", as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": WORKSHOP}}).execute()
    outputs = [cell.outputs[0] for cell in notebook.cells if tagged(cell, "exercise")]
    assert all("still has a blank" in output["data"]["text/plain"] for output in outputs)
