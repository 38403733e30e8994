"""Time and memory of one training step of every method, relative to plain cross-entropy.

Interleaved: each round times one block of steps of every method in turn, each beside a block of
``erm``, and a method's figure is the median over the rounds of the ratio of the two, so that a
machine that is slower for a while does not tilt the table. With one thread it is CPU time, which
does not count what others run meanwhile. Memory is the highest sum of what PyTorch's allocator
holds during a step: images, weights, optimizer and graph. Random images of a task's shape.

    python benchmarks/training_step.py [--network small_cnn] [--method rbr] [--rounds 9] [--csv F]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import torch
from _inputs import Shape, training_set
from _kernel import run_again_as_a_kernel
from torch.profiler import ProfilerActivity, profile

from xblcore.methods import METHODS, Method
from xblcore.train import TrainConfig, TrainingSet, fit

BATCH, STEPS = 64, 8
SHAPES = {
    "small_cnn": Shape("small_cnn", 1, 10, 28),
    "three_conv_cnn": Shape("three_conv_cnn", 3, 10, 32),
    "four_conv_cnn": Shape("four_conv_cnn", 3, 2, 64),
}
COLUMNS = ["network", "method", "time_ratio", "ms_per_step", "memory_ratio", "mib"]


def seconds(method: Method, network: str, data: TrainingSet, clock: Callable[[], float]) -> float:
    """Time of one epoch with a full weight."""
    model = SHAPES[network].model()
    config = TrainConfig(
        weight=method.default_weight, ramp_epochs=0, epochs=1, batch_size=BATCH,
        learning_rate=0.001, seed=0,
    )  # fmt: skip
    started = clock()
    fit(model, data, method, config)
    return clock() - started


def peak_mib(method: Method, network: str, data: TrainingSet) -> float:
    """Highest sum of allocated tensors in one step, in MiB."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        seconds(method, network, data, time.perf_counter)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    held = [e["args"]["Total Allocated"] for e in events if e.get("name") == "[memory]"]
    return float(max(held)) / 2**20


def measure(
    network: str, names: Sequence[str], rounds: int, clock: Callable[[], float]
) -> pd.DataFrame:
    """One row a method."""
    shape = SHAPES[network]
    data, one = training_set(shape, BATCH * STEPS), training_set(shape, BATCH)
    erm = METHODS["erm"]
    mib = {name: peak_mib(METHODS[name], network, one) for name in ("erm", *names)}  # warms up too
    pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            beside = seconds(erm, network, data, clock)
            pairs[name].append((seconds(METHODS[name], network, data, clock), beside))
    rows = [
        (
            network,
            name,
            statistics.median(own / beside for own, beside in pairs[name]),
            statistics.median(own for own, _ in pairs[name]) / STEPS * 1000,
            mib[name] / mib["erm"],
            mib[name],
        )
        for name in names
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table and, if asked, write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=SHAPES, action="append", help="default: small_cnn")
    parser.add_argument("--method", choices=METHODS, action="append", help="default: every one")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    networks = options.network or ["small_cnn"]
    names = options.method or list(METHODS)
    table = pd.concat([measure(network, names, options.rounds, clock) for network in networks])
    print(table.to_string(index=False, float_format="{:.2f}".format))
    if options.csv:
        table.round(3).to_csv(options.csv, index=False)


if __name__ == "__main__":
    run_again_as_a_kernel()
    main()
