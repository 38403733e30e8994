"""The workshop's notebooks as the tests read them: exercises, their solutions, what they import."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from xblcore.workshop.feedback import Feedback

ROOT = Path(__file__).parents[1]
WORKSHOP = ROOT / "notebooks" / "workshop"
NOTEBOOKS = sorted(WORKSHOP.glob("*.ipynb"))


@dataclass(frozen=True)
class Task:
    """One exercise of a notebook.

    Attributes:
        name: of its last line, the call of the check.
        setup: the notebook's imports.
        blank: source of the cell tagged ``exercise``.
        solution: source of the cell below it, tagged ``solution``.
        prose: the markdown cell above.
    """

    notebook: str
    name: str
    setup: str
    blank: str
    solution: str
    prose: str

    def __str__(self) -> str:
        return f"{self.notebook}:{self.name}"


def tagged(cell: NotebookNode, tag: str) -> bool:
    return tag in cell.metadata.get("tags", ())


def imports(cells: list[NotebookNode]) -> str:
    """The import statements of a notebook, which is all that an exercise may rest on."""
    nodes = [
        node
        for cell in cells
        if cell.cell_type == "code"
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    return "\n".join(map(ast.unparse, nodes))


def tasks_of(path: Path) -> list[Task]:
    cells = nbformat.read(path, as_version=4).cells
    setup, found = imports(cells), []
    for number, cell in enumerate(cells):
        if cell.cell_type == "code" and tagged(cell, "exercise"):
            below = cells[number + 1]
            assert tagged(below, "solution"), f"no solution below an exercise of {path.name}"
            call = ast.unparse(ast.parse(cell.source).body[-1]).split("(")[0]
            name = call.removeprefix("checks.")
            prose = cells[number - 1].source
            found.append(Task(path.stem, name, setup, cell.source, below.source, prose))
    return found


TASKS = [task for path in NOTEBOOKS for task in tasks_of(path)]


def answer(task: Task, source: str) -> Feedback:
    """What the notebook says to a learner who runs the cell ``source`` of an exercise."""
    names: dict[str, Any] = {}
    exec(task.setup, names)
    *body, last = ast.parse(source).body
    assert isinstance(last, ast.Expr), "an exercise ends with the call of its check"
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    feedback = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    assert isinstance(feedback, Feedback)
    return feedback
