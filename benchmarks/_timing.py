"""What the benchmarks beside peers share: interleaved rounds, goals, versions, the report.

A round times every call in turn, and a call's figure is the median over the rounds of its ratio to
the first call of the same round, so that a machine that is slower for a while tilts nothing. With
one thread the clock is CPU time, which does not count what others run meanwhile.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from _options import CORES, make, told, whole

import xblcore._torchvision  # noqa: F401  so that peers can import torchvision
from xblcore import manifest, project, results

Call = Callable[[], object]

ROUNDS = 9
PARTS = ("method", "network")  # options that choose some of what a benchmark measures
BLOCK = 0.02  # seconds; a call that takes less is repeated until they are filled


@dataclass(frozen=True)
class Goal:
    """What a benchmark is to reach.

    Attributes:
        text: the goal in words.
        value: what was measured; NaN where it could not be.
        bound: the value must be at most this, or at least.
        at_least: which of the two.
    """

    text: str
    value: float
    bound: float
    at_least: bool = False

    @property
    def verdict(self) -> str:
        """``met``, ``MISSED`` or ``not measured``."""
        if math.isnan(self.value):
            return "not measured"
        met = self.value >= self.bound if self.at_least else self.value <= self.bound
        return "met" if met else "MISSED"


@dataclass
class Bench:
    """One run of a benchmark: its options, the versions of what took part, and the load.

    Attributes:
        name: of the benchmark and of the files it writes.
        rounds: how often everything is timed.
        threads: of PyTorch and OpenCV.
        tiny: a few small inputs, to see that the script runs; what it measures means nothing.
        out: folder of the files; None writes none.
        packages: versions of the peers that take part.
        load: of the machine, before.
        options: of the command line.
        begun: whether anything was timed; until then, an error is one of options or input files.
    """

    name: str
    rounds: int
    threads: int
    tiny: bool
    out: Path | None
    packages: dict[str, str] = field(default_factory=dict)
    load: tuple[float, ...] = field(default_factory=os.getloadavg)
    options: argparse.Namespace = field(default_factory=argparse.Namespace)
    begun: bool = False

    @property
    def clock(self) -> Callable[[], float]:
        """CPU time of one thread, else the time on the wall."""
        return time.process_time if self.threads == 1 else time.perf_counter

    def peer(self, module: str, package: str) -> ModuleType | None:
        """The peer's module; None, and a line that says how to get it, where there is none."""
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module.partition(".")[0]:
                raise
            print(f"{package} is not installed: left out; all peers: uv pip install --group bench")
            return None
        self.packages[package] = importlib.metadata.version(package)
        return found

    def seconds(self, calls: Mapping[str, Call]) -> dict[str, list[float]]:
        """Time of one call in each round, for each of the calls; every round turns the order."""
        self.begun = True
        repeats = {name: self._repeats(call) for name, call in calls.items()}
        taken: dict[str, list[float]] = {name: [] for name in calls}
        for round_ in range(self.rounds):
            for name in list(calls)[:: 1 if round_ % 2 == 0 else -1]:
                started = self.clock()
                for _ in range(repeats[name]):
                    calls[name]()
                taken[name].append((self.clock() - started) / repeats[name])
        return taken

    def _repeats(self, call: Call) -> int:
        """How many calls fill a block; warms up too."""
        if self.tiny:
            return 1
        taken = 0.0
        for _ in range(2):  # the first is slower, where it fills caches
            if taken < BLOCK:
                started = self.clock()
                call()
                taken = self.clock() - started
        return math.ceil(BLOCK / max(taken, 1e-6))

    def report(
        self,
        table: pd.DataFrame,
        goals: Sequence[Goal] = (),
        *,
        about_it: Mapping[str, object] | None = None,
    ) -> None:
        """Print the table, the goals and what was measured on, and write them.

        Args:
            table: one row a figure.
            goals: that it is judged by.
            about_it: what else is to stand beside the versions; may replace what stands there.
        """
        about = manifest.environment()
        own = {name: about["packages"][name] for name in ("torch", "numpy", "scipy", "xblcore")}
        about |= {
            "packages": own | self.packages,
            "threads": self.threads,
            "rounds": self.rounds,
            "clock": self.clock.__name__,
            "load_before": list(self.load),
            "load_after": list(os.getloadavg()),
            **(about_it or {}),
        }
        print(f"\n{self.name}\n{table.to_string(index=False, float_format='{:.3f}'.format)}\n")
        if self.tiny and goals:
            print("too small to judge by:")
        for goal in goals:
            sign = ">=" if goal.at_least else "<="
            print(f"{goal.verdict}: {goal.text}: {goal.value:.2f}, goal {sign} {goal.bound:g}")
        load = ["/".join(f"{x:.1f}" for x in about[f"load_{when}"]) for when in ("before", "after")]
        versions = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
        print(f"load {load[0]} before, {load[1]} after; {self.threads} thread(s), {self.rounds} "
              f"round(s), {about['clock']}; {about['processor']}")  # fmt: skip
        print(f"python {about['python']}, {versions}")
        if self.out is None:
            return
        results.write_csv(table, self.out / f"{self.name}.csv")
        rows = json.loads(table.to_json(orient="records"))  # NaN becomes null
        judged = [asdict(goal) | {"verdict": goal.verdict} for goal in goals]
        for goal in judged:
            goal["value"] = None if math.isnan(goal["value"]) else goal["value"]
        everything = {"benchmark": self.name, "about": about, "goals": judged, "rows": rows}
        text = json.dumps(everything, indent=1, allow_nan=False)
        results.write_text(text + "\n", self.out / f"{self.name}.json")


def rows_of(taken: Mapping[str, Sequence[float]], **about: object) -> Iterator[dict[str, object]]:
    """One row a call: median milliseconds, and the ratio to the first call of the round.

    Of the ratio there are median and quartiles: two calls whose quartiles overlap are as fast.
    """
    first = next(iter(taken.values()))
    for name, seconds in taken.items():
        low, ratio, high = np.quantile(np.divide(seconds, first), [0.25, 0.5, 0.75]).tolist()
        figures = {
            "ms": 1000 * statistics.median(seconds),
            "ratio": ratio,
            "low": low,
            "high": high,
        }
        yield about | {"by": name} | figures


def same(
    found: npt.ArrayLike, expected: npt.ArrayLike, what: str, *, tolerance: float = 1e-4
) -> None:
    """Two ways must agree before their times are compared.

    Raises:
        RuntimeError: they do not.
    """
    worst = float(np.max(np.abs(np.asarray(found, float) - np.asarray(expected, float))))
    if not worst <= tolerance:
        raise RuntimeError(f"{what} must agree within {tolerance:g}, got a difference of {worst:g}")


@contextmanager
def bench(
    name: str,
    doc: str,
    arguments: Sequence[str] | None,
    *,
    rounds: int = ROUNDS,
    own: Mapping[str, Mapping[str, Any]] | None = None,
    only_prints: str = "",
) -> Iterator[Bench]:
    """Options of the command line, and as many threads as they say inside the block.

    Args:
        name: of the benchmark.
        doc: of its module; the first line describes the command.
        arguments: of the command line; None: those of this process.
        rounds: unless the command line says otherwise.
        own: options of this benchmark alone, each with what argparse is told of it.
        only_prints: the one of them with which no file is written.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    for option, settings in (own or {}).items():
        parser.add_argument(option, **settings)
    parser.add_argument("--rounds", type=whole(), default=rounds)
    parser.add_argument("--threads", type=whole(CORES), default=1)
    parser.add_argument("--tiny", action="store_true", help="a few small inputs; writes no file")
    parser.add_argument(
        "--out", type=Path, help="folder of the .json and .csv; default: here, nowhere for a part"
    )
    options = parser.parse_args(arguments)
    # What is in git is of all; a part would take the place of the whole.
    part = any(getattr(options, one, None) != parser.get_default(one) for one in PARTS)
    out = options.out or (None if options.tiny or part else project.root() / "benchmarks")
    if part and out is None:
        print("a part of it: printed, and written only with --out")
    before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    try:
        count = 1 if options.tiny else options.rounds
        run = Bench(name, count, options.threads, options.tiny, out, options=options)
        with told(parser, begun=lambda: run.begun):
            if out and not (only_prints and getattr(options, only_prints)):
                make(out, "--out")
            yield run
    finally:
        torch.set_num_threads(before)
