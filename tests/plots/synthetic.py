"""Accuracies, weights and logs of training, without training."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from tests.study.synthetic import CLEAN
from xblcore.methods import METHODS


def accuracies(methods: Sequence[str]) -> dict[str, float]:
    """For ``tests.study.synthetic.make_runs``; 0.5 where that has no accuracy of a method."""
    return {name: CLEAN.get(name, 0.5) for name in methods}


def make_weights(methods: Sequence[str], *, steps: int = 5) -> pd.DataFrame:
    """Return a table of xblcore.study.runs.choose_weights; ``rrr_g`` never exceeds chance."""
    rows = []
    for method in methods:
        count = steps if METHODS[method].penalty else 1
        for place in range(count):
            accuracy = 0.08 if method == "rrr_g" else 0.5 - 0.1 * abs(place - count // 2)
            rows.append(
                {"task": "decoy_cifar10", "method": method, "accuracy": accuracy,
                 "weight": float(f"{10 ** (place / 2):.1g}"), "lowest": accuracy - 0.05,
                 "chosen": place == count // 2, "chance": 0.1, "recovers": accuracy > 0.1}
            )  # fmt: skip
    return pd.DataFrame(rows)


def make_history(methods: Sequence[str], *, epochs: int = 6, seeds: int = 3) -> pd.DataFrame:
    """Return the logs of training runs."""
    rows = [
        {"method": method, "seed": seed, "epoch": epoch, "cross_entropy": (2 + m / 5) / epoch,
         "penalty": (seed + 1) * 10.0 ** (m % 4 - 3) / epoch if METHODS[method].penalty else 0.0,
         "accuracy": 1 - (0.5 + m / 40) / epoch}
        for m, method in enumerate(methods)
        for seed in range(seeds)
        for epoch in range(1, epochs + 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)
