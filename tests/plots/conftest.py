"""Draw off screen in the style of the study, and leave no figure open."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib
import pytest
from matplotlib import pyplot as plt

from xblcore.plots import style

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def figures() -> Iterator[None]:
    with matplotlib.rc_context():
        style.use()
        yield
    plt.close("all")
