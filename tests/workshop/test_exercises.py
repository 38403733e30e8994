"""Every exercise of the workshop: its blank is told of kindly, its solution passes."""

from __future__ import annotations

import ast

import pytest
from workshop_cells import NOTEBOOKS, TASKS, answer, tasks_of

from xblcore.workshop.feedback import FILL_IN


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_has_exercises(path):
    assert tasks_of(path)


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_a_blank_is_named_and_gets_a_hint(task):
    feedback = answer(task, task.blank)
    assert not feedback.passed
    assert "blank" in feedback.message
    assert feedback.hint == FILL_IN, "who has not tried yet is not told the answer"


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_the_solution_passes(task):
    feedback = answer(task, task.solution)
    assert feedback.passed, str(feedback)
    assert len(feedback.message) > 20


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_exercise_and_solution_ask_the_same_check_of_the_same_names(task):
    blank, solution = ast.parse(task.blank).body, ast.parse(task.solution).body
    assert ast.unparse(blank[-1]) == ast.unparse(solution[-1])
    assert any(isinstance(node, ast.Constant) and node.value is ... for node in walk(blank))
    filled = [node for node in walk(solution) if isinstance(node, ast.Expr)]
    assert not [n for n in filled if isinstance(n.value, ast.Constant) and n.value.value is ...]


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_hints_are_folded_above_each_exercise(task):
    assert "Exercise" in task.prose
    assert "<details>" in task.prose and "</details>" in task.prose


def walk(nodes: list[ast.stmt]) -> list[ast.AST]:
    return [inner for node in nodes for inner in ast.walk(node)]
