"""The paper's claims C1 to C4, each judged from the runs by a rule stated here, without torch.

A claim rests on *parts*, each one number with an interval and a verdict of its own
(:func:`xblcore.stats.verdict`: the interval lies above 0, below it, or holds both). The claim is
supported if every part is, not supported if one part is not, and undecided otherwise. The headline
number of a claim is the part that decides. With several tasks the seeds' values are averaged over
the tasks, and runs pooled by their ranks within the task; C4 looks at each task alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from xblcore import informativeness, results, stats
from xblcore.plots.style import label
from xblcore.results import CLEAN, DECOY, EXPLAINER
from xblcore.stats import Estimate, Verdict

TASKS = ("decoy_fashion_mnist", "decoy_cifar10", "decoy_coco")  # those of the paper
MIN_SEEDS = 5  # with fewer, everything is undecided
FOCUS = "distance_focus"
COUNTERPART = "energy_pointing_game"  # sum P R: the same map, weighed by overlap, not by distance
TAUGHT = "hires_cam"  # what xbl_overlap is trained against, among the explainers measured

CLAIMS = {
    "C1": "A distance-aware explanation loss makes the learner look at the important region, and "
    "lifts accuracy where the shortcut is gone.",
    "C2": "Losses built on the intersection of explanation and annotation miss part of the "
    "deviation; distance sees it.",
    "C3": "An interpretability metric built on distance tells more about a model's performance "
    "than the overlap metrics do.",
    "C4": "It holds on three image classification tasks.",
}
RULES = {
    "C1": "Of XBL-D, this compendium's own form of the loss; its plain reading, XBL-D (Grad-CAM), "
    "and the released arithmetic stand beside it in the summary. Paired by seed, XBL-D minus ERM: "
    f"accuracy on clean test images, and distance focus by {label(EXPLAINER)}, the paper's "
    "explainer, which XBL-D is not trained against. Supported if both 95% intervals lie above 0.",
    "C2": "Paired by seed, accuracy on clean test images: XBL-D minus XBL-overlap (the same loss "
    "with the decoy's overlap in the place of the distance) and XBL-D minus RRR-G. And what "
    "overlap hides in XBL-overlap: the share of ERM's wrong reason that is cured, by "
    f"{label(TAUGHT)}, on which it is trained, minus the share of ERM's decoy flips above the "
    "oracle's that is cured. Supported if all three 95% intervals lie above 0. XBL-D is told where "
    "the object is, the other two where the decoy is: this compares the losses as they are used, "
    "and does not tell the distance from the annotation.",
    "C3": "Spearman's correlation with accuracy on clean test images over all runs (method x "
    f"weight x seed); metrics by {label(EXPLAINER)} on test images with a decoy, oriented so that "
    "higher is better. Fixed beforehand: distance focus (1 - sum P D / max D) against the energy "
    "pointing game (sum P R), the same map weighed by distance or by overlap. Supported if its "
    "difference to that counterpart, its difference to the best overlap metric (picked on the same "
    "runs, so in overlap's favour) and its own correlation all have 95% intervals above 0, by a "
    "bootstrap that draws whole methods: the runs of one method are alike, so the methods are the "
    "sample.",
    "C4": "C1, C2 and C3 on each task alone. Supported if all three are on all three tasks, not "
    "supported if one of them is not on one task; undecided otherwise and while a task is missing.",
}


@dataclass(frozen=True)
class Part:
    """One number that a claim rests on; NaN where there is none."""

    statistic: str
    estimate: float
    ci_low: float
    ci_high: float
    verdict: Verdict


def judge(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """Verdicts on C1 to C4, what ``results/paper/claims.json`` holds.

    Args:
        runs: from :func:`xblcore.results.load_runs`, one or several tasks.

    Returns:
        One dictionary a claim: ``id, claim, statistic, estimate, ci_low, ci_high, verdict`` (of the
        part that decides), ``rule``, ``data`` (of each task) and ``parts``.
    """
    data = dict(zip(runs["task"], runs["data"], strict=True))
    parts = {claim: find(runs) for claim, find in FIRST_THREE.items()}
    heads = {claim: _decider(found) for claim, found in parts.items()}
    heads["C4"], parts["C4"] = _c4(runs)
    return [
        {
            "id": claim,
            "claim": CLAIMS[claim],
            **asdict(heads[claim]),
            "rule": f"{RULES[claim]} Fewer than {MIN_SEEDS} seeds: undecided.",
            "data": data,
            "parts": [asdict(part) for part in parts[claim]],
        }
        for claim in CLAIMS
    ]


def write(claims: Sequence[dict[str, Any]], path: str | Path) -> None:
    """Write the claims as JSON, NaN as null."""
    text = json.dumps(_plain(list(claims)), indent=2, ensure_ascii=False, allow_nan=False)
    results.write_text(text + "\n", path)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return None if math.isnan(value) else float(f"{value:.10g}")
    return value


def conjunction(verdicts: Sequence[Verdict]) -> Verdict:
    """Verdict on a claim that needs all of several.

    >>> conjunction(["supported", "undecided"]), conjunction(["undecided", "not supported"])
    ('undecided', 'not supported')
    """
    order: tuple[Verdict, ...] = ("not supported", "undecided", "supported")
    return min(verdicts, key=order.index)


def _decider(parts: Sequence[Part]) -> Part:
    """The first part with the verdict of the whole."""
    whole = conjunction([part.verdict for part in parts])
    return next(part for part in parts if part.verdict == whole)


def _part(statistic: str, estimate: Estimate, seeds: int) -> Part:
    verdict = stats.verdict(estimate.value, estimate.low, estimate.high)
    if seeds < MIN_SEEDS:
        statistic, verdict = f"{statistic} ({seeds} seeds of {MIN_SEEDS} needed)", "undecided"
    return Part(statistic, estimate.value, estimate.low, estimate.high, verdict)


def _missing(statistic: str, names: Sequence[str]) -> Part:
    text = f"{statistic} (not in the grid: {', '.join(names)})"
    return Part(text, math.nan, math.nan, math.nan, "undecided")


def _absent(runs: pd.DataFrame, *methods: str) -> list[str]:
    present = set(runs["method"])
    return [label(method) for method in methods if method not in present]


def by_seed(
    runs: pd.DataFrame, metric: str, *, split: str, explainer: str = "none"
) -> pd.DataFrame:
    """Values of the chosen runs, averaged over the tasks: one row a seed, one column a method."""
    rows = runs[
        runs["chosen"]
        & (runs["metric"] == metric)
        & (runs["split"] == split)
        & (runs["explainer"] == explainer)
    ]
    wide = rows.pivot(index=["task", "seed"], columns="method", values="value")
    tasks = wide.index.get_level_values("task").nunique()
    # A seed that is undefined on one task is undefined.
    return wide.groupby("seed").sum(min_count=tasks) / tasks


def _difference(
    runs: pd.DataFrame, a: str, b: str, metric: str, *, split: str, explainer: str = "none"
) -> Part:
    by = f" by {label(explainer)}" if explainer != "none" else ""
    text = f"{label(a)} minus {label(b)}, {label(metric).lower()}{by}, {label(split)}"
    if absent := _absent(runs, a, b):
        return _missing(text, absent)
    values = by_seed(runs, metric, split=split, explainer=explainer)
    estimate = stats.paired_difference(values[a], values[b])
    return _part(text, estimate, estimate.n)


def _c1(runs: pd.DataFrame) -> list[Part]:
    return [
        _difference(runs, "xbl_d", "erm", "accuracy", split=CLEAN),
        _difference(runs, "xbl_d", "erm", FOCUS, split=DECOY, explainer=EXPLAINER),
    ]


def _c2(runs: pd.DataFrame) -> list[Part]:
    return [
        _difference(runs, "xbl_d", "xbl_overlap", "accuracy", split=CLEAN),
        _difference(runs, "xbl_d", "rrr_g", "accuracy", split=CLEAN),
        _hidden_reliance(runs, "xbl_overlap"),
    ]


def _hidden_reliance(runs: pd.DataFrame, method: str) -> Part:
    """Cured by its overlap with the decoy, minus cured by its behaviour; both as a recovery."""
    text = (
        f"{label(method)}: share of ERM's wrong reason cured minus share of its excess flips cured"
    )
    if absent := _absent(runs, method, "erm", "oracle"):
        return _missing(text, absent)
    overlap = -by_seed(runs, "wrong_reason", split=DECOY, explainer=TAUGHT)  # higher is better
    flips = -by_seed(runs, "decoy_flip_rate", split=DECOY)
    # The best overlap is none. Some flips are no reliance: the oracle, which never met a decoy in
    # training, has them as well.
    seemingly = stats.recovery(overlap[method], overlap["erm"], 0 * overlap["erm"])
    truly = stats.recovery(flips[method], flips["erm"], flips["oracle"])
    estimate = stats.paired_difference(seemingly, truly)
    return _part(text, estimate, estimate.n)


def _c3(runs: pd.DataFrame) -> list[Part]:
    table = informativeness.run_table(runs, split=DECOY, explainer=EXPLAINER)
    seeds = runs.loc[runs["chosen"], "seed"].nunique()
    parts = []
    for other, why in (
        (COUNTERPART, "its overlap counterpart"),
        (_best_overlap(table), "the best overlap metric"),
    ):
        text = f"ρ of {label(FOCUS)} minus ρ of {label(other)}, {why}"
        estimate = informativeness.gain(table, FOCUS, other)
        parts.append(_part(f"{text}, {_size(table, estimate)}", estimate, seeds))
    own = informativeness.correlation(table, FOCUS)
    text = f"ρ of {label(FOCUS)} with accuracy, {_size(table, own)}"
    return [*parts, _part(text, own, seeds)]


def _size(table: pd.DataFrame, estimate: Estimate) -> str:
    text = f"{estimate.n} runs of {table.index.unique('method').size} methods"
    return f"{text}, {estimate.dropped} without a value left out" if estimate.dropped else text


def _best_overlap(table: pd.DataFrame) -> str:
    """The overlap metric with the highest correlation; where none has one, the counterpart."""
    found = {
        metric: informativeness.correlation(table, metric, n_resamples=1).value
        for metric in informativeness.of_kind("overlap", table)
    }
    defined = {metric: rho for metric, rho in found.items() if not math.isnan(rho)}
    return max(defined, key=lambda metric: defined[metric], default=COUNTERPART)


FIRST_THREE = {"C1": _c1, "C2": _c2, "C3": _c3}


def _c4(runs: pd.DataFrame) -> tuple[Part, list[Part]]:
    """How many tasks have it all, and each task's verdict."""
    tasks = [_all_three(runs[runs["task"] == task], task) for task in TASKS]
    missing = [label(task) for task in TASKS if task not in set(runs["task"])]
    text = "Number of the three tasks on which C1, C2 and C3 are all supported"
    text += f" (not in the grid: {', '.join(missing)})" if missing else ""
    count = float(sum(part.verdict == "supported" for part in tasks))
    whole = "undecided" if missing else conjunction([part.verdict for part in tasks])
    return Part(text, count, math.nan, math.nan, whole), tasks


def _all_three(runs: pd.DataFrame, task: str) -> Part:
    if runs.empty:
        return _missing("C1, C2 and C3", [label(task)])
    each = {claim: _decider(find(runs)).verdict for claim, find in FIRST_THREE.items()}
    data = runs["data"].iloc[0]
    name = label(task) if data == "original" else f"{label(task)} ({data} data)"
    text = f"{name}: " + ", ".join(f"{claim} {verdict}" for claim, verdict in each.items())
    return Part(text, math.nan, math.nan, math.nan, conjunction(list(each.values())))
