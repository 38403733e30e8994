"""`dvc repro` from raw files to the page, in a copy of the project with tiny data."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
import yaml

from tests.data.tiny import make_raw

ROOT = Path(__file__).parents[1]
MISSING, TASKS = "decoy_fashion_mnist", ("decoy_cifar10", "decoy_coco")
METHODS = ["erm", "oracle", "xbl_d_plus", "xbl_d_released"]
EXPERIMENT = {
    "question": "Does it run?", "by": "annotated", "tasks": [MISSING, "decoy_cifar10"],
    "methods": ["erm", "oracle", "xbl_d_plus"], "conditions": [{}, {"annotated": 16}],
}  # fmt: skip
FACTORIAL = EXPERIMENT | {
    "weights": [3], "seeds": 2,
    "conditions": [
        {"feedback": "decoy_only", "form": "mass", "weighting": weighting, "wrong": 0, **cam}
        for weighting in ("distance", "overlap")
        for cam in ({"cam_method": "grad_cam", "score": "logit"},
                    {"cam_method": "hires_cam", "score": "projection"})
    ],
}  # fmt: skip


def run(folder: Path, *command: str) -> str:
    """Return the output of a command that must succeed."""
    environment = os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "LOKY_MAX_CPU_COUNT": "1",  # tiny runs take less time than the start of a worker
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tracked files in which one task has no raw data, after `dvc repro`."""
    pytest.importorskip("dvc")
    if not (ROOT / ".git").exists():
        pytest.skip("the project is no git repository")
    folder = tmp_path_factory.mktemp("pipeline") / "copy"
    for name in run(ROOT, "git", "ls-files", "-z").split("\0"):
        if (ROOT / name).is_file() and not name.startswith("results/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    params: dict[str, Any] = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    params |= {
        "profile": "smoke", "device": "cpu", "results": "build/smoke", "methods": METHODS,
        "tasks": [MISSING, *TASKS], "experiments": {"order": EXPERIMENT}, "factorial": FACTORIAL,
    }  # fmt: skip
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    make_raw(folder / "data" / "raw")
    shutil.rmtree(folder / "data" / "raw" / "fashion-mnist")
    run(folder, "git", "init", "--quiet")
    output = run(folder, "dvc", "repro")
    assert f"{MISSING} is left out, because its data is unavailable" in output
    return folder


def test_tables_and_claims(project: Path) -> None:
    results = project / "build" / "smoke"
    metrics = pd.read_csv(results / "metrics.csv")
    assert list(metrics.columns) == [
        "task", "data", "method", "seed", "split", "explainer", "metric", "value",
    ]  # fmt: skip
    assert set(metrics["data"]) == {"tiny"}
    assert list(dict.fromkeys(metrics["task"])) == list(TASKS)
    assert list(dict.fromkeys(metrics["method"])) == METHODS
    assert set(metrics["seed"]) == {0, 1}
    claims = json.loads((results / "paper" / "claims.json").read_text(encoding="utf-8"))
    assert [claim["id"] for claim in claims] == ["C1", "C2", "C3", "C4"]
    for claim in claims:
        assert {"claim", "statistic", "estimate", "ci_low", "ci_high"} <= set(claim)
        assert claim["verdict"] == "undecided"  # two seeds decide nothing
        assert claim["data"] == dict.fromkeys(TASKS, "tiny")
        assert claim["missing"] == [MISSING]
    assert len(pd.read_csv(results / "paper" / "summary.csv")) == len(TASKS) * len(METHODS)
    assert not (project / "results").exists()  # which holds the committed ones


@pytest.mark.parametrize("task", TASKS)
def test_figures_and_executed_notebook_of_a_task(project: Path, task: str) -> None:
    folder = project / "build" / "smoke" / task
    pictures = sorted(folder.glob("*.png"))
    assert pictures
    assert all(path.stat().st_size for path in (*pictures, folder / "table.md"))
    assert len(pd.read_csv(folder / "table.csv"))
    cells = nbformat.read(folder / "task.ipynb", as_version=4).cells
    assert all(cell.execution_count for cell in cells if cell.cell_type == "code")


def test_second_run_does_nothing(project: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (project / "build").rglob("*.png")}
    assert "Running stage" not in run(project, "dvc", "repro")
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_experiment_runs_and_uses_the_cache(project: Path) -> None:
    runs = set((project / "build" / "runs").rglob("*.pt"))
    run(project, "dvc", "repro", "experiments/dvc.yaml")
    added = set((project / "build" / "runs").rglob("*.pt")) - runs
    assert len(added) == 2 + 4 * 2  # XBL-D+ with few annotations, and the factorial experiment
    folder = project / "build" / "smoke" / "experiments"
    for name, files in {
        "order": {"experiment.ipynb", "table.csv", "decoy_cifar10.png"},
        "factorial": {"factorial.ipynb", "runs.csv", "effects.csv", "effects.png"},
        "validity": {"validity.ipynb", "validity.csv", "reported_and_actual.png"},
        "scale": {"scale.ipynb", "table.csv"},
    }.items():
        assert files <= {path.name for path in (folder / name).iterdir()}
    run(project, "dvc", "repro", "--force", "--single-item", "paper")
    claims = json.loads((folder.parent / "paper" / "claims.json").read_text(encoding="utf-8"))
    assert "distance minus overlap" in claims[1]["parts"][0]["statistic"].lower()
