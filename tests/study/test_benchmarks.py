"""The benchmarks run, and their ratios compare neighbouring calls."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Import the scripts as if run, and undo what they change for all of PyTorch."""
    threads = torch.get_num_threads()
    monkeypatch.syspath_prepend(FOLDER)
    yield
    torch.set_num_threads(threads)
    for name in ("_timing", "training_step", "cams", "metrics"):
        sys.modules.pop(name, None)


def test_ratios_do_not_depend_on_the_speed_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    timing = import_module("_timing")
    clock, calls_made = [0.0], [0]

    def work(seconds: float) -> None:
        slowdown = 10 if calls_made[0] // 4 == 1 else 1  # in the second of three rounds
        clock[0] += slowdown * seconds
        calls_made[0] += 1

    monkeypatch.setattr(timing.time, "process_time", lambda: clock[0])
    options = timing.Options(quick=True, rounds=3, out=None)
    calls = {"base": lambda: work(1), "other": lambda: work(2)}
    ratios = timing.compare(calls, base="base", options=options)
    assert ratios == {"base": timing.Ratio(1, 1, 1), "other": timing.Ratio(2, 2, 2)}


@pytest.mark.parametrize(
    ("name", "peer", "column", "base"),
    [
        ("training_step", "torch", "method", "erm"),
        ("cams", "captum", "library", "xblcore"),
        ("metrics", "quantus", "library", "xblcore"),
    ],
)
def test_script_writes_its_table(
    name: str, peer: str, column: str, base: str, tmp_path: Path
) -> None:
    pytest.importorskip(peer)
    readme = (FOLDER / "README.md").read_bytes()
    import_module(name).main(["--quick", "--out", str(tmp_path)])
    table = pd.read_csv(tmp_path / f"{name}.csv", comment="#")
    assert (table[["ratio", "low", "high"]] > 0).all(axis=None)
    assert base in set(table[column])
    assert table[column].nunique() > 1
    assert (FOLDER / "README.md").read_bytes() == readme  # a quick run is no result
