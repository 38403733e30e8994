"""Memory of explaining a whole data set, against the number of its images.

Each figure is the peak of a fresh process. What the process holds before, the images and the
network included, and the maps that it returns are taken off; what is left is the working memory,
which must not grow with the data set. The limit is the logits alone, without gradient, in the same
batches; the contrast is one call for all images at once.

    python benchmarks/memory.py [--rounds 3] [--out FOLDER]
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import psutil
import torch
from _timing import Bench, Goal, bench

from xblcore import cam, evaluate, explainers, models

LIMIT, OURS, AT_ONCE = "forward without gradient", "xblcore", "xblcore, one call for all"
SIZES = (1000, 4000, 16000)
LAYER = "features"
ROUNDS = 3  # fresh processes each; they differ by little, see spread_mib
GROWTH = 1.1  # working memory at the most images, beside that at the fewest
MIB = 2**20
CHILD = "--child"


def peak_bytes() -> int:
    """Highest resident memory of this process."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux, where ru_maxrss is at least that of the process that started it
        (line,) = (x for x in status.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def child(way: str, images: int, threads: int) -> None:
    """Explain so many random images and print what it took, in MiB."""
    torch.set_num_threads(threads)
    model = models.build("small_cnn", channels=1, classes=10, size=28, seed=0)
    everything = torch.rand(images, 1, 28, 28)
    explainer = explainers.get("grad_cam")
    before = psutil.Process().memory_info().rss
    if way == LIMIT:
        found = evaluate.predict(model, everything)
    elif way == OURS:
        found = evaluate.attributions(model, everything, explainer, layer=LAYER)
    else:
        found = cam.explain(model, everything, layer=LAYER)
    peak, returned = peak_bytes(), found.nbytes
    working = peak - before - returned
    sizes = {"images": everything.nbytes, "returned": returned, "peak": peak, "working": working}
    print(json.dumps({f"{name}_mib": size / MIB for name, size in sizes.items()}))


def measured(run: Bench, way: str, images: int) -> dict[str, object]:
    """Medians over fresh processes."""
    command = [sys.executable, __file__, CHILD, way, str(images), str(run.threads)]
    found = [
        json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        for _ in range(run.rounds)
    ]
    medians = {name: statistics.median(one[name] for one in found) for name in found[0]}
    working = [one["working_mib"] for one in found]
    return {"by": way, "images": images, **medians, "spread_mib": max(working) - min(working)}


def goals(table: pd.DataFrame) -> list[Goal]:
    """Working memory does not grow with the data set."""
    working = table[table["by"] == OURS].set_index("images")["working_mib"]
    few, many = working.index.min(), working.index.max()
    text = f"working memory for {many} images beside that for {few}"
    return [Goal(text, working[many] / working[few], GROWTH)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each number of images in each way."""
    with bench("memory", __doc__, arguments, rounds=ROUNDS) as run:
        sizes = (2,) if run.tiny else SIZES
        ways = (LIMIT, OURS, AT_ONCE)
        table = pd.DataFrame([measured(run, way, size) for way in ways for size in sizes])
        run.report(table, goals(table))


if __name__ == "__main__":
    if sys.argv[1:2] == [CHILD]:
        child(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        main()
