"""Figures of training: learning curves, CAMs over the epochs, gradients of the parts of a loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from xblcore.plots import style
from xblcore.plots.images import DECOY, image_grid, outline, show, show_cam

if TYPE_CHECKING:
    import pandas as pd

CURVES = {
    "cross_entropy": "cross-entropy",
    "penalty": "explanation loss, unweighted",
    "accuracy": "training accuracy",
}
SHADES = ("#bdbdbd", "#969696", "#737373", "#525252")  # of the weights that were not chosen
DASHES = ((0, (1, 1)), (0, (4, 1.5)), (0, (6, 1.5, 1, 1.5)), (0, (8, 2)))
AT_MOST = 8  # epochs shown


def learning_curves(
    fig: Figure, history: pd.DataFrame, *, method: str, task: str, data: str
) -> Figure:
    """Losses and training accuracy by epoch: the mean of each weight, each seed of the chosen one.

    Args:
        fig: an empty figure, about 9 by 3.3 inches.
        history: columns ``weight, chosen, seed, epoch`` and those of :data:`CURVES`.
        method: for the title.
        task: for the title.
        data: ``original`` or ``stand-in``, for the title.
    """
    axes = fig.subplots(1, len(CURVES))
    others = sorted(set(history.loc[~history["chosen"], "weight"]))
    for ax, (column, name) in zip(axes, CURVES.items(), strict=True):
        for i, weight in enumerate(others):
            rows = history[history["weight"] == weight]
            mean = rows.groupby("epoch")[column].mean()
            ax.plot(mean.index, mean, color=SHADES[i % 4], ls=DASHES[i % 4], label=f"{weight:g}")
        chosen = history[history["chosen"]]
        colour = style.method(method).colour
        for _, rows in chosen.groupby("seed"):
            ax.plot(rows["epoch"], rows[column], color=colour, lw=0.8, alpha=0.5)
        mean = chosen.groupby("epoch")[column].mean()
        ax.plot(mean.index, mean, color=colour, lw=2.4, label=f"{chosen['weight'].iloc[0]:g}")
        ax.set(xlabel="epoch", title=name)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        if column != "accuracy":
            ax.set_ylim(bottom=0)
    handles, names = axes[0].get_legend_handles_labels()
    names[-1] += " (chosen; thin: each seed)"
    fig.legend(handles, names, loc="outside lower center", ncols=len(names), title="weight")
    what = f"Training with {style.label(method)}"
    fig.suptitle(style.title(what, task=task, data=data))
    return fig


def cams_over_training(
    fig: Figure,
    images: ArrayLike,
    cams: ArrayLike,
    *,
    decoy_mask: ArrayLike,
    method: str,
    explainer: str,
    task: str,
    data: str,
) -> Figure:
    """How the CAM moves while the network learns: one image a row, one epoch a column.

    Args:
        fig: an empty figure, about 8 inches wide; the height is made to fit.
        images: ``(G, C, H, W)`` in [0, 1].
        cams: ``(epochs, G, h, w)``, at least 0; of many epochs, eight are shown, the last included.
        decoy_mask: bool ``(G, h, w)``.
        method: for the title.
        explainer: that made the CAMs, for the title.
        task: for the title.
        data: ``original`` or ``stand-in``, for the title.
    """
    images, maps, wrong = np.asarray(images), np.asarray(cams), np.asarray(decoy_mask)
    epochs = np.unique(np.linspace(0, len(maps) - 1, min(AT_MOST, len(maps))).round().astype(int))
    grid = image_grid(fig, len(images), 1 + len(epochs))
    for row, image in enumerate(images):
        outline(show(grid[row, 0], image), wrong[row], colour=DECOY)
        for ax, epoch in zip(grid[row, 1:], epochs, strict=True):
            outline(show_cam(ax, maps[epoch, row]), wrong[row], colour=DECOY)
    grid[0, 0].set_title("image")
    for ax, epoch in zip(grid[0, 1:], epochs, strict=True):
        ax.set_title(f"epoch {epoch + 1}")
    what = f"{style.label(explainer)} over training with {style.label(method)}, decoy outlined"
    fig.suptitle(style.title(what, task=task, data=data))
    return fig


def gradient_norms(
    fig: Figure,
    norms: Mapping[str, Mapping[str, ArrayLike]],
    *,
    ticks: Sequence[str] | None = None,
    task: str,
    data: str,
) -> Figure:
    """Does the explanation loss teach anything? The norm of its gradient beside cross-entropy's.

    Args:
        fig: an empty figure, about 9 by 3.5 inches; one panel a method.
        norms: method to ``{"cross_entropy": (n,), "explanation": (n,)}``, norms of the gradient
            with respect to the weights, one a training step, or one a layer.
        ticks: names of the layers; None: the values are by training step.
        task: for the title.
        data: ``original`` or ``stand-in``, for the title.
    """
    every = np.concatenate(
        [np.asarray(v, float) for parts in norms.values() for v in parts.values()]
    )
    smallest = float(every[every > 0].min()) if (every > 0).any() else 1.0
    axes = style.panels(fig, len(norms), columns=len(norms))
    for ax, (method, parts) in zip(axes, norms.items(), strict=True):
        _norms(ax, parts, ticks)
        # Zero must be seen as zero: below the smallest positive value the axis is linear.
        ax.set_yscale("symlog", linthresh=10 ** np.floor(np.log10(smallest)), linscale=0.6)
        ax.set_ylim(-0.25 * 10 ** np.floor(np.log10(smallest)), 4 * float(every.max() or 1.0))
        ax.set(title=style.label(method), xlabel="training step" if ticks is None else "")
    axes[0].set_ylabel("norm of the gradient")
    handles, names = axes[0].get_legend_handles_labels()
    fig.legend(handles, names, loc="outside lower center", ncols=len(names))
    fig.suptitle(style.title("Gradient of each part of the loss", task=task, data=data))
    return fig


def _norms(ax: Axes, parts: Mapping[str, ArrayLike], ticks: Sequence[str] | None) -> None:
    looks = {
        "cross_entropy": ("cross-entropy, as weighted", style.GREY, "s"),
        "explanation": ("explanation loss", style.VERMILLION, "o"),
    }
    for part, norm in parts.items():
        name, colour, marker = looks[part]
        line = "-" if ticks is None else ""
        x = np.arange(1, len(np.asarray(norm)) + 1)
        ax.plot(x, norm, ls=line, color=colour, marker=marker, ms=4, label=name, clip_on=False)
        if not np.asarray(norm).any():
            ax.annotate(
                "exactly 0", (x.mean(), 0), xytext=(0, 9), textcoords="offset points",
                ha="center", color=colour, weight="bold",
            )  # fmt: skip
    if ticks is not None:
        ax.set_xticks(np.arange(1, len(ticks) + 1), ticks, rotation=30, ha="right")
