"""Charts of results and of claim C3: every method and run is there, and only they."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from synthetic import TRUTHS, make_runs

from xblcore import informativeness as c3
from xblcore.plots import informativeness, results, style
from xblcore.results import method_table, recoveries


@pytest.fixture(scope="module")
def runs():
    return make_runs(data="stand-in")


@pytest.fixture(scope="module")
def table(runs):
    return method_table(runs)


@pytest.fixture(scope="module")
def told(runs):
    return c3.informativeness(runs, splits=("test_decoy",), n_resamples=50)


def tick_labels(ax) -> list[str]:
    return [text.get_text() for text in ax.get_yticklabels()]


LABELS = [style.label(name) for name in TRUTHS]
FEW = {name: TRUTHS[name] for name in ("erm", "oracle", "xbl_d", "xbl_d_released")}
TASKS = {"decoy_fashion_mnist": "original", "decoy_coco": "stand-in"}


def test_accuracy_shows_each_seed_mean_interval_floor_and_ceiling(runs, table):
    fig = results.accuracies(plt.figure(figsize=(9.5, 4)), runs, table)
    assert "stand-in" in fig.get_suptitle()
    assert tick_labels(fig.axes[0]) == LABELS
    for ax, split in zip(fig.axes, ("test_clean", "test_decoy"), strict=True):
        dots = [collection.get_offsets() for collection in ax.collections]
        assert [len(offsets) for offsets in dots] == [5] * len(TRUTHS)
        rows = results.select(runs[runs["chosen"]], "accuracy", split=split)
        expected = rows.loc[rows["method"] == "xbl_d", "value"]
        np.testing.assert_allclose(dots[LABELS.index("XBL-D")][:, 0], expected)
        texts = [text.get_text() for text in ax.texts]
        assert texts[-2:] == ["floor", "ceiling"]
        assert texts[0] == f"{rows.loc[rows['method'] == 'erm', 'value'].mean():.3f}"


def test_without_an_oracle_there_is_no_ceiling(runs):
    left = runs[runs["method"] != "oracle"]
    fig = results.accuracies(plt.figure(), left, method_table(left))
    texts = [text.get_text() for text in fig.axes[0].texts]
    assert "floor" in texts and "ceiling" not in texts
    assert "Oracle" not in tick_labels(fig.axes[0])


def test_flip_rates_begin_at_zero_and_say_what_they_are(runs, table):
    ax = results.flip_rates(plt.figure().subplots(), runs, table)
    assert tick_labels(ax) == LABELS
    assert -0.05 < ax.get_xlim()[0] <= 0
    assert "stand-in" in ax.get_title() and "lower is better" in ax.get_xlabel()


def test_an_undefined_metric_is_said_not_drawn_as_zero(runs):
    rows = (runs["method"] == "rrr") & (runs["metric"] == "attribution_distance")
    broken = runs.copy()
    broken.loc[rows, ["value", "nan_share"]] = [math.nan, 1.0]
    some = (runs["method"] == "erm") & (runs["metric"] == "attribution_distance")
    broken.loc[some, "nan_share"] = 0.25
    fig = results.explainers_compared(plt.figure(), broken, method_table(broken))
    texts = [text.get_text() for text in fig.axes[0].texts]
    assert texts[LABELS.index("RRR")] == "undefined"
    assert texts[LABELS.index("ERM")].endswith("(25% NaN)")
    fig.draw_without_rendering()


def test_the_sweep_shows_both_views_of_every_method_with_several_weights(runs):
    fig = results.weight_sweep(plt.figure(figsize=(9, 6)), runs)
    axes = [ax for ax in fig.axes if ax.axison]
    swept = [
        style.label(m) for m in TRUTHS if runs.loc[runs["method"] == m, "weight"].nunique() > 1
    ]
    assert [ax.get_title() for ax in axes] == swept
    for ax in axes:
        assert ax.get_xscale() == "log"
        rule, test, chosen = ax.lines
        assert list(rule.get_xdata()) == list(test.get_xdata()) == [1, 3, 10]
        assert set(chosen.get_xdata()) == {3}, "the chosen weight is marked"
    assert "stand-in" in fig.get_suptitle()


def test_the_sweep_compares_weights_on_the_same_seeds(runs):
    """Only seeds 0 and 1 tried every weight; the chosen one's others must not shift its mean."""
    odd = runs.copy()
    odd.loc[odd["seed"] > 1, "value"] = 0.0
    first, second = (results.weight_sweep(plt.figure(), table) for table in (runs, odd))
    for a, b in zip(first.axes[0].lines, second.axes[0].lines, strict=True):
        np.testing.assert_array_equal(a.get_ydata(), b.get_ydata())


def test_a_study_without_a_sweep_says_so(runs):
    fig = results.weight_sweep(plt.figure(), runs[runs["method"] == "erm"])
    assert "No method was run with several weights." in [text.get_text() for text in fig.texts]
    assert not fig.axes and "Weight" in fig.get_suptitle()


NAMES = ["Grad-CAM", "HiResCAM", "HiResCAM (log p)", "Input × gradient", "Integrated gradients",
         "Occlusion"]  # fmt: skip


@pytest.mark.parametrize(("split", "count"), [("test_decoy", 6), ("val", 3)])
def test_explainers_are_compared_on_one_scale(split, count):
    runs = make_runs(FEW, data="stand-in", held_out=True)
    fig = results.explainers_compared(plt.figure(), runs, method_table(runs), split=split)
    assert [ax.get_title() for ax in fig.axes] == NAMES[:count], "those measured on that split"
    assert len({ax.get_xlim() for ax in fig.axes}) == 1
    assert "stand-in" in fig.get_suptitle()


@pytest.fixture(scope="module")
def both():
    """Runs of two tasks with their recoveries, and their table."""
    runs = make_runs(FEW, tasks=tuple(TASKS), data=TASKS)
    return pd.concat([runs, recoveries(runs)], ignore_index=True), method_table(runs)


def test_the_summary_has_a_column_a_task_and_a_row_a_quantity(both):
    fig = results.summary(plt.figure(), *both)
    titles = ["Decoy Fashion-MNIST", "Decoy MS-COCO (stand-in data)"]
    assert [ax.get_title() for ax in fig.axes] == titles * 2
    assert "partly stand-in data" in fig.get_suptitle()
    assert tick_labels(fig.axes[0]) == [style.label(name) for name in FEW]
    recovery, flips = fig.axes[1], fig.axes[3]
    assert recovery.get_xlim() == fig.axes[0].get_xlim() != flips.get_xlim()
    assert [text.get_text() for text in recovery.texts][-2:] == ["floor", "ceiling"]
    assert recovery.texts[1].get_text() == "1.000", "the oracle's own recovery"
    assert [text.get_text() for text in flips.texts] == ["0.600", "0.020", "0.030", "0.600"]
    runs, _ = both
    own = runs[(runs["task"] == "decoy_coco") & (runs["method"] == "xbl_d") & runs["chosen"]]
    expected = own.loc[own["metric"] == "recovery", "value"]
    np.testing.assert_allclose(recovery.collections[2].get_offsets()[:, 0], expected)


def test_the_summary_of_original_data_without_an_oracle_shows_what_there_is(both):
    runs, table = (rows[rows["method"] != "oracle"] for rows in both)
    runs = runs[(runs["task"] == "decoy_fashion_mnist") & (runs["metric"] != "recovery")]
    fig = results.summary(plt.figure(), runs, table)
    assert [ax.get_xlabel() for ax in fig.axes] == ["decoy flip rate (lower is better)"]
    assert "stand-in" not in fig.get_suptitle()


@pytest.mark.parametrize("split", ["test_clean", "nowhere"])
def test_rows_that_are_not_there_are_an_error(runs, split):
    with pytest.raises(ValueError, match=f"rows of wrong_reason on {split} by grad_cam, got none"):
        results.select(runs, "wrong_reason", split=split, explainer="grad_cam")


def test_two_tasks_in_one_figure_are_an_error():
    runs = make_runs({"erm": TRUTHS["erm"]}, tasks=("decoy_coco", "decoy_cifar10"))
    with pytest.raises(ValueError, match="runs must be of one task, got decoy_coco, decoy_cifar10"):
        style.title_of("Accuracy", runs)


def test_each_metric_has_a_panel_with_one_dot_a_run_and_its_correlation(runs, told):
    fig = plt.figure(figsize=(9.5, 8))
    informativeness.metrics_against_accuracy(fig, runs, told, explainer="grad_cam")
    axes = [ax for ax in fig.axes if ax.axison]
    kinds = informativeness.KINDS
    assert len(axes) == sum(kind in kinds for kind, _ in c3.METRICS.values())
    total = len(runs[["method", "weight", "seed"]].drop_duplicates())
    for ax in axes:
        assert sum(len(collection.get_offsets()) for collection in ax.collections) == total
        metric = next(
            name for name in c3.METRICS if style.label(name) == ax.get_title().split("\n")[0]
        )
        assert ax.xaxis_inverted() is not c3.METRICS[metric][1], "better is to the right"
        found = told[(told["metric"] == metric) & told["explainer"].isin(["grad_cam", "none"])]
        assert f"ρ = {found['rho'].iloc[0]:.2f}" in ax.get_title()
    assert "stand-in" in fig.get_suptitle()


def test_the_forest_has_every_metric_and_explainer_by_kind(told):
    ax = informativeness.forest(
        plt.figure().subplots(), told, task="decoy_fashion_mnist", data="stand-in"
    )
    shown = tick_labels(ax)
    assert shown[:2] == ["Attribution distance", "Distance focus"]
    assert shown[-1] == "Decoy flip rate" and "Dead CAM" not in shown
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts[:3] == ["distance metric", "overlap metric", "behaviour metric"]
    assert texts[3:] == ["Grad-CAM", "HiResCAM", "HiResCAM (log p)"]
    intervals = [line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_color() in
                 informativeness.KINDS.values()]  # fmt: skip
    assert len(intervals) == 9 * 3 + 1
    assert "stand-in" in ax.get_title()


def test_correlations_that_do_not_exist_are_said_so(runs, told):
    none = told.assign(rho=math.nan, ci_low=math.nan, ci_high=math.nan)
    fig = plt.figure()
    informativeness.metrics_against_accuracy(fig, runs, none, explainer="hires_cam")
    assert "ρ undefined" in fig.axes[0].get_title()


def test_the_forest_of_pooled_tasks_says_what_they_are(told):
    pooled = told.assign(task="pooled")
    kind = style.data_of(pd.DataFrame({"data": list(TASKS.values())}))
    ax = informativeness.forest(plt.figure().subplots(), pooled, task="pooled", data=kind)
    assert ax.get_title().endswith("all tasks, pooled by rank (partly stand-in data)")
    assert len(tick_labels(ax)) == 10
