"""The committed gallery and the live networks show the same; names agree with the study's."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
import toy_task

from xblcore import datasets, explainers, informativeness, metrics
from xblcore.datasets.drawing import VIEWS
from xblcore.explorer import gallery, sources
from xblcore.explorer.committed import Committed
from xblcore.explorer.live import Live
from xblcore.explorer.shelf import even
from xblcore.explorer.views import EXPLAINERS, SEEN, Ask

TASK = toy_task.TASK
ASKED = list(itertools.product(("erm", "xbl_d"), (0, 1), gallery.BASES, EXPLAINERS))
ASK = Ask("xbl_d", 0, "test_decoy", "hires_cam", "logit", None, "features")


@pytest.fixture(scope="module")
def live(made) -> Live:
    return Live(TASK, root=made)


@pytest.fixture(scope="module")
def committed(made) -> Committed:
    return Committed(gallery.load(TASK, root=made))


@pytest.mark.parametrize(("method", "seed", "split", "by"), ASKED, ids=str)
def test_what_is_committed_is_what_is_computed(live, committed, method, seed, split, by):
    ask = Ask(method, seed, split, *by, None, "features")
    for number in committed.numbers(split):
        one, two = live.picture(ask, number), committed.picture(ask, number)
        for field in dataclasses.fields(one):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(two, field.name))
        one, two = live.look(ask, number), committed.look(ask, number)
        peak = max(float(one.cam.max()), 1e-12)
        np.testing.assert_allclose(one.cam / peak, two.cam, atol=0.5 / 255 + 1e-4)
        assert (one.target, list(one.answers)) == (two.target, list(two.answers))
        for view in SEEN:
            assert one.answers[view].predicted == two.answers[view].predicted
            assert abs(one.answers[view].confidence - two.answers[view].confidence) < 1e-4
        assert list(one.metrics) == list(two.metrics)
        np.testing.assert_allclose(
            list(one.metrics.values()), list(two.metrics.values()), atol=1e-4
        )
    rows = list(committed.numbers(split))
    assert live.answers(ask).loc[rows].equals(committed.answers(ask).loc[rows])
    assert live.flipped(ask).loc[rows].equals(committed.flipped(ask).loc[rows])
    for metric in ("iou", "distance_focus"):
        np.testing.assert_allclose(
            live.values(ask, metric).loc[rows], committed.values(ask, metric).loc[rows], atol=1e-4
        )


def test_answers_tell_what_is_wrong_and_what_the_decoy_flips(made, live):
    model = live._model("erm", 0)
    splits = {v: datasets.load(TASK, split=s, root=made / "data" / "decoy")
              for v, s in (("decoy", "test_decoy"), ("swapped", "test_decoy_swapped"))}  # fmt: skip
    with torch.no_grad():
        found = {v: model(torch.from_numpy(s.images)).argmax(1).numpy() for v, s in splits.items()}
    ask = dataclasses.replace(ASK, method="erm")
    np.testing.assert_array_equal(
        live.answers(ask)["wrong"], found["decoy"] != splits["decoy"].labels
    )
    np.testing.assert_array_equal(live.flipped(ask), found["decoy"] != found["swapped"])


@pytest.mark.parametrize("target", range(3))
def test_live_explains_any_class_layer_and_score(live, target):
    for layer, kind in itertools.product(live.layers, live.scores):
        for score in live.scores[kind]:
            ask = Ask("xbl_d", 1, "val_swapped", kind, score, target, layer)
            look, picture = live.look(ask, 0), live.picture(ask, 0)
            assert look.target == target and look.cam.shape == picture.distance.shape
            assert np.array_equal(live.look(ask, 0).cam, look.cam), "random signs are drawn alike"
    assert len(live.layers) > 1 and live.layers[0] == "features"


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("score", "projection", "explainer must be one of the gallery's"),
        ("target", 1, "explainer must be one of the gallery's"),
        ("method", "rrr", "method must be one of the gallery's (erm, oracle, xbl_d), got 'rrr'"),
        ("seed", 7, "seed must be one of the gallery's (0, 1), got 7"),
        ("layer", "head", "layer must be one of the gallery's (features), got 'head'"),
    ],
)
def test_the_gallery_says_what_it_has_not(committed, field, value, told):
    with pytest.raises(ValueError) as caught:
        committed.look(
            dataclasses.replace(ASK, **{field: value}), committed.numbers("test_decoy")[0]
        )
    assert told in str(caught.value)


def test_an_image_that_is_not_at_hand(committed, live):
    for source in (committed, live):
        with pytest.raises(ValueError, match=r"image must be one of those at hand \(.*, got 999"):
            source.look(ASK, 999)


def test_networks_of_another_model_are_refused(made, tmp_path):
    for name in ("data", "build"):
        (tmp_path / name).symlink_to(made / name)
    (tmp_path / "dvc.yaml").touch()
    text = (made / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(text.replace("small_cnn", "three_conv_cnn"), "utf-8")
    with pytest.raises(ValueError, match="must be of the model 'three_conv_cnn' that params.yaml"):
        Live(TASK, root=tmp_path)


def test_a_gallery_needs_every_method_of_the_grid(made, tmp_path):
    from xblcore.explorer import making

    for name in ("data", "params.yaml"):
        (tmp_path / name).symlink_to(made / name)
    (tmp_path / "dvc.yaml").touch()
    runs = tmp_path / "build" / "runs" / TASK
    runs.mkdir(parents=True)
    (runs / "erm").symlink_to(made / "build" / "runs" / TASK / "erm")
    with pytest.raises(FileNotFoundError, match=f"no networks of oracle on {TASK}; run: dvc repro"):
        making.make(TASK, root=tmp_path)


def test_what_is_missing_for_computing_live_is_told_in_turn(bare, made, monkeypatch):
    assert "no networks were trained here; run: make reproduce" in sources.why_not_live(
        TASK, root=bare
    )
    (bare / "build").symlink_to(made / "build")
    assert f"run: dvc repro decoy@{TASK}" in sources.why_not_live(TASK, root=bare)
    (bare / "data").symlink_to(made / "data")
    assert sources.why_not_live(TASK, root=bare) == ""
    assert sources.origins(TASK, root=bare) == ["live"]
    assert sources.origins(TASK, root=made) == ["committed", "live"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "PyTorch is not installed" in sources.why_not_live(TASK, root=made)


def test_explainers_are_those_of_the_study(live):
    """The CAM by kind and score is the one that the tables call by that name."""
    images = torch.from_numpy(live.shelf("test_decoy").render("decoy").images[:4])
    for (kind, score), name in EXPLAINERS.items():
        expected = explainers.get(name).attribute(live._model("erm", 0), images, "features")
        looks = live.looks(Ask("erm", 0, "test_decoy", kind, score, None, "features"), range(4))
        np.testing.assert_allclose([look.cam for look in looks], expected, rtol=1e-5, atol=1e-7)
    assert list(EXPLAINERS.values()) == [explainer.name for explainer in explainers.CAMS]
    assert set(live.look(ASK, 0).metrics) == set(informativeness.METRICS) - {"decoy_flip_rate"}
    assert set(live.look(ASK, 0).metrics) <= set(metrics.METRICS)


def test_the_gallery_shows_as_many_of_each_class_as_it_can():
    labels = [2, 2, 2, 2, 0, 1, 1, 2]
    assert even(labels, 5) == [0, 1, 4, 5, 6]
    assert even(labels, 99) == list(range(8))


def test_every_split_that_is_offered_can_be_loaded(live, made):
    assert set(live.splits) <= set(VIEWS)
    for split in live.splits:
        drawn = datasets.load(TASK, split=split, root=made / "data" / "decoy")
        assert list(live.numbers(split)) == list(range(len(drawn.labels))), split
