"""End with whoever started us.

A killed DVC leaves its command running, and the next ``dvc repro`` would start a second writer of
the same results. So a command watches its parent and ends when that does.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from types import FrameType

import psutil

# Names a process, further up than the parent, that a command shall not outlive.
ENDS_WITH = "XBL_ENDS_WITH"
POLL_SECONDS = 0.5
STAGE = "DVC_STAGE"  # in the environment of what DVC starts
SHELLS = {"sh", "ash", "bash", "dash", "fish", "ksh", "zsh"}


def starters() -> list[psutil.Process]:
    """Processes whose end is ours: the parent, and who started it where it is a mere ``sh -c``.

    DVC and make put a shell between, which lives on when they are killed. The search stops at the
    first other program: that one may well be left running by whoever started it (``nohup``).

    Raises:
        psutil.NoSuchProcess: one has ended. DVC starts a stage in its own session, so what is found
            outside is whoever took over its orphan.
    """
    found = []
    process = psutil.Process().parent()
    while process is not None:
        found.append(process)
        process = process.parent() if _runs_one_command(process) else None
    if STAGE in os.environ and not (found and _of_our_session(found[-1])):
        raise psutil.NoSuchProcess(found[-1].pid if found else 0, msg="DVC was killed")
    if ENDS_WITH in os.environ:
        found.append(psutil.Process(int(os.environ[ENDS_WITH])))
    return found


def _runs_one_command(process: psutil.Process) -> bool:
    try:
        program, *options = process.cmdline()
    except (psutil.Error, ValueError):  # ended, not ours to read, or without a command line
        return False
    return Path(program).name in SHELLS and "-c" in options


def _of_our_session(process: psutil.Process) -> bool:
    try:
        return os.getsid(process.pid) == os.getsid(0)
    except ProcessLookupError:
        return False


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def end_with_starters() -> None:
    """Send ourselves SIGTERM, from a thread, within a second of the end of a starter.

    Call it first of all: a parent that is gone by then cannot be watched.
    """
    try:
        watched = starters()
    except psutil.NoSuchProcess as error:
        raise SystemExit(f"the process that started this one has ended: {error}") from error

    def watch() -> None:
        while all(_alive(process) for process in watched):
            time.sleep(POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def unwind_on_signals(*, kill: bool) -> None:
    """Make SIGTERM and SIGINT raise SystemExit(128 + signal), so that ``finally`` blocks clean up.

    Args:
        kill: kill our descendants first: a kernel inside a long computation does not answer a
            polite request.
    """

    def unwind(number: int, _frame: FrameType | None) -> None:
        for other in (signal.SIGTERM, signal.SIGINT):
            signal.signal(other, signal.SIG_IGN)  # a second one must not stop the cleaning
        if kill:
            kill_descendants()
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, unwind)


def kill_descendants(process: psutil.Process | None = None) -> None:
    """Kill every process below ``process`` (default: us), at once and for good."""
    for descendant in (process or psutil.Process()).children(recursive=True):
        try:
            descendant.kill()
        except psutil.NoSuchProcess:
            continue
