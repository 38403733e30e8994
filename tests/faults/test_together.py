"""Two at once: one does the work, the other says who is at it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import toy
import victims

from xblcore import project


def test_two_dvc_repro_and_make_reproduce_at_once(tmp_path: Path) -> None:
    folder = toy.project(tmp_path / "project")
    (folder / "wait").touch()
    first = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"], cwd=folder, env=toy.environment(folder)
    )
    try:
        assert victims.wait_until(lambda: toy.ran(folder), 60)
        for command in (["dvc", "repro"], ["xblcore.pipeline.reproduce"]):
            other = toy.python(folder, "-m", *command)
            assert other.returncode != 0
            assert "is being blocked by" in other.stderr and f"(PID {first.pid})" in other.stderr
            assert "Traceback" not in other.stderr
        (folder / "wait").unlink()
        assert first.wait(60) == 0
    finally:
        first.kill()
        first.wait()
    assert toy.ran(folder) == 1
    assert (folder / "out" / "numbers.csv").read_text() == toy.numbers("0.5")
    again = toy.python(folder, "-m", "dvc", "repro")
    assert again.returncode == 0 and "Running stage" not in again.stdout


def test_make_reproduce_twice_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = toy.project(tmp_path / "project")
    monkeypatch.chdir(folder)
    with project.only_writer(folder / "dvc.lock"):
        second = toy.python(folder, "-m", "xblcore.pipeline.reproduce")
    assert second.returncode == 1 and toy.ran(folder) == 0
    assert "is being written by another run (process " in second.stderr
    assert "wait until it ends, or end it with: kill " in second.stderr
    assert len(second.stderr.strip().splitlines()) == 1
