"""How every figure looks: names, one colour and marker per method, titles, and writing to files.

The colours are those of Okabe and Ito (2008), which stay apart for colour-blind readers; the
markers stay apart in greyscale.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xblcore import project

if TYPE_CHECKING:
    import pandas as pd

BLACK, GREY, ORANGE, SKY, GREEN = "#000000", "#7f7f7f", "#e69f00", "#56b4e9", "#009e73"
BLUE, VERMILLION, PURPLE = "#0072b2", "#d55e00", "#cc79a7"
COLOURS = {
    "black": BLACK, "grey": GREY, "orange": ORANGE, "sky": SKY, "green": GREEN, "blue": BLUE,
    "vermillion": VERMILLION, "purple": PURPLE,
}  # fmt: skip

RC: dict[Any, Any] = {
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 160,
    "savefig.bbox": "tight",
    "savefig.pad_inches": 0.05,
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10.0,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.0,
    "legend.frameon": False,
    "figure.titlesize": 12.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.7,
    "svg.hashsalt": "xblcore",
    "image.cmap": "viridis",
}


Marker = str | tuple[int, Literal[0, 1, 2], int]
"""A marker of matplotlib: its name, or number of points, kind and degrees."""


@dataclass(frozen=True)
class MethodStyle:
    """How a method appears in every figure and table."""

    label: str
    colour: str
    marker: Marker

    @property
    def size(self) -> float:
        """Of the marker in points, so that all look equally large."""
        if isinstance(self.marker, tuple):
            return 10.0
        return {"*": 12.0, "D": 6.5, "P": 8.5, "X": 8.5}.get(self.marker, 7.5)


def _looks() -> dict[str, MethodStyle]:
    """What ``methods.yaml`` beside this file says of each method."""
    text = (Path(__file__).parent / "methods.yaml").read_text(encoding="utf-8")
    return {name: _look(name, **look) for name, look in yaml.safe_load(text).items()}


def _look(name: str, *, label: str, colour: str, marker: Any) -> MethodStyle:
    if colour not in COLOURS:
        raise ValueError(
            f"colour of {name} in xblcore/plots/methods.yaml must be one of "
            f"{', '.join(COLOURS)}, got {colour!r}"
        )
    return MethodStyle(
        label, COLOURS[colour], tuple(marker) if isinstance(marker, list) else marker
    )


METHODS = _looks()

LABELS = {
    "iou": "IoU",
    "dead_cam": "Dead CAM",
    "none": "",
    "grad_cam": "Grad-CAM",
    "hires_cam": "HiResCAM",
    "hires_cam_log_prob": "HiResCAM (log p)",
    "input_x_gradient": "Input × gradient",
    "integrated_gradients": "Integrated gradients",
    "occlusion": "Occlusion",
    "decoy_fashion_mnist": "Decoy Fashion-MNIST",
    "decoy_cifar10": "Decoy CIFAR-10",
    "decoy_coco": "Decoy MS-COCO",
    "pooled": "all tasks, pooled by rank",
    "val": "validation images",
    "val_swapped": "validation images, decoy swapped",
    "test_decoy": "test images with a random decoy",
    "test_clean": "clean test images",
}


def use() -> None:
    """Set matplotlib to the look of this study; once, at the top of a notebook."""
    mpl.rcParams.update(RC)


def method(name: str) -> MethodStyle:
    """Look of a method; one that is not listed gets a lasting one made from its name.

    >>> method("rrr").marker, method("my_loss").label, method("my_loss") == method("my_loss")
    ('^', 'my_loss', True)
    """
    if name in METHODS:
        return METHODS[name]
    digest = zlib.crc32(name.encode())
    colours = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
    return MethodStyle(name, colours[digest % 6], f"${name[0].upper()}$")


def label(name: str) -> str:
    """Name of a method, metric, explainer, split or task, as a reader sees it.

    >>> label("rrr_g"), label("distance_focus"), label("test_clean")
    ('RRR-G', 'Distance focus', 'clean test images')
    """
    if name in METHODS:
        return METHODS[name].label
    return LABELS.get(name, name.replace("_", " ").capitalize())


def title(what: str, *, task: str, data: str) -> str:
    """Title of a figure; it says so if the data are not the original ones.

    >>> title("Accuracy", task="decoy_coco", data="stand-in")
    'Accuracy: Decoy MS-COCO (stand-in data)'
    """
    return f"{what}: {task_label(task, data=data)}"


def task_label(task: str, *, data: str) -> str:
    """Name of a task; it says so if the data are not the original ones.

    >>> task_label("decoy_coco", data="original"), task_label("pooled", data="partly stand-in")
    ('Decoy MS-COCO', 'all tasks, pooled by rank (partly stand-in data)')
    """
    return label(task) if data == "original" else f"{label(task)} ({data} data)"


def data_of(runs: pd.DataFrame) -> str:
    """Kind of data of runs of one or several tasks: ``original``, ``stand-in`` or a part of them.

    >>> import pandas as pd
    >>> data_of(pd.DataFrame({"data": ["original", "stand-in"]}))
    'partly stand-in'
    """
    kinds = set(runs["data"])
    return kinds.pop() if len(kinds) == 1 else "partly stand-in"


def title_of(what: str, runs: pd.DataFrame) -> str:
    """:func:`title` for the one task that ``runs`` are of.

    Raises:
        ValueError: runs of none or of several tasks.
    """
    found = runs[["task", "data"]].drop_duplicates()
    if len(found) != 1:
        tasks = ", ".join(found["task"]) or "none"
        raise ValueError(f"runs must be of one task, got {tasks}; select one before plotting")
    return title(what, task=found["task"].iloc[0], data=found["data"].iloc[0])


def panels(fig: Figure, count: int, *, columns: int, sharex: bool = False) -> list[Axes]:
    """``count`` axes with a common y axis, row by row; the figure's last cells may stay empty."""
    rows = -(-count // columns)
    grid = fig.subplots(rows, columns, sharey=True, sharex=sharex, squeeze=False)
    axes: list[Axes] = list(grid.flat)
    for ax in axes[count:]:
        ax.set_axis_off()
    for ax in axes[max(0, count - columns) : count]:
        ax.tick_params(labelbottom=True)
    return axes[:count]


def save(fig: Figure, folder: str | Path, name: str) -> list[Path]:
    """Write ``name.png`` and ``name.svg``, whole or not at all, the same bytes each time.

    Args:
        fig: the figure.
        folder: made if it is missing.
        name: of both files, without a suffix.

    Returns:
        The two paths.
    """
    paths = []
    with mpl.rc_context(RC):
        for suffix, metadata in ((".png", {"Software": None}), (".svg", {"Date": None})):
            path = Path(folder) / f"{name}{suffix}"
            with project.write_atomic(path) as temporary:
                fig.savefig(temporary, metadata=metadata)
            paths.append(path)
    return paths
