"""The benchmarks beside peers run, at sizes too small to judge by, and write what they say."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
# Each benchmark: what tells its rows apart, the ways that are there with no peer, its figure, and
# how many goals it is judged by at these sizes.
EXPECTED = {
    "cams": (["network", "what", "images"], {"forward without gradient", "xblcore"}, "ms", 12),
    "metrics": (["side", "metric"], {"one pass over the maps", "xblcore", "NumPy"}, "ms", 6),
    "distance": (["side"], {"one pass", "xblcore", "SciPy, a loop"}, "ms", 2),
    "data": (["task"], {"reading and hashing the files", "load", "build"}, "ms", 0),
    "memory": (
        ["images"],
        {"forward without gradient", "xblcore", "xblcore, one call for all"},
        "peak_mib",
        1,
    ),
}  # fmt: skip


def run(name: str, *options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / f"{name}.py"), "--tiny", *map(str, options)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("name", EXPECTED)
def test_a_benchmark_prints_a_table_and_writes_it_with_what_it_was_measured_on(
    name: str, tmp_path: Path
) -> None:
    keys, ways, figure, goals = EXPECTED[name]
    if name == "data" and not (ROOT / "data" / "raw" / "fashion-mnist").is_dir():
        pytest.skip("needs Fashion-MNIST: make data")
    done = run(name, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "load " in done.stdout
    table = pd.read_csv(tmp_path / f"{name}.csv")
    for _, rows in table.groupby(keys):
        assert ways <= set(rows["by"])
        assert not rows["by"].duplicated().any()
    assert table[figure].gt(0).all()
    written = json.loads((tmp_path / f"{name}.json").read_text())
    assert pd.DataFrame(written["rows"])["by"].tolist() == table["by"].tolist()
    assert len(written["goals"]) == goals
    assert {goal["verdict"] for goal in written["goals"]} <= {"met", "MISSED", "not measured"}
    about = written["about"]
    assert (about["rounds"], about["threads"], len(about["load_before"])) == (1, 1, 3)
    assert {"torch", "numpy", "xblcore"} <= set(about["packages"])


def test_tiny_sizes_write_no_file_of_their_own_accord() -> None:
    before = sorted(path.stat().st_mtime_ns for path in BENCHMARKS.glob("*.*"))
    assert run("distance").returncode == 0
    assert sorted(path.stat().st_mtime_ns for path in BENCHMARKS.glob("*.*")) == before


@pytest.fixture
def timing(monkeypatch: pytest.MonkeyPatch):  # noqa: ANN201
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import _timing

    return _timing


@pytest.mark.parametrize(
    ("value", "bound", "at_least", "verdict"),
    [
        (1.1, 1.1, False, "met"),
        (1.2, 1.1, False, "MISSED"),
        (20, 20, True, "met"),
        (19, 20, True, "MISSED"),
        (math.nan, 20, True, "not measured"),
        (math.nan, 20, False, "not measured"),
    ],
)
def test_a_goal_that_could_not_be_measured_is_not_met(
    timing, value: float, bound: float, at_least: bool, verdict: str
) -> None:
    assert timing.Goal("goal", value, bound, at_least).verdict == verdict


def test_every_round_times_every_call_and_turns_the_order(timing) -> None:
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in ("limit", "own", "peer")}
    own = timing.Bench("some", rounds=3, threads=1, tiny=True, out=None)
    taken = own.seconds(calls)
    assert order == ["limit", "own", "peer", "peer", "own", "limit", "limit", "own", "peer"]
    assert {name: len(seconds) for name, seconds in taken.items()} == dict.fromkeys(calls, 3)


def test_ratios_are_taken_within_a_round(timing) -> None:
    """Not of the medians, which would be 3 to 2."""
    taken = {"limit": [1.0, 2.0, 10.0], "own": [3.0, 2.0, 10.0]}
    limit, own = timing.rows_of(taken, images=7)
    assert limit == {"images": 7, "by": "limit", "ms": 2000, "ratio": 1, "low": 1, "high": 1}
    assert own == {"images": 7, "by": "own", "ms": 3000, "ratio": 1, "low": 1, "high": 2}


@pytest.mark.parametrize("found", [[1.0, 2.2], [1.0, math.nan]])
def test_ways_that_disagree_are_not_compared_by_time(timing, found: list[float]) -> None:
    with pytest.raises(RuntimeError, match="^the maps must agree within 0.1, got a difference of"):
        timing.same(found, [1.0, 2.0], "the maps", tolerance=0.1)


def test_an_absent_peer_is_left_out_with_a_line_that_says_how_to_get_it(timing, capsys) -> None:
    own = timing.Bench("some", rounds=1, threads=1, tiny=True, out=None)
    assert own.peer("no_such_module.inner", "no-such-package") is None
    assert capsys.readouterr().out == (
        "no-such-package is not installed: left out; all peers: uv pip install --group bench\n"
    )
    assert own.packages == {}
