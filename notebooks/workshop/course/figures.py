"""Figures of the workshop; each function returns a figure, which the cell shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from course.task import CLASSES, CORNERS, Scores, with_each_decoy
from xblcore.methods import METHODS
from xblcore.study.evaluate import predict

# Okabe and Ito (2008), distinct for colour-blind readers.
COLOURS = {
    "black": "#000000", "grey": "#7f7f7f", "orange": "#e69f00", "sky": "#56b4e9",
    "green": "#009e73", "blue": "#0072b2", "vermillion": "#d55e00", "purple": "#cc79a7",
}  # fmt: skip
WIDTH = 9.5  # inches
BEHAVIOUR = {
    "with_decoy": "accuracy with the decoy",
    "clean": "accuracy without the decoy",
    "flip_rate": "predictions that follow the decoy",
}
