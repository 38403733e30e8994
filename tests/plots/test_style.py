"""The look of figures: names, colours and markers that stay apart, files the same each time."""

from __future__ import annotations

import itertools

import matplotlib
import numpy as np
import pytest
from contrast import contrast
from matplotlib import colors
from matplotlib import pyplot as plt
from matplotlib.markers import MarkerStyle

from xblcore.methods import METHODS
from xblcore.plots import style


def test_every_method_has_a_style_of_its_own():
    assert set(METHODS) <= set(style.METHODS)
    markers = [look.marker for look in style.METHODS.values()]
    assert len(set(markers)) == len(markers), "in greyscale the markers tell methods apart"
    for look in style.METHODS.values():
        MarkerStyle(look.marker)
        assert contrast(look.colour) > 1.9, f"{look.label} is too pale on white"


def test_a_colour_comes_twice_only_when_all_eight_are_taken():
    looks = [style.method(name) for name in METHODS]
    assert len({look.colour for look in looks}) == min(len(looks), 8)


def test_an_own_method_gets_a_lasting_style_and_its_own_name():
    first, again = style.method("my_loss"), style.method("my_loss")
    assert first == again and first.label == "my_loss"
    MarkerStyle(first.marker)


def test_a_misspelt_colour_is_named_with_those_there_are(monkeypatch):
    look = {"label": "Mine", "colour": "blu", "marker": "o"}
    monkeypatch.setattr(style.yaml, "safe_load", lambda _: {"mine": look})
    with pytest.raises(ValueError, match="colour of mine in .*methods.yaml must be .* got 'blu'"):
        style._looks()


@pytest.mark.parametrize(("data", "said"), [("original", False), ("stand-in", True)])
def test_titles_say_when_the_data_are_a_stand_in(data, said):
    text = style.title("Accuracy", task="decoy_cifar10", data=data)
    assert text.startswith("Accuracy: Decoy CIFAR-10")
    assert ("stand-in" in text) is said


def test_panels_share_an_axis_and_leave_the_rest_of_the_grid_empty():
    fig = plt.figure()
    axes = style.panels(fig, 5, columns=3)
    assert len(axes) == 5 and len(fig.axes) == 6
    assert not fig.axes[5].axison
    axes[0].set_ylim(0, 7)
    assert axes[4].get_ylim() == (0, 7)


def test_files_are_written_whole_and_the_same_each_time(tmp_path):
    def draw(folder):
        fig, ax = plt.subplots()
        ax.plot([0, 1], [0, 1], clip_on=True)
        ax.imshow(np.eye(3), extent=(0, 1, 0, 1))
        return style.save(fig, folder, "figure")

    for first, second in zip(draw(tmp_path / "a"), draw(tmp_path / "b"), strict=True):
        assert first.read_bytes() == second.read_bytes()
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["figure.png", "figure.svg"], "nothing half-written is left"
    assert b"<dc:date>" not in (tmp_path / "a" / "figure.svg").read_bytes()


def test_saving_leaves_the_settings_of_others_alone(tmp_path):
    matplotlib.rcParams["savefig.dpi"] = 42
    style.save(plt.figure(), tmp_path, "figure")
    assert matplotlib.rcParams["savefig.dpi"] == 42


def test_colours_differ_for_a_colour_blind_reader():
    """Deuteranopia after Vienot et al. 1999: no two colours of the palette fall together."""
    matrix = np.array([[0.625, 0.375, 0], [0.7, 0.3, 0], [0, 0.3, 0.7]])
    palette = (style.BLACK, style.GREY, style.ORANGE, style.SKY, style.GREEN, style.BLUE,
               style.VERMILLION, style.PURPLE)  # fmt: skip
    seen = [matrix @ np.array(colors.to_rgb(colour)) for colour in palette]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 0.1
