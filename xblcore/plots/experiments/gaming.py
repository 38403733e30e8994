"""Figures of what the explainers say was cured, against what was cured in truth."""

from __future__ import annotations

import textwrap
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MultipleLocator

from xblcore.plots import style
from xblcore.plots.carry_over import READS
from xblcore.plots.experiments import rows

TOO_MUCH, TOO_LITTLE = style.VERMILLION, style.BLUE
MAPS = {
    "oracle": "the oracle", "none": "no map", "input_gradient": "input gradient",
    "grad_cam": "Grad-CAM", "hires_cam": "HiResCAM",
}  # fmt: skip
SCORES = {"logit": "logit", "log_prob": "log p", "projection": "projection"}


def said_and_true(fig: Figure, table: pd.DataFrame, *, profile: str) -> Figure:
    """What each explainer reports as cured, led to what was cured in truth, a method a row.

    Args:
        fig: an empty figure.
        table: from :func:`xblcore.experiments.gaming.table`, of one layer, CAM and score a method.
        profile: for the title.

    Raises:
        ValueError: several a method.
    """
    shown = table[table["explainer"] != "none"]
    names = [name for name in rows.methods_of(shown, bounds=True) if name != "erm"]
    cells = shown.pivot(index=["method", "explainer"], columns="metric")
    explainers = list(dict.fromkeys(shown["explainer"]))
    rows.size(fig, len(names), each=0.36, width=rows.WIDTH + 2)
    axes = fig.subplots(1, len(explainers), sharey=True, sharex=True)
    for ax, explainer in zip(axes, explainers, strict=True):
        rows.frame(ax, names)
        ax.xaxis.set_major_locator(MultipleLocator(0.5))
        for x in (0, 1):
            ax.axvline(x, color=rows.LINE, lw=1, ls=(0, (4, 3)), zorder=0.6)
        for y, name in enumerate(names):
            if (name, explainer) in cells.index:
                _gap(ax, cells.loc[(name, explainer)], y, style.method(name))
        ax.set_title(textwrap.fill(style.label(explainer), 12), size=10)
    axes[len(explainers) // 2].set_xlabel("share of ERM's fault gone: 0 as ERM, 1 none left")
    _recoveries(axes[-1], table, names)
    fig.legend(handles=_key(), loc="outside lower center", ncols=3)
    return rows.head(fig, "What the map says against what is true", table, profile)


def _recoveries(ax: Axes, table: pd.DataFrame, names: list[str]) -> None:
    """Beside the last panel: a run at chance follows no decoy either, and is not cured."""
    ax.annotate("recovery", (1.03, 1), xycoords="axes fraction", xytext=(0, 4), size=8,
                textcoords="offset points")  # fmt: skip
    for row in table[table["metric"] == "recovery"].to_dict("records"):
        if row["method"] in names:
            y, text = names.index(row["method"]), f"{row['mean']:z.2f}".replace("-", "−")
            ax.text(1.03, y, text, va="center", size=8, transform=ax.get_yaxis_transform())


def _gap(ax: Axes, cell: pd.Series[Any], y: float, look: style.MethodStyle) -> None:
    said, true = float(cell["mean", "reported"]), float(cell["mean", "true"])
    ax.plot([cell["ci_low", "true"], cell["ci_high", "true"]], [y, y], color=style.BLACK, lw=4,
            alpha=0.25, solid_capstyle="butt")  # fmt: skip
    ax.plot([true, true], [y - 0.33, y + 0.33], color=style.BLACK, lw=2, zorder=3)
    if said != said:
        ax.text(0.02, y, "undefined", transform=ax.get_yaxis_transform(), va="center", size=7)
        return
    ax.plot([true, said], [y, y], color=TOO_MUCH if said > true else TOO_LITTLE, lw=2.2, zorder=2)
    ax.plot([cell["ci_low", "reported"], cell["ci_high", "reported"]], [y + 0.2] * 2,
            color=look.colour, lw=1.2)  # fmt: skip
    trained = bool(cell["trained_on", "reported"])
    ax.plot(said, y, ls="", marker=look.marker, ms=look.size, zorder=4, color=look.colour,
            mfc=look.colour if trained else "white", mec=look.colour, mew=1.3)  # fmt: skip


def _key() -> list[Line2D]:
    grey = rows.LINE
    return [
        Line2D([], [], ls="", marker="|", ms=12, mew=2, color=style.BLACK,
               label="in truth: share of ERM's decoy flips gone"),
        Line2D([], [], ls="", marker="o", ms=7, mfc="white", color=grey, mec=grey,
               label="by the explainer: share of ERM's attribution distance gone"),
        Line2D([], [], ls="", marker="o", ms=7, color=grey,
               label="the same, trained on this kind of map"),
        Line2D([], [], lw=2.2, color=TOO_MUCH, label="the map says more than is true"),
        Line2D([], [], lw=2.2, color=TOO_LITTLE, label="the map says less"),
    ]  # fmt: skip


def matrix(fig: Figure, table: pd.DataFrame, *, profile: str) -> Figure:
    """What was trained on (rows) by what is measured with (columns): reported minus true.

    Args:
        fig: an empty figure.
        table: from :func:`xblcore.experiments.gaming.matrix`.
        profile: for the title.
    """
    gaps = table[table["metric"] == "gap"]
    groups = gaps[["cam", "score", "methods"]].drop_duplicates().to_dict("records")
    order = {cam: n for n, cam in enumerate(MAPS)}
    groups.sort(key=lambda group: order.get(group["cam"], len(order)))
    explainers = list(dict.fromkeys(gaps["explainer"]))
    cells = {(cell["cam"], cell["score"], cell["explainer"]): cell for _, cell in gaps.iterrows()}
    index = pd.MultiIndex.from_tuples([(g["cam"], g["score"]) for g in groups])
    wide = gaps.pivot(index=["cam", "score"], columns="explainer", values="mean")
    wide = wide.reindex(index=index, columns=explainers)
    fig.set_size_inches(rows.WIDTH, 2.0 + 0.5 * len(groups))
    ax = fig.subplots()
    sns.heatmap(wide, ax=ax, cmap="RdBu_r", vmin=-1, vmax=1, cbar=False, linewidths=1.5)
    for y, group in enumerate(groups):
        for x, explainer in enumerate(explainers):
            cell = cells[group["cam"], group["score"], explainer]
            _cell(ax, x, y, cell, outlined=READS.get(explainer) == group["cam"])
    names = [_name(group["cam"], group["score"], group["methods"]) for group in groups]
    ax.set_yticklabels(names, rotation=0)
    ax.set_xticklabels([textwrap.fill(style.label(name), 12) for name in explainers], rotation=0)
    ax.set(xlabel="measured by", ylabel="trained on (number of methods)")
    ax.tick_params(length=0)
    ax.grid(visible=False)
    bar = fig.colorbar(ax.collections[0], ax=ax, pad=0.02, extend="both", aspect=25)
    bar.set_ticks([-1, 0, 1], labels=["−1: says\ntoo little", "0: true", "1: says\ntoo much"])
    bar.outline.set_visible(False)
    frame = Patch(fc="white", ec="black", lw=1.8, label="kind of map trained on")
    fig.legend(handles=[frame], loc="outside lower center")
    what = "Share cured, reported minus true, with half the 95% interval"
    return rows.head(fig, what, table, profile)


def _name(cam: str, score: str, methods: int) -> str:
    name = MAPS.get(cam, cam) + (f", {SCORES.get(score, score)}" if score else "")
    return f"{name} ({methods})"


def _cell(ax: Axes, x: int, y: int, cell: pd.Series[Any], *, outlined: bool) -> None:
    mean, half = float(cell["mean"]), (float(cell["ci_high"]) - float(cell["ci_low"])) / 2
    if mean != mean:
        ax.add_patch(Rectangle((x, y), 1, 1, fc="#eeeeee", ec="white", hatch="///"))
        ax.text(x + 0.5, y + 0.5, "undefined", ha="center", va="center", size=8)
    else:
        text = f"{mean:+z.2f}".replace("-", "−") + (f"\n± {half:.2f}" if half == half else "")
        colour = "white" if abs(mean) > 0.6 else "black"
        ax.text(x + 0.5, y + 0.5, text, ha="center", va="center", size=8.5, color=colour)
    if outlined:
        casing = [patheffects.withStroke(linewidth=4.5, foreground="white")]
        ax.add_patch(
            Rectangle((x + 0.04, y + 0.07), 0.92, 0.86, fill=False, ec="black", lw=1.8,
                      path_effects=casing)
        )  # fmt: skip
