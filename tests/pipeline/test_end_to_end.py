"""The whole pipeline, for real, in a copy of the project: smoke profile, five methods."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from xblcore import config
from xblcore.pipeline.expected import copy_in_profile

ROOT = Path(__file__).parents[2]
TASK = "decoy_fashion_mnist"
METHODS = ["erm", "oracle", "xbl_d", "xbl_d_released", "rrr_g"]
STRICT = ["task", "data", "method", "seed", "split", "explainer", "metric", "value"]


def run(folder: Path, *command: str, code: int = 0) -> str:
    """Output of a command that must end with ``code``, where nothing need be activated."""
    activated = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=os.environ | {"PATH": activated},
        capture_output=True,
        text=True,
        check=False,
    )
    told = f"{command} ended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert done.returncode == code, told
    return done.stdout


def set_methods(folder: Path, methods: list[str]) -> None:
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(params | {"methods": methods}), "utf-8")


def hashes(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("manifest.json", "weights.pt")
    }


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory):
    """A copy of the project in which everything was run once."""
    folder = tmp_path_factory.mktemp("project") / "clone"
    copy_in_profile(ROOT, folder, "smoke")
    set_methods(folder, METHODS)
    run(folder, "xblcore.pipeline.reproduce")
    return folder


@pytest.fixture
def changeable(reproduced, tmp_path):
    """A copy of it for a test that leaves it changed."""
    return Path(shutil.copytree(reproduced, tmp_path / "clone", symlinks=True))


def test_one_command_leaves_the_tables_figures_verdicts_and_the_page(reproduced):
    results = reproduced / "results"
    metrics = pd.read_csv(results / "metrics.csv", keep_default_na=False, na_values={"value": ""})
    assert list(metrics.columns) == STRICT
    assert list(dict.fromkeys(metrics["method"])) == METHODS
    assert dict(zip(metrics["task"], metrics["data"], strict=True)) == {
        TASK: "original", "decoy_cifar10": "stand-in", "decoy_coco": "stand-in"
    }  # fmt: skip
    assert set(metrics["seed"]) == {0, 1}
    for name in ("accuracy", "cams_hires_cam", "metrics", "gradients", "weight_sweep"):
        for suffix in (".png", ".svg"):
            assert (results / TASK / f"{name}{suffix}").stat().st_size > 1000
    claims = json.loads((results / "paper" / "claims.json").read_text(encoding="utf-8"))
    assert [claim["id"] for claim in claims] == ["C1", "C2", "C3", "C4"]
    assert {claim["verdict"] for claim in claims} == {"undecided"}  # two seeds decide nothing
    assert "</html>" in (results / "paper" / "index.html").read_text(encoding="utf-8")


@pytest.fixture
def verifiable(reproduced):
    """The same copy, for the time of a test with the numbers that the project expects."""
    file, metrics = reproduced / "results" / "expected.json", reproduced / "results" / "metrics.csv"
    before = metrics.read_bytes()
    shutil.copy(ROOT / "results" / "expected.json", file)
    yield reproduced
    file.unlink()
    metrics.write_bytes(before)


def test_the_results_agree_with_those_expected_of_the_smoke_profile(verifiable):
    output = run(verifiable, "xblcore.pipeline.verify")
    agree, judged = re.findall(r"Profile smoke: (\d+) of (\d+) numbers agree", output)[0]
    assert int(agree) == int(judged) >= 4 * len(METHODS)  # a recovery is not always defined
    taken_out = [method for method in config.load(ROOT).methods if method not in METHODS]
    assert f"{TASK}: {', '.join(taken_out)}: not in your grid" in output


def test_a_number_that_was_changed_is_found(verifiable):
    path = verifiable / "results" / "metrics.csv"
    table = pd.read_csv(path, keep_default_na=False, na_values={"value": [""]})
    match = (table["method"] == "rrr_g") & (table["split"] == "test_clean")
    match &= table["metric"] == "accuracy"
    table.loc[match, "value"] = 1.0
    table.to_csv(path, index=False)
    output = run(verifiable, "xblcore.pipeline.verify", code=1)
    off = [line.split()[:3] for line in output.split("These disagree:\n")[1].splitlines()]
    assert [TASK, "rrr_g", "accuracy_clean"] in off


def test_a_second_run_does_nothing(reproduced):
    before = hashes(reproduced / "results")
    output = run(reproduced, "dvc", "repro")
    assert "Running stage" not in output
    assert hashes(reproduced / "results") == before


def test_a_forced_rerun_gives_the_same_bytes(reproduced):
    folder = reproduced / "build" / "runs" / TASK / "xbl_d"
    before = hashes(folder)
    assert {"runs.csv", "history.csv", "train.ipynb"} <= set(before)
    run(reproduced, "dvc", "repro", "--force", "--single-item", f"train@{TASK}-xbl_d")
    assert hashes(folder) == before


def test_a_method_taken_out_of_the_grid_leaves_no_trace(changeable):
    set_methods(changeable, [method for method in METHODS if method != "rrr_g"])
    output = run(changeable, "dvc", "repro")
    assert "Running stage 'train@" not in output
    assert (changeable / "build" / "runs" / TASK / "rrr_g").is_dir()  # still there, not counted
    for path in (changeable / "results").rglob("*"):
        if path.suffix in (".csv", ".md", ".json"):
            text = path.read_text(encoding="utf-8")
            rows = [line for line in text.splitlines() if "rrr_g" in line or "| RRR-G" in line]
            assert rows == [], path


def test_the_experiments_run_on_workers_and_a_second_time_do_nothing(changeable):
    run(changeable, "xblcore.pipeline.experiments")
    results = changeable / "results" / "experiments"
    notebooks = sorted((ROOT / "notebooks" / "experiments").glob("*.ipynb"))
    assert len(notebooks) == 7
    for notebook in notebooks:
        folder = results / notebook.stem.split("_", 1)[1]
        assert (folder / notebook.name).is_file()
        assert len(pd.read_csv(folder / "table.csv")) > 0
        assert (
            [path.stem for path in sorted(folder.glob("*.png"))]
            == [path.stem for path in sorted(folder.glob("*.svg"))]
            != []
        )
    finished = {*(changeable / "build" / "experiments").rglob("*.json")}
    rows = pd.read_csv(results / "sweep" / "runs.csv.gz")
    assert set(rows["seed"]) == {0, 1} and set(rows["data"]) == {"original"}
    output = run(changeable, "xblcore.pipeline.experiments")
    assert "Running stage" not in output
    assert {*(changeable / "build" / "experiments").rglob("*.json")} == finished
