"""A full disk, a small tmpfs, while data are fetched, networks trained and results cached."""

from __future__ import annotations

import hashlib
from pathlib import Path

import nbformat
import pytest
import serving
import toy

FETCH = """
import sys
from pathlib import Path
from xblcore.datasets import sources
from xblcore.pipeline import stage

_, folder, mirror, sha256 = sys.argv
source = sources.Source(
    "toy", {"a.gz": sha256}, mirrors=(mirror,) if mirror else (), debian_folder=Path(folder)
)

def main():
    sources.fetch(source, Path("raw"), progress=False)
    return 0

sys.exit(stage.run(main))
"""


@pytest.mark.parametrize("way", ["copied", "downloaded"])
def test_fetching(tmp_path: Path, way: str) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "raw").mkdir()
    (tmp_path / "fetch.py").write_text(FETCH)
    with serving.running() as server:
        mirror = ""
        if way == "copied":
            (tmp_path / "source" / "a.gz").write_bytes(serving.CONTENT)
        else:
            mirror = server.mirror("one", "ok")
        out = toy.with_mounts(
            tmp_path,
            """
            mount -t tmpfs -o size=128k tmpfs raw
            "$PYTHON" fetch.py "$@" 2>&1 && exit 1
            echo "=== $(ls raw/toy)"
            mount -o remount,size=2m raw
            "$PYTHON" fetch.py "$@"
            sha256sum raw/toy/a.gz
            """,
            tmp_path / "source",
            mirror,
            serving.SHA256,
        )
    told, _, rest = out.partition("=== ")
    assert told.startswith("the disk is full: [Errno 28] No space left on device")
    assert told.splitlines()[1:] == ["make room and run it again; what was finished is kept"]
    assert rest.splitlines()[0] == "a.gz.part", "never under the name of the file"
    assert rest.splitlines()[-1].split()[0] == serving.SHA256


BUILD = """
import sys
import numpy as np
from pathlib import Path
from xblcore.pipeline import stage

def main():
    np.save("small/images.npy", np.zeros(1 << 20))
    return 0

sys.exit(stage.run(main))
"""


def test_building_tells_of_the_disk_in_words_that_numpy_has_not(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "build.py").write_text(BUILD)
    out = toy.with_mounts(
        tmp_path,
        'mount -t tmpfs -o size=128k tmpfs small; "$PYTHON" build.py 2>&1 && exit 1 || exit 0',
    )
    assert out.startswith("the disk is full: ") and "make room" in out and "Traceback" not in out


# All within one process, for PyTorch takes seconds to import.
TRAIN = """
import dataclasses, errno, os, subprocess, torch
from pathlib import Path
from xblcore import checkpoints
from xblcore.experiments import store
from xblcore.experiments.spec import Spec
from xblcore.train import EpochLog

state = {"weight": torch.arange(1 << 16)}
run = checkpoints.Run(1.0, 0, [], [EpochLog(1, 0.5, 0.5, 0.5)], torch.rand(1, 2), state, 1.0)
spec = Spec("decoy_coco", "erm", 0.0, 1)
row = {**dataclasses.asdict(spec), "data": "stand-in", "split": "val", "explainer": "none",
       "metric": "accuracy", "value": 0.5, "nan_share": 0.0}
finished = store.Finished(spec, [row] * 1000, 1.0)
checkpoint, kept = Path("build/run.pt"), Path("build/run.json")
writers = {checkpoint: lambda: checkpoints.once(checkpoint, lambda: run),
           kept: lambda: store.save(kept, finished)}
for path, write in writers.items():
    try:
        write()
    except OSError as error:
        assert error.errno == errno.ENOSPC and error.filename == str(path), repr(error)
    else:
        raise AssertionError(f"{path} was written")
    assert os.listdir("build") == [], "half a file"
subprocess.run(["mount", "-o", "remount,size=20m", "build"], check=True)
for write in writers.values():
    write()
again = checkpoints.once(checkpoint, None)
assert torch.equal(again.state["weight"], state["weight"])
assert store.load(kept, spec).rows == finished.rows
"""


def test_training_and_the_experiments_keep_whole_runs_alone(tmp_path: Path) -> None:
    (tmp_path / "build").mkdir()
    (tmp_path / "train.py").write_text(TRAIN)
    toy.with_mounts(tmp_path, 'mount -t tmpfs -o size=64k tmpfs build; "$PYTHON" train.py')


def test_a_notebook_of_which_not_even_the_failure_can_be_kept(tmp_path: Path) -> None:
    folder = toy.project(tmp_path / "project")
    v4 = nbformat.v4
    cells = [v4.new_markdown_cell("# Much output"), v4.new_code_cell("print('x' * 200_000)")]
    nbformat.write(v4.new_notebook(cells=cells), folder / "long.ipynb")
    (folder / "results").mkdir()
    out = toy.with_mounts(
        folder,
        """
        mount -t tmpfs -o size=64k tmpfs results
        "$PYTHON" -m xblcore.pipeline.notebook long.ipynb results/long.ipynb 2>&1 && exit 1
        echo "=== $(find results -type f)"
        """,
    )
    told, _, left = out.partition("=== ")
    assert told.startswith("the disk is full: [Errno 28]") and len(told.splitlines()) == 2
    assert left.strip() == "", "neither a part of the notebook nor one that looks whole"


def test_caching(tmp_path: Path) -> None:
    """DVC ends with 0 then; what it could not keep it must not take for kept."""
    folder = toy.project(tmp_path / "project")
    (folder / ".dvc" / "cache").mkdir()
    out = toy.with_mounts(
        folder,
        """
        mount -t tmpfs -o size=64k tmpfs .dvc/cache
        "$PYTHON" -m dvc repro 2>&1
        "$PYTHON" -m dvc status -q && exit 1
        echo "=== room"
        mount -o remount,size=20m .dvc/cache
        "$PYTHON" -m dvc repro
        "$PYTHON" -m dvc status -q
        find .dvc/cache -type f -size +64k -exec md5sum {} +
        """,
    )
    told, _, rest = out.partition("=== room")
    assert "No space left on device" in told
    kept = [line.split() for line in rest.splitlines() if ".dvc/cache/files" in line]
    right = toy.numbers("0.5").encode()
    assert [digest for digest, _ in kept] == [hashlib.md5(right).hexdigest()]
    assert (folder / "out" / "numbers.csv").read_bytes() == right
