"""The 25 images: marks outlive the notebook, and come out where they were painted."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from xblcore.decoys import add_corner_patch
from xblcore.evaluate import Marked
from xblcore.widgets.strokes import Stroke
from xblcore.workshop import annotating, checks_in_the_loop, course
from xblcore.workshop.task import Data, Settings

COUNT, SIZE = 30, 28
DOT = Stroke("wrong", "brush", 2.0, ((2.0, 2.0),))


@pytest.fixture(scope="module")
def data() -> Data:
    """Bars in the middle and a patch in one corner after the other, no file read."""
    clean = np.zeros((COUNT, SIZE, SIZE, 1), np.uint8)
    clean[:, 8:20, 12:16] = 200
    corners = np.arange(COUNT) % 4
    patched, decoys = add_corner_patch(clean, np.full((COUNT, 1), 90, np.uint8), corners, 4)
    labels = torch.arange(COUNT) % 10
    nothing = torch.zeros(COUNT, 14, 14)

    def split(images: np.ndarray) -> Marked:
        scaled = torch.from_numpy(images.transpose(0, 3, 1, 2)).float() / 255
        return Marked(scaled, labels, nothing > 0, nothing > 0, nothing)

    splits = {"train": split(patched), "train_clean": split(clean)}
    pixels = torch.from_numpy(decoys)
    return Data(splits, {"train": pixels, "train_clean": pixels & False}, Settings())


@pytest.fixture(autouse=True)
def few_at_hand(monkeypatch):
    monkeypatch.setattr(annotating, "AT_HAND", COUNT)


def test_what_was_painted_is_there_when_the_notebook_is_run_again(data, tmp_path):
    first = annotating.store(data, "mine", root=tmp_path)
    assert len(first.names) == annotating.COUNT and first.marked == ()
    first.add(first.names[3], DOT)
    again = annotating.store(data, "mine", root=tmp_path)
    assert again.marked == (first.names[3],)
    np.testing.assert_array_equal(
        again.mask(first.names[3], "wrong"), first.mask(first.names[3], "wrong")
    )
    assert annotating.store(data, "simulated", root=tmp_path).mask("003.png", "wrong").sum() > 0
    assert annotating.store(data, "mine", root=tmp_path).marked == again.marked


def test_the_images_are_those_of_the_training_set(data, tmp_path):
    store = annotating.store(data, "mine", root=tmp_path)
    for n, name in enumerate(store.names):
        pixels = store.pixels(name)[..., 0] / 255
        np.testing.assert_allclose(pixels, data.splits["train"].images[n, 0].numpy(), atol=1e-6)


def test_the_simulated_hand_marks_all_and_always_the_same(data, tmp_path):
    one, other = (annotating.store(data, "simulated", root=tmp_path / n) for n in ("a", "b"))
    assert len(one.marked) == annotating.COUNT
    for layer in ("wrong", "object"):
        np.testing.assert_array_equal(annotating.masks(one, layer), annotating.masks(other, layer))
    reopened = annotating.store(data, "simulated", root=tmp_path / "a")
    np.testing.assert_array_equal(
        annotating.masks(one, "wrong"), annotating.masks(reopened, "wrong")
    )
    assert checks_in_the_loop.marks(one, data).passed


def test_a_simulated_hand_that_was_interrupted_begins_anew(data, tmp_path, monkeypatch):
    whole = annotating.store(data, "simulated", root=tmp_path / "whole")
    strokes, drawn = annotating.strokes_over, []

    def interrupted(*arguments, **options):
        drawn.append(1)
        if len(drawn) == 20:
            raise KeyboardInterrupt
        return strokes(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(annotating, "strokes_over", interrupted)
        with pytest.raises(KeyboardInterrupt):
            annotating.store(data, "simulated", root=tmp_path)
    again = annotating.store(data, "simulated", root=tmp_path)
    for layer in ("wrong", "object"):
        np.testing.assert_array_equal(
            annotating.masks(again, layer), annotating.masks(whole, layer)
        )
    assert sorted(path.name for path in (tmp_path / "marks").iterdir()) == ["simulated"]


def test_marks_count_where_they_are_asked_for(data, tmp_path):
    store = annotating.store(data, "simulated", root=tmp_path)
    marked = annotating.marked_images(data, store, layers=("wrong",), only=[2, 5])
    assert marked.marked.tolist() == [2, 5] and not marked.object_mask.any()
    assert len(marked.images) == COUNT
    assert annotating.marked_positions(store) == list(range(annotating.COUNT))
    both = annotating.marked_images(data, store)
    assert both.marked.tolist() == list(range(annotating.COUNT)) and both.object_mask.any()
    with pytest.raises(ValueError, match="marks must be there on wrong, got none; paint some"):
        annotating.marked_images(
            data, annotating.store(data, "mine", root=tmp_path), layers=("wrong",)
        )
    with pytest.raises(ValueError, match="whose must be simulated or mine, got 'yours'"):
        annotating.store(data, "yours", root=tmp_path)


def test_truth_and_corners_are_those_of_the_data(data):
    assert annotating.corners(data).tolist() == [n % 4 for n in range(annotating.COUNT)]
    each, same = annotating.four_of_each_kind(data, range(annotating.COUNT))
    assert each == [0, 1, 2, 3] and same == [0, 4, 8, 12]
    each, same = annotating.four_of_each_kind(data, [3, 5, 6, 7, 9])  # what a person came to mark
    assert each == [5, 6, 3] and same == [5, 9]
    assert annotating.truth(data, "object")[0].sum() == 12 * 4
    assert annotating.truth(data, "wrong")[0].sum() == 16


@pytest.mark.parametrize(
    ("strokes", "passed", "message"),
    [
        ([], False, "nothing is marked"),
        ([DOT], True, "1 of 25"),
        ([Stroke("object", "brush", 2.0, ((14.0, 14.0),))], False, "nothing is marked as wrong"),
        ([Stroke("wrong", "brush", 2.0, ((25.0, 25.0),))], False, "not marked on 000.png"),
        ([Stroke("wrong", "brush", 9.0, ((4.0, 4.0),))], False, "more than the patch"),
    ],
    ids=["nothing", "the patch", "the object", "another corner", "far too wide"],
)
def test_what_was_painted_is_judged(data, tmp_path, strokes, passed, message):
    store = annotating.store(data, "mine", root=tmp_path)
    for stroke in strokes:
        store.add(store.names[0], stroke)
    feedback = checks_in_the_loop.marks(store, data)
    assert feedback.passed is passed and message in str(feedback)
    assert passed or feedback.hint


@pytest.mark.parametrize(("count", "enough"), [(1, False), (9, False), (10, True), (25, True)])
def test_too_few_marks_are_right_and_the_way_on_is_told(data, tmp_path, count, enough):
    simulated = annotating.store(data, "simulated", root=tmp_path)
    store = annotating.store(data, "mine", root=tmp_path)
    for name in store.names[:count]:
        for stroke in simulated.drawing(name).done:
            store.add(name, stroke)
    feedback = checks_in_the_loop.marks(store, data)
    assert feedback.passed and f"{count} of 25 images marked" in feedback.message
    assert ("need 10 or more: mark on" in feedback.message) is not enough


def test_refining_with_marks_leaves_the_network_alone(data, tmp_path):
    small = dataclasses.replace(data, settings=dataclasses.replace(data.settings, epochs=1))
    network = course.new_model(small.settings, seed=0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    store = annotating.store(data, "simulated", root=tmp_path)
    marked = annotating.marked_images(data, store, layers=("wrong",), only=[0, 1])
    done = annotating.refined(small, network, marked)
    assert len(done.log) == annotating.EPOCHS and done.before.shape == (2, 14, 14)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
