"""Does a gain carry over to all explainers and to behaviour, or was it only taught to one map?"""

from __future__ import annotations

import textwrap

import pandas as pd
import seaborn as sns
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from xblcore.plots import style

METRIC, TRUTH, SPLIT = "attribution_distance", "decoy_flip_rate", "test_decoy"
MIN_GAP = 0.01  # as in xblcore.stats.recovery: a smaller gap of flips leaves nothing to be cured

# The kind of map that a method's explanation loss is computed on, and that an explainer of the
# tables reads. Both need torch where they are defined; a test holds them to be the same there.
TRAINED_ON = {
    "xbl_d": "hires_cam",
    "xbl_d_gated": "hires_cam",
    "xbl_overlap": "hires_cam",
    "xbl_d_grad_cam": "grad_cam",
    "xbl_d_released": "grad_cam",
    "rrr": "input_gradient",
    "rrr_g": "grad_cam",
    "rbr": "input_gradient",
    "hint": "grad_cam",
    "energy": "hires_cam",
    "l1": "hires_cam",
    "ppce": "hires_cam",
}
READS = {
    "grad_cam": "grad_cam",
    "hires_cam": "hires_cam",
    "hires_cam_log_prob": "hires_cam",
    "input_x_gradient": "input_gradient",
}


def trained_on(method: str, explainer: str) -> bool:
    """Whether the method is trained on the kind of map that the explainer reads.

    >>> trained_on("xbl_d", "hires_cam"), trained_on("xbl_d", "occlusion")
    (True, False)
    """
    return method in TRAINED_ON and TRAINED_ON[method] == READS.get(explainer)


def cured(table: pd.DataFrame) -> pd.DataFrame:
    """What is gone of ERM's fault, by each explainer and in truth; of means over seeds.

    By an explainer, ``1 - d(method) / d(erm)`` with the attribution distance ``d``: 0 as ERM, 1 all
    of the attribution on the object, below 0 further from it than ERM. In truth, the recovery of
    the decoy flip rate, ``(f(erm) - f(method)) / (f(erm) - f(oracle))``: 1 as few flips as the
    oracle, which has some though it never met a decoy in training.

    Args:
        table: of one task, from :func:`xblcore.results.method_table`.

    Returns:
        One row a method, one column an explainer and ``decoy_flip_rate``, in the table's order; NaN
        where a number is undefined or ERM has no such fault.
    """
    rows = table[(table["split"] == SPLIT) & table["metric"].isin([METRIC, TRUTH])]
    methods = list(dict.fromkeys(rows["method"]))
    means = rows.set_index(["method", "metric", "explainer"])["mean"]
    distance = means.xs(METRIC, level="metric").unstack(sort=False).reindex(methods)
    flips = means.xs((TRUTH, "none"), level=("metric", "explainer")).reindex(methods)
    erm = distance.reindex(["erm"]).iloc[0]
    floor, ceiling = flips.reindex(["erm", "oracle"])
    gap = floor - ceiling if floor - ceiling > MIN_GAP else float("nan")
    shares: pd.DataFrame = 1 - distance / erm.where(erm > 0)
    return shares.assign(**{TRUTH: (floor - flips) / gap})


def carry_over(fig: Figure, runs: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """:func:`cured` as a map: explainers side by side, behaviour as a column set apart.

    A method that learnt to leave the decoy is blue along its whole row; one that was only taught a
    map is blue in the outlined cells, those of the kind of map that it is trained on.

    Args:
        fig: an empty figure, about 9.5 inches wide and 0.45 a method plus 1.6 high.
        runs: of one task.
        table: from :func:`xblcore.results.method_table`.
    """
    shares = cured(table)
    by_explainer = shares.drop(columns=TRUTH)
    axes = fig.subplots(
        1, 2, sharey=True, width_ratios=[by_explainer.shape[1], 1.25], gridspec_kw={"wspace": 0.04}
    )
    for ax, part in zip(axes, (by_explainer, shares[[TRUTH]]), strict=True):
        _heatmap(ax, part)
    axes[0].set_title("by explainer: share of ERM's attribution distance cured", pad=10)
    axes[1].set_title("in truth: share of ERM's\nexcess decoy flips cured", pad=10)
    bar = fig.colorbar(axes[0].collections[0], ax=axes, pad=0.02, extend="both", aspect=25)
    bar.set_ticks([-1, 0, 1], labels=["−1", "0: as ERM", "1: cured"])
    bar.outline.set_visible(False)
    fig.legend(
        handles=[Patch(fc="white", ec="black", lw=1.8, label="kind of map trained on")],
        loc="outside lower center",
    )
    fig.suptitle(style.title_of("What carries over", runs))
    return fig


def _heatmap(ax: Axes, shares: pd.DataFrame) -> None:
    texts = shares.map(lambda share: f"{share:z.2f}".replace("-", "−"))
    sns.heatmap(
        shares, ax=ax, cmap="RdBu", vmin=-1, vmax=1, cbar=False, linewidths=1.5,
        annot=texts, fmt="", annot_kws={"size": 9.5},
    )  # fmt: skip
    inset = 0.0075 * shares.shape[1]  # the same on paper however wide a cell is
    for y, (method, row) in enumerate(shares.iterrows()):
        for x, (column, share) in enumerate(row.items()):
            if share != share:
                ax.add_patch(Rectangle((x, y), 1, 1, fc="#eeeeee", ec="white", hatch="///"))
                ax.text(x + 0.5, y + 0.5, "undefined", ha="center", va="center", size=8)
            if trained_on(str(method), str(column)):
                casing = patheffects.withStroke(linewidth=4.5, foreground="white")
                ax.add_patch(
                    Rectangle((x + inset, y + 0.07), 1 - 2 * inset, 0.86, fill=False, ec="black",
                              lw=1.8, path_effects=[casing])
                )  # fmt: skip
    names = [textwrap.fill(style.label(str(name)), 11) for name in shares]
    ax.set_xticklabels(names, rotation=0)
    ax.set_yticklabels([style.label(str(name)) for name in shares.index], rotation=0)
    ax.set(xlabel="", ylabel="")
    ax.tick_params(length=0)
    ax.grid(visible=False)
