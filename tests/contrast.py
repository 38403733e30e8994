"""How well one colour can be told from another, by WCAG 2 (www.w3.org/TR/WCAG21)."""

from __future__ import annotations

import numpy as np
from matplotlib import colors


def contrast(one: str, two: str = "white") -> float:
    """From 1, the same, to 21, black on white; text wants 4.5, and what marks a control 3."""
    low, high = sorted((_luminance(one), _luminance(two)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    rgb = np.array(colors.to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
