"""The fixed gallery of a task, in git: images, CAMs of every network, answers, metrics. No torch.

One ``.npz`` file that holds plain arrays and a JSON text, read with ``allow_pickle=False``. Numbers
in [0, 1] are kept as 16-bit integers (:data:`STEPS` to 1), CAMs as 8-bit shares of their maximum.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xblcore import project
from xblcore.config import from_mapping
from xblcore.datasets.drawing import Drawn, View
from xblcore.explorer.views import SEEN

FORMAT = 1
STEPS = 65_534  # of a number in [0, 1]; one above is NaN
BASES = ("test_decoy", "test_clean")
VIEWS: tuple[View, ...] = tuple(SEEN)
_DRAWN = tuple(f.name for f in dataclasses.fields(Drawn) if f.name != "decoy_size")


@dataclass(frozen=True)
class About:
    """What the arrays of a gallery are of; their axes are in the order of these lists.

    Attributes:
        task: name of the task.
        data: ``original`` or ``stand-in``.
        profile: that the networks were trained in.
        classes: name of each class.
        methods: axis ``M``.
        weights: of each method's explanation loss.
        seeds: axis ``S``.
        explainers: axis ``E``.
        metrics: axis ``Q``.
        layer: that is explained.
        decoy_size: side of the decoy in pixels.
        format: of the file.
    """

    task: str
    data: str
    profile: str
    classes: list[str]
    methods: list[str]
    weights: list[float]
    seeds: list[int]
    explainers: list[str]
    metrics: list[str]
    layer: str
    decoy_size: int
    format: int = FORMAT


@dataclass(frozen=True, eq=False)
class Shown:
    """The gallery's images of one split and what every network makes of them.

    Attributes:
        positions: int ``(n,)``, of the images in the split.
        drawn: the images and their decoys.
        cams: uint8 ``(E, M, S, n, h, w)``, 255 at each map's maximum, all 0 for a dead one.
        metrics: ``(E, M, S, n, Q)`` in [0, 1], NaN where undefined.
        predicted: uint8 ``(V, M, S, n)``, by how the image is seen, in the order of :data:`VIEWS`.
        confidence: ``(V, M, S, n)`` in [0, 1], probability of the predicted class.
    """

    positions: NDArray[np.int64]
    drawn: Drawn
    cams: NDArray[np.uint8]
    metrics: NDArray[np.float32]
    predicted: NDArray[np.uint8]
    confidence: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Gallery:
    """What the file holds: :class:`About`, and :class:`Shown` for each of :data:`BASES`.

    Raises:
        ValueError: an array that does not fit the others.
    """

    about: About
    shown: Mapping[str, Shown]

    def __post_init__(self) -> None:
        about = self.about
        nets = (len(about.methods), len(about.seeds))
        if tuple(self.shown) != BASES:
            raise ValueError(f"splits must be {', '.join(BASES)}, got {', '.join(self.shown)}")
        if len(about.weights) != nets[0]:
            raise ValueError(f"weights must be {nets[0]}, one a method, got {len(about.weights)}")
        for split, part in self.shown.items():
            count, (height, width) = len(part.positions), part.cams.shape[-2:]
            for name, shape in (
                ("cams", (len(about.explainers), *nets, count, height, width)),
                ("metrics", (len(about.explainers), *nets, count, len(about.metrics))),
                ("predicted", (len(VIEWS), *nets, count)),
                ("confidence", (len(VIEWS), *nets, count)),
            ):
                found = getattr(part, name).shape
                if found != shape:
                    raise ValueError(f"{name} of {split} must have shape {shape}, got {found}")
            if len(part.drawn.images) != count or part.predicted.max() >= len(about.classes):
                raise ValueError(f"images and classes of {split} must fit the predictions")


def path_of(task: str, *, root: Path | None = None) -> Path:
    """Where the gallery of a task lies.

    >>> path_of("decoy_coco", root=Path("/clone")).as_posix()
    '/clone/results/gallery/decoy_coco.npz'
    """
    return (root or project.root()) / "results" / "gallery" / f"{task}.npz"


def share_of_maximum(cam: ArrayLike) -> NDArray[np.uint8]:
    """CAMs ``(..., h, w)``, at least 0, in 255 steps of each one's own maximum.

    >>> share_of_maximum([[0.0, 1.0, 2.0]]).tolist(), share_of_maximum([[0.0, 0.0]]).tolist()
    ([[0, 128, 255]], [[0, 0]])
    """
    values = np.asarray(cam, np.float32)
    peak = values.max(axis=(-2, -1), keepdims=True)
    scaled = 255 * values / np.where(peak > 0, peak, 1)
    return np.asarray(np.rint(scaled), np.uint8)


def save(gallery: Gallery, path: Path) -> None:
    """Write a gallery whole or not at all; the same gallery gives the same bytes."""
    text = json.dumps(dataclasses.asdict(gallery.about), sort_keys=True)
    arrays: dict[str, NDArray[Any]] = {"about": np.frombuffer(text.encode(), np.uint8)}
    for split, part in gallery.shown.items():
        arrays |= {f"{split}/{name}": getattr(part.drawn, name) for name in _DRAWN}
        arrays |= {
            f"{split}/positions": part.positions,
            f"{split}/cams": part.cams,
            f"{split}/metrics": _steps(part.metrics),
            f"{split}/predicted": part.predicted,
            f"{split}/confidence": _steps(part.confidence),
        }
    with project.write_atomic(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)


def load(task: str, *, root: Path | None = None) -> Gallery:
    """The committed gallery of a task.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, or of another version of this package; the message says how to
            make it anew.
    """
    path = path_of(task, root=root)
    remedy = f"restore it from git, or run: python -m xblcore.pipeline.gallery {task}"
    if not path.is_file():
        raise FileNotFoundError(f"no gallery of {task} yet ({path}); run: make reproduce")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return _from_arrays(arrays, task)
    except (
        ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile, zlib.error
    ) as error:  # fmt: skip
        found = f"none with {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"{path} must be a gallery of {task} in format {FORMAT}, got: {found}; {remedy}"
        ) from error


def _from_arrays(arrays: Mapping[str, NDArray[Any]], task: str) -> Gallery:
    about = from_mapping(About, json.loads(arrays["about"].tobytes()), "about")
    if (about.task, about.format) != (task, FORMAT):
        raise ValueError(f"one of {about.task} in format {about.format}")
    shown = {
        split: Shown(
            arrays[f"{split}/positions"],
            Drawn(**{n: arrays[f"{split}/{n}"] for n in _DRAWN}, decoy_size=about.decoy_size),
            arrays[f"{split}/cams"],
            _numbers(arrays[f"{split}/metrics"]),
            arrays[f"{split}/predicted"],
            _numbers(arrays[f"{split}/confidence"]),
        )
        for split in BASES
    }
    return Gallery(about, shown)


def _steps(values: NDArray[np.floating]) -> NDArray[np.uint16]:
    if np.any((values < 0) | (values > 1)):
        raise ValueError(
            f"values must be in [0, 1], got {np.nanmin(values)} to {np.nanmax(values)}"
        )
    known = np.rint(np.nan_to_num(values.astype(float)) * STEPS)
    return np.where(np.isnan(values), STEPS + 1, known).astype(np.uint16)


def _numbers(steps: NDArray[np.uint16]) -> NDArray[np.float32]:
    return np.where(steps > STEPS, np.nan, steps / STEPS).astype(np.float32)
