"""Figures made of images: the data with what was marked in them, and every method's CAMs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from xblcore.plots.style import BLACK, ORANGE, SKY, VERMILLION, label, title

UNIT = (0.0, 1.0, 1.0, 0.0)  # every image fills the unit square, so that any grid fits any image
OBJECT, DECOY = SKY, ORANGE
SMALL = 8.5


def show(ax: Axes, image: ArrayLike, *, cmap: str = "gray", top: float = 1.0) -> Axes:
    """An image ``(C, H, W)`` or a map ``(h, w)`` with values from 0 to ``top``, without ticks."""
    pixels = np.asarray(image, dtype=float)
    if pixels.ndim == 3:
        pixels = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    ax.imshow(pixels, cmap=cmap, vmin=0, vmax=top, extent=UNIT, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set(visible=True, color="#bbbbbb", linewidth=0.6)
    return ax


def outline(ax: Axes, mask: ArrayLike, *, colour: str, width: float = 1.5) -> Axes:
    """Exact border of a mask ``(h, w)`` along its cells, over an image drawn by :func:`show`."""
    cells = np.pad(np.asarray(mask, dtype=bool), 1)
    scale = np.array([cells.shape[1] - 2, cells.shape[0] - 2])  # x, y
    rows, columns = np.nonzero(cells[1:, 1:-1] != cells[:-1, 1:-1])
    across = np.stack([columns, rows, columns + 1, rows], axis=1)
    rows, columns = np.nonzero(cells[1:-1, 1:] != cells[1:-1, :-1])
    down = np.stack([columns, rows, columns, rows + 1], axis=1)
    segments = np.concatenate([across, down]).reshape(-1, 2, 2) / scale
    for look, thickness in ((BLACK, width + 1.2), (colour, width)):  # seen on dark and on light
        lines = LineCollection(list(segments), colors=look, linewidths=thickness)
        lines.set(capstyle="projecting", clip_on=False)
        ax.add_collection(lines, autolim=False)
    return ax


def image_grid(
    fig: Figure, rows: int, columns: int, *, row_gap: float = 0.05, margin: float = 0.6
) -> NDArray[np.object_]:
    """Axes for square pictures, and the figure's height made to fit its width.

    Args:
        fig: an empty figure.
        rows: of pictures.
        columns: of pictures.
        row_gap: inches below each picture for what is written there.
        margin: inches for the title and the key.
    """
    width = fig.get_figwidth()
    fig.set_size_inches(width, rows * (width / columns + row_gap) + margin)
    if engine := fig.get_layout_engine():
        engine.set(w_pad=0.035, h_pad=0.02, wspace=0.02, hspace=0.0)  # type: ignore[call-arg]
    axes: NDArray[np.object_] = fig.subplots(rows, columns, squeeze=False)
    return axes


def _normalised(cam: ArrayLike) -> NDArray[np.float64]:
    """Map scaled to maximum 1; one without a positive value becomes all zero."""
    values = np.asarray(cam, dtype=float)
    peak = values.max()
    return values / peak if peak > 0 else np.zeros_like(values)


def show_cam(ax: Axes, cam: ArrayLike) -> Axes:
    """A CAM scaled to its own maximum; one without a positive value says that it is dead."""
    scaled = _normalised(cam)
    show(ax, scaled, cmap="viridis")
    if not scaled.any():
        ax.text(0.5, 0.5, "dead", color="white", size=SMALL, ha="center", va="center")
    return ax


def _key(fig: Figure, colours: Mapping[str, str]) -> None:
    lines = [Line2D([], [], color=colour, lw=2.5, label=name,
                    path_effects=[patheffects.withStroke(linewidth=3.7, foreground=BLACK)])
             for name, colour in colours.items()]  # fmt: skip
    fig.legend(handles=lines, loc="outside lower center", ncols=len(lines))


def examples(
    fig: Figure,
    images: ArrayLike,
    object_mask: ArrayLike,
    decoy_mask: ArrayLike,
    distance: ArrayLike,
    *,
    labels: Sequence[int],
    classes: Sequence[str],
    task: str,
    data: str,
) -> Figure:
    """The data: each image as the network sees it, with its masks, and its distance map.

    Args:
        fig: an empty figure, about 9.5 inches wide for eight images; the height is made to fit.
        images: ``(G, C, H, W)`` in [0, 1].
        object_mask: bool ``(G, h, w)``, of the images' size or the CAM's.
        decoy_mask: bool ``(G, h, w)``, likewise.
        distance: ``(G, h, w)``, in grid diagonals.
        labels: ``(G,)``.
        classes: name of each class.
        task: for the title.
        data: ``original`` or ``stand-in``, for the title.
    """
    images, distance = np.asarray(images), np.asarray(distance, dtype=float)
    grid = image_grid(fig, 3, len(images), margin=0.7)
    farthest = float(np.nanmax(distance))
    for column, (image, inside, wrong, away) in enumerate(
        zip(images, np.asarray(object_mask), np.asarray(decoy_mask), distance, strict=True)
    ):
        top, middle, bottom = grid[:, column]
        show(top, image).set_title(classes[int(labels[column])], size=SMALL + 0.5)
        outline(outline(show(middle, image), inside, colour=OBJECT), wrong, colour=DECOY)
        show(bottom, away, cmap="viridis", top=farthest)
        outline(bottom, wrong, colour=DECOY)
    for row, name in enumerate(("image", "annotation", "distance\nto the object")):
        grid[row, 0].set_ylabel(name)
    bar = fig.colorbar(grid[2, -1].images[0], ax=list(grid[2]), pad=0.01, aspect=8)
    bar.set_label("diagonals", size=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    fig.suptitle(title("Images, their decoys and what was marked", task=task, data=data))
    _key(fig, {"object": OBJECT, "decoy": DECOY})
    return fig


def cam_gallery(
    fig: Figure,
    images: ArrayLike,
    distance: ArrayLike,
    cams: Mapping[str, ArrayLike],
    *,
    decoy_mask: ArrayLike,
    explainer: str,
    labels: Sequence[int],
    classes: Sequence[str],
    predictions: Mapping[str, Sequence[int]] | None = None,
    task: str,
    data: str,
) -> Figure:
    """Where every method looks: one image a row, then its distance map, then one CAM a method.

    Args:
        fig: an empty figure, about 9.5 inches wide; the height is made to fit.
        images: ``(G, C, H, W)`` in [0, 1].
        distance: ``(G, h, w)``.
        cams: method to ``(G, h, w)``, at least 0; each map is scaled to its own maximum.
        decoy_mask: bool ``(G, h, w)``.
        explainer: that made the CAMs, for the title.
        labels: ``(G,)``.
        classes: name of each class.
        predictions: method to ``(G,)`` predicted classes, written below the CAMs.
        task: for the title.
        data: ``original`` or ``stand-in``, for the title.
    """
    images, wrong = np.asarray(images), np.asarray(decoy_mask)
    away = np.asarray(distance, dtype=float)
    maps = {name: np.asarray(values) for name, values in cams.items()}
    grid = image_grid(fig, len(images), 2 + len(maps), row_gap=0.16, margin=0.7)
    for row, image in enumerate(images):
        outline(show(grid[row, 0], image), wrong[row], colour=DECOY)
        show(grid[row, 1], away[row], cmap="viridis", top=float(np.nanmax(away)))
        outline(grid[row, 1], wrong[row], colour=DECOY)
        _name_class(grid[row, 0], classes[int(labels[row])], right=True)
        for ax, (name, cam) in zip(grid[row, 2:], maps.items(), strict=True):
            outline(show_cam(ax, cam[row]), wrong[row], colour=DECOY)
            if predictions is not None:
                predicted = int(predictions[name][row])
                _name_class(ax, classes[predicted], right=predicted == int(labels[row]))
    for ax, name in zip(grid[0], ("image", "distance", *maps), strict=True):
        ax.set_title(label(name).replace(" (", "\n(") if name in maps else name, size=SMALL + 0.5)
    what = f"Where each method looks, by {label(explainer)}, decoy outlined"
    fig.suptitle(title(what, task=task, data=data))
    return fig


def _name_class(ax: Axes, name: str, *, right: bool) -> None:
    text = name if right else f"✗ {name}"
    ax.set_xlabel(text, size=SMALL - 1.5, labelpad=2, color=BLACK if right else VERMILLION)
