"""How long the explorer takes to answer a change: median, 95th percentile and the slowest.

Every choice is changed in turn, at random, by committed gallery and live; the time is that of the
kernel, from the changed choice to the new page. What a browser adds is a few milliseconds. Live is
measured where networks were trained (`make reproduce`).

    python benchmarks/explorer.py [--changes 200]
"""

from __future__ import annotations

import argparse
import random
import time

import pandas as pd
from _options import whole

from xblcore.explorer import sources
from xblcore.explorer.app import Explorer

CHOICES = ("method", "other", "seed", "split", "kind", "score", "target", "layer", "show", "order",
           "image")  # fmt: skip


def changes(explorer: Explorer, count: int, chance: random.Random) -> list[dict[str, object]]:
    """Milliseconds of each of ``count`` changes; a choice that has no other option is passed by."""
    rows: list[dict[str, object]] = []
    while len(rows) < count:
        name = chance.choice(CHOICES)
        box = explorer.controls[name]
        others = [value for _, value in box.options if value != box.value]
        if not others:
            if name == "image":  # a filter left nothing
                explorer.controls["show"].value = "all"
            continue
        value = chance.choice(others)
        begun = time.perf_counter()
        box.value = value
        rows.append({"choice": name, "ms": 1000 * (time.perf_counter() - begun)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--changes", type=whole(), default=200, help="of each task and source")
    options = parser.parse_args()
    rows = []
    begun = time.perf_counter()
    explorer = Explorer()
    print(f"opened in {time.perf_counter() - begun:.2f} s")
    for _, task in explorer.controls["task"].options:
        explorer.controls["task"].value = task
        for origin in sources.origins(task):
            explorer.controls["origin"].value = origin
            where = {"task": task, "source": origin}
            rows += [where | row for row in changes(explorer, options.changes, random.Random(0))]
    table = pd.DataFrame(rows)
    for keys in (["task", "source"], ["source", "choice"]):
        spread = table.groupby(keys)["ms"].quantile([0.5, 0.95, 1.0]).unstack()
        spread.columns = ["median ms", "95th percentile", "slowest"]
        print(f"\n{spread.round(0).astype(int).to_string()}")


if __name__ == "__main__":
    main()
