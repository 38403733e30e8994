"""The annotator: a brush over images and over what the model looks at; its help lists the keys."""

from __future__ import annotations

import io
import itertools
import json
import math
from collections.abc import Callable, Sequence
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
from xblcore.data import folder as folders
from xblcore.data.folder import LAYERS, Key, Layer
from xblcore.decoys import Mask, Pixels
from xblcore.distance import to_grid
from xblcore.lab.refine import EXPLAINER, device_of, last_spatial_layer
from xblcore.study.evaluate import attributions

LONGEST = 1024  # pixels of a side of what is sent to the browser; masks keep all pixels
COCO_FILE = "coco.json"

Cam = Callable[[Pixels], NDArray[np.floating]]
Change = tuple[Key, NDArray[np.intp]]  # pixels that were toggled, as positions in the flat mask


class Annotator(anywidget.AnyWidget):
    """Mark on images what a model should not look at, or should; each stroke is saved at once.

    Masks are PNG files, see :mod:`xblcore.data.folder`.

    Args:
        folder: images, in one sub-folder for each class or not.
        cam: maps an image uint8 ``(3, H, W)`` to an attribution ``(h, w)``, see :func:`cam_of`;
            None: no overlay.
        goal: number of images to mark; None: all.
        annotations: folder of the masks; None: ``annotations`` in ``folder``, or ``masks``.
    """

    _esm = Path(__file__).with_name("annotator.js")
    _css = Path(__file__).with_name("annotator.css")

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
        if goal is not None and goal < 1:
            raise ValueError(f"goal must be at least 1, got {goal}")
        self.folder = Path(folder)
        self.annotations = folders.annotations_folder(folder, annotations)
        # skipped: reasons by file
        names, self.skipped = folders.find_images(folder, annotations=self.annotations)
        self._sizes = {name: folders.image_size(self.folder / name) for name in names}
        self._found, stray = folders.find_masks(self.annotations, names)
        self._cam = cam
        self._marked: set[Key] = set()
        self._unsaved: dict[Key, Mask] = {}
        for (name, layer), path in self._found.items():
            try:
                if self._read(path, name).any():
                    self._marked.add((name, layer))
            except ValueError as error:  # the image is left out: a stroke would replace the file
                stray[path] = str(error)
                self.skipped[name] = f"its mask {path} cannot be read; repair or remove the mask"
        self.skipped |= {str(path): reason for path, reason in stray.items()}
        names = tuple(name for name in names if name not in self.skipped)
        if not names:
            raise ValueError(f"annotations must have masks that can be read, got {self.skipped}")
        self.names = classes_in_turn(names)  # paths below the folder
        self._sizes = {name: self._sizes[name] for name in names}
        self._marked = {key for key in self._marked if key[0] in self._sizes}
        self.goal = min(goal or len(names), len(names))
        self._done: list[Change] = []
        self._undone: list[Change] = []
        self._failed = ""  # why masks are not saved
        # Continue where the last session ended; an empty mask is an annotation too.
        annotated = {name for name, _ in self._found}
        rest = [n for n, name in enumerate(self.names) if name not in annotated]
        self._index = rest[0] if rest else 0
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
        return self._read(self._path(name, layer), name)

    def mark(self, name: str, layer: Layer, mask: Mask) -> None:
        """Replace a layer of an image; it is saved at once and can be undone."""
        before = self.mask(name, layer)
        if mask.shape != before.shape or mask.dtype != np.bool_:
            raise ValueError(f"mask of {name} must be {before.shape} and boolean, got {mask.shape} "
                             f"and {mask.dtype}; compare other values with > 0")  # fmt: skip
        pixels = np.flatnonzero(mask != before)
        if len(pixels):
            self._done.append(((name, layer), pixels))
            self._undone.clear()
            self._toggle((name, layer), pixels)
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
        """Write all masks as PNG and in a COCO file, whose path is returned.

        By default they go to the folder of the annotations. Layers without annotations are skipped.
        """
        home = self.annotations if folder is None else Path(folder)
        for key in itertools.product(self.names, LAYERS):
            if key in self._unsaved or self._path(*key).is_file():
                own = home == self.annotations
                path = self._path(*key) if own else folders.mask_path(home, *key)
                folders.write_mask(path, self.mask(*key))
        with project.write_atomic(home / COCO_FILE) as temporary:
            temporary.write_text(json.dumps(self._coco()))
        return home / COCO_FILE

    def import_masks(self, folder: str | Path) -> int:
        """Take over the masks of a folder, as changes that can be undone, and return their number.

        The files are laid out as :mod:`xblcore.data.folder` says; each replaces its layer, and an
        empty one says that there is nothing. Files that are no masks of the images are added to
        ``skipped``.
        """
        paths, stray = folders.find_masks(Path(folder), self.names)
        found = {key: self._read(path, key[0]) for key, path in paths.items()}
        if not found:
            like = folders.mask_path(Path(folder), self.names[0], "wrong")
            raise ValueError(f"folder must hold masks of the images, such as {like}, got none")
        self.skipped |= {str(path): reason for path, reason in stray.items()}
        for key, mask in found.items():
            self.mark(*key, mask)
            self._unsaved.setdefault(key, mask)  # also if it is empty, as before
        self._save()
        self._show()
        return len(found)

    def _receive(self, _widget: object, message: dict[str, Any], _buffers: object) -> None:
        """Do what the front end asks for."""
        self._save()  # what could not be saved before
        try:
            match message["do"]:
                case "stroke" | "clear" as kind:
                    name, layer = message["image"], message["layer"]
                    mask = self.mask(name, layer).copy()
                    if kind == "clear":
                        mask[:] = False
                    else:
                        paint = message["tool"] == "brush"
                        draw_stroke(mask, message["points"], message["radius"], value=paint)
                    self.mark(name, layer, mask)
                case "undo":
                    self.undo()
                case "redo":
                    self.redo()
                case "go":
                    self.show_image(self.names[message["to"]])
                case "export":
                    self._show(f"Exported to {self.export_masks()}")
        except (ValueError, OSError) as error:
            self._show(error=str(error))
        finally:
            self.send({"answered": message["id"]})

    def _step(self, source: list[Change], target: list[Change]) -> None:
        if source:
            key, pixels = change = source.pop()
            target.append(change)
            self._toggle(key, pixels)
            self.show_image(key[0])

    def _toggle(self, key: Key, pixels: NDArray[np.intp]) -> None:
        mask = self.mask(*key)
        mask.flat[pixels] ^= True
        self._unsaved[key] = mask
        (self._marked.add if mask.any() else self._marked.discard)(key)
        self._save()

    def _save(self) -> None:
        """Write what is not on disk yet; what fails stays in memory until the next action."""
        self._failed = ""
        for key, mask in [*self._unsaved.items()]:  # one that can never be saved stops no other
            try:
                folders.write_mask(self._path(*key), mask)
                del self._unsaved[key]
            except OSError as error:
                self._failed = f"Not saved: {error}. The next action tries again"

    def _path(self, name: str, layer: Layer) -> Path:
        found = self._found.get((name, layer))
        return found or folders.mask_path(self.annotations, name, layer)

    def _read(self, path: Path, name: str) -> Mask:
        return folders.read_mask(path, self._sizes[name], image=self.folder / name)

    def _show_image(self) -> None:
        """Send the image and its CAM, and everything else."""
        name, picture, cam, error = self.names[self._index], b"", b"", ""
        try:
            pixels = folders.read_image(self.folder / name)
            picture = _png(pixels.transpose(1, 2, 0))
            cam = b"" if self._cam is None else _png(_coloured(self._cam(pixels)))
        except (*folders.DAMAGED, RuntimeError) as found:  # a CAM may not fit the image
            error = f"{name}: {found}"
        with self.hold_sync():
            self.image, self.cam_image = picture, cam
            self._show(error=error)

    def _show(self, news: str = "", *, error: str = "") -> None:
        """Send the masks and the status."""
        name, marked = self.names[self._index], len(self.marked)
        height, width = self._sizes[name]
        saved = "Saved" if marked else "Nothing marked yet"
        enough = "; enough to refine the model" if marked >= self.goal else ""
        with self.hold_sync():
            self.wrong_mask = _png(_small(self.mask(name, "wrong")))
            self.object_mask = _png(_small(self.mask(name, "object")))
            self.facts = {
                "name": name, "index": self._index, "count": len(self.names), "width": width,
                "height": height, "can_undo": bool(self._done), "can_redo": bool(self._undone),
                "marked": marked, "goal": self.goal, "error": bool(self._failed or error),
                "status": f"{self._failed or error or news or saved}, "
                          f"{marked} of {self.goal} images marked{enough}",
            }  # fmt: skip

    def _coco(self) -> dict[str, Any]:
        """Return the masks in the format of MS-COCO, as run lengths."""
        numbers = {name: n for n, name in enumerate(self.names, start=1)}
        annotations: list[dict[str, Any]] = []
        for n, (name, layer) in enumerate(sorted(self._marked), start=1):
            mask = self.mask(name, layer)
            runs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
            annotations.append({
                "id": n, "image_id": numbers[name],
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
                       for name, (height, width) in self._sizes.items()],
            "annotations": annotations,
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
        images = resized.to(device_of(model))
        name = layer or last_spatial_layer(model, images.float() / 255)
        return attributions(model, images, EXPLAINER, layer=name)[0].cpu().numpy()

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
    for (x, y), (end_x, end_y) in itertools.pairwise([points[0], *points]):
        left = max(0, math.floor(min(x, end_x) - radius))
        top = max(0, math.floor(min(y, end_y) - radius))
        right = max(0, math.ceil(max(x, end_x) + radius))
        bottom = max(0, math.ceil(max(y, end_y) + radius))
        window = mask[top:bottom, left:right]
        rows, columns = np.ogrid[: window.shape[0], : window.shape[1]]
        down, across = rows + top + 0.5 - y, columns + left + 0.5 - x
        along_x, along_y = end_x - x, end_y - y
        length = along_x**2 + along_y**2
        # Where on the segment, from 0 to 1, the point nearest to each pixel lies.
        part = ((across * along_x + down * along_y) / (length or 1)).clip(0, 1)
        squared = (across - part * along_x) ** 2 + (down - part * along_y) ** 2
        window[squared <= radius**2 + 1e-9] = value  # rounding must not exclude pixels on the rim


def _coloured(cam: NDArray[np.floating]) -> Pixels:
    """Return a CAM as uint8 ``(h, w, 4)``, its largest value opaque and 0 transparent."""
    share = cam / cam.max() if cam.max() > 0 else np.zeros_like(cam)
    colours: Pixels = mpl.colormaps["viridis"](share, alpha=share, bytes=True)
    return colours


def _png(pixels: Pixels) -> bytes:
    """Return uint8 ``(H, W)`` or ``(H, W, 3 or 4)`` as PNG, at most :data:`LONGEST` pixels long."""
    content, picture = io.BytesIO(), Image.fromarray(pixels)
    picture.thumbnail((LONGEST, LONGEST), Image.Resampling.BOX)
    picture.save(content, "PNG", compress_level=1)
    return content.getvalue()


def _small(mask: Mask) -> Pixels:
    """Return a mask at the size at which it is shown, 255 where any pixel is marked."""
    scale = min(1.0, LONGEST / max(mask.shape))
    height, width = (max(1, round(side * scale)) for side in mask.shape)
    return to_grid(mask[None], (height, width))[0].astype(np.uint8) * 255
