"""Training and figures on made-up images; the notebooks run them on Fashion-MNIST."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from course import check, distances, figures, gaming, measuring, task
from matplotlib.colors import same_color
from torch import nn

from xblcore.distance import widen
from xblcore.examples import Examples


class Always(nn.Module):
    """A network with one answer."""

    def __init__(self, answer: int) -> None:
        super().__init__()
        self.logits = nn.functional.one_hot(torch.tensor(answer), 10).float()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(images), -1)


def test_the_cells_of_the_decoy_and_those_that_see_it(examples):
    assert task.cells(examples).decoy_mask[0].sum() == 4
    assert task.cells(examples, margin=task.MARGIN).decoy_mask[0].sum() == 16
    assert task.patch_greys(examples).tolist() == [200] * len(examples)


def test_a_network_for_photographs(examples):
    count = len(examples)
    photos = Examples(
        torch.zeros(count, 3, 32, 32), examples.labels, *torch.zeros(2, count, 32, 32).bool()
    )
    photos.decoy_mask[:, :4, :4] = True
    model = task.train(
        photos, "xbl_d_plus", network="three_conv_cnn", margin=5, epochs=1, progress=False
    )
    assert model.features(photos.images).shape[2:] == task.grid(photos.images) == (16, 16)
    assert task.names(photos)[:2] == ["airplane", "automobile"]
    assert task.names(examples)[:2] == ["T-shirt/top", "Trouser"]


@pytest.mark.parametrize("missing", [task.GARMENTS, "anywidget"])
def test_the_check_of_the_day_before(missing, monkeypatch):
    def version(name):
        if name == missing:
            raise check.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(check, "version", version)
    monkeypatch.setattr(task, "is_here", lambda name: name != missing)
    found = check.verdict()
    assert found.startswith("Not ready") and missing in found


def test_each_decoy_is_in_the_corner():
    image = torch.zeros(1, 28, 28, dtype=torch.uint8)
    variants = task.with_each_decoy(image, corner=task.CORNERS.index("bottom left"))
    assert variants[:, 0, 24:, :4].amin((1, 2)).tolist() == [255 - 25 * k for k in range(10)]
    assert variants.sum() == variants[:, :, 24:, :4].sum()


def test_own_loss_trains_as_that_of_the_library(examples):
    own = task.own_method("own", distances.as_penalty(distances.xbl_d_plus.solution), weight=5)
    # The signs of both losses come from the same generator.
    networks = [
        task.train(examples, method, epochs=2, progress=False) for method in (own, "xbl_d_plus")
    ]
    for first, second in zip(*(network.parameters() for network in networks), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def test_scores_and_recovery(examples):
    clean = replace(examples, labels=torch.tensor([3] * 10 + [4] * 30))
    splits = ("val", "test_decoy", "test_decoy_swapped", "test_clean")
    scores = task.scores(Always(3), dict.fromkeys(splits, clean))
    assert scores == task.Scores(with_decoy=0.25, clean=0.25, flip_rate=0)
    better = replace(scores, clean=0.5)
    assert task.recovery(better, scores, replace(scores, clean=0.75)) == 0.5


@pytest.mark.parametrize(("gap", "touches"), [(0, True), (20, False)])
def test_half_size_garments_with_a_decoy(examples, gap, touches):
    clean = replace(examples, decoy_mask=examples.decoy_mask & False)
    scene, swapped = measuring.half_size(clean, gap=gap, predictive=True)
    assert task.read_patches(scene)[:10].tolist() == list(range(10))
    assert (task.patch_greys(scene) != task.patch_greys(swapped)).all()
    around = torch.from_numpy(widen(scene.decoy_mask.numpy(), 1))
    assert ((around & scene.object_mask).flatten(1).any(1) == touches).all()


class Corner(nn.Module):
    """Answers by the brightness of the upper left cell."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.AvgPool2d(2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        corner = self.features(images)[:, 0, 0, 0]
        return torch.stack([corner, 0.5 - corner], 1)


@pytest.mark.parametrize("explainer", ["hires_cam", "input_x_gradient"])
def test_wrong_reason_of_a_network_that_uses_one_of_the_decoys_four_cells(examples, explainer):
    assert gaming.mean_wrong(Corner(), examples, explainer) == pytest.approx(0.25)


@pytest.mark.parametrize("answer", [2, 4])
def test_bold_is_the_class_of_the_decoy_and_orange_is_wrong(answer):
    fig = figures.each_decoy(Always(answer), torch.zeros(1, 28, 28, dtype=torch.uint8), 2)
    labels = [ax.xaxis.label for ax in fig.axes]
    assert [text.get_weight() == "bold" for text in labels] == [k == answer for k in range(10)]
    wrong = [not same_color(text.get_color(), "black") for text in labels]
    assert wrong == ["✗" in text.get_text() for text in labels] == [answer != 2] * 10


def test_bars_show_every_value():
    values = {"energy": {"erm": 0.25, "mine": math.nan}, "IoU": {"erm": -0.1, "mine": 1.0}}
    fig = figures.bars(values, guesses={"IoU": {"mine": 0.5}})
    texts = [text.get_text() for ax in fig.axes for text in ax.texts]
    assert texts == ["0.25", "undefined", "−0.10", "1.00"]
    assert fig.axes[1].get_xlim()[0] == -0.1
    (guess,) = fig.axes[1].lines
    assert list(guess.get_xdata()) == [0.5, 0.5]
    assert np.mean(guess.get_ydata()) == 1  # across the bar of "mine"
    assert guess.get_label() == "guess for mine"
