"""A throw-away project, and processes that are ended after the test whatever happens."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Root of a project without stages, and the current folder."""
    (tmp_path / "params.yaml").write_text("{}\n")
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))  # also where nothing is installed
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a Python module in the project; its output is kept for ``communicate``."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str | Path) -> subprocess.Popen[str]:
        command = [sys.executable, *map(str, arguments)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def until() -> Callable[..., bool]:
    """Wait until a function gives something true; whether it did in time."""

    def wait(true: Callable[[], object], seconds: float = 60.0) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if true():
                return True
            time.sleep(0.02)
        return False

    return wait


@pytest.fixture
def pid_in(until: Callable[..., bool]) -> Callable[[Path], int]:
    """Wait for the process number that another process writes to a file."""

    def read(path: Path) -> int:
        assert until(lambda: path.is_file() and path.read_text().endswith("\n")), path
        return int(path.read_text())

    return read


@pytest.fixture
def gone() -> Callable[[int], bool]:
    """Whether a process has ended; a zombie has, though nobody has asked for its exit code."""

    def ended(pid: int) -> bool:
        try:
            return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return True

    return ended
