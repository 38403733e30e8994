"""Time of one training step of every method, relative to plain cross-entropy.

Interleaved: each round times one block of steps of every method in turn, and a method's figure is
the median over the rounds of its ratio to ``erm`` in the same round, so that a machine that is
slower for a while does not tilt the table. Random images of the first task's shape.

    python benchmarks/training_step.py [--rounds 15] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from xblcore import models
from xblcore.manifest import environment
from xblcore.methods import METHODS, Annotations, Method
from xblcore.train import TrainConfig, TrainingSet, fit

BATCH, STEPS = 64, 8


def training_set(images: int) -> TrainingSet:
    """Random 28x28 images, a patch marked in a corner of each and an object in the middle."""
    generator = torch.Generator().manual_seed(0)
    decoy_pixels = torch.zeros(images, 28, 28, dtype=torch.bool)
    decoy_pixels[:, :4, :4] = True
    decoy_mask = decoy_pixels[:, ::2, ::2]
    object_mask = torch.zeros(images, 14, 14, dtype=torch.bool)
    object_mask[:, 4:10, 4:10] = True
    return TrainingSet(
        torch.rand(images, 1, 28, 28, generator=generator),
        torch.randint(0, 10, (images,), generator=generator),
        Annotations(object_mask, decoy_mask, (~object_mask).float() / 2, decoy_pixels),
    )


def seconds(method: Method, data: TrainingSet) -> float:
    """Wall time of one epoch of ``STEPS`` steps with a full weight."""
    model = models.build("small_cnn", channels=1, classes=10, size=28, seed=0)
    config = TrainConfig(
        weight=method.default_weight, ramp_epochs=0, epochs=1, batch_size=BATCH,
        learning_rate=0.001, seed=0,
    )  # fmt: skip
    started = time.perf_counter()
    fit(model, data, method, config)
    return time.perf_counter() - started


def main() -> None:
    """Print the table and, if asked, write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = training_set(BATCH * STEPS)
    for method in METHODS.values():  # warm up
        seconds(method, data)
    rounds = [
        {name: seconds(method, data) for name, method in METHODS.items()}
        for _ in range(arguments.rounds)
    ]
    table = {
        name: {
            "ratio_to_erm": statistics.median(r[name] / r["erm"] for r in rounds),
            "ms_per_step": statistics.median(r[name] for r in rounds) / STEPS * 1000,
        }
        for name in METHODS
    }
    print(f"{'method':18s} {'x erm':>7s} {'ms/step':>9s}   batch {BATCH}, median of {len(rounds)}")
    for name, row in table.items():
        print(f"{name:18s} {row['ratio_to_erm']:7.2f} {row['ms_per_step']:9.2f}")
    if arguments.json:
        report = {"threads": arguments.threads, "methods": table, **environment()}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
