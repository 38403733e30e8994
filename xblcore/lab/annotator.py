"""The annotator: a brush over images and over what the model looks at; its help lists the keys."""

from __future__ import annotations

import io
import itertools
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anywidget
import matplotlib as mpl
import numpy as np
import torch
import traitlets
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco
from torch import nn

from xblcore import project
from xblcore.cam import explain
from xblcore.data import folder as folders
from xblcore.data.folder import LAYERS, Layer
from xblcore.decoys import Mask, Pixels
from xblcore.distance import to_grid
from xblcore.lab.refine import SCORE, device_of, last_spatial_layer

HERE = Path(__file__).parent
LONGEST = 1024  # pixels of a side of what is sent to the browser; masks keep all pixels
COCO_FILE = "coco.json"

Cam = Callable[[Pixels], NDArray[np.floating]]


@dataclass(frozen=True, eq=False)
class Change:
    """Pixels of one layer that an action toggled, as positions in the flattened mask."""

    name: str
    layer: Layer
    pixels: NDArray[np.intp]


class Annotator(anywidget.AnyWidget):
    """Mark on images what a model should not look at, or should; each stroke is saved at once.

    Masks are PNG files, see :mod:`xblcore.data.folder`.

    Args:
        folder: images, in one sub-folder for each class or not.
        cam: maps an image uint8 ``(3, H, W)`` to an attribution ``(h, w)``, see :func:`cam_of`;
            None: no overlay.
        goal: number of images to mark; None: all.
        annotations: folder of the masks; None: ``annotations`` in ``folder``.

    Attributes:
        names: paths of the images below the folder, the classes in turn.
        skipped: why a file is not among them.
        annotations: folder of the masks.
    """

    _esm = HERE / "annotator.js"
    _css = HERE / "annotator.css"

    facts = traitlets.Dict().tag(sync=True)
    image = traitlets.Bytes().tag(sync=True)
    cam_image = traitlets.Bytes().tag(sync=True)
    wrong_mask = traitlets.Bytes().tag(sync=True)
    object_mask = traitlets.Bytes().tag(sync=True)

    def __init__(
        self,
        folder: str | Path,
        *,
        cam: Cam | None = None,
        goal: int | None = None,
        annotations: str | Path | None = None,
    ) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.annotations = Path(annotations or self.folder / folders.ANNOTATIONS)
        names, self.skipped = folders.find_images(folder)
        self.names = classes_in_turn(names)
        self._sizes = {name: folders.image_size(self.folder / name) for name in names}
        self.goal = min(goal or len(names), len(names))
        self._cam = cam
        self._marked: set[tuple[str, Layer]] = set()
        self._unsaved: dict[tuple[str, Layer], Mask] = {}
        self._done: list[Change] = []
        self._undone: list[Change] = []
        self._failed = self._error = self._news = ""
        for name, layer in itertools.product(self.names, LAYERS):
            if self._path(name, layer).is_file() and self.mask(name, layer).any():
                self._marked.add((name, layer))
        # Continue where the last session ended.
        marked = set(self.marked)
        unmarked = [n for n, name in enumerate(self.names) if name not in marked]
        self._index = unmarked[0] if unmarked and marked else 0
        self.on_msg(self._receive)
        self._show_image()

    @property
    def marked(self) -> tuple[str, ...]:
        """Names of the images with at least one marked pixel."""
        found = {name for name, _ in self._marked}
        return tuple(name for name in self.names if name in found)

    def mask(self, name: str, layer: Layer) -> Mask:
        """Return the marked pixels of a layer, bool ``(H, W)``."""
        if name not in self.names or layer not in LAYERS:
            raise ValueError(f"name and layer must exist, got {name!r} and {layer!r}")
        if (name, layer) in self._unsaved:
            return self._unsaved[name, layer]
        return folders.read_mask(self._path(name, layer), self._sizes[name])

    def mark(self, name: str, layer: Layer, mask: Mask) -> None:
        """Replace a layer of an image; it is saved at once and can be undone."""
        before = self.mask(name, layer)
        if mask.shape != before.shape:
            raise ValueError(f"mask of {name} must be {before.shape}, got {mask.shape}")
        change = Change(name, layer, np.flatnonzero(mask != before))
        if len(change.pixels):
            self._done.append(change)
            self._undone.clear()
            self._toggle(change)
        self._save()
        self._show()

    def undo(self) -> None:
        """Undo the last change, on whichever image it was, and show that image."""
        self._step(self._done, self._undone)

    def redo(self) -> None:
        """Repeat the change that was undone last, and show its image."""
        self._step(self._undone, self._done)

    def show_image(self, name: str) -> None:
        """Go to an image."""
        self._index = self.names.index(name)
        self._show_image()

    def show_cam(self, cam: Cam | None) -> None:
        """Show the CAMs of another model, such as a refined one."""
        self._cam = cam
        self._show_image()

    def export_masks(self, folder: str | Path | None = None) -> Path:
        """Write all masks as PNG and as a COCO file, :data:`COCO_FILE`.

        Args:
            folder: None: the folder of the annotations, which has the PNG files already.

        Returns:
            The COCO file.
        """
        home = self.annotations if folder is None else Path(folder)
        document = coco_document(
            ((name, layer, self.mask(name, layer)) for name, layer in sorted(self._marked)),
            self._sizes,
        )
        if home != self.annotations:
            for name, layer in itertools.product(self.names, LAYERS):
                folders.write_mask(folders.mask_path(home, name, layer), self.mask(name, layer))
        with project.write_atomic(home / COCO_FILE) as temporary:
            temporary.write_text(json.dumps(document))
        return home / COCO_FILE

    def import_masks(self, folder: str | Path) -> int:
        """Take over the masks of a folder, laid out as :mod:`xblcore.data.folder` says.

        Each file replaces its layer, which can be undone.

        Returns:
            The number of masks.
        """
        paths = {
            folders.mask_path(Path(folder), name, layer): (name, layer)
            for name, layer in itertools.product(self.names, LAYERS)
        }
        files = [path for layer in LAYERS for path in sorted((Path(folder) / layer).rglob("*.png"))]
        unknown = [path for path in files if path not in paths]
        if unknown or not files:
            raise ValueError(
                f"folder must hold masks of the images, such as {next(iter(paths))}, "
                f"got {unknown[0] if unknown else 'none'}"
            )
        found = {
            paths[path]: folders.read_mask(path, self.mask(*paths[path]).shape) for path in files
        }
        for (name, layer), mask in found.items():
            self.mark(name, layer, mask)
        return len(found)

    # What the front end asks for

    def _receive(self, _widget: object, message: dict[str, Any], _buffers: object) -> None:
        self._error = self._news = ""
        self._save()
        try:
            self._do(message)
        except (ValueError, OSError) as error:
            self._error = str(error)
            self._show()
        finally:
            self.send({"answered": message["id"]})

    def _do(self, message: dict[str, Any]) -> None:
        match message["do"]:
            case "stroke":
                name, layer = message["image"], message["layer"]
                mask = self.mask(name, layer).copy()
                paint = message["tool"] == "brush"
                draw_stroke(mask, message["points"], message["radius"], value=paint)
                self.mark(name, layer, mask)
            case "clear":
                name, layer = message["image"], message["layer"]
                self.mark(name, layer, np.zeros_like(self.mask(name, layer)))
            case "undo":
                self.undo()
            case "redo":
                self.redo()
            case "go":
                self.show_image(self.names[message["to"]])
            case "export":
                self._news = f"Exported to {self.export_masks()}"
                self._show()

    def _step(self, source: list[Change], target: list[Change]) -> None:
        if source:
            change = source.pop()
            target.append(change)
            self._toggle(change)
            self._save()
            self._index = self.names.index(change.name)
            self._show_image()

    def _toggle(self, change: Change) -> None:
        key = change.name, change.layer
        mask = self.mask(*key)
        mask.flat[change.pixels] ^= True
        self._unsaved[key] = mask
        (self._marked.add if mask.any() else self._marked.discard)(key)

    def _save(self) -> None:
        """Write what is not on disk yet; what fails stays in memory until the next action."""
        self._failed = ""
        try:
            for key, mask in [*self._unsaved.items()]:
                folders.write_mask(self._path(*key), mask)
                del self._unsaved[key]
        except OSError as error:
            self._failed = f"Not saved: {error}. The next action tries again"

    def _path(self, name: str, layer: Layer) -> Path:
        return folders.mask_path(self.annotations, name, layer)

    def _show_image(self) -> None:
        """Send the image and its CAM, and everything else."""
        name, picture, cam = self.names[self._index], b"", b""
        self._error = ""
        try:
            pixels = folders.read_image(self.folder / name)
            picture = png(_reduced(pixels.transpose(1, 2, 0)))
            cam = b"" if self._cam is None else png(coloured(self._cam(pixels)))
        except (*folders.DAMAGED, RuntimeError) as error:  # a CAM may not fit the image
            self._error = f"{name}: {error}"
        with self.hold_sync():
            self.image, self.cam_image = picture, cam
            self._show()

    def _show(self) -> None:
        name, marked = self.names[self._index], len(self.marked)
        masks = {layer: self.mask(name, layer) for layer in LAYERS}
        height, width = masks["wrong"].shape
        state = (
            self._failed
            or self._error
            or self._news
            or ("Saved" if marked else "Nothing marked yet")
        )
        enough = "; enough to refine the model" if marked >= self.goal else ""
        with self.hold_sync():
            self.wrong_mask, self.object_mask = (png(_small(masks[layer])) for layer in LAYERS)
            self.facts = {
                "name": name, "index": self._index, "count": len(self.names), "width": width,
                "height": height, "can_undo": bool(self._done), "can_redo": bool(self._undone),
                "marked": marked, "goal": self.goal, "error": bool(self._failed or self._error),
                "status": f"{state}, {marked} of {self.goal} images marked{enough}",
            }  # fmt: skip


def cam_of(
    model: nn.Module,
    *,
    size: tuple[int, int] | None = None,
    grey: bool = False,
    layer: str | None = None,
) -> Cam:
    """Return what :class:`Annotator` takes as ``cam``: HiResCAM of the prediction.

    The score is the log probability, which contains evidence against the other classes too.

    Args:
        model: maps images ``(N, C, H, W)`` in [0, 1] to logits.
        size: height and width that it takes; None: those of the images.
        grey: one channel instead of three.
        layer: None: ``model.cam_layer``, else the last layer with a spatial output.
    """

    def cam(pixels: Pixels) -> NDArray[np.floating]:
        picture = Image.fromarray(pixels.transpose(1, 2, 0))
        resized = torch.from_numpy(folders.as_array(picture, size=size, grey=grey))[None]
        images = resized.to(device_of(model)).float() / 255
        name = last_spatial_layer(model, images) if layer is None else layer
        found = explain(model, images, layer=name, method="hires_cam", score=SCORE)
        return found[0].cpu().numpy()

    return cam


def classes_in_turn(names: Sequence[str]) -> tuple[str, ...]:
    """Order names so that the first few are of all classes.

    >>> classes_in_turn(["a/1", "a/2", "b/1"])
    ('a/1', 'b/1', 'a/2')
    """
    groups = [list(group) for _, group in itertools.groupby(names, folders.class_of)]
    rounds = itertools.zip_longest(*groups)
    return tuple(name for row in rounds for name in row if name is not None)


def draw_stroke(
    mask: Mask, points: Sequence[Sequence[float]], radius: float, *, value: bool = True
) -> None:
    """Set, in place, the pixels whose centres are at most ``radius`` away from a line.

    Args:
        mask: bool ``(H, W)``.
        points: ``(x, y)`` in pixels, x to the right and y down; pixel ``(row, column)`` has its
            centre at ``x = column + 0.5, y = row + 0.5``. One point is a dot.
        radius: in pixels.
        value: True marks, False erases.

    >>> mask = np.zeros((2, 5), bool)
    >>> draw_stroke(mask, [(1.5, 0.5), (3.5, 0.5)], 1.0)
    >>> mask.astype(int)
    array([[1, 1, 1, 1, 1],
           [0, 1, 1, 1, 0]])
    """
    height, width = mask.shape
    for (x, y), (end_x, end_y) in itertools.pairwise([points[0], *points]):
        left = max(0, math.floor(min(x, end_x) - radius))
        top = max(0, math.floor(min(y, end_y) - radius))
        right, bottom = max(x, end_x) + radius + 1, max(y, end_y) + radius + 1
        across = np.arange(left, min(width, int(right)))[None] + 0.5 - x
        down = np.arange(top, min(height, int(bottom)))[:, None] + 0.5 - y
        along_x, along_y = end_x - x, end_y - y
        length = along_x**2 + along_y**2
        # Where on the segment, from 0 to 1, the point nearest to each pixel lies.
        part = ((across * along_x + down * along_y) / (length or 1)).clip(0, 1)
        squared = (across - part * along_x) ** 2 + (down - part * along_y) ** 2
        near = squared <= radius**2 + 1e-9  # rounding must not exclude pixels on the rim
        mask[top : top + near.shape[0], left : left + near.shape[1]][near] = value


def coco_document(
    masks: Iterable[tuple[str, Layer, Mask]], sizes: dict[str, tuple[int, int]]
) -> dict[str, Any]:
    """Return masks that are not empty in the format of MS-COCO, as run lengths.

    Args:
        masks: image, layer, bool ``(H, W)``.
        sizes: height and width of every image.
    """
    numbers = {name: n for n, name in enumerate(sizes, start=1)}
    annotations: list[dict[str, Any]] = []
    for name, layer, mask in masks:
        runs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        annotations.append({
            "id": len(annotations) + 1, "image_id": numbers[name],
            "category_id": LAYERS.index(layer) + 1, "iscrowd": 0,
            "segmentation": {"size": list(mask.shape), "counts": runs["counts"].decode()},
            "area": int(mask.sum()), "bbox": coco.toBbox(runs).tolist(),
        })  # fmt: skip
    return {
        "info": {"description": "Masks drawn with xblcore", "version": "1.0"},
        "licenses": [],
        "categories": [{"id": n, "name": layer, "supercategory": "annotation"}
                       for n, layer in enumerate(LAYERS, start=1)],
        "images": [{"id": numbers[name], "file_name": name, "height": height, "width": width}
                   for name, (height, width) in sizes.items()],
        "annotations": annotations,
    }  # fmt: skip


def coloured(cam: NDArray[np.floating]) -> Pixels:
    """Return a CAM as uint8 ``(h, w, 4)``, its largest value opaque and 0 transparent.

    >>> coloured(np.array([[0.0, 2.0]]))[..., 3]
    array([[  0, 255]], dtype=uint8)
    """
    share = cam / cam.max() if cam.max() > 0 else np.zeros_like(cam)
    colours: Pixels = mpl.colormaps["viridis"](share, alpha=share, bytes=True)
    return colours


def png(pixels: Pixels) -> bytes:
    """Return the bytes of a PNG file, from uint8 ``(H, W)``, ``(H, W, 3)`` or ``(H, W, 4)``."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", compress_level=1)
    return content.getvalue()


def _shown_size(shape: tuple[int, ...]) -> tuple[int, int]:
    scale = min(1.0, LONGEST / max(shape[:2]))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def _reduced(pixels: Pixels) -> Pixels:
    height, width = _shown_size(pixels.shape)
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(picture.resize((width, height), Image.Resampling.BOX))


def _small(mask: Mask) -> Pixels:
    """Return a mask at the size at which it is shown, 255 where any pixel is marked."""
    return to_grid(mask[None], _shown_size(mask.shape))[0].astype(np.uint8) * 255
