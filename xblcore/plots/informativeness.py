"""Figures of claim C3: what each metric tells about a model's accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from xblcore.plots import style
from xblcore.results import select

KINDS = {"distance": style.BLUE, "overlap": style.VERMILLION, "behaviour": "#444444"}
MARKERS = ("o", "s", "^", "D", "v", "P")  # of the explainers


def metrics_against_accuracy(
    fig: Figure, runs: pd.DataFrame, informativeness: pd.DataFrame, *, explainer: str
) -> Figure:
    """Each metric against clean accuracy, one dot a run; better is to the right in every panel.

    Args:
        fig: an empty figure, about 9.5 by 8 inches.
        runs: of one task: every method, weight and seed.
        informativeness: from :func:`xblcore.informativeness.informativeness`, for the titles.
        explainer: whose metrics.
    """
    rows = informativeness[
        (informativeness["task"] == runs["task"].iloc[0])
        & (informativeness["split"] == "test_decoy")
        & informativeness["explainer"].isin([explainer, "none"])
        & informativeness["kind"].isin(KINDS)
    ]
    rows = rows.sort_values("kind", key=lambda kinds: kinds.map(list(KINDS).index), kind="stable")
    key = ["method", "weight", "seed"]
    accuracy = select(runs, "accuracy", split="test_clean").set_index(key)["value"]
    axes = style.panels(fig, len(rows), columns=4)
    for ax, row in zip(axes, rows.to_dict("records"), strict=True):
        values = select(runs, row["metric"], split="test_decoy", explainer=row["explainer"])
        both = pd.DataFrame({"x": values.set_index(key)["value"], "y": accuracy}).reset_index()
        for name, part in both.groupby("method", sort=False):
            look = style.method(str(name))
            ax.scatter(part["x"], part["y"], s=look.size**2 / 2, color=look.colour,
                       marker=look.marker, alpha=0.8, lw=0.4, ec="white")  # fmt: skip
        if not row["higher_is_better"]:
            ax.xaxis.set_inverted(True)
            ax.set_xlabel("(axis reversed)", size=8.5, labelpad=1)
        ax.xaxis.set_major_locator(MaxNLocator(4))
        rho = _rho(row["rho"], row["ci_low"], row["ci_high"], row["undefined"])
        ax.set_title(f"{style.label(row['metric'])}\n{rho}", size=9.5, color=KINDS[row["kind"]])
        if ax.get_subplotspec().is_first_col():  # type: ignore[union-attr]
            ax.set_ylabel("accuracy, clean test")
    handles = [*_method_key(list(dict.fromkeys(runs["method"]))), *_kind_key(set(rows["kind"]))]
    if spare := fig.axes[len(axes) :]:
        legend = spare[0].legend(handles=handles, loc="center left", ncols=min(2, len(spare)))
        legend.set_in_layout(False)  # it may run over the empty cells, not widen them
    else:
        fig.legend(handles=handles, loc="outside lower center", ncols=4)
    what = f"Metrics by {style.label(explainer)} against clean accuracy, one dot a run"
    fig.suptitle(style.title_of(what, runs))
    return fig


def _rho(value: float, low: float, high: float, undefined: int) -> str:
    text = f"ρ = {value:.2f} [{low:.2f}, {high:.2f}]" if value == value else "ρ undefined"
    return f"{text}, {undefined} NaN" if undefined else text


def _kind_key(kinds: set[str]) -> list[Line2D]:
    return [
        Line2D([], [], color=colour, lw=3, label=f"{kind} metric")
        for kind, colour in KINDS.items()
        if kind in kinds
    ]


def _method_key(names: Sequence[str]) -> list[Line2D]:
    return [
        Line2D([], [], ls="", marker=style.method(name).marker, color=style.method(name).colour,
               ms=style.method(name).size, label=style.label(name))
        for name in names
    ]  # fmt: skip


def forest(
    ax: Axes, informativeness: pd.DataFrame, *, task: str, data: str, split: str = "test_decoy"
) -> Axes:
    """Every metric's rank correlation with clean accuracy, by kind of metric and explainer.

    Args:
        ax: about 7 by 5 inches.
        informativeness: from :func:`xblcore.informativeness.informativeness`.
        task: a task of it, or ``pooled``.
        data: ``original`` or ``stand-in``, for the title.
        split: where the metrics were measured.
    """
    rows = informativeness[(informativeness["task"] == task) & (informativeness["split"] == split)]
    metrics = [m for kind in KINDS for m in dict.fromkeys(rows.loc[rows["kind"] == kind, "metric"])]
    explainers = [e for e in dict.fromkeys(rows["explainer"]) if e != "none"]
    step = 0.7 / max(1, len(explainers))
    for row in rows[rows["kind"].isin(KINDS)].to_dict("records"):
        y, marker, size = float(metrics.index(row["metric"])), "*", 9
        if row["explainer"] != "none":
            i = explainers.index(row["explainer"])
            y, marker, size = y + (i - (len(explainers) - 1) / 2) * step, MARKERS[i % 6], 6
        colour = KINDS[row["kind"]]
        ax.plot([row["ci_low"], row["ci_high"]], [y, y], color=colour, lw=1.6)
        ax.plot(row["rho"], y, marker, color=colour, ms=size, mec="white", mew=0.6)
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
    handles = _kind_key(set(rows["kind"]))
    handles += [Line2D([], [], ls="", marker=MARKERS[i % 6], color="#777777",
                       label=style.label(name)) for i, name in enumerate(explainers)]  # fmt: skip
    ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return ax
