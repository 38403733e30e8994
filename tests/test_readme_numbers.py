"""The numbers that the README tells are those of the results in git, to the last digit told."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from xblcore import config, stats
from xblcore.plots import style

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
TASKS = config.load(ROOT).tasks
SUMMARY = pd.read_csv(RESULTS / "paper" / "summary.csv")
NUMBER = r"(-?\d+\.\d+)"
WITH_INTERVAL = re.findall(rf"{NUMBER}\s+\[{NUMBER},\s+{NUMBER}\]", TEXT)
WITH_HALF_WIDTH = re.findall(rf"{NUMBER}\s+±\s+{NUMBER}", TEXT)


def in_tables() -> Iterator[tuple[float, float, float]]:
    for path in [*RESULTS.glob("*/*.csv"), *RESULTS.glob("experiments/*/*.csv")]:
        table = pd.read_csv(path)
        value = next((name for name in ("mean", "rho", "difference") if name in table), None)
        if value and "ci_low" in table:
            yield from table[[value, "ci_low", "ci_high"]].itertuples(index=False, name=None)


def in_claims(part: Any) -> Iterator[tuple[float, float, float]]:
    if isinstance(part, dict):
        if "ci_low" in part:
            yield part["estimate"], part["ci_low"], part["ci_high"]
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from in_claims(inner)


def above_erm() -> Iterator[tuple[float, float, float]]:
    """Clean accuracy of each method minus that of plain training, paired by seed."""
    rows = pd.read_csv(RESULTS / "metrics.csv").query("split == 'test_clean'")
    rows = rows[rows["metric"] == "accuracy"]
    by_method = rows.pivot(index=["task", "seed"], columns="method", values="value")
    for _, of_task in by_method.groupby("task"):
        for method in of_task.columns:
            found = stats.paired_difference(of_task[method], of_task["erm"])
            yield found.value, found.low, found.high


@pytest.fixture(scope="module")
def estimates() -> pd.DataFrame:
    claims = json.loads((RESULTS / "paper" / "claims.json").read_text(encoding="utf-8"))
    found = [*in_tables(), *in_claims(claims), *above_erm()]
    table = pd.DataFrame(found, columns=["value", "low", "high"]).astype(float)
    return table.assign(half=(table["high"] - table["low"]) / 2)


@pytest.fixture(scope="module")
def worth_of_marks() -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        annotation = importlib.import_module("annotation")
    table = annotation.summary(pd.read_csv(ROOT / "benchmarks" / "annotation.csv"))
    return str(table.to_string())


def is_told(estimates: pd.DataFrame, **told: str) -> bool:
    """Whether some estimate rounds to what is told, each number to its own digits."""
    close = [
        (estimates[name] - float(text)).abs() <= 0.5001 * 10.0 ** -len(text.partition(".")[2])
        for name, text in told.items()
    ]
    return bool(pd.concat(close, axis=1).all(axis=1).any())


@pytest.mark.parametrize("told", WITH_INTERVAL, ids=" ".join)
def test_an_estimate_with_its_interval_is_in_the_results(told, estimates, worth_of_marks):
    value, low, high = told
    if f"{value} [{low}, {high}]" not in worth_of_marks:
        assert is_told(estimates, value=value, low=low, high=high)


@pytest.mark.parametrize("told", WITH_HALF_WIDTH, ids=" ".join)
def test_an_estimate_with_its_half_width_is_in_the_results(told, estimates):
    value, half = told
    assert is_told(estimates, value=value, half=half)


def test_a_number_that_is_off_in_its_last_digit_is_not_told():
    value, low, high = told = ("0.857", "0.851", "0.863")
    one = pd.DataFrame([[float(x) for x in told]], columns=["value", "low", "high"])
    assert is_told(one, value=value, low=low, high=high)
    assert not is_told(one, value="0.858", low=low, high=high)
    assert not is_told(one, value=value, low=low, high="0.862")


def rows_below(head: str) -> list[list[str]]:
    """Cells of the table with this head, without the head and the rule."""
    table = TEXT[TEXT.index(head) :].partition("\n\n")[0]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()[2:]]


def test_the_table_of_methods_is_the_summary():
    rows = rows_below("| method | Fashion-MNIST |")
    assert len(rows) == SUMMARY["method"].nunique()
    for method, (name, *cells) in zip(SUMMARY["method"].unique(), rows, strict=True):
        assert name.strip("*").startswith(style.METHODS[method].label)
        of_method = SUMMARY[SUMMARY["method"] == method].set_index("task")
        told = [float(cell.partition(" ")[0]) for cell in cells]
        for task, accuracy, recovery in zip(TASKS, told[::2], told[1::2], strict=True):
            assert abs(accuracy - of_method.loc[task, "accuracy_clean"]) <= 0.0005001
            assert abs(recovery - of_method.loc[task, "recovery"]) <= 0.0005001


def test_what_a_run_costs_is_what_it_took():
    rows = rows_below("| task | ERM | XBL-D | RRR |")
    for task, (_, *seconds, all_runs) in zip(TASKS, rows, strict=True):
        took = SUMMARY[SUMMARY["task"] == task].set_index("method")["seconds_a_run"]
        for cell, method in zip(seconds, ("erm", "xbl_d", "rrr"), strict=True):
            assert abs(float(cell.removesuffix(" s")) - took[method]) <= 0.5
        runs = pd.read_csv(RESULTS / task / "runs.csv", usecols=["method", "weight", "seed"])
        assert all_runs.startswith(f"{len(runs.drop_duplicates())} runs, ")
