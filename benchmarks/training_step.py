"""Cost of a training step of every method, relative to ERM, on each network of the study.

Each call is ``study.train.fit`` over four batches of 64 images that all carry both annotations. As
in the study, the explanation loss is evaluated in every fourth step; a few methods are also
measured with it in each step.

    python benchmarks/training_step.py [--rounds 9] [--out FOLDER] [--quick]
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

import pandas as pd
import torch
from _timing import Call, Options, compare, options, report

from xblcore.cam import receptive_field
from xblcore.examples import Examples
from xblcore.methods import METHODS
from xblcore.study.models import build
from xblcore.study.train import TrainConfig, fit

NETWORKS = {  # (channels, size, classes)
    "small_cnn": (1, 28, 10),
    "three_conv_cnn": (3, 32, 10),
    "four_conv_cnn": (3, 64, 2),
    "resnet8": (3, 32, 10),
}
UNSUPPORTED = {("resnet8", "cdep")}  # contextual decomposition has no rule for residual blocks
BASE = "erm"
BATCH, STEPS = 64, 4
EVERY = 4  # as in params.yaml
ALSO_EACH_STEP = ("xbl_d_plus", "xbl_d_plus_first", "rrr")
# So small that no weight changes in float32: every round does the same work.
LEARNING_RATE = 1e-12


def examples(channels: int, size: int, classes: int, count: int) -> Examples:
    """Random images with a decoy in the corner and an object in the centre."""
    generator = torch.Generator().manual_seed(0)
    shape = (count, channels, size, size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, classes, (count,), generator=generator)
    decoy, inside = torch.zeros(2, count, size, size, dtype=torch.bool)
    decoy[:, : size // 8, : size // 8] = True
    inside[:, size // 4 : -size // 4, size // 4 : -size // 4] = True
    return Examples(images, labels, inside, decoy)


def measure(network: str, options: Options) -> list[dict[str, object]]:
    """One row per method."""
    channels, size, classes = NETWORKS[network]
    batch, steps = (4, 1) if options.quick else (BATCH, STEPS)
    model = build(network, channels=channels, classes=classes, size=size, seed=0)
    field = receptive_field(model, model.cam_layer, (channels, size, size))
    data = examples(channels, size, classes, batch * steps)
    data = data.on_grid(field.grid, margin=field.margin)
    calls: dict[str, Call] = {}
    rows = [(name, name, EVERY) for name in METHODS if (network, name) not in UNSUPPORTED]
    rows += [(f"{name}, each step", name, 1) for name in ALSO_EACH_STEP]
    for row, name, every in rows:
        config = TrainConfig(
            weight=METHODS[name].default_weight, epochs=1, batch_size=batch,
            learning_rate=LEARNING_RATE, seed=0, every=every,
        )  # fmt: skip
        calls[row] = partial(fit, copy.deepcopy(model), data, METHODS[name], config)
    ratios = compare(calls, base=BASE, options=options)
    return [{"network": network, "method": name, **asdict(x)} for name, x in ratios.items()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every method on every network."""
    chosen = options(__doc__, arguments)
    table = pd.DataFrame([row for network in NETWORKS for row in measure(network, chosen)])
    report("training_step", table, chosen, packages=["numpy"], index=["method"], columns="network")


if __name__ == "__main__":
    main()
