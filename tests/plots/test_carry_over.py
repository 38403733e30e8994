"""The map of what carries over: its numbers are those of the table, its outlines those of torch."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
import toys
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle
from synthetic import EXPLAINERS, HELD_OUT, TRUTHS, make_runs

from xblcore import explainers, released
from xblcore.methods import METHODS, Step
from xblcore.plots import carry_over, style
from xblcore.results import method_table
from xblcore.train import forward

ALL = (*EXPLAINERS, *HELD_OUT)


@pytest.fixture(scope="module")
def runs():
    return make_runs(data="stand-in", held_out=True)


@pytest.fixture(scope="module")
def table(runs):
    return method_table(runs)


def by_hand(erm: float, other: float, flips: tuple[float, float, float]) -> pd.DataFrame:
    """A table of ERM, the oracle and RRR: attribution distances by Grad-CAM, and flips."""
    methods = ("erm", "oracle", "rrr")
    rows = [(m, "grad_cam", "attribution_distance", v)
            for m, v in zip(methods, (erm, 0.1, other), strict=True)]  # fmt: skip
    rows += [(m, "none", "decoy_flip_rate", v) for m, v in zip(methods, flips, strict=True)]
    rows.append(("rrr", "grad_cam", "iou", 99.0))
    table = pd.DataFrame(rows, columns=["method", "explainer", "metric", "mean"])
    elsewhere = table.assign(split="val", mean=77.0)
    return pd.concat([elsewhere, table.assign(split="test_decoy")], ignore_index=True)


def test_shares_are_those_computed_on_paper():
    shares = carry_over.cured(by_hand(0.4, 0.5, (0.6, 0.1, 0.2)))
    assert list(shares.columns) == ["grad_cam", "decoy_flip_rate"]
    assert list(shares.index) == ["erm", "oracle", "rrr"]
    np.testing.assert_allclose(shares["grad_cam"], [0, 0.75, -0.25])
    np.testing.assert_allclose(shares["decoy_flip_rate"], [0, 1, 0.8])


@pytest.mark.parametrize(
    ("erm", "other", "flips", "undefined"),
    [
        (0.4, math.nan, (0.6, 0.1, 0.2), ["grad_cam"]),
        (0.0, 0.1, (0.6, 0.1, 0.2), ["grad_cam"]),
        (0.4, 0.1, (0.105, 0.1, 0.2), ["decoy_flip_rate"]),
        (0.4, 0.1, (0.1, 0.6, 0.2), ["decoy_flip_rate"]),
    ],
    ids=["dead map", "ERM has no distance", "ERM hardly flips", "ERM flips less than the oracle"],
)
def test_where_nothing_can_be_cured_the_share_is_undefined(erm, other, flips, undefined):
    row = carry_over.cured(by_hand(erm, other, flips)).loc["rrr"]
    assert list(row.index[row.isna()]) == undefined


@pytest.mark.parametrize(("left_out", "columns"), [("erm", ALL), ("oracle", ())])
def test_without_floor_or_ceiling_what_needs_it_is_undefined(table, left_out, columns):
    shares = carry_over.cured(table[table["method"] != left_out])
    undefined = shares.columns[shares.isna().all()]
    assert list(undefined) == [*columns, "decoy_flip_rate"]


def outlined(ax) -> set[tuple[int, int]]:
    """Row and column of the cells with an outline."""
    frames = [p for p in ax.patches if isinstance(p, Rectangle) and not p.get_fill()]
    return {(math.floor(p.get_y()), math.floor(p.get_x())) for p in frames}


def test_every_number_is_printed_and_the_maps_trained_on_are_outlined(runs, table):
    fig = carry_over.carry_over(plt.figure(), runs, table)
    left, right = fig.axes[:2]
    shares = carry_over.cured(table)
    assert [t.get_text() for t in left.get_yticklabels()] == [style.label(m) for m in TRUTHS]
    heads = [t.get_text().replace("\n", " ") for ax in (left, right) for t in ax.get_xticklabels()]
    assert heads == [style.label(name) for name in (*ALL, "decoy_flip_rate")]
    printed = [float(t.get_text().replace("−", "-")) for ax in (left, right) for t in ax.texts]
    expected = [*shares[list(ALL)].to_numpy().ravel(), *shares["decoy_flip_rate"]]
    np.testing.assert_allclose(printed, expected, atol=0.00501)
    methods = list(TRUTHS)
    hires = {(methods.index(m), x) for m in ("xbl_d", "xbl_overlap") for x in (1, 2)}
    grad = {(methods.index(m), 0) for m in ("xbl_d_grad_cam", "xbl_d_released", "rrr_g")}
    assert outlined(left) == hires | grad | {(methods.index("rrr"), 3)}
    assert not outlined(right)
    assert fig.get_suptitle() == "What carries over: Decoy Fashion-MNIST (stand-in data)"


def test_undefined_is_said_and_fewer_explainers_are_no_matter(runs):
    few = runs[~runs["explainer"].isin(HELD_OUT)].copy()
    dead = (few["method"] == "rrr") & (few["explainer"] == "hires_cam")
    few.loc[dead, "value"] = math.nan
    fig = carry_over.carry_over(plt.figure(), few, method_table(few))
    left = fig.axes[0]
    said = [t for t in left.texts if t.get_text() == "undefined"]
    assert [t.get_position() for t in said] == [(1.5, list(TRUTHS).index("rrr") + 0.5)]
    assert len(left.texts) == len(EXPLAINERS) * len(TRUTHS)
    assert not [t for t in left.texts if "nan" in t.get_text()]


def test_runs_of_two_tasks_are_refused():
    runs = make_runs({"erm": TRUTHS["erm"]}, tasks=("decoy_coco", "decoy_cifar10"))
    one = method_table(runs[runs["task"] == "decoy_coco"])
    with pytest.raises(ValueError, match="runs must be of one task"):
        carry_over.carry_over(plt.figure(), runs, one)


def map_of(name: str, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What the penalty of a method asks for, seen while it is computed."""
    asked: set[str] = set()

    def spy(owner, function, told):
        original = getattr(owner, function)

        def called(*arguments):
            asked.add(told or arguments[1])
            return original(*arguments)

        monkeypatch.setattr(owner, function, called)

    spy(Step, "cam", None)
    spy(Step, "input_gradient", "input_gradient")
    spy(released, "guided_grad_cam", "grad_cam")
    every = torch.arange(8)
    method, data = METHODS[name], toys.shortcut(8, seed=0)
    step = forward(toys.small_net(), data, every, method, "features", toys.seeded())
    if method.penalty is not None:
        method.penalty(step)
    return asked


@pytest.mark.parametrize("name", METHODS)
def test_the_table_of_what_a_method_is_trained_on_is_that_of_the_registry(name, monkeypatch):
    expected = {carry_over.TRAINED_ON[name]} if name in carry_over.TRAINED_ON else set()
    assert map_of(name, monkeypatch) == expected


def test_the_kind_of_map_that_an_explainer_reads_is_that_of_the_evaluation(monkeypatch):
    read: list[str] = []
    monkeypatch.setattr(
        explainers, "explain", lambda *_, method, **_options: read.append(method) or torch.zeros(1)
    )
    for explainer in explainers.CAMS:
        explainer.attribute(torch.nn.Identity(), torch.zeros(1), "features")
    names = [explainer.name for explainer in explainers.CAMS]
    assert names == list(EXPLAINERS) and read == [carry_over.READS[name] for name in names]
    assert set(carry_over.TRAINED_ON.values()) == set(carry_over.READS.values())
