"""Rerun what changed, the stages of a matrix side by side; what ``make reproduce`` calls.

    python -m xblcore.pipeline.reproduce [--jobs N]

``dvc repro`` is serial. So the stages are taken in generations, each needing only those before it,
and those of a matrix as several ``dvc repro -s STAGE`` at a time; their output goes to
``build/logs/<stage>.log``.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from xblcore import project
from xblcore.pipeline import lifeline, stage
from xblcore.pipeline.dvc_command import (
    PIPELINE,
    Dvc,
    DvcError,
    changed,
    drop_damaged,
    generations,
)
from xblcore.pipeline.outlook import of_results

POLL_SECONDS = 0.1
LOG_TAIL = 30
# Goes back over the line that tells a person how far it is; a log gets no such line.
CLEAR = "\r\x1b[K" if sys.stdout.isatty() else ""


class ReproductionError(RuntimeError):
    """The paper was not reproduced; the message tells which stage stopped."""


def run_side_by_side(root: Path, names: Sequence[str], jobs: int) -> None:
    """Run independent stages, ``jobs`` at a time, the longest first.

    Raises:
        ReproductionError: one failed; those beside it were ended.
    """
    logs = root / "build" / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    outlook = of_results(root)
    waiting, running = deque(outlook.longest_first(names)), dict[str, Dvc]()
    took: dict[str, float] = {}
    begun = time.monotonic()

    def progress() -> str:
        text = f"stage {len(took)} of {len(names)} done, {clock(time.monotonic() - begun)} so far"
        if took:
            ages = {name: command.age for name, command in running.items()}
            text += f", about {clock(outlook.left(took, ages, list(waiting), jobs))} left"
        return text

    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                name = waiting.popleft()
                log = logs / f"{project.file_name(name)}.log"
                running[name] = Dvc(root, ["repro", "-s", name], log)
            time.sleep(POLL_SECONDS)
            for name, command in list(running.items()):
                code = command.process.poll()
                if code:
                    how = f"was ended by signal {-code}" if code < 0 else "failed"
                    raise ReproductionError(f"{_tail(command.log)}\nstage {name} {how}")
                if code == 0:
                    took[name] = running.pop(name).age
                    print(f"{CLEAR}{name} took {clock(took[name])}; {progress()}", flush=True)
            if CLEAR:
                print(f"{CLEAR}{progress()}: {', '.join(running)}", end="", flush=True)
    finally:
        print(end=CLEAR, flush=True)
        for command in running.values():
            command.stop()


def clock(seconds: float) -> str:
    """Minutes and seconds.

    >>> clock(125.2)
    '2:05'
    """
    return f"{round(seconds) // 60}:{round(seconds) % 60:02d}"


def _tail(log: Path | None) -> str:
    text = log.read_bytes().decode(errors="replace") if log else ""  # text mode translates \r
    lines = re.sub(r"[^\n]*\r", "", text).splitlines()  # of a progress bar, its last state
    return "\n".join(lines[-LOG_TAIL:])


def reproduce(root: Path, jobs: int) -> None:
    """Bring everything up to date.

    Args:
        root: project folder.
        jobs: stages to run at a time.

    Raises:
        ReproductionError: a stage failed, or DVC does not find its results in order afterwards.
        DvcError: another DVC is at work, or a file of DVC's is damaged.
    """
    if Dvc(root, ["status", "-q", PIPELINE]).wait() == 0:
        print("Everything is up to date.")
        return
    for path in drop_damaged(root):
        print(f"{path.relative_to(root)} was damaged: deleted; what it was of is made anew")
    for generation in generations(root):
        names = changed(root, generation)  # known only when those before it have run
        many = [name for name in names if "@" in name]  # of a matrix
        for name in names:
            if name not in many and Dvc(root, ["repro", "-s", name]).wait():
                raise ReproductionError(f"stage {name} failed")
        if many:
            print(f"{len(many)} stages, {jobs} at a time; output in build/logs/", flush=True)
            run_side_by_side(root, many, jobs)
    if Dvc(root, ["status", "-q", PIPELINE]).wait():
        Dvc(root, ["status", PIPELINE]).wait()
        free = shutil.disk_usage(root).free / 2**30
        raise ReproductionError(
            "DVC reported success, yet its results above are not in order. Most often the disk was "
            f"full ({free:.1f} GiB are free now): make room and run this again"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    lifeline.end_with_starters()
    lifeline.unwind_on_signals(kill=False)
    parser = argparse.ArgumentParser(
        prog="python -m xblcore.pipeline.reproduce", description="Rerun what changed."
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=min(2, os.cpu_count() or 1),
        help="stages at a time (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error(f"--jobs must be at least 1, got {options.jobs}")
    root = project.root()
    begun = time.time()
    try:
        with project.only_writer(root / "dvc.lock", wait=0):
            reproduce(root, options.jobs)
    except (ReproductionError, DvcError, OSError) as error:
        told = stage.told(error) if isinstance(error, OSError) else error
        print(f"\n{told}", file=sys.stderr)
        for path in sorted(root.glob("results/failed/*.ipynb")):
            if path.stat().st_mtime >= begun:
                print(f"failed notebook: {path}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
