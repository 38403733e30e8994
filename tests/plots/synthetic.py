"""Tidy runs with realistic numbers, in the form of xblcore.study.runs.table, without training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from xblcore.methods import METHODS
from xblcore.metrics import METRICS

# Accuracy on clean images and decoy flip rate of some methods; the others lie in between.
TRUTH = {
    "erm": (0.12, 0.98), "oracle": (0.5, 0.03), "xbl_d": (0.22, 0.9), "xbl_d_plus": (0.5, 0.02),
    "xbl_d_released": (0.11, 0.97), "rrr": (0.47, 0.2), "rrr_g": (0.15, 0.91),
}  # fmt: skip
EXPLAINERS = ("grad_cam", "hires_cam", "hires_cam_log_prob", "input_x_gradient",
              "integrated_gradients", "occlusion")  # fmt: skip
CONDITION: dict[str, Any] = {
    "annotated": None, "feedback": "correct", "switch_on": 0, "network": None, "layer": None,
    "cam_method": None, "score": None, "decoy": None, "marked": "all", "margin": None, "wrong": 0.3,
}  # fmt: skip


def make_runs(
    methods: Sequence[str] = tuple(METHODS),
    *,
    tasks: Sequence[tuple[str, str]] = (("decoy_cifar10", "original"),),
    seeds: int = 5,
    conditions: Sequence[dict[str, Any]] = ({},),
    explainers: Sequence[str] = (),
) -> pd.DataFrame:
    """Return runs of every task (with its kind of data), method, condition and seed."""
    rng = np.random.default_rng(0)
    rows = []
    for task, data in tasks:
        for method in methods:
            clean, flips = TRUTH.get(method, rng.uniform((0.15, 0.1), (0.45, 0.9)))
            for changed in conditions if method not in ("erm", "oracle") else ({},):
                worse = 0.25 * (clean - 0.12) * rng.uniform() if changed else 0.0
                for seed in range(seeds):
                    about = {"task": task, "data": data, "method": method, "weight": 3.0,
                             "seed": seed, "condition": str(changed), **CONDITION, **changed,
                             "seconds": 9.0, "nan_share": 0.0}  # fmt: skip
                    draw = rng.normal(0, 0.03)
                    numbers = _numbers(clean - worse + draw, flips + worse - draw, explainers, rng)
                    rows += [{**about, "split": split, "explainer": explainer, "metric": metric,
                              "value": value, "worst": value}
                             for (split, explainer, metric), value in numbers.items()]  # fmt: skip
    return pd.DataFrame(rows)


def _numbers(
    clean: float, flips: float, explainers: Sequence[str], rng: np.random.Generator
) -> dict[tuple[str, str, str], float]:
    numbers = {
        ("val", "none", "accuracy"): 0.98,
        ("test_clean", "none", "accuracy"): clean,
        ("test_decoy", "none", "accuracy"): clean - 0.01,
        ("test_decoy", "none", "decoy_flip_rate"): flips,
    }
    for explainer in explainers:
        for name, metric in METRICS.items():
            if metric.kind in ("overlap", "distance"):
                good = 1 - 0.5 * flips + rng.normal(0, 0.08)
                value = good if metric.higher_is_better else 1 - good
                numbers["test_decoy", explainer, name] = value
    return {key: float(np.clip(value, 0, 1)) for key, value in numbers.items()}


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
