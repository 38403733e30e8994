"""A clock that is set back or far ahead, between two runs and within one.

The system's clock is everybody's, so here it is Python's: ``time.time`` of every process that the
run starts is shifted when it starts up. What a stage is worth is told by content, never by dates.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import nbformat
import pytest
import toy

YEAR = 365 * 24 * 3600
# Imported by Python as it starts. The first seconds of a process are not shifted where it jumps.
SHIFT = """
import os, time

_time, _time_ns, _begun = time.time, time.time_ns, time.monotonic()
_by, _after = {by}, {after}

def _shift():
    return _by if time.monotonic() - _begun > _after else 0

time.time = lambda: _time() + _shift()
time.time_ns = lambda: _time_ns() + _shift() * 10**9
"""


@pytest.fixture
def clock(tmp_path: Path):
    """Folder that shifts the clock of a Python that has it in its path."""

    def make(by: int, after: float = 0.0) -> Path:
        folder = tmp_path / f"clock{by}"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(SHIFT.format(by=by, after=after))
        return folder

    return make


@pytest.mark.parametrize("by", [-YEAR, YEAR], ids=["back", "next year"])
def test_what_is_done_stays_done_and_what_changed_is_run(tmp_path: Path, clock, by: int) -> None:
    folder, shifted = toy.project(tmp_path / "project"), clock(by)
    told = toy.python(folder, "-c", "import time; print(time.time())", path=shifted)
    assert abs(float(told.stdout) - time.time() - by) < YEAR / 12, "the clock is shifted"
    assert toy.python(folder, "-m", "dvc", "repro").returncode == 0
    # Files are dated as they would be, had the clock been right then and wrong now.
    for path in folder.rglob("*"):
        if ".dvc" not in path.parts:
            os.utime(path, (time.time() - by,) * 2)
    assert toy.python(folder, "-m", "dvc", "repro", path=shifted).returncode == 0
    assert toy.ran(folder) == 1, "nothing but dates has changed"

    (folder / "source").write_text("0.6")  # as long as it was
    assert toy.python(folder, "-m", "dvc", "repro", path=shifted).returncode == 0
    assert toy.ran(folder) == 2
    assert (folder / "out" / "numbers.csv").read_text() == toy.numbers("0.6")


def test_a_notebook_while_the_clock_jumps_back(tmp_path: Path, clock) -> None:
    folder = toy.project(tmp_path / "project", toy.NOTEBOOK_STAGE)
    v4 = nbformat.v4
    cells = [v4.new_markdown_cell("# Numbers")]
    cells += [v4.new_code_cell(f"import time\ntime.sleep(0.5)\nprint({i})") for i in range(3)]
    nbformat.write(v4.new_notebook(cells=cells), folder / "numbers.ipynb")
    written = []
    for path in (None, clock(-YEAR, after=1.0)):
        done = toy.python(folder, "-m", "dvc", "repro", "--force", path=path)
        assert done.returncode == 0, done.stderr
        written.append((folder / "out" / "numbers.ipynb").read_bytes())
    assert written[0] == written[1]
