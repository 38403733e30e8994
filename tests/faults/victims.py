"""Start a command whose whole family can be found, kill one of it, and see that none lives on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

MARK = "XBL_FAULT"  # in the environment of all that a command starts, and of nothing else
# What a member of the family has in its command line.
VICTIMS = {
    "dvc": ("dvc", "repro"),
    "command": ("python", "-m", "xblcore.pipeline."),
    "kernel": ("ipykernel_launcher",),
}
POLL_SECONDS = 0.1


def environment(folder: Path, *code: Path) -> dict[str, str]:
    """Of a command in a project folder: this interpreter, and DVC's notes beside the folder.

    Args:
        folder: the project.
        code: folders to import from; none: the project's own code.
    """
    activated = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    notes = folder.parent / f"{folder.name}.notes"
    return os.environ | {
        "PATH": activated,
        "PYTHONPATH": os.pathsep.join(map(str, code or [folder])),
        "DVC_SITE_CACHE_DIR": str(notes),
    }


@dataclass
class Family:
    """A command in a project folder, and every process that it has started.

    Attributes:
        folder: the project.
        command: arguments of this interpreter.
        log: what all of the family print.
        code: as of :func:`environment`.
    """

    folder: Path
    command: Sequence[str]
    log: Path
    code: Sequence[Path] = ()
    mark: str = field(init=False, default_factory=lambda: uuid.uuid4().hex)
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, *self.command],
                cwd=self.folder,
                env=environment(self.folder, *self.code) | {MARK: self.mark},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def members(self) -> list[psutil.Process]:
        """All that is alive of the family, also where its parent has ended."""
        return [process for process in psutil.process_iter() if self.is_ours(process)]

    def is_ours(self, process: psutil.Process) -> bool:
        """Whether a process is alive and of this family."""
        try:
            return (
                process.environ().get(MARK) == self.mark
                and process.status() != psutil.STATUS_ZOMBIE
            )
        except psutil.Error:  # another user's, or ended meanwhile
            return False

    def find(self, victim: str) -> psutil.Process | None:
        """The member that runs as ``victim``, None where there is none."""
        for process in self.members():
            try:
                words = process.cmdline()
            except psutil.Error:
                continue
            if words and Path(words[0]).name not in ("sh", "bash", "dash"):
                line = " ".join(words)
                if all(word in line for word in VICTIMS[victim]):
                    return process
        return None

    def wait_for(self, victim: str, seconds: float = 300.0) -> psutil.Process | None:
        """The member that runs as ``victim`` once there is one; None if all end before."""
        wait_until(lambda: self.find(victim) or self.process.poll() is not None, seconds)
        return self.find(victim)

    def end(self, seconds: float = 600.0) -> list[str]:
        """Wait for the command, then for its family; the command lines of those that stay."""
        wait_until(lambda: self.process.poll() is not None, seconds)
        wait_until(lambda: not self.members(), 20.0)
        return [" ".join(process.cmdline()) for process in self.members()]

    def clear(self) -> None:
        """Kill all that is left."""
        for process in self.members():
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.process.wait()

    @property
    def told(self) -> str:
        """What they have printed."""
        return self.log.read_bytes().decode(errors="replace")


def kill(process: psutil.Process) -> bool:
    """SIGKILL; whether it was still alive."""
    try:
        process.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return False
    return True


def wait_until(true: Callable[[], object], seconds: float) -> bool:
    """Wait until a function gives something true; whether it did in time.

    Looks are counted, not seconds: a machine that stood still in between has done nothing either.
    """
    for _ in range(round(seconds / POLL_SECONDS)):
        if true():
            return True
        time.sleep(POLL_SECONDS)
    return False
