"""Figures of the later notebooks: numbers of several models side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from xblcore.plots.style import BLACK, BLUE, GREEN, GREY, VERMILLION, label, method
from xblcore.workshop.figures import new_figure


def side_by_side(
    values: Mapping[str, Mapping[str, float]], *, truth: str | None = None, columns: int = 4
) -> Figure:
    """One panel a measure with a bar a model; what is undefined says so.

    Args:
        values: name of a measure to name of a model to a number in [0, 1].
        truth: the measure that is not one of maps, framed.
        columns: panels a row.
    """
    models = list(next(iter(values.values())))
    rows = -(-len(values) // columns)
    fig = new_figure(rows * (0.5 + 0.33 * len(models)) + 0.15)
    grid = fig.subplots(rows, columns, sharey=True, squeeze=False)
    for ax in grid.flat[len(values) :]:
        ax.set_axis_off()
    for ax, (measure, row) in zip(grid.flat, values.items(), strict=False):
        colours = [method(name).colour for name in models]
        bars = ax.barh(
            [label(name) for name in models],
            [row[name] for name in models],
            color=colours,
            height=0.62,
        )
        texts = [f"{row[name]:.2f}" if row[name] == row[name] else "undefined" for name in models]
        ax.bar_label(bars, texts, padding=3, size=9)
        ax.set(xlim=(0, 1.22), xticks=(0, 0.5, 1))
        ax.set_title(label(measure) if measure.islower() else measure, size=9.5)
        ax.grid(axis="y", visible=False)
        if measure == truth:
            ax.spines[:].set(visible=True, color=BLACK, linewidth=1.8)
    grid[0, 0].invert_yaxis()
    if truth is not None:
        frame = Patch(fc="white", ec=BLACK, lw=1.8, label="in truth: no map involved")
        fig.legend(handles=[frame], loc="outside lower right")
    return fig


def growth(
    counts: Sequence[int],
    recovered: Sequence[float],
    *,
    chosen: Mapping[str, tuple[int, float]] | None = None,
) -> Figure:
    """How much is recovered with so many images marked.

    Args:
        counts: ``(K,)`` of marked images.
        recovered: ``(K,)``, see :func:`xblcore.workshop.course.recovery`.
        chosen: name of another choice of images, two at most, to its count and what it recovered.
    """
    fig = new_figure(2.9, width=6.2)
    ax = fig.subplots()
    ax.axhline(1, color=BLACK, linewidth=1, linestyle="--")
    ax.axhline(0, color=GREY, linewidth=1, linestyle="--")
    ax.text(counts[-1], 1.03, "oracle", ha="right", size=9)
    ax.text(counts[-1], 0.03, "fooled", ha="right", size=9)
    ax.plot(counts, recovered, color=BLUE, marker="o", label="the first images")
    looks = zip((VERMILLION, GREEN), ("D", "s"), strict=True)
    for (name, (count, share)), (colour, marker) in zip(
        (chosen or {}).items(), looks, strict=False
    ):
        ax.plot([count], [share], color=colour, marker=marker, linestyle="", label=name)
    ax.set(xlabel="images marked", ylabel="recovery", xticks=counts, ylim=(-0.25, 1.2))
    ax.legend(loc="center right", bbox_to_anchor=(1, 0.42))
    return fig
