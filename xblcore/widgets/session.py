"""What happens between the person and the store: messages in, one state out. No front end here."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from PIL import Image

from xblcore.decoys import Pixels
from xblcore.distance import to_grid
from xblcore.widgets.folder import ImageFolder
from xblcore.widgets.store import AnnotationStore
from xblcore.widgets.strokes import LAYERS, Mask, checked_layer, shown, stroke_from

Cam = Callable[[Pixels], npt.NDArray[np.floating]]
COLOURS = "viridis"  # of the CAM: even to the eye, and for the colour-blind
MOST_SHOWN = 1024  # pixels of a side of what is shown; marks are kept at the image's own size


@dataclass(frozen=True)
class View:
    """All that the front end shows of one image; pictures are PNG.

    Attributes:
        facts: of plain JSON types: ``store``, ``name``, ``index``, ``count``, ``width``,
            ``height``, ``can_undo``, ``can_redo``, ``marked``, ``goal``, ``status``, ``error``.
        image: the image, at most :data:`MOST_SHOWN` pixels a side, like the masks.
        cam: what the model looks at, coloured, at its own resolution; empty without one.
        masks: of each layer, 255 where marked.
    """

    facts: dict[str, object]
    image: bytes
    cam: bytes
    masks: dict[str, bytes]


class Session:
    """One person's walk through the images of a store, the classes in turn.

    Args:
        store: images and annotations.
        cam: attribution ``(h, w)``, at least 0, of an image uint8 ``(H, W, 3)``; None: no overlay.
        goal: how many images are to be marked; None: all.

    Raises:
        ValueError: a goal that is not among 1 to the number of images.
    """

    def __init__(
        self, store: AnnotationStore, *, cam: Cam | None = None, goal: int | None = None
    ) -> None:
        if goal is not None and not 1 <= goal <= len(store.names):
            raise ValueError(f"goal must be in [1, {len(store.names)}], got {goal}")
        self.store = store
        self.order = in_turn(store.images)
        self.cam = cam
        self.goal = len(store.names) if goal is None else goal
        self.error = self.news = self._trouble = ""
        self.again = False
        self._shown: tuple[str, bytes, bytes, str] | None = None
        # Where a person left off: the first image that has no mark yet.
        marked = set(store.marked)
        unmarked = [n for n, name in enumerate(self.order) if name not in marked]
        self.index = unmarked[0] if unmarked and marked else 0

    @property
    def name(self) -> str:
        """Name of the image that is shown."""
        return self.order[self.index]

    def show(self, name: str) -> None:
        """Go to an image.

        Raises:
            ValueError: no image of that name.
        """
        self.index = self.order.index(self._known(name))
        self.error = self.news = ""
        self.forget()

    def forget(self) -> None:
        """Read the image and explain it anew when it is next shown."""
        self._shown = None

    def handle(self, message: object) -> bool:
        """Do what a message from the front end asks; nothing in it is trusted.

        ``{"do": "stroke", "image": name, ...}`` with the fields of
        :func:`~xblcore.widgets.strokes.stroke_from`; ``undo`` and ``redo`` with ``image``;
        ``clear`` with ``image`` and ``layer``; ``go`` with ``to``, a position; ``export``.

        Returns:
            Whether it was done, and so is saved; else :attr:`error` says why not, and :attr:`again`
            whether the same message may be done later: the disk is full, say, or is written to.
        """
        self.error = self.news = ""
        self.again = False
        try:
            self._do(message)
        except (ValueError, OSError) as error:
            self.error = f"Not saved: {error}"
            self.again = isinstance(error, OSError)
            return False
        return True

    def _do(self, message: object) -> None:
        if not isinstance(message, Mapping):
            raise ValueError(f"message must be a mapping, got {type(message).__name__}")
        what, name = message.get("do"), message.get("image")
        match what:
            case "stroke":
                stroke, done = stroke_from(message), self.store.drawing(self._known(name)).done
                # Sent again by a page that was reloaded before it had the answer.
                if not done or done[-1] != stroke:
                    self.store.add(self._known(name), stroke)
            case "undo":
                self.store.undo(self._known(name))
            case "redo":
                self.store.redo(self._known(name))
            case "clear":
                self.store.clear(self._known(name), checked_layer(message.get("layer")))
            case "go":
                last = len(self.order) - 1
                to = message.get("to")
                if type(to) is not int or not 0 <= to <= last:
                    raise ValueError(f"to must be a position in [0, {last}], got {shown(to)}")
                self.index = to
                self.forget()
            case "export":
                folder = self.store.export_all()
                self.news = f"Exported to {folder.parent.name}/{folder.name}"
            case _:
                raise ValueError(
                    f"do must be stroke, undo, redo, clear, go or export, got {shown(what)}"
                )

    def _known(self, name: object) -> str:
        return self.store.images.checked(name)

    def status(self) -> str:
        """One line: what is saved, and how far the person has come."""
        marked = len(self.store.marked)
        told = self.error or self._trouble or self.news
        state = told or ("Saved" if marked else "Nothing marked yet")
        enough = "; that is enough to refine by" if marked >= self.goal else ""
        return f"{state}, {marked} of {self.goal} marked{enough}"

    def view(self) -> View:
        """What is to be seen now; an image or a CAM that fails is told in its status."""
        name = self.name
        drawing = self.store.drawing(name)
        height, width = drawing.size
        if self._shown is None or self._shown[0] != name:
            self._shown = (name, *self._look(name, drawing.size))
        _, image, cam, self._trouble = self._shown  # gone with the next image or CAM
        facts: dict[str, object] = {
            "store": hashlib.sha256(os.fsencode(self.store.home.resolve())).hexdigest()[:16],
            "name": name,
            "index": self.index,
            "count": len(self.order),
            "width": width,
            "height": height,
            "can_undo": bool(drawing.done),
            "can_redo": bool(drawing.undone),
            "marked": len(self.store.marked),
            "goal": self.goal,
            "status": self.status(),
            "error": bool(self.error or self._trouble),
        }
        masks: dict[str, bytes] = {
            layer: png(small(drawing.mask(layer)).astype(np.uint8) * 255) for layer in LAYERS
        }
        return View(facts, image, cam, masks)

    def _look(self, name: str, size: tuple[int, int]) -> tuple[bytes, bytes, str]:
        """An image and its CAM as PNG, and what went wrong with them."""
        pixels = np.full((*size, 3), 128, np.uint8)
        try:
            pixels = self.store.pixels(name)
            cam = b"" if self.cam is None else png(coloured(self.cam(pixels)))
        except (ValueError, OSError, RuntimeError) as error:
            return png(reduced(pixels)), b"", f"{name}: {error}"
        return png(reduced(pixels)), cam, ""


def in_turn(images: ImageFolder) -> tuple[str, ...]:
    """Names of the images, one of each class after the other, so that a few are of all classes."""
    classes: dict[str, list[str]] = {}
    for name in images.sizes:
        classes.setdefault(images.class_of(name), []).append(name)
    rounds = itertools.zip_longest(*classes.values())
    return tuple(name for names in rounds for name in names if name is not None)


def shown_size(size: tuple[int, int]) -> tuple[int, int]:
    """Height and width at which an image is shown.

    >>> shown_size((28, 28)), shown_size((3000, 4000))
    ((28, 28), (768, 1024))
    """
    scale = min(1.0, MOST_SHOWN / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def reduced(pixels: Pixels) -> Pixels:
    """An image ``(H, W, 3)`` at the size at which it is shown."""
    height, width = shown_size((pixels.shape[0], pixels.shape[1]))
    if (height, width) == pixels.shape[:2]:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))


def small(mask: Mask) -> Mask:
    """A mask ``(H, W)`` at the size at which it is shown: marked where any pixel is."""
    size = shown_size((mask.shape[0], mask.shape[1]))
    return mask if size == mask.shape else np.asarray(to_grid(mask[None], size)[0])


def coloured(cam: npt.NDArray[np.floating]) -> Pixels:
    """A CAM as uint8 ``(h, w, 4)``: its largest value opaque, 0 (or a dead CAM) transparent.

    Args:
        cam: ``(h, w)``, at least 0 and finite.

    Raises:
        ValueError: anything else.

    >>> coloured(np.array([[0.0, 2.0]]))[..., 3]
    array([[  0, 255]], dtype=uint8)
    """
    cam = np.asarray(cam, float)
    if cam.ndim != 2 or not np.isfinite(cam).all() or cam.min() < 0:
        raise ValueError(f"cam must be (h, w), finite and at least 0, got shape {cam.shape}")
    share = cam / cam.max() if cam.max() > 0 else cam
    colours = (mpl.colormaps[COLOURS](share) * 255).round().astype(np.uint8)
    colours[..., 3] = (share * 255).round()
    return np.asarray(colours)


def png(pixels: Pixels) -> bytes:
    """The bytes of a PNG file, uint8 ``(H, W)``, ``(H, W, 3)`` or ``(H, W, 4)``."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", compress_level=1)
    return content.getvalue()
