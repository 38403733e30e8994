"""xblcore.workshop.exercise and answers: what is off is said in the learner's terms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from xblcore.workshop.answers import difference, unusable
from xblcore.workshop.exercise import Case, Exercise, check_value
from xblcore.workshop.feedback import FILL_IN, Feedback

MAP = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
DOUBLE = Exercise(
    name="double",
    cases=[Case((MAP,), MAP * 2, "a map of 2x2 cells")],
    done="twice as much everywhere.",
    hint="Multiply by 2.",
    right=lambda cam: cam * 2,
    gradient_to=0,
)


@pytest.mark.parametrize(
    ("got", "expected", "said"),
    [
        (2.0, 3.0, "it should be 3 and is 2."),
        (torch.tensor([1.0, 2.0]), [1.0, 5.0], "at [1] it should be 5 and is 2."),
        (MAP + torch.tensor([[0.0, 0], [1, 0]]), MAP, "at [1, 0] it should be 3 and is 4."),
        (-MAP, MAP, "the sign is the wrong way round."),
        (MAP * 4, MAP, "everything is 4 times what it should be: is something not normalised?"),
        (MAP.T, MAP, "rows and columns have changed places."),
        (torch.ones(3, 2), torch.ones(2, 3), "rows and columns have changed places."),
        (torch.ones(2), MAP, "the shape should be (2, 2) and is (2,)."),
        (torch.ones(2), 1.0, "it should be a single number and has the shape (2,)."),
        (MAP + 1e-7, MAP, None),
        (
            np.array([True, False]),
            torch.tensor([True, True]),
            "at [1] it should be True and is False.",
        ),
        (np.array([1, 0]), torch.tensor([True, True]), "at [1] it should be 1 and is 0."),
        (False, True, "it should be True and is False."),
        ((0, 4), [0, 4], None),
    ],
)
def test_a_difference_is_told_by_kind_or_by_its_first_cell(got, expected, said):
    assert difference(got, expected) == said


@pytest.mark.parametrize(
    ("got", "said"),
    [
        (None, "`mine` is None. Does the function end with `return`?"),
        (len, "`mine` is a function; are the brackets of a call missing?"),
        ("text", "`mine` should be made of numbers, got str."),
        ({"a": 1}, "`mine` should be made of numbers, got dict."),
        ([[1.0], [float("nan")]], "there is NaN (not a number) at [1, 0], such as 0 / 0 gives."),
        ((1, 2), None),
    ],
)
def test_what_cannot_be_compared_is_told(got, said):
    assert unusable(got, "mine") == said


def blank(cam):
    weights = ...
    return weights * cam


def stops(cam):
    return cam.no_such_thing


def in_place(cam):
    cam *= 2
    return cam * 1


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (blank, "there is still a blank: fill in every `...` of `double`."),
        (stops, "`double` stopped in the line `return cam.no_such_thing` with AttributeError"),
        (in_place, "your function changes its argument"),
        (lambda cam: cam.detach() * 2, "no gradient flows through it"),
        (lambda cam: (cam * 2).tolist(), "no gradient flows through it"),
        (lambda cam: cam * 3, "for a map of 2x2 cells, everything is 1.5 times"),
        (lambda cam: cam + cam.detach(), None),
    ],
)
def test_a_function_is_told_what_is_off_in_it(function, said):
    feedback = DOUBLE.check(function)
    assert feedback.passed == (said is None)
    assert said is None or said in feedback.message
    assert said is None or feedback.hint


def test_the_case_survives_what_learners_do():
    DOUBLE.check(in_place)
    assert DOUBLE.cases[0].arguments[0].tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert DOUBLE.check(DOUBLE.right).passed


def test_without_a_solution_nothing_can_be_trusted():
    exercise = Exercise(name="open", cases=(), done="", hint="")
    with pytest.raises(ValueError, match="right must be given for open to be trusted, got None"):
        exercise.trusted(len)


def test_feedback_needs_no_colour_and_says_the_same_as_a_page():
    feedback = Feedback(False, "at [0] `x < 1` is wrong", "Look again.")
    assert str(feedback) == repr(feedback)
    assert str(feedback) == "✗ Not yet: at [0] `x < 1` is wrong\n  Hint: Look again."
    page = feedback._repr_html_()
    for part in ("✗ Not yet", "<code>x &lt; 1</code>", "<b>Hint:</b> Look again."):
        assert part in page
    assert "✓ Right" in Feedback(True, "done")._repr_html_()
    with pytest.raises(ValueError, match="hint must be there"):
        Feedback(False, "wrong")


def test_a_number_worked_out_by_hand():
    def check(got):
        return check_value(got, 2.5, name="loss", done="25 / 10", hint="Divide.")

    assert check(2.5).passed
    assert str(check(5)) == "✗ Not yet: it should be 2.5 and is 5.\n  Hint: Divide."
    assert check(...).message == "there is still a blank: `loss` is `...`, fill it in."
    assert check(...).hint == FILL_IN
