"""Verdicts on runs with a known truth: each can come out each way, and says what decided it."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest
from synthetic import TRUTHS, make_runs

from xblcore import claims, informativeness
from xblcore.metrics import METRICS

TASKS = claims.TASKS


def judged(runs: pd.DataFrame) -> dict[str, dict]:
    return {claim["id"]: claim for claim in claims.judge(runs)}


def verdicts(runs: pd.DataFrame) -> dict[str, str]:
    return {name: claim["verdict"] for name, claim in judged(runs).items()}


def changed(method: str, **values: float) -> dict:
    return TRUTHS | {method: dataclasses.replace(TRUTHS[method], **values)}


# Overlap with the decoy tells nothing here: methods that are right have as much of it.
RIGHT = TRUTHS | {
    name: dataclasses.replace(TRUTHS[name], overlap=overlap)
    for name, overlap in {"oracle": 0.6, "xbl_d": 0.7, "rrr": 0.65}.items()
}


def test_where_the_paper_is_right_it_is_supported():
    found = verdicts(make_runs(RIGHT, tasks=TASKS))
    assert found == dict.fromkeys(("C1", "C2", "C3", "C4"), "supported")


def test_claims_have_the_contract_s_fields_and_their_rule():
    for claim in claims.judge(make_runs()):
        head = ["id", "claim", "statistic", "estimate", "ci_low", "ci_high", "verdict"]
        assert list(claim)[:7] == head
        assert "upported if" in claim["rule"]
        assert claim["parts"]


@pytest.mark.parametrize("values", [{"clean": 0.30}, {"focus": 0.60}])
def test_c1_falls_with_either_half(values):
    found = judged(make_runs(changed("xbl_d", **values)))["C1"]
    assert found["verdict"] == "not supported"
    assert found["estimate"] < 0 and found["ci_high"] < 0, "the headline is the part that decides"


def test_c1_is_undecided_when_the_gain_drowns_in_noise():
    truths = changed("xbl_d", clean=0.425)
    assert verdicts(make_runs(truths, noise=0.03))["C1"] == "undecided"


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("xbl_overlap", {"clean": 0.90}),  # overlap does as well
        ("rrr_g", {"clean": 0.90}),
        ("xbl_overlap", {"overlap": 0.45, "flips": 0.05}),  # overlap shows all that is left
    ],
)
def test_c2_falls_with_each_part(method, values):
    assert verdicts(make_runs(changed(method, **values)))["C2"] == "not supported"


def test_c2_without_its_control_is_undecided_and_says_why():
    runs = make_runs({name: truth for name, truth in TRUTHS.items() if name != "xbl_overlap"})
    found = judged(runs)["C2"]
    assert found["verdict"] == "undecided"
    assert "not in the grid: XBL-overlap" in found["statistic"]
    assert math.isnan(found["estimate"])


@pytest.mark.parametrize("values", [{"flips": 0.02}, {"overlap": 0.0}])
def test_c2_has_nothing_to_cure_where_erm_does_not_rely_on_the_decoy(values):
    found = judged(make_runs(changed("erm", **values)))["C2"]
    assert found["parts"][2]["verdict"] == "undecided"


def test_what_overlap_hides_is_counted_by_hand():
    """Overlap 0.50 to 0.01 seems 98% cured; flips 0.60 to 0.40, the oracle's 0.02, are 34%."""
    found = judged(make_runs())["C2"]["parts"][2]
    assert found["estimate"] == pytest.approx((0.5 - 0.01) / 0.5 - (0.6 - 0.4) / (0.6 - 0.02))


def test_flips_that_the_oracle_has_too_are_no_reliance():
    truths = changed("xbl_overlap", flips=0.05) | {
        "oracle": dataclasses.replace(TRUTHS["oracle"], flips=0.05)
    }
    found = judged(make_runs(truths))["C2"]["parts"][2]
    assert found["verdict"] == "not supported", "all cured, and 98% seen to be so"


def test_c3_is_undecided_when_the_metrics_tell_alike():
    runs = make_runs(informative=False)
    noise = np.random.default_rng(0).normal(0, 0.03, len(runs))
    noisy = runs["value"] + noise * runs["metric"].isin(informativeness.METRICS)
    found = judged(runs.assign(value=noisy))["C3"]
    assert found["verdict"] == "undecided"
    assert found["ci_low"] <= 0 <= found["ci_high"]


def test_c3_can_come_out_against_the_paper():
    runs = make_runs(informative=False)
    noise = np.random.default_rng(1).uniform(0, 1, len(runs))
    distance = runs["metric"].isin(["distance_focus", "attribution_distance"])
    assert verdicts(runs.assign(value=runs["value"].mask(distance, noise)))["C3"] == "not supported"


def test_c3_compares_with_the_best_overlap_metric_too():
    runs = make_runs()
    key = ["task", "method", "weight", "seed"]
    clean = runs.query("split == 'test_clean' and metric == 'accuracy'").set_index(key)["value"]
    perfect = (runs["metric"] == "pointing_game") & (runs["explainer"] == "grad_cam")
    runs.loc[perfect, "value"] = clean.loc[runs.loc[perfect].set_index(key).index].to_numpy()
    found = judged(runs)["C3"]
    assert found["verdict"] == "not supported"
    assert "Pointing game, the best overlap metric" in found["statistic"]
    assert found["parts"][0]["verdict"] == "supported", "against the fixed counterpart it won"


@pytest.mark.parametrize("tasks", [TASKS[:1], TASKS[:2]])
def test_c4_is_undecided_while_a_task_is_missing(tasks):
    found = judged(make_runs(RIGHT, tasks=tasks))["C4"]
    assert (found["verdict"], found["estimate"]) == ("undecided", len(tasks))
    assert "Decoy MS-COCO" in found["statistic"]
    assert [part["verdict"] for part in found["parts"]].count("supported") == len(tasks)


def test_c4_falls_with_one_task_though_the_average_holds():
    good, bad = make_runs(tasks=TASKS[:2]), make_runs(changed("xbl_d", clean=0.3), tasks=TASKS[2:])
    found = judged(pd.concat([good, bad], ignore_index=True))
    assert found["C4"]["verdict"] == "not supported"
    assert found["C1"]["verdict"] == "supported", "on the average of the tasks"
    assert found["C4"]["parts"][2]["statistic"].startswith("Decoy MS-COCO: C1 not supported")


def without(**columns):
    """A change of the table that takes out the rows with these values."""
    return lambda runs: runs[~np.logical_and.reduce([runs[k] == v for k, v in columns.items()])]


def setting(value, **columns):
    """A change of the table that sets ``value`` in the rows with these values."""

    def change(runs):
        rows = np.logical_and.reduce([runs[k] == v for k, v in columns.items()])
        return runs.assign(value=runs["value"].mask(rows, value))

    return change


def as_method(name, other):
    """A change of the table that gives a method the numbers of another, seed by seed."""

    def change(runs):
        twin = runs[(runs["method"] == other) & runs["chosen"]].assign(method=name)
        return pd.concat([runs[(runs["method"] != name) | ~runs["chosen"]], twin])

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda runs: runs, ("supported", "supported", "supported")),
        # Exact ties: nothing gained in any seed is nothing gained.
        (as_method("xbl_d", "erm"), ("not supported", "not supported", "supported")),
        (setting(0.9, metric="accuracy", split="test_clean"),
         ("not supported", "not supported", "undecided")),
        (setting(1.0, metric="distance_focus"), ("not supported", "supported", "undecided")),
        (setting(0.0, metric="decoy_flip_rate"), ("supported", "undecided", "supported")),
        # NaN: of one seed, which leaves four; of a whole metric.
        (setting(math.nan, metric="accuracy", split="test_clean", seed=1),
         ("undecided", "undecided", "supported")),
        (setting(math.nan, metric="distance_focus"), ("undecided", "supported", "undecided")),
        # Missing methods: ERM is needed by C1 and the third part of C2, RRR-G by C2.
        (without(method="erm"), ("undecided", "undecided", "supported")),
        (without(method="oracle"), ("supported", "undecided", "supported")),
        (without(method="rrr_g"), ("supported", "undecided", "supported")),
        (without(method="xbl_d"), ("undecided", "undecided", "supported")),  # seven methods
        # A seed that one method lacks counts for no difference.
        (without(method="rrr_g", seed=4), ("supported", "undecided", "supported")),
        # One seed.
        (lambda runs: runs[runs["seed"] == 0], ("undecided",) * 3),
    ],
    ids=["right", "XBL-D is ERM", "accuracy ties", "focus ties", "no flips", "a seed NaN",
         "focus NaN", "no ERM", "no oracle", "no RRR-G", "no XBL-D", "RRR-G of four seeds",
         "one seed"],
)  # fmt: skip
def test_verdicts_on_tables_with_a_known_truth(change, expected):
    found = verdicts(change(make_runs(RIGHT)))
    assert tuple(found[claim] for claim in ("C1", "C2", "C3")) == expected


def test_stand_in_data_are_said_to_be_so():
    found = judged(make_runs(tasks=TASKS, data="stand-in"))["C4"]
    assert set(found["data"].values()) == {"stand-in"}
    assert "Decoy CIFAR-10 (stand-in data)" in found["parts"][1]["statistic"]


def test_too_few_seeds_decide_nothing():
    found = claims.judge(make_runs(tasks=TASKS, seeds=4))
    assert {claim["verdict"] for claim in found} == {"undecided"}
    assert "4 seeds of 5 needed" in found[0]["statistic"]


def test_a_seed_undefined_on_one_task_does_not_count():
    runs = make_runs(tasks=TASKS[:2], seeds=6)
    rows = (runs["method"] == "xbl_d") & (runs["seed"] == 3) & (runs["task"] == TASKS[1])
    runs.loc[rows & (runs["metric"] == "distance_focus"), "value"] = math.nan
    table = claims.by_seed(runs, "distance_focus", split="test_decoy", explainer="grad_cam")
    assert table["xbl_d"].isna().sum() == 1
    assert table["erm"].notna().all()


def test_means_over_tasks_are_by_seed():
    runs = make_runs(tasks=TASKS[:2])
    table = claims.by_seed(runs, "accuracy", split="test_clean")
    rows = runs.query("chosen and method == 'rrr' and metric == 'accuracy'")
    rows = rows[(rows["split"] == "test_clean") & (rows["seed"] == 2)]
    assert table.loc[2, "rrr"] == pytest.approx(rows["value"].mean())


def test_json_holds_null_for_what_there_is_not(tmp_path):
    path = tmp_path / "paper" / "claims.json"
    for _ in range(2):
        claims.write(claims.judge(make_runs()), path)
    written = json.loads(path.read_text("utf-8"))
    assert [claim["id"] for claim in written] == ["C1", "C2", "C3", "C4"]
    assert written[3]["ci_low"] is None and "NaN" not in path.read_text("utf-8")


def test_the_verdict_follows_from_the_part_that_is_shown():
    for claim in claims.judge(make_runs(changed("rrr_g", clean=0.9), tasks=TASKS))[:3]:
        shown = [part for part in claim["parts"] if part["statistic"] == claim["statistic"]]
        assert shown[0]["verdict"] == claim["verdict"]
        order = ["not supported", "undecided", "supported"]
        assert claim["verdict"] == min((p["verdict"] for p in claim["parts"]), key=order.index)


# Informativeness


def test_kinds_and_directions_are_those_of_the_registry():
    """Metrics need torch and claims do not, so that these facts stand twice."""
    declared = {
        name: (metric.kind, metric.higher_is_better)
        for name, metric in METRICS.items()
        if name != "accuracy"  # the target
    }
    assert declared == informativeness.METRICS


def table_of(x: list[float], y: list[float], metric: str) -> pd.DataFrame:
    runs = [("task", f"method {i}") for i in range(len(x))]
    index = pd.MultiIndex.from_tuples(runs, names=["task", "method"])
    return pd.DataFrame({metric: x, "target": y}, index=index)


def test_correlations_are_oriented_by_the_metric_s_direction():
    x, y = [1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]
    assert informativeness.correlation(table_of(x, y, "wrong_reason"), "wrong_reason").value == 1
    assert informativeness.correlation(table_of(x, y, "iou"), "iou").value == -1


def test_ties_and_constants():
    tied = table_of([1.0, 1.0, 2.0, 2.0], [1.0, 2.0, 3.0, 4.0], "iou")
    assert informativeness.correlation(tied, "iou").value == pytest.approx(4 / math.sqrt(20))
    constant = table_of([1.0] * 4, [1.0, 2.0, 3.0, 4.0], "iou")
    assert math.isnan(informativeness.correlation(constant, "iou").value)


def test_every_metric_task_split_and_explainer_has_one_row():
    runs = make_runs(tasks=TASKS[:2])
    table = informativeness.informativeness(runs, n_resamples=20)
    assert not table.duplicated(["task", "split", "explainer", "metric"]).any()
    assert list(table["task"].unique()) == [*TASKS[:2], "pooled"]
    per_explainer = len(informativeness.METRICS) - 1
    assert len(table) == 3 * 2 * (3 * per_explainer + 1)
    rows = table.query("metric == 'decoy_flip_rate'")
    assert set(rows["explainer"]) == {"none"} and (rows["rho"] > 0.9).all()


def test_an_undefined_run_is_left_out_and_counted():
    runs = make_runs()
    rows = (runs["metric"] == "iou") & (runs["method"] == "rrr") & runs["chosen"]
    runs.loc[rows & (runs["seed"] < 2), "value"] = math.nan
    table = informativeness.informativeness(runs, splits=("test_decoy",), n_resamples=20)
    found = table.set_index(["explainer", "metric"])
    total = found.loc[("grad_cam", "wrong_reason"), "runs"]
    assert found.loc[("grad_cam", "iou"), ["runs", "undefined"]].tolist() == [total - 2, 2]


def test_pooling_ranks_within_each_task():
    """A task that is easy for all must not make up a correlation."""
    easy, hard = (make_runs(tasks=[task], informative=False) for task in TASKS[:2])
    shifted = easy["metric"].isin(["accuracy", "iou"]) & (easy["split"] != "val")
    easy.loc[shifted, "value"] += 10
    runs = pd.concat([easy, hard], ignore_index=True)
    table = informativeness.run_table(runs, split="test_decoy", explainer="grad_cam")
    each = [informativeness.run_table(part, split="test_decoy", explainer="grad_cam")
            for part in (easy, hard)]  # fmt: skip
    single = [informativeness.correlation(part, "iou", n_resamples=1).value for part in each]
    pooled = informativeness.correlation(table, "iou", n_resamples=1).value
    assert min(single) - 0.05 <= pooled <= max(single) + 0.05


def test_a_run_without_the_metric_does_not_move_the_others():
    """Pooled, the other runs stand to each other as if it had never been."""
    runs = pd.concat([make_runs(tasks=[task]) for task in TASKS[:2]], ignore_index=True)
    gone = (runs["task"] == TASKS[0]) & runs["method"].isin(["erm", "rrr"])
    without = runs[~gone]
    runs.loc[gone & runs["metric"].isin(["iou", "distance_focus"]), "value"] = math.nan
    dead, never = (
        informativeness.run_table(part, split="test_decoy", explainer="grad_cam")
        for part in (runs, without)
    )
    assert dead["iou"].isna().sum() == len(dead) - len(never) > 0
    for found, wanted in (
        [informativeness.correlation(table, "iou", n_resamples=1) for table in (dead, never)],
        [informativeness.gain(table, "distance_focus", "iou", n_resamples=1)
         for table in (dead, never)],
    ):  # fmt: skip
        assert found.value == pytest.approx(wanted.value, abs=1e-12)
        assert (found.n, wanted.dropped) == (wanted.n, 0) and found.dropped > 0


def test_gains_hold_every_pair_and_agree_with_the_correlations():
    runs = make_runs()
    pairs = informativeness.gains(runs, n_resamples=20)
    assert len(pairs) == 3 * 2 * 7
    rho = informativeness.informativeness(runs, splits=("test_decoy",), n_resamples=20)
    rho = rho.set_index(["explainer", "metric"])["rho"]
    for pair in pairs.to_dict("records"):
        first = rho[pair["explainer"], pair["distance_metric"]]
        second = rho[pair["explainer"], pair["overlap_metric"]]
        assert pair["difference"] == pytest.approx(first - second)
