"""Figures made of images: the data with its annotations, and CAMs.

Shapes: images ``(G, C, H, W)`` in [0, 1]; masks bool ``(G, H, W)``, or on the CAM grid; CAMs
``(G, h, w)``, at least 0, each scaled to its own maximum; labels ``(G,)``.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike
from skimage.measure import find_contours
from skimage.transform import resize

from xblcore.plots import style
from xblcore.plots.style import BLACK, ORANGE, SKY, SMALL, VERMILLION, look, number, rim
from xblcore.study import tables

UNIT = (0.0, 1.0, 1.0, 0.0)  # every image fills the unit square, so that any mask fits any image
OBJECT, DECOY = SKY, ORANGE
LINES: dict[str, Any] = {OBJECT: (0, (3, 1))}  # dashed, to differ in print without colours
AT_MOST = 8  # epochs shown
FINE = 6  # pixels per cell of an outlined mask


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
    if peak > 0:
        return show(ax, values / peak, cmap="viridis")
    ax.text(0.5, 0.5, "all zero", color="white", size=SMALL - 1, ha="center", va="center")
    return show(ax, values, cmap="viridis")


def outline(ax: Axes, mask: ArrayLike, *, colour: str, width: float = 1.5) -> Axes:
    """Draw the border of a mask ``(h, w)`` over an image drawn by :func:`show`."""
    # Contours cut corners by half a pixel, hence several pixels per cell.
    pixels = np.pad(np.kron(np.asarray(mask, dtype=float), np.ones((FINE, FINE))), 1)
    for contour in find_contours(pixels, 0.5):  # type: ignore[no-untyped-call]
        y, x = ((contour - 0.5) / (np.array(pixels.shape) - 2)).T
        ax.plot(x, y, color=colour, lw=width, ls=LINES.get(colour, "-"), dash_capstyle="butt",
                path_effects=rim(width), clip_on=False)  # fmt: skip
    return ax


def image_grid(
    fig: Figure, rows: int, columns: int, *, text: float, head: float, side: float = 0.0
) -> list[list[Axes]]:
    """Return axes for square images; inches for texts below them, on top and at the left."""
    cell = max(0.95, min(1.6, 6 / columns))  # inches
    width = max(4.5, columns * cell + side)  # at least 4.5, for the title
    fig.set_size_inches(width, rows * (cell - 0.06 + text) + head)
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
    maps = _resampled(cams, inside.shape)
    total = maps.sum((1, 2))
    shares = (maps * inside).sum((1, 2))[total > 0] / total[total > 0]
    return float(shares.mean()) if len(shares) else float("nan")


def _resampled(maps: ArrayLike, shape: tuple[int, ...]) -> Any:
    values = np.asarray(maps, dtype=float)
    return resize(values, shape, order=0, anti_aliasing=False)  # type: ignore[no-untyped-call]


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
        top.set_title(_short(classes[int(labels[column])]), size=SMALL)
        outline(show(middle, images[column]), inside[column], colour=OBJECT)
        show(bottom, distance[column], cmap="viridis", top=farthest)
        for ax in (middle, bottom):
            outline(ax, wrong[column], colour=DECOY)
    for row, name in zip(grid, ("image", "annotation", "distance\nmap"), strict=True):
        row[0].set_ylabel(name)
    bar = fig.colorbar(grid[2][-1].images[0], ax=grid[2], pad=0.01, aspect=8)
    bar.set_label("grid\ndiagonals", size=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    away = _resampled(distance, wrong.shape)[wrong]
    finding = f"The decoy covers {wrong.mean():.1%} of the image"
    if away.size:
        finding += f", on average {number(float(np.nanmean(away)))} grid diagonals from the object"
    style.title(fig, finding, tables.about(task, data))
    style.legend(fig, _key({"object": OBJECT, "decoy": DECOY}, cams=False))
    return fig


def cam_gallery(
    fig: Figure, images: ArrayLike, cams: Mapping[str, ArrayLike], *, decoy_mask: ArrayLike,
    labels: Sequence[int], classes: Sequence[str], predictions: Mapping[str, Sequence[int]],
    accuracies: Mapping[str, float], explainer: str, task: str, data: str,
) -> Figure:  # fmt: skip
    """Show the CAMs of every method: one row per image, one column per method.

    CAMs, predicted classes, and accuracies on clean images of the same networks are by method.
    """
    maps = {name: np.asarray(values, dtype=float) for name, values in cams.items()}
    grid = _cams(fig, images, list(maps.values()), decoy_mask, text=0.17, head=1.25)
    for n, row in enumerate(grid):
        truth = classes[int(labels[n])]
        shown = [truth, *(classes[int(predictions[name][n])] for name in maps)]
        for ax, text in zip(row, shown, strict=True):
            _class_below(ax, text, truth)
    grid[0][0].set_title("image\n(label)", size=SMALL - 1)
    for ax, name in zip(grid[0][1:], maps, strict=True):
        head = textwrap.fill(look(name).label, 16, break_on_hyphens=False)
        ax.set_title(f"{head}\nclean acc. {number(accuracies[name])}", size=SMALL - 1)
    whole = [name for name, cam in maps.items() if cam.any((1, 2)).all()]
    shares = pd.Series({name: share_inside(maps[name], decoy_mask) for name in whole}, dtype=float)
    finding = f"Share of the {tables.label(explainer)} on the decoy: {style.extremes(shares)}"
    if vanished := len(maps) - len(whole):
        finding += f" ({vanished} left out: an all-zero map)"
    style.title(fig, finding, f"{tables.about(task, data)}, networks of the median seed")
    style.legend(fig, _key({"decoy": DECOY}, predictions=True))
    return fig


def cams_over_training(
    fig: Figure, images: ArrayLike, cams: ArrayLike, *, decoy_mask: ArrayLike, method: str,
    explainer: str, task: str, data: str,
) -> Figure:  # fmt: skip
    """Show how CAMs ``(epochs, G, h, w)`` change: one row per image, at most eight epochs."""
    maps = np.asarray(cams, dtype=float)
    epochs = np.unique(np.linspace(0, len(maps) - 1, min(AT_MOST, len(maps))).round().astype(int))
    grid = _cams(fig, images, maps[epochs], decoy_mask, text=0.03, head=1.05)
    for ax, text in zip(grid[0], ["image", *(f"epoch {n + 1}" for n in epochs)], strict=True):
        ax.set_title(text, size=SMALL)
    first, last = (number(share_inside(maps[n], decoy_mask)) for n in (0, -1))
    finding = f"{look(method).label}: share of the {tables.label(explainer)} on the decoy, {first} "
    finding += f"after epoch 1 and {last} after epoch {len(maps)}"
    style.title(fig, finding, f"{tables.about(task, data)}, network of the median seed")
    style.legend(fig, _key({"decoy": DECOY}))
    return fig


def _cams(
    fig: Figure, images: ArrayLike, cams: Sequence[ArrayLike], masks: ArrayLike, *, text: float,
    head: float,
) -> list[list[Axes]]:  # fmt: skip
    """Show images in the first column and their CAMs in the others, with the masks outlined."""
    pictures, maps, outlined = np.asarray(images), np.asarray(cams), np.asarray(masks)
    grid = image_grid(fig, len(pictures), 1 + len(maps), text=text, head=head)
    for n, (first, *others) in enumerate(grid):
        show(first, pictures[n])
        for ax, cam in zip(others, maps[:, n], strict=True):
            show_cam(ax, cam)
        for ax in (first, *others):
            outline(ax, outlined[n], colour=DECOY)
    return grid


def before_after(
    fig: Figure, images: ArrayLike, before: ArrayLike, after: ArrayLike, *,
    object_mask: ArrayLike, decoy_mask: ArrayLike, truth: Sequence[str],
    predictions: tuple[Sequence[str], Sequence[str]],
) -> Figure:  # fmt: skip
    """Show images with the marked masks, CAMs and predictions before and after refinement."""
    pictures, cams = np.asarray(images), (np.asarray(before), np.asarray(after))
    right, wrong = np.asarray(object_mask, dtype=bool), np.asarray(decoy_mask, dtype=bool)
    grid = image_grid(fig, 3, len(pictures), text=0.17, head=0.85, side=0.3)
    for row, name in zip(grid, ("image", "before", "after"), strict=True):
        row[0].set_ylabel(name)
    for n, (top, *others) in enumerate(zip(*grid, strict=True)):
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
    outlines = {"marked as wrong": DECOY, "marked as object": OBJECT}
    style.legend(fig, _key(outlines, predictions=True))
    return fig


def _class_below(ax: Axes, predicted: str, truth: str) -> None:
    right, text = predicted == truth, _short(predicted)
    ax.set_xlabel(text if right else f"✗ {text}", size=SMALL - 1.5, labelpad=2,
                  color=BLACK if right else VERMILLION)  # fmt: skip


def _short(name: str) -> str:
    return name if len(name) <= 14 else f"{name[:13]}…"


def _key(
    outlines: Mapping[str, str], *, cams: bool = True, predictions: bool = False
) -> list[Artist]:
    """Return the legend entries of outlines, of the colours of CAMs and of wrong predictions."""
    entries: list[Artist] = [
        Line2D([], [], color=colour, lw=2.5, ls=LINES.get(colour, "-"), label=name,
               dash_capstyle="butt", path_effects=rim(2.5)) for name, colour in outlines.items()
    ]  # fmt: skip
    if cams:
        entries += [Patch(fc=mpl.colormaps["viridis"](end), label=f"CAM: {text}")
                    for end, text in ((0.0, "0"), (1.0, "its maximum"))]  # fmt: skip
    if predictions:
        entries.append(Line2D([], [], ls="", marker="$✗$", color=VERMILLION, ms=7,
                              label="wrong prediction"))  # fmt: skip
    return entries
