"""Tables from runs with a known truth: the grid decides what is read, and the numbers are exact."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats as scipy_stats
from synthetic import TRUTHS, make_runs, write_grid

from xblcore import results, tables
from xblcore.plots.style import label


@pytest.fixture
def runs() -> pd.DataFrame:
    return make_runs()


@pytest.fixture
def grid(tmp_path, runs):
    return write_grid(tmp_path, runs)


def test_runs_are_read_back_to_the_last_bit_and_in_the_order_of_the_grid(tmp_path, runs, grid):
    read = results.load_runs(root=tmp_path)
    pd.testing.assert_frame_equal(read, runs, check_exact=True, check_dtype=False)
    assert (read["explainer"] == "none").any(), "'none' is an explainer, not a missing value"
    assert list(grid) == [("decoy_fashion_mnist", method) for method in TRUTHS]


def test_a_method_taken_out_of_the_grid_leaves_no_trace(tmp_path, grid):
    params = yaml.safe_load((tmp_path / "params.yaml").read_text())
    params["methods"].remove("rrr")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    assert results.folder("decoy_fashion_mnist", "rrr", root=tmp_path).is_dir(), "its runs stay"

    read, manifests = results.load_runs(root=tmp_path), results.load_manifests(root=tmp_path)
    found = (results.metrics_table(read), results.method_table(read),
             tables.summary_table(read, manifests))  # fmt: skip
    assert all("rrr" not in set(table["method"]) for table in found)
    assert "| RRR |" not in tables.table_markdown(read, manifests)


def test_missing_runs_name_the_stage_that_makes_them(tmp_path, grid):
    folder = results.folder("decoy_fashion_mnist", "rrr", root=tmp_path)
    (folder / "runs.csv").unlink()
    with pytest.raises(FileNotFoundError, match="dvc repro train@decoy_fashion_mnist-rrr"):
        results.load_runs(root=tmp_path)
    (folder / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match="no runs of rrr on decoy_fashion_mnist"):
        results.load_manifests(root=tmp_path)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"config": {"profile": "smoke"}}, "must be of profile 'laptop' .* got 'smoke'; run: dvc"),
        ({"data": "stand-in"}, "one kind of data, got original and stand-in"),
    ],
)
def test_runs_that_do_not_belong_together_are_refused(tmp_path, grid, change, text):
    path = results.folder("decoy_fashion_mnist", "rrr", root=tmp_path) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=text):
        results.load_runs(root=tmp_path)


def test_runs_that_are_not_what_was_written_are_refused(tmp_path, grid):
    """DVC's cache, of which a damaged file is given out as a result, does not see it."""
    folder = results.folder("decoy_fashion_mnist", "rrr", root=tmp_path)
    text = (folder / "runs.csv").read_text()
    (folder / "runs.csv").write_text(text.replace(",accuracy,0.", ",accuracy,1.", 1))
    with pytest.raises(ValueError, match="runs.csv must be .*, as in its manifest, .* make reprod"):
        results.load_runs(root=tmp_path)
    (folder / "runs.csv").write_text(text)
    assert len(results.load_runs(root=tmp_path)) > 0
    (folder / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="manifest.json must be a manifest, got JSON.* make repr"):
        results.load_runs(root=tmp_path)


def test_a_task_outside_the_grid_is_refused(tmp_path, grid):
    with pytest.raises(ValueError, match="task must be one of decoy_fashion_mnist, got 'mnist'"):
        results.load_runs(["mnist"], root=tmp_path)


def test_metrics_csv_holds_chosen_runs_in_the_contract_s_columns(runs):
    table = results.metrics_table(runs)
    expected = "task,data,method,seed,split,explainer,metric,value"
    assert list(table.columns) == expected.split(",")
    assert len(table) == runs["chosen"].sum() < len(runs)
    key = ["task", "method", "seed", "split", "explainer", "metric"]
    assert not table.duplicated(key).any(), "one number for each key"


def test_equal_numbers_are_equal_bytes(tmp_path, runs):
    table = results.metrics_table(runs)
    for name in ("a.csv", "b.csv"):
        results.write_csv(table, tmp_path / name)
    first = (tmp_path / "a.csv").read_bytes()
    assert first == (tmp_path / "b.csv").read_bytes()
    assert b"\r" not in first
    back = pd.read_csv(tmp_path / "a.csv", keep_default_na=False)
    np.testing.assert_allclose(back["value"], table["value"], rtol=1e-9)


@pytest.fixture
def behaviour(runs) -> pd.DataFrame:
    return runs[runs["explainer"] == "none"]


def pick(table, method, metric, split="test_clean", explainer="none"):
    found = table.query(
        "method == @method and metric == @metric and split == @split and explainer == @explainer"
    )
    assert len(found) == 1
    return found.iloc[0]


def test_means_and_intervals_are_student_s(behaviour):
    row = pick(results.method_table(behaviour), "xbl_d", "accuracy")
    values = behaviour.query(
        "chosen and method == 'xbl_d' and metric == 'accuracy' and split == 'test_clean'"
    )["value"]
    low, high = scipy_stats.t.interval(0.95, 4, values.mean(), scipy_stats.sem(values))
    assert row["seeds"] == 5
    assert [row["mean"], row["ci_low"], row["ci_high"]] == pytest.approx([values.mean(), low, high])


def test_recovery_is_paired_by_seed_whatever_the_order_of_rows(behaviour):
    clean = behaviour[
        behaviour["chosen"]
        & (behaviour["metric"] == "accuracy")
        & (behaviour["split"] == "test_clean")
    ]
    wide = clean.pivot(index="seed", columns="method", values="value")
    by_hand = ((wide["rrr"] - wide["erm"]) / (wide["oracle"] - wide["erm"])).mean()
    shuffled = behaviour.sample(frac=1, random_state=0)
    assert pick(results.method_table(behaviour), "rrr", "recovery")["mean"] == pytest.approx(
        by_hand
    )
    found = pick(results.method_table(shuffled), "rrr", "recovery")["mean"]
    assert found == pytest.approx(by_hand)


@pytest.mark.parametrize("missing", ["erm", "oracle"])
def test_without_floor_or_ceiling_there_is_no_recovery(missing, behaviour):
    left = behaviour[behaviour["method"] != missing]
    assert "recovery" not in set(results.method_table(left)["metric"])


def test_a_seed_without_a_gap_has_no_recovery_and_is_counted(behaviour):
    rows = (
        (behaviour["metric"] == "accuracy")
        & (behaviour["split"] == "test_clean")
        & (behaviour["seed"] == 0)
    )
    level = behaviour.assign(
        value=behaviour["value"].where(~(rows & (behaviour["method"] == "oracle")), 0.42)
    )
    row = pick(results.method_table(level), "rrr", "recovery")
    assert (row["seeds"], row["nan_share"]) == (4, pytest.approx(0.2))


def test_an_undefined_metric_is_left_out_counted_and_said(tmp_path, runs):
    rows = (runs["metric"] == "iou") & (runs["method"] == "rrr")
    runs.loc[rows & (runs["seed"] == 1), ["value", "nan_share"]] = [math.nan, 1.0]
    manifests = write_grid(tmp_path, runs)
    read = results.load_runs(root=tmp_path)
    row = pick(results.method_table(read), "rrr", "iou", "test_decoy", "grad_cam")
    assert (row["seeds"], row["nan_share"]) == (4, pytest.approx(0.2))
    cells = tables.readable(read, manifests, explainer="grad_cam").set_index("Method")
    assert cells.loc["RRR", "IoU ↑"].endswith("(20.0% NaN)")
    assert "NaN" not in cells.loc["RRR", "Wrong reason ↓"]
    assert set(cells["NaN"]) == {"0.0%"}, "the usual share of a row has a column of its own"


def test_dead_cams_are_said_once_a_row(tmp_path, runs):
    rows = (runs["method"] == "rrr") & (runs["explainer"] == "grad_cam")
    runs.loc[rows & (runs["metric"] != "dead_cam"), "nan_share"] = 0.25
    cells = tables.readable(runs, write_grid(tmp_path, runs), explainer="grad_cam")
    row = cells.set_index("Method").loc["RRR"]
    assert row["NaN"] == "25.0%" and not row.drop("NaN").str.contains("NaN").any()


def test_one_seed_has_a_mean_and_no_interval(tmp_path):
    runs = make_runs(seeds=1)
    cells = tables.readable(runs, write_grid(tmp_path, runs))
    assert "±" not in cells["Accuracy, clean ↑"].iloc[0]


@pytest.mark.parametrize("data", ["original", "stand-in"])
def test_table_md_says_what_it_is_of(tmp_path, data):
    runs = make_runs(data=data)
    text = tables.table_markdown(runs, write_grid(tmp_path, runs))
    head = text.splitlines()[0]
    assert head == f"# Decoy Fashion-MNIST, {data} data, profile laptop"
    positions = [text.index(f"| {label(method)} |") for method in TRUTHS]
    assert positions == sorted(positions), "methods in the grid's order"
    widths = {line.count("|") for line in text.split("##")[0].splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_the_summary_has_one_row_a_task_and_method(tmp_path):
    runs = make_runs(tasks=("decoy_fashion_mnist", "decoy_coco"))
    table = tables.summary_table(runs, write_grid(tmp_path, runs))
    assert table[["task", "method"]].drop_duplicates().shape[0] == 2 * len(TRUTHS) == len(table)
    row = table.query("task == 'decoy_coco' and method == 'xbl_d'").iloc[0]
    assert row["weight"] == 3.0
    assert row["recovery"] == pytest.approx(1, abs=0.1)
    assert row["distance_focus"] == pytest.approx(TRUTHS["xbl_d"].focus, abs=0.02)
    assert row["seconds_a_run"] == 13.5  # the median of 12.5 to 16.5 with two seeds three times
    assert not table.isna().any(axis=None)
