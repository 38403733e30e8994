"""Damaged files: refused with a remedy, or made anew; never other numbers."""

from __future__ import annotations

import json
import random
import re
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import toy

from xblcore import checkpoints, weights
from xblcore.evaluate import Measurement
from xblcore.experiments import store
from xblcore.experiments.spec import Spec
from xblcore.train import EpochLog

FLIPS = 200


def flipped(content: bytes, rng: random.Random) -> bytes:
    """With one bit turned."""
    damaged = bytearray(content)
    damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


@pytest.fixture
def run() -> checkpoints.Run:
    return checkpoints.Run(
        weight=3.0,
        seed=1,
        measurements=[Measurement("val", "none", f"m{i}", i / 7, 0.0) for i in range(20)],
        history=[EpochLog(i, 0.5, i / 3, 0.25) for i in range(5)],
        over_training=torch.rand(2, 3, 4, 4),
        state={"head.weight": torch.rand(20, 30)},
        seconds=1.5,
    )


def test_a_checkpoint_with_a_turned_bit(tmp_path: Path, run: checkpoints.Run) -> None:
    path = tmp_path / "run.pt"
    checkpoints.once(path, lambda: run)
    whole, told = path.read_bytes(), 0
    rng = random.Random(0)
    for _ in range(FLIPS):
        path.write_bytes(flipped(whole, rng))
        try:
            kept = checkpoints.once(path, lambda: pytest.fail("begun"))
        except ValueError as error:
            assert re.search(r"run.pt must .* delete it", str(error)), error
            told += 1
        else:  # the bit is of the archive's padding, dates and the like
            assert repr(kept.measurements + kept.history) == repr(run.measurements + run.history)
            assert torch.equal(kept.over_training, run.over_training)
            assert torch.equal(kept.state["head.weight"], run.state["head.weight"])
    assert told > FLIPS / 2
    path.unlink()
    assert checkpoints.once(path, lambda: run) is run, "the remedy"


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_a_checkpoint_cut_short(tmp_path: Path, run: checkpoints.Run, share: float) -> None:
    path = tmp_path / "run.pt"
    checkpoints.once(path, lambda: run)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ValueError, match="run.pt must hold tensors .* delete it"):
        weights.read(path)


def test_a_finished_run_of_an_experiment_with_a_turned_bit(tmp_path: Path) -> None:
    spec, path = Spec("decoy_coco", "erm", 0.0, 1), tmp_path / "run.json"
    told = {**asdict(spec), "data": "stand-in", "split": "val", "explainer": "none"}
    rows = [{**told, "metric": f"m{i}", "value": i / 7, "nan_share": 0.0} for i in range(5)]
    store.save(path, store.Finished(spec, rows, 2.5))
    whole, rng = path.read_bytes(), random.Random(0)
    for _ in range(FLIPS):
        path.write_bytes(flipped(whole, rng))
        try:
            kept = store.load(path, spec)
        except ValueError as error:
            assert re.search(r"run.json must hold .* delete (it|the file) and run", str(error))
        else:
            assert kept is not None and (kept.spec, kept.rows) == (spec, rows)


def test_a_finished_run_from_before_there_was_a_checksum_is_taken(tmp_path: Path) -> None:
    spec, path = Spec("decoy_coco", "erm", 0.0, 1), tmp_path / "run.json"
    store.save(path, store.Finished(spec, [], 2.5))
    kept = json.loads(path.read_text())
    del kept["sha256"]
    path.write_text(json.dumps(kept))
    assert store.load(path, spec) == store.Finished(spec, [], 2.5)


def test_an_object_of_dvc_s_cache_is_made_anew(tmp_path: Path) -> None:
    """By itself DVC gives out a damaged one as the result, and calls that up to date."""
    folder = toy.project(tmp_path / "project")
    assert toy.python(folder, "-m", "dvc", "repro").returncode == 0
    (kept,) = (p for p in (folder / ".dvc" / "cache" / "files").rglob("*") if is_result(p))
    kept.chmod(0o644)
    kept.write_bytes(kept.read_bytes().replace(b"0.5", b"0.6"))
    kept.chmod(0o444)  # by which DVC takes it for whole
    shutil.rmtree(folder / "out")

    done = toy.python(folder, "-m", "xblcore.pipeline.reproduce")
    assert done.returncode == 0, done.stderr
    assert f"{kept.relative_to(folder)} was damaged: deleted" in done.stdout
    assert (folder / "out" / "numbers.csv").read_text() == toy.numbers("0.5")
    assert kept.read_text() == toy.numbers("0.5")
    assert toy.ran(folder) == 2


def is_result(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 1000


@pytest.mark.parametrize(
    ("name", "content", "remedy"),
    [
        ("dvc.lock", "schema: '2.0'\nstages:\n  make:\n    cmd: py\n    deps:\n    - path", None),
        ("dvc.lock", "", "git checkout dvc.lock"),
        (".dvc/tmp/rwlock", '{"/x": {"wr', "rm .dvc/tmp/rwlock"),
    ],
    ids=["lock cut", "lock empty", "rwlock cut"],
)
def test_a_file_of_dvc_s_that_a_kill_cut_short(
    tmp_path: Path, name: str, content: str, remedy: str | None
) -> None:
    folder = toy.project(tmp_path / "project")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(content)
    done = toy.python(folder, "-m", "xblcore.pipeline.reproduce")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "DVC stopped: " in done.stderr and (remedy or "git checkout dvc.lock") in done.stderr
