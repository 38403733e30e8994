"""Verdicts on runs with a known truth: each claim can come out each way."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata, spearmanr

from tests.study.synthetic import CLEAN, TASKS, like, make_runs, setting, without
from xblcore.study import claims

Change = Callable[[pd.DataFrame], pd.DataFrame]
S, C, U = "supported", "contradicted", "undecided"
nan = math.nan


def judged(runs: pd.DataFrame) -> dict[str, dict[str, Any]]:
    return {claim["id"]: claim for claim in claims.judge(runs)}


def verdicts(runs: pd.DataFrame) -> tuple[str, ...]:
    return tuple(claim["verdict"] for claim in claims.judge(runs))


def test_claims_are_supported_where_the_paper_is_right() -> None:
    found = judged(make_runs(tasks=TASKS))
    assert {claim["verdict"] for claim in found.values()} == {"supported"}
    assert found["C4"]["estimate"] == 3
    # The first part of C1 is the gain over ERM, 0.84 - 0.40, averaged over the tasks.
    assert found["C1"]["estimate"] == pytest.approx(0.44, abs=0.02)
    assert found["C1"]["ci_low"] < found["C1"]["estimate"] < found["C1"]["ci_high"]
    reported = [part for part in found["C1"]["parts"] if not part["decides"]]
    assert [part["statistic"].split(" minus ")[0] for part in reported] == [
        "XBL-D", "XBL-D (released)",
    ]  # fmt: skip


def test_headline_is_the_part_that_decides() -> None:
    found = judged(make_runs(CLEAN | {"rrr_g": 0.9}))["C2"]
    assert "RRR-G" in found["statistic"]
    assert "(4 of 5 seeds)" in judged(make_runs(seeds=4))["C2"]["statistic"]
    assert found["ci_high"] < 0
    assert [part["verdict"] for part in found["parts"]] == [S, C]


@pytest.mark.parametrize(
    ("clean", "expected"),
    [
        ({}, (S, S)),
        ({"xbl_d_plus": 0.3}, (C, C)),  # worse than everything
        ({"uniform": 0.9}, (C, S)),  # worse than one control
        ({"xbl_overlap": 0.9}, (S, C)),
        ({"rrr_g": 0.9}, (S, C)),
    ],
)
def test_verdicts_follow_the_accuracy(clean: dict[str, float], expected: tuple[str, str]) -> None:
    assert verdicts(make_runs(CLEAN | clean))[:2] == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        # Equal to a control; equal to overlap; less focused than ERM.
        (like("activation", "xbl_d_plus"), (U, S, S)),
        (like("xbl_overlap", "xbl_d_plus"), (S, U, S)),
        (setting(0.1, method="xbl_d_plus", metric="distance_focus"), (C, S, U)),
        # Metrics or accuracies that are equal for all runs have no correlation.
        (setting(1.0, metric="distance_focus"), (U, S, U)),
        # Undefined values: of one seed, which leaves four; of a whole metric.
        (setting(nan, metric="accuracy", split="test_clean", seed=1), (U, U, S)),
        (setting(nan, metric="distance_focus"), (U, S, U)),
        # Methods, or runs of them, that are missing.
        (without(method="erm"), (U, S, S)),
        (without(method="xbl_overlap"), (S, U, S)),
        (without(method="xbl_d"), (S, S, S)),  # reported only
        (without(method="rrr_g", seed=4), (S, U, S)),
        (lambda runs: runs[runs["seed"] < 4], (U, U, U)),
    ],
)  # fmt: skip
def test_verdicts_on_changed_runs(change: Change, expected: tuple[str, ...]) -> None:
    assert verdicts(change(make_runs()))[:3] == expected


@pytest.mark.parametrize(
    ("informative", "expected"),
    [(["distance"], S), (["overlap", "distance"], U), (["overlap"], C), ([], U)],
)
def test_c3_depends_on_which_metrics_follow_the_accuracy(
    informative: list[str], expected: str
) -> None:
    assert judged(make_runs(informative=informative, noise=0.03))["C3"]["verdict"] == expected


def test_c3_compares_with_the_best_overlap_metric_too() -> None:
    runs = make_runs(noise=0.05)
    key = ["task", "method", "seed"]
    clean = claims.select(runs, "accuracy", split="test_clean").set_index(key)["value"]
    perfect = runs["metric"] == "pointing_game"
    runs.loc[perfect, "value"] = clean.loc[pd.MultiIndex.from_frame(runs.loc[perfect, key])].array
    found = judged(runs)["C3"]
    assert found["verdict"] == C
    assert "pointing game, the best overlap metric" in found["statistic"]
    assert found["parts"][0]["verdict"] == S  # it is better than its counterpart


def test_missing_task_leaves_c4_undecided() -> None:
    found = claims.judge(make_runs(tasks=TASKS[:2]), missing=TASKS[2:])
    assert [claim["verdict"] for claim in found] == [S, S, S, U]
    assert found[3]["estimate"] == 2
    assert found[3]["missing"] == [TASKS[2]]
    assert found[3]["parts"][2]["statistic"] == "Decoy MS-COCO: not run"


def test_one_task_contradicts_c4_although_the_mean_supports_c1() -> None:
    good = make_runs(tasks=TASKS[:2])
    bad = make_runs(CLEAN | {"xbl_d_plus": 0.5}, tasks=TASKS[2:], data="stand-in")
    found = judged(pd.concat([good, bad], ignore_index=True))
    assert (found["C1"]["verdict"], found["C4"]["verdict"]) == (S, C)
    assert found["C4"]["parts"][2]["statistic"].startswith(
        "Decoy MS-COCO (stand-in data): C1 contradicted"
    )
    assert found["C4"]["data"] == {TASKS[0]: "original", TASKS[1]: "original", TASKS[2]: "stand-in"}


def test_by_seed_averages_over_the_tasks_and_needs_all_of_them() -> None:
    runs = make_runs(tasks=TASKS[:2], seeds=6)
    rows = (runs["split"] == "test_clean") & (runs["method"] == "rrr")
    runs.loc[rows & (runs["seed"] == 3) & (runs["task"] == TASKS[1]), "value"] = nan
    table = claims.by_seed(runs, "accuracy", split="test_clean")
    assert table.loc[2, "rrr"] == pytest.approx(
        runs.loc[rows & (runs["seed"] == 2), "value"].mean()
    )
    assert table["rrr"].isna().tolist() == [False, False, False, True, False, False]
    assert table["erm"].notna().all()


@pytest.mark.parametrize(("metric", "sign"), [("wrong_reason", -1), ("iou", 1)])
def test_metrics_are_oriented_so_that_higher_is_better(metric: str, sign: int) -> None:
    runs = make_runs(informative=["overlap"], noise=0.03)
    table = claims.run_table(runs)
    raw = claims.select(runs, metric, split="test_decoy", explainer="grad_cam")
    expected = raw.set_index(["task", "method", "seed"])["value"].loc[table.index]
    assert (table[metric] == sign * expected).all()
    assert claims.correlation(table, metric).value > 0.9


def test_runs_are_ranked_within_their_task() -> None:
    """An easy task must not create a correlation; the oracle ranks in a plain loop."""
    easy, hard = (make_runs(tasks=[task], noise=0.1, informative=[]) for task in TASKS[:2])
    hard = hard[~hard["method"].isin(["uniform", "rrr", "rrr_g"])]  # ranks are shares of the runs
    easy["value"] += 10.0 * (easy["split"] != "val")
    table = claims.run_table(pd.concat([easy, hard], ignore_index=True))
    ranks: dict[str, list[float]] = {"iou": [], "target": []}
    for _, own in table.groupby("task"):
        for column, found in ranks.items():
            found += (rankdata(own[column]) / len(own)).tolist()
    expected = spearmanr(ranks["iou"], ranks["target"]).statistic
    assert claims.correlation(table, "iou").value == pytest.approx(expected)
    assert spearmanr(table["iou"], table["target"]).statistic > abs(expected) + 0.4


def test_informativeness_has_one_row_per_task_and_metric_and_counts_undefined_runs() -> None:
    runs = setting(nan, metric="iou", method="rrr", task=TASKS[0])(make_runs(tasks=TASKS[:2]))
    found = claims.informativeness(runs)
    assert list(dict.fromkeys(found["task"])) == [*TASKS[:2], "pooled"]
    assert not found.duplicated(["task", "metric"]).any()
    own = found.set_index(["task", "metric"])
    assert own.loc[(TASKS[0], "iou"), ["runs", "undefined"]].tolist() == [55, 5]
    assert own.loc[("pooled", "iou"), ["runs", "undefined"]].tolist() == [115, 5]
    assert own.loc[("pooled", "distance_focus"), "rho"] > 0.9


def test_json_is_valid_and_reproducible(tmp_path: Path) -> None:
    path, runs = tmp_path / "paper" / "claims.json", make_runs(tasks=TASKS[:2])
    runs["value"] += np.random.default_rng(0).normal(0, 1e-9, len(runs))  # beyond six digits
    contents = []
    for _ in range(2):
        claims.write(claims.judge(runs, missing=TASKS[2:]), path)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    written = json.loads(contents[0], parse_constant=pytest.fail)  # NaN would not be JSON
    assert [claim["id"] for claim in written] == ["C1", "C2", "C3", "C4"]
    head = ["id", "claim", "statistic", "estimate", "ci_low", "ci_high", "verdict"]
    assert all(list(claim)[:7] == head for claim in written)
    assert written[3]["ci_low"] is None
    assert written[0]["estimate"] == float(f"{written[0]['estimate']:.6g}")
