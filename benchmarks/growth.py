"""How cost grows with images, resolution, classes and marked share; what a profile will take.

One thing is varied at a time. Of each point there are the time of an epoch of every method, of
explaining as many images by Grad-CAM with its metrics, and of making their distance maps, each with
its ratio to an epoch of ``erm`` in the same round. The exponent of a line through the logarithms
says how it grows: 1 is in proportion.

Then the cost of an image is measured on every task's network (``growth_costs.csv``), and from that
the time of a profile's runs: ``--estimate PROFILE`` prints it without measuring anything, and with
``--compare FOLDER`` holds it beside the runs of a finished checkout.

    python benchmarks/growth.py [--method rbr] [--network small_cnn] [--rounds 5] [--out FOLDER]
    python benchmarks/growth.py --estimate paper [--data stand-in] [--compare FOLDER]
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import _costs
import matplotlib as mpl
import numpy as np
import pandas as pd
from _costs import epoch, explaining
from _inputs import Shape, training_set
from _kernel import run_again_as_a_kernel
from _timing import Bench, Call, Goal, bench, rows_of
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from xblcore import config, distance, explainers, methods, models, project
from xblcore.plots import style
from xblcore.results import write_csv

FLOOR, METHODS = "erm", ("xbl_d", "rrr")
EXPLAIN, DISTANCE = "explaining", "distance maps"
MIDDLE = {"images": 1024, "size": 32, "classes": 10, "share": 1.0}  # what is not varied
TINY = {"images": 64, "size": 16}
AXES: dict[str, tuple[float, ...]] = {
    "images": (512, 1024, 2048, 4096),
    "size": (16, 32, 64, 128),
    "classes": (2, 10, 100, 1000),
    "share": (0.0, 0.1, 0.5, 1.0),
}
NAMES = {"images": "training images", "size": "side of the images (pixels)", "classes": "classes",
         "share": "share of the images marked"}  # fmt: skip
LINEAR = 1.1  # an exponent up to this is growth in proportion
FILES = ("growth.csv", "growth_costs.csv")
OPTIONS = {
    "--method": {"choices": methods.METHODS, "action": "append", "help": "default: xbl_d, rrr"},
    "--network": {"choices": models.MODELS, "default": "small_cnn"},
    "--estimate": {"metavar": "PROFILE", "help": "measure nothing; what its runs will take"},
    "--data": {
        "choices": ("original", "stand-in"),
        "help": "of estimate (default: what the profile insists on, or original)",
    },
    "--compare": {"type": Path, "metavar": "FOLDER", "help": "a checkout with finished runs"},
}


def point(shape: Shape, images: int, share: float, names: Sequence[str]) -> dict[str, Call]:
    """What is timed where the images, the network and the marks are like this."""
    data = training_set(shape, images, share=share)
    pixels = np.zeros((images, shape.size, shape.size), bool)
    quarter = shape.size // 4
    pixels[:, quarter:-quarter, quarter:-quarter] = True
    grid = models.grid_size(shape.model(), data.images)
    return {
        **{name: epoch(shape, data, name) for name in (FLOOR, *names)},
        EXPLAIN: explaining(shape, data, explainers.get("grad_cam")),
        DISTANCE: lambda: distance.distance_map(distance.to_grid(pixels, grid)),
    }


def grow(run: Bench, axis: str, names: Sequence[str]) -> pd.DataFrame:
    """One row a value of the axis and what is timed."""
    middle = MIDDLE | (TINY if run.tiny else {})
    rows: list[dict[str, object]] = []
    for value in AXES[axis][:2] if run.tiny else AXES[axis]:
        at = middle | {axis: value}
        shape = Shape(run.options.network, 1, int(at["classes"]), int(at["size"]))
        timed = point(shape, int(at["images"]), at["share"], names)
        rows += rows_of(run.seconds(timed), axis=axis, value=value, network=shape.network)
    return pd.DataFrame(rows)


def exponents(table: pd.DataFrame) -> pd.DataFrame:
    """Slope of the logarithm of the time over that of what is varied, without a share of 0."""
    rows = []
    for (axis, by), points in table[table["value"] > 0].groupby(["axis", "by"], sort=False):
        x, y = np.log(points["value"].to_numpy(float)), np.log(points["ms"].to_numpy(float))
        slope = float(np.polyfit(x, y, 1)[0]) if len(x) > 1 else math.nan
        rows.append({"axis": axis, "by": by, "exponent": slope})
    return pd.DataFrame(rows)


def goals(table: pd.DataFrame) -> list[Goal]:
    """Everything grows at most in proportion to the images, and to their pixels."""
    found = []
    for row in exponents(table).itertuples():
        if row.axis in ("images", "size"):
            power = row.exponent / (2 if row.axis == "size" else 1)  # pixels grow with the square
            what = "images" if row.axis == "images" else "pixels"
            found.append(Goal(f"{row.by}, power of the number of {what}", power, LINEAR))
    return found


def look(by: str) -> style.MethodStyle:
    """Of a line."""
    others = {
        EXPLAIN: style.MethodStyle("explaining (Grad-CAM)", style.ORANGE, "s"),
        DISTANCE: style.MethodStyle("distance maps", style.BLACK, "v"),
    }
    return others.get(by) or style.method(by)


def panel(ax: Axes, rows: pd.DataFrame, figure: str) -> None:
    """Times, or ratios, along one axis; of maps so cheap that no ratio is seen, times alone."""
    for by, points in rows.groupby("by", sort=False):
        if figure == "ratio" and by == DISTANCE:
            continue
        one = look(str(by))
        ax.plot(points["value"], points[figure], color=one.colour, marker=one.marker,
                markersize=one.size, label=one.label, linestyle="--" if by in (EXPLAIN, DISTANCE)
                else "-")  # fmt: skip
        if figure == "ratio":
            ax.fill_between(points["value"], points["low"], points["high"], color=one.colour,
                            alpha=0.15, linewidth=0)  # fmt: skip
    if figure == "ms":
        ax.set_yscale("log")
    ax.grid(which="minor", visible=False)
    axis = rows["axis"].iloc[0]
    if axis != "share":  # it has a 0
        ax.set_xscale("log")
        ax.set_xticks(sorted(rows["value"].unique()))
        ax.xaxis.set_major_formatter(ScalarFormatter())
        ax.minorticks_off()
    ax.set_xlabel(NAMES[axis])


def draw(figure: Figure, table: pd.DataFrame) -> Figure:
    """A column for each of what is varied: times above, ratios to the floor below."""
    grid = figure.subplots(2, len(AXES), sharex="col", sharey="row")
    for column, axis in enumerate(AXES):
        rows = table[table["axis"] == axis]
        panel(grid[0, column], rows, "ms")
        panel(grid[1, column], rows, "ratio")
        grid[0, column].set_xlabel("")
    grid[1, 0].set_ylim(bottom=0)  # last, for it holds the upper end where it is
    grid[0, 0].set_ylabel("milliseconds for\nall images, once")
    grid[1, 0].set_ylabel(f"times an epoch of {style.label(FLOOR)}")
    network = table["network"].iloc[0]
    figure.suptitle(f"How cost grows ({network}, random images, one core)")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return figure


def measured_costs(run: Bench) -> pd.DataFrame:
    """Of an image on every network and size of image that a profile of params.yaml can have."""
    grid = config.load()
    wanted = {
        _costs.shape_of(grid.task(task), data): None
        for task in (grid.tasks[:1] if run.tiny else grid.tasks)
        for data in ("original", "stand-in")
    }
    names = [FLOOR, *METHODS] if run.tiny else grid.methods
    return pd.concat([_costs.measure(run, shape, names) for shape in wanted], ignore_index=True)


def tell(table: pd.DataFrame, title: str) -> None:
    print(f"\n{title}\n{table.to_string(index=False, float_format='{:.3f}'.format)}")


def measure(run: Bench) -> None:
    """Print and write all there is."""
    run.begun = True
    names = run.options.method or METHODS
    point(Shape(run.options.network, 1, 2, TINY["size"]), TINY["images"], 1.0, ())[
        FLOOR
    ]()  # imports
    table = pd.concat([grow(run, axis, names) for axis in AXES], ignore_index=True)
    run.report(table, goals(table))
    tell(exponents(table).pivot(index="by", columns="axis", values="exponent").reset_index(),
         "exponents")  # fmt: skip
    costs = measured_costs(run)
    tell(costs, "milliseconds = fixed_ms + ms_per_image * images [* epochs]")
    if run.out:
        write_csv(costs.round(5), run.out / FILES[1])
        with mpl.rc_context(style.RC):
            style.save(draw(Figure(figsize=(12, 6)), table), run.out, "growth")


def estimate(run: Bench) -> None:
    """Print what a profile's runs will take, and how that compares with runs that were timed."""
    folder = run.out or project.root() / "benchmarks"
    costs = _costs.read(folder / FILES[1])
    grid = dataclasses.replace(config.load(), profile=run.options.estimate)
    runs = _costs.estimate(costs, grid, data=run.options.data)
    tell(runs, f"profile {grid.profile}, seconds of one run on one core")
    by_task = runs.groupby("task", sort=False)[["runs", "core_hours"]].sum()
    tell(by_task.reset_index(), "by task")
    print(f"\nall {runs['runs'].sum()} runs: {runs['core_hours'].sum():.1f} core hours")
    if run.options.compare:
        beside = _costs.beside_measured(costs, run.options.compare)
        tell(beside, "beside runs that were timed, their median")
        off = (beside["ratio"] - 1).abs()
        print(f"ratio {beside['ratio'].median():.2f} in the median; error of one task x method "
              f"{off.median():.0%} in the median, {off.max():.0%} at most")  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or estimate from what was measured."""
    with bench("growth", __doc__, arguments, rounds=5, own=OPTIONS, only_prints="estimate") as run:
        if run.options.estimate:
            estimate(run)
        else:
            run_again_as_a_kernel()
            measure(run)


if __name__ == "__main__":
    main()
