"""What the charts show: the numbers of the tables, intervals, arrows, and findings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle

from tests.plots import layout
from tests.plots.synthetic import accuracies, make_weights
from tests.study.synthetic import make_runs
from xblcore.decoys import Decoy
from xblcore.plots import charts, experiments
from xblcore.plots.style import BLUE, Look
from xblcore.study import claims, tables
from xblcore.study.config import Condition

NAN = float("nan")
FEW = accuracies(["erm", "oracle", "xbl_d_plus", "rrr", "rrr_g"])


@pytest.mark.parametrize(
    ("numbers", "arrows", "word"),
    [
        ((0.5, 0.2, 0.8), 0, None),
        ((0.5, -3.0, 0.8), 1, None),
        ((0.5, -3.0, 3.0), 2, None),
        ((-2.0, -3.0, -1.0), 1, "−2.00"),
        ((2.0, 0.5, 3.5), 1, "2.00"),
        ((0.5, NAN, NAN), 0, None),  # a single seed has no interval
        ((NAN, NAN, NAN), 0, "undefined"),
    ],
)
def test_what_exceeds_the_axis_is_an_arrow(
    numbers: tuple[float, ...], arrows: int, word: str | None
) -> None:
    ax = plt.figure().subplots()
    ax.set_xlim(0, 1)
    row = dict(zip(("mean", "ci_low", "ci_high"), numbers, strict=True))
    charts.interval(ax, row, 0.0, Look("", BLUE))
    assert layout.arrows(ax) == arrows
    assert [text.get_text() for text in ax.texts] == ([word] if word else [])
    ends = [list(line.get_xdata()) for line in ax.lines if line.get_marker() == "|"]
    mean, low, high = numbers
    assert ends == ([] if np.isnan(mean) else [[mean, mean]] if np.isnan(low) else [[low, high]])


def test_the_summary_shows_means_and_seeds_within_the_axis() -> None:
    runs = make_runs(FEW)
    far = (runs["method"] == "rrr") & (runs["split"] == "test_clean") & (runs["seed"] == 0)
    runs.loc[far, "value"] = 5.0  # recovery far above 1.6
    table = tables.summarise(runs)
    table.loc[table["method"] == "rrr_g", "nan_share"] = 0.25
    fig = charts.summary(plt.figure(), runs, table)
    ax = fig.axes[0]
    means = tables.select(table, "recovery", split="test_clean").set_index("method")["mean"]
    shown = [line.get_xdata()[0] for line in ax.lines if line.get_marker() in ("o", "v")
             and line.get_markersize() > 5]  # fmt: skip
    assert shown == pytest.approx([means["xbl_d_plus"], means["rrr_g"]])
    assert layout.arrows(ax) >= 2  # of the interval and of the seed
    assert "continues beyond the axis" in layout.legend_labels(fig)
    assert any(text.get_text().endswith("25% NaN") for text in ax.texts)
    title = layout.title(fig)
    assert f"{means['rrr']:.2f} for RRR, {means['rrr_g']:.2f} for RRR-G" in title


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 1.0, 1.01, 0.12], "1.01 for XBL-D+, 0.12 for RRR-G"),
        ([0.0, 1.0, 0.5, NAN], "0.50 for XBL-D+"),
        ([0.0, 1.0, NAN, NAN], "undefined"),
    ],
)  # fmt: skip
def test_findings_leave_out_the_bounds(values: list[float], expected: str) -> None:
    methods = ["erm", "oracle", "xbl_d_plus", "rrr_g"]
    recovery = pd.DataFrame({"task": "decoy_coco", "method": methods, "mean": values})
    assert charts._finding(recovery) == f"Recovery of the accuracy lost to the decoy: {expected}"
    other = recovery.assign(task="decoy_cifar10", mean=[0.0, 1.0, 0.25, 0.75])
    both = charts._finding(pd.concat([other, recovery], ignore_index=True))
    assert both.startswith("Highest recovery: RRR-G 0.75 (Decoy CIFAR-10)")
    assert ("XBL-D+" in both) == ("XBL-D+" in expected)


def test_the_chosen_weight_is_marked_and_methods_at_chance_are_named() -> None:
    weights = make_weights(("xbl_d_plus", "rrr_g", "erm"))
    fig = charts.weight_selection(plt.figure(), weights, data="original")
    assert [ax.get_title() for ax in fig.axes] == ["XBL-D+", "RRR-G"]  # ERM has one weight
    for ax in fig.axes:
        ring = next(line for line in ax.lines if line.get_markersize() == 11)
        assert list(ring.get_xdata()) == [10.0]
    assert "RRR-G" in layout.title(fig) and "XBL-D+" not in layout.title(fig)
    alone = charts.weight_selection(plt.figure(), make_weights(("erm",)), data="tiny")
    assert "tiny data" in alone.get_suptitle()


def test_the_explainer_that_overstates_most_is_named_and_trained_on_cells_are_outlined() -> None:
    columns = ["grad_cam", "hires_cam", "occlusion", "decoy_flip_rate"]
    values = [[0.0] * 4, [0.87, 0.2, NAN, 0.18], [0.9, 0.9, 0.9, 1.0]]
    shares = pd.DataFrame(values, ["erm", "xbl_d", "xbl_d_plus"], columns)
    fig = charts.explainers(plt.figure(), shares, task="decoy_coco", data="tiny")
    assert layout.title(fig).startswith(
        "Grad-CAM reports 0.87 of ERM's reliance on the decoy as gone for XBL-D; by the flips it "
        "is 0.18"
    )  # fmt: skip
    boxes = [patch for patch in fig.axes[0].patches if isinstance(patch, Rectangle)]
    outlined = {patch.xy for patch in boxes if not patch.get_fill()}
    assert outlined == {(0.06, 1.1), (1.06, 2.1)}  # Grad-CAM of XBL-D, HiResCAM of XBL-D+
    assert "undefined" in layout.legend_labels(fig)


def test_every_metric_is_better_to_the_right() -> None:
    points = claims.run_table(make_runs(FEW))
    fig = charts.metrics_against_accuracy(
        plt.figure(), points, explainer="grad_cam", data="original"
    )
    axes = {ax.get_title().partition("\n")[0]: ax for ax in fig.axes if ax.axison}
    assert axes["Decoy flip rate"].xaxis.get_inverted()
    assert not axes["IoU"].xaxis.get_inverted()
    shown = np.concatenate(
        [dots.get_offsets()[:, 0] for dots in axes["Decoy flip rate"].collections]
    )
    np.testing.assert_allclose(sorted(shown), sorted(-points["decoy_flip_rate"]))


def conditions(by: str, *values: Any) -> pd.DataFrame:
    changed = [Condition(**{by: value}) for value in values]
    runs = make_runs(FEW, conditions=[Condition(), *changed])
    return tables.summarise(runs, by=(by,))


def test_conditions_are_in_order_and_bounds_are_lines() -> None:
    fig = experiments.by_condition(plt.figure(), conditions("annotated", 100, 25), by="annotated")
    assert layout.legend_labels(fig)[:5] == ["25", "100", "all", "ERM", "Oracle"]
    rows = [text.get_text() for text in fig.axes[0].get_yticklabels()]
    assert rows == ["XBL-D+", "RRR", "RRR-G"]


def test_erm_is_a_row_if_it_depends_on_the_condition() -> None:
    decoy = Decoy(predictive=0.9)
    table = conditions("decoy", decoy)
    other = table[table["method"].isin(["erm", "oracle"])].assign(decoy=decoy)
    fig = experiments.by_condition(plt.figure(), pd.concat([table, other]), by="decoy")
    assert [text.get_text() for text in fig.axes[0].get_yticklabels()][:2] == ["ERM", "Oracle"]
    assert "ERM" not in layout.legend_labels(fig)


def test_the_finding_is_the_worst_case_over_the_conditions() -> None:
    table = conditions("feedback", "random")
    recovery = table["metric"] == "recovery"
    values = {("xbl_d_plus", "correct"): 1.0, ("xbl_d_plus", "random"): 0.8,
              ("rrr", "correct"): 0.9, ("rrr", "random"): -0.3}  # fmt: skip
    for (method, kind), value in values.items():
        rows = recovery & (table["method"] == method) & (table["feedback"] == kind)
        table.loc[rows, "mean"] = value
    table = table[table["method"] != "rrr_g"]
    fig = experiments.by_condition(plt.figure(), table, by="feedback")
    title = layout.title(fig)
    assert "Worst recovery over the quality of the annotations: XBL-D+ 0.80 (random)" in title
    assert "RRR −0.30 (random)" in title
