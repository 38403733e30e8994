"""What the figures of the claims show; ``test_layout`` tests that they can be read."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from tests.plots import layout
from tests.study.test_claims import make_validity
from xblcore.metrics import METRICS
from xblcore.plots import claims
from xblcore.study.claims import FACTORS, validity_table
from xblcore.study.explainers import EXPLAINERS

TASKS = ("decoy_fashion_mnist", "decoy_cifar10", "decoy_coco")
METHODS = ("erm", "oracle", "xbl_d", "rrr", "rrr_g")


def effects(weighting: dict[str, tuple[float, str]], *, half: float = 0.02) -> pd.DataFrame:
    """Table of ``study.claims.effects``: weighting ``{task: (mean, verdict)}``, map 0.3."""
    rows = []
    for task, (mean, verdict) in weighting.items():
        for n, effect in enumerate(FACTORS):
            if effect == "feedback" and task == "decoy_cifar10":
                continue
            value = mean if effect == "weighting" else 0.1 * n
            rows.append({
                "task": task, "data": "tiny", "kind": "main", "effect": effect,
                "estimate": value, "ci_low": value - half, "ci_high": value + half,
                "verdict": verdict if effect == "weighting" else "supported",
            })  # fmt: skip
    interaction = {**rows[-1], "kind": "interaction", "estimate": 9.0}
    return pd.DataFrame([*rows, interaction])


THREE = effects({
    TASKS[0]: (0.0, "equivalent"), TASKS[1]: (0.2, "supported"), TASKS[2]: (0.01, "equivalent"),
    "pooled": (0.07, "undecided"),
})  # fmt: skip


def table(explainers: tuple[str, ...] = tuple(EXPLAINERS), *, task: str = "pooled"):
    """AUROC of one target; 0.55 for the first metric, and 0.03 more for each of the others."""
    names = [name for name in METRICS if METRICS[name].kind in ("overlap", "distance")]
    auroc = {name: 0.55 + 0.03 * n for n, name in enumerate(names)}
    found = validity_table(make_validity(auroc, seeds=3, data="tiny", explainers=explainers))
    return found[(found["task"] == task) & (found["target"] == "flips")]


def shares(
    tasks: tuple[str, ...] = TASKS, explainers: tuple[str, ...] = tuple(EXPLAINERS)
) -> pd.DataFrame:
    """Table of ``study.tables.shares_reported``: right, but HiResCAM for XBL-D on one task."""
    index = pd.MultiIndex.from_product([tasks, METHODS], names=["task", "method"])
    actual = np.tile([0.0, 1.0, 0.17, 0.8, 0.4], len(tasks))
    found = pd.DataFrame(dict.fromkeys([*explainers, "decoy_flip_rate"], actual), index=index)
    found.loc[(tasks[-1], "xbl_d"), explainers[0]] = 0.93
    return found


def factorial(found: pd.DataFrame) -> Figure:
    return claims.factorial(plt.figure(), found)


FIGURES = {  # for test_layout
    "factorial": lambda: factorial(THREE),
    "factorial, one task": lambda: factorial(effects({TASKS[1]: (-0.9, "contradicted")}, half=2)),
    "factorial, undefined": lambda: factorial(effects({TASKS[0]: (math.nan, "undecided")})),
    "validity": lambda: claims.validity(plt.figure(), table()),
    "validity, one": lambda: claims.validity(plt.figure(), table(("occlusion",), task=TASKS[1])),
    "reported": lambda: claims.reported_and_actual(plt.figure(), shares(), data="tiny"),
    "reported, one": lambda: claims.reported_and_actual(
        plt.figure(), shares(TASKS[:1], ("hires_cam",)), data="tiny"
    ),
}


def test_the_factorial_shows_every_task_of_a_factor_the_margin_and_the_verdicts() -> None:
    fig = factorial(THREE)
    (ax,) = fig.axes
    shown = [line.get_xdata()[0] for line in ax.lines if line.get_marker() in ("o", "s", "^", "D")]
    main = THREE[THREE["kind"] == "main"]
    assert sorted(shown) == pytest.approx(sorted(main["estimate"]))
    assert [label.get_text().split()[0] for label in ax.get_yticklabels()] == [
        "weighting", "annotation", "form", "map",
    ]  # fmt: skip
    band = next(patch for patch in ax.patches if "equivalent" in str(patch.get_label()))
    assert (band.get_x(), band.get_width()) == pytest.approx((-0.05, 0.1))
    title = layout.title(fig)
    assert "equivalent on Decoy Fashion-MNIST and Decoy MS-COCO" in title
    assert "distance is better on Decoy CIFAR-10" in title
    assert "The map changes recovery by up to 0.30" in title


def test_validity_separates_the_families_and_names_the_ends() -> None:
    rows = table(("grad_cam", "occlusion"))
    fig = claims.validity(plt.figure(), rows)
    ax = fig.axes[0]
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names[:2] == ["Attribution distance", "Distance focus"]
    assert names[-1] == "Wrong reason"  # the only one that receives the decoy mask
    found = rows[rows["explainer"] == "grad_cam"].set_index("metric")["mean"]
    assert f"{found.max():.2f} for distance focus, 0.55 for activation" in layout.title(fig)
    shown = {line.get_ydata()[0]: line.get_xdata()[0] for line in ax.lines
             if line.get_marker() in ("o", "s")}  # fmt: skip
    for y, name in enumerate(names):
        key = name.lower().replace(" ", "_")
        assert shown[y] == pytest.approx(found[key])


def test_the_largest_overstatement_is_marked_and_named() -> None:
    fig = claims.reported_and_actual(plt.figure(), shares(), data="tiny")
    assert layout.title(fig).startswith(
        "Grad-CAM reports 0.93 of ERM's reliance on the decoy as gone for XBL-D on Decoy MS-COCO; "
        "by the flips it is 0.17"
    )
    rings = [line for line in fig.axes[0].lines if line.get_markersize() == 13]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in rings] == [(0.17, 0.93)]
    dots = [line for line in fig.axes[1].lines if line.get_marker() in ("o", "s", "^")]
    assert sum(len(line.get_xdata()) for line in dots) == 9  # without ERM and the oracle
