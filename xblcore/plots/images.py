"""Figures made of images: the data with its annotations, and CAMs.

Shapes: images ``(G, C, H, W)`` in [0, 1]; masks bool ``(G, H, W)``, or on the CAM grid; CAMs
``(G, h, w)``, at least 0, each scaled to its own maximum; labels ``(G,)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from xblcore.plots import style
from xblcore.plots.style import BLACK, ORANGE, SKY, SMALL, VERMILLION, look, number

UNIT = (0.0, 1.0, 1.0, 0.0)  # every image fills the unit square, so that any mask fits any image
OBJECT, DECOY = SKY, ORANGE
AT_MOST = 8  # epochs shown
RIM = 1.2  # points of black around outlines, so that they stand out on any background
Floats = NDArray[np.float64]


def show(ax: Axes, image: ArrayLike, *, cmap: str = "gray", top: float = 1.0) -> Axes:
    """Show an image ``(C, H, W)`` or a map ``(h, w)`` with values from 0 to ``top``."""
    pixels = np.asarray(image, dtype=float)
    if pixels.ndim == 3:
        pixels = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)  # (H, W[, C])
    ax.imshow(pixels, cmap=cmap, vmin=0, vmax=top, extent=UNIT, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set(visible=True, color="#bbbbbb", linewidth=0.6)
    return ax


def show_cam(ax: Axes, cam: ArrayLike) -> Axes:
    """Show a CAM ``(h, w)``, at least 0, scaled to its own maximum."""
    values = np.asarray(cam, dtype=float)
    peak = values.max()
    show(ax, values / peak if peak > 0 else values, cmap="viridis")
    if not peak > 0:
        ax.text(0.5, 0.5, "all zero", color="white", size=SMALL - 1, ha="center", va="center")
    return ax


def outline(ax: Axes, mask: ArrayLike, *, colour: str, width: float = 1.5) -> Axes:
    """Draw the border of a mask ``(h, w)`` along its cells, over an image drawn by :func:`show`."""
    cells = np.pad(np.asarray(mask, dtype=bool), 1)
    scale = np.array([cells.shape[1] - 2, cells.shape[0] - 2])  # x, y
    rows, columns = np.nonzero(cells[1:, 1:-1] != cells[:-1, 1:-1])
    across = np.stack([columns, rows, columns + 1, rows], axis=1)
    rows, columns = np.nonzero(cells[1:-1, 1:] != cells[1:-1, :-1])
    down = np.stack([columns, rows, columns, rows + 1], axis=1)
    segments = np.concatenate([across, down]).reshape(-1, 2, 2) / scale  # (edges, ends, x and y)
    for line, thickness in ((BLACK, width + RIM), (colour, width)):
        lines = LineCollection(list(segments), colors=line, linewidths=thickness)
        lines.set(capstyle="projecting", clip_on=False)
        ax.add_collection(lines, autolim=False)
    return ax


def image_grid(
    fig: Figure, rows: int, columns: int, *, text: float, head: float, side: float = 0.0
) -> list[list[Axes]]:
    """Return axes for square images, and fit the figure to them.

    ``text``, ``head`` and ``side`` are inches for text below each image, for titles and legend, and
    for labels next to the images.
    """
    cell = max(0.95, min(1.6, 6 / columns))  # inches
    fig.set_size_inches(columns * cell + side, rows * (cell - 0.06 + text) + head)
    if engine := fig.get_layout_engine():
        engine.set(w_pad=0.035, h_pad=0.03, wspace=0.02, hspace=0.0)  # type: ignore[call-arg]
    return [list(row) for row in fig.subplots(rows, columns, squeeze=False)]


def share_inside(cams: ArrayLike, masks: ArrayLike) -> float:
    """Mean share of maps within their masks; all-zero maps are left out, NaN if all of them are.

    Args:
        cams: ``(N, h, w)``, at least 0.
        masks: bool ``(N, H, W)``; the maps are resampled to this resolution.

    >>> share_inside([[[3.0, 1.0]], [[0.0, 0.0]]], [[[True, True, False, False]]] * 2)
    0.75
    """
    inside = np.asarray(masks, dtype=bool)
    maps = _resampled(cams, inside.shape[1:])
    total = maps.sum((1, 2))
    shares = (maps * inside).sum((1, 2))[total > 0] / total[total > 0]
    return float(shares.mean()) if len(shares) else float("nan")


def _resampled(values: ArrayLike, shape: tuple[int, ...]) -> Floats:
    """Nearest values ``(N, H, W)`` of maps ``(N, h, w)``."""
    maps = np.asarray(values, dtype=float)
    rows, columns = (
        np.arange(new) * old // new for old, new in zip(maps.shape[1:], shape, strict=True)
    )
    return maps[:, rows][:, :, columns]


def examples(
    fig: Figure, images: ArrayLike, object_mask: ArrayLike, decoy_mask: ArrayLike,
    distance: ArrayLike, *, labels: Sequence[int], classes: Sequence[str], task: str, data: str,
) -> Figure:  # fmt: skip
    """Show images, their annotations, and the distance map ``(G, h, w)`` in grid diagonals."""
    images, distance = np.asarray(images), np.asarray(distance, dtype=float)
    inside, wrong = np.asarray(object_mask, dtype=bool), np.asarray(decoy_mask, dtype=bool)
    grid = image_grid(fig, 3, len(images), text=0.05, head=1.0, side=1.1)
    farthest = float(np.nanmax(distance))
    for column, (top, middle, bottom) in enumerate(zip(*grid, strict=True)):
        show(top, images[column])
        top.set_title(classes[int(labels[column])], size=SMALL)
        outline(show(middle, images[column]), inside[column], colour=OBJECT)
        show(bottom, distance[column], cmap="viridis", top=farthest)
        for ax in (middle, bottom):
            outline(ax, wrong[column], colour=DECOY)
    for row, name in zip(grid, ("image", "annotation", "distance\nmap"), strict=True):
        row[0].set_ylabel(name)
    bar = fig.colorbar(grid[2][-1].images[0], ax=grid[2], pad=0.01, aspect=8)
    bar.set_label("grid\ndiagonals", size=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    away = _resampled(distance, wrong.shape[1:])[wrong]
    finding = f"The decoy covers {wrong.mean():.1%} of the image"
    if away.size:
        finding += f", on average {number(float(np.nanmean(away)))} grid diagonals from the object"
    style.title(fig, finding, style.about(task, data))
    style.legend(fig, _outlines({"object": OBJECT, "decoy": DECOY}))
    return fig


def cam_gallery(
    fig: Figure, images: ArrayLike, cams: Mapping[str, ArrayLike], *, decoy_mask: ArrayLike,
    labels: Sequence[int], classes: Sequence[str], predictions: Mapping[str, Sequence[int]],
    accuracies: Mapping[str, float], explainer: str, task: str, data: str,
) -> Figure:  # fmt: skip
    """Show the CAMs of every method: one row per image, one column per method.

    Args:
        cams: by method.
        predictions: predicted classes by method.
        accuracies: of the same networks on clean test images, by method.
    """
    images, wrong = np.asarray(images), np.asarray(decoy_mask, dtype=bool)
    maps = {name: np.asarray(values, dtype=float) for name, values in cams.items()}
    grid = image_grid(fig, len(images), 1 + len(maps), text=0.17, head=1.25)
    for row, (first, *others) in enumerate(grid):
        truth = classes[int(labels[row])]
        outline(show(first, images[row]), wrong[row], colour=DECOY)
        _class_below(first, truth, truth)
        for ax, (name, cam) in zip(others, maps.items(), strict=True):
            outline(show_cam(ax, cam[row]), wrong[row], colour=DECOY)
            _class_below(ax, classes[int(predictions[name][row])], truth)
    grid[0][0].set_title("image\n(label)", size=SMALL - 1)
    for ax, name in zip(grid[0][1:], maps, strict=True):
        head = look(name).label.replace(" (", "\n(")
        ax.set_title(f"{head}\nclean acc. {number(accuracies[name])}", size=SMALL - 1)
    shares = {name: share_inside(cam, wrong) for name, cam in maps.items()}
    ranked = sorted((share, name) for name, share in shares.items() if share == share)
    ends = dict.fromkeys((ranked[-1], ranked[0])) if ranked else ()
    texts = [f"{number(share)} for {look(name).label}" for share, name in ends]
    finding = f"Share of the {style.label(explainer)} on the decoy: {', '.join(texts)}"
    if not ranked:
        finding = f"{style.label(explainer)} is all zero for every method"
    style.title(fig, finding, style.about(task, data))
    style.legend(fig, [*_outlines({"decoy": DECOY}), _wrong_prediction()])
    return fig


def cams_over_training(
    fig: Figure, images: ArrayLike, cams: ArrayLike, *, decoy_mask: ArrayLike, method: str,
    explainer: str, task: str, data: str,
) -> Figure:  # fmt: skip
    """Show how CAMs ``(epochs, G, h, w)`` change: one row per image, at most eight epochs."""
    images, wrong = np.asarray(images), np.asarray(decoy_mask, dtype=bool)
    maps = np.asarray(cams, dtype=float)
    epochs = np.unique(np.linspace(0, len(maps) - 1, min(AT_MOST, len(maps))).round().astype(int))
    grid = image_grid(fig, len(images), 1 + len(epochs), text=0.03, head=1.05)
    for row, (first, *others) in enumerate(grid):
        outline(show(first, images[row]), wrong[row], colour=DECOY)
        for ax, epoch in zip(others, epochs, strict=True):
            outline(show_cam(ax, maps[epoch, row]), wrong[row], colour=DECOY)
    for ax, text in zip(grid[0], ["image", *(f"epoch {n + 1}" for n in epochs)], strict=True):
        ax.set_title(text, size=SMALL)
    first_share, last_share = (number(share_inside(maps[n], wrong)) for n in (0, -1))
    finding = (
        f"{look(method).label}: the share of {style.label(explainer)} on the decoy is "
        f"{first_share} after epoch 1 and {last_share} after epoch {len(maps)}"
    )
    style.title(fig, finding, style.about(task, data))
    style.legend(fig, _outlines({"decoy": DECOY}))
    return fig


def before_after(
    fig: Figure, images: ArrayLike, before: ArrayLike, after: ArrayLike, *,
    object_mask: ArrayLike, decoy_mask: ArrayLike, truth: Sequence[str],
    predictions: tuple[Sequence[str], Sequence[str]],
) -> Figure:  # fmt: skip
    """Show annotated images with their CAMs and predictions before and after refinement.

    Args:
        object_mask: marked as object.
        decoy_mask: marked as wrong.
        truth: class of each image.
        predictions: classes predicted before and after.
    """
    pictures, cams = np.asarray(images), (np.asarray(before), np.asarray(after))
    if not len(pictures):
        raise ValueError("images must be at least one, got none; annotate some first")
    right, wrong = np.asarray(object_mask, dtype=bool), np.asarray(decoy_mask, dtype=bool)
    # At least four columns, so that the title fits.
    grid = image_grid(fig, 3, max(4, len(pictures)), text=0.17, head=0.85, side=0.3)
    for row, name in zip(grid, ("image", "before", "after"), strict=True):
        row[0].set_ylabel(name)
        for ax in row[len(pictures) :]:
            ax.set_axis_off()
    for n, (top, *others) in enumerate(list(zip(*grid, strict=True))[: len(pictures)]):
        _class_below(show(top, pictures[n]), truth[n], truth[n])
        for ax, cam, predicted in zip(others, cams, predictions, strict=True):
            _class_below(show_cam(ax, cam[n]), predicted[n], truth[n])
        for ax in (top, *others):
            outline(outline(ax, right[n], colour=OBJECT), wrong[n], colour=DECOY)
    marked = wrong.any((1, 2))
    region, masks = ("region marked as wrong", wrong) if marked.any() else ("object", right)
    chosen = masks.any((1, 2))
    shares = [number(share_inside(cam[chosen], masks[chosen])) for cam in cams]
    finding = f"Share of the CAM on the {region}: {shares[0]} before, {shares[1]} after"
    style.title(fig, finding, f"annotated images shown: {len(pictures)}")
    key = _outlines({"marked as wrong": DECOY, "marked as object": OBJECT})
    style.legend(fig, [*key, _wrong_prediction()])
    return fig


def _class_below(ax: Axes, predicted: str, truth: str) -> None:
    right = predicted == truth
    text = predicted if len(predicted) <= 14 else f"{predicted[:13]}…"
    ax.set_xlabel(text if right else f"✗ {text}", size=SMALL - 1.5, labelpad=2,
                  color=BLACK if right else VERMILLION)  # fmt: skip


def _outlines(colours: Mapping[str, str]) -> list[Line2D]:
    rim = [patheffects.withStroke(linewidth=2.5 + RIM, foreground=BLACK)]
    return [
        Line2D([], [], color=colour, lw=2.5, label=name, path_effects=rim)
        for name, colour in colours.items()
    ]


def _wrong_prediction() -> Line2D:
    return Line2D([], [], ls="", marker="$✗$", color=VERMILLION, ms=7, label="wrong prediction")
