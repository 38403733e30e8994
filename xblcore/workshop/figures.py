"""The figures of the workshop; each function returns a figure for the cell to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from xblcore.decoys import CORNERS
from xblcore.evaluate import predict
from xblcore.models import SplitNet
from xblcore.plots import images as pictures
from xblcore.plots.style import BLACK, GREY, VERMILLION, label, method
from xblcore.workshop.course import CLASSES, Scores
from xblcore.workshop.task import Data, with_each_decoy

WIDTH = 9.5
BEHAVIOUR = {
    "with_decoy": "accuracy with the decoy",
    "clean": "accuracy without the decoy",
    "flip_rate": "answers that follow the decoy",
}


def new_figure(height: float, *, width: float = WIDTH) -> Figure:
    """A figure that only the cell shows, not pyplot as well."""
    fig = plt.figure(figsize=(width, height), layout="constrained")
    plt.close(fig)
    return fig


def one_of_each(data: Data) -> Figure:
    """The first training image of each class, its decoy outlined."""
    marked = data.splits["train"]
    labels = marked.labels.tolist()
    first = [labels.index(k) for k in range(len(CLASSES))]
    masks = data.decoy_pixels["train"][first]
    return strip(marked.images[first], CLASSES, masks=masks)


def strip(
    images: ArrayLike,
    captions: Sequence[str],
    *,
    masks: ArrayLike | None = None,
    columns: int = 10,
    gap: float = 0.3,
    width: float = WIDTH,
) -> Figure:
    """Images in rows of ``columns``, each with what is said of it below.

    Args:
        images: ``(G, C, H, W)`` in [0, 1].
        captions: ``(G,)``.
        masks: bool ``(G, h, w)``, outlined.
        columns: images a row.
        gap: inches below each image.
        width: of the figure in inches.
    """
    shown = np.asarray(images)
    rows = -(-len(shown) // columns)
    fig = new_figure(1.0, width=width)
    grid = pictures.image_grid(fig, rows, columns, row_gap=gap, margin=0.3)
    axes: list[Axes] = grid.ravel().tolist()
    for number, ax in enumerate(axes):
        if number >= len(shown):
            ax.set_axis_off()
            continue
        pictures.show(ax, shown[number])
        if masks is not None and np.asarray(masks)[number].any():
            pictures.outline(ax, np.asarray(masks)[number], colour=pictures.DECOY)
        ax.set_xlabel(captions[number], size=8.5)
    return fig


def each_decoy(model: SplitNet, data: Data, *, image: int = 0, corner: str = "top left") -> Figure:
    """One clean test image with the decoy of each class in turn, and what the network answers.

    Bold: the answer is the class of the decoy. Orange with a ✗: the answer is wrong.

    Args:
        model: a trained network.
        data: of the workshop.
        image: which one of ``test_clean``.
        corner: where the decoy is, a name in :data:`xblcore.decoys.CORNERS`.
    """
    marked = data.splits["test_clean"]
    place = CORNERS.index(corner)
    variants = with_each_decoy(marked.images[image], corner=place, size=data.settings.decoy_size)
    answers = predict(model, variants).argmax(1).tolist()
    truth = int(marked.labels[image])
    captions = [
        f"decoy: {decoy}\n{'✗ ' if answer != truth else ''}{CLASSES[answer]}"
        for decoy, answer in zip(CLASSES, answers, strict=True)
    ]
    fig = strip(variants, captions, columns=5, gap=0.45, width=6.5)
    for ax, decoy, answer in zip(fig.axes, CLASSES, answers, strict=True):
        ax.xaxis.label.set(
            color=BLACK if answer == truth else VERMILLION,
            weight="bold" if CLASSES[answer] == decoy else "normal",
        )
    fig.suptitle(f"A {CLASSES[truth]}, and what the network says", size=11)
    return fig


def behaviour(
    scores: Mapping[str, Scores], *, guesses: Mapping[str, float | None] | None = None
) -> Figure:
    """What networks do, from their answers: three bars each, and what was guessed before.

    Args:
        scores: name of a method, or any name, to its scores.
        guesses: to a name in :data:`BEHAVIOUR`, a guess in [0, 1]; None: none was made.
    """
    fig = new_figure(0.75 + 0.33 * len(scores) + 0.2 * bool(guesses))
    axes = fig.subplots(1, len(BEHAVIOUR), sharey=True)
    for ax, (name, what) in zip(axes, BEHAVIOUR.items(), strict=True):
        values = [getattr(score, name) for score in scores.values()]
        colours = [method(key).colour for key in scores]
        bars = ax.barh([label(key) for key in scores], values, color=colours, height=0.6)
        ax.bar_label(bars, fmt="%.2f", padding=3, size=9)
        ax.set(xlim=(0, 1.12), title=what)
        ax.grid(axis="y", visible=False)
        guess = (guesses or {}).get(name)
        if guess is not None:
            ax.axvline(guess, color=BLACK, linestyle="--", label="your guess")
            ax.legend(loc="lower center", bbox_to_anchor=(0.5, -0.75))
    axes[0].invert_yaxis()
    return fig


def numbers(
    grids: Mapping[str, ArrayLike],
    *,
    masks: Mapping[str, ArrayLike] | None = None,
    side: float = 2.1,
) -> Figure:
    """Small grids with the number written in each cell, darker blue for more, orange for less.

    Args:
        grids: title to ``(h, w)``, signed.
        masks: title to bool ``(h, w)``, outlined.
        side: width of a grid in inches, at most.
    """
    arrays = {title: np.asarray(values, dtype=float) for title, values in grids.items()}
    rows, columns = next(iter(arrays.values())).shape
    side = min(side, WIDTH / len(arrays))
    fig = new_figure(side * rows / columns + 0.35, width=side * len(arrays))
    axes = fig.subplots(1, len(arrays), squeeze=False)[0]
    for ax, (title, values) in zip(axes, arrays.items(), strict=True):
        _numbered(ax, values).set_title(title)
        if masks and title in masks:
            pictures.outline(ax, masks[title], colour=pictures.DECOY, width=2.5)
    return fig


def _numbered(ax: Axes, values: NDArray[np.float64]) -> Axes:
    rows, columns = values.shape
    top = max(float(np.abs(values).max()), 1e-9)
    ax.imshow(values, cmap="PuOr", vmin=-1.6 * top, vmax=1.6 * top, extent=pictures.UNIT)
    ax.set(xticks=[], yticks=[], aspect=rows / columns)
    ax.grid(False)
    ax.spines[:].set(visible=True, color=GREY)
    size = 15 if max(rows, columns) <= 3 else 10
    for (row, column), value in np.ndenumerate(values):
        x, y = (column + 0.5) / columns, (row + 0.5) / rows
        ax.text(x, y, f"{value:.3g}", size=size, ha="center", va="center", color=BLACK)
    for line in range(1, rows):
        ax.axhline(line / rows, color=GREY, linewidth=0.6)
    for line in range(1, columns):
        ax.axvline(line / columns, color=GREY, linewidth=0.6)
    return ax


def maps(
    images: ArrayLike,
    cams: Mapping[str, ArrayLike],
    *,
    decoy_mask: ArrayLike,
    answers: Mapping[str, Sequence[int]] | None = None,
    labels: Sequence[int] = (),
) -> Figure:
    """Images in the first row, and below one row of maps a method, the decoy outlined.

    Args:
        images: ``(G, C, H, W)`` in [0, 1].
        cams: name to ``(G, h, w)``, at least 0; each is scaled to its own maximum.
        decoy_mask: bool ``(G, h, w)``.
        answers: name to ``(G,)`` predicted classes, written below the maps.
        labels: ``(G,)`` true classes, needed with ``answers``.
    """
    shown, wrong = np.asarray(images), np.asarray(decoy_mask)
    fig = new_figure(1.0)
    gap = 0.18 if answers else 0.04
    grid = pictures.image_grid(fig, 1 + len(cams), len(shown), row_gap=gap, margin=0.1)
    for column, image in enumerate(shown):
        ax = pictures.show(grid[0, column], image)
        pictures.outline(ax, wrong[column], colour=pictures.DECOY)
        if answers:
            ax.set_xlabel(CLASSES[int(labels[column])], size=7.5, labelpad=2)
        for row, (name, values) in enumerate(cams.items(), start=1):
            ax = pictures.show_cam(grid[row, column], np.asarray(values)[column])
            pictures.outline(ax, wrong[column], colour=pictures.DECOY)
            if answers:
                answer, truth = int(answers[name][column]), int(labels[column])
                text = CLASSES[answer] if answer == truth else f"✗ {CLASSES[answer]}"
                colour = BLACK if answer == truth else VERMILLION
                ax.set_xlabel(text, size=7.5, labelpad=2, color=colour)
    grid[0, 0].set_ylabel("image", size=9)
    for row, name in enumerate(cams, start=1):
        grid[row, 0].set_ylabel(label(name), size=9)
    return fig


def curves(values: Mapping[str, Sequence[float]], *, what: str) -> Figure:
    """One line a method over the epochs.

    Args:
        values: name to ``(epochs,)``.
        what: name of the axis.
    """
    fig = new_figure(2.4, width=5.5)
    ax = fig.subplots()
    for name, line in values.items():
        look = method(name)
        epochs = range(1, len(line) + 1)
        ax.plot(epochs, line, color=look.colour, marker=look.marker, label=look.label)
    ax.set(xlabel="epoch", ylabel=what, ylim=(0, None))
    ax.legend()
    return fig


def table(shares: Mapping[str, Mapping[str, float]], scores: Mapping[str, Scores]) -> pd.DataFrame:
    """Where the attribution of each method lies, beside what its answers do; rounded.

    Args:
        shares: method to place to a share in [0, 1].
        scores: method to its scores.
    """
    rows = {
        label(name): {
            **{f"share on the {where}": value for where, value in places.items()},
            "answers that follow the decoy": scores[name].flip_rate,
            "accuracy without it": scores[name].clean,
        }
        for name, places in shares.items()
    }
    return pd.DataFrame(rows).T.round(3)
