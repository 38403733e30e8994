"""The notebooks import their helpers as ``course`` from their own folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from xblcore.examples import Examples

sys.path.insert(0, str(Path(__file__).parents[2] / "notebooks" / "workshop"))


@pytest.fixture
def examples() -> Examples:
    """Rectangles with a decoy at the top left; four images of each class."""
    images = torch.zeros(40, 1, 28, 28, dtype=torch.uint8)
    images[:, :, 4:24, 4:28] = 120
    decoy = torch.zeros(40, 28, 28, dtype=torch.bool)
    decoy[:, :4, :4] = True
    images[:, 0][decoy] = 200
    return Examples(images, torch.arange(40) % 10, images[:, 0] == 120, decoy)
