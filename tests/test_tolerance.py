"""Tolerances by hand: with two degrees of freedom Student's quantile has a closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from xblcore.tolerance import tolerances

NAN = math.nan


def quantile(alarm: float) -> float:
    """Of Student's t with two degrees of freedom, at ``1 - alarm / 2``."""
    half = alarm / 2
    return (1 - alarm) / math.sqrt(2 * half * (1 - half))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # s = 0.1 over three seeds, and a NaN that does not count
        ({"a": [0.4, 0.5, 0.6]}, {"a": 0.1 * math.sqrt(2 / 3)}),
        ({"a": [0.4, NAN, 0.5, 0.6]}, {"a": 0.1 * math.sqrt(2 / 3)}),
        # a tie has the resolution as its spread
        ({"a": [0.5, 0.5, 0.5]}, {"a": 0.01 * math.sqrt(2 / 3)}),
        # two seeds share: s^2 = (0.02 + 0.18) / 2 = 0.1; the wider one keeps its own 0.18
        (
            {"a": [0.1, 0.3], "b": [0.1, 0.7]},
            {"a": math.sqrt(0.1), "b": math.sqrt(0.18)},
        ),
        # one seed has no spread of its own, none at all no tolerance
        (
            {"a": [0.4, 0.5, 0.6], "b": [0.9], "c": [NAN]},
            {"a": 0.1 * math.sqrt(2 / 3), "b": 0.1 * math.sqrt(2), "c": NAN},
        ),
    ],
)
@pytest.mark.parametrize("alarm", [0.05, 0.0001])
def test_a_tolerance_is_half_a_prediction_interval(values, expected, alarm):
    found = tolerances(values, alarm=alarm, resolution=0.01)
    by_hand = {method: quantile(alarm) * factor for method, factor in expected.items()}
    assert found == pytest.approx(by_hand, nan_ok=True)


def test_without_two_seeds_anywhere_there_is_no_tolerance():
    found = tolerances({"a": [0.5], "b": [NAN]}, alarm=0.05, resolution=0.01)
    assert all(math.isnan(value) for value in found.values())


def test_alarms_are_as_rare_as_promised():
    """Two sets of five normal seeds differ by more in 5% of 4,000 draws, within three errors."""
    draws = np.random.default_rng(0).normal(0.5, 0.1, (4000, 2, 5))
    alarms = [
        abs(first.mean() - second.mean())
        > tolerances({"a": first.tolist()}, alarm=0.05, resolution=1e-6)["a"]
        for first, second in draws
    ]
    assert np.mean(alarms) == pytest.approx(0.05, abs=3 * math.sqrt(0.05 * 0.95 / 4000))


@pytest.mark.parametrize(("alarm", "resolution"), [(0.0, 0.1), (1.0, 0.1), (0.05, 0.0)])
def test_what_makes_no_sense_is_refused(alarm, resolution):
    with pytest.raises(ValueError, match=r"alarm must be in \(0, 1\), resolution above 0, got"):
        tolerances({"a": [0.1, 0.2]}, alarm=alarm, resolution=resolution)
