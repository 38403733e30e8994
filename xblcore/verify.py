"""A reader's own results beside those expected: what agrees, and what cannot be compared.

Only numbers decide. A weight is chosen among a few candidates and a verdict by whether an interval
holds 0: either can tip although every number agrees, so a different one is told, not counted. With
another weight a method's numbers are of other networks, which the tolerance knows nothing of.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from xblcore.expected import Block, Number, Task

Mark = Literal["✓", "✗", "=", "≠", "–"]
MEANING = "✓ agrees  ✗ disagrees  = the same  ≠ another, not counted  – not compared"
ROUNDING = 1e-9  # the file has ten digits
LOOSE = 0.5  # half of what most quantities can differ by at all
HEADING = ("task", "method", "quantity", "expected", "tolerance", "yours", "")


@dataclass(frozen=True)
class Row:
    """One line of the table; ✓ and ✗ are for numbers alone."""

    task: str
    method: str
    quantity: str
    expected: str
    tolerance: str
    yours: str
    mark: Mark


@dataclass(frozen=True)
class Report:
    """The comparison of two blocks: the table, and a sentence a task on bits and comparability."""

    rows: list[Row]
    notes: list[str]

    @property
    def judged(self) -> int:
        """How many numbers were compared."""
        return sum(row.mark in "✓✗" for row in self.rows)

    @property
    def disagreeing(self) -> list[Row]:
        """Those outside their tolerance."""
        return [row for row in self.rows if row.mark == "✗"]

    @property
    def exit_code(self) -> int:
        """0: all numbers agree; 1: some do not; 2: there was none to compare."""
        if not self.judged:
            return 2
        return 1 if self.disagreeing else 0


def agreement(expected: Number, yours: float, *, ratio: bool = False) -> Mark:
    """Whether a mean lies within the tolerance of the one expected.

    NaN, undefined for every seed, agrees with NaN alone. Without a tolerance only the same number
    can be judged. A ratio can be undefined by a hair, where its denominator is about 0: NaN on one
    side is then not judged, for the numbers that it is made of are.

    >>> agreement(Number(0.5, 0.1), 0.6), agreement(Number(0.5, 0.1), 0.61)
    ('✓', '✗')
    """
    undefined = math.isnan(expected.mean), math.isnan(yours)
    if any(undefined):
        return "✓" if all(undefined) else "–" if ratio else "✗"
    gap = abs(yours - expected.mean)
    if math.isnan(expected.tolerance):
        return "✓" if gap <= ROUNDING else "–"
    return "✓" if gap <= expected.tolerance + ROUNDING else "✗"


def compare(expected: Block, yours: Block) -> Report:
    """Every number of ``expected`` beside yours, where both have it from the same kind of data."""
    rows: list[Row] = []
    notes: list[str] = []
    whole = set(expected.tasks) == set(yours.tasks)
    for task in _both(expected.tasks, yours.tasks):
        reason = _apart(expected.tasks.get(task), yours.tasks.get(task))
        if reason:
            rows.append(Row(task, "", "", "", "", "", "–"))
            notes.append(f"{task}: {reason}")
            whole = False
            continue
        first, second = expected.tasks[task], yours.tasks[task]
        found = list(_rows(task, first, second))
        rows += found
        notes += _notes(task, first, second, found)
        whole &= set(first.methods) == set(second.methods)
    rows += _verdicts(expected.verdicts, yours.verdicts, whole)
    if not whole:
        notes.append("verdicts: not compared, since they rest on the whole grid and yours differs")
    return Report(rows, [*notes, *_environments(expected, yours)])


def _both(first: Iterable[str], second: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*first, *second]))


def _apart(expected: Task | None, yours: Task | None) -> str:
    """Why a task cannot be compared; empty where it can."""
    if expected is None:
        return "nothing expected"
    if yours is None:
        return "not in your grid"
    if expected.data != yours.data:
        return f"not comparable, expected from {expected.data} data, yours from {yours.data}"
    if expected.seeds != yours.seeds:
        return f"not comparable, expected from the seeds {expected.seeds}, yours from {yours.seeds}"
    return ""


def _rows(task: str, expected: Task, yours: Task) -> Iterator[Row]:
    """Weight and numbers of every method that both have."""
    for method, theirs in expected.methods.items():
        if method not in yours.methods:
            continue
        mine = yours.methods[method]
        same = mine.weight == theirs.weight
        chosen = f"{theirs.weight:g}", "", f"{mine.weight:g}"
        yield Row(task, method, "weight", *chosen, "=" if same else "≠")
        for name in _both(theirs.numbers, mine.numbers):
            one, other = theirs.numbers.get(name), mine.numbers.get(name)
            mark: Mark = "–"
            if one and other and same:
                mark = agreement(one, other.mean, ratio=name == "recovery")
            tolerance = _text(one.tolerance, "unknown", sign="±") if one else ""
            expects = _text(one.mean) if one else "nothing"
            has = _text(other.mean) if other else "not in your grid"
            yield Row(task, method, name, expects, tolerance, has, mark)


def _notes(task: str, expected: Task, yours: Task, rows: list[Row]) -> Iterator[str]:
    """How far a task agrees, and which methods only one side has."""
    common = [method for method in expected.methods if method in yours.methods]
    same = [
        method
        for method in common
        if expected.methods[method].sha256 == yours.methods[method].sha256
    ]
    off = sum(row.mark == "✗" for row in rows)
    bits = f"{len(same)} of {len(common)} methods identical bit for bit"
    if off:
        yield f"{task}: disagrees in {off} of its numbers ({bits})"
    elif common and same == common:
        yield f"{task}: identical bit for bit"
    elif common:
        yield f"{task}: agrees within tolerance ({bits})"
    for row in rows:
        if row.mark == "≠":
            told = f"the weight {row.yours} was chosen, not {row.expected}"
            yield f"{task}: {row.method}: not compared, for {told}"
    for names, reason in (
        ([name for name in expected.methods if name not in yours.methods], "not in your grid"),
        ([name for name in yours.methods if name not in expected.methods], "nothing expected"),
    ):
        if names:
            yield f"{task}: {', '.join(names)}: {reason}"


def _verdicts(expected: dict[str, str], yours: dict[str, str], whole: bool) -> Iterator[Row]:
    for claim in _both(expected, yours):
        one, other = expected.get(claim, "nothing"), yours.get(claim, "nothing")
        mark: Mark = "–" if not whole else "=" if one == other else "≠"
        yield Row("claims", claim, "verdict", one, "", other, mark)


def _environments(expected: Block, yours: Block) -> Iterator[str]:
    """Where the two were made, as far as it is known and not the same."""
    if expected.environment and expected.environment != yours.environment:
        yield f"expected was made with {_listed(expected.environment)}"
        if yours.environment:
            yield f"yours was made with {_listed(yours.environment)}"


def _listed(environment: dict[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in environment.items())


def _text(value: float, otherwise: str = "undefined", *, sign: str = "") -> str:
    return otherwise if math.isnan(value) else f"{sign}{value:.4f}"


def table(rows: list[Row]) -> str:
    """Rows in aligned columns below a heading."""
    cells: list[tuple[Any, ...]] = [HEADING, *(tuple(vars(row).values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True))
        for line in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def _loose(report: Report) -> str:
    """How many of the numbers could hardly disagree."""
    wide = [row for row in report.rows if row.mark in "✓✗" and row.tolerance.startswith("±")]
    count = sum(float(row.tolerance[1:]) >= LOOSE for row in wide)
    if not count:
        return ""
    return (
        f" {count} of them may differ by {LOOSE} or more, so far apart are\ntheir seeds: where a "
        "task is not identical bit for bit, those say little."
    )


def text(report: Report, *, profile: str) -> str:
    """The whole report: table, notes, what disagrees once more, and the sum in one line."""
    parts = [f"{table(report.rows)}\n\n{MEANING}", "\n".join(report.notes)]
    if any(row.mark == "≠" for row in report.rows):
        parts.append(
            "Another weight or verdict alone is no failure: it is a choice between steps, and can\n"
            "tip although the numbers agree. Numbers of another weight are of other networks."
        )
    off = report.disagreeing
    if off:
        parts.append(f"These disagree:\n{table(off)}")
    if not report.judged:
        parts.append(f"Profile {profile}: nothing could be compared.")
    else:
        agree = report.judged - len(off)
        parts.append(
            f"Profile {profile}: {agree} of {report.judged} numbers agree.{_loose(report)}"
        )
    return "\n\n".join(part for part in parts if part)
