"""Tables of the experiments from runs with a known truth: the numbers are those on paper."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import synthetic_experiments as made
from scipy import stats as scipy_stats
from synthetic_experiments import Truth, run

from xblcore import selection
from xblcore.experiments import gaming, measures, tables, weighing

FLOOR, CEILING = Truth(0.4, 0.6, 0.0), Truth(0.8, 0.1, 0.5)


def bounds(seeds: int = 2, **spec) -> list:
    """ERM and the oracle under a condition, alike for all seeds."""
    return [
        row
        for seed in range(seeds)
        for name, truth in (("erm", FLOOR), ("oracle", CEILING))
        for row in run(truth, method=name, seed=seed, **spec)
    ]


def runs_of(*accuracies: float, method: str = "rrr", flips: float = 0.3, **spec) -> list:
    """Runs of a method, one a seed, with these clean accuracies."""
    told = {"method": method, "weight": 1.0, **spec}
    return [
        row
        for seed, accuracy in enumerate(accuracies)
        for row in run(Truth(accuracy, flips, 0.5), seed=seed, **told)
    ]


def pick(table: pd.DataFrame, **wanted) -> pd.Series:
    rows = table[np.logical_and.reduce([table[k].eq(v).to_numpy() for k, v in wanted.items()])]
    assert len(rows) == 1, rows
    return rows.iloc[0]


def test_recovery_has_the_mean_and_student_interval_of_its_seeds():
    table = tables.interaction(made.table(bounds() + runs_of(0.6, 0.8)), n_train=64)
    row = pick(table, method="rrr", metric="recovery")
    low, high = scipy_stats.t.interval(0.95, 1, 0.75, scipy_stats.sem([0.5, 1.0]))
    assert [row["mean"], row["ci_low"], row["ci_high"]] == pytest.approx([0.75, low, high])
    assert (row["n"], row["undefined"], row["annotated"]) == (2, 0, 64)
    assert pick(table, method="erm", metric="recovery")["mean"] == 0
    assert math.isnan(pick(table, method="oracle", metric="recovery")["annotated"])


def test_marked_images_are_ascending_and_all_come_last():
    table = tables.interaction(made.interaction(), n_train=2000)
    recovery = table[(table["metric"] == "recovery") & (table["method"] == "rrr")]
    assert list(recovery["annotated"]) == [25, 100, 400, 2000]
    assert list(dict.fromkeys(table["method"])) == list(made.TRUTHS), "in the order of the runs"
    shown = tables.readable(table, "annotated")
    assert list(shown.columns) == ["Method", *(f"{n} marked" for n in (25, 100, 400, 2000))]
    assert "ERM" not in set(shown["Method"])


def test_floor_and_ceiling_are_those_of_the_same_condition():
    """With a decoy of 8 pixels ERM is at 0.2 and the oracle at 0.6: 0.5 is three quarters."""
    rows = bounds() + runs_of(0.6, 0.6)
    for name, accuracy in (("erm", 0.2), ("oracle", 0.6), ("rrr", 0.5)):
        rows += runs_of(accuracy, accuracy, method=name, decoy_size=8)
    table = tables.decoys(made.table(rows), decoy_size=4)
    found = table[(table["method"] == "rrr") & (table["metric"] == "recovery")]
    assert dict(zip(found["decoy_size"], found["mean"], strict=True)) == pytest.approx(
        {4: 0.5, 8: 0.75}
    )
    shown = tables.one_decoy(table).set_index("Method")
    assert shown.loc["RRR", "8 pixels, 100% tell"] == "0.750 ± 0.000"


@pytest.mark.parametrize("given", [None, math.nan], ids=["None", "NaN"])
def test_what_is_not_given_may_be_none_or_nan(given):
    rows = made.table(bounds() + runs_of(0.6, 0.8))
    rows["decoy_size"] = pd.Series([given] * len(rows), dtype=object)
    assert measures.recoveries(rows)["value"].tolist()[-2:] == pytest.approx([0.5, 1.0])


@pytest.mark.parametrize("missing", ["erm", "oracle"])
def test_without_floor_or_ceiling_the_recovery_is_undefined_and_counted(missing):
    rows = made.table(bounds() + runs_of(0.6, 0.8))
    table = tables.interaction(rows[rows["method"] != missing], n_train=64)
    row = pick(table, method="rrr", metric="recovery")
    assert math.isnan(row["mean"]) and (row["n"], row["undefined"], row["nan_share"]) == (0, 2, 1)
    assert pick(table, method="rrr", metric="accuracy")["n"] == 2
    shown = tables.readable(table, "annotated").set_index("Method")
    assert shown.loc["RRR", "64 marked"] == "undefined"


def test_a_seed_that_lost_nothing_is_left_out_and_said():
    rows = made.table(bounds() + runs_of(0.6, 0.8))
    clean = (rows["split"] == "test_clean") & (rows["metric"] == "accuracy")
    rows.loc[clean & (rows["method"] == "oracle") & (rows["seed"] == 0), "value"] = 0.4
    table = tables.interaction(rows, n_train=64)
    row = pick(table, method="rrr", metric="recovery")
    assert (row["mean"], row["n"], row["undefined"]) == (pytest.approx(1.0), 1, 1)
    shown = tables.readable(table, "annotated").set_index("Method")
    assert shown.loc["RRR", "64 marked"] == "1.000 (1 NaN)"


def test_two_values_of_one_seed_are_refused():
    with pytest.raises(ValueError, match="one a seed, got several of .*method=rrr"):
        tables.interaction(made.table(bounds() + 2 * runs_of(0.6, 0.8)), n_train=64)


def test_two_floors_under_one_condition_are_refused():
    rows = made.table(bounds() + runs_of(0.5, 0.5, method="erm") + runs_of(0.6, 0.8))
    with pytest.raises(ValueError, match="runs of erm must be one a condition and seed"):
        measures.recoveries(rows)


def test_feedback_is_compared_with_the_correct_one_by_seed():
    rows = bounds() + runs_of(0.6, 0.8) + runs_of(0.5, 0.5, feedback="random")
    table = tables.feedback(made.table(rows))
    row = pick(table, method="rrr", feedback="random", metric="recovery_change")
    assert row["mean"] == pytest.approx(np.mean([0.25 - 0.5, 0.25 - 1.0]))
    low, _ = scipy_stats.t.interval(0.95, 1, row["mean"], scipy_stats.sem([-0.25, -0.75]))
    assert row["ci_low"] == pytest.approx(low)
    assert "recovery_change" not in set(table.loc[table["method"] == "erm", "metric"])


def test_a_box_around_a_square_repeats_the_correct_runs_and_says_so():
    rows = bounds() + runs_of(0.6, 0.8) + runs_of(0.5, 0.7, method="xbl_d")
    rows += runs_of(0.4, 0.6, method="xbl_d", feedback="boxes")
    table = tables.feedback(made.table(rows))
    own, boxed = (
        pick(table, method="rrr", feedback=kind, metric="recovery") for kind in ("correct", "boxes")
    )
    assert boxed["mean"] == own["mean"] and (boxed["repeated"], own["repeated"]) == (True, False)
    mean = pick(table, method="xbl_d", feedback="boxes", metric="recovery")
    assert mean["mean"] == pytest.approx(0.25) and not mean["repeated"]
    assert not ((table["method"] == "erm") & (table["feedback"] == "boxes")).any()


def test_kinds_of_feedback_keep_their_order():
    table = tables.feedback(made.feedback())
    assert list(tables.readable(table, "feedback").columns) == [
        "Method", "Correct", "Incomplete", "Random", "Adversarial", "Dilated", "Jittered", "Boxes",
    ]  # fmt: skip


def test_a_later_loss_is_compared_with_a_floor_trained_as_long():
    """ERM at 0.5 after longer training: 0.65 is half of what is left to 0.8."""
    rows = bounds() + runs_of(0.8, 0.8)
    for name, accuracy in (("erm", 0.5), ("oracle", 0.8), ("rrr", 0.65)):
        rows += runs_of(accuracy, accuracy, method=name, switch_on=3)
    table = tables.switch_on(made.table(rows))
    late = pick(table, method="rrr", switch_on=3, metric="recovery")
    assert late["mean"] == pytest.approx(0.5)
    change = pick(table, method="rrr", switch_on=3, metric="recovery_change")
    assert change["mean"] == pytest.approx(-0.5)
    heads = list(tables.readable(table, "switch_on").columns)
    assert heads == ["Method", "after 0 epochs", "after 3 epochs"]


def test_the_second_decoy_is_compared_with_erm_by_seed():
    rows = bounds(decoys=2) + runs_of(0.7, 0.7, flips=0.1, decoys=2)
    rows += runs_of(0.7, 0.7, flips=0.1, decoys=2, marked="first")
    table = tables.decoys(made.table(rows), decoy_size=4)
    change = f"{tables.SECOND}_change"
    assert pick(table, method="rrr", marked="all", metric=change)["mean"] == pytest.approx(-0.5)
    fed = pick(table, method="rrr", marked="first", metric=change)
    assert fed["mean"] == pytest.approx(0.6 - 0.1 - 0.6)
    shown = tables.two_decoys(table).set_index("Method")
    assert shown.loc["RRR", "first marked: second"] == "0.500 ± 0.000"
    assert shown.loc["ERM", "first marked: second"] == "–", "it has no marks"


def swept(**by_weight: float) -> pd.DataFrame:
    """Runs of RRR by weight: accuracy on swapped validation images and on clean test ones."""
    rows = bounds(3)
    for weight, (swapped, clean) in by_weight.items():
        for row in runs_of(clean, clean, clean, weight=float(weight)):
            if row["split"] == "val_swapped":
                row["value"] = swapped
            rows.append(row)
    return made.table(rows)


@pytest.mark.parametrize(
    ("by_weight", "chosen", "best", "regret"),
    [
        ({"1": (0.7, 0.6), "3": (0.8, 0.55), "10": (0.6, 0.65)}, 3.0, 10.0, 0.1),
        ({"1": (0.7, 0.6), "3": (0.8, 0.7)}, 3.0, 3.0, 0.0),
        ({"1": (0.7, 0.6), "3": (0.7, 0.6)}, 1.0, 1.0, 0.0),
    ],
    ids=["the rule errs", "the rule is right", "a tie"],
)
def test_the_regret_is_the_best_weight_s_accuracy_minus_the_chosen_one_s(
    by_weight, chosen, best, regret
):
    runs = swept(**by_weight)
    weights = weighing.chosen_weights(runs).set_index("method")["weight"]
    assert weights["rrr"] == chosen and weights["erm"] == 0
    row = pick(weighing.regrets(runs), method="rrr")
    assert (row["weight"], row["best_weight"]) == (chosen, best)
    assert row["mean"] == pytest.approx(regret) and row["n"] == 3


def test_a_regret_is_paired_by_seed():
    rows = bounds() + runs_of(0.5, 0.7, weight=1.0) + runs_of(0.6, 0.65, weight=3.0)
    for row in rows:
        if row["split"] == "val_swapped" and row["weight"] == 1.0:
            row["value"] = 0.9
    row = pick(weighing.regrets(made.table(rows)), method="rrr")
    low, high = scipy_stats.t.interval(0.95, 1, 0.025, scipy_stats.sem([0.1, -0.05]))
    assert [row["mean"], row["ci_low"], row["ci_high"]] == pytest.approx([0.025, low, high])


def test_weights_are_compared_on_seeds_that_all_were_run_with():
    rows = bounds(3) + runs_of(0.5, 0.5, weight=1.0) + runs_of(0.4, 0.4, 0.99, weight=3.0)
    assert pick(weighing.chosen_weights(made.table(rows)), method="rrr")["weight"] == 1.0


@pytest.mark.parametrize(
    ("x", "y", "front"),
    [
        ([1, 2, 3], [3, 2, 1], [True, True, True]),
        ([1, 2, 3], [1, 2, 3], [False, False, True]),
        ([2, 2, 1], [1, 1, 1], [True, True, False]),
        ([1, math.nan], [1, 9], [True, False]),
        ([], [], []),
    ],
    ids=["a trade", "one best", "a tie", "NaN", "none"],
)
def test_the_front_has_what_nothing_else_dominates(x, y, front):
    assert weighing.non_dominated(x, y).tolist() == front


def test_the_front_leaves_out_the_oracle_and_marks_the_chosen_weights():
    points = weighing.points(made.sweep())
    assert not points.loc[points["method"] == "oracle", "on_front"].any()
    assert points["on_front"].any()
    chosen = points[points["chosen"]]
    assert chosen.groupby("method")["weight"].nunique().eq(1).all()
    assert set(chosen["method"]) == set(made.TRUTHS)
    own = points[(points["method"] == "rrr") & (points["metric"] == "accuracy")]
    assert list(own["weight"]) == [1, 3, 10, 30, 100]


def test_the_overview_has_every_method_with_its_cost_and_regret():
    runs = made.sweep()
    table = weighing.overview(runs, made.cost(), network="small_cnn")
    assert list(dict.fromkeys(table["method"])) == list(made.TRUTHS)
    assert pick(table, method="oracle", metric="time_ratio")["mean"] == 1.25
    assert pick(table, method="rrr", metric="regret")["n"] == 5
    assert not ((table["method"] == "erm") & (table["metric"] == "regret")).any()
    shown = weighing.readable(table).set_index("Method")
    assert list(shown.columns[1:]) == list(weighing.COLUMNS.values())
    weights = weighing.chosen_weights(runs).set_index("method")["weight"]
    assert shown.loc["RRR", "Weight"].rstrip("*") == f"{weights['rrr']:g}"
    assert shown.loc["ERM", "Regret of the rule ↓"] == "–"


def test_the_overview_of_methods_with_one_weight_has_no_regret():
    runs = made.table(bounds() + runs_of(0.6, 0.8))
    table = weighing.overview(runs, made.cost(), network="small_cnn")
    assert "regret" not in set(table["metric"])
    assert "Regret of the rule ↓" not in weighing.readable(table)


def cured(said: float, flips: float, *, nan: bool = False, **spec) -> pd.DataFrame:
    """XBL-D beside its bounds, with what Grad-CAM and the flips say."""
    rows = bounds()
    for seed in range(2):
        own = run(Truth(0.7, flips, said), method="xbl_d", weight=1.0, seed=seed, **spec)
        for row in own:
            if nan and row["metric"] == "attribution_distance" and row["explainer"] == "grad_cam":
                row["value"], row["nan_share"] = math.nan, 1.0
        rows += own
    return gaming.chosen(made.table(rows), layer="features")


def test_reported_true_and_gap_are_those_on_paper():
    table = gaming.table(cured(0.9, 0.15), layer="features")
    own = {"method": "xbl_d", "explainer": "grad_cam"}
    means = {m: pick(table, **own, metric=m)["mean"] for m in ("reported", "true", "gap")}
    assert means == pytest.approx({"reported": 0.9, "true": 0.75, "gap": 0.15})
    assert pick(table, method="xbl_d", metric="recovery")["mean"] == pytest.approx(0.75)
    assert pick(table, method="erm", explainer="occlusion", metric="gap")["mean"] == 0


def test_a_dead_map_reports_nothing_and_is_counted():
    table = gaming.table(cured(0.9, 0.15, nan=True), layer="features")
    row = pick(table, method="xbl_d", explainer="grad_cam", metric="gap")
    assert math.isnan(row["mean"]) and (row["undefined"], row["nan_share"]) == (2, 1)
    shown = gaming.readable(table).set_index("Method")
    assert shown.loc["XBL-D", "Gap, Grad-CAM"] == "undefined"
    assert shown.loc["XBL-D", "Cured in truth"] == "0.750 ± 0.000"


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({}, {"hires_cam", "hires_cam_log_prob"}),
        ({"cam": "grad_cam", "score": "logit", "layer": "features"}, {"grad_cam"}),
        ({"cam": "grad_cam", "score": "logit", "layer": "head.0"}, set()),
    ],
    ids=["its own", "another CAM", "another layer"],
)
def test_what_a_run_was_trained_on_is_told_by_its_spec_or_its_method(spec, told):
    table = gaming.table(cured(0.9, 0.15, **spec), layer="features")
    own = table[(table["method"] == "xbl_d") & table["trained_on"]]
    assert set(own["explainer"]) == told


def test_the_matrix_averages_methods_by_what_they_were_trained_on():
    rows = bounds()
    for name, said in (("xbl_d", 0.9), ("xbl_overlap", 0.5), ("hint", 0.2)):
        for seed in range(2):
            rows += run(Truth(0.7, 0.3, said), method=name, weight=1.0, seed=seed)
    runs = gaming.chosen(made.table(rows), layer="features")
    matrix = gaming.matrix(runs, layer="features")
    by = {"explainer": "grad_cam", "metric": "gap"}
    both = pick(matrix, cam="hires_cam", score="projection", **by)
    assert (both["mean"], both["methods"], both["n"]) == (pytest.approx(0.7 - 0.5), 2, 2)
    assert pick(matrix, cam="grad_cam", **by)["mean"] == pytest.approx(0.2 - 0.5)
    assert pick(matrix, cam="oracle", **by)["mean"] == pytest.approx(0.5 - (1 - 0.1 / 0.6))
    assert "none" not in set(matrix["cam"]), "ERM is what the others are measured by"


def test_runs_of_two_experiments_count_once_each_with_its_own_choice():
    sweep, layers = made.sweep(seeds=2), made.layers(("xbl_d", "hint"), seeds=2)
    both = gaming.chosen(sweep, layers, layer="features")
    key = ["method", *gaming.COMBINATION, "seed", "split", "explainer", "metric"]
    assert not both.duplicated(key).any()
    own = both[(both["method"] == "xbl_d") & (both["score"] == "projection")]
    at = own[(own["layer"] == "features") & (own["cam"] == "hires_cam")]
    assert set(at["weight"]) == {10.0}, "the sweep's"
    assert (both["layer"] == "head.0").any()


def test_each_layer_cam_and_score_has_the_weight_of_its_own():
    runs = made.layers(("xbl_d",), seeds=2)
    table = gaming.layers(runs, layer="features")
    combinations = table[table["method"] == "xbl_d"].drop_duplicates(gaming.COMBINATION)
    assert len(combinations) == 3 * 2 * 3 and list(dict.fromkeys(combinations["layer"])) == [
        "features.2", "features", "head.0",
    ]  # fmt: skip
    for row in combinations.to_dict("records"):
        same = np.logical_and.reduce([runs[k] == row[k] for k in ("method", *gaming.COMBINATION)])
        assert row["weight"] == selection.choose_weight(runs[same])
    shown = gaming.readable_layers(table)
    assert shown["Trained"].iloc[0] == "XBL-D, features.2" and len(shown.columns) == 7


def test_rows_that_were_written_are_read_back(tmp_path):
    runs = made.table(bounds() + runs_of(0.6, 0.8) + runs_of(0.7, 0.7, layer="head.0"))
    measures.write(runs, tmp_path / "runs.csv.gz")
    read = measures.read(tmp_path / "runs.csv.gz")
    assert set(read["explainer"]) == set(runs["explainer"]), "'none' is a name"
    assert read["layer"].isna().sum() == runs["layer"].isna().sum()
    pd.testing.assert_frame_equal(
        tables.interaction(read[read["layer"].isna()], n_train=64),
        tables.interaction(runs[runs["layer"].isna()], n_train=64),
    )


def test_the_same_rows_are_the_same_bytes_whatever_the_file_is_called(tmp_path):
    runs = made.table(bounds() + runs_of(0.6, 0.8))
    for name in ("runs.csv.gz", "other.csv.gz"):
        measures.write(runs, tmp_path / name)
    assert (tmp_path / "runs.csv.gz").read_bytes() == (tmp_path / "other.csv.gz").read_bytes()


def test_missing_measurements_are_an_error():
    rows = made.table(bounds() + runs_of(0.6, 0.8))
    with pytest.raises(ValueError, match="must have rows of distance_focus"):
        tables.interaction(rows[rows["explainer"] == "none"], n_train=64)
    with pytest.raises(ValueError, match="must have rows of attribution_distance"):
        gaming.cures(rows[rows["explainer"] == "none"], layer="features")
