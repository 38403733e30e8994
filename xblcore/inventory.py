"""What of the study is on this machine, and what to run for the rest; needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from xblcore import config, project, results
from xblcore.plots.style import task_label


@dataclass(frozen=True)
class Part:
    """One part of the study.

    Attributes:
        name: what it is.
        here: whether all of it is.
        detail: what there is of it.
        remedy: what to do if it is not here.
    """

    name: str
    here: bool
    detail: str
    remedy: str


def inventory(*, root: Path | None = None) -> list[Part]:
    """The parts of the study, in the order in which a reader needs them."""
    root = root or project.root()
    return [_results(root), _data(root), _networks(root), _workshop(root)]


def markdown(parts: list[Part]) -> str:
    """A table of the parts for a notebook.

    >>> print(markdown([Part("Networks", False, "0 of 24", "make reproduce")]))
    | | here? | what there is | if it is not |
    |---|---|---|---|
    | Networks | no | 0 of 24 | `make reproduce` |
    """
    rows = ["| | here? | what there is | if it is not |", "|---|---|---|---|"]
    for part in parts:
        remedy = "" if part.here else f"`{part.remedy}`"
        rows.append(f"| {part.name} | {_yes(part.here)} | {part.detail} | {remedy} |".rstrip())
    return "\n".join(rows)


def _yes(here: bool) -> str:
    return "yes" if here else "no"


def _results(root: Path) -> Part:
    path = root / "results" / "paper" / "summary.csv"
    name, remedy = "Results", "make reproduce"
    if not path.is_file():
        return Part(name, False, "none", remedy)
    try:
        kinds = pd.read_csv(path).drop_duplicates("task").set_index("task")["data"]
    except (ValueError, KeyError):
        return Part(name, False, "a damaged table, results/paper/summary.csv", remedy)
    tasks = [task_label(str(task), data=str(kind)) for task, kind in kinds.items()]
    return Part(name, True, ", ".join(tasks).replace("\n", " "), remedy)


def _data(root: Path) -> Part:
    """Fashion-MNIST, on which task 1, the stand-ins and the workshop rest."""
    files = sorted((root / "data" / "raw" / "fashion-mnist").glob("*.gz"))
    detail = f"Fashion-MNIST, {len(files)} of 4 files" if files else "none"
    return Part("Data", len(files) == 4, detail, "make data")


def _workshop(root: Path) -> Part:
    """What learners open; its link is seen from the folder of the start page."""
    found = sorted((root / "build" / "workshop").glob("*.ipynb"))
    name, remedy = "Workshop without solutions", "make workshop"
    if not found:
        return Part(name, False, "none", remedy)
    return Part(name, True, f"[build/workshop](../build/workshop/{found[0].name})", remedy)


def _networks(root: Path) -> Part:
    grid = config.load(root)
    wanted = [
        results.folder(task, method, root=root) / "weights.pt"
        for task in grid.tasks
        for method in grid.methods
    ]
    found = sum(path.is_file() for path in wanted)
    detail = f"of {found} of {len(wanted)} tasks and methods"
    return Part("Trained networks", found == len(wanted), detail, "make reproduce")
