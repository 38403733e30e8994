"""The Makefile's own work, where a mistake would cost a person something."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from jupyterlab import NeverCheckForUpdate
from jupyterlab.labapp import LabApp
from traitlets import import_item

ROOT = Path(__file__).parents[1]
MADE = ["build/runs/a/weights.pt", "build/notebooks/x.ipynb", "build/.hidden", "data/decoy/a.npy"]
A_PERSON_S = [
    "build/workshop/marks/mine/journal/000.png.jsonl",
    "build/workshop/1_shortcut.ipynb",
    "build/your_own_data/images/annotations/journal/a.png.jsonl",
    "data/raw/a.gz",
    "results/metrics.csv",
]


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_clean_removes_what_was_built_and_spares_what_a_person_made(tmp_path):
    for name in (*MADE, *A_PERSON_S):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    command = ["make", "--file", str(ROOT / "Makefile"), "clean"]
    for _ in range(2):  # the second time, most is gone already
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        left = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
        assert left == set(map(Path, A_PERSON_S))
    shutil.rmtree(tmp_path / "build")
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_lab_asks_nobody_about_news():
    command = ["make", "--dry-run", "--file", str(ROOT / "Makefile"), "lab"]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    options = dict(re.findall(r"--LabApp\.(\w+)=(\S+)", said))
    assert LabApp.class_traits()["news_url"].from_string(options["news_url"]) is None
    assert LabApp.class_traits()["check_for_updates_class"]
    assert import_item(options["check_for_updates_class"]) is NeverCheckForUpdate


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_coverage_is_that_of_the_library_with_branches():
    command = ["make", "--dry-run", "--file", str(ROOT / "Makefile"), "coverage"]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    said = said.replace("\\\n", " ")
    assert re.search(
        r"-m pytest .*--cov=xblcore +--cov-branch .*json:(\S+)\n.*covered\.py \1", said
    )
    left_out = re.findall(r"--ignore +(\S+)", said)
    assert left_out and all((ROOT / path).exists() for path in left_out)


@pytest.mark.parametrize(("lines", "code"), [(950, 0), (949, 1)])
def test_coverage_is_judged_by_lines_whatever_the_branches(tmp_path, capsys, lines, code):
    totals = {"covered_lines": lines, "num_statements": 1000}
    totals |= {"covered_branches": 7, "num_branches": 8}
    report = tmp_path / "coverage.json"
    report.write_text(json.dumps({"totals": totals}), encoding="utf-8")
    assert importlib.import_module("covered").main(report) == code
    said = capsys.readouterr().out
    assert f"{lines / 10}% of the lines of xblcore and 87.5% of its branches" in said
    assert ("lines must be covered to 95%" in said) == bool(code)
