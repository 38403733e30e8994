"""Every check of the workshop: the solution passes, each known mistake is named, none raises."""

from __future__ import annotations

import importlib
import pkgutil
import re

import pytest
import torch

from xblcore import workshop
from xblcore.workshop.exercise import Exercise

MODULES = [
    importlib.import_module(f"xblcore.workshop.{module.name}")
    for module in pkgutil.iter_modules(workshop.__path__)
    if module.name.startswith("checks_")
]
EXERCISES = {
    f"{module.__name__.rsplit('.', 1)[1]}.{name}": exercise
    for module in MODULES
    for name, exercise in sorted(vars(module).items())
    if isinstance(exercise, Exercise)
}
SLIPS = [(name, number) for name, e in EXERCISES.items() for number in range(len(e.slips))]


def wrong_answers(exercise: Exercise) -> list[object]:
    """What learners hand in before they think: no function, nothing, text, the wrong arguments."""

    def complains(*arguments):
        raise KeyError("mine")

    return [..., None, 3, lambda: 1, lambda *a: None, lambda *a: "text", lambda *a: float("nan"),
            lambda *a: a, lambda *a: [[1, 2], [3]], lambda *a: len, complains]  # fmt: skip


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_is_right_and_can_be_gone_on_with(name, capsys):
    exercise = EXERCISES[name]
    assert exercise.right is not None
    assert exercise.check(exercise.right).passed, str(exercise.check(exercise.right))
    assert exercise.trusted(exercise.right) is exercise.right
    assert exercise.trusted(...) is exercise.right
    assert capsys.readouterr().out.splitlines() == [
        f"Going on with your {exercise.name}.",
        f"Going on with xblcore's, since your {exercise.name} is not right yet.",
    ]


@pytest.mark.parametrize(("name", "number"), SLIPS)
def test_a_known_mistake_is_named(name, number):
    exercise = EXERCISES[name]
    slip = exercise.slips[number]
    feedback = exercise.check(slip.answer)
    assert not feedback.passed
    assert slip.message in str(feedback)


@pytest.mark.parametrize("name", EXERCISES)
def test_the_general_hint_is_no_code(name):
    hint = EXERCISES[name].hint
    assert not re.search(r"\w\(|\.\w+\(|=", hint.replace("(K, h, w)", "")), hint


def by_table(grey):
    return {255 - 25 * k: k for k in range(10)}[grey]


def by_questions(grey):
    if grey == 255:
        return 0
    return (255 - grey) // 25


def with_a_tuple(features, logits, distance, signs):
    score = (signs * (logits - logits.mean(1, keepdim=True))).sum()
    gradient = torch.autograd.grad(score, features, create_graph=True)
    return ((gradient * features).sum(1).abs() * distance).sum((1, 2)).mean()


def with_a_tuple_summed(features, logits, distance, signs):
    gradient = torch.autograd.grad(logits.sum(), features, create_graph=True)
    return (gradient.sum(1).abs() * distance).sum((1, 2)).mean()


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("CLASS_OF_PATCH", lambda grey: int((255 - grey) / 25), "an array"),
        ("CLASS_OF_PATCH", lambda grey: round((255 - grey) / 25), "an array"),
        ("CLASS_OF_PATCH", by_table, "an array"),
        ("CLASS_OF_PATCH", by_questions, "an array"),
        ("XBL_D", with_a_tuple, "`(gradient,) = ...`"),
        ("XBL_D", with_a_tuple_summed, "`(gradient,) = ...`"),
    ],
    ids=["int", "round", "table", "if", "tuple times tensor", "tuple's sum"],
)
def test_an_error_that_people_run_into_has_a_hint_of_its_own(name, answer, hint):
    (exercise,) = [e for full, e in EXERCISES.items() if full.endswith(f".{name}")]
    feedback = exercise.check(answer)
    assert not feedback.passed and " stopped in the line `" in feedback.message
    assert hint in feedback.hint and feedback.hint != exercise.hint


@pytest.mark.parametrize("name", EXERCISES)
def test_nonsense_gets_a_hint_and_no_traceback(name):
    for answer in wrong_answers(EXERCISES[name]):
        feedback = EXERCISES[name].check(answer)
        assert not feedback.passed
        assert feedback.hint
        assert "Traceback" not in str(feedback) and "xblcore" not in feedback.message
