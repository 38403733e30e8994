"""xblcore.pipeline.reproduce on a throw-away DVC project of toy stages."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from xblcore.pipeline import dvc_command, reproduce

Start = Callable[..., "subprocess.Popen[str]"]
PidIn = Callable[[Path], int]
Gone = Callable[[int], bool]
COMMAND = ("-m", "xblcore.pipeline.reproduce")

STAGES = """\
stages:
  strip:
    cmd: python stage.py strip source stripped
    deps: [source]
    outs: [stripped]
  train:
    matrix:
      task: [toy]
      method: [a, b, c]
    cmd: python stage.py ${item.method} stripped out-${item.method}
    deps: [stripped, "mood-${item.method}"]
    outs: ["out-${item.method}"]
  task:
    cmd: python stage.py task out-a table
    deps: [out-a, out-b, out-c]
    outs: [table]
"""
# Stages a and b end only when both have begun: side by side or never.
STAGE = """\
import os, pathlib, shutil, sys, time

name, source, destination = sys.argv[1:]
mood = pathlib.Path(f"mood-{name}")
mood = mood.read_text() if mood.exists() else "good"
with open("ran", "a") as log:
    print(name, file=log)
pathlib.Path(f"begun-{name}").write_text(f"{os.getpid()}\\n")
if name in ("a", "b"):
    end = time.monotonic() + 60
    while not (os.path.exists("begun-a") and os.path.exists("begun-b")):
        assert time.monotonic() < end, "alone"
        time.sleep(0.02)
if mood == "bad":
    kept = pathlib.Path("results/failed/train-b.ipynb")
    kept.parent.mkdir(parents=True)
    kept.touch()
    print("10 %", end="\\r20 %\\n")
    sys.exit("it went wrong")
if mood == "slow":
    time.sleep(600)
shutil.copy(source, destination)
"""


@pytest.fixture
def toy(folder: Path) -> Path:
    """A DVC project of which nothing has run."""
    (folder / "dvc.yaml").write_text(STAGES)
    (folder / "stage.py").write_text(STAGE)
    (folder / "source").touch()
    for method in "abc":
        (folder / f"mood-{method}").write_text("good")
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], check=True)
    return folder


def test_all_then_nothing_then_a_failure_then_an_interruption(
    toy: Path, start: Start, pid_in: PidIn, gone: Gone
) -> None:
    run = start(*COMMAND)
    out, err = run.communicate()
    assert run.returncode == 0, err
    ran = (toy / "ran").read_text().split()
    assert ran[0] == "strip" and sorted(ran[1:4]) == ["a", "b", "c"] and ran[4:] == ["task"]
    assert "stage 3 of 3 done" in out and "about 0:00 left" in out
    assert (toy / "table").is_file()

    run = start(*COMMAND)
    assert run.communicate()[0] == "Everything is up to date.\n"
    assert (run.returncode, (toy / "ran").read_text().split()) == (0, ran)

    for file in ("ran", "begun-a", "begun-b"):
        (toy / file).unlink()
    (toy / "mood-a").write_text("slow")
    (toy / "mood-b").write_text("bad")
    run = start(*COMMAND)
    out, err = run.communicate()
    assert run.returncode == 1
    assert "10 %" not in err and "20 %" in err  # of a progress bar, its last state
    assert "it went wrong" in err and "stage train@toy-b failed" in err
    assert err.endswith(f"failed notebook: {toy / 'results/failed/train-b.ipynb'}\n")
    assert sorted((toy / "ran").read_text().split()) == ["a", "b"]  # neither c nor task
    assert gone(pid_in(toy / "begun-a"))

    (toy / "mood-b").write_text("slow")
    for file in ("begun-a", "begun-b"):
        (toy / file).unlink()
    run = start(*COMMAND, "--jobs", "2")
    stages = [pid_in(toy / "begun-a"), pid_in(toy / "begun-b")]
    run.send_signal(signal.SIGINT)  # Ctrl-C
    run.communicate()
    assert run.returncode == 128 + signal.SIGINT
    assert all(gone(pid) for pid in stages)


def test_a_stage_that_training_needs_fails(toy: Path, start: Start) -> None:
    (toy / "source").unlink()
    (toy / "source").mkdir()  # cannot be copied as a file
    run = start(*COMMAND)
    _, err = run.communicate()
    assert run.returncode == 1
    assert "failed to reproduce 'strip'" in err
    assert "stage strip failed" in err
    assert (toy / "ran").read_text().split() == ["strip"]


def test_stages_are_told_apart(toy: Path) -> None:
    train = ["train@toy-a", "train@toy-b", "train@toy-c"]
    assert dvc_command.generations(toy) == [["strip"], train, ["task"]]
    assert dvc_command.changed(toy, train[:2]) == train[:2]
    assert dvc_command.changed(toy, []) == []


@pytest.mark.parametrize(
    ("methods", "got"),
    [
        ("", "'Value' object is not iterable"),
        ("3", "'Value' object is not iterable"),
        ("[a, b, c]\nmade: 2026-11-24", "Unsupported value of type 'date' in 'params.yaml:made'"),
    ],
)
def test_parameters_that_dvc_cannot_follow_are_told(
    toy: Path, start: Start, methods: str, got: str
) -> None:
    (toy / "params.yaml").write_text(f"methods: {methods}\n")
    stages = (toy / "dvc.yaml").read_text().replace("[a, b, c]", "${methods}")
    (toy / "dvc.yaml").write_text(stages)
    run = start(*COMMAND)
    _, err = run.communicate()
    assert run.returncode == 1 and "Traceback" not in err
    assert err.endswith(
        "DVC stopped: `tasks` and `methods` of params.yaml must be lists, and each value in it a "
        "number, truth value, list, mapping or text (as a date in quotes is), got others: "
        f"{got}\n"
    )


def test_an_error_that_is_not_dvc_s_is_not_blamed_on_the_parameters(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(graph: object) -> None:
        raise TypeError("ours")

    monkeypatch.setattr("networkx.topological_generations", broken)
    with pytest.raises(TypeError, match="^ours$"):
        dvc_command.generations(toy)


def test_success_that_is_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Dvc(dvc_command.Dvc):
        """DVC whose ``repro`` succeeds and whose ``status`` does not agree: a full disk."""

        def __post_init__(self) -> None:
            code = int(self.arguments[0] == "status")
            self.process = subprocess.Popen([sys.executable, "-c", f"raise SystemExit({code})"])

    monkeypatch.setattr(reproduce, "Dvc", Dvc)
    monkeypatch.setattr(reproduce, "generations", lambda root: [])
    with pytest.raises(reproduce.ReproductionError, match=r"the disk was full \(.* GiB are free"):
        reproduce.reproduce(folder, 2)


@pytest.mark.parametrize("jobs", ["0", "two"])
def test_jobs_must_be_a_number(folder: Path, start: Start, jobs: str) -> None:
    run = start(*COMMAND, "--jobs", jobs)
    assert "--jobs" in run.communicate()[1]
    assert run.returncode == 2
