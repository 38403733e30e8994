"""The paper's claims C1 to C4, judged from the runs by rules stated here.

A claim consists of *parts*, each one number with an interval and a verdict of its own
(:func:`xblcore.study.stats.verdict`). The claim is supported if every part is, contradicted if one
part is, and undecided otherwise. Values are averaged over the tasks first, and runs are pooled by
their ranks within the task; C4 looks at each task by itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from xblcore import metrics, project
from xblcore.study import stats
from xblcore.study.stats import Estimate, Verdict
from xblcore.study.tables import CLEAN, DECOY, EXPLAINER, label, select, task_label

TASKS = ("decoy_fashion_mnist", "decoy_cifar10", "decoy_coco")
MIN_SEEDS = 5  # with fewer, everything is undecided
FORMS = ("xbl_d_plus", "xbl_d")  # our form decides C1; the plain reading is reported next to it
CONTROLS = ("activation", "shuffled_masks", "centre_prior", "uniform")
FOCUS, COUNTERPART = "distance_focus", "energy_pointing_game"
OVERLAP = ("activation_precision", "activation_recall", "iou", "wrong_reason",
           "energy_pointing_game", "pointing_game", "relevance_rank_accuracy")  # fmt: skip

CLAIMS = {
    "C1": "A distance-aware explanation loss makes the model focus on the important region and "
    "improves accuracy when the shortcut is absent.",
    "C2": "Losses based on the overlap of explanation and annotation miss part of the deviation; a "
    "distance captures it.",
    "C3": "An interpretability metric based on distance is more informative about model "
    "performance than overlap metrics.",
    "C4": "This holds on three image classification tasks.",
}
RULES = {
    "C1": "Paired by seed, accuracy on clean test images: XBL-D+ minus ERM, and XBL-D+ minus each "
    "control (activation penalty, shuffled masks, mean map, D = 1). Distance focus by Grad-CAM: "
    "XBL-D+ minus ERM. Supported if all 95% intervals lie above 0. The plain reading of the "
    "paper, XBL-D, is reported as well and does not decide.",
    "C2": "Paired by seed, accuracy on clean test images: XBL-D+ minus XBL-overlap (the same loss "
    "with the overlap with the widened decoy) and XBL-D+ minus RRR-G. Supported if both 95% "
    "intervals lie above 0.",
    "C3": "Spearman's correlation with accuracy on clean test images over all reported runs; "
    "metrics by Grad-CAM on test images with a decoy, oriented so that higher is better. Distance "
    "focus minus its overlap counterpart (energy pointing game), minus the best overlap metric, "
    "and its own correlation. Supported if all 95% intervals lie above 0, by a bootstrap over "
    "methods.",
    "C4": "C1, C2 and C3 on each task by itself. Supported if all are supported on all three "
    "tasks, contradicted if one is contradicted on one task.",
}


@dataclass(frozen=True)
class Part:
    """One number that a claim rests on; ``decides`` is False if it is only reported."""

    statistic: str
    estimate: float
    ci_low: float
    ci_high: float
    verdict: Verdict
    decides: bool = True


def judge(runs: pd.DataFrame, missing: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Judge all claims by the reported runs of the main grid.

    Returns:
        One dictionary per claim: ``id, claim, statistic, estimate, ci_low, ci_high, verdict`` (of
        the part that decides), ``rule``, ``data`` (of each task), ``missing`` (tasks without data)
        and ``parts``.
    """
    parts = {claim: find(runs) for claim, find in _FIRST_THREE.items()}
    heads = {claim: _decider(found) for claim, found in parts.items()}
    heads["C4"], parts["C4"] = _c4(runs)
    data = dict(zip(runs["task"], runs["data"], strict=True))
    shared = {"data": data, "missing": list(missing)}
    return [
        {
            "id": claim, "claim": CLAIMS[claim],
            **{name: value for name, value in asdict(heads[claim]).items() if name != "decides"},
            "rule": f"{RULES[claim]} Fewer than {MIN_SEEDS} seeds: undecided.",
            **shared, "parts": [asdict(part) for part in parts[claim]],
        }
        for claim in CLAIMS
    ]  # fmt: skip


def write(claims: Sequence[dict[str, Any]], path: Path) -> None:
    """Write claims as JSON, NaN as null."""
    text = json.dumps(_plain(list(claims)), indent=2, ensure_ascii=False, allow_nan=False)
    with project.write_atomic(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return None if math.isnan(value) else float(f"{value:.6g}")
    return value


def conjunction(verdicts: Sequence[Verdict]) -> Verdict:
    """Verdict on a claim that needs all of several parts.

    >>> conjunction(["supported", "undecided"]), conjunction(["undecided", "contradicted"])
    ('undecided', 'contradicted')
    """
    if "contradicted" in verdicts:
        return "contradicted"
    return "supported" if all(v == "supported" for v in verdicts) else "undecided"


def _decider(parts: Sequence[Part]) -> Part:
    """Return the first deciding part whose verdict is that of the claim."""
    deciding = [part for part in parts if part.decides]
    whole = conjunction([part.verdict for part in deciding])
    return next((part for part in deciding if part.verdict == whole), deciding[0])


def _part(statistic: str, estimate: Estimate, seeds: int, *, decides: bool = True) -> Part:
    verdict = stats.verdict(estimate)
    if seeds < MIN_SEEDS:
        statistic, verdict = f"{statistic} ({seeds} of {MIN_SEEDS} seeds)", "undecided"
    return Part(statistic, estimate.value, estimate.low, estimate.high, verdict, decides)


def by_seed(
    runs: pd.DataFrame, metric: str, *, split: str, explainer: str = "none"
) -> pd.DataFrame:
    """Return values averaged over the tasks: one row per seed, one column per method."""
    rows = select(runs, metric, split=split, explainer=explainer)
    wide = rows.pivot(index=["task", "seed"], columns="method", values="value")
    tasks = wide.index.get_level_values("task").nunique()
    # A seed that is undefined on one task is undefined.
    return wide.groupby("seed").sum(min_count=tasks) / tasks


def _difference(
    runs: pd.DataFrame, a: str, b: str, metric: str, *, split: str, explainer: str = "none",
    decides: bool = True,
) -> Part:  # fmt: skip
    by = f" by {label(explainer)}" if explainer != "none" else ""
    text = f"{label(a)} minus {label(b)}, {label(metric).lower()}{by}, {label(split)}"
    absent = [label(name) for name in (a, b) if name not in set(runs["method"])]
    if absent:
        text += f" (not run: {', '.join(absent)})"
        return Part(text, math.nan, math.nan, math.nan, "undecided", decides)
    values = by_seed(runs, metric, split=split, explainer=explainer)
    estimate = stats.paired_difference(values[a], values[b])
    return _part(text, estimate, estimate.n, decides=decides)


def _c1(runs: pd.DataFrame) -> list[Part]:
    ours, plain = FORMS
    parts = [_difference(runs, ours, name, "accuracy", split=CLEAN) for name in ("erm", *CONTROLS)]
    parts += [_difference(runs, ours, "erm", FOCUS, split=DECOY, explainer=EXPLAINER)]
    parts += [_difference(runs, form, "erm", "accuracy", split=CLEAN, decides=False)
              for form in (plain, "xbl_d_released")]  # fmt: skip
    return parts


def _c2(runs: pd.DataFrame) -> list[Part]:
    return [
        _difference(runs, FORMS[0], other, "accuracy", split=CLEAN)
        for other in ("xbl_overlap", "rrr_g")
    ]


def run_table(
    runs: pd.DataFrame, *, split: str = DECOY, explainer: str = EXPLAINER
) -> pd.DataFrame:
    """Return one row per run: its explanation metrics, flips, and clean accuracy as ``target``.

    Metrics are oriented so that higher is better.
    """
    key = ["task", "method", "seed"]
    rows = runs[(runs["split"] == split) & runs["explainer"].isin([explainer, "none"])]
    table = rows.pivot(index=key, columns="metric", values="value").drop(columns="accuracy")
    for name in table:
        if name in metrics.METRICS and not metrics.METRICS[name].higher_is_better:
            table[name] = -table[name]
    table["target"] = select(runs, "accuracy", split=CLEAN).set_index(key)["value"]
    return table


def correlation(
    table: pd.DataFrame, first: str, second: str | None = None, *, n_resamples: int = 2000
) -> Estimate:
    """Correlation of a metric with clean accuracy, or the difference to that of another metric.

    Runs are ranked within their task, so that tasks of different difficulty can be pooled.
    """
    names = [first, *([second] if second else []), "target"]
    ranks = table[names].dropna().groupby("task").rank(pct=True).reindex(table.index)
    return stats.correlation_difference(
        ranks[first], ranks[second] if second else None, ranks["target"],
        groups=table.index.get_level_values("method"), n_resamples=n_resamples,
    )  # fmt: skip


def informativeness(runs: pd.DataFrame, *, explainer: str = EXPLAINER) -> pd.DataFrame:
    """Return the correlation of every metric with clean accuracy, for each task and pooled.

    Columns: ``task, explainer, metric, kind, rho, ci_low, ci_high, runs, undefined``.
    """
    parts = {str(task): own for task, own in runs.groupby("task", sort=False)}
    if len(parts) > 1:
        parts["pooled"] = runs
    rows = []
    for task, own in parts.items():
        table = run_table(own, explainer=explainer)
        for metric in table.columns.drop("target"):
            if metric in metrics.METRICS:
                found = correlation(table, metric)
                rows.append((task, explainer, metric, metrics.METRICS[metric].kind, found.value,
                             found.low, found.high, found.n, found.dropped))  # fmt: skip
    columns = ["task", "explainer", "metric", "kind", "rho", "ci_low", "ci_high", "runs",
               "undefined"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _c3(runs: pd.DataFrame) -> list[Part]:
    table = run_table(runs)
    if FOCUS not in table:
        return [Part("Distance focus (undefined)", math.nan, math.nan, math.nan, "undecided")]
    seeds = runs["seed"].nunique()
    known = {
        name: rho
        for name in OVERLAP
        if name in table and not math.isnan(rho := correlation(table, name, n_resamples=1).value)
    }
    best = max(known, key=lambda name: known[name], default=COUNTERPART)
    parts = []
    for other, why in ((COUNTERPART, "its overlap counterpart"), (best, "the best overlap metric")):
        text = f"rho of {label(FOCUS).lower()} minus rho of {label(other).lower()}, {why}"
        estimate = correlation(table, FOCUS, other)
        parts.append(_part(f"{text}, {estimate.n} runs", estimate, seeds))
    own = correlation(table, FOCUS)
    text = f"rho of {label(FOCUS).lower()} with clean accuracy, {own.n} runs"
    return [*parts, _part(text, own, seeds)]


_FIRST_THREE = {"C1": _c1, "C2": _c2, "C3": _c3}


def _c4(runs: pd.DataFrame) -> tuple[Part, list[Part]]:
    parts = []
    for task in TASKS:
        own = runs[runs["task"] == task]
        if own.empty:
            text = f"{label(task)}: not run"
            parts.append(Part(text, math.nan, math.nan, math.nan, "undecided"))
            continue
        each = {claim: _decider(find(own)).verdict for claim, find in _FIRST_THREE.items()}
        text = f"{task_label(task, own['data'].iloc[0])}: " + ", ".join(
            f"{claim} {verdict}" for claim, verdict in each.items()
        )
        parts.append(Part(text, math.nan, math.nan, math.nan, conjunction(list(each.values()))))
    text = "Number of the three tasks on which C1, C2 and C3 are all supported"
    count = float(sum(part.verdict == "supported" for part in parts))
    whole = conjunction([part.verdict for part in parts])
    return Part(text, count, math.nan, math.nan, whole), parts
