"""A tiny real task: built, split and stored by the library from a few synthetic images."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import yaml

from xblcore import decoys
from xblcore.datasets import DataConfig, DecoyConfig, store
from xblcore.datasets.drawing import Pool, draw_splits

TASK = "decoy_fashion_mnist"
SIZE, GRID, CLASSES = 8, (4, 4), ("flat", "upright", "square")
PARAMS = {
    "profile": "toy",
    "device": "cpu",
    "tasks": [TASK],
    "methods": ["erm", "oracle", "xbl_d"],
    "setup": {
        TASK: {
            "data": "auto",
            "data_seed": 0,
            "decoy": {"size": 2},
            "model": "small_cnn",
            "weights": {"erm": [0], "oracle": [0], "xbl_d": [3, 1]},
            "profiles": {
                "toy": {
                    "n_train": 32,
                    "n_val": 12,
                    "n_test": 15,
                    "epochs": 2,
                    "ramp_epochs": 1,
                    "batch_size": 16,
                    "learning_rate": 0.001,
                }
            },
        }
    },
    "profiles": {
        "toy": {
            "seeds": [0, 1],
            "sweep_seeds": [0],
            "threads": 1,
            "explained_images": 8,
            "held_out_images": 4,
        }
    },
}


def build(root: Path) -> Path:
    """A project in ``root`` with params.yaml and the task's data."""
    write_params(root)
    (root / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    counts = DataConfig(n_train=32, n_val=12, n_test=15, seed=0, decoy=DecoyConfig(size=2))
    palette = decoys.grey_palette(len(CLASSES))
    drawn = draw_splits(pool(44, 0), pool(30, 100), palette=palette, config=counts)
    about = {"data": "original", "classes": list(CLASSES), "config": dataclasses.asdict(counts)}
    store.write(root / "data" / "decoy", TASK, drawn, about)
    return root


def write_params(root: Path, *, weights: dict | None = None, **profile: object) -> None:
    """params.yaml, differing in some candidate weights or in what a profile says of the task."""
    params = copy.deepcopy(PARAMS)
    params["setup"][TASK]["weights"] |= weights or {}
    params["setup"][TASK]["profiles"]["toy"] |= profile
    (root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


def pool(count: int, first: int) -> Pool:
    """Grey images of a line or a square in the middle."""
    rng = np.random.default_rng(first)
    labels = rng.integers(0, len(CLASSES), count)
    images = np.zeros((count, SIZE, SIZE, 1), np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = rng.integers(2, 4, 2)
        shape = [np.s_[row, 2:6], np.s_[2:6, column], np.s_[row : row + 2, column : column + 2]]
        image[shape[label]] = rng.integers(100, 255)
    return Pool(images, labels, images[..., 0] > 0, np.arange(first, first + count))
