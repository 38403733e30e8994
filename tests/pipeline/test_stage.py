"""xblcore.pipeline.stage around real commands."""

import contextlib
import errno
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from xblcore.pipeline import stage

Start = Callable[..., "subprocess.Popen[str]"]
ROOT = Path(__file__).parents[2]
PIPELINES = ("dvc.yaml", "experiments/dvc.yaml")
ENDLESS = """\
import os, sys, time
from xblcore.pipeline import stage

def main():
    with open("stage.pid", "w") as file:
        print(os.getpid(), file=file)
    time.sleep(600)

sys.exit(stage.run(main))
"""


def test_the_end_of_dvc_is_the_end_of_a_stage_s_command(
    folder: Path,
    start: Start,
    until: Callable[..., bool],
    pid_in: Callable[[Path], int],
    gone: Callable[[int], bool],
) -> None:
    (folder / "endless.py").write_text(ENDLESS)
    # As under DVC: a program, a shell that outlives it, the command.
    command = f"{shlex.quote(sys.executable)} endless.py & wait"
    dvc = start("-c", "import subprocess, sys; subprocess.run(['sh', '-c', sys.argv[1]])", command)
    pid = pid_in(folder / "stage.pid")
    dvc.kill()
    assert until(lambda: gone(pid), seconds=10)


@pytest.mark.parametrize("by_dvc", [True, False])
def test_a_command_begun_after_the_end_of_dvc_does_nothing(
    folder: Path, until: Callable[..., bool], gone: Callable[[int], bool], by_dvc: bool
) -> None:
    """The shell between them lives on. Without DVC, as with nohup, it is meant to."""
    (folder / "endless.py").write_text(ENDLESS)
    command = (
        f"echo $$ > shell.pid; until [ -e go ]; do sleep 0.05; done; "
        f"{shlex.quote(sys.executable)} endless.py; true"
    )
    program = "import subprocess, sys; subprocess.run(['sh', '-c', sys.argv[1]])"
    dvc = subprocess.Popen(
        [sys.executable, "-c", program, command],
        env=os.environ | ({"DVC_STAGE": "train"} if by_dvc else {}),
        start_new_session=True,
    )
    try:
        assert until(lambda: (folder / "shell.pid").is_file())
        dvc.kill()
        dvc.wait()
        (folder / "go").touch()
        shell = int((folder / "shell.pid").read_text())
        assert until(lambda: gone(shell) or (folder / "stage.pid").is_file())
        assert (folder / "stage.pid").is_file() is not by_dvc
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(dvc.pid, signal.SIGKILL)


def commands() -> set[str]:
    """Modules that the stages run."""
    found = set()
    for pipeline in PIPELINES:
        for one in yaml.safe_load((ROOT / pipeline).read_text(encoding="utf-8"))["stages"].values():
            given = one.get("do", one)["cmd"]
            words = " ".join([given] if isinstance(given, str) else given).split()
            found |= {words[i + 1] for i, word in enumerate(words) if word == "-m"}
    return found


@pytest.mark.parametrize("module", sorted(commands()))
def test_every_command_of_a_stage_ends_with_dvc(module: str) -> None:
    text = (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
    assert "stage.run(main)" in text or "lifeline.end_with_starters()" in text


@pytest.mark.parametrize(
    ("error", "begins", "remedy"),
    [
        (OSError(errno.ENOSPC, "No space left"), "the disk is full: [Errno 28]", "make room"),
        (OSError("100 requested and 7 written"), "the disk is full: 100 requested", "make room"),
        (OSError(errno.EDQUOT, "Disk quota"), "the disk is full: [Errno 122]", "make room"),
        (OSError(errno.EROFS, "Read-only", "a"), "not permitted: ", "get the permission"),
        (PermissionError(errno.EACCES, "Denied", "a"), "not permitted: ", "get the permission"),
        (FileNotFoundError("run: dvc repro"), "run: dvc repro", "run: dvc repro"),
    ],
)
def test_what_is_told(
    error: OSError,
    begins: str,
    remedy: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stage.lifeline, "end_with_starters", lambda: None)  # not of this process

    def main() -> int:
        raise error

    assert stage.run(main) == 1
    told = capsys.readouterr().err
    assert told.startswith(begins) and told.splitlines()[-1].startswith(remedy)
    assert len(told.splitlines()) <= 2
