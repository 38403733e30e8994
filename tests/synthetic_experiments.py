"""Tidy rows of experiments with a known truth, in the form that ``experiments.run_all`` returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

DEFAULTS: dict[str, Any] = {
    "task": "decoy_fashion_mnist", "method": "erm", "weight": 0.0, "seed": 0, "annotated": None,
    "feedback": "correct", "switch_on": 0, "layer": None, "cam": None, "score": None,
    "decoy_size": None, "predictive": 1.0, "decoys": 1, "marked": "all",
}  # fmt: skip
COLUMNS = [*DEFAULTS, "data", "split", "explainer", "metric", "value", "nan_share"]
EXPLAINERS = ("grad_cam", "hires_cam", "hires_cam_log_prob", "input_x_gradient",
              "integrated_gradients", "occlusion")  # fmt: skip


@dataclass(frozen=True)
class Truth:
    """What a method is like: clean accuracy, flips, and the share each explainer says is cured."""

    clean: float
    flips: float
    said: float


TRUTHS = {
    "erm": Truth(0.41, 0.60, 0.0),
    "oracle": Truth(0.82, 0.06, 0.45),
    "cdep": Truth(0.70, 0.20, 0.4),
    "ce_augment": Truth(0.79, 0.03, 0.5),
    "energy": Truth(0.74, 0.15, 0.9),
    "hint": Truth(0.44, 0.58, 0.7),
    "l1": Truth(0.55, 0.40, 0.6),
    "ppce": Truth(0.50, 0.45, 0.5),
    "rbr": Truth(0.78, 0.02, 0.35),
    "rrr": Truth(0.80, 0.01, 0.6),
    "rrr_g": Truth(0.52, 0.42, 0.2),
    "xbl_d": Truth(0.81, 0.02, 0.98),
    "xbl_d_gated": Truth(0.80, 0.03, 0.9),
    "xbl_d_grad_cam": Truth(0.47, 0.52, 0.99),
    "xbl_d_released": Truth(0.41, 0.60, 0.0),
    "xbl_overlap": Truth(0.72, 0.18, -0.05),
}
BOUNDS = ("erm", "oracle")
DISTANCE = 0.05  # ERM's attribution distance


def run(
    truth: Truth, rng: np.random.Generator | None = None, *, data: str = "original", **spec: Any
):
    """Rows of one run; ``spec`` is what differs from the defaults."""
    noise = rng.normal(0, 0.015, 12) if rng is not None else np.zeros(12)
    head = {**DEFAULTS, **spec, "data": data}
    clean, flips = np.clip([truth.clean + noise[0], truth.flips + noise[1]], 0, 1)
    values = [
        ("val", "none", "accuracy", 0.95),
        ("val_swapped", "none", "accuracy", clean + noise[2] / 3),
        ("test_decoy", "none", "accuracy", clean),
        ("test_clean", "none", "accuracy", clean),
        ("val", "none", "decoy_flip_rate", flips),
        ("test_decoy", "none", "decoy_flip_rate", flips),
    ]
    if head["decoys"] == 2:
        second = 0.6 - flips if head["marked"] == "first" else flips
        values.append(
            ("test_decoy", "none", "second_decoy_flip_rate", float(np.clip(second, 0, 1)))
        )
    for n, explainer in enumerate(EXPLAINERS):
        distance = DISTANCE * (1 - truth.said * (1 - 0.12 * n)) + noise[3 + n] / 20
        values.append(("test_decoy", explainer, "attribution_distance", distance))
        values.append(("test_decoy", explainer, "distance_focus", 1 - 4 * distance))
    return [
        {**head, "split": split, "explainer": explainer, "metric": metric, "value": float(value),
         "nan_share": 0.0}
        for split, explainer, metric, value in values
    ]  # fmt: skip


def table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows as ``run_all`` returns them."""
    return pd.DataFrame(rows, columns=COLUMNS)


def toward_erm(truth: Truth, share: float) -> Truth:
    """A method with ``share`` of its effect left; below 0 it does harm."""
    erm = TRUTHS["erm"]
    return Truth(
        erm.clean + share * (truth.clean - erm.clean),
        erm.flips + share * (truth.flips - erm.flips),
        share * truth.said,
    )


def study(
    conditions: list[tuple[dict[str, Any], float]],
    *,
    truths: Mapping[str, Truth] = TRUTHS,
    bounds: list[dict[str, Any]] | None = None,
    seeds: int = 5,
    data: str = "original",
) -> pd.DataFrame:
    """Every method under every condition, ERM and the oracle under those that concern them.

    Args:
        conditions: what differs in the Spec, and the share of the effect that is left there.
        truths: of the methods.
        bounds: conditions of ERM and the oracle; None: the plain one.
        seeds: how many.
        data: kind.
    """
    rng = np.random.default_rng(0)
    rows = []
    for method, truth in truths.items():
        own = [(c, 1.0) for c in bounds or [{}]] if method in BOUNDS else conditions
        for spec, share in own:
            told = {"weight": 0.0 if method in BOUNDS else 3.0, **spec}
            for seed in range(seeds):
                left = truth if method in BOUNDS else toward_erm(truth, share)
                rows += run(left, rng, data=data, method=method, seed=seed, **told)
    return table(rows)


def interaction(**options: Any) -> pd.DataFrame:
    shares = {25: 0.1, 100: 0.4, 400: 0.8, None: 1.0}
    return study([({"annotated": n}, share) for n, share in shares.items()], **options)


def feedback(**options: Any) -> pd.DataFrame:
    shares = {"correct": 1, "incomplete": 0.8, "random": 0.05, "adversarial": -0.3, "dilated": 0.95,
              "jittered": 0.85, "boxes": 0.9}  # fmt: skip
    runs = study([({"feedback": kind}, share) for kind, share in shares.items()], **options)
    decoy_only = ["cdep", "ce_augment", "rbr", "rrr", "rrr_g", "xbl_overlap"]
    return runs[~((runs["feedback"] == "boxes") & runs["method"].isin(decoy_only))]


def switch_on(**options: Any) -> pd.DataFrame:
    when = [{"switch_on": epochs} for epochs in (0, 3, 6)]
    return study(list(zip(when, (1.0, 0.9, 0.7), strict=True)), bounds=when, **options)


def decoys(**options: Any) -> pd.DataFrame:
    """The decoy's other sizes, less predictive ones, and two, of which both or one are marked."""
    other = [{"decoy_size": size} for size in (2, 4, 8)]
    other += [{"predictive": share} for share in (0.6, 0.8)]
    two = {"decoys": 2}
    effects = [0.9, 1.0, 0.8, 0.9, 0.95]
    conditions = list(zip(other, effects, strict=True))
    conditions += [(two, 0.9), (two | {"marked": "first"}, 0.9)]
    return study(conditions, bounds=[*other, two], **options)


def sweep(**options: Any) -> pd.DataFrame:
    shares = {1.0: 0.3, 3.0: 0.7, 10.0: 1.0, 30.0: 0.97, 100.0: 0.6}
    return study([({"weight": weight}, share) for weight, share in shares.items()], **options)


CAM_LOSSES = ("xbl_d", "energy", "hint", "l1", "ppce", "rrr_g", "xbl_overlap", "xbl_d_gated")


def layers(methods: tuple[str, ...] = CAM_LOSSES, **options: Any) -> pd.DataFrame:
    """XBL-D at three layers and other CAM losses at one, by CAM and score, three weights each."""
    places = {"xbl_d": ["features.2", "features", "head.0"]}
    cams = {"grad_cam": 0.4, "hires_cam": 1.0}
    scores = {"logit": 0.6, "log_prob": 0.8, "projection": 1.0}
    weights = {1.0: 0.6, 3.0: 1.0, 10.0: 0.9}
    tables = [study([], truths={name: TRUTHS[name] for name in BOUNDS}, **options)]
    for method in methods:
        conditions = [
            ({"layer": layer, "cam": cam, "score": score, "weight": weight}, a * b * c)
            for layer in places.get(method, ["features"])
            for cam, a in cams.items()
            for score, b in scores.items()
            for weight, c in weights.items()
        ]
        tables.append(study(conditions, truths={method: TRUTHS[method]}, **options))
    return pd.concat(tables, ignore_index=True)


def cost() -> pd.DataFrame:
    """Of a training step, as ``benchmarks/training_step.csv`` has it."""
    ratios = {name: 1.0 + n / 4 for n, name in enumerate(TRUTHS)}
    return pd.DataFrame(
        [("small_cnn", name, r, 16 * r, 1 + r / 10, 11 + r) for name, r in ratios.items()],
        columns=["network", "method", "time_ratio", "ms_per_step", "memory_ratio", "mib"],
    )
