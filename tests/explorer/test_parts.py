"""Filters, pictures, tables and dots: pure functions with values computable on paper."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import toy_task
from contrast import contrast

from xblcore.explorer import figure, filters, scatter, tables
from xblcore.explorer.dots import RunKey, Runs
from xblcore.explorer.figure import Side
from xblcore.explorer.views import Answer, Look, Picture
from xblcore.plots import style

CLASSES = ("bag", "<boot>")
TABLE = pd.DataFrame(
    {"label": [0, 1, 0], "predicted": [1, 1, 0], "wrong": [True, False, False],
     "flipped": [True, True, False]},
    index=[3, 5, 8],
)  # fmt: skip
IOU = pd.Series([np.nan, 0.5, 0.2], index=[3, 5, 8])


@pytest.mark.parametrize(
    ("show", "order", "found"),
    [
        ("all", "", [3, 5, 8]),
        ("wrong", "", [3]),
        ("flipped", "", [3, 5]),
        ("all", "iou", [8, 5, 3]),
        ("all", "wrong_reason", [5, 8, 3]),
        ("flipped", "iou", [5, 3]),
    ],
)
def test_a_filter_keeps_and_the_worst_comes_first_undefined_last(show, order, found):
    assert filters.chosen(TABLE, show=show, worst_by=order, values=IOU) == found


def test_filters_that_there_are_not():
    with pytest.raises(ValueError, match="show must be one of all, wrong, flipped, got 'odd'"):
        filters.chosen(TABLE, show="odd")
    with pytest.raises(ValueError, match="worst_by must be a metric that has values, got 'odd'"):
        filters.chosen(TABLE, show="all", worst_by="odd", values=IOU)


def test_images_are_listed_with_class_and_wrong_answer():
    names = [name for name, _ in filters.named([5, 3], TABLE, CLASSES)]
    assert names == ["1 of 2: no. 5, <boot>", "2 of 2: no. 3, bag, taken for <boot>"]
    assert ("lowest IoU first", "iou") in filters.orders()
    assert ("highest Wrong reason first", "wrong_reason") in filters.orders()


def side(name: str, cam: np.ndarray, **metrics: float) -> Side:
    answers = {"decoy": Answer(1, 0.9), "swapped": Answer(0, 0.6), "clean": Answer(0, 0.7)}
    return Side(name, Look(cam, 1, answers, metrics), "✗ <boot> 90%")


def picture(*, decoy: bool = True) -> Picture:
    mask = np.zeros((4, 4), bool)
    mask[0, 0] = True
    return Picture(np.zeros((1, 4, 4), np.float32), 0, ~mask, mask & decoy, np.eye(2, dtype="f4"))


def test_the_row_has_five_pictures_each_with_a_text_for_those_who_do_not_see_it():
    sides = [side("one", np.eye(2)), side("two", np.zeros((2, 2)))]
    made = figure.row(picture(), sides, classes=CLASSES, by="Grad-CAM, logit")
    labels = re.findall(r'role="img" aria-label="([^"]*)"', made)
    assert len(labels) == 5
    assert labels[3] == "one. ✗ &lt;boot&gt; 90%. Grad-CAM, logit of &lt;boot&gt;"
    assert "dead: no positive value" in labels[4]
    assert "<boot>" not in made, "class names are escaped"
    assert " decoy" in made and " decoy" not in figure.row(
        picture(decoy=False), sides, classes=CLASSES, by=""
    )


def test_a_score_of_no_class_names_none():
    sides = [side("one", np.eye(2))]
    made = figure.row(picture(), sides, classes=CLASSES, by="HiResCAM, random", of_class=False)
    assert "HiResCAM, random&nbsp;" in made and "random of" not in made


def test_an_outline_runs_along_the_cells_and_nowhere_else():
    mask = np.zeros((2, 2), bool)
    mask[1, 1] = True
    assert figure.outline(mask) == "M50,50H100M50,100H100M50,50V100M100,50V100"
    assert figure.outline(~mask | mask).count("M") == 8
    assert figure.outline(mask & ~mask) == ""


def test_the_better_of_two_is_bold_by_the_metric_s_direction():
    one = {"iou": 0.5, "wrong_reason": 0.5, "distance_focus": np.nan, "dead_cam": 0}
    two = {"iou": 0.2, "wrong_reason": 0.2, "distance_focus": 0.1, "dead_cam": 0}
    sides = [side("one", np.eye(2), **one), side("two", np.eye(2), **two)]
    rows = dict(re.findall(r'<th scope="row">(.*?)</th>(.*?)</tr>', tables.metrics(sides)))
    assert rows["IoU ↑"] == "<td><strong>0.500</strong></td><td>0.200</td>"
    assert rows["Wrong reason ↓"] == "<td>0.500</td><td><strong>0.200</strong></td>"
    assert rows["Distance focus ↑"] == "<td>undefined</td><td>0.100</td>"
    assert rows["Dead CAM ↓"] == "<td>0.000</td><td>0.000</td>"


def test_answers_with_and_without_the_decoy():
    made = tables.answers([side("one", np.eye(2))], 0, CLASSES)
    cells = re.findall(r"<td>(.*?)</td>", made)
    assert cells == ["✗ &lt;boot&gt; 90%", "✓ bag 60%", "✓ bag 70%", "yes"]


def test_dots_are_where_the_table_puts_them(made):
    runs = Runs(toy_task.TASK, root=made)
    dots = runs.dots("distance_focus", "hires_cam")
    assert len(dots) == 7 and runs.data == "stand-in"
    by_run = {(d.run.method, d.run.weight, d.run.seed): (d.x, d.y, d.run.chosen) for d in dots}
    assert by_run["erm", 0.0, 1] == pytest.approx((0.255, 0.51, True))
    assert by_run["xbl_d", 9.0, 0] == pytest.approx((0.4, 0.8, False))
    assert runs.metrics("hires_cam") == ["distance_focus", "decoy_flip_rate"]
    assert runs.explainers == ["hires_cam", "grad_cam"]
    assert len(runs.dots("wrong_reason", "grad_cam")) == 5, "undefined for both of ERM"
    assert len(runs.dots("decoy_flip_rate", "grad_cam")) == 7
    assert runs.facts(RunKey("xbl_d", 9.0, 0, False), "hires_cam") == pytest.approx(
        {"Accuracy, without a decoy": 0.8, "Accuracy, with a random decoy": 0.2,
         "Decoy flip rate": 0.2, "Distance focus": 0.4}
    )  # fmt: skip


def test_better_is_to_the_right_and_every_dot_has_room(made):
    runs = Runs(toy_task.TASK, root=made)
    for metric, by in (("distance_focus", "hires_cam"), ("decoy_flip_rate", "grad_cam")):
        dots = runs.dots(metric, by)
        plot = scatter.plot_of(dots, metric=metric, explainer=by, title="T", told="")
        left, right = plot["x"]["ends"]
        assert (left < right) == (metric == "distance_focus")
        assert all(min(left, right) < dot["x"] < max(left, right) for dot in plot["dots"])
        for tick in plot["x"]["ticks"]:
            assert float(tick["text"]) == pytest.approx(tick["at"], abs=1e-3)
        assert [m["name"] for m in plot["methods"]] == ["ERM", "Oracle", "XBL-D"]
        assert "reversed" in plot["x"]["label"] or metric == "distance_focus"
    assert plot["dots"][0]["label"].startswith(
        "ERM, weight 0, seed 0: decoy flip rate 0.500, clean"
    )


@pytest.mark.parametrize("method", [*style.METHODS, "my_loss"])
def test_every_method_s_marker_can_be_drawn(method):
    path = scatter.marker_path(style.method(method).marker)
    assert re.fullmatch(r"([MLQC](-?[\d.]+,-?[\d.]+ ?)+|Z| )+", path)
    assert 0.5 < max(abs(float(n)) for n in re.findall(r"-?\d+\.\d+", path)) <= 1


def test_the_front_end_speaks_the_language_of_python():
    script = (Path(scatter.HERE) / "scatter.js").read_text(encoding="utf-8")
    assert set(re.findall(r'model\.[sg]et\("(\w+)"', script)) == {"plot", "chosen"}
    assert re.findall(r"https?://\S+", script) == ['http://www.w3.org/2000/svg";'], "no network"


def test_text_and_focus_can_be_told_from_the_ground():
    """WCAG 2: 4.5 to 1 for text, 3 to 1 for the focus and the rims of controls."""
    script = (Path(scatter.HERE) / "scatter.js").read_text(encoding="utf-8")
    (rim,) = re.findall(r'const RIM = "(#\w{6})"', script)
    assert len(re.findall(r"path\(\S+ RIM, [\d.]+\)", script)) == 2, "of a full and a hollow dot"
    assert contrast(rim) >= 3
    sheet = (Path(scatter.HERE) / "explorer.css").read_text(encoding="utf-8")
    for colour, least in (("#111111", 4.5), ("#333333", 4.5), ("#0072b2", 3),
                          ("#6b6b6b", 3)):  # fmt: skip
        assert colour in sheet and contrast(colour) >= least
