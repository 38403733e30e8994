"""Which images are listed, and in which order: pure functions of a source's table."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from xblcore.informativeness import METRICS
from xblcore.plots.style import label

FILTERS = {
    "all": "all images",
    "wrong": "wrong predictions",
    "flipped": "flipped by the decoy",
}
IN_ORDER = ""  # the order of the split


def chosen(
    answers: pd.DataFrame,
    *,
    show: str,
    worst_by: str = IN_ORDER,
    values: pd.Series[float] | None = None,
) -> list[int]:
    """Positions of the images that a filter keeps, the worst by a metric first.

    Args:
        answers: from :meth:`xblcore.explorer.views.Source.answers`, with the filter's column.
        show: a key of :data:`FILTERS`.
        worst_by: a metric; :data:`IN_ORDER` leaves the order of the split.
        values: of the metric. Images on which it is undefined come last.

    Raises:
        ValueError: an unknown filter, or a metric without its values.

    >>> answers = pd.DataFrame({"wrong": [True, False, True]}, index=[4, 6, 9])
    >>> values = pd.Series([0.5, 0.1, 0.2], index=[4, 6, 9])
    >>> chosen(answers, show="wrong", worst_by="iou", values=values)
    [9, 4]
    """
    if show not in FILTERS:
        raise ValueError(f"show must be one of {', '.join(FILTERS)}, got {show!r}")
    kept = answers.index if show == "all" else answers.index[answers[show]]
    if worst_by != IN_ORDER:
        if worst_by not in METRICS or values is None:
            raise ValueError(f"worst_by must be a metric that has values, got {worst_by!r}")
        ordered = values.loc[kept].sort_values(ascending=METRICS[worst_by][1], kind="stable")
        kept = ordered.index
    return [int(position) for position in kept]


def named(
    positions: Sequence[int], answers: pd.DataFrame, classes: Sequence[str]
) -> list[tuple[str, int]]:
    """Label and position of each image for a list: its number, class, and a wrong answer."""
    rows = answers.loc[list(positions)]
    made = []
    for number, (position, true, predicted) in enumerate(
        zip(positions, rows["label"], rows["predicted"], strict=True), start=1
    ):
        wrong = f", taken for {classes[predicted]}" if predicted != true else ""
        made.append((f"{number} of {len(rows)}: no. {position}, {classes[true]}{wrong}", position))
    return made


def orders() -> list[tuple[str, str]]:
    """Labels and names of the orders, the split's own first, then the worst by each metric."""
    found = [("as in the split", IN_ORDER)]
    for name, (kind, higher) in METRICS.items():
        if kind != "behaviour":
            found.append((f"{'lowest' if higher else 'highest'} {label(name)} first", name))
    return found
