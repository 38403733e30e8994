"""Figures of the workshop; each function returns a figure, which the cell shows."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import ArrayLike
from torch import Tensor, nn

from course.task import CLASSES, CORNERS, Scores, with_each_decoy
from xblcore.methods import METHODS
from xblcore.plots.images import DECOY, OBJECT, UNIT, image_grid, outline, show, show_cam
from xblcore.plots.style import BLACK, COLOURS, GREY, VERMILLION, look, number, rim
from xblcore.study.evaluate import predict

BEHAVIOUR = {
    "with_decoy": "accuracy with the decoy",
    "clean": "accuracy without the decoy",
    "flip_rate": "flip rate",
}


def _figure(width: float = 1.0, height: float = 1.0) -> Figure:
    fig = plt.figure(figsize=(width, height), layout="constrained")
    plt.close(fig)  # only the cell shows it
    return fig


def on_slide(fig: Figure, *, texts: float = 1.4) -> Figure:
    """Make a wide figure as high as a slide's free space, enlarge its texts and wrap titles."""
    width, height = fig.get_size_inches()
    fig.set_size_inches(width, max(height, width / 2.4))
    for text in fig.findobj(Text):
        text.set_fontsize(texts * float(text.get_fontsize()))
    for ax in fig.axes:
        lines = ax.get_title().splitlines()
        ax.title.set_text("\n".join(textwrap.fill(line, 18) for line in lines))
    return fig


def images(
    pictures: ArrayLike,
    captions: Sequence[str],
    *,
    masks: ArrayLike | None = None,
    columns: int = 10,
) -> Figure:
    """Images ``(G, C, H, W)`` in rows, with captions and outlines of masks ``(G, h, w)``."""
    shown, columns = np.asarray(pictures), min(columns, len(captions))
    fig = _figure()
    grid = image_grid(fig, -(-len(shown) // columns), columns, text=0.2, head=0.1)
    for n, ax in enumerate(ax for row in grid for ax in row):
        if n < len(shown):
            show(ax, shown[n]).set_xlabel(captions[n], size=8)
            if masks is not None:
                outline(ax, np.asarray(masks)[n], colour=DECOY)
        else:
            ax.set_axis_off()
    return fig


def each_decoy(model: nn.Module, image: Tensor, label: int, *, corner: str = "top left") -> Figure:
    """A clean image, uint8 ``(1, H, W)``, with the decoy of each class, and the predictions.

    Bold: the prediction is the class of the decoy. Orange with a cross: it is wrong.
    """
    variants = with_each_decoy(image, corner=CORNERS.index(corner))
    fig = _figure()
    (first, second) = image_grid(fig, 2, 5, text=0.4, head=0.3)
    predicted = predict(model, variants).argmax(1).tolist()
    for n, ax in enumerate(first + second):
        wrong = predicted[n] != label
        show(ax, variants[n].numpy() / 255)
        caption = f"decoy: {CLASSES[n]}\n{'✗ ' if wrong else ''}{CLASSES[predicted[n]]}"
        weight = "bold" if predicted[n] == n else "normal"
        ax.set_xlabel(caption, size=8, color=VERMILLION if wrong else BLACK, weight=weight)
    fig.suptitle(f"{CLASSES[label]}, and the predictions")
    return fig


def bars(
    values: Mapping[str, Mapping[str, float]],
    *,
    guesses: Mapping[str, Mapping[str, float]] | None = None,
) -> Figure:
    """One panel per measure with one bar per network; values and guesses by measure and network.

    A guess is a line across the bar of its network.
    """
    names = list(next(iter(values.values())))
    spare = cycle(("purple", "green", "sky", "blue", "orange", "vermillion"))
    colours = [look(name).colour if name in METHODS else COLOURS[next(spare)] for name in names]
    columns = 4 if len(values) == 4 else 3
    rows = -(-len(values) // columns)
    fig = _figure(9.5, rows * (0.6 + 0.33 * len(names)) + 0.3)
    axes: list[Axes] = fig.subplots(rows, columns, sharey=True, squeeze=False).ravel().tolist()
    for ax in axes[len(values) :]:
        ax.set_axis_off()
    for ax, (measure, row) in zip(axes, values.items(), strict=False):
        heights = [row[name] for name in names]
        labels, lengths = [look(name).label for name in names], np.nan_to_num(heights)
        drawn = ax.barh(labels, lengths, color=colours, height=0.6)
        above: Any = {"bbox": {"fc": "white", "ec": "none", "pad": 0.5}, "zorder": 3}  # of guesses
        ax.bar_label(drawn, [number(value) for value in heights], padding=3, size=9, **above)
        ax.set(xlim=(min(0, *lengths), 1.2), xticks=(0, 0.5, 1), title=measure)
        ax.grid(axis="y", visible=False)
        for name, guess in (guesses or {}).get(measure, {}).items():
            ends, about = (
                names.index(name) + np.array([-0.42, 0.42]),
                f"guess for {look(name).label}",
            )
            ax.plot([guess] * 2, ends, "k", lw=2.5, path_effects=rim(2.5, "white"), label=about)
            ax.legend(loc="upper right", bbox_to_anchor=(1, -0.25))
    axes[0].invert_yaxis()
    return fig


def behaviour(
    scores: Mapping[str, Scores], *, guesses: Mapping[str, Mapping[str, float]] | None = None
) -> Figure:
    """Behaviour of networks, as :func:`bars`; guesses by network and field of the scores."""
    named = {name: asdict(score) for name, score in scores.items()}
    values = {
        title: {name: fields[key] for name, fields in named.items()}
        for key, title in BEHAVIOUR.items()
    }
    guessed = {
        title: {name: fields[key] for name, fields in (guesses or {}).items() if key in fields}
        for key, title in BEHAVIOUR.items()
    }
    return bars(values, guesses=guessed)


def numbers(
    grids: Mapping[str, ArrayLike],
    *,
    masks: Mapping[str, ArrayLike] | None = None,
    inside: ArrayLike | None = None,
) -> Figure:
    """Small grids ``(h, w)`` by title, with numbers in the cells and masks outlined.

    ``inside`` is the object in all of them, with a dashed outline.
    """
    arrays = {title: np.asarray(values, dtype=float) for title, values in grids.items()}
    rows, columns = next(iter(arrays.values())).shape
    side = min(max(2.1, 0.55 * columns), 9.5 / len(arrays))
    fig = _figure(side * len(arrays), side * rows / columns + 0.4)
    axes = fig.subplots(1, len(arrays), squeeze=False)[0]
    for ax, (title, values) in zip(axes, arrays.items(), strict=True):
        top = 1.6 * max(float(np.abs(values).max()), 1e-9)
        ax.imshow(values, cmap="PuOr", vmin=-top, vmax=top, extent=UNIT)
        ax.set(xticks=[], yticks=[], aspect=rows / columns, title=title)
        ax.grid(False)
        ax.spines[:].set(visible=True, color=GREY)
        for (row, column), value in np.ndenumerate(values):
            x, y = (column + 0.5) / columns, (row + 0.5) / rows
            ax.text(x, y, f"{value:.3g}", size=13 if rows < 4 else 9, ha="center", va="center")
        if masks and title in masks:
            outline(ax, masks[title], colour=DECOY, width=2.5)
        if inside is not None:
            outline(ax, inside, colour=OBJECT, width=2.5)
    return fig


def maps(pictures: ArrayLike, cams: Mapping[str, ArrayLike], decoy_mask: ArrayLike) -> Figure:
    """Images ``(G, C, H, W)``, and one row of maps ``(G, h, w)`` per name, scaled one by one."""
    shown, wrong = np.asarray(pictures), np.asarray(decoy_mask)
    fig = _figure()
    top, *rows = image_grid(fig, 1 + len(cams), len(shown), text=0.03, head=0.1, side=0.4)
    for ax, image, mask in zip(top, shown, wrong, strict=True):
        outline(show(ax, image), mask, colour=DECOY)
    for row, (name, values) in zip(rows, cams.items(), strict=True):
        row[0].set_ylabel(look(name).label, size=9)
        for ax, cam, mask in zip(row, np.asarray(values), wrong, strict=True):
            outline(show_cam(ax, cam), mask, colour=DECOY)
    return fig
