"""Every figure test draws in the house style, off screen, and leaves no figure open."""

import matplotlib
import matplotlib.pyplot as plt
import pytest

from xblcore.plots import style

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def closed():
    with matplotlib.rc_context():
        style.use()
        yield
    plt.close("all")
