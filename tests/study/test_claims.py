"""Verdicts on runs with a known truth: each claim can come out each way."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata, spearmanr

from tests.study.synthetic import CLEAN, TASKS, like, make_runs, result, setting, without
from xblcore.metrics import METRICS
from xblcore.study import claims, stats, tables
from xblcore.study.config import Condition
from xblcore.study.runs import table

Change = Callable[[pd.DataFrame], pd.DataFrame]
S, C, U, E = "supported", "contradicted", "undecided", "equivalent"
nan = math.nan
MAIN, HIRES, GRAD = ("main", "weighting"), ("simple", "hires_cam"), ("simple", "grad_cam")


def make_factorial(
    effect: Mapping[str, float], *, seeds: int = 6, noise: float = 0.005, data: str = "original",
    flips: float = 0.3, wrong: float = 0.0, by_map: float = 0.0,
) -> pd.DataFrame:  # fmt: skip
    """Runs of the factorial experiment with these effects of the weighting on the recovery.

    The share lowers the recovery by 0.1, Grad-CAM by 0.2; ``by_map`` is the difference of the
    effects of the weighting by the two maps. CIFAR-10 has no object masks.
    """
    generator = np.random.default_rng(0)
    finished = []
    for task, own in effect.items():
        kinds = claims.FACTORS["feedback"][task == "decoy_cifar10" :]
        grid: Any = itertools.product(
            ("distance", "overlap"), kinds, ("mass", "share"), claims.SCORES.items()
        )
        conditions = [
            Condition(weighting=weighting, feedback=kind, form=form, cam_method=cam, score=score,
                      wrong=wrong)
            for weighting, kind, form, (cam, score) in grid
        ]  # fmt: skip
        for seed in range(seeds):
            known = {"erm": 0.2, "oracle": 0.7}
            for method, accuracy in known.items():
                values = {("test_clean", "none", "accuracy"): accuracy}
                finished.append(result(task, method, seed, values, data=data))
            for c in conditions:
                hires = c.cam_method == "hires_cam"
                gain = own + (by_map / 2 if hires else -by_map / 2)
                recovery = 0.8 - 0.1 * (c.form == "share") - 0.2 * (not hires)
                recovery += gain * (c.weighting == "distance") + generator.normal(0, noise)
                values = {
                    ("test_clean", "none", "accuracy"): 0.2 + 0.5 * recovery,
                    ("test_decoy", "none", "decoy_flip_rate"):
                        flips - 0.1 * (c.weighting == "distance"),
                }  # fmt: skip
                run = result(task, "xbl_d_plus", seed, values, condition=c, data=data)
                finished.append(run)
    return table(finished)


def make_validity(
    auroc: Mapping[str, float], *, tasks: Sequence[str] = TASKS, seeds: int = 6,
    noise: float = 0.005, data: str = "original", explainers: Sequence[str] = ("grad_cam",),
) -> pd.DataFrame:  # fmt: skip
    """AUROC of two networks of each task and seed; 0.6 for metrics that are not in ``auroc``."""
    generator = np.random.default_rng(0)
    rows = []
    names = [name for name in METRICS if METRICS[name].kind in ("overlap", "distance")]
    grid = itertools.product(tasks, ("erm", "rrr"), range(seeds), explainers, names)
    for task, method, seed, explainer, name in grid:
        for target, shift in (("flips", 0.0), ("wrong", -0.1)):
            rows.append({
                "task": task, "data": data, "method": method, "seed": seed,
                "explainer": explainer, "metric": name,
                "family": "decoy" if "decoy_mask" in METRICS[name].needs else "object",
                "target": target, "images": 300, "positives": 100,
                "auroc": auroc.get(name, 0.6) + shift + generator.normal(0, noise),
            })  # fmt: skip
    return pd.DataFrame(rows)


FEW = make_runs({name: CLEAN[name] for name in ("erm", "xbl_d_plus")})  # where C1 is not the topic
GOOD = make_factorial(dict.fromkeys(TASKS, 0.2))
VALID = make_validity({"distance_focus": 0.75})


def judged(runs: pd.DataFrame, **tables: Any) -> dict[str, dict[str, Any]]:
    return {claim["id"]: claim for claim in claims.judge(runs, **tables)}


def c1(runs: pd.DataFrame) -> str:
    return str(judged(runs)["C1"]["verdict"])


def test_claims_are_supported_where_the_paper_is_right() -> None:
    found = judged(make_runs(tasks=TASKS, seeds=6), factorial=GOOD, validity=VALID)
    assert {claim["verdict"] for claim in found.values()} == {S}
    assert found["C4"]["estimate"] == 3
    # The weakest part of C1 is the gain over the mean map, 0.84 - 0.66, averaged over the tasks.
    assert found["C1"]["estimate"] == pytest.approx(0.18, abs=0.02)
    assert found["C1"]["ci_low"] < found["C1"]["estimate"] < found["C1"]["ci_high"]
    reported = [part for part in found["C1"]["parts"] if not part["decides"]]
    assert [part["statistic"].split(" minus ")[0] for part in reported] == [
        "XBL-D", "XBL-D (released)",
    ]  # fmt: skip
    assert found["C2"]["estimate"] == pytest.approx(0.2, abs=0.01)
    assert found["C3"]["estimate"] == pytest.approx(0.15, abs=0.01)


def test_what_has_not_been_run_is_undecided() -> None:
    found = judged(make_runs(tasks=TASKS))
    assert [claim["verdict"] for claim in found.values()] == [S, U, U, U]
    for claim in ("C2", "C3"):
        assert "not run; `make experiments` runs it" in found[claim]["statistic"]
    assert found["C4"]["estimate"] == 0


def test_paragraphs_have_the_deciding_numbers_and_name_stand_in_data() -> None:
    for data in ("original", "stand-in"):
        found = judged(make_runs(data=data))
        for part in found["C1"]["parts"]:
            assert (part["statistic"] in found["C1"]["paragraph"]) == part["decides"]
        for claim in found.values():
            assert ("stand-in" in claim["paragraph"]) == (data == "stand-in")
            assert "nan" not in claim["paragraph"]


@pytest.mark.parametrize(
    ("clean", "expected"),
    [({}, S), ({"xbl_d_plus": 0.3}, C), ({"uniform": 0.9}, C)],  # the last: worse than one control
)
def test_c1_follows_the_accuracy(clean: dict[str, float], expected: str) -> None:
    assert c1(make_runs(CLEAN | clean)) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (like("activation", "xbl_d_plus"), U),  # equal to a control
        (setting(0.1, method="xbl_d_plus", metric="distance_focus"), C),  # less focused than ERM
        (setting(1.0, metric="distance_focus"), U),
        (setting(nan, metric="accuracy", split="test_clean", seed=1), U),  # leaves four seeds
        (setting(nan, metric="distance_focus"), U),
        (without(method="erm"), U),
        (without(method="xbl_d"), S),  # reported only
        (lambda runs: runs[runs["seed"] < 4], U),
    ],
)
def test_c1_on_changed_runs(change: Change, expected: str) -> None:
    assert c1(change(make_runs())) == expected


def test_headline_is_the_part_that_decides() -> None:
    found = judged(make_runs(CLEAN | {"uniform": 0.9}))["C1"]
    assert "D = 1" in found["statistic"]
    assert found["ci_high"] < 0
    assert "(4 of 5 seeds)" in judged(make_runs(seeds=4))["C1"]["statistic"]


def test_p_values_are_corrected_only_where_one_part_is_enough() -> None:
    """Six seeds of one sign: p = 2 / 2^6, for C2 times the three tasks."""
    found = judged(make_runs(tasks=TASKS, seeds=6), factorial=GOOD, validity=VALID)
    for claim, p_holm in (("C1", nan), ("C2", 0.09375), ("C3", nan)):
        for part in found[claim]["parts"]:
            if part["decides"]:
                assert part["p"] == pytest.approx(0.03125)
                assert part["p_holm"] == pytest.approx(p_holm, nan_ok=True)


def test_all_zero_maps_count_as_worst() -> None:
    """A network whose maps vanish is not focused, whatever the few other maps show."""
    runs = make_runs()
    vanished = (runs["method"] == "xbl_d_plus") & (runs["metric"] == "distance_focus")
    assert c1(runs.assign(worst=runs["worst"].mask(vanished, 0.0))) == C


# C2


@pytest.mark.parametrize(
    ("effect", "verdicts", "whole"),
    [
        ((0.2, 0.2, 0.2), (S, S, S), S),
        ((0.0, 0.0, 0.0), (E, E, E), E),
        ((0.02, 0.02, 0.02), (E, E, E), E),  # certainly above 0, and certainly below the margin
        ((-0.2, -0.2, -0.2), (C, C, C), C),
        ((0.2, 0.0, 0.2), (S, E, S), S),
        ((0.0, -0.2, nan), (E, C, U), C),
        ((0.2, 0.0, -0.2), (S, E, C), U),  # depends on the task
        ((0.2, nan, nan), (S, U, U), U),
        ((0.0, nan, 0.0), (E, U, E), E),
    ],
)
def test_c2_is_the_agreement_of_the_decided_tasks(
    effect: tuple[float, ...], verdicts: tuple[str, ...], whole: str
) -> None:
    runs = make_factorial({task: 0.0 if math.isnan(own) else own
                           for task, own in zip(TASKS, effect, strict=True)})  # fmt: skip
    wide = runs["task"].isin([task for task, own in zip(TASKS, effect, strict=True) if own != own])
    sign = np.where(runs["weighting"] == "distance", 1, -1) * (-1) ** runs["seed"]
    runs.loc[wide & (runs["method"] == "xbl_d_plus"), "value"] += 0.1 * sign
    claim = judged(FEW, factorial=runs)["C2"]
    assert [part["verdict"] for part in claim["parts"] if part["decides"]] == list(verdicts)
    assert claim["verdict"] == whole
    both = {S, C} <= set(verdicts)
    assert claim["statistic"].startswith("Depends on the task" if both else "Decoy ")
    if whole != U:  # the interval is that of a task with the verdict
        found = stats.Estimate(claim["estimate"], claim["ci_low"], claim["ci_high"], 6)
        assert stats.verdict(found, margin=0.05) == whole
        alike = [own for own, verdict in zip(effect, verdicts, strict=True) if verdict == whole]
        assert found.value == pytest.approx(np.mean(alike), abs=0.01)


def test_effects_by_hand() -> None:
    found = claims.effects(make_factorial({TASKS[0]: 0.14}, noise=0.0, by_map=0.08))
    mean = found.set_index(["kind", "effect"])["estimate"]
    expected = {
        MAIN: 0.14, ("main", "feedback"): 0, ("main", "form"): 0.1,
        ("main", "cam_method"): 0.24,  # 0.2, and 0.08 for half of the cells
        ("interaction", "feedback"): 0, ("interaction", "form"): 0,
        ("interaction", "cam_method"): 0.08, HIRES: 0.18, GRAD: 0.10,
        ("rest", "weighting"): (3 * 0.18 + 4 * 0.10) / 7,  # without one of the four of HiResCAM
    }  # fmt: skip
    assert mean.to_dict() == pytest.approx(expected)
    flips = claims.effects(make_factorial({TASKS[0]: 0.0}), outcome="decoy_flip_rate")
    assert flips.set_index(["kind", "effect"])["estimate"][MAIN] == pytest.approx(0.1)  # fewer


def test_effects_are_those_of_a_linear_model_with_coded_factors() -> None:
    factorial = make_factorial({TASKS[0]: 0.1}, seeds=5, noise=0.2)
    wide = claims.cells(factorial)
    code = {name: np.where(wide.columns.get_level_values(name) == first, 0.5, -0.5)
            for name, (first, _) in claims.FACTORS.items()}  # fmt: skip
    terms: dict[tuple[str, str], Any] = {("main", name): own for name, own in code.items()}
    terms |= {("interaction", name): code["weighting"] * own for name, own in code.items()
              if name != "weighting"}  # fmt: skip
    design = np.column_stack([np.ones(16), *terms.values()])
    fitted = np.linalg.lstsq(design, wide.to_numpy().T, rcond=None)[0][1:]  # (terms, seeds)
    found = claims.effects(factorial).set_index(["kind", "effect"])
    for term, own in zip(terms, fitted, strict=True):
        expected = stats.mean_ci(own)
        numbers = found.loc[term, ["estimate", "ci_low", "ci_high"]].tolist()
        assert numbers == pytest.approx([expected.value, expected.low, expected.high])
        assert found.loc[term, "p"] == pytest.approx(stats.sign_flip(own))
        assert found.loc[term, "seeds_needed"] == stats.seeds_needed(np.std(own, ddof=1), 0.05)


def test_a_missing_cell_and_a_missing_factor_confound_nothing() -> None:
    effect = {TASKS[0]: 0.2, TASKS[1]: 0.2}
    runs = make_factorial(effect)
    gone = (runs["form"] == "share") & (runs["weighting"] == "distance") & (runs["seed"] == 2)
    found = claims.effects(runs[~(gone & (runs["task"] == TASKS[0]))])
    own = found.set_index(["task", "kind", "effect"])
    assert own.loc[(TASKS[0], *MAIN), ["seeds", "verdict"]].tolist() == [5, S]
    assert own.loc[(TASKS[1], *MAIN), "seeds"] == 6
    assert (TASKS[1], "main", "feedback") not in own.index  # it has no object masks
    assert ("pooled", "main", "feedback") not in own.index
    everywhere = runs[~((runs["form"] == "share") & (runs["weighting"] == "distance"))]
    assert (claims.effects(everywhere).dropna(subset="effect")["verdict"] == U).all()


def test_other_runs_are_no_cells_and_equal_losses_are_refused() -> None:
    extra = make_runs({"xbl_d_plus": 0.9, "rrr": 0.1})
    together = pd.concat([GOOD, extra], ignore_index=True)
    found, expected = claims.cells(together), claims.cells(GOOD)
    assert found.columns.tolist() == expected.columns.tolist()
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="wrong must be 0 with feedback decoy_only"):
        claims.cells(make_factorial({TASKS[0]: 0.1}, wrong=0.3))


# C3


@pytest.mark.parametrize(
    ("auroc", "verdicts", "whole"),
    [
        ({"distance_focus": 0.75}, (S, S), S),
        ({"distance_focus": 0.61}, (E, E), E),
        ({"distance_focus": 0.5}, (C, C), C),
        ({"distance_focus": 0.75, "iou": 0.74}, (S, E), E),
        ({"distance_focus": 0.75, "iou": 0.85}, (S, C), C),
        ({"distance_focus": 0.75, "wrong_reason": 0.9}, (S, S), S),  # of the other family
    ],
)
def test_c3_compares_with_the_counterpart_and_the_best_overlap_metric(
    auroc: dict[str, float], verdicts: tuple[str, ...], whole: str
) -> None:
    claim = judged(FEW, validity=make_validity(auroc))["C3"]
    deciding = [part for part in claim["parts"] if part["decides"]]
    assert [part["verdict"] for part in deciding] == list(verdicts)
    assert claim["verdict"] == whole
    if "iou" in auroc:
        assert "minus iou, the best one" in deciding[1]["statistic"]
        assert deciding[1]["estimate"] == pytest.approx(0.75 - auroc["iou"], abs=0.01)
    assert len(claim["parts"]) == 6  # the other target, and the same without the oracle


def test_auroc_is_averaged_over_networks_then_tasks_and_the_seeds_are_the_sample() -> None:
    rows = make_validity({}, tasks=TASKS[:2], seeds=3, noise=0.0)
    rows = rows[(rows["metric"] == "iou") & (rows["target"] == "flips")]
    rows["auroc"] = 0.6 + 0.1 * rows["seed"] + 0.2 * (rows["task"] == TASKS[1])
    rows.loc[rows["method"] == "rrr", "auroc"] += 0.02
    rows = rows[~((rows["method"] == "rrr") & (rows["task"] == TASKS[0]))]  # one network each
    found = claims.validity_table(rows).set_index("task")
    expected = {TASKS[0]: [0.6, 0.7, 0.8], TASKS[1]: [0.81, 0.91, 1.01],
                "pooled": [0.705, 0.805, 0.905]}  # fmt: skip
    for task, seeds in expected.items():
        mean = stats.mean_ci(seeds)
        numbers = found.loc[task, ["mean", "ci_low", "ci_high"]].tolist()
        assert numbers == pytest.approx([mean.value, mean.low, mean.high])
    assert found["networks"].tolist() == [3, 6, 9]
    # A seed that lacks a task is left out of the mean over the tasks.
    fewer = rows[~((rows["seed"] == 1) & (rows["task"] == TASKS[0]))]
    assert claims.validity_table(fewer).set_index("task")["seeds"].to_dict() == {
        TASKS[0]: 2, TASKS[1]: 3, "pooled": 2,
    }  # fmt: skip


def test_c3_is_reported_without_the_oracle() -> None:
    rows = make_validity({"distance_focus": 0.5})
    rows.loc[rows["method"] == "erm", "method"] = "oracle"
    better = (rows["method"] == "rrr") & (rows["metric"] == "distance_focus")
    parts = judged(FEW, validity=rows.assign(auroc=rows["auroc"] + 0.2 * better))["C3"]["parts"]
    for part in parts:
        mean = 0.1 if "oracle" in part["statistic"] else 0.0  # of 0.5 and 0.7 the mean is 0.6
        assert part["estimate"] == pytest.approx(mean, abs=0.01)
        assert part["decides"] == ("flips" in part["statistic"] and not mean)


def test_c3_is_paired_by_network() -> None:
    """A hard network without one of the metrics must not create a difference."""
    rows = make_validity({}, noise=0.0)
    rows.loc[rows["method"] == "rrr", "auroc"] -= 0.3
    rows = rows[~((rows["method"] == "rrr") & (rows["metric"] == "distance_focus"))]
    parts = judged(FEW, validity=rows)["C3"]["parts"]
    assert parts[0]["estimate"] == pytest.approx(0)


@pytest.mark.parametrize(
    ("column", "value"),
    [("explainer", "grad_cam"), ("target", "flips"), ("family", "object"),
     ("metric", "distance_focus")],
)  # fmt: skip
def test_c3_without_its_rows_is_undecided(column: str, value: str) -> None:
    found = judged(FEW, validity=VALID[VALID[column] != value])["C3"]
    assert found["verdict"] == U
    assert found["statistic"].endswith("(undefined)")


# C4


@pytest.mark.parametrize(
    ("effect", "focus", "expected"),
    [(0.2, 0.75, S), (0.0, 0.75, E), (-0.2, 0.75, C), (0.2, 0.6, E), (0.2, 0.4, C)],
)
def test_c4_follows_the_tasks(effect: float, focus: float, expected: str) -> None:
    factorial = make_factorial({TASKS[0]: effect, TASKS[1]: 0.2, TASKS[2]: 0.2})
    validity = make_validity({"distance_focus": focus})
    found = judged(make_runs(tasks=TASKS), factorial=factorial, validity=validity)["C4"]
    assert found["verdict"] == expected
    assert found["estimate"] == (3 if expected == S else 2 if focus == 0.75 else 0)


def test_c4_reports_random_effects_of_each_claim() -> None:
    factorial = make_factorial({TASKS[0]: 0.1, TASKS[1]: 0.2, TASKS[2]: 0.3}, noise=0.02)
    found = judged(make_runs(tasks=TASKS), factorial=factorial, validity=VALID)["C4"]
    pooled = [part for part in found["parts"] if not part["decides"]]
    assert [part["statistic"][:13] for part in pooled] == [
        "C1, all tasks", "C2, all tasks", "C3, all tasks",
    ]  # fmt: skip
    own = [stats.Estimate(row["estimate"], row["ci_low"], row["ci_high"], row["seeds"])
           for row in found["parts"] if row["statistic"].startswith("C2, Decoy")]  # fmt: skip
    mean, tau, _ = stats.random_effects(own)
    numbers = [pooled[1][name] for name in ("estimate", "ci_low", "ci_high")]
    assert numbers == pytest.approx([mean.value, mean.low, mean.high])
    assert f"tau {tau:.3f}" in pooled[1]["statistic"]
    assert not any(np.isnan(part["estimate"]) for part in found["parts"])


@pytest.mark.parametrize(
    ("of_runs", "of_factorial", "expected"),
    [
        (3, 3, S),
        (2, 2, U),  # the third task was not run
        (3, 2, U),  # C2 was not run on the third task
        (3, 1, U),
    ],
)
def test_c4_needs_each_claim_on_all_tasks(of_runs: int, of_factorial: int, expected: str) -> None:
    runs = make_runs(tasks=TASKS[:of_runs])
    factorial = GOOD[GOOD["task"].isin(TASKS[:of_factorial])]
    validity = VALID[VALID["task"].isin(TASKS[:of_runs])]
    found = claims.judge(
        runs, factorial=factorial, validity=validity, missing=TASKS[of_runs:]
    )[3]  # fmt: skip
    assert found["verdict"] == expected
    assert found["estimate"] == of_factorial
    assert found["missing"] == list(TASKS[of_runs:])


def test_one_task_contradicts_c4_although_the_mean_supports_c1() -> None:
    good = make_runs(tasks=TASKS[:2])
    bad = make_runs(CLEAN | {"xbl_d_plus": 0.5}, tasks=TASKS[2:], data="stand-in")
    runs = pd.concat([good, bad], ignore_index=True)
    found = judged(runs, factorial=GOOD, validity=VALID)
    assert (found["C1"]["verdict"], found["C4"]["verdict"]) == (S, C)
    worst = next(part for part in found["C4"]["parts"] if part["verdict"] == C)
    assert worst["statistic"].startswith("C1, Decoy MS-COCO (stand-in data): XBL-D+ minus")
    assert found["C4"]["data"] == {TASKS[0]: "original", TASKS[1]: "original", TASKS[2]: "stand-in"}


def test_by_seed_averages_over_the_tasks_and_needs_all_of_them() -> None:
    runs = make_runs(tasks=TASKS[:2], seeds=6)
    rows = (runs["split"] == "test_clean") & (runs["method"] == "rrr")
    runs.loc[rows & (runs["seed"] == 3) & (runs["task"] == TASKS[1]), "worst"] = nan
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
    raw = tables.select(runs, metric, split="test_decoy", explainer="grad_cam")
    expected = raw.set_index(["task", "method", "seed"])["value"].loc[table.index]
    assert (table[metric] == sign * expected).all()
    assert claims.correlation(table, metric).value > 0.9


def test_runs_are_ranked_within_their_task() -> None:
    """An easy task must not create a correlation; the oracle ranks in a plain loop."""
    easy, hard = (make_runs(tasks=[task], noise=0.1, informative=[]) for task in TASKS[:2])
    hard = hard[~hard["method"].isin(["uniform", "rrr", "rrr_g"])]  # ranks are shares of the runs
    easy[["value", "worst"]] += 10.0 * (easy[["split"]].to_numpy() != "val")
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
        found = claims.judge(runs, factorial=GOOD, validity=VALID, missing=TASKS[2:])
        claims.write(found, path)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    written = json.loads(contents[0], parse_constant=pytest.fail)  # NaN would not be JSON
    assert [claim["id"] for claim in written] == ["C1", "C2", "C3", "C4"]
    head = ["id", "claim", "statistic", "estimate", "ci_low", "ci_high", "verdict"]
    assert all(list(claim)[:7] == head for claim in written)
    assert written[3]["ci_low"] is None
    assert written[0]["estimate"] == float(f"{written[0]['estimate']:.6g}")
