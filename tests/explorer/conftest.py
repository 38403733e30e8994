"""A tiny project with data, untrained networks of two seeds, their gallery, and a table of runs."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
import toy_task

from xblcore import models
from xblcore.explorer import gallery, making

METHODS = toy_task.PARAMS["methods"]
SEEDS = (0, 1)


def write_networks(root: Path) -> None:
    for number, method in enumerate(METHODS):
        folder = root / "build" / "runs" / toy_task.TASK / method
        folder.mkdir(parents=True)
        states = {}
        for seed in SEEDS:
            network = models.build(
                "small_cnn",
                channels=1,
                classes=len(toy_task.CLASSES),
                size=toy_task.SIZE,
                seed=10 * number + seed,
            )
            states[str(seed)] = network.state_dict()
        torch.save(states, folder / "weights.pt")
        (folder / "manifest.json").write_text(json.dumps({"weight": float(number)}), "utf-8")


def write_runs(root: Path) -> None:
    """Clean accuracy 0.5 + 0.1 method + 0.01 seed, distance focus half of it; a weight 9 too."""
    rows = []
    for number, method in enumerate(METHODS):
        for weight, seed in [(number, 0), (number, 1), *([(9, 0)] if method == "xbl_d" else [])]:
            accuracy = 0.5 + 0.1 * number + 0.01 * seed + (0.1 if weight == 9 else 0)
            key = (toy_task.TASK, "stand-in", method, weight, weight != 9, seed)
            rows += [
                (*key, "test_clean", "none", "accuracy", accuracy, 0),
                (*key, "test_decoy", "none", "accuracy", accuracy / 4, 0),
                (*key, "test_decoy", "none", "decoy_flip_rate", 1 - accuracy, 0),
                (*key, "test_decoy", "hires_cam", "distance_focus", accuracy / 2, 0),
                (*key, "test_decoy", "grad_cam", "wrong_reason",
                 "" if method == "erm" else 1 - accuracy / 2, 1),
            ]  # fmt: skip
    columns = ["task", "data", "method", "weight", "chosen", "seed", "split", "explainer", "metric",
               "value", "nan_share"]  # fmt: skip
    folder = root / "results" / toy_task.TASK
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=columns).to_csv(folder / "runs.csv", index=False)


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """The project with everything; not to be changed."""
    root = toy_task.build(tmp_path_factory.mktemp("explorer"))
    write_networks(root)
    write_runs(root)
    gallery.save(making.make(toy_task.TASK, root=root), gallery.path_of(toy_task.TASK, root=root))
    return root


@pytest.fixture
def bare(tmp_path) -> Path:
    """A project of which nothing was built, trained or measured."""
    toy_task.write_params(tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    return tmp_path
