"""Figures made of pictures, and those of training: what is drawn where."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.collections import LineCollection

from xblcore.plots import images, training

CLASSES = ("top", "bag", "boot")
RNG = np.random.default_rng(0)
IMAGES = RNG.random((3, 1, 8, 8))
OBJECT = np.zeros((3, 4, 4), bool)
OBJECT[:, 1:3, 1:3] = True
DECOY = np.zeros((3, 4, 4), bool)
DECOY[:, :1, :1] = True
DISTANCE = np.where(OBJECT, 0.0, 0.2)
WHERE = {"task": "decoy_fashion_mnist", "data": "stand-in"}


def title(fig) -> str:
    return fig.get_suptitle()


def test_an_outline_runs_along_the_cells_and_nowhere_else():
    _, ax = plt.subplots()
    images.outline(ax, np.array([[True, False], [False, False]]), colour="red")
    casing, lines = ax.collections
    assert isinstance(lines, LineCollection)
    found = {tuple(sorted(map(tuple, segment))) for segment in lines.get_segments()}
    assert found == {
        ((0, 0), (0.5, 0)),
        ((0, 0.5), (0.5, 0.5)),
        ((0, 0), (0, 0.5)),
        ((0.5, 0), (0.5, 0.5)),
    }
    assert casing.get_linewidth() > lines.get_linewidth(), "seen on dark and on light"


@pytest.mark.parametrize("mask", [np.zeros((2, 2), bool), np.ones((1, 5), bool)])
def test_an_empty_and_a_full_mask_have_an_outline(mask):
    _, ax = plt.subplots()
    images.outline(ax, mask, colour="red")
    assert len(ax.collections[1].get_segments()) == (0 if not mask.any() else 12)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_keeps_its_values_and_channels(channels):
    _, ax = plt.subplots()
    image = RNG.random((channels, 5, 6))
    images.show(ax, image)
    drawn = np.asarray(ax.images[0].get_array())
    np.testing.assert_array_equal(drawn, image[0] if channels == 1 else image.transpose(1, 2, 0))


@pytest.mark.parametrize(("cam", "peak"), [(np.eye(2) * 7, 1.0), (np.zeros((2, 2)), 0.0)])
def test_a_cam_is_scaled_to_its_own_maximum_and_a_dead_one_says_so(cam, peak):
    _, ax = plt.subplots()
    images.show_cam(ax, cam)
    assert ax.images[0].get_array().max() == peak
    assert [text.get_text() for text in ax.texts] == ([] if peak else ["dead"])


def test_the_data_figure_has_three_rows_and_its_key():
    fig = images.examples(plt.figure(figsize=(6, 4)), IMAGES, OBJECT, DECOY, DISTANCE,
                          labels=[0, 1, 2], classes=CLASSES, **WHERE)  # fmt: skip
    assert len([ax for ax in fig.axes if ax.images]) == 3 * 3
    assert [ax.get_title() for ax in fig.axes[:3]] == list(CLASSES)
    assert "stand-in" in title(fig)
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["object", "decoy"]
    outlined = [len(ax.collections) // 2 for ax in fig.axes[:9]]
    assert outlined == [0, 0, 0, 2, 2, 2, 1, 1, 1]


def gallery(**options):
    cams = {name: RNG.random((3, 4, 4)) for name in ("erm", "xbl_d", "xbl_d_released")}
    return images.cam_gallery(plt.figure(figsize=(6, 4)), IMAGES, DISTANCE, cams, decoy_mask=DECOY,
                              explainer="hires_cam", labels=[0, 1, 2], classes=CLASSES, **WHERE,
                              **options)  # fmt: skip


def test_the_gallery_has_a_column_for_each_method_and_marks_wrong_predictions():
    predictions = {"erm": [2, 1, 2], "xbl_d": [0, 1, 2], "xbl_d_released": [0, 1, 0]}
    fig = gallery(predictions=predictions)
    grid = np.array(fig.axes).reshape(3, 5)
    heads = [ax.get_title() for ax in grid[0]]
    assert heads == ["image", "distance", "ERM", "XBL-D", "XBL-D\n(released)"]
    below = [[ax.get_xlabel() for ax in row[2:]] for row in grid]
    assert below == [["✗ boot", "top", "top"], ["bag"] * 3, ["boot", "boot", "✗ top"]]
    assert "HiResCAM" in title(fig) and "stand-in" in title(fig)
    assert all(len(ax.collections) == 2 for ax in grid.flat), "the decoy's outline everywhere"


def test_the_gallery_goes_without_predictions_and_fits_its_height_to_square_pictures():
    fig = gallery()
    assert not any(ax.get_xlabel() for ax in fig.axes[2:5])
    width, height = fig.get_size_inches()
    assert height == pytest.approx(3 * (width / 5 + 0.16) + 0.7)


def history() -> pd.DataFrame:
    rows = [
        (weight, weight == 3.0, seed, epoch, 1 / epoch, 0.1 / epoch, 0.5 + epoch / 10)
        for weight in (1.0, 3.0, 10.0)
        for seed in range(3 if weight == 3.0 else 1)
        for epoch in range(1, 5)
    ]
    columns = ["weight", "chosen", "seed", "epoch", *training.CURVES]
    return pd.DataFrame(rows, columns=columns)


def test_learning_curves_show_every_weight_and_each_seed_of_the_chosen_one():
    fig = training.learning_curves(plt.figure(), history(), method="xbl_d", **WHERE)
    assert [len(ax.lines) for ax in fig.axes] == [2 + 3 + 1] * 3
    texts = [text.get_text() for text in fig.legends[0].get_texts()]
    assert texts == ["1", "10", "3 (chosen; thin: each seed)"]
    np.testing.assert_allclose(fig.axes[0].lines[-1].get_ydata(), [1, 1 / 2, 1 / 3, 1 / 4])
    assert "XBL-D" in title(fig) and "stand-in" in title(fig)


def test_a_method_with_one_weight_has_a_learning_curve_too():
    one = history().query("chosen")
    fig = training.learning_curves(plt.figure(), one, method="erm", **WHERE)
    assert [len(ax.lines) for ax in fig.axes] == [4] * 3


@pytest.mark.parametrize(("epochs", "shown"), [(1, [1]), (3, [1, 2, 3]), (20, None)])
def test_cams_over_training_show_the_first_and_the_last_epoch(epochs, shown):
    cams = RNG.random((epochs, 3, 4, 4))
    fig = training.cams_over_training(plt.figure(figsize=(6, 6)), IMAGES, cams, decoy_mask=DECOY,
                                      method="rrr", explainer="hires_cam", **WHERE)  # fmt: skip
    columns = min(epochs, training.AT_MOST)
    heads = [ax.get_title() for ax in fig.axes[: 1 + columns]]
    assert heads[0] == "image" and heads[-1] == f"epoch {epochs}" and heads[1] == "epoch 1"
    assert shown is None or heads[1:] == [f"epoch {epoch}" for epoch in shown]
    last = np.asarray(fig.axes[columns].images[0].get_array())
    np.testing.assert_allclose(last, cams[-1, 0] / cams[-1, 0].max())


@pytest.mark.parametrize("ticks", [None, ["conv", "head", "bias"]])
def test_a_gradient_of_zero_is_seen_as_exactly_zero(ticks):
    norms = {
        "xbl_d_released": {"cross_entropy": [1.0, 2.0, 3.0], "explanation": [0.0, 0.0, 0.0]},
        "xbl_d": {"cross_entropy": [1.0, 2.0, 3.0], "explanation": [0.02, 0.1, 0.3]},
    }
    fig = training.gradient_norms(plt.figure(), norms, ticks=ticks, **WHERE)
    released, ours = fig.axes
    assert [text.get_text() for text in released.texts] == ["exactly 0"]
    assert not ours.texts
    assert released.get_yscale() == "symlog" and released.get_ylim() == ours.get_ylim()
    low, high = released.get_ylim()
    assert low < 0 < 3 < high
    np.testing.assert_array_equal(released.lines[1].get_ydata(), 0)
    if ticks:
        assert [label.get_text() for label in ours.get_xticklabels()] == ticks
    assert "stand-in" in title(fig)


def test_gradients_that_are_all_zero_can_be_drawn():
    norms = {"erm": {"cross_entropy": np.zeros(3), "explanation": np.zeros(3)}}
    training.gradient_norms(plt.figure(), norms, **WHERE).draw_without_rendering()
