"""Figures of images, and the look that all figures share."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.markers import MarkerStyle

from tests.plots import layout
from xblcore.decoys import Decoy
from xblcore.methods import METHODS
from xblcore.plots import experiments, images, style

PICTURES = np.full((2, 1, 4, 4), 0.5)
DECOY = np.zeros((2, 4, 4), bool)
DECOY[:, 2:, 2:] = True


def test_an_outline_is_the_border_of_the_mask() -> None:
    ax = plt.figure().subplots()
    images.outline(images.show(ax, PICTURES[0]), DECOY[0], colour=images.DECOY)
    (line,) = ax.lines
    x, y = line.get_data()
    assert (x.min(), x.max(), y.min(), y.max()) == pytest.approx((0.5, 1.0, 0.5, 1.0))
    area = abs(np.sum(x[1:] * y[:-1] - x[:-1] * y[1:])) / 2  # shoelace formula
    assert area == pytest.approx(0.25, abs=0.002)


def gallery(cams: dict[str, np.ndarray]) -> plt.Figure:
    return images.cam_gallery(
        plt.figure(), PICTURES, cams, decoy_mask=DECOY, labels=[0, 1], classes=["train", "zebra"],
        predictions=dict.fromkeys(cams, [0, 0]), accuracies=dict.fromkeys(cams, 0.125),
        explainer="hires_cam", task="decoy_coco", data="stand-in",
    )  # fmt: skip


def test_the_gallery_shows_accuracies_and_wrong_predictions() -> None:
    cams = {"erm": DECOY.astype(float), "rrr": 1.0 - DECOY, "rrr_g": np.zeros((2, 4, 4))}
    fig = gallery(cams)
    assert [ax.get_title() for ax in fig.axes[1:3]] == [
        "ERM\nclean acc. 0.12", "RRR\nclean acc. 0.12"
    ]  # fmt: skip
    assert [ax.get_xlabel() for ax in fig.axes[4:6]] == ["zebra", "✗ train"]
    title = layout.title(fig)
    assert "on the decoy: 1.00 for ERM, 0.00 for RRR (1 left out: an all-zero map)" in title
    alone = gallery({"rrr_g": cams["rrr_g"]})
    assert "on the decoy: undefined (1 left out: an all-zero map)" in layout.title(alone)


@pytest.mark.parametrize(("wrong", "text"), [
    (DECOY, "on the region marked as wrong: 0.25 before, 0.00 after"),
    (np.zeros_like(DECOY), "on the object: 0.75 before, 1.00 after"),
])  # fmt: skip
def test_refinement_is_judged_by_the_marked_region(wrong: np.ndarray, text: str) -> None:
    fig = images.before_after(
        plt.figure(), PICTURES, np.ones((2, 2, 2)), np.array([[[1.0, 1], [1, 0]]] * 2),
        object_mask=~DECOY, decoy_mask=wrong, truth=["a", "b"], predictions=(["b", "b"], ["a"] * 2),
    )  # fmt: skip
    assert text in layout.title(fig)
    shown = [ax.get_xlabel() for ax in fig.axes if ax.axison]
    assert shown == ["a", "b", "✗ b", "b", "a", "✗ a"]


def test_methods_have_different_looks() -> None:
    looks = [style.look(name) for name in METHODS]
    assert len({(look.colour, look.marker) for look in looks}) == len(looks)
    for look in looks:
        MarkerStyle(look.marker)
        assert look.colour in style.COLOURS.values()


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    matplotlib.rcParams["savefig.dpi"] = 42
    files = []
    for folder in "ab":
        fig, ax = plt.subplots()
        ax.plot([0, 1], [0, 1])
        files.append(style.save(fig, tmp_path / folder, "figure"))
    assert files[0].read_bytes() == files[1].read_bytes()
    assert b"matplotlib" not in files[0].read_bytes()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["figure.png"]
    assert matplotlib.rcParams["savefig.dpi"] == 42


@pytest.mark.parametrize(("value", "text"), [
    (Decoy(size=8, predictive=0.9), "8x8, predictive 0.9"), (Decoy(), "default"), (0.3, "0.3"),
    (Decoy(place="object"), "touching the object"), (Decoy(place="top_left"), "top left"),
    (Decoy(size=5, place="object", gap=-3), "5x5, 3 pixels into the object"),
    (float("nan"), "default"), ("log_prob", "log prob"),
])  # fmt: skip
def test_values_of_conditions_have_names(value: object, text: str) -> None:
    assert experiments.value_label(value, "decoy") == text
