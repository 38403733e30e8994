"""Tables and notes of the explorer as HTML; everything that is not ours is escaped."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

from xblcore.explorer.figure import Side
from xblcore.explorer.views import SEEN, Answer
from xblcore.informativeness import METRICS
from xblcore.plots.style import label

RIGHT, WRONG = "✓", "✗"


def answer_text(answer: Answer, true: int, classes: Sequence[str]) -> str:
    """An answer with a tick or a cross and its probability.

    >>> answer_text(Answer(1, 0.934), 0, ("bag", "boot"))
    '✗ boot 93%'
    """
    mark = RIGHT if answer.predicted == true else WRONG
    return f"{mark} {classes[answer.predicted]} {answer.confidence:.0%}"


def answers(sides: Sequence[Side], true: int, classes: Sequence[str]) -> str:
    """What the networks answer with the decoy, with another one, and without."""
    rows = []
    for view, seen in SEEN.items():
        cells = [answer_text(side.look.answers[view], true, classes) for side in sides]
        rows.append([seen.capitalize(), *cells])
    flips = []
    for side in sides:
        found = {view: side.look.answers[view].predicted for view in SEEN}
        flips.append("yes" if found["decoy"] != found["swapped"] else "no")
    rows.append(["Flipped by the decoy", *flips])
    names = [side.name for side in sides]
    return table(f"Answers; the true class is {classes[true]}", ["Image", *names], rows)


def metrics(sides: Sequence[Side]) -> str:
    """Every metric of this image by both networks; the better of the two is bold."""
    rows = []
    for name in [name for name in METRICS if name in sides[0].look.metrics]:
        higher = METRICS[name][1]
        values = [side.look.metrics[name] for side in sides]
        known = [value for value in values if not math.isnan(value)]
        best = (max if higher else min)(known, default=math.nan)
        tied = len(set(known)) < 2
        cells = [number(v, bold=not tied and v == best) for v in values]
        rows.append([f"{html.escape(label(name))} {'↑' if higher else '↓'}", *cells])
    return table(
        "Metrics of this image; the arrow points to the better side, the better is bold",
        ["Metric", *(side.name for side in sides)],
        rows,
        escaped=True,
    )


def facts(title: str, values: Mapping[str, float]) -> str:
    """The numbers of a run, ``values`` by the name of the row."""
    rows = [[html.escape(name), number(value)] for name, value in values.items()]
    return table(title, ["Mean over the test images", "Value"], rows, escaped=True)


def number(value: float, *, bold: bool = False) -> str:
    """Three decimals, or that it is undefined."""
    if math.isnan(value):
        return "undefined"
    return f"<strong>{value:.3f}</strong>" if bold else f"{value:.3f}"


def table(
    caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, escaped: bool = False
) -> str:
    """A table with a caption, headings and row headings that a screen reader can name."""
    clean = (lambda text: text) if escaped else html.escape
    top = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{clean(row[0])}</th>'
        + "".join(f"<td>{clean(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<table class="xbl-table"><caption>{html.escape(caption)}</caption>'
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    )


def note(text: str, *, kind: str = "note") -> str:
    """A sentence for the person, ``kind`` being ``note``, ``status`` or ``problem``."""
    role = {"status": ' role="status"', "problem": ' role="alert"'}.get(kind, "")
    return f'<p class="xbl-{kind}"{role}>{html.escape(text)}</p>'
