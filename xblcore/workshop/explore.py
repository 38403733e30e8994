"""What a learner can move: sliders and menus that redraw a figure, by mouse or by keyboard."""

from __future__ import annotations

import ipywidgets as widgets

from xblcore.decoys import CORNERS
from xblcore.models import SplitNet
from xblcore.workshop import figures
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
