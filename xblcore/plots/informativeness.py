"""Figures of claim C3: what each metric tells about a model's accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from xblcore.plots import style
from xblcore.plots.results import select

KINDS = {"distance": style.BLUE, "overlap": style.VERMILLION, "behaviour": "#444444"}
MARKERS = ("o", "s", "^", "D", "v", "P")  # of the explainers


def metrics_against_accuracy(
    fig: Figure, runs: pd.DataFrame, informativeness: pd.DataFrame, *, explainer: str
) -> Figure:
    """Each metric against clean accuracy, one dot a run; better is to the right in every panel.

    Args:
        fig: an empty figure, about 9.5 by 8 inches.
        runs: of one task: every method, weight and seed.
        informativeness: from :func:`xblcore.claims.informativeness`, for the titles.
        explainer: whose metrics.
    """
    rows = informativeness[
        (informativeness["task"] == runs["task"].iloc[0])
        & (informativeness["split"] == "test_decoy")
        & informativeness["explainer"].isin([explainer, "none"])
    ]
    key = ["method", "weight", "seed"]
    accuracy = select(runs, "accuracy", split="test_clean").set_index(key)["value"]
    axes = style.panels(fig, len(rows), columns=4)
    for ax, row in zip(axes, rows.itertuples(), strict=True):
        values = select(runs, str(row.metric), split="test_decoy", explainer=str(row.explainer))
        both = pd.DataFrame({"x": values.set_index(key)["value"], "y": accuracy}).reset_index()
        for name, part in both.groupby("method", sort=False):
            look = style.method(str(name))
            ax.scatter(part["x"], part["y"], s=26, color=look.colour, marker=look.marker,
                       alpha=0.8, lw=0.4, ec="white")  # fmt: skip
        arrow = ""
        if not row.higher_is_better:
            ax.xaxis.set_inverted(True)
            arrow = " (axis reversed)"
        ax.set_title(f"{style.label(str(row.metric))}{arrow}\n{_rho(row.rho, row.ci_low, row.ci_high)}",
                     size=9.5)  # fmt: skip
        if ax.get_subplotspec().is_first_col():  # type: ignore[union-attr]
            ax.set_ylabel("accuracy, clean test")
    names = list(dict.fromkeys(runs["method"]))
    fig.legend(handles=_method_key(names), loc="outside lower center", ncols=4)
    what = f"Metrics by {style.label(explainer)} against clean accuracy, one dot a run"
    fig.suptitle(style.title_of(what, runs))
    return fig


def _rho(value: float, low: float, high: float) -> str:
    return f"ρ = {value:.2f} [{low:.2f}, {high:.2f}]" if value == value else "ρ undefined"


def _method_key(names: Sequence[str]) -> list[Line2D]:
    return [
        Line2D([], [], ls="", marker=style.method(name).marker, color=style.method(name).colour,
               ms=7, label=style.label(name))
        for name in names
    ]  # fmt: skip


def forest(
    ax: Axes, informativeness: pd.DataFrame, *, task: str, data: str, split: str = "test_decoy"
) -> Axes:
    """Every metric's rank correlation with clean accuracy, by kind of metric and explainer.

    Args:
        ax: about 7 by 5 inches.
        informativeness: from :func:`xblcore.claims.informativeness`.
        task: a task of it, or ``pooled``.
        data: ``original`` or ``stand-in``, for the title.
        split: where the metrics were measured.
    """
    rows = informativeness[(informativeness["task"] == task) & (informativeness["split"] == split)]
    metrics = [m for kind in KINDS for m in dict.fromkeys(rows.loc[rows["kind"] == kind, "metric"])]
    explainers = [e for e in dict.fromkeys(rows["explainer"]) if e != "none"]
    step = 0.7 / max(1, len(explainers))
    for row in rows[rows["kind"].isin(KINDS)].itertuples():
        alone = row.explainer == "none"
        i = 0 if alone else explainers.index(str(row.explainer))
        y = metrics.index(str(row.metric)) + (0 if alone else (i - (len(explainers) - 1) / 2) * step)
        colour = KINDS[str(row.kind)]
        ax.plot([row.ci_low, row.ci_high], [y, y], color=colour, lw=1.6)
        marker = "*" if alone else MARKERS[i % len(MARKERS)]
        ax.plot(row.rho, y, marker, color=colour, ms=9 if alone else 6, mec="white", mew=0.6)
    ax.axvline(0, color="#555555", lw=1)
    ax.set_yticks(range(len(metrics)), [style.label(name) for name in metrics])
    ax.set_ylim(len(metrics) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    kind_of = rows.drop_duplicates("metric").set_index("metric")["kind"]
    for y, (before, after) in enumerate(zip(metrics, metrics[1:], strict=False)):
        if kind_of[before] != kind_of[after]:
            ax.axhline(y + 0.5, color="#bbbbbb", lw=0.8)
    ax.set_xlabel("Spearman's ρ with clean accuracy, oriented so that 1 is best; 95% interval")
    ax.set_title(style.title("What each metric tells about accuracy", task=task, data=data))
    handles = [Line2D([], [], color=colour, lw=3, label=f"{kind} metric")
               for kind, colour in KINDS.items() if kind in set(rows["kind"])]  # fmt: skip
    handles += [Line2D([], [], ls="", marker=MARKERS[i % len(MARKERS)], color="#777777",
                       label=style.label(name)) for i, name in enumerate(explainers)]  # fmt: skip
    ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return ax
