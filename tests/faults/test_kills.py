"""SIGKILL at one moment each, on a small notebook; ``kill.py`` does it at many, on the study."""

from __future__ import annotations

import random
from pathlib import Path

import nbformat
import psutil
import pytest
import toy
import victims

# Twenty runs, each kept when it is finished, as those of the study are.
CELL = """\
import pathlib, time
from xblcore import project
text, rows = pathlib.Path("source").read_text(), []
for run in range(20):
    path = pathlib.Path("build/kept") / f"{run}.csv"
    if not path.exists():
        time.sleep(0.1)
        with open("begun", "a") as log:
            print(run, file=log)
        with project.write_atomic(path) as temporary:
            temporary.write_text(f"{run},{text}")
    rows.append(path.read_text())
with project.write_atomic("out/metrics.csv") as temporary:
    temporary.write_text("\\n".join(rows))
print(len(rows))
"""


@pytest.mark.parametrize("victim", victims.VICTIMS)
def test_killed_and_run_again(tmp_path: Path, victim: str) -> None:
    folder = toy.project(tmp_path / "project", toy.NOTEBOOK_STAGE)
    cells = [nbformat.v4.new_markdown_cell("# Numbers"), nbformat.v4.new_code_cell(CELL)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "numbers.ipynb")
    family = victims.Family(folder, ["-m", "dvc", "repro"], tmp_path / "log", [toy.REPOSITORY])
    try:
        assert family.wait_for("kernel"), family.told
        begun = folder / "begun"
        runs = random.Random(victim).randint(1, 12)
        assert victims.wait_until(lambda: begun.exists() and len(lines(begun)) >= runs, 60)
        target = family.find(victim)
        assert target is not None and victims.kill(target)
        assert family.end() == [], "orphans"
    finally:
        family.clear()
    assert family.process.returncode != 0
    assert not (folder / "dvc.lock").exists(), "not done"
    assert not (folder / "out" / "metrics.csv").exists()
    if victim == "kernel":
        assert "the kernel was killed (SIGKILL)" in family.told and "remedy" in family.told

    again = toy.python(folder, "-m", "dvc", "repro")
    assert again.returncode == 0, again.stderr
    assert (folder / "out" / "metrics.csv").read_text() == "\n".join(f"{i},0.5" for i in range(20))
    twice = len(lines(begun)) - len(set(lines(begun)))
    assert twice <= 1, "but for the one that was killed, no finished run is begun again"
    assert not [p for p in psutil.process_iter() if family.is_ours(p)]


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()
