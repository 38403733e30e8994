"""Memory of explaining a whole data set, against the number of its images.

Each figure is the most that PyTorch's allocator holds at a time, without the images and without
the network. What is returned is taken off; what is left is the working memory, which must not grow
with the data set. The limit is the logits alone, without gradient, in the same batches; the
contrast is one call for all images at once.

    python benchmarks/memory.py [--out FOLDER]
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from _memory import MIB, peak_mib
from _timing import Bench, Goal, bench

from xblcore import cam, evaluate, explainers, models

LIMIT, OURS, AT_ONCE = "forward without gradient", "xblcore", "xblcore, one call for all"
SIZES = (1000, 4000, 16000)
LAYER = "features"
GROWTH = 1.1  # working memory at the most images, beside that at the fewest


def measure(run: Bench) -> pd.DataFrame:
    """One row a way and number of images."""
    model = models.build("small_cnn", channels=1, classes=10, size=28, seed=0)
    explainer = explainers.get("grad_cam")
    ways = {
        LIMIT: lambda images: evaluate.predict(model, images),
        OURS: lambda images: evaluate.attributions(model, images, explainer, layer=LAYER),
        AT_ONCE: lambda images: cam.explain(model, images, layer=LAYER),
    }
    rows = []
    for way, call in ways.items():
        for count in (2, 4) if run.tiny else SIZES:
            images = torch.rand(count, 1, 28, 28)
            returned = call(images).nbytes / MIB  # the first call allocates more, once
            peak = peak_mib(lambda call=call, images=images: call(images))
            rows.append({"by": way, "images": count, "images_mib": images.nbytes / MIB,
                         "returned_mib": returned, "peak_mib": peak,
                         "working_mib": peak - returned})  # fmt: skip
    return pd.DataFrame(rows)


def goals(table: pd.DataFrame) -> list[Goal]:
    """Working memory does not grow with the data set."""
    working = table[table["by"] == OURS].set_index("images")["working_mib"]
    few, many = working.index.min(), working.index.max()
    text = f"working memory for {many} images beside that for {few}"
    return [Goal(text, working[many] / working[few], GROWTH)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each number of images in each way."""
    with bench("memory", __doc__, arguments, rounds=1) as run:
        run.begun = True
        table = measure(run)
        run.report(table, goals(table))


if __name__ == "__main__":
    main()
