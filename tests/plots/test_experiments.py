"""Figures of the experiments: every method and condition is there, with its table's numbers."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pytest
import synthetic_experiments as made
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle

from xblcore.experiments import gaming as explainers
from xblcore.experiments import tables, weighing
from xblcore.plots import style
from xblcore.plots.experiments import conditions, gaming, rows, weights

METHODS = [name for name in made.TRUTHS if name not in made.BOUNDS]
LABELS = [style.label(name) for name in METHODS]
FEW = {name: made.TRUTHS[name] for name in ("erm", "oracle", "xbl_d", "hint", "rrr")}
STAND_IN = {"data": "stand-in", "seeds": 3}


def means(ax) -> list[float]:
    """Where the markers of means stand: lines of one point that are not at an edge."""
    return [float(line.get_xdata()[0]) for line in ax.lines if len(line.get_xdata()) == 1]


def recoveries(table: pd.DataFrame, **wanted) -> pd.Series:
    found = table[table["metric"] == "recovery"]
    for name, value in wanted.items():
        found = found[found[name] == value]
    return found.set_index("method")["mean"]


def names(ax) -> list[str]:
    return [text.get_text() for text in ax.get_yticklabels()]


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


@pytest.fixture(scope="module")
def feedback():
    return tables.feedback(made.feedback(**STAND_IN))


@pytest.fixture(scope="module")
def decoys():
    return tables.decoys(made.decoys(**STAND_IN), decoy_size=4)


@pytest.fixture(scope="module")
def sweep():
    return made.sweep(**STAND_IN)


@pytest.fixture(scope="module")
def points(sweep):
    return weighing.points(sweep)


def test_every_method_has_a_panel_with_its_course_and_intervals():
    table = tables.interaction(made.interaction(**STAND_IN), n_train=2000)
    fig = conditions.interaction(plt.figure(), table, profile="laptop")
    axes = [ax for ax in fig.axes if ax.axison]
    assert [ax.get_title() for ax in axes] == LABELS
    for ax, name in zip(axes, METHODS, strict=True):
        own = table[(table["method"] == name) & (table["metric"] == "recovery")]
        drawn = [line for line in ax.lines if line.get_marker() not in ("None", "")]
        assert len(drawn) == 1
        np.testing.assert_array_equal(drawn[0].get_xydata(), own[["annotated", "mean"]])
        (bars,) = ax.collections
        ends = [path.vertices[:, 1].tolist() for path in bars.get_paths()]
        np.testing.assert_allclose(ends, own[["ci_low", "ci_high"]])
    assert [t.get_text() for t in axes[-1].get_xticklabels()] == ["25", "100", "400", "all"]
    assert fig.get_suptitle().endswith("profile laptop: Decoy Fashion-MNIST (stand-in data)")


def test_each_kind_of_feedback_has_a_panel_and_the_correct_one_in_grey(feedback):
    fig = conditions.feedback(plt.figure(), feedback, profile="laptop")
    kinds = list(dict.fromkeys(feedback["feedback"]))
    assert [ax.get_title() for ax in fig.axes] == [style.label(kind) for kind in kinds]
    assert names(fig.axes[0]) == LABELS
    for ax, kind in zip(fig.axes, kinds, strict=True):
        expected = recoveries(feedback, feedback=kind).reindex(METHODS)
        np.testing.assert_allclose(means(ax), expected)
        grey = [line for line in ax.lines if line.get_color() == "#8c8c8c"]
        assert len(grey) == (0 if kind == "correct" else len(METHODS))
    hollow = [line for line in fig.axes[-1].lines if line.get_markerfacecolor() == "white"]
    assert len(hollow) == feedback.loc[feedback["repeated"], "method"].nunique() == 6
    assert "box around the decoy" in fig.legends[0].get_texts()[1].get_text()


def test_without_repeated_runs_the_key_does_not_speak_of_them():
    runs = made.feedback(truths={name: FEW[name] for name in ("erm", "oracle", "hint")})
    fig = conditions.feedback(plt.figure(), tables.feedback(runs), profile="laptop")
    assert len(fig.legends[0].get_texts()) == 1


def test_waits_stand_side_by_side_with_what_they_changed():
    table = tables.switch_on(made.switch_on(truths=FEW, **STAND_IN))
    fig = conditions.switch_on(plt.figure(), table, profile="laptop")
    left, right = fig.axes
    assert names(left) == ["XBL-D", "HINT", "RRR"]
    key = [text.get_text() for text in fig.legends[0].get_texts()]
    assert key == ["from the start", "after 3 epochs", "after 6 epochs"]
    shown = table[~table["method"].isin(made.BOUNDS)]
    expected = shown.loc[shown["metric"] == "recovery", "mean"]
    np.testing.assert_allclose(sorted(means(left)), sorted(expected))
    change = shown[(shown["metric"] == "recovery_change") & (shown["switch_on"] > 0)]
    np.testing.assert_allclose(sorted(means(right)), sorted(change["mean"]))


def test_sizes_and_shares_have_a_panel_each_with_the_task_s_own_decoy_in_both(decoys):
    fig = conditions.decoys(plt.figure(), decoys, decoy_size=4, profile="laptop")
    keys = [[text.get_text() for text in ax.get_legend().get_texts()] for ax in fig.axes]
    assert keys == [["2", "4", "8"], ["60%", "80%", "100%"]]
    own = recoveries(decoys, decoys=1, decoy_size=4, predictive=1.0)[METHODS]
    for ax in fig.axes:
        assert len(means(ax)) == 3 * len(METHODS)
        assert np.isin(own.round(9), np.round(means(ax), 9)).all()


def test_two_decoys_are_shown_by_what_was_marked(decoys):
    marked = decoys[(decoys["marked"] == "all") | (decoys["method"] != "hint")]
    fig = conditions.two_decoys(plt.figure(), marked, profile="laptop")
    both, first = fig.axes
    assert [ax.get_title() for ax in fig.axes] == ["both marked", "only the first marked"]
    assert names(both) == [style.label(name) for name in made.TRUTHS]
    rates = marked[marked["metric"].isin(["decoy_flip_rate", tables.SECOND])]
    rates = rates[(rates["decoys"] == 2) & (rates["marked"] == "all")]
    np.testing.assert_allclose(sorted(means(both)), sorted(rates["mean"]))
    assert "marks no decoy" in texts(first) and "marks no decoy" not in texts(both)


def test_every_layer_and_method_has_a_panel_of_scores_and_cams():
    runs = made.layers(methods=("xbl_d", "hint"), **STAND_IN)
    few = runs[~((runs["method"] == "hint") & (runs["score"] == "log_prob"))]
    table = explainers.layers(few, layer="features")
    fig = conditions.layers(plt.figure(), table, profile="laptop")
    axes = [ax for ax in fig.axes if ax.axison]
    assert [ax.get_title() for ax in axes] == [
        "XBL-D, features.2", "XBL-D, features", "XBL-D, head.0", "HINT, features",
    ]  # fmt: skip
    assert [len(means(ax)) for ax in axes] == [6, 6, 6, 4]
    own = table[(table["layer"] == "head.0") & (table["metric"] == "recovery")]
    np.testing.assert_allclose(sorted(means(axes[2])), sorted(own["mean"]))
    assert names(axes[0]) == ["logit", "log p", "projection"]


def test_an_undefined_recovery_is_said_and_one_out_of_view_is_written(feedback):
    row = (feedback["metric"] == "recovery") & (feedback["feedback"] == "random")
    odd = feedback.copy()
    odd.loc[row & (odd["method"] == "rrr"), ["mean", "ci_low", "ci_high"]] = math.nan
    odd.loc[row & (odd["method"] == "hint"), ["mean", "ci_low", "ci_high"]] = [-7.0, -9.0, 5.0]
    fig = conditions.feedback(plt.figure(), odd, profile="laptop")
    ax = fig.axes[2]
    assert "undefined" in texts(ax) and "◂ −7.0" in texts(ax)
    assert len(means(ax)) == len(METHODS) - 2
    assert rows.VIEW[0] <= ax.get_xlim()[0] and ax.get_xlim()[1] <= rows.VIEW[1]


def test_the_front_names_every_chosen_weight_once(points):
    fig = weights.front(plt.figure(), points, profile="laptop")
    (ax,) = fig.axes
    chosen = points[points["chosen"]].drop_duplicates("method").set_index("method")["weight"]
    expected = {style.label(m) + (f", {w:g}" if w else "") for m, w in chosen.items()}
    assert set(texts(ax)) == expected and len(texts(ax)) == len(made.TRUTHS)
    wide = points.pivot(index=["method", "weight"], columns="metric", values="mean")
    drawn = [tuple(line.get_xydata()[0]) for line in ax.lines if len(line.get_xdata()) == 1]
    both = wide[["accuracy", "distance_focus"]].itertuples(index=False, name=None)
    assert sorted(drawn) == sorted(both)
    front = points[points["on_front"]].drop_duplicates(["method", "weight"])
    assert len(ax.lines[0].get_xdata()) == len(front), "the line goes through the front"


def test_each_method_s_way_goes_through_its_weights_in_their_order(points):
    fig = weights.paths(plt.figure(), points, profile="laptop")
    axes = [ax for ax in fig.axes if ax.axison]
    assert [ax.get_title() for ax in axes] == [style.label(name) for name in made.TRUTHS]
    ax = axes[list(made.TRUTHS).index("rrr")]
    own = points[(points["method"] == "rrr") & (points["metric"] == "accuracy")]
    way = [line for line in ax.lines if len(line.get_xdata()) == 5 and line.get_marker() == "^"]
    np.testing.assert_allclose(way[0].get_xdata(), own.sort_values("weight")["mean"])
    assert texts(ax) == ["1", "100"], "where it begins and ends"


def test_the_rule_has_a_panel_for_every_method_with_several_weights(sweep):
    marked = weighing.mark_chosen(sweep, weighing.chosen_weights(sweep))
    fig = weights.rule(plt.figure(), marked, profile="laptop")
    assert [ax.get_title() for ax in fig.axes if ax.axison] == LABELS
    assert "profile laptop" in fig.get_suptitle() and "stand-in" in fig.get_suptitle()


def test_the_overview_shows_every_method_and_prints_its_means(sweep):
    table = weighing.overview(sweep, made.cost(), network="small_cnn")
    dead = (table["method"] == "hint") & (table["metric"] == "distance_focus")
    table.loc[dead, "nan_share"] = 0.94
    fig = weights.overview(plt.figure(), table, profile="laptop")
    assert names(fig.axes[0]) == [style.label(name) for name in made.TRUTHS]
    for ax, metric in zip(fig.axes, weights.OVERVIEW, strict=True):
        shown = table[table["metric"] == metric]
        np.testing.assert_allclose(means(ax), shown["mean"])
        assert texts(ax)[0] == f"{shown['mean'].iloc[0]:z.3f}"
    assert [text for text in texts(fig.axes[2]) if "94% NaN" in text]


@pytest.fixture(scope="module")
def told():
    runs = made.sweep(truths=FEW, **STAND_IN)
    return explainers.chosen(runs, layer="features")


def test_what_is_said_and_what_is_true_stand_in_every_row(told):
    table = explainers.table(told, layer="features")
    fig = gaming.said_and_true(plt.figure(), table, profile="laptop")
    heads = [ax.get_title().replace("\n", " ") for ax in fig.axes]
    assert heads == [style.label(name) for name in made.EXPLAINERS]
    assert names(fig.axes[0]) == ["Oracle", "XBL-D", "HINT", "RRR"]
    for ax, explainer in zip(fig.axes, made.EXPLAINERS, strict=True):
        own = table[(table["explainer"] == explainer) & (table["metric"] == "reported")]
        own = own[own["method"] != "erm"].set_index("method")
        markers = [line for line in ax.lines if len(line.get_xdata()) == 1]
        np.testing.assert_allclose([m.get_xdata()[0] for m in markers], own["mean"])
        filled = [m.get_markerfacecolor() != "white" for m in markers]
        assert filled == own["trained_on"].tolist()
    gaps = table[(table["metric"] == "gap") & (table["explainer"] == "grad_cam")]
    too_much = gaps.loc[(gaps["mean"] > 0) & (gaps["method"] != "erm"), "method"]
    red = [line for line in fig.axes[0].lines if line.get_color() == gaming.TOO_MUCH and
           line.get_linewidth() == 2.2]  # fmt: skip
    assert len(red) == len(too_much) > 0
    recovery = recoveries(table)[["oracle", "xbl_d", "hint", "rrr"]]
    assert texts(fig.axes[-1])[1:] == [f"{r:z.2f}".replace("-", "−") for r in recovery]


def test_a_dead_map_says_nothing(told):
    dead = (told["method"] == "hint") & (told["explainer"] == "grad_cam")
    table = explainers.table(
        told.assign(value=told["value"].mask(dead), nan_share=told["nan_share"].mask(dead, 1.0)),
        layer="features",
    )
    fig = gaming.said_and_true(plt.figure(), table, profile="laptop")
    assert "undefined" in texts(fig.axes[0]) and "undefined" not in texts(fig.axes[1])
    matrix = table_of_matrix(told, dead)
    ax = gaming.matrix(plt.figure(), matrix, profile="laptop").axes[0]
    assert texts(ax).count("undefined") == 1


def table_of_matrix(told: pd.DataFrame, dead: pd.Series) -> pd.DataFrame:
    return explainers.matrix(told.assign(value=told["value"].mask(dead)), layer="features")


def test_the_matrix_prints_every_gap_and_outlines_what_was_trained_on(told):
    table = explainers.matrix(told, layer="features")
    fig = gaming.matrix(plt.figure(), table, profile="laptop")
    ax = fig.axes[0]
    rows_ = ["the oracle (1)", "input gradient (1)", "Grad-CAM, logit (1)",
             "HiResCAM, projection (1)"]  # fmt: skip
    assert names(ax) == rows_
    heads = [text.get_text().replace("\n", " ") for text in ax.get_xticklabels()]
    assert heads == [style.label(name) for name in made.EXPLAINERS]
    gaps = table[table["metric"] == "gap"].set_index(["cam", "explainer"])["mean"]
    order = ["oracle", "input_gradient", "grad_cam", "hires_cam"]
    expected = [gaps[cam, explainer] for cam in order for explainer in made.EXPLAINERS]
    printed = [float(text.split("\n")[0].replace("−", "-")) for text in texts(ax)]
    np.testing.assert_allclose(printed, expected, atol=0.00501)
    frames = [p for p in ax.patches if isinstance(p, Rectangle) and not p.get_fill()]
    cells = {(math.floor(p.get_y()), math.floor(p.get_x())) for p in frames}
    assert cells == {(1, 3), (2, 0), (3, 1), (3, 2)}
    assert "stand-in" in fig.get_suptitle()


@pytest.mark.parametrize(
    "draw",
    [
        lambda fig, runs: conditions.interaction(
            fig, tables.interaction(runs, n_train=64), profile="smoke"
        ),
        lambda fig, runs: conditions.feedback(fig, tables.feedback(runs), profile="smoke"),
        lambda fig, runs: conditions.switch_on(fig, tables.switch_on(runs), profile="smoke"),
        lambda fig, runs: weights.front(fig, weighing.points(runs), profile="smoke"),
        lambda fig, runs: weights.paths(fig, weighing.points(runs), profile="smoke"),
    ],
    ids=["interaction", "feedback", "switch_on", "front", "paths"],
)
def test_one_method_one_condition_and_one_seed_can_be_drawn(draw):
    few = {name: FEW[name] for name in ("erm", "oracle", "rrr")}
    runs = made.study([({}, 1.0)], truths=few, seeds=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the layout engine warns of what it cannot place
        draw(plt.figure(), runs).draw_without_rendering()
