"""The workshop's figures, and the bar of a training: what their captions say is what is shown."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from matplotlib.colors import same_color
from torch import nn

from xblcore.evaluate import Marked
from xblcore.plots.style import BLACK, VERMILLION
from xblcore.workshop import course, figures
from xblcore.workshop.task import Data, Settings

PULLOVER = course.CLASSES.index("Pullover")
COAT = course.CLASSES.index("Coat")
COUNT = 8


@pytest.fixture
def data() -> Data:
    """A few black images, all of them a pullover."""
    images = torch.zeros(COUNT, 1, 28, 28)
    cells = torch.zeros(COUNT, 14, 14)
    labels = torch.full((COUNT,), PULLOVER)
    split = Marked(images, labels, cells > 0, cells > 0, cells)
    splits = dict.fromkeys(("train", "train_clean", "test_clean"), split)
    settings = dataclasses.replace(Settings(), epochs=2)
    return Data(splits, dict.fromkeys(splits, images[:, 0] > 0), settings)


class Always(nn.Module):
    """A network that answers one class, whatever it is shown."""

    def __init__(self, answer: int) -> None:
        super().__init__()
        self.logits = nn.functional.one_hot(torch.tensor(answer), len(course.CLASSES)).float()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(images), -1)


@pytest.mark.parametrize("answer", [PULLOVER, COAT], ids=["right", "wrong"])
def test_bold_is_the_decoy_s_class_and_orange_with_a_cross_is_wrong(data, answer):
    fig = figures.each_decoy(Always(answer), data)
    labels = [ax.xaxis.label for ax in fig.axes]
    bold = [text.get_text() for text in labels if text.get_weight() == "bold"]
    cross = "" if answer == PULLOVER else "✗ "
    assert bold == [f"decoy: {course.CLASSES[answer]}\n{cross}{course.CLASSES[answer]}"]
    colour = BLACK if answer == PULLOVER else VERMILLION
    assert all(same_color(text.get_color(), colour) for text in labels)
    assert all(("✗" in text.get_text()) is (answer != PULLOVER) for text in labels)


@pytest.mark.parametrize(("method", "shown"), [("erm", "ERM: 100%"), ("rrr_g", "RRR-G: 100%")])
def test_the_bar_of_a_training_has_the_name_of_the_figures_and_runs_to_its_end(
    data, capsys, method, shown
):
    trained = course.train(data, method, progress=True)
    assert len(trained.logs) == 2
    bar = capsys.readouterr().out
    assert shown in bar and "2/2" in bar


def test_a_method_of_one_s_own_has_a_bar_as_well_and_none_where_none_is_wanted(data, capsys):
    mine = course.own_method("mine", lambda step: step.logits.square().mean(), weight=1)
    course.train(data, mine)
    assert "mine: 100%" in capsys.readouterr().out
    course.train(data, mine, progress=False)
    assert capsys.readouterr().out == ""
