"""Time and memory of one training step of every method, relative to plain cross-entropy.

Each method is timed beside ``erm`` alone, an epoch of few steps in turn, so that the two of a ratio
lie next to each other. Memory is the highest sum of what PyTorch's allocator holds during a step:
images, weights, optimizer and graph. Random images of a task's shape.

    python benchmarks/training_step.py [--network small_cnn] [--method rbr] [--rounds 9] [--out F]
    python benchmarks/training_step.py --operations --method xbl_d     # where the difference goes
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pandas as pd
from _costs import BATCH, epoch
from _inputs import Shape, training_set
from _kernel import run_again_as_a_kernel
from _memory import peak_mib
from _timing import Bench, Goal, bench, rows_of
from torch.profiler import ProfilerActivity, profile

from xblcore.methods import METHODS

STEPS, FLOOR = 8, "erm"
SHAPES = {
    "small_cnn": Shape("small_cnn", 1, 10, 28),
    "three_conv_cnn": Shape("three_conv_cnn", 3, 10, 32),
    "four_conv_cnn": Shape("four_conv_cnn", 3, 2, 64),
}
OURS, AT_MOST = "xbl_d", 1.1
CAM_AT_MOST = 1.3  # of every loss of a CAM
OPTIONS = {
    "--network": {"choices": SHAPES, "action": "append", "help": "default: small_cnn"},
    "--method": {"choices": METHODS, "action": "append", "help": "default: every one"},
    "--operations": {"action": "store_true", "help": "no table: what a step spends beyond erm's"},
}
SHOWN = 12  # operations


def measure(run: Bench, network: str, names: Sequence[str]) -> pd.DataFrame:
    """One row a method."""
    shape = SHAPES[network]
    steps = 1 if run.tiny else STEPS
    data, one = training_set(shape, BATCH * steps), training_set(shape, BATCH)
    floor = peak_mib(epoch(shape, one, FLOOR))
    rows = []
    for name in names:
        mib = peak_mib(epoch(shape, one, name))
        pair = {"beside": epoch(shape, data, FLOOR), name: epoch(shape, data, name)}
        _, own = rows_of(run.seconds(pair))
        rows.append({
            "network": network, "method": name, "time_ratio": own["ratio"], "low": own["low"],
            "high": own["high"], "ms_per_step": float(own["ms"]) / steps,
            "memory_ratio": mib / floor, "mib": mib,
        })  # fmt: skip
    return pd.DataFrame(rows)


def operations(network: str, name: str) -> pd.DataFrame:
    """Milliseconds of a step by operation of PyTorch, ERM's beside the method's, by difference."""
    shape = SHAPES[network]
    data = training_set(shape, BATCH * STEPS)
    spent = {}
    for one in (FLOOR, name):
        call = epoch(shape, data, one)
        call()  # the first is slower, where it fills caches
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            call()
        found = profiler.key_averages()
        spent[one] = pd.Series({e.key: e.self_cpu_time_total / 1000 / STEPS for e in found})
    table = pd.DataFrame(spent).fillna(0)
    table.loc["all"] = table.sum()
    table["more"] = table[name] - table[FLOOR]
    return table.sort_values("more", ascending=False).head(SHOWN + 1).reset_index(names=network)


def goals(table: pd.DataFrame) -> list[Goal]:
    """XBL-D next to nothing, and no loss of a CAM much more."""
    found = []
    for network, rows in table.groupby("network", sort=False):
        ratio = rows.set_index("method")["time_ratio"]
        if OURS in ratio:
            found.append(Goal(f"{network}, {OURS} beside {FLOOR}", ratio[OURS], AT_MOST))
        on_a_cam = [name for name in ratio.index if "cam" in METHODS[name].needs]
        if on_a_cam:
            found.append(Goal(f"{network}, the dearest loss of a CAM ({ratio[on_a_cam].idxmax()})",
                              ratio[on_a_cam].max(), CAM_AT_MOST))  # fmt: skip
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table and the goals, and write them."""
    with bench("training_step", __doc__, arguments, own=OPTIONS, only_prints="operations") as run:
        names = list(dict.fromkeys(run.options.method or METHODS))  # each once
        networks = list(dict.fromkeys(run.options.network or ["small_cnn"]))
        if run.options.operations:
            for network, name in itertools.product(networks, names):
                print(
                    operations(network, name).to_string(index=False, float_format="{:.2f}".format)
                )
            return
        tables = [measure(run, network, names) for network in networks]
        table = pd.concat(tables, ignore_index=True)
        run.report(table.round(3), goals(table))


if __name__ == "__main__":
    run_again_as_a_kernel()
    main()
