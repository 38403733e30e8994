"""The benchmarks beside peers run, at sizes too small to judge by, and write what they say."""

from __future__ import annotations

import importlib
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
    "growth": (
        ["axis", "value"], {"erm", "xbl_d", "rrr", "explaining", "distance maps"}, "ms", 10
    ),
}  # fmt: skip
PARTS = {"starts and imports", "data", "training", "evaluation", "figures and tables",
         "DVC and waiting"}  # fmt: skip


def run(name: str, *options: object, tiny: bool = True) -> subprocess.CompletedProcess[str]:
    size = ["--tiny"] if tiny else []
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / f"{name}.py"), *size, *map(str, options)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
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


def test_a_training_step_of_every_method_asked_for_is_timed_beside_erm(tmp_path: Path) -> None:
    methods = ["--method", "xbl_d", "--method", "rrr", "--method", "xbl_d"]
    done = run("training_step", *methods, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "training_step.csv")
    assert table["method"].tolist() == ["xbl_d", "rrr"] and set(table["network"]) == {"small_cnn"}
    assert table[["time_ratio", "ms_per_step", "mib"]].gt(0).all(axis=None)
    assert table["memory_ratio"].gt(1).all(), "a second backward pass holds more than one"
    goals = json.loads((tmp_path / "training_step.json").read_text())["goals"]
    assert [goal["bound"] for goal in goals] == [1.1, 1.3]


def test_tiny_sizes_write_no_file_of_their_own_accord() -> None:
    before = sorted(path.stat().st_mtime_ns for path in BENCHMARKS.glob("*.*"))
    assert run("distance").returncode == 0
    assert sorted(path.stat().st_mtime_ns for path in BENCHMARKS.glob("*.*")) == before


needs_fashion_mnist = pytest.mark.skipif(
    not (ROOT / "data" / "raw" / "fashion-mnist").is_dir(), reason="needs Fashion-MNIST: make data"
)


@needs_fashion_mnist
def test_the_pipeline_s_time_is_split_and_a_finished_checkout_tells_of_the_same_runs(
    tmp_path: Path,
) -> None:
    copy, once, later = tmp_path / "copy", tmp_path / "once", tmp_path / "later"
    done = run("pipeline", "--jobs", 2, "--keep", copy, "--out", once)
    assert done.returncode == 0, done.stderr
    about = json.loads((once / "pipeline.json").read_text())["about"]
    table = pd.read_csv(once / "pipeline.csv").set_index("run")
    full, again = table.loc["from nothing"], table.loc[["nothing to do"]]
    assert set(full["part"]) == PARTS | {"no stage to run"}
    assert {"fetch", "decoy", "train", "task", "gallery", "paper"} <= set(full["stage"])
    wall = about["wall_seconds"]["from nothing"]
    # Two places, from the first process's first line on: nothing is counted twice, nothing is lost.
    assert wall < full["seconds"].sum() <= 2 * wall + 0.1
    assert set(again["part"]) == {"DVC and waiting"}
    trained = full[full["stage"] == "train"].set_index("part")["seconds"]
    assert (trained[["training", "evaluation", "data"]] > 0).all()

    done = run("pipeline", "--read", copy / "project", "--out", later, tiny=False)
    assert done.returncode == 0, done.stderr
    parts = pd.read_csv(later / "pipeline_parts.csv").set_index("part")
    assert set(parts.index) == PARTS
    assert parts["share"].sum() == pytest.approx(1, abs=0.001)
    written = [
        json.loads(path.read_text())["seconds"].values()
        for path in (copy / "project" / "build" / "runs").glob("*/*/manifest.json")
    ]
    runs = sum(map(sum, written))
    # All of a run is one of these; the imports of the first are not.
    assert 0 < parts.loc[["training", "evaluation"], "seconds"].sum() <= runs + 0.01


@pytest.mark.parametrize("name", ["pipeline", "growth"])
def test_what_is_not_there_to_be_read_is_told(name: str, tmp_path: Path) -> None:
    option = {"pipeline": ("--read", tmp_path), "growth": ("--estimate", "smoke")}[name]
    done = run(name, *option, "--out", tmp_path, tiny=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert {"pipeline": "make reproduce", "growth": "python benchmarks/growth.py"}[
        name
    ] in done.stderr


def test_growth_draws_and_its_costs_give_an_estimate(tmp_path: Path) -> None:
    done = run("growth", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    for suffix in ("png", "svg"):
        assert (tmp_path / f"growth.{suffix}").stat().st_size > 10_000
    costs = pd.read_csv(tmp_path / "growth_costs.csv")
    assert {"erm", "xbl_d", "rrr", "predict", "grad_cam", "occlusion"} == set(costs["what"]) - {
        "hires_cam", "hires_cam_log_prob", "input_x_gradient", "integrated_gradients"
    }  # fmt: skip
    assert (costs[["fixed_ms", "ms_per_image"]].sum(axis=1) > 0).all()


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # noqa: ANN201
    """What a benchmark says that ends before it measures anything."""

    def ended(name: str, *options: object) -> str:
        monkeypatch.syspath_prepend(str(BENCHMARKS))
        monkeypatch.setattr(sys, "argv", [name, *map(str, options)])
        with pytest.raises(SystemExit) as stopped:
            importlib.import_module(name).main()
        assert stopped.value.code == 2
        return capsys.readouterr().err.partition("error: ")[2].rstrip("\n")

    return ended


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many", "9" * 5000])
@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("distance", "--threads"),
        ("distance", "--rounds"),
        ("networks", "--jobs"),
        ("pipeline", "--jobs"),
        ("annotation", "--count"),
        ("annotation", "--epochs"),
        ("explorer", "--changes"),
    ],
)
def test_a_number_that_counts_nothing_is_refused(
    refused, name: str, option: str, value: str
) -> None:
    said = refused(name, option, value)
    assert said.startswith(f"argument {option}: must be a whole number, ")
    assert said.endswith(f", got {value!r}")


def test_no_more_threads_are_taken_than_the_machine_has_cores(refused) -> None:
    cores = os.cpu_count() or 1
    said = refused("distance", "--threads", cores + 1)
    assert said == (
        f"argument --threads: must be a whole number, from 1 to {cores}, got '{cores + 1}'"
    )


@pytest.mark.parametrize(
    ("name", "option", "rest"),
    [("distance", "--out", ""), ("networks", "--csv", "x.csv"), ("annotation", "--csv", "x.csv")],
)
def test_where_nothing_can_be_written_nothing_is_measured(
    refused, tmp_path: Path, name: str, option: str, rest: str
) -> None:
    (tmp_path / "file").touch()
    said = refused(name, option, tmp_path / "file" / rest)
    assert said.startswith(
        f"{option} must lead to a folder that can be written to, got {tmp_path / 'file'}: "
    )


@pytest.mark.parametrize("name", ["networks", "annotation"])
def test_a_table_is_not_written_over_a_folder(refused, tmp_path: Path, name: str) -> None:
    said = refused(name, "--csv", tmp_path)
    assert said == f"argument --csv: must be a file, got the folder {str(tmp_path)!r}"


@pytest.mark.parametrize(("name", "option"), [("growth", "--estimate"), ("pipeline", "--profile")])
def test_an_unknown_profile_is_told_before_anything_is_run(
    refused, tmp_path: Path, name: str, option: str
) -> None:
    out = BENCHMARKS if name == "growth" else tmp_path
    said = refused(name, option, "nope", "--out", out)
    assert said.startswith("profile must be one of ") and said.endswith("got 'nope'")


def test_a_copy_is_not_made_where_something_is(refused, tmp_path: Path) -> None:
    said = refused("pipeline", "--keep", BENCHMARKS, "--out", tmp_path)
    assert said == f"--keep must be a new or empty folder, got {BENCHMARKS}; name another"


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: b"\xff\xfe" + text,
        lambda text: text.replace(b"network", b"net", 1),
        lambda text: text.replace(b"small_cnn,28,erm,", b"small_cnn,28,erm,x", 1),
        lambda text: text.replace(b"small_cnn,28,erm,", b"small_cnn,28,erm,,", 1),
        lambda text: text + text.splitlines()[1] + b"\n",
        lambda text: text.splitlines()[0],
        lambda text: b"",
    ],
)
def test_damaged_costs_are_told_by_their_file(refused, tmp_path: Path, damage) -> None:
    path = tmp_path / "growth_costs.csv"
    path.write_bytes(damage((BENCHMARKS / path.name).read_bytes()))
    said = refused("growth", "--estimate", "smoke", "--out", tmp_path)
    assert said.startswith(f"{path} must be a table of costs, got ")
    assert said.endswith("; measure it anew: python benchmarks/growth.py")


@pytest.mark.parametrize("text", [None, "", "[]", '{"config": {}}', "[" * 100_000])
def test_a_checkout_to_compare_with_must_have_whole_manifests(
    refused, tmp_path: Path, text: str | None
) -> None:
    path = tmp_path / "build" / "runs" / "task" / "erm" / "manifest.json"
    if text is not None:
        path.parent.mkdir(parents=True)
        path.write_text(text)
    said = refused("growth", "--estimate", "smoke", "--compare", tmp_path)
    assert said.startswith(
        f"{tmp_path} must be a checkout in which networks were trained, got no manifest"
        if text is None
        else f"{path} must be a manifest, got "
    )
    assert said.endswith("make reproduce")


def test_to_estimate_writes_nothing(refused, tmp_path: Path) -> None:
    refused("growth", "--estimate", "smoke", "--out", tmp_path / "typo")
    assert not (tmp_path / "typo").exists()


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


@pytest.mark.parametrize(
    ("arguments", "whole"), [([], True), (["--method", "rbr"], False), (["--network", "n"], False)]
)
def test_a_part_is_not_written_over_the_whole(timing, arguments, whole: bool) -> None:
    own = {"--method": {"action": "append"}, "--network": {"default": "small"}}
    with timing.bench("some", "Some.", arguments, own=own) as run:
        assert (run.out is not None) is whole
    with timing.bench("some", "Some.", [*arguments, "--out", "build"], own=own) as run:
        assert run.out == Path("build")


def test_what_fails_once_measuring_has_begun_is_no_bad_option(timing, capsys) -> None:
    def fail() -> None:
        raise ValueError("within")

    with pytest.raises(ValueError, match="^within$"), timing.bench("some", "Some.", []) as run:
        run.seconds({"own": fail})
    with pytest.raises(SystemExit), timing.bench("some", "Some.", []):
        fail()
    assert capsys.readouterr().err.endswith("error: within\n")


@pytest.mark.parametrize(
    ("name", "what"), [("pipeline", "measured"), ("memory", "measure"), ("growth", "point")]
)
def test_a_fault_while_measuring_keeps_its_traceback(
    timing, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, what: str
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("within")

    module = importlib.import_module(name)
    monkeypatch.setattr(module, what, fail)
    monkeypatch.setattr(module, "run_again_as_a_kernel", lambda: None, raising=False)
    with pytest.raises(ValueError, match="^within$"):
        module.main(["--tiny", "--out", str(tmp_path)])


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
