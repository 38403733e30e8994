"""What a person drew on one image, in order, undone and redone, and the masks that it comes to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from xblcore.widgets.strokes import LAYERS, Layer, Mask, Stroke, checked_layer, draw

MOST_ACTIONS = 5_000  # on one image


@dataclass(frozen=True, eq=False)
class Paste:
    """A mask from elsewhere that takes the place of a whole layer.

    Attributes:
        layer: ``wrong`` or ``object``.
        mask: bool ``(H, W)``.
    """

    layer: Layer
    mask: Mask

    def __post_init__(self) -> None:
        checked_layer(self.layer)
        if self.mask.dtype != np.bool_ or self.mask.ndim != 2:
            raise ValueError(
                f"mask must be boolean (H, W), got {self.mask.dtype} of shape {self.mask.shape}"
            )


Action = Stroke | Paste


@dataclass(frozen=True)
class Drawing:
    """All that was done to one image, in order, and what was undone and can be done again.

    Attributes:
        size: height and width of the image.
        done: the actions that count.
        undone: the actions taken back, the latest last.

    >>> drawing = Drawing((5, 5)).add(Stroke("wrong", "brush", 2.0, ((2.5, 2.5),)))
    >>> int(drawing.mask("wrong").sum()), drawing.undo().is_empty, drawing.undo().redo() == drawing
    (13, True, True)
    """

    size: tuple[int, int]
    done: tuple[Action, ...] = ()
    undone: tuple[Action, ...] = ()
    # Masks that were asked for; a stroke more is then drawn on them, not all strokes anew.
    _masks: dict[Layer, Mask] = field(default_factory=dict, init=False, compare=False, repr=False)

    def add(self, action: Action) -> Drawing:
        """With one more action; what was undone is gone for good.

        Raises:
            ValueError: it lies outside the image or does not fit it, or there are too many.
        """
        if len(self.done) >= MOST_ACTIONS:
            raise ValueError(
                f"strokes of an image must be at most {MOST_ACTIONS}, got one more; "
                "undo some of them, and go on with a larger brush"
            )
        height, width = self.size
        if isinstance(action, Paste):
            if action.mask.shape != self.size:
                raise ValueError(
                    f"mask must be of the image's size {self.size}, got {action.mask.shape}"
                )
        else:
            for x, y in action.points:
                if not (0 <= x <= width and 0 <= y <= height):
                    raise ValueError(
                        f"points must lie in the image, x in [0, {width}] and y in [0, {height}], "
                        f"got ({x:g}, {y:g})"
                    )
        added = replace(self, done=(*self.done, action), undone=())
        added._masks.update(
            {layer: _after(mask, layer, action) for layer, mask in self._masks.items()}
        )
        return added

    def undo(self) -> Drawing:
        """Without the latest action; the same where there is none."""
        if not self.done:
            return self
        return replace(self, done=self.done[:-1], undone=(*self.undone, self.done[-1]))

    def redo(self) -> Drawing:
        """With the action that was undone last; the same where there is none."""
        if not self.undone:
            return self
        return replace(self, done=(*self.done, self.undone[-1]), undone=self.undone[:-1])

    def mask(self, layer: Layer) -> Mask:
        """Pixels marked on a layer, bool ``(H, W)``."""
        checked_layer(layer)
        if layer not in self._masks:
            mask = np.zeros(self.size, bool)
            for action in self.done:
                _apply(mask, layer, action)
            self._masks[layer] = mask
        return self._masks[layer].copy()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is marked on any layer."""
        return not any(self.mask(layer).any() for layer in LAYERS)


def _after(mask: Mask, layer: Layer, action: Action) -> Mask:
    """A layer's mask after one more action; the mask given is left as it is."""
    after = mask.copy()
    _apply(after, layer, action)
    return after


def _apply(mask: Mask, layer: Layer, action: Action) -> None:
    if action.layer != layer:
        return
    if isinstance(action, Paste):
        mask[:] = action.mask
    else:
        draw(mask, action)
