"""Time of the metrics that Quantus has too, compared with Quantus.

The values are compared before they are timed, on random maps without ties or undefined cases.

    python benchmarks/metrics.py [--rounds 9] [--out FOLDER] [--quick]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

import numpy as np
import pandas as pd
import torch
from _timing import Options, compare, options, peer, report

from xblcore.metrics import METRICS

OURS, THEIRS = "xblcore", "quantus"
SIZES = {14: 1000, 224: 50}  # side of the maps: their number
IN_QUANTUS = {
    "energy_pointing_game": "RelevanceMassAccuracy",
    "pointing_game": "PointingGame",
    "relevance_rank_accuracy": "RelevanceRankAccuracy",
}


def measure(side: int, count: int, options: Options) -> list[dict[str, object]]:
    """One row per metric and library; none without Quantus."""
    quantus = peer("quantus", "quantus")
    if quantus is None:
        return []
    generator = np.random.default_rng(0)
    cam = generator.random((count, side, side), np.float32)
    mask = np.zeros((count, side, side), bool)
    for one, (top, left) in zip(mask, generator.integers(0, side // 2, (count, 2)), strict=True):
        one[top : top + side // 3, left : left + side // 3] = True
    rows: list[dict[str, object]] = []
    for metric, theirs in IN_QUANTUS.items():
        by_quantus = getattr(quantus, theirs)(
            normalise=False, disable_warnings=True, display_progressbar=False
        )
        calls = {
            OURS: partial(METRICS[metric].function, torch.from_numpy(cam), torch.from_numpy(mask)),
            THEIRS: partial(
                by_quantus, model=None, x_batch=np.zeros_like(cam[:, None]),
                y_batch=np.zeros(count, int), a_batch=cam[:, None], s_batch=mask[:, None],
            ),
        }  # fmt: skip
        values = np.asarray(calls[THEIRS](), np.float64)
        np.testing.assert_allclose(calls[OURS]().double(), values, atol=1e-5, err_msg=metric)
        for library, ratio in compare(calls, base=OURS, options=options).items():
            row = {"metric": metric, "side": side, "maps": count, "library": library}
            rows.append(row | asdict(ratio))
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the metrics on small and large maps."""
    chosen = options(__doc__, arguments)
    sizes = {14: 5} if chosen.quick else SIZES
    rows = [row for side, count in sizes.items() for row in measure(side, count, chosen)]
    if rows:
        report(
            "metrics", pd.DataFrame(rows), chosen, packages=["numpy", "quantus"],
            index=["metric"], columns="library",
        )  # fmt: skip


if __name__ == "__main__":
    main()
