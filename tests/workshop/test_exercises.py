"""Every exercise: the solution is correct, each typical mistake is recognised, nothing raises."""

from __future__ import annotations

import importlib
import math
import pkgutil

import course
import numpy as np
import pytest
import torch
from course import cams, distances, gaming, measuring, overlap, photographs, shortcut
from course.exercise import Case, Exercise, Feedback, difference
from scipy.ndimage import distance_transform_edt

from xblcore import cam, losses

MODULES = [
    importlib.import_module(f"course.{module.name}")
    for module in pkgutil.iter_modules(course.__path__)
]
EXERCISES = {
    value.name: value
    for module in MODULES
    for value in vars(module).values()
    if isinstance(value, Exercise)
}
MISTAKES = [
    pytest.param(exercise, mistake, id=f"{name}: {mistake[0]}")
    for name, exercise in EXERCISES.items()
    for mistake in exercise.mistakes
]


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES)
def test_the_solution_passes(exercise, capsys):
    feedback = exercise(exercise.solution)
    assert feedback.passed, feedback
    assert exercise.or_solution(exercise.solution) is exercise.solution
    assert exercise.or_solution(...) is exercise.solution
    assert capsys.readouterr().out.splitlines() == [
        f"Using your `{exercise.name}`.",
        f"Using the prepared `{exercise.name}`.",
    ]


@pytest.mark.parametrize(("exercise", "mistake"), MISTAKES)
def test_a_typical_mistake_is_recognised(exercise, mistake):
    what, mistaken, hint = mistake
    feedback = exercise(mistaken)
    assert feedback == Feedback(False, f"you computed {what}.", hint)


ROW = [[1.0, 0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("exercise", "arguments", "expected"),
    [
        (shortcut.flip_rate, (torch.tensor([1, 2, 3, 4]), torch.tensor([1, 2, 0, 4])), 0.25),
        (shortcut.recovery, (0.6, 0.4, 0.8), 0.5),
        (cams.grad_cam, (cams.FEATURES, cams.GRADIENTS), [[2, 0], [0, 2]]),
        (cams.hires_cam, (cams.FEATURES, cams.GRADIENTS), [[8, 3], [0, -1]]),
        (overlap.overlap, (overlap.CAM, overlap.DECOY), 1.3125),
        (distances.distances, (np.array(ROW) > 0,), [[0, 1, 2, 3]]),
        (photographs.activation, (torch.tensor([[[[-1.0]], [[2.0]]]]), torch.ones(1, 1, 1)), 3.0),
        (distances.combined, (torch.tensor([0.0]), torch.tensor([True]), 0.3), [0.3]),
        (measuring.distance_focus, (measuring.NEAR, measuring.DISTANCE), 1 - 0.2 / 3),
        (measuring.distance_focus, (measuring.FAR, measuring.DISTANCE), 0.8),
        (measuring.distance_focus, (measuring.ALL_ZERO, measuring.DISTANCE), math.nan),
        (gaming.relies_on_decoy, (gaming.Evidence(0.0, 0.0, 0.9, 0.1),), False),
        (gaming.relies_on_decoy, (gaming.Evidence(0.0, 0.0, 0.9, None),), True),
    ],
)  # fmt: skip
def test_solutions_by_hand(exercise, arguments, expected):
    assert difference(exercise.solution(*arguments), expected) is None


def test_distances_are_those_of_scipy():
    mask = np.random.default_rng(0).random((6, 7)) < 0.1
    np.testing.assert_allclose(distances.distances.solution(mask), distance_transform_edt(~mask))


def test_xbl_d_plus_is_that_of_the_library():
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(3, 4, 2, 2, generator=generator).requires_grad_()
    head, penalty = torch.randn(5, 16, generator=generator), torch.rand(3, 2, 2)
    logits = features.flatten(1) @ head.T
    signs = torch.randint(0, 2, (3, 5), generator=generator) * 2.0 - 1
    scores = (signs * (logits - logits.mean(1, keepdim=True))).sum(1)
    expected = losses.xbl_d(cam.hires_cam(features, scores).abs(), penalty)
    loss = distances.xbl_d_plus.solution(features, logits, penalty, signs)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("cell", range(14))
def test_pixels_seen_are_those_with_a_gradient(cell):
    model = course.task.new_model()
    images = torch.rand(32, 1, 28, 28, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (gradient,) = torch.autograd.grad(model.features(images)[:, :, cell].sum(), images)
    (rows,) = gradient.abs().sum((0, 1, 3)).nonzero(as_tuple=True)
    assert (rows[0], rows[-1]) == overlap.pixels_seen.solution(cell)


def complains(*_):
    raise KeyError("mine")


NONSENSE = (
    None, 3, lambda: 1, lambda *_: None, lambda *_: "text", lambda *_: math.nan, lambda *a: a,
    lambda *_: [[1, 2], [3]], lambda *_: len, lambda *_: {"a": 1}, complains,
)  # fmt: skip


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES)
def test_nonsense_gets_a_hint(exercise):
    for answer in NONSENSE:
        feedback = exercise(answer)
        assert not feedback.passed
        assert feedback.hint
        assert "Traceback" not in repr(feedback)


@pytest.mark.parametrize(
    ("detector", "about"),
    [
        (lambda e: e.grad_cam_wrong > 0.2, 2),
        (lambda e: e.held_out_wrong > 0.2, 5),
        (lambda e: (e.flip_rate or 0) > 0.2, 4),
        (lambda e: e.flip_rate > 0.2 if e.flip_rate else e.held_out_wrong > 0.2, 5),
        (lambda e: e.grad_cam_wrong > 0.2 if e.flip_rate is None else e.flip_rate > 0.2, 4),
        (lambda e: True, 1),
    ],
)
def test_a_detector_is_told_which_model_it_misjudges(detector, about):
    case = gaming.relies_on_decoy.cases[about]
    feedback = gaming.relies_on_decoy(detector)
    assert not feedback.passed
    assert case.about in feedback.message
    assert feedback.hint == case.hint


@pytest.mark.parametrize("options", [{}, {"retain_graph": True}])
def test_a_gradient_without_create_graph_does_not_train_the_head(options):
    def loss(features, logits, penalty, signs):
        score = (signs * (logits - logits.mean(1, keepdim=True))).sum()
        (gradient,) = torch.autograd.grad(score, features, **options)
        return ((gradient * features).sum(1).abs() * penalty).sum((1, 2)).mean()

    feedback = distances.xbl_d_plus(loss)
    assert "does not train the head" in feedback.message
    assert "create_graph" in feedback.hint


MAP = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
DOUBLE = Exercise(
    "double", lambda cam: cam * 2, [Case("a map", (MAP,))], "twice.", "Multiply.", gradient_to=0
)


def with_blank(cam):
    weights = ...
    return weights * cam


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (..., "still has a blank"),
        (lambda cam: ..., "still has a blank"),
        (with_blank, "still has a blank"),
        (lambda cam: cam.detach() * 2, "no gradient"),
        (lambda cam: (cam * 2).tolist(), "no gradient"),
        (lambda cam: cam.unknown, "stopped in the line"),
        (lambda cam: cam * 3, "for a map, everything is 1.5 times"),
    ],
)
def test_what_is_wrong_with_a_function(function, message):
    feedback = DOUBLE(function)
    assert not feedback.passed
    assert message in feedback.message
    assert MAP.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("got", "expected", "word"),
    [
        (2.0, 3.0, "got 2"),
        (MAP + torch.tensor([[0.0, 0], [1, 0]]), MAP, "[1, 0]"),
        (MAP * 4, MAP, "4 times"),
        (torch.ones(2), 1.0, "shape"),
        (None, MAP, "return"),
        ("text", MAP, "str"),
        (math.nan, 1.0, "0 / 0"),
        (0.0, math.nan, "nan"),
        (False, True, "True"),
        (math.nan, math.nan, None),
        (MAP + 1e-7, MAP, None),
        ((0, np.int64(4)), [0, 4], None),
        ([torch.tensor(0.0), torch.tensor(4)], [0, 4], None),
    ],
)
def test_a_difference_in_words(got, expected, word):
    found = difference(got, expected)
    assert (found is None) == (word is None)
    assert word is None or word in found


def test_feedback_in_a_page_and_without_colour():
    feedback = Feedback(False, "`x < 1` is wrong", "Look again.")
    assert repr(feedback) == "✗ Not yet: `x < 1` is wrong\n  Hint: Look again."
    assert "<code>x &lt; 1</code>" in feedback._repr_html_()
