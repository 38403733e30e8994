"""Time of distance maps beside a loop over SciPy's exact transform, and over OpenCV's.

The limit is one pass over the masks that writes as many float32. OpenCV's transform is the exact
one (`DIST_MASK_PRECISE`). All maps are compared before they are timed.

    python benchmarks/distance.py [--rounds 9] [--out FOLDER]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from _timing import Bench, Goal, bench, rows_of, same
from scipy.ndimage import distance_transform_edt

from xblcore import distance

LIMIT, OURS, SCIPY, OPENCV = "one pass", "xblcore", "SciPy, a loop", "OpenCV, a loop"
SIZES = {14: 60_000, 224: 1_000}  # side of the masks: how many
AGAINST_SCIPY = 5


def masks(side: int, count: int) -> np.ndarray:
    """An ellipse in each of ``(N, side, side)``, of random place, size and shape."""
    random = np.random.default_rng(0)
    middle = random.uniform(0.2, 0.8, (2, count, 1, 1)) * side
    radius = random.uniform(0.1, 0.35, (2, count, 1, 1)) * side
    rows, columns = np.ogrid[:side, :side]
    found = ((rows - middle[0]) / radius[0]) ** 2 + ((columns - middle[1]) / radius[1]) ** 2 <= 1
    found[np.arange(count), middle[0].ravel().astype(int), middle[1].ravel().astype(int)] = True
    return found


def measure(run: Bench, side: int, count: int) -> pd.DataFrame:
    """One row a way."""
    mask = masks(side, count)

    def scipy() -> np.ndarray:
        found = np.empty(mask.shape, np.float32)
        for one, out in zip(mask, found, strict=True):
            out[:] = distance_transform_edt(~one)
        return found

    calls = {
        LIMIT: lambda: mask.astype(np.float32),
        OURS: lambda: distance.distance_map(mask, normalise=False),
        SCIPY: scipy,
    }
    if cv2 := run.peer("cv2", "opencv-python"):
        cv2.setNumThreads(run.threads)

        def opencv() -> np.ndarray:
            found = np.empty(mask.shape, np.float32)
            outside = (~mask).view(np.uint8)
            for one, out in zip(outside, found, strict=True):
                cv2.distanceTransform(one, cv2.DIST_L2, cv2.DIST_MASK_PRECISE, dst=out)
            return found

        calls[OPENCV] = opencv
    for name, call in calls.items():
        if name != LIMIT:
            same(calls[OURS](), call(), f"the distances of xblcore and {name}")
    rows = pd.DataFrame(rows_of(run.seconds(calls), side=side, masks=count))
    return rows.assign(us_per_mask=1000 * rows["ms"] / count)


def goals(table: pd.DataFrame) -> list[Goal]:
    """Ahead of SciPy's loop fivefold."""
    found = []
    for (side, count), rows in table.groupby(["side", "masks"], sort=False):
        ratio = rows.set_index("by")["ratio"]
        text = f"{count} masks of {side}x{side}, times as fast as SciPy's loop"
        found.append(Goal(text, ratio[SCIPY] / ratio[OURS], AGAINST_SCIPY, at_least=True))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both sizes."""
    with bench("distance", __doc__, arguments) as run:
        sizes = {14: 20, 80: 5} if run.tiny else SIZES
        tables = [measure(run, side, count) for side, count in sizes.items()]
        table = pd.concat(tables, ignore_index=True)
        run.report(table, goals(table))


if __name__ == "__main__":
    main()
