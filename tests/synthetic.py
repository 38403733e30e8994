"""Run tables with a known truth, in the form that a train stage leaves them, and a grid of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from xblcore import informativeness, project, results

EXPLAINERS = ("grad_cam", "hires_cam", "hires_cam_log_prob")
HELD_OUT = ("input_x_gradient", "integrated_gradients", "occlusion")  # on test_decoy only
COLUMNS = ["task", "data", "method", "weight", "chosen", "seed", "split", "explainer", "metric",
           "value", "nan_share"]  # fmt: skip


@dataclass(frozen=True)
class Truth:
    """What a method is like: all in [0, 1]."""

    clean: float  # accuracy without decoy
    flips: float  # share of predictions that the decoy decides
    focus: float  # distance focus
    overlap: float  # of the CAM with the decoy


TRUTHS = {
    "erm": Truth(0.42, 0.60, 0.70, 0.50),
    "oracle": Truth(0.85, 0.02, 0.95, 0.03),
    "xbl_d": Truth(0.84, 0.03, 0.98, 0.02),
    "xbl_overlap": Truth(0.60, 0.40, 0.80, 0.01),
    "xbl_d_grad_cam": Truth(0.55, 0.45, 0.85, 0.20),
    "xbl_d_released": Truth(0.42, 0.60, 0.70, 0.50),
    "rrr": Truth(0.83, 0.04, 0.93, 0.05),
    "rrr_g": Truth(0.58, 0.42, 0.78, 0.02),
}
WEIGHTS = {"erm": [0.0], "oracle": [0.0], "xbl_d_released": [0.1]}
SWEPT = [1.0, 3.0, 10.0]


def make_runs(
    truths: Mapping[str, Truth] = TRUTHS,
    *,
    tasks: Sequence[str] = ("decoy_fashion_mnist",),
    data: str | Mapping[str, str] = "original",
    seeds: int = 5,
    noise: float = 0.01,
    informative: bool = True,
    held_out: bool = False,
) -> pd.DataFrame:
    """Runs of every task x method, chosen weight first among equals, with noise over the seeds.

    Args:
        truths: of the chosen weight; other weights are a little worse.
        tasks: the grid's.
        data: kind of data, of all tasks or of each.
        seeds: of the chosen weight; two of them, or all if fewer, try the others.
        noise: standard deviation over seeds.
        informative: False: overlap metrics follow accuracy as closely as the distance metrics do.
        held_out: with the explainers that are measured on one split alone.
    """
    rng = np.random.default_rng(0)
    rows = []
    for task in tasks:
        for method, truth in truths.items():
            weights = WEIGHTS.get(method, SWEPT)
            chosen = weights[len(weights) // 2]
            for weight in weights:
                for seed in range(seeds if weight == chosen else min(2, seeds)):
                    worse = 0.0 if weight == chosen else rng.uniform(0.5, 1) * 0.3 * truth.clean
                    kind = data if isinstance(data, str) else data[task]
                    head = (task, kind, method, weight, weight == chosen, seed)
                    draw = rng.normal(0, noise)
                    numbers = _numbers(truth, worse, draw, rng, informative, held_out)
                    rows += [(*head, *key, value, 0.0) for key, value in numbers.items()]
    return pd.DataFrame(rows, columns=COLUMNS)


def _numbers(
    truth: Truth,
    worse: float,
    draw: float,
    rng: np.random.Generator,
    informative: bool,
    held_out: bool,
) -> dict[tuple[str, str, str], float]:
    clean = truth.clean - worse + draw
    focus = truth.focus - 0.3 * worse + 0.2 * draw
    noisy = rng.normal(0, 0.12) if informative else 0.0
    good = np.clip(focus + noisy, 0.01, 0.99)
    overlap = np.clip(truth.overlap + worse / 3, 0, 1)
    numbers = {}
    for split in ("val", "val_swapped", "test_decoy", "test_clean"):
        accuracy = {"val": 0.95, "test_clean": clean}.get(split, clean - 0.02)
        numbers[split, "none", "accuracy"] = float(np.clip(accuracy, 0, 1))
        if split in ("val", "test_decoy"):
            numbers[split, "none", "decoy_flip_rate"] = float(np.clip(truth.flips + worse, 0, 1))
        others = HELD_OUT if held_out and split == "test_decoy" else ()
        for i, explainer in enumerate((*EXPLAINERS, *others)):
            for metric, (kind, _) in informativeness.METRICS.items():
                if kind == "behaviour" or (split == "test_clean" and metric == "wrong_reason"):
                    continue
                value = good * (0.9 if metric == "iou" else 0.95) - 0.01 * i
                value = {
                    "distance_focus": focus - 0.01 * i,
                    "attribution_distance": 0.4 * (1 - focus) + 0.005 * i,
                    "wrong_reason": overlap,
                    "dead_cam": 0.0,
                }.get(metric, value)
                numbers[split, explainer, metric] = float(value)
    return numbers


def write_grid(root: Path, runs: pd.DataFrame, *, profile: str = "laptop") -> results.Manifests:
    """A project folder whose ``params.yaml`` has the grid of ``runs``, and these runs in it."""
    tasks, methods = list(dict.fromkeys(runs["task"])), list(dict.fromkeys(runs["method"]))
    params = {
        "profile": profile,
        "device": "cpu",
        "tasks": tasks,
        "methods": methods,
        "setup": {task: {} for task in tasks},
        "profiles": {profile: {}},
    }
    root.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    (root / "dvc.yaml").write_text("stages: {}\n")
    for (task, method), own in runs.groupby(["task", "method"], sort=False):
        folder = results.folder(str(task), str(method), root=root)
        folder.mkdir(parents=True, exist_ok=True)
        own.to_csv(folder / "runs.csv", index=False)
        keys = own[["weight", "seed"]].drop_duplicates().to_dict("records")
        manifest = {
            "config": {"profile": profile, "seeds": sorted({int(k["seed"]) for k in keys})},
            "method": method,
            "data": own["data"].iloc[0],
            "weight": float(own.loc[own["chosen"], "weight"].iloc[0]),
            "device": "cpu",
            "seconds": {f"{k['weight']:g}/{k['seed']}": 12.5 + k["seed"] for k in keys},
            "python": "3.11.9",
            "packages": {"torch": "2.13.0", "numpy": "2.4.6"},
            "platform": "Linux x86_64",
            "processor": "A processor",
            "cores": 2,
        }
        manifest["files"] = {"runs.csv": project.sha256_of(folder / "runs.csv")}
        (folder / "manifest.json").write_text(json.dumps(manifest))
    return results.load_manifests(root=root)
