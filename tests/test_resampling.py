"""Groups drawn, ranks counted, percentiles moved out: by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm, rankdata, t

from xblcore import resampling


@pytest.mark.parametrize(("codes", "groups"), [([0], 1), ([], 1), ([0, 1, 1, 2], 3)])
def test_the_first_row_is_the_sample_itself(codes: list[int], groups: int) -> None:
    counts = resampling.draw_groups(np.array(codes, int), 50, 0)
    assert counts.shape == (51, groups)
    assert (counts[0] == 1).all() and (counts.sum(axis=1) == groups).all()


def test_groups_are_drawn_alike_and_with_replacement() -> None:
    counts = resampling.draw_groups(np.array([0, 0, 0, 1, 2, 2]), 4000, 0)[1:]
    assert counts.mean(axis=0) == pytest.approx([1, 1, 1], abs=0.05)
    assert np.mean(counts == 0) == pytest.approx((2 / 3) ** 3, abs=0.02)


def test_counted_ranks_are_sorted_ranks() -> None:
    values = np.random.default_rng(0).integers(0, 6, 20).astype(float)
    counts = resampling.draw_groups(np.arange(20) // 2, 30, 1)
    found = resampling.ranks(values, np.arange(20) // 2, counts)
    for own, ranks in zip(counts, found, strict=True):
        rows = np.repeat(np.arange(20), own[np.arange(20) // 2].astype(int))
        assert ranks[rows] == pytest.approx(rankdata(values[rows]) - (len(rows) + 1) / 2)


def test_correlation_of_two_runs_and_of_a_constant() -> None:
    ranks = np.array([[-0.5, 0.5], [0.0, 0.0], [-0.5, 0.5]])
    weights = np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    with np.errstate(all="raise"):
        found = resampling.spearman(ranks, ranks, weights)
    assert found == pytest.approx([1, math.nan, math.nan], nan_ok=True)


def test_the_tail_makes_of_a_normal_distribution_student_s_interval() -> None:
    """The bootstrap's spread is too small by sqrt((n - 1) / n)."""
    n = 8
    reach = -norm.ppf(resampling.tail(0.9, n)) * math.sqrt((n - 1) / n)
    assert reach == pytest.approx(t.ppf(0.95, n - 1))


def test_the_interval_leaves_out_what_has_no_value() -> None:
    drawn = np.array([math.nan, *np.linspace(0, 1, 101), math.nan])
    low, high = resampling.interval(drawn, 0.9, 1000)
    assert (low, high) == pytest.approx((0.05, 0.95), abs=0.001)
    assert low == pytest.approx(resampling.tail(0.9, 1000))


@pytest.mark.parametrize(("drawn", "n"), [([0.1, 0.2], 4), ([math.nan] * 3, 8), ([], 8)])
def test_there_may_be_no_interval(drawn: list[float], n: int) -> None:
    assert np.isnan(resampling.interval(np.array(drawn), 0.95, n)).all()
