"""The annotator in a notebook: a brush over the image and over what the model looks at.

Keys: ``W`` wrong, ``O`` object, ``B`` brush, ``E`` eraser, ``[`` and ``]`` size, ``Z`` undo, ``Y``
redo, ``N`` next, ``P`` previous, ``C`` CAM on or off. While the picture has the focus, arrows move
a cursor (with Shift by one pixel), Space puts the brush down and lifts it, Escape drops the line,
Page Down is the next image, Page Up the previous one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import numpy as np
import numpy.typing as npt
import traitlets

from xblcore.decoys import Pixels
from xblcore.widgets.folder import as_input
from xblcore.widgets.session import Cam, Session
from xblcore.widgets.store import AnnotationStore
from xblcore.widgets.strokes import LAYERS, LEAST_RADIUS, MOST_RADIUS, TOOLS

if TYPE_CHECKING:
    from torch import nn

HERE = Path(__file__).parent
# One module for the browser, which could not load its parts from beside it.
SCRIPTS = ("annotator_picture.js", "annotator_post.js", "annotator_input.js", "annotator.js")


class Annotator(anywidget.AnyWidget):
    """Mark on images what a model should not, or should, look at; every stroke is saved at once.

    Args:
        images: a folder of images, or a store that was opened before.
        cam: gives the attribution ``(h, w)`` of an image, see :func:`cam_of`; None: no overlay.
        goal: how many images are to be marked; None: all.

    Attributes:
        store: the annotations, which :meth:`MarkedImages.of` takes for ``refine``.

    Raises:
        ValueError: as :class:`~xblcore.widgets.store.AnnotationStore`, or a goal out of range.
    """

    _esm = "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    _css = HERE / "annotator.css"

    facts = traitlets.Dict().tag(sync=True)
    image = traitlets.Bytes().tag(sync=True)
    cam_image = traitlets.Bytes().tag(sync=True)
    wrong_mask = traitlets.Bytes().tag(sync=True)
    object_mask = traitlets.Bytes().tag(sync=True)
    layer = traitlets.Enum(LAYERS, "wrong").tag(sync=True)
    tool = traitlets.Enum(TOOLS, "brush").tag(sync=True)
    radius = traitlets.Float(LEAST_RADIUS, min=LEAST_RADIUS, max=MOST_RADIUS).tag(sync=True)
    opacity = traitlets.Float(0.6, min=0.0, max=1.0).tag(sync=True)

    def __init__(
        self,
        images: str | Path | AnnotationStore,
        *,
        cam: Cam | None = None,
        goal: int | None = None,
    ) -> None:
        self.store = images if isinstance(images, AnnotationStore) else AnnotationStore(images)
        self._session = Session(self.store, cam=cam, goal=goal)
        super().__init__(radius=within(self._side() / 16))
        self.on_msg(self._receive)
        self._show()

    def refresh(self) -> None:
        """Show the store's state, the image and its CAM again, after the model has changed say."""
        self._session.forget()
        self._show()

    def _show(self) -> None:
        view = self._session.view()
        with self.hold_sync():
            self.facts = view.facts
            self.image, self.cam_image = view.image, view.cam
            self.wrong_mask, self.object_mask = view.masks["wrong"], view.masks["object"]

    def show_cam(self, cam: Cam | None) -> None:
        """Lay another model's CAM over the images, that of a refined one say."""
        self._session.cam = cam
        self.refresh()

    def show_image(self, name: str) -> None:
        """Go to an image.

        Raises:
            ValueError: no image of that name.
        """
        before = self._side()
        self._session.show(name)
        self._rescale(before)
        self._show()

    def export_masks(self, folder: str | Path | None = None) -> Path:
        """Write all masks, see :meth:`AnnotationStore.export_all`."""
        return self.store.export_all(folder)

    def import_masks(self, path: str | Path) -> int:
        """Take over masks, see :meth:`AnnotationStore.import_any`, and show them.

        Returns:
            How many masks were taken over.
        """
        count = self.store.import_any(path)
        self.refresh()
        return count

    def _side(self) -> int:
        """The shorter side of the image that is shown, in pixels."""
        return min(self.store.images.sizes[self._session.name])

    def _rescale(self, before: int) -> None:
        """Keep the brush as large on the screen as it was on an image with the side ``before``."""
        self.radius = within(self.radius * self._side() / before)

    def _receive(self, _widget: object, message: Any, _buffers: object) -> None:
        """Do what the front end asks, and answer, so that it knows what is saved."""
        before = self._side()
        done = self._session.handle(message)
        self._rescale(before)
        self._show()
        number = message.get("number") if isinstance(message, dict) else None
        again = self._session.again
        status = self.facts["status"]
        self.send({"number": number, "done": done, "again": again, "status": status})


def within(radius: float) -> float:
    """The nearest radius that a brush can have."""
    return min(max(LEAST_RADIUS, radius), MOST_RADIUS)


def cam_of(
    model: nn.Module,
    *,
    size: tuple[int, int] | None = None,
    grey: bool = False,
    layer: str | None = None,
) -> Callable[[Pixels], npt.NDArray[np.float32]]:
    """What a model's own answer rests on, as :class:`Annotator` takes it.

    HiResCAM of the answer's log probability: of what speaks for it, and against the other classes.

    Args:
        model: maps images ``(N, C, H, W)`` in [0, 1] to logits.
        size: height and width that it takes; None: as the images are.
        grey: one channel instead of three.
        layer: as in :func:`xblcore.widgets.refining.refine`.
    """
    import torch

    from xblcore.cam import explain
    from xblcore.widgets.explained import SCORE, spatial_layer

    device = next((p.device for p in model.parameters()), torch.device("cpu"))

    def cam(pixels: Pixels) -> npt.NDArray[np.float32]:
        images = torch.from_numpy(as_input(pixels, size, grey=grey))[None].to(device)
        name, _ = spatial_layer(model, images, layer)
        return explain(model, images, layer=name, method="hires_cam", score=SCORE)[0].cpu().numpy()

    return cam
