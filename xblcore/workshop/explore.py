"""What a learner can move: sliders and menus that redraw a figure, by mouse or by keyboard."""

from __future__ import annotations

import ipywidgets as widgets

from xblcore.decoys import CORNERS
from xblcore.models import SplitNet
from xblcore.workshop import figures, grids
from xblcore.workshop.predict import WIDE
from xblcore.workshop.task import Data

NAMED = {"description_width": "14em"}


def decoys(model: SplitNet, data: Data, *, images: int = 50) -> widgets.Widget:
    """Choose a garment and a corner; see what the network answers to each decoy there.

    Args:
        model: a trained network.
        data: of the workshop.
        images: how many of ``test_clean`` can be chosen.
    """
    return widgets.interactive(
        lambda image, corner: figures.each_decoy(model, data, image=image, corner=corner),
        image=widgets.IntSlider(
            4, 0, images - 1, description="Garment", layout=WIDE, style=NAMED,
            continuous_update=False,
        ),
        corner=widgets.Dropdown(
            options=CORNERS, description="Corner of the decoy", layout=WIDE, style=NAMED
        ),
    )  # fmt: skip


def reading() -> widgets.Widget:
    """Move the gradient of one feature map about, its mean kept; Grad-CAM does not notice."""
    return widgets.interactive(
        grids.reading,
        share=widgets.FloatSlider(
            1.0, min=0.0, max=1.0, step=0.05, description="Read at the top left", layout=WIDE,
            style=NAMED,
        ),
    )  # fmt: skip


def distances() -> widgets.Widget:
    """Move an object over a grid of 8x8 cells; see every cell's distance to it."""

    def slider(value: int, least: int, most: int, name: str) -> widgets.IntSlider:
        return widgets.IntSlider(
            value, least, most, description=name, layout=WIDE, style=NAMED, continuous_update=False
        )

    return widgets.interactive(
        grids.object_at,
        row=slider(3, 0, 7, "Row of the object"),
        column=slider(2, 0, 7, "Column of the object"),
        size=slider(2, 1, 4, "Size of the object"),
    )
