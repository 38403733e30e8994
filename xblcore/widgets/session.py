"""What happens between the person and the store: messages in, one state out. No front end here."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from PIL import Image

from xblcore.decoys import Pixels
from xblcore.widgets.store import AnnotationStore
from xblcore.widgets.strokes import LAYERS, checked_layer, shown, stroke_from

Cam = Callable[[Pixels], npt.NDArray[np.floating]]
COLOURS = "viridis"  # of the CAM: even to the eye, and for the colour-blind


@dataclass(frozen=True)
class View:
    """All that the front end shows of one image; pictures are PNG.

    Attributes:
        facts: of plain JSON types: ``name``, ``index``, ``count``, ``width``, ``height``,
            ``can_undo``, ``can_redo``, ``marked``, ``goal``, ``status``, ``error``.
        image: the image.
        cam: what the model looks at, coloured, at its own resolution; empty without one.
        masks: of each layer, 255 where marked.
    """

    facts: dict[str, object]
    image: bytes
    cam: bytes
    masks: dict[str, bytes]


class Session:
    """One person's walk through the images of a store.

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
        self.cam = cam
        self.goal = len(store.names) if goal is None else goal
        self.error = ""
        # Where a person left off: the first image that has no mark yet.
        marked = set(store.marked)
        unmarked = [n for n, name in enumerate(store.names) if name not in marked]
        self.index = unmarked[0] if unmarked and marked else 0

    @property
    def name(self) -> str:
        """Name of the image that is shown."""
        return self.store.names[self.index]

    def handle(self, message: object) -> bool:
        """Do what a message from the front end asks; nothing in it is trusted.

        ``{"do": "stroke", "image": name, ...}`` with the fields of
        :func:`~xblcore.widgets.strokes.stroke_from`; ``undo`` and ``redo`` with ``image``;
        ``clear`` with ``image`` and ``layer``; ``go`` with ``to``, a position.

        Returns:
            Whether it was done, and so is saved; else :attr:`error` says why not.
        """
        self.error = ""
        try:
            self._do(message)
        except (ValueError, OSError, TimeoutError) as error:
            self.error = f"Not saved: {error}"
            return False
        return True

    def _do(self, message: object) -> None:
        if not isinstance(message, Mapping):
            raise ValueError(f"message must be a mapping, got {type(message).__name__}")
        what, name = message.get("do"), message.get("image")
        match what:
            case "stroke":
                self.store.add(self._known(name), stroke_from(message))
            case "undo":
                self.store.undo(self._known(name))
            case "redo":
                self.store.redo(self._known(name))
            case "clear":
                self.store.clear(self._known(name), checked_layer(message.get("layer")))
            case "go":
                last = len(self.store.names) - 1
                to = message.get("to")
                if type(to) is not int or not 0 <= to <= last:
                    raise ValueError(f"to must be a position in [0, {last}], got {shown(to)}")
                self.index = to
            case _:
                raise ValueError(f"do must be stroke, undo, redo, clear or go, got {shown(what)}")

    def _known(self, name: object) -> str:
        return self.store.images.checked(name)

    def status(self) -> str:
        """One line: what is saved, and how far the person has come."""
        state = self.error or "Saved"
        return f"{state}, {len(self.store.marked)} of {self.goal} marked"

    def view(self) -> View:
        """What is to be seen now; an image or a CAM that fails is told in its status."""
        name = self.name
        drawing = self.store.drawing(name)
        height, width = drawing.size
        pixels, cam = np.full((height, width, 3), 128, np.uint8), b""
        try:
            pixels = self.store.pixels(name)
            cam = b"" if self.cam is None else png(coloured(self.cam(pixels)))
        except (ValueError, OSError, RuntimeError) as error:
            self.error = self.error or f"{name}: {error}"
        facts: dict[str, object] = {
            "name": name,
            "index": self.index,
            "count": len(self.store.names),
            "width": width,
            "height": height,
            "can_undo": bool(drawing.done),
            "can_redo": bool(drawing.undone),
            "marked": len(self.store.marked),
            "goal": self.goal,
            "status": self.status(),
            "error": bool(self.error),
        }
        masks: dict[str, bytes] = {
            layer: png(drawing.mask(layer).astype(np.uint8) * 255) for layer in LAYERS
        }
        return View(facts, png(pixels), cam, masks)


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
