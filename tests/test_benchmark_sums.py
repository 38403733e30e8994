"""What the benchmarks of the pipeline and of growth reckon from what they measured."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
from pathlib import Path

import pandas as pd
import pytest

from xblcore import config
from xblcore.explainers import CAMS, HELD_OUT

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
# Network and size of the tasks whose images the benchmarks know; a task of one's own is not timed.
SHAPES = {
    "decoy_fashion_mnist": ("small_cnn", 28),
    "decoy_cifar10": ("three_conv_cnn", 32),
    "decoy_coco": ("four_conv_cnn", 64),
}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch):  # noqa: ANN201
    """Import a module of the benchmarks."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


@pytest.mark.parametrize(
    ("images", "seconds", "expected"),
    [
        ([10, 20, 40], [1.5, 2.5, 4.5], (0.5, 0.1, 0)),
        ([10, 20], [1.0, 3.0], (0, 3 / 26, 6 / 26)),  # through the origin, not below it
        ([10, 20], [3.0, 1.0], (1.2, 0, 0.6)),  # not a slope below 0
    ],
)
def test_a_cost_is_a_line_that_is_never_below_zero(bare, images, seconds, expected) -> None:
    assert bare("_costs").line(images, seconds) == pytest.approx(expected)


@pytest.fixture
def costs() -> pd.DataFrame:
    """Every network and size at 1 ms an image, in training, and 0 in all else."""
    explained = [one.name for one in (*CAMS, *HELD_OUT)]
    what = dict.fromkeys(config.load(ROOT).methods, 1.0) | dict.fromkeys(explained, 0.0)
    return pd.DataFrame(
        [
            {"network": network, "size": size, "what": name, "fixed_ms": 0, "ms_per_image": each}
            for network, size in SHAPES.values()
            for name, each in (what | {"predict": 0.0}).items()
        ]
    )


def test_an_estimate_counts_every_run_and_every_image_of_the_profile(bare, costs) -> None:
    grid = dataclasses.replace(config.load(ROOT), profile="laptop", tasks=list(SHAPES))
    found = bare("_costs").estimate(costs, grid, data="stand-in").set_index(["task", "method"])
    expected = 0
    for task in map(grid.task, SHAPES):
        for method in grid.methods:  # each candidate with the seeds that choose, one with the rest
            jobs = {(weight, seed) for weight in task.weights[method] for seed in task.sweep_seeds}
            expected += len(jobs | {("chosen", s) for s in set(task.seeds) - set(task.sweep_seeds)})
    assert found["runs"].sum() == expected
    assert found.loc[("decoy_coco", "rrr"), "runs"] == 11  # four weights x two seeds, three more
    assert found.loc[("decoy_fashion_mnist", "erm"), "seconds"] == pytest.approx(8 * 6)
    hours = found.loc[("decoy_coco", "rrr"), "core_hours"]
    assert hours == pytest.approx(11 * 2000 * 10 / 1000 / 3600)


@pytest.mark.parametrize(
    ("what", "images"),
    [
        ("predict", 3 * 2000 + 3 * 5000),  # val, its swapped, test with decoy, its swapped, clean
        ("grad_cam", 3 * 500),  # val, test with decoy, clean
        ("hires_cam", 3 * 500 + 6 * 8),  # which watches eight images after every epoch too
        ("occlusion", 50),
    ],
)
def test_an_estimate_counts_what_a_run_measures(bare, costs, what: str, images: int) -> None:
    settings = dataclasses.replace(config.load(ROOT), profile="laptop").task("decoy_fashion_mnist")
    costs["ms_per_image"] = (costs["what"] == what).astype(float)
    found = bare("_costs").seconds_of_run(costs, settings, "erm", "original")
    assert found == pytest.approx(images / 1000)


def test_an_estimate_says_what_was_not_measured(bare, costs) -> None:
    settings = dataclasses.replace(config.load(ROOT), profile="paper").task("decoy_coco")
    with pytest.raises(
        ValueError, match="^costs must have erm of four_conv_cnn at 224 pixels, got"
    ):
        bare("_costs").seconds_of_run(costs, settings, "erm", "original")


def process(bare, pid: int, parent: int | None, command: str, begun: float, ended: float, **parts):  # noqa: ANN201
    words = ["python", "-m", *command.split()]
    return bare("_watched").Process(
        pid, parent, words, begun, ended, {name: (wall, wall / 2) for name, wall in parts.items()}
    )


def test_time_that_a_process_waits_for_others_is_theirs(bare) -> None:
    """Two jobs, 20 s; one of them has a stage, DVC around it, a kernel inside it."""
    notebook = "xblcore.pipeline.notebook build/notebooks/paper/train.ipynb out.ipynb"
    one = [
        process(bare, 1, None, "xblcore.pipeline.reproduce --jobs 2", 0, 20, imports=1, other=19),
        process(bare, 2, 1, "dvc --wait-for-lock repro -s train@a-b", 2, 20, other=18),
        process(bare, 3, 2, notebook, 4, 19, imports=1, other=14),
        process(bare, 4, 3, "ipykernel_launcher -f x", 6, 18, imports=2, other=3, cells=1,
                training=4, evaluation=2),
    ]  # fmt: skip
    table = bare("_watched").add_up(one, jobs=2).set_index(["stage", "part"])
    assert table["seconds"].to_dict() == {
        ("all", "DVC and waiting"): 2,
        ("train", "DVC and waiting"): 3,
        ("train", "starts and imports"): 3 + 2 + 3,
        ("train", "figures and tables"): 1,
        ("train", "training"): 4,
        ("train", "evaluation"): 2,
        ("all", "no stage to run"): 20,
    }
    assert table.loc[("train", "training"), "cpu_seconds"] == 2


def test_processes_that_nobody_started_are_refused(bare) -> None:
    alone = [process(bare, n, None, "dvc repro", 0, 1) for n in (1, 2)]
    with pytest.raises(ValueError, match="^processes must have one that started all others, got 2"):
        bare("_watched").add_up(alone, jobs=1)


def test_the_readme_has_the_goals_as_they_were_last_measured(bare) -> None:
    goals = bare("goals")
    text = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    table = text[text.index(goals.HEAD[0]) :].partition("\n\n")[0]
    assert table + "\n" == goals.table(), "renew it with: python benchmarks/goals.py"


@pytest.mark.parametrize(
    "damage",
    [
        {"seconds": [1.0]},
        {"seconds": {}},
        {"seconds": {"0/0": "fast"}},
        {"seconds": {"0/0": math.nan}},
        {"seconds": {"0/0": 0}},
        {"config": []},
        {"method": 3},
        {"files": None},
    ],
)
def test_a_manifest_must_be_one_throughout(bare, tmp_path: Path, damage: dict) -> None:
    recorded, path = bare("_recorded"), tmp_path / "manifest.json"
    manifest = {key: kind() for key, kind in recorded.KINDS.items()} | {"seconds": {"0/0": 1.5}}
    path.write_text(json.dumps(manifest))
    assert recorded.read_manifest(path) == manifest
    path.write_text(json.dumps(manifest | damage))
    with pytest.raises(ValueError) as refused:
        recorded.read_manifest(path)
    (key,) = damage
    assert str(refused.value) == (
        f"{path} must be a manifest, got {refused.value.__cause__!r}; "
        "delete it and run: make reproduce"
    )
    assert str(refused.value.__cause__).startswith(f"{key} ")


@pytest.mark.parametrize("name", ["cams", "distance", "metrics", "training_step"])
def test_the_goals_in_git_are_those_of_the_figures_in_git(bare, name: str) -> None:
    told = json.loads((BENCHMARKS / f"{name}.json").read_text(encoding="utf-8"))["goals"]
    found = bare(name).goals(pd.read_csv(BENCHMARKS / f"{name}.csv"))
    assert [goal.text for goal in found] == [goal["text"] for goal in told]
    for goal, one in zip(found, told, strict=True):
        rounded = pytest.approx(one["value"], rel=1e-6, abs=5e-4)  # the table has three decimals
        assert (goal.value, goal.verdict) == (rounded, one["verdict"])


def test_a_goal_that_could_not_be_measured_has_no_number(bare, tmp_path: Path) -> None:
    goal = {"text": "fast", "value": None, "bound": 5, "at_least": True, "verdict": "not measured"}
    (tmp_path / "one.json").write_text(json.dumps({"goals": [goal]}))
    assert bare("goals").table(tmp_path).splitlines()[2:] == [
        "| one | fast | – | ≥ 5 | not measured |"
    ]
