"""xblcore.pipeline.outlook: the order of the stages, and the time that is told."""

from __future__ import annotations

import pandas as pd
import pytest

from xblcore import config, project
from xblcore.pipeline.outlook import Outlook, of_results


def test_an_equal_pace_is_told_to_the_second():
    """Two at a time, longest first, on a machine half as fast as the one of the results."""
    outlook = Outlook({"a": 30.0, "b": 20.0, "c": 10.0})
    assert outlook.longest_first(["c", "a", "b"]) == ["a", "b", "c"]
    # After 40 seconds b is done: a has 20 left, and c begins, which takes 20.
    assert outlook.left({"b": 40.0}, {"a": 40.0}, ["c"], 2) == pytest.approx(20)
    assert outlook.left({"b": 40.0, "a": 60.0, "c": 20.0}, {}, [], 2) == 0


def test_a_stage_nobody_knows_counts_as_the_mean():
    outlook = Outlook({"a": 30.0, "b": 10.0})
    assert outlook.left({"a": 30.0}, {}, ["new"], 1) == pytest.approx(20)
    assert outlook.longest_first(["b", "new", "a"]) == ["a", "new", "b"]
    assert Outlook({}).left({"a": 3.0, "b": 5.0}, {"c": 1.0}, ["d"], 1) == pytest.approx(7)


def test_a_late_stage_is_given_a_tenth_more():
    assert Outlook({}).left({"a": 10.0}, {"b": 50.0}, [], 2) == pytest.approx(1)


def test_the_results_tell_runs_and_seconds(tmp_path):
    assert of_results(tmp_path).usual == {}
    for folder in ("paper", "toy"):
        (tmp_path / "results" / folder).mkdir(parents=True)
    pd.DataFrame({"task": ["toy", "toy", "gone"], "method": ["erm", "rrr", "erm"],
                  "seconds_a_run": [2.0, 5.0, 1.0]}).to_csv(
        tmp_path / "results" / "paper" / "summary.csv")  # fmt: skip
    rows = [
        ("erm", 0, 0),
        ("erm", 0, 1),
        ("rrr", 1, 0),
        ("rrr", 1, 0),
        ("rrr", 3, 0),
        ("rrr", 3, 1),
    ]
    pd.DataFrame(rows, columns=["method", "weight", "seed"]).to_csv(
        tmp_path / "results" / "toy" / "runs.csv"
    )
    assert of_results(tmp_path).usual == {"train@toy-erm": 4.0, "train@toy-rrr": 15.0}


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"<<<<<<< HEAD\ntask,method\n",
        b"\xff\xfe",
        b"task,method,seconds_a_run\na,b,c\n",
        b"task,method,seconds_a_run\ntoy,erm,\n",
        b"task,method,seconds_a_run\ntoy,erm,inf\n",
        b"task,method,seconds_a_run\ntoy,erm,-2\n",
        b"task,method,seconds_a_run\ntoy,rrr,inf\n",
    ],
)
@pytest.mark.parametrize("name", ["paper/summary.csv", "toy/runs.csv"])
def test_damaged_results_keep_nobody_from_making_them_anew(tmp_path, name, damaged):
    for folder in ("paper", "toy"):
        (tmp_path / "results" / folder).mkdir(parents=True)
    summary = "task,method,seconds_a_run\ntoy,erm,2.0\n"
    (tmp_path / "results/paper/summary.csv").write_text(summary)
    (tmp_path / "results/toy/runs.csv").write_text("method,weight,seed\nerm,0,0\n")
    assert of_results(tmp_path).usual == {"train@toy-erm": 2.0}
    (tmp_path / "results" / name).write_bytes(damaged)
    assert of_results(tmp_path).usual == {}


def test_times_of_nothing_tell_nothing():
    assert Outlook({"a": 0.0, "b": 0.0}).left({"a": 10.0}, {}, ["b"], 1) == 0


def test_every_training_of_the_study_has_its_time_in_git():
    settings, usual = config.load(), of_results(project.root()).usual
    assert {*usual} == {f"train@{t}-{m}" for t in settings.tasks for m in settings.methods}
    assert min(usual.values()) > 1
