"""The tables on explainers: what a map says was cured, and what was cured in truth.

By an explainer, the share of ERM's attribution distance that is gone; in truth, the share of ERM's
decoy flips that is gone. Both are paired by seed: 0 is as ERM, 1 is none left. A run that fell back
to chance flips no more either, so that its recovery stands beside them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from xblcore.experiments import measures, weighing
from xblcore.plots.carry_over import METRIC, MIN_GAP, READS, SPLIT, TRAINED_ON, TRUTH
from xblcore.plots.style import label
from xblcore.results import select
from xblcore.stats import Floats

COMBINATION = ["layer", "cam", "score"]  # what a CAM in training is computed with
OWN_SCORE = {"xbl_d": "projection", "xbl_d_gated": "projection", "xbl_overlap": "projection"}
NO_MAP = "none"


def layers(runs: pd.DataFrame, *, layer: str) -> pd.DataFrame:
    """Outcomes by layer, CAM and score, each at the weight that the rule takes for it.

    Args:
        runs: of several weights for each method, layer, CAM and score.
        layer: the network's own, for runs that name none.

    Returns:
        Estimates by ``layer``, ``cam`` and ``score``, which are empty for ERM and the oracle.
    """
    return measures.estimates(measures.outcomes(chosen(runs, layer=layer)), COMBINATION)


def chosen(*experiments: pd.DataFrame, layer: str) -> pd.DataFrame:
    """Runs at the weight that the rule takes for their method, layer, CAM and score, told in full.

    A method's own layer, CAM and score take the place of None; what has no CAM in training has an
    empty layer and score.

    Args:
        experiments: runs; the rule chooses within each. What two of them have is taken from the
            first.
        layer: the network's own.
    """
    key = ["method", *COMBINATION]
    found = []
    for runs in experiments:
        full = _in_full(runs, layer)
        best = weighing.mark_chosen(full, weighing.chosen_weights(full, by=key))
        found.append(best[best["chosen"]].drop(columns="chosen"))
    once = ["task", "seed", *key, "split", "explainer", "metric"]
    return pd.concat(found, ignore_index=True).drop_duplicates(once, ignore_index=True)


def readable_layers(table: pd.DataFrame) -> pd.DataFrame:
    """Recovery by method and layer (rows), and by CAM and score (columns), ready to print.

    Args:
        table: from :func:`layers`.
    """
    rows = table[(table["metric"] == "recovery") & (table["layer"] != "")]
    cams = rows["cam"].map(label) + ", " + rows["score"].replace("log_prob", "log p")
    rows = rows.assign(Trained=rows["method"].map(label) + ", " + rows["layer"], cams=cams)
    return measures.readable(rows, "Trained", "cams", head=str)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The gap by method and explainer, what is true, and the recovery, ready to print.

    Args:
        table: from :func:`table`, of one layer, CAM and score a method.
    """
    rows = table[~table["metric"].eq("reported") & (table["method"] != "erm")]
    first = rows.loc[rows["metric"] == "true", "explainer"].iloc[0]  # the same beside each
    rows = rows[rows["metric"].ne("true") | rows["explainer"].eq(first)]
    heads = "Gap, " + rows["explainer"].map(label)
    heads = heads.mask(rows["metric"] == "true", "Cured in truth")
    rows = rows.assign(head=heads.mask(rows["metric"] == "recovery", "Recovery"))
    wide = measures.readable(rows.assign(Method=rows["method"].map(label)), "Method", "head",
                             head=str)  # fmt: skip
    leading = ["Method", "Recovery", "Cured in truth"]
    return wide[[*leading, *(name for name in wide if name not in leading)]]


def _in_full(runs: pd.DataFrame, layer: str) -> pd.DataFrame:
    own = {"cam": runs["method"].map(TRAINED_ON), "score": runs["method"].map(OWN_SCORE),
           "layer": layer}  # fmt: skip
    full = runs.assign(**{name: runs[name].where(runs[name].notna(), own[name]) for name in own})
    full["cam"] = full["cam"].fillna(NO_MAP)
    cams = full["cam"].isin(["grad_cam", "hires_cam"])
    score, place = full["score"].fillna("logit"), full["layer"]
    return full.assign(score=score.where(cams, ""), layer=place.where(cams, ""))


def cures(runs: pd.DataFrame, *, layer: str) -> pd.DataFrame:
    """What each explainer reports as cured of a run, what was cured, and the gap, by seed.

    Args:
        runs: from :func:`chosen`.
        layer: the network's own, which the explainers read.

    Returns:
        Rows like those of ``runs``, of the metrics ``reported``, ``true`` and ``gap`` (reported
        minus true) for each explainer, with ``trained_on``: whether the run was trained on the kind
        of map that the explainer reads, at the layer that it reads. NaN where ERM has no such
        fault, or a map is dead on every image.
    """
    told = runs[(runs["metric"] == METRIC) & (runs["split"] == SPLIT)]
    if told.empty:
        raise ValueError(f"runs must have rows of {METRIC} on {SPLIT}, got none")
    reported = _share_gone(told, least=0.0)
    flips = select(runs, TRUTH, split=SPLIT)
    key = ["task", "method", "weight", "seed", *COMBINATION]
    flips = flips[key].assign(true=_share_gone(flips, least=MIN_GAP))
    true = told[key].merge(flips, how="left", on=key, validate="many_to_one")["true"].to_numpy()
    same = (told["cam"] == told["explainer"].map(READS)) & told["layer"].isin([layer, ""])
    rows = told.assign(trained_on=same)
    parts = {"reported": reported, "true": true, "gap": reported - true}
    return pd.concat([rows.assign(metric=m, value=v) for m, v in parts.items()], ignore_index=True)


def _share_gone(rows: pd.DataFrame, *, least: float) -> Floats:
    """``1 - value / ERM's``, NaN where ERM's is not above ``least``."""
    erm = measures.beside(rows, "erm")
    left = np.full_like(erm, np.nan)
    np.divide(rows["value"].to_numpy(), erm, out=left, where=erm > least)
    return 1 - left


def table(runs: pd.DataFrame, *, layer: str) -> pd.DataFrame:
    """:func:`cures` over seeds, and the recovery of each method, layer, CAM and score.

    Args:
        runs: from :func:`chosen`.
        layer: the network's own.

    Returns:
        Estimates by ``layer``, ``cam``, ``score``, ``explainer`` and ``trained_on``; recovery has
        the explainer ``none``. ``nan_share`` is the share of images on which the map is dead.
    """
    recovered = measures.recoveries(runs).assign(trained_on=False)
    rows = pd.concat([cures(runs, layer=layer), recovered], ignore_index=True)
    return measures.estimates(rows, [*COMBINATION, "explainer", "trained_on"])


def matrix(runs: pd.DataFrame, *, layer: str) -> pd.DataFrame:
    """The gap by what was trained on and what is measured by; above 0 the map says too much.

    Every method counts alike; the interval is over seeds. The oracle, which is cured and trained on
    no map, tells what an explainer makes of a network without the shortcut.

    Args:
        runs: from :func:`chosen`.
        layer: the network's own; runs trained on the CAM of another are left out.

    Returns:
        Estimates by ``cam`` (kind of map trained on, ``none`` or ``oracle``), ``score`` and
        ``explainer``, of the metrics ``reported``, ``true`` and ``gap``, with ``methods``: how many
        they are the mean of.
    """
    rows = cures(runs[runs["layer"].isin([layer, ""])], layer=layer)
    rows = rows[rows["method"] != "erm"]
    rows["cam"] = rows["cam"].where(rows["method"] != "oracle", "oracle")
    by = ["cam", "score", "explainer"]
    rows["methods"] = rows.groupby(by)["method"].transform("nunique")
    key = ["task", "data", *by, "methods", "metric", "seed"]
    means = rows.groupby(key, sort=False)[["value", "nan_share"]].mean().reset_index()
    means = means.assign(method="", weight=0.0)  # of several, each with its own
    return measures.estimates(means, [*by, "methods"]).drop(columns=["method", "weight"])
