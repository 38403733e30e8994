"""A pipeline run under watch: what each process tells of itself, added up by stage and part."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

HOOK = Path(__file__).parent / "_hook"
STARTS, DATA, TRAINING = "starts and imports", "data", "training"
EVALUATION, FIGURES = "evaluation", "figures and tables"
DVC, FREE = "DVC and waiting", "no stage to run"
PARTS = (STARTS, DATA, TRAINING, EVALUATION, FIGURES, DVC, FREE)
ALL = "all"  # of the stages: what belongs to none
# What a process spends outside of the parts that it tells of. A kernel's cells draw and tabulate;
# before, between and after them it starts, waits for papermill and ends.
REST = {
    "ipykernel_launcher": STARTS,
    "xblcore.pipeline.notebook": STARTS,
    "xblcore.pipeline.fetch": DATA,
    "xblcore.pipeline.decoy": DATA,
    "xblcore.pipeline.gallery": EVALUATION,
    "xblcore.pipeline.strip": DVC,
    "xblcore.pipeline.code": DVC,
    "xblcore.pipeline.digest": DVC,
    "xblcore.pipeline.reproduce": DVC,
    "dvc": DVC,
}
NAMES = {"imports": STARTS, "cells": FIGURES}  # of parts that are called otherwise in a record


@dataclass(frozen=True)
class Process:
    """One process of the pipeline.

    Attributes:
        pid: its number.
        parent: that of the process that started it, shells left out; None for the first.
        command: what Python was started with.
        begun, ended: in seconds since 1970.
        parts: seconds on the wall and of the CPU by part.
    """

    pid: int
    parent: int | None
    command: Sequence[str]
    begun: float
    ended: float
    parts: Mapping[str, Sequence[float]]

    @property
    def module(self) -> str:
        """What it runs, the word behind ``-m``; empty for any other process."""
        words = [*self.command, "", ""]
        return words[words.index("-m") + 1] if "-m" in words else ""

    @property
    def stage(self) -> str:
        """The stage that the command line belongs to, without the values of its matrix."""
        words = list(self.command)
        if self.module == "dvc":
            return words[words.index("-s") + 1].partition("@")[0] if "-s" in words else ALL
        if self.module == "xblcore.pipeline.notebook":
            return Path(words[words.index(self.module) + 1]).stem
        if self.module == "xblcore.pipeline.reproduce":
            return ALL
        return self.module.removeprefix("xblcore.pipeline.")


def read(folder: Path) -> list[Process]:
    """What the hook wrote of processes that are part of the pipeline."""
    found = []
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        record["parent"] = record["parent"] and int(record["parent"])
        found.append(Process(**record))
    return [process for process in found if process.module in REST]


def covered(intervals: Sequence[tuple[float, float]]) -> float:
    """Seconds that lie in at least one of the intervals.

    >>> covered([(0, 2), (1, 3), (5, 6)])
    4
    """
    total, until = 0.0, float("-inf")
    for begun, ended in sorted(intervals):
        total += max(0, ended - max(begun, until))
        until = max(until, ended)
    return total


def own_parts(process: Process, children: Sequence[Process]) -> Iterator[tuple[str, float, float]]:
    """Part, seconds on the wall and of the CPU, of what a process spent itself.

    While a process that it started runs, it waits: that time is the other's.
    """
    rest = REST[process.module]
    whole = process.ended - process.begun
    alone = whole - covered([(child.begun, child.ended) for child in children])
    told = 0.0
    for name, (wall, cpu) in process.parts.items():
        part = NAMES.get(name, name)
        if name == "other" or rest == DVC:  # DVC's own imports are what DVC costs
            yield rest, 0.0, cpu
        else:
            told += wall
            yield part, wall, cpu
    yield rest, max(0.0, alone - told), 0.0


def add_up(processes: Sequence[Process], *, jobs: int) -> pd.DataFrame:
    """Seconds by stage and part.

    The first process lasts from the beginning to the end. What ``jobs`` places could have done in
    that time and did not, since no stage was there to run beside another, is a part of its own, so
    that all parts together are ``jobs`` times the wall time.

    Args:
        processes: of one run.
        jobs: stages that were run at a time, at most.

    Returns:
        Columns ``stage``, ``part``, ``seconds``, ``cpu_seconds``.

    Raises:
        ValueError: there is not exactly one first process.
    """
    known = {process.pid for process in processes}
    first = [process for process in processes if process.parent not in known]
    if len(first) != 1:
        raise ValueError(f"processes must have one that started all others, got {len(first)}")
    rows = []
    stages = {process.pid: process.stage for process in processes}
    for process in sorted(processes, key=lambda one: one.begun):
        stage = process.stage
        if process.module == "ipykernel_launcher":
            stage = stages[process.parent]
        children = [other for other in processes if other.parent == process.pid]
        rows += [
            {"stage": stage, "part": part, "seconds": wall, "cpu_seconds": cpu}
            for part, wall, cpu in own_parts(process, children)
        ]
    table = pd.DataFrame(rows).groupby(["stage", "part"], as_index=False, sort=False).sum()
    free = jobs * (first[0].ended - first[0].begun) - table["seconds"].sum()
    last = {"stage": ALL, "part": FREE, "seconds": max(0.0, free), "cpu_seconds": 0.0}
    return pd.concat([table, pd.DataFrame([last][: jobs - 1])], ignore_index=True)


def reproduce(folder: Path, records: Path, *, jobs: int) -> tuple[list[Process], float]:
    """Run the pipeline in ``folder`` under watch; its processes, and the seconds on the wall.

    Raises:
        subprocess.CalledProcessError: it failed; what it printed is on the terminal.
    """
    records.mkdir(parents=True)
    path = [str(HOOK), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path),
        "XBL_BENCHMARK_RECORDS": str(records),
    }
    command = [sys.executable, "-m", "xblcore.pipeline.reproduce", "--jobs", str(jobs)]
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True)
    return read(records), time.perf_counter() - started
