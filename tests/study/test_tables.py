"""Tables of runs: recovery by hand, and means against a plain loop."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pandas as pd
import pytest

from tests.study.synthetic import TASKS, make_runs, result
from xblcore.study import runs, stats, tables
from xblcore.study.config import Condition
from xblcore.study.evaluate import Measurement

TASK, CLEAN = TASKS[0], ("test_clean", "none", "accuracy")
nan = math.nan


def accuracies(*entries: tuple[str, int, float, Condition], data: str = "original") -> pd.DataFrame:
    """Tidy table with the clean accuracy of some runs (method, seed, accuracy, condition)."""
    return runs.table(
        result(TASK, method, seed, {CLEAN: accuracy}, condition=condition, data=data)
        for method, seed, accuracy, condition in entries
    )


def test_recovery_is_paired_by_seed_and_by_what_concerns_its_bounds() -> None:
    main, resnet = Condition(), Condition(network="resnet8")
    found = tables.recoveries(
        accuracies(
            ("erm", 0, 0.2, main), ("erm", 1, 0.4, main), ("oracle", 0, 0.6, main),
            ("oracle", 1, 0.8, main), ("erm", 0, 0.1, resnet), ("oracle", 0, 0.9, resnet),
            ("rrr", 0, 0.5, main), ("rrr", 1, 0.5, main),
            ("rrr", 0, 0.4, Condition(annotated=25, margin=2)),  # bounds of the main grid
            ("rrr", 0, 0.3, resnet), ("rrr", 1, 0.3, resnet),  # seed 1 has no such bounds
            ("rrr", 0, 0.3, Condition(switch_on=3)),
        )
    )  # fmt: skip
    assert found.loc[found["method"] == "erm", "value"].tolist() == [0, 0, 0]
    assert found.loc[found["method"] == "oracle", "value"].tolist() == [1, 1, 1]
    own = found[found["method"] == "rrr"]
    assert own["value"].tolist() == pytest.approx([0.75, 0.25, 0.5, 0.25, nan, nan], nan_ok=True)
    assert own["nan_share"].tolist() == [0, 0, 0, 0, 1, 1]
    assert set(found["metric"]) == {"recovery"}
    assert own["condition"].tolist()[2] == "annotated=25, margin=2"


def test_recovery_survives_a_round_trip_through_csv() -> None:
    """Empty fields of the condition are read back as NaN."""
    table = make_runs(seeds=2)
    file = io.StringIO(table.to_csv(index=False))
    read = pd.read_csv(file, keep_default_na=False, na_values=[""])
    found, expected = (tables.recoveries(frame)["value"] for frame in (read, table))
    pd.testing.assert_series_equal(found, expected)


def test_summary_is_that_of_a_plain_loop() -> None:
    table = make_runs(tasks=TASKS[:2], seeds=3, noise=0.05)
    table["nan_share"] = table["seed"] / 10
    table["worst"] = table["value"] / 2
    found = tables.summarise(table).set_index(["task", "method", "split", "explainer", "metric"])
    for task in TASKS[:2]:
        for method in ("erm", "rrr"):
            key = ("test_decoy", "grad_cam", "iou")
            own = table[(table["task"] == task) & (table["method"] == method)]
            own = own[(own["explainer"] == "grad_cam") & (own["metric"] == "iou")]
            row, expected = found.loc[(task, method, *key)], stats.mean_ci(own["value"])
            assert row[["mean", "ci_low", "ci_high"]].tolist() == pytest.approx(
                [expected.value, expected.low, expected.high]
            )
            assert row["nan_share"] == pytest.approx(0.1)
            assert row["worst"] == pytest.approx(expected.value / 2)
            assert row["seeds"] == 3
    assert found.loc[(TASKS[0], "oracle", "test_clean", "none", "recovery"), "mean"] == 1


def test_summary_separates_conditions_and_counts_defined_seeds() -> None:
    few = Condition(annotated=25)
    table = accuracies(
        ("erm", 0, 0.5, Condition()), ("oracle", 0, 0.5, Condition()), ("rrr", 0, 0.4, Condition()),
        ("rrr", 0, 0.2, few), ("rrr", 1, 0.3, few),
    )  # fmt: skip
    found = tables.summarise(table, by=("annotated",))
    own = found[(found["method"] == "rrr") & (found["metric"] == "accuracy")].set_index("condition")
    assert own["mean"].to_dict() == pytest.approx({"": 0.4, "annotated=25": 0.25})
    assert own.loc["annotated=25", "annotated"] == 25
    recovery = found[(found["method"] == "rrr") & (found["metric"] == "recovery")]
    assert recovery["seeds"].tolist() == [0, 0]  # nothing was lost
    assert recovery["nan_share"].tolist() == [1, 1]


def test_behaviour_table_by_hand() -> None:
    entries = [("erm", 0.1), ("oracle", 0.9), ("rrr", 0.5), ("rrr_g", 0.1)]
    table = runs.table(
        result(TASK, method, seed, {
            CLEAN: accuracy, ("test_decoy", "none", "accuracy"): accuracy,
            ("test_decoy", "none", "decoy_flip_rate"): 0.25,
            # Chance is 0.1; seed 0 of RRR and all seeds of RRR-G learnt nothing.
            ("val", "none", "accuracy"): 0.12 if method == "rrr_g" or (method, seed) == ("rrr", 0)
            else 0.121,
        }, data="stand-in", weight=3.0 if method.startswith("rrr") else 0.0)
        for method, accuracy in entries for seed in (0, 1)
    )  # fmt: skip
    weights = pd.DataFrame(
        {"task": TASK, "method": method, "weight": weight, "recovers": method == "rrr"}
        for method in ("rrr", "rrr_g")
        for weight in (1.0, 3.0)
    )
    found = tables.behaviour_table(table, weights).set_index("Method")
    assert found["Task"].unique().tolist() == ["Decoy Fashion-MNIST (stand-in data)"]
    assert found["Weight"].to_dict() == {
        "ERM": "–", "Oracle": "–", "RRR": "3", "RRR-G": "no weight recovers",
    }  # fmt: skip
    assert found["Collapsed"].tolist() == ["0 of 2", "0 of 2", "1 of 2", "2 of 2"]
    assert found.loc["RRR", "Recovery ↑"] == "0.500 ± 0.000"
    assert found.loc["RRR", "Decoy flips ↓"] == "0.250 ± 0.000"
    assert found.loc["RRR", "Seconds per run"] == "2.0"


def test_condition_table_has_a_row_per_condition_and_method() -> None:
    few = Condition(annotated=25)
    table = accuracies(
        ("erm", 0, 0.2, Condition()), ("oracle", 0, 0.6, Condition()), ("rrr", 0, 0.5, Condition()),
        ("rrr", 0, 0.3, few), data="stand-in",
    )  # fmt: skip
    means = tables.summarise(table, by=("annotated",)).assign(
        annotated=lambda own: own["annotated"].map({25: "25"}).fillna("all")
    )
    found = tables.condition_table(means, "annotated")
    assert found["Task"].unique().tolist() == ["Decoy Fashion-MNIST (stand-in data)"]
    rows = found[["Condition", "Method", "Accuracy, clean ↑", "Recovery ↑"]].to_numpy().tolist()
    assert rows == [
        ["all", "ERM", "0.200", "0.000"],
        ["all", "Oracle", "0.600", "1.000"],
        ["all", "RRR", "0.500", "0.750"],
        ["25", "RRR", "0.300", "0.250"],
    ]
    assert found["Decoy flips ↓"].unique().tolist() == ["–"]  # not measured


def test_explanation_table_shows_undefined_values() -> None:
    values = {CLEAN: 0.5, ("test_decoy", "grad_cam", "iou"): 0.3}
    finished = [result(TASK, name, seed, values) for name in ("erm", "oracle") for seed in (0, 1)]
    for done in finished:
        done.rows.append(Measurement("test_decoy", "grad_cam", "distance_focus", nan, 1.0, 0.0))
    found = tables.explanation_table(runs.table(finished), "grad_cam").loc[0]
    assert found[["Distance focus ↑", "NaN"]].tolist() == ["undefined", "100.0%"]
    assert found["IoU ↑"] == "0.300 ± 0.000"
    assert found["Wrong reason ↓"] == "–"  # not measured
    with pytest.raises(ValueError, match="explainer must be one of grad_cam, .*, got 'lime'"):
        tables.explanation_table(runs.table(finished), "lime")


def test_shares_reported_by_hand() -> None:
    """Distances fall from 0.4 to 0.1, flips from 0.9 to 0.5; the oracle's are 0.1."""
    numbers = {"erm": (0.4, 0.9), "oracle": (0.2, 0.1), "rrr": (0.1, 0.5)}
    finished = [
        result(TASK, method, seed, {
            ("test_decoy", "grad_cam", "attribution_distance"): distance * (seed + 1),
            ("test_decoy", "occlusion", "attribution_distance"): 0.4,
            ("test_decoy", "none", "decoy_flip_rate"): flips,
        })
        for method, (distance, flips) in numbers.items() for seed in (0, 1)
    ]  # fmt: skip
    # RRR has all-zero Grad-CAMs in seed 1, which count as the worst distance.
    vanished = Measurement("test_decoy", "grad_cam", "attribution_distance", nan, 1.0, 1.0)
    finished[-1].rows[0] = vanished
    found = tables.shares_reported(runs.table(finished)).loc[TASK]
    expected = {"erm": [0, 0, 0], "oracle": [0.5, 0, 1], "rrr": [(0.75 - 0.25) / 2, 0, 0.5]}
    for method, shares in expected.items():
        own = found.loc[method, ["grad_cam", "occlusion", "decoy_flip_rate"]]
        assert own.tolist() == pytest.approx(shares), method


def test_files_have_the_same_bytes_for_the_same_numbers(tmp_path: Path) -> None:
    table = pd.DataFrame({"name": ["a", "b"], "value": [1 / 3, nan]})
    tables.write_csv(table, tmp_path / "new" / "table.csv")
    assert (tmp_path / "new" / "table.csv").read_bytes() == b"name,value\na,0.333333\nb,\n"
    assert tables.markdown(table) == (
        "| name | value |\n| --- | --- |\n| a | 0.3333333333333333 |\n| b | nan |\n"
    )


def test_overview_by_hand(tmp_path: Path) -> None:
    """Also of runs that were written and read, without the columns of conditions."""
    values = {"erm": (0.2, 1.0), "oracle": (0.6, 0.1), "rrr": (0.5, 0.3)}
    found = runs.table(
        result("decoy_coco", method, seed,
               {("test_clean", "none", "accuracy"): clean,
                ("test_decoy", "none", "decoy_flip_rate"): flips}, data="stand-in")
        for method, (clean, flips) in values.items()
        for seed in (0, 1)
    )  # fmt: skip
    costs = pd.DataFrame({"method": ["rrr", "rrr", "erm"], "ratio": [1.5, 2.0, 1.0]})
    tables.write_csv(found.dropna(axis="columns", how="all"), tmp_path / "runs.csv")
    read = tables.read_csv(tmp_path / "runs.csv")
    assert read is not None
    for table in (found, read):
        rows = tables.overview(table, costs).set_index("Method")
        assert [*rows.columns] == [
            "Decoy MS-COCO (stand-in data): recovery", "Decoy MS-COCO (stand-in data): flips",
            "Cost of a step",
        ]  # fmt: skip
        assert [*rows.loc["RRR"]] == ["0.75", "0.30", "1.50 to 2.00"]
        assert [*rows.loc["Oracle"]] == ["1.00", "0.10", "–"]


@pytest.mark.parametrize(("task", "expected"), [("decoy_cifar10", 1), ("natural_shortcut", 2)])
def test_collapsed_seeds_are_at_the_chance_level_of_their_task(task: str, expected: int) -> None:
    found = runs.table(
        result(task, "rrr", seed, {("val", "none", "accuracy"): accuracy})
        for seed, accuracy in enumerate((0.1, 0.5, 0.9))
    )
    assert tables.collapsed(found) == expected
