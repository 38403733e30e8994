"""Time of every metric beside Quantus, and beside the same formula in plain NumPy.

Quantus has three of them; it goes image by image, and looks at every value of all maps in Python
first, which takes gigabytes and half a minute for a thousand large maps. Of those it gets a tenth,
and its time is taken tenfold (`maps` says how many it got). The NumPy formulas work on all maps at
once, check nothing, and know neither ties nor undefined cases, which the maps here do not have. The
limit of a metric of maps is one pass over them, their sum. Values are compared before the times.

    python benchmarks/metrics.py [--rounds 9] [--out FOLDER]
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from _timing import Bench, Goal, bench, rows_of, same

from xblcore import distance
from xblcore.metrics import METRICS

Arrays = Mapping[str, np.ndarray]

LIMIT, OURS, NUMPY, QUANTUS = "one pass over the maps", "xblcore", "NumPy", "quantus"
SIZES = {14: (10_000, 10_000), 224: (1_000, 100)}  # side of the maps: how many, and for Quantus
CLASSES = 10
AGAINST_QUANTUS = 20
IN_QUANTUS = {
    "energy_pointing_game": "RelevanceMassAccuracy",
    "pointing_game": "PointingGame",
    "relevance_rank_accuracy": "RelevanceRankAccuracy",
}


def inputs(side: int, count: int) -> dict[str, np.ndarray]:
    """Random maps without ties, an object in each, a decoy in a corner, logits of two passes."""
    random = np.random.default_rng(0)
    object_mask = np.zeros((count, side, side), bool)
    corners = random.integers(0, side // 2, (count, 2))
    for mask, (top, left) in zip(object_mask, corners, strict=True):
        mask[top : top + side // 3, left : left + side // 3] = True
    decoy_mask = np.zeros_like(object_mask)
    decoy_mask[:, : side // 7, : side // 7] = True
    return {
        "cam": random.random((count, side, side), np.float32),
        "object_mask": object_mask,
        "decoy_mask": decoy_mask,
        "distance": distance.distance_map(object_mask),
        "logits": random.random((count, CLASSES), np.float32),
        "swapped_logits": random.random((count, CLASSES), np.float32),
        "labels": random.integers(0, CLASSES, count),
    }


def _active(cam: np.ndarray) -> np.ndarray:
    return cam > 0.5 * cam.max((1, 2), keepdims=True)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return part.sum((1, 2)) / whole.sum((1, 2))


def _ranked(cam: np.ndarray, mask: np.ndarray) -> np.ndarray:
    flat, region = cam.reshape(len(cam), -1), mask.reshape(len(mask), -1)
    size = region.sum(1, keepdims=True)
    last = np.take_along_axis(np.sort(flat, 1), flat.shape[1] - size, 1)
    return ((flat >= last) & region).sum(1) / size[:, 0]


def _pointing(cam: np.ndarray, mask: np.ndarray) -> np.ndarray:
    peak = cam.reshape(len(cam), -1).argmax(1)
    return mask.reshape(len(mask), -1)[np.arange(len(cam)), peak]


def _far(cam: np.ndarray, far: np.ndarray) -> np.ndarray:
    return _share(cam * far, cam)


PLAIN: dict[str, Callable[..., np.ndarray]] = {
    "activation_precision": lambda cam, mask: _share(_active(cam) & mask, _active(cam)),
    "activation_recall": lambda cam, mask: _share(_active(cam) & mask, mask),
    "iou": lambda cam, mask: _share(_active(cam) & mask, _active(cam) | mask),
    "wrong_reason": lambda cam, mask: _share(_active(cam) & mask, mask),
    "energy_pointing_game": lambda cam, mask: _share(cam * mask, cam),
    "pointing_game": _pointing,
    "relevance_rank_accuracy": _ranked,
    "attribution_distance": _far,
    "distance_focus": lambda cam, far: 1 - _far(cam, far) / far.max((1, 2)),
    "dead_cam": lambda cam: cam.max((1, 2)) <= 0,
    "accuracy": lambda logits, labels: logits.argmax(1) == labels,
    "decoy_flip_rate": lambda logits, swapped: logits.argmax(1) != swapped.argmax(1),
}


def quantus_call(run: Bench, name: str, data: Arrays) -> Callable[[], list[float]] | None:
    """Quantus's metric of the same name on the same maps, where it has one and is installed."""
    if name not in IN_QUANTUS or (quantus := run.peer("quantus", "quantus")) is None:
        return None
    metric = getattr(quantus, IN_QUANTUS[name])(
        normalise=False, disable_warnings=True, display_progressbar=False
    )
    cam, mask = data["cam"][:, None], data["object_mask"][:, None]
    return functools.partial(
        metric, model=None, x_batch=np.zeros_like(cam), y_batch=np.zeros(len(cam), int),
        a_batch=cam, s_batch=mask,
    )  # fmt: skip


def measure(run: Bench, side: int, count: int, few: int) -> pd.DataFrame:
    """One row a metric and way; Quantus gets the first ``few`` maps."""
    data = inputs(side, count)
    first_few = {name: array[:few] for name, array in data.items()}
    rows: list[dict[str, object]] = []
    for name, metric in METRICS.items():
        arrays = [data[need] for need in metric.needs]
        ours = functools.partial(metric.function, *map(torch.from_numpy, arrays))
        plain = functools.partial(PLAIN[name], *arrays)
        first = torch.from_numpy(arrays[0])
        calls = {LIMIT: first.sum, OURS: ours, NUMPY: plain}
        same(ours(), plain(), f"{name} of xblcore and NumPy")
        if theirs := quantus_call(run, name, first_few):
            same(ours()[:few], theirs(), f"{name} of xblcore and Quantus")
            calls[QUANTUS] = theirs
        rows += rows_of(run.seconds(calls), side=side, maps=count, metric=name)
    table = pd.DataFrame(rows)
    by_quantus = table["by"] == QUANTUS
    table.loc[by_quantus, "maps"] = few
    table.loc[by_quantus, ["ms", "ratio", "low", "high"]] *= count / few
    return table


def goals(table: pd.DataFrame) -> list[Goal]:
    """Ahead of Quantus twentyfold, in every metric that it has."""
    found = []
    for side, rows in table.groupby("side", sort=False):
        count = rows["maps"].max()
        ratio = rows.pivot(index="metric", columns="by", values="ratio")
        for name in IN_QUANTUS:
            theirs = ratio[QUANTUS][name] if QUANTUS in ratio else math.nan
            text = f"{name} of {count} maps of {side}x{side}, times as fast as Quantus"
            found.append(Goal(text, theirs / ratio[OURS][name], AGAINST_QUANTUS, at_least=True))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all metrics at both sizes."""
    with bench("metrics", __doc__, arguments) as run:
        sizes = {14: (20, 20), 21: (10, 5)} if run.tiny else SIZES
        tables = [measure(run, side, *counts) for side, counts in sizes.items()]
        table = pd.concat(tables, ignore_index=True)
        run.report(table, goals(table))


if __name__ == "__main__":
    main()
