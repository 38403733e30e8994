"""The annotator: paint masks on images and CAMs, and test a network on the marked regions.

Images whose prediction is most suspicious come first, see :func:`suspicion`.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import anywidget
import matplotlib as mpl
import numpy as np
import torch
import traitlets
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco
from torch import Tensor, nn
from tqdm.auto import tqdm

from xblcore import metrics, project
from xblcore.data import folder as folders
from xblcore.data.folder import LAYERS, Key, Layer
from xblcore.decoys import Pixels
from xblcore.distance import Mask, to_grid
from xblcore.examples import Examples
from xblcore.lab import refine
from xblcore.study.evaluate import attributions

LONGEST = 1024  # pixels of a side of what is sent to the browser; masks keep all pixels
THUMBNAIL = 64
SCANNED = 500  # images among which the suspicious ones are looked for
COCO_FILE = "coco.json"

Change = tuple[Key, NDArray[np.intp]]  # pixels that were toggled, as positions in the flat mask
Order = Literal["suspicious", "classes"]


@dataclass(frozen=True, eq=False)
class NetworkView:
    """A network as :class:`Annotator` shows it: predictions, and their HiResCAMs.

    The score is the log probability, which contains evidence against the other classes too.

    Args:
        model: maps images ``(N, C, H, W)`` in [0, 1] to logits.
        size: height and width that it takes; None: those of the images.
        grey: one channel instead of three.
        layer: None: ``model.cam_layer``, else the last layer with a spatial output.
        classes: names of the sub-folders in the order of the logits; empty: sorted.
    """

    model: nn.Module
    _: KW_ONLY
    size: tuple[int, int] | None = None
    grey: bool = False
    layer: str | None = None
    classes: Sequence[str] = ()

    def inputs(self, path: Path) -> Tensor:
        """Read an image as the network takes it, uint8 ``(1, C, H, W)``."""
        return torch.from_numpy(folders.read_image(path, size=self.size, grey=self.grey))[None]

    def probabilities(self, images: Tensor) -> Tensor:
        """Return probabilities ``(N, classes)`` of images ``(N, C, H, W)``."""
        images = images.to(refine.device_of(self.model))
        return refine.class_logits(self.model, images, self.classes).softmax(1).cpu()

    def cams(self, images: Tensor) -> Tensor:
        """Return attributions ``(N, h, w)`` of the predictions."""
        images = images.to(refine.device_of(self.model))
        layer = self.layer or refine.last_spatial_layer(self.model, images[:1].float() / 255)
        return attributions(self.model, images, refine.EXPLAINER, layer=layer).cpu()


class Annotator(anywidget.AnyWidget):
    """Mark on images what a model should not look at, or should; each stroke is saved at once.

    Masks are PNG files, see :mod:`xblcore.data.folder`.

    Args:
        folder: images, in one sub-folder for each class or not.
        cam: the network whose predictions and CAMs are shown; None: images only.
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
        cam: NetworkView | None = None,
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
        self._shown = 0  # the network whose CAM is shown
        self._changed: list[Tensor] = []  # the image with its marked region blanked or swapped
        self._evidence: list[list[str]] = []
        self._predictions: list[str] = []
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
        known = sorted({*map(folders.class_of, names)} - {""})
        self.classes = tuple((cam and cam.classes) or known)
        self._views = [] if cam is None else [replace(cam, classes=self.classes)]
        self._sizes = {name: self._sizes[name] for name in names}
        self._marked = {key for key in self._marked if key[0] in self._sizes}
        self.goal = min(goal or len(names), len(names))
        self._done: list[Change] = []
        self._undone: list[Change] = []
        self._failed = ""  # why masks are not saved
        self._scores: dict[str, float] = {}
        self.on_msg(self._receive)
        self.sort("suspicious" if self._views else "classes")

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
        (self._show_image if self._changed else self._show)()

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

    def sort(self, order: Order) -> None:
        """Order the images of each class by suspicion or by name; the classes take turns.

        Continues at the first image without annotation; an empty mask is an annotation too.
        """
        names: Sequence[str] = sorted(self.names)
        if order == "suspicious":
            self._require_network()
            view, some = self._views[0], classes_in_turn(names)[: 0 if self._scores else SCANNED]
            for name in tqdm(some, desc="looking for suspicious images", leave=False):
                with contextlib.suppress(*folders.DAMAGED):  # shown when its turn comes
                    images = view.inputs(self.folder / name)
                    confidence = view.probabilities(images).amax(1)
                    self._scores[name] = suspicion(view.cams(images), confidence).item()
            names = sorted(names, key=lambda name: -self._scores.get(name, -1.0))
        self.order, self.names = order, classes_in_turn(names)
        annotated = {name for name, _ in self._found} | {name for name, _ in self._marked}
        self._index = next((n for n, name in enumerate(self.names) if name not in annotated), 0)
        self._show_image()

    def compare(self, refined: NetworkView | None) -> None:
        """Show a refined network as well (None: no longer), and test the marks on both networks."""
        self._require_network()
        self._views[1:] = [] if refined is None else [replace(refined, classes=self.classes)]
        self._shown = len(self._views) - 1
        self._test()
        self._show_image()

    def _require_network(self) -> None:
        if not self._views:
            raise ValueError("cam must be a NetworkView for this, got None; pass it to Annotator")

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
        if message["do"] == "thumbnails":
            self._send_thumbnails(message["images"])
            return
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
                case "undo" | "redo" as kind:
                    getattr(self, kind)()
                case "go":
                    self.show_image(self.names[message["to"]])
                case "sort":
                    self.sort(message["order"])
                case "network":
                    self._shown = message["network"]
                    self._show_image(keep=True)
                case "change":
                    try:
                        self._test(message["layer"], message["change"])
                    finally:  # without a change, the image as it is
                        self._show_image(keep=True)
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
        self._evidence = []
        (self._marked.add if mask.any() else self._marked.discard)(key)
        self._save()

    def _save(self) -> None:
        """Write what is not on disk yet; what fails stays in memory until the next action."""
        self._failed = ""
        for key, mask in [*self._unsaved.items()]:  # one that can never be saved stops no other
            try:
                path = self._path(*key)
                folders.write_mask(path, mask)
                self._found[key] = path
                del self._unsaved[key]
            except OSError as error:
                self._failed = f"Not saved: {error}. Saving is tried again at the next action"

    def _path(self, name: str, layer: Layer) -> Path:
        found = self._found.get((name, layer))
        return found or folders.mask_path(self.annotations, name, layer)

    def _read(self, path: Path, name: str) -> Mask:
        return folders.read_mask(path, self._sizes[name], image=self.folder / name)

    def _test(self, layer: str = "", change: str = "") -> None:
        """Count predictions for changed regions; keep the current image with the given change."""
        # In the order of the folder: regions are swapped between the same images as in refine.
        names, current = sorted(self.marked), self.names[self._index]
        images = [self._views[0].inputs(self.folder / name) for name in names]
        if len({image.shape for image in images}) > 1:
            raise ValueError("size (SIZE in the notebook) must be given if images differ in size")
        self._evidence, self._changed = [], []
        if names:
            size = (images[0].shape[2], images[0].shape[3])
            grid = [to_grid(np.stack([self.mask(name, key) for key in LAYERS]), size)
                    for name in names]  # fmt: skip
            wrong, inside = torch.from_numpy(np.stack(grid, 1))
            known = {name: n for n, name in enumerate(self.classes)}
            labels = torch.tensor([known.get(folders.class_of(name), 0) for name in names])
            examples = Examples(torch.cat(images), labels, inside, wrong)
        for found, how, index, changed in refine.counterfactuals(examples) if names else ():
            chosen = examples.take(index)
            pairs = [[view.probabilities(some).argmax(1) for some in (chosen.images, changed)]
                     for view in self._views]  # fmt: skip
            rows = {"changed": [before != after for before, after in pairs]}
            if found == "wrong" and self.classes:
                rows["correct"] = [after == chosen.labels for _, after in pairs]
            for what, values in rows.items():
                counts = (f"{int(value.sum())} of {len(index)}" for value in values)
                self._evidence.append([f"{found} region {how}: {what}", *counts])
            if (found, how) == (layer, change):
                self._changed = [changed[n, None] for n, position in enumerate(index.tolist())
                                 if names[position] == current]  # fmt: skip
        if layer and not self._changed:
            other = "" if change == "blanked" else " and in one of another class"
            raise ValueError(f"First mark a region as {layer} in this image{other}")

    def _send_thumbnails(self, indices: Sequence[int]) -> None:
        """Send small pictures of the images that can be read."""
        found: dict[int, bytes] = {}
        for index in indices:
            with contextlib.suppress(*folders.DAMAGED):
                pixels = folders.read_image(self.folder / self.names[index])
                found[index] = _png(pixels.transpose(1, 2, 0), THUMBNAIL)
        self.send({"thumbnails": list(found), "order": self.order}, list(found.values()))

    def _show_image(self, *, keep: bool = False) -> None:
        """Send the image and its CAM, and everything else; ``keep`` the changed image."""
        name, picture, cam, error = self.names[self._index], b"", b"", ""
        self._changed, self._predictions = self._changed if keep else [], []
        try:
            picture = _png(folders.read_image(self.folder / name).transpose(1, 2, 0))
            for view in self._views:
                seen = [view.inputs(self.folder / name), *self._changed]
                spoken = [refine.spoken(view.probabilities(one), self.classes,
                                        folders.class_of(name)) for one in seen]  # fmt: skip
                self._predictions.append(" \u2192 ".join(spoken))
            for view in self._views[self._shown : self._shown + 1]:
                cam = _png(_coloured(view.cams(seen[-1])[0].numpy()))
            for images in self._changed:
                picture = _png(images[0].expand(3, -1, -1).permute(1, 2, 0).numpy())
        except (*folders.DAMAGED, RuntimeError) as found:  # a CAM may not fit the image
            error = f"{name}: {found}"
        with self.hold_sync():
            self.image, self.cam_image = picture, cam
            self._show(error=error)

    def _show(self, news: str = "", *, error: str = "") -> None:
        """Send the masks and the status."""
        name, marked = self.names[self._index], self.marked
        height, width = self._sizes[name]
        saved = "Saved" if marked else "Nothing marked yet"
        enough = "; enough to refine the model" if len(marked) >= self.goal else ""
        count = f"{len(marked)} of {self.goal}" if len(marked) <= self.goal else len(marked)
        with self.hold_sync():
            self.wrong_mask = _png(_small(self.mask(name, "wrong")))
            self.object_mask = _png(_small(self.mask(name, "object")))
            self.facts = {
                "name": name, "index": self._index, "count": len(self.names), "width": width,
                "height": height, "can_undo": bool(self._done), "can_redo": bool(self._undone),
                "marked": [self.names.index(one) for one in marked], "goal": self.goal,
                "has_marks": [layer for layer in LAYERS if (name, layer) in self._marked],
                "label": folders.class_of(name), "predictions": self._predictions,
                "network": self._shown, "change": bool(self._changed), "order": self.order,
                "evidence": self._evidence, "skipped": list(self.skipped.items()),
                "error": bool(self._failed or error),
                "status": f"{self._failed or error or news or saved}. "
                          f"{count} images marked{enough}",
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


def suspicion(cams: Tensor, confidence: Tensor) -> Tensor:
    """Confidence times mean distance of the attribution from the centre, ``p sum P d``, ``(N,)``.

    With ``P = M / sum M`` for CAMs ``(N, h, w)``, probabilities ``p`` of the predictions ``(N,)``
    and ``d`` the distance of a cell from the centre in half diagonals; 0 for all-zero maps.
    People prefer single objects near the centre (Palmer et al. 2008, "Aesthetic issues in spatial
    composition"), whereas watermarks, tags and borders lie outside: a confident prediction from
    there is the first to check. A shortcut in the centre is not found.

    >>> suspicion(torch.tensor([[[1.0, 0], [0, 0]]]), torch.tensor([0.5]))
    tensor([0.2500])
    """
    height, width = cams.shape[1:]
    down, across = ((torch.arange(n) + 0.5) / n - 0.5 for n in (height, width))
    distance = (down[:, None] ** 2 + across**2).sqrt() / 0.5**0.5  # (h, w)
    mean = metrics.attribution_distance(cams, distance.to(cams).expand_as(cams))
    return confidence * mean.nan_to_num()


def classes_in_turn(names: Sequence[str]) -> tuple[str, ...]:
    """Order names so that the first few are of all classes; each class keeps its order.

    >>> classes_in_turn(["b/3", "a/2", "a/1", "b/1"])
    ('b/3', 'a/2', 'b/1', 'a/1')
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(folders.class_of(name), []).append(name)
    rounds = itertools.zip_longest(*groups.values())
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


def _png(pixels: Pixels, longest: int | None = None) -> bytes:
    """Return uint8 ``(H, W)`` or ``(H, W, 3 or 4)`` as PNG, at most :data:`LONGEST` pixels long."""
    content, picture = io.BytesIO(), Image.fromarray(pixels)
    picture.thumbnail((longest or LONGEST,) * 2, Image.Resampling.BOX)
    picture.save(content, "PNG", compress_level=1)
    return content.getvalue()


def _small(mask: Mask) -> Pixels:
    """Return a mask at the size at which it is shown, 255 where any pixel is marked."""
    scale = min(1.0, LONGEST / max(mask.shape))
    height, width = (max(1, round(side * scale)) for side in mask.shape)
    return to_grid(mask[None], (height, width))[0].astype(np.uint8) * 255
