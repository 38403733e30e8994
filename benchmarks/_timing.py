"""Interleaved timing, and the tables that the benchmarks write.

Every call is timed next to the one that it is compared with, round after round. A machine that is
slower for a while therefore hardly changes a ratio. One thread, CPU time.
"""

from __future__ import annotations

import argparse
import importlib
import math
import platform
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from xblcore import _torchvision as _torchvision  # so that peers can import torchvision
from xblcore import project
from xblcore.study import tables

Call = Callable[[], object]

FOLDER = Path(__file__).parent
ROUNDS = 9
BLOCK = 0.05  # seconds; a faster call is repeated to fill it


@dataclass(frozen=True)
class Options:
    """Options of every benchmark.

    Attributes:
        quick: one round on small inputs, to test the script; the ratios mean nothing.
        rounds: how often each call is timed.
        out: folder of the CSV file; None: print only.
    """

    quick: bool
    rounds: int
    out: Path | None


@dataclass(frozen=True)
class Ratio:
    """Time relative to the base: median and quartiles over the rounds."""

    ratio: float
    low: float
    high: float


def options(description: str | None, arguments: Sequence[str] | None = None) -> Options:
    """Parse the command line, and limit PyTorch to one thread."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="test the script: ratios mean nothing")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default: {ROUNDS}")
    parser.add_argument("--out", type=Path, help="folder of the CSV file; default: benchmarks")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if given.quick:
        return Options(True, 1, given.out)
    return Options(False, given.rounds, given.out or FOLDER)


@cache
def peer(module: str, package: str) -> Any:
    """Import a library to compare with; None, with a message, if it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:  # a dependency of it is missing
            raise
        print(f"{package} is not installed and is left out; pip install {package}")
        return None


def compare(calls: Mapping[str, Call], *, base: str, options: Options) -> dict[str, Ratio]:
    """Time each call next to ``base``; the ratio of ``base`` to itself shows the error."""
    repeats = {name: 1 if options.quick else _repeats(call) for name, call in calls.items()}

    def seconds(name: str) -> float:
        started = time.process_time()
        for _ in range(repeats[name]):
            calls[name]()
        return (time.process_time() - started) / repeats[name]

    ratios: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(options.rounds):
        for name in calls:
            if number % 2:  # each order equally often
                own, reference = seconds(name), seconds(base)
            else:
                reference, own = seconds(base), seconds(name)
            ratios[name].append(own / reference)
    return {
        name: Ratio(*np.quantile(values, (0.5, 0.25, 0.75)).tolist())
        for name, values in ratios.items()
    }


def _repeats(call: Call) -> int:
    """Warm up, and return how many calls fill a block."""
    seconds = 0.0
    for _ in range(2):  # the first call can be slower
        if seconds < BLOCK:
            started = time.process_time()
            call()
            seconds = time.process_time() - started
    return max(1, math.ceil(BLOCK / max(seconds, 1e-6)))


def report(
    name: str,
    table: pd.DataFrame,
    options: Options,
    *,
    packages: Sequence[str],
    index: Sequence[str],
    columns: str,
) -> None:
    """Print the table, write it as CSV and, in the default folder, update the README.

    Args:
        name: of the CSV file and of the README's markers.
        table: one row per call.
        options: of the command line.
        packages: whose versions the CSV file names.
        index: columns of ``table`` that become the rows of the README's table.
        columns: column of ``table`` that becomes its columns; several values share a cell.
    """
    print(table.to_string(index=False, float_format="{:.3f}".format))
    if options.out is None:
        return
    header = [f"# {_processor()}, one thread, {options.rounds} rounds", f"# {_versions(packages)}"]
    with project.write_atomic(options.out / f"{name}.csv") as path:
        text = table.to_csv(index=False, float_format="%.3g")
        path.write_text("\n".join([*header, text]), encoding="utf-8")
    if options.out == FOLDER:
        readme = FOLDER / "README.md"
        block = f"<!-- {name} -->\n{_markdown(table, index, columns)}\n<!-- /{name} -->"
        pattern = rf"<!-- {name} -->.*?<!-- /{name} -->"
        text = re.sub(pattern, lambda _: block, readme.read_text("utf-8"), flags=re.DOTALL)
        readme.write_text(text, encoding="utf-8")


def _markdown(table: pd.DataFrame, index: Sequence[str], columns: str) -> str:
    groups = table.groupby([*index, columns], sort=False)["ratio"]
    cells = groups.agg(
        lambda ratios: " / ".join(f"{ratio:.{2 if ratio < 10 else 0}f}" for ratio in ratios)
    )
    wide = cells.unstack(columns, fill_value="").reset_index()
    return tables.markdown(wide[[*index, *table[columns].unique()]]).rstrip("\n")


def _versions(packages: Sequence[str]) -> str:
    """Versions of Python and of those packages that are installed."""
    found = [f"Python {platform.python_version()}"]
    for package in ("torch", *packages):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def _processor() -> str:
    """Name of the processor; ``platform`` does not know it on Linux."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    return found[1] if found else platform.processor() or platform.machine()
