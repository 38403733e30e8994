"""What a learner can move: sliders and menus that redraw a figure, by mouse or by keyboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
from IPython.display import display
from matplotlib.figure import Figure

from xblcore.decoys import CORNERS
from xblcore.models import SplitNet
from xblcore.workshop import figures, grids
from xblcore.workshop.predict import WIDE
from xblcore.workshop.task import Data

LOOK = {"layout": WIDE, "style": {"description_width": "14em"}}


def decoys(model: SplitNet, data: Data, *, images: int = 50) -> widgets.Widget:
    """Choose a garment and a corner; see what the network answers to each decoy there.

    Args:
        model: a trained network.
        data: of the workshop.
        images: how many of ``test_clean`` can be chosen.
    """
    return redrawn(
        lambda image, corner: figures.each_decoy(model, data, image=image, corner=corner),
        image=integer("Garment", 0, 0, images - 1),
        corner=widgets.Dropdown(options=CORNERS, description="Corner of the decoy", **LOOK),
    )


def reading() -> widgets.Widget:
    """Move the gradient of one feature map about, its mean kept; Grad-CAM does not notice."""
    share = widgets.FloatSlider(
        1.0, min=0.0, max=1.0, step=0.05, description="Read at the top left",
        continuous_update=False, **LOOK,
    )  # fmt: skip
    return redrawn(grids.reading, share=share)


def distances() -> widgets.Widget:
    """Move an object over a grid of 8x8 cells; see every cell's distance to it."""
    return redrawn(
        grids.object_at,
        row=integer("Row of the object", 3, 0, 7),
        column=integer("Column of the object", 2, 0, 7),
        size=integer("Size of the object", 2, 1, 4),
    )


def integer(name: str, value: int, least: int, most: int) -> widgets.IntSlider:
    """A slider that redraws when it is let go, for a figure takes a moment."""
    return widgets.IntSlider(value, least, most, description=name, continuous_update=False, **LOOK)


def redrawn(figure: Callable[..., Figure], **controls: Any) -> widgets.Widget:
    """Controls, and below them the figure of their values, from the start.

    Args:
        figure: takes the controls' values by name.
        controls: a widget with a ``value`` for each argument.
    """
    shown = widgets.interactive_output(
        lambda **values: display(figure(**values)),  # type: ignore[no-untyped-call]
        controls,
    )
    return widgets.VBox([*controls.values(), shown])
