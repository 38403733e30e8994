"""The sample folder: made once, with its flaw, marked by a simulated hand where nobody began."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from xblcore.widgets import exchange, sample
from xblcore.widgets.marked import MarkedImages
from xblcore.widgets.refined import Refined
from xblcore.widgets.refining import refine
from xblcore.widgets.store import AnnotationStore


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> sample.Sample:
    return sample.make_sample(tmp_path_factory.mktemp("sample"), count=60, tests=20)


def test_the_patch_tells_the_class_and_the_clean_images_have_none(given):
    store = AnnotationStore(given.images)
    truth = exchange.read_coco(given.truth, store.images.sizes)
    assert len(store.names) == 60 and len(AnnotationStore(given.test).names) == 20
    values: dict[str, set[int]] = {}
    for name in store.names:
        patch = store.pixels(name)[truth[name, "wrong"]]
        assert patch.shape == (sample.PATCH**2, 3)
        values.setdefault(store.images.class_of(name), set()).update(patch.ravel().tolist())
    assert all(len(found) == 1 for found in values.values())
    assert len(set.union(*values.values())) == len(values)


def test_it_is_found_again_with_what_was_drawn(given):
    before = {path: path.stat().st_mtime_ns for path in given.images.rglob("*.png")}
    assert sample.make_sample(given.truth.parent, count=60, tests=20) == given
    assert {path: path.stat().st_mtime_ns for path in given.images.rglob("*.png")} == before


@pytest.mark.parametrize("other", [{"count": 61}, {"tests": 21}, {"seed": 1}])
def test_another_sample_than_the_one_that_is_there_is_refused(given, other):
    with pytest.raises(ValueError, match="count, tests and seed must be those that .* was made"):
        sample.make_sample(given.truth.parent, **({"count": 60, "tests": 20} | other))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000])
def test_damaged_numbers_of_a_sample_are_told_by_their_file(tmp_path, content):
    (tmp_path / "truth.json").write_text("{}")
    (tmp_path / "sample.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"sample.json must be JSON.*; delete that file"):
        sample.make_sample(tmp_path)


@pytest.mark.parametrize("layer", ["wrong", "object"])
def test_a_simulated_hand_marks_only_where_nobody_has_begun(given, tmp_path, layer):
    store = AnnotationStore(given.images, tmp_path)
    assert sample.simulate_marks(store, given.truth, layer=layer, count=5) == 5
    assert sample.simulate_marks(store, given.truth, layer=layer, count=7) == 0
    truth = exchange.read_coco(given.truth, store.images.sizes)
    assert len(store.marked) == 5
    for name in store.marked:
        drawn, there = store.mask(name, layer), truth[name, layer]
        assert (drawn & there).sum() > 0.25 * there.sum()


def test_an_interrupted_simulation_goes_on_and_a_persons_stroke_ends_it(given, tmp_path):
    def drawn(store):
        return {name: store.drawing(name).done for name in store.names}

    whole = AnnotationStore(given.images, tmp_path / "whole")
    sample.simulate_marks(whole, given.truth, count=5)
    done = {name: strokes for name, strokes in drawn(whole).items() if strokes}
    first, second, *_ = done

    begun = AnnotationStore(given.images, tmp_path / "begun")
    for stroke in done[first]:
        begun.add(first, stroke)
    begun.add(second, done[second][0])
    missing = 5 - 1 - (len(done[second]) == 1)
    again = AnnotationStore(given.images, tmp_path / "begun")  # as after a restart, from the disk
    assert sample.simulate_marks(again, given.truth, count=5) == missing
    assert drawn(again) == drawn(whole)

    again.add(first, done[second][0])
    again.undo(second)
    assert sample.simulate_marks(again, given.truth, count=5) == 0


def test_a_network_is_trained_on_it_and_refined_and_shown(given, tmp_path):
    model = sample.trained_network(given, epochs=1)
    store = AnnotationStore(given.images, tmp_path)
    data = MarkedImages.of(store, grey=True)
    assert not model.training and 0 <= sample.accuracy(model, data) <= 1
    sample.simulate_marks(store, given.truth, count=9)
    done = refine(model, MarkedImages.of(store, grey=True), epochs=1, progress=False)
    figure = done.picture()
    assert len([ax for ax in figure.axes if ax.images]) == 3 * 8
    page = done._repr_html_()
    assert 'alt="Before and after refining. 9 marked images; share' in page
    titles = {ax.get_title() for ax in figure.axes if ax.get_title()}
    assert titles <= set(done.marked.classes)


def test_before_and_after_in_numbers():
    """Two images of two cells: the wrong one is the left of the first, the object right of both."""
    left, right = np.zeros((2, 2, 1, 2), bool)
    left[0, 0, 0] = True
    right[:, 0, 1] = True
    marked = MarkedImages(
        ("a", "b"), torch.zeros(2, 1, 1, 2), torch.tensor([0, 1]), right, left, ("cat", "dog")
    )
    done = Refined(
        nn.Identity(), [], "0", marked,
        torch.tensor([[[3.0, 1.0]], [[1.0, 1.0]]]), torch.tensor([[[0.0, 1.0]], [[1.0, 3.0]]]),
        torch.tensor([1, 1]), torch.tensor([0, 1]),
    )  # fmt: skip
    assert done.shares("wrong") == (0.75, 0.0) and done.names == ("a", "b")
    assert done.shares("object") == (0.375, 0.875)
    assert str(done) == (
        "2 marked images; share of the attribution on what was marked wrong: 0.75 before, 0.00 "
        "after; share of the attribution on what was marked object: 0.38 before, 0.88 after; "
        "classes right: 1 before, 2 after"
    )
    with pytest.raises(ValueError, match="layer must be one of wrong, object, got 'decoy'"):
        done.shares("decoy")
    dead = dataclasses.replace(done, after=done.after * torch.tensor([0.0, 1.0])[:, None, None])
    assert dead.shares("object") == (0.5, 0.75), "before and after are of the same images"
    assert (dead.left_out("object"), done.left_out("object")) == (1, 0)
    assert "0.50 before, 0.75 after (without 1 whose CAM is dead before or after)" in str(dead)
    assert "marked wrong: undefined, all 1 have a CAM that is dead" in str(dead)
    figure = done.picture()
    labels = [ax.get_xlabel() for ax in figure.axes if ax.images]
    assert labels.count("✗ dog") == 1 and labels.count("dog") == 2 and labels.count("cat") == 1
    nothing = dataclasses.replace(done, marked=dataclasses.replace(marked, decoy_mask=left & False))
    assert np.isnan(nothing.shares("wrong")).all() and "wrong" not in str(nothing)


def test_a_sample_image_is_a_plain_grey_file(given):
    path = next(given.images.rglob("*.png"))
    with Image.open(path) as image:
        assert (image.mode, image.size) == ("L", (28, 28))
