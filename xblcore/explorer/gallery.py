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
from xblcore.decoys import CORNERS
from xblcore.explorer.views import EXPLAINERS, SEEN

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
        unknown = [name for name in about.explainers if name not in EXPLAINERS.values()]
        if unknown:
            known = ", ".join(EXPLAINERS.values())
            raise ValueError(f"explainers must be among {known}, got {unknown[0]!r}")
        for name in ("classes", "methods", "seeds", "explainers"):
            there = getattr(about, name)
            if not there or len(set(there)) < len(there):
                raise ValueError(f"{name} must be there, each once, got {there}")
        for split, part in self.shown.items():
            _check(about, split, part)


def _check(about: About, split: str, part: Shown) -> None:
    """Type, shape and range of what a split's networks and images are looked up by.

    Raises:
        ValueError: an array that does not fit the others.
    """
    drawn, count = part.drawn, len(part.positions)
    nets = (len(about.methods), len(about.seeds), count)
    size, channels, cells = drawn.images.shape[1:3], drawn.images.shape[3:], part.cams.shape[-2:]
    classes = len(about.classes)
    for name, array, kind, shape in (
        ("positions", part.positions, np.int64, (count,)),
        ("images", drawn.images, np.uint8, (count, *size, *channels)),
        ("labels", drawn.labels, np.int64, (count,)),
        ("object_mask", drawn.object_mask, np.bool_, (count, *size)),
        ("source", drawn.source, np.int64, (count,)),
        ("corners", drawn.corners, np.uint8, (count,)),
        ("values", drawn.values, np.uint8, (count, *channels)),
        ("swapped", drawn.swapped, np.uint8, (count, *channels)),
        ("cams", part.cams, np.uint8, (len(about.explainers), *nets, *cells)),
        ("metrics", part.metrics, np.float32, (len(about.explainers), *nets, len(about.metrics))),
        ("predicted", part.predicted, np.uint8, (len(VIEWS), *nets)),
        ("confidence", part.confidence, np.float32, (len(VIEWS), *nets)),
    ):
        if array.dtype != kind or array.shape != shape:
            raise ValueError(
                f"{name} of {split} must be {np.dtype(kind)} of shape {shape}, "
                f"got {array.dtype} of shape {array.shape}"
            )
    if channels not in ((1,), (3,)) or not all(
        1 <= n <= m for n, m in zip(cells, size, strict=True)
    ):
        raise ValueError(
            f"images of {split} must have 1 or 3 channels and be no smaller than their CAMs, "
            f"got {drawn.images.shape} with {part.cams.shape}"
        )
    if not 1 <= drawn.decoy_size <= min(size):
        raise ValueError(f"decoy_size must be in [1, {min(size)}], got {drawn.decoy_size}")
    if not count or len(set(part.positions.tolist())) < count:
        raise ValueError(f"positions of {split} must be there, each once")
    for name, numbers, most in (
        ("labels", drawn.labels, classes - 1),
        ("predicted", part.predicted, classes - 1),
        ("corners", drawn.corners, len(CORNERS) - 1),
    ):
        if numbers.min() < 0 or numbers.max() > most:
            raise ValueError(
                f"{name} of {split} must be in [0, {most}], got {numbers.min()} to {numbers.max()}"
            )


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
        ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile, zlib.error,
        RuntimeError,  # nested too deeply, or by its head packed or encrypted as no archive here
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
    if steps.dtype != np.uint16:
        raise ValueError(f"metrics and confidence must be uint16, got {steps.dtype}")
    return np.where(steps > STEPS, np.nan, steps / STEPS).astype(np.float32)
