"""The paper's claims C1 to C4, judged from the runs by rules stated here.

A claim consists of *parts*, each one number with an interval and a verdict of its own
(:func:`xblcore.study.stats.verdict`). C1 and C3 need all their parts, and average over the tasks
first. C2 and C4 look at each task by itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from xblcore import metrics, project
from xblcore.study import stats
from xblcore.study.stats import Estimate, Verdict
from xblcore.study.tables import CLEAN, DECOY, EXPLAINER, POOLED, about, label, recoveries, select

TASKS = ("decoy_fashion_mnist", "decoy_cifar10", "decoy_coco")
MIN_SEEDS = 5  # with fewer, everything is undecided
OURS = "xbl_d_plus"
CONTROLS = ("activation", "shuffled_masks", "centre_prior", "uniform")
FOCUS, COUNTERPART = "distance_focus", "energy_pointing_game"
MARGIN, AUROC_MARGIN = 0.05, 0.02  # smallest differences of interest, fixed before the runs
MARGINS = {"C2": MARGIN, "C3": AUROC_MARGIN}
# Factors of the experiment for C2: columns of its runs, with the levels that are compared.
FACTORS = {
    "weighting": ("distance", "overlap"),
    "feedback": ("object_only", "decoy_only"),
    "form": ("mass", "share"),
    "cam_method": ("hires_cam", "grad_cam"),
}
SCORES = {"hires_cam": "projection", "grad_cam": "logit"}  # that each map explains
TARGETS = {"flips": "prediction flips", "wrong": "errors without the decoy"}
NOT_RUN = "not run; `make experiments` runs it"

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
    "XBL-D+ minus ERM; all-zero maps count as worst. Supported if all 95% intervals lie above 0. "
    "XBL-D, the direct implementation of the loss in the paper, is reported as well and does not "
    "affect the verdict.",
    "C2": "Factorial experiment with variants of XBL-D+: the distance D, scaled to mean 1 over the "
    "penalised cells, minus the overlap 1[D > 0], averaged over annotation, form and map. "
    "Recovery, paired by seed. A task whose 95% interval lies within ±0.05 is equivalent; this "
    "takes precedence. Otherwise the task is supported (above 0), contradicted (below 0) or "
    "undecided. For the claim, undecided tasks are ignored, and at least two other tasks are "
    "needed. The claim is equivalent if all of these are equivalent. It is supported (or "
    "contradicted) if at least one of them is supported (or contradicted) and the others are "
    "equivalent. It is undecided if one is supported and another is contradicted. The mean over "
    "the tasks does not affect the verdict.",
    "C3": "For each image, a metric of its Grad-CAM is used to predict whether the prediction "
    "stays the same if only the decoy changes. The AUROC measures how well this works; all-zero "
    "maps count as worst. The AUROC is averaged over the networks of each task and seed, and then "
    "over the tasks. This gives one value per seed, and the interval is over these values. "
    "Distance focus minus its overlap counterpart (energy pointing game), and minus the overlap "
    "metric with the highest mean; all metrics receive the object mask or, if a task has none, "
    "everything that the decoy does not cover. Intervals within ±0.02 are equivalent; this takes "
    "precedence. Supported if both 95% intervals lie above 0. Also reported, without effect on the "
    "verdict: the AUROC for errors on images without the decoy, the AUROC for flips without the "
    "oracle, and correlations over the networks.",
    "C4": "C1, C2 and C3 are judged on each task separately. C4 is supported if every claim is "
    "supported on all three tasks, and contradicted if any claim is contradicted on any task. It "
    "is equivalent if every claim is supported or equivalent on each task, and otherwise "
    "undecided. A claim or task that was not run is undecided. The random-effects means and their "
    "heterogeneity are reported and do not affect the verdict.",
}
COMMON = (
    f" Fewer than {MIN_SEEDS} seeds: undecided. The p values (exact two-sided sign-flip tests over "
    "the seeds) do not affect the verdict. With n seeds, the smallest possible p value is 2^(1-n): "
    "0.0625 for five seeds and 0.002 for ten. If a claim needs all its parts, its p value is the "
    "largest p value of the parts and needs no correction. For C2, Holm's correction covers the "
    "tasks. Seeds needed: the number of seeds at which the interval is at most ± the margin."
)

# What the verdicts do not show.
LIMITS = {
    "C1": "The networks and images are small, each task has one kind of decoy, and the annotations "
    "have no errors (the experiments `feedback`, `decoys` and `network` vary these). Weights are "
    "chosen on validation images with swapped decoys, which requires knowledge of the decoy. A "
    "gain over ERM alone does not show that a method uses its annotations, hence the controls. If "
    "a control collapses (see the tables of the tasks), a gain over that control does not show "
    "this either. The mean over the tasks can hide a task on which the method fails; C4 judges "
    "each task separately. The verdict concerns XBL-D+, not XBL-D, the direct implementation of "
    "the loss in the paper. Decoy CIFAR-10 has no object masks, so distance focus there only shows "
    "that the attribution leaves the decoy. The controls have ten seeds because five left Decoy "
    "CIFAR-10 undecided in C4; adding seeds until a task is decided raises the error rate.",
    "C2": "All combinations are variants of one loss, XBL-D+, so the effect is due to the "
    "weighting alone; published overlap losses such as RRR-G also differ in map and form. The "
    "effect is an average over combinations. Combinations in which neither loss recovers anything "
    "pull it towards 0, and a single combination can dominate it. The mean without the combination "
    "with the largest difference is therefore reported as well; "
    "`results/experiments/factorial/table.csv` lists all combinations. The weight of each is "
    "chosen on the selection seeds, and the intervals do not include this choice. Decoy CIFAR-10 "
    "has no object masks, so there the annotation is that of the decoy; it has 20 seeds because 10 "
    "left it undecided, and adding seeds until a task is decided raises the error rate. The rule "
    "for tasks of which some are equivalent was also added after the runs; under the previous "
    "rule, the claim was undecided in this case.",
    "C3": "Only networks that flip for some images and not for others can rank images. The set of "
    "these networks differs between seeds. It includes the oracle, whose flips do not come from a "
    "learnt shortcut, so the numbers without the oracle are reported as well. Both metrics can be "
    "close to chance, 0.5: `validity` has the AUROC of each. The best overlap metric is chosen on "
    "the networks on which it is compared, which favours it. Methods share data and seeds; the "
    "interval is over seeds, not over methods, data sets or architectures.",
    "C4": "Three tasks say little about other tasks, and the heterogeneity between them is "
    "estimated poorly. All three add a patch to the image; the experiment `natural` has a shortcut "
    "without one. The decoys are drawn here; the authors' images, networks and training length are "
    "not used.",
}
VERDICTS = (
    "Supported: the 95% intervals of all deciding numbers lie above 0. Contradicted: at least one "
    "lies below 0. Equivalent: each lies above 0 or within a margin around 0, and at least one "
    "lies within it; an interval within the margin always counts as equivalent. Undecided: all "
    "other cases. C2 combines its tasks by a rule of its own."
)
OUTCOMES: dict[Verdict, str] = {
    "supported": "The runs support this claim.",
    "contradicted": "The runs contradict this claim.",
    "equivalent": "The difference is too small to matter: the interval lies within the margin.",
    "undecided": "The runs leave this claim open.",
}


@dataclass(frozen=True)
class Part:
    """One number that a claim rests on; ``decides`` is False if it is only reported."""

    statistic: str
    estimate: float = math.nan
    ci_low: float = math.nan
    ci_high: float = math.nan
    verdict: Verdict = "undecided"
    decides: bool = True
    seeds: int = 0
    p: float = math.nan  # of the sign-flip test
    p_holm: float = math.nan
    seeds_needed: float = math.nan  # for an interval of plus or minus the margin


def judge(
    runs: pd.DataFrame, *, factorial: pd.DataFrame | None = None,
    validity: pd.DataFrame | None = None, missing: Sequence[str] = (),
) -> list[dict[str, Any]]:  # fmt: skip
    """Judge all claims.

    Args:
        runs: the reported runs of the main grid.
        factorial: runs of the experiment for C2: :data:`OURS` under the combinations of
            :data:`FACTORS`, ERM and the oracle; None: not run.
        validity: for C3, one row per network, explainer, metric and target: ``task, data, method,
            seed, explainer, metric, family`` (the mask that the metric receives), ``target`` (of
            :data:`TARGETS`), ``auroc``; None: not run.
        missing: tasks without data.

    Returns:
        One dictionary per claim: ``id, claim, statistic, estimate, ci_low, ci_high, verdict`` (of
        the part that decides), ``rule``, ``paragraph`` (result and limitations), ``data`` (of each
        task), ``missing`` and ``parts``.
    """
    parts = {"C1": _c1(runs), "C2": _c2(factorial), "C3": _c3(validity)}
    heads = {claim: _decider(found) for claim, found in parts.items()} | {
        "C2": _agreed(parts["C2"])
    }
    heads["C4"], parts["C4"] = _c4(runs, factorial, validity)
    shown = ("statistic", "estimate", "ci_low", "ci_high", "verdict")
    data = dict(zip(runs["task"], runs["data"], strict=True))
    return [
        {
            "id": claim, "claim": text, **{name: getattr(heads[claim], name) for name in shown},
            "rule": RULES[claim] + COMMON,
            "paragraph": _paragraph(claim, heads[claim].verdict, parts[claim], data),
            "data": data, "missing": list(missing),
            "parts": [asdict(part) for part in
                      (_corrected(parts[claim]) if claim == "C2" else parts[claim])],
        }
        for claim, text in CLAIMS.items()
    ]  # fmt: skip


def _paragraph(claim: str, verdict: Verdict, parts: Sequence[Part], data: dict[str, str]) -> str:
    """State the result with its numbers, and the limitations."""
    numbers = [
        f"{part.statistic}: {part.estimate:.3f} [{part.ci_low:.3f}, {part.ci_high:.3f}]"
        for part in parts
        if part.decides and not math.isnan(part.ci_low)
    ]
    others = [about(task, kind) for task, kind in data.items() if kind != "original"]
    limits = f"{' and '.join(others)}: not the data of the paper. " if others else ""
    found = f"Mean and 95% interval: {'; '.join(numbers)}. " if numbers else ""
    return f"{OUTCOMES[verdict]} {found}Limitations: {limits}{LIMITS[claim]}"


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
    >>> conjunction(["supported", "equivalent"])
    'equivalent'
    """
    order: tuple[Verdict, ...] = ("contradicted", "undecided", "equivalent")
    return next((verdict for verdict in order if verdict in verdicts), "supported")


def agreement(verdicts: Sequence[Verdict]) -> Verdict:
    """Verdict of the decided tasks, if there are at least two; equivalent ones follow the others.

    >>> agreement(["equivalent", "undecided", "equivalent"]), agreement(["supported", "undecided"])
    ('equivalent', 'undecided')
    >>> agreement(["equivalent", "contradicted"]), agreement(["supported", "contradicted"])
    ('contradicted', 'undecided')
    """
    decided = [verdict for verdict in verdicts if verdict != "undecided"]
    directions = set(decided) - {"equivalent"}
    if len(decided) < 2 or len(directions) > 1:
        return "undecided"
    return next(iter(directions), "equivalent")


def _decider(parts: Sequence[Part]) -> Part:
    """Return the first deciding part with the verdict of the claim; the weakest if supported."""
    deciding = [part for part in parts if part.decides]
    whole = conjunction([part.verdict for part in deciding])
    if whole == "supported":
        return min(deciding, key=lambda part: part.ci_low)
    return next(part for part in deciding if part.verdict == whole)


def _agreed(parts: Sequence[Part]) -> Part:
    """Return the first task with the verdict of C2, or the mean if it depends on the task."""
    deciding = [part for part in parts if part.decides]
    whole = agreement([part.verdict for part in deciding])
    if {"supported", "contradicted"} <= {part.verdict for part in deciding}:
        mean = next(part for part in parts if not part.decides)
        return replace(mean, statistic=f"Depends on the task. {mean.statistic}", verdict=whole)
    return replace(next((p for p in deciding if p.verdict == whole), deciding[0]), verdict=whole)


def _corrected(parts: Sequence[Part]) -> list[Part]:
    """Add Holm's correction over the parts that decide."""
    found = stats.holm([part.p if part.decides else math.nan for part in parts])
    return [replace(part, p_holm=float(p)) for part, p in zip(parts, found, strict=True)]


def _part(
    statistic: str, values: ArrayLike, *, margin: float | None = None, decides: bool = True
) -> Part:
    """Judge the mean of paired differences over the seeds."""
    found, needed = stats.mean_ci(values), math.nan
    verdict = stats.verdict(found, margin=margin)
    if found.n < MIN_SEEDS:
        statistic, verdict = f"{statistic} ({found.n} of {MIN_SEEDS} seeds)", "undecided"
    if margin and found.n > 1:
        needed = stats.seeds_needed(float(np.nanstd(np.asarray(values), ddof=1)), margin)
    return Part(statistic, found.value, found.low, found.high, verdict, decides, found.n,
                stats.sign_flip(values), seeds_needed=needed)  # fmt: skip


def _over_tasks(statistic: str, parts: Sequence[Part], *, margin: float | None = None) -> Part:
    """Combine the effects on several tasks; this is reported and does not decide."""
    own = [Estimate(part.estimate, part.ci_low, part.ci_high, part.seeds) for part in parts]
    mean, tau, i2 = stats.random_effects(own)
    text = f"{statistic}, random effects over {mean.n} tasks"
    if mean.n > 1:
        text += f", tau {tau:.3f}, I² {i2:.0%}"
    verdict = stats.verdict(mean, margin=margin)
    return Part(text, mean.value, mean.low, mean.high, verdict, decides=False)


def by_seed(
    runs: pd.DataFrame, metric: str, *, split: str, explainer: str = "none"
) -> pd.DataFrame:
    """Return values averaged over the tasks: one row per seed, one column per method.

    All-zero maps count as worst.
    """
    rows = select(runs, metric, split=split, explainer=explainer)
    wide = rows.pivot(index=["task", "seed"], columns="method", values="worst")
    tasks = wide.index.get_level_values("task").nunique()
    # A seed that is undefined on one task is undefined.
    return wide.groupby("seed").sum(min_count=tasks) / tasks


def _difference(
    runs: pd.DataFrame, b: str, metric: str, *, split: str, explainer: str = "none", a: str = OURS
) -> Part:
    by = f" by {label(explainer)}" if explainer != "none" else ""
    text = f"{label(a)} minus {label(b)}, {label(metric).lower()}{by}, {label(split)}"
    absent = [label(name) for name in (a, b) if name not in set(runs["method"])]
    if absent:
        return Part(f"{text} (not run: {', '.join(absent)})", decides=a == OURS)
    values = by_seed(runs, metric, split=split, explainer=explainer)
    return _part(text, values[a] - values[b], decides=a == OURS)


def _c1(runs: pd.DataFrame) -> list[Part]:
    parts = [_difference(runs, name, "accuracy", split=CLEAN) for name in ("erm", *CONTROLS)]
    parts += [_difference(runs, "erm", FOCUS, split=DECOY, explainer=EXPLAINER)]
    return parts + [_difference(runs, "erm", "accuracy", split=CLEAN, a=form)
                    for form in ("xbl_d", "xbl_d_released")]  # fmt: skip


def cells(factorial: pd.DataFrame, *, outcome: str = "recovery") -> pd.DataFrame:
    """Return ``recovery`` or ``decoy_flip_rate`` of every cell of the factorial experiment.

    One row per task and seed, one column per combination of :data:`FACTORS`.
    """
    rows = (
        recoveries(factorial) if outcome == "recovery" else select(factorial, outcome, split=DECOY)
    )
    known = (rows["method"] == OURS) & (rows["score"] == rows["cam_method"].map(SCORES))
    for factor, levels in FACTORS.items():
        known &= rows[factor].isin(levels)
    if (rows.loc[known & (rows["feedback"] == "decoy_only"), "wrong"] > 0).any():
        raise ValueError(
            "wrong must be 0 with feedback decoy_only, got more; D+ would be constant in decoys, "
            "so that distance and overlap would be the same loss"
        )
    return rows[known].pivot(index=["task", "seed"], columns=list(FACTORS), values="value")


def contrasts(own: pd.DataFrame) -> dict[tuple[str, str], pd.Series[float]]:
    """Return the effects on one task, ``{(kind, effect): (seeds,)}``; NaN if a cell is missing.

    Each is a difference of means over all other factors, first minus second level:

    - ``main``: of a factor;
    - ``interaction``: of the weighting by the first level of another factor, minus by the second;
    - ``simple``: of the weighting by one map;
    - ``rest``: of the weighting without the combination of other factors in which it matters most.

    ``own`` are the :func:`cells` of the task, indexed by seed.
    """
    if own.notna().any(axis=None):  # else recovery is undefined in every run
        own = own.dropna(axis=1, how="all")
    levels = [[level for level in both if level in own.columns.unique(name)]
              for name, both in FACTORS.items()]  # fmt: skip
    own = own.reindex(columns=pd.MultiIndex.from_product(levels, names=list(FACTORS)))
    signs = {name: np.where(own.columns.get_level_values(name) == both[0], 1, -1)
             for name, both in zip(FACTORS, levels, strict=True) if len(both) == 2}  # fmt: skip
    found: dict[tuple[str, str], pd.Series[float]] = {
        ("main", name): 2 * (own * sign).mean(axis=1, skipna=False) for name, sign in signs.items()
    }
    if "weighting" not in signs:
        return found
    main, weighting = found["main", "weighting"], own * signs.pop("weighting")
    for name, sign in signs.items():
        found["interaction", name] = 4 * (weighting * sign).mean(axis=1, skipna=False)
    if "cam_method" in signs:
        half = found["interaction", "cam_method"] / 2
        for level, simple in zip(FACTORS["cam_method"], (main + half, main - half), strict=True):
            found["simple", level] = simple
    pairs = np.split(weighting.to_numpy(), 2, axis=1)  # the weighting is the first factor
    pair = pd.DataFrame(pairs[0] + pairs[1], index=own.index)
    if pair.shape[1] > 1 and pair.notna().all(axis=None):
        largest = pair.mean().abs().idxmax()
        found["rest", "weighting"] = pair.drop(columns=largest).mean(axis=1)
    return found


def effects(factorial: pd.DataFrame, *, outcome: str = "recovery") -> pd.DataFrame:
    """Return the :func:`contrasts` on each task, and over the tasks, as rows.

    Columns: ``task, data, kind, effect`` and the fields of :class:`Part`; Holm's correction is over
    the effects on a task.
    """
    sign = 1 if outcome == "recovery" else -1  # fewer flips are better
    table = sign * cells(factorial, outcome=outcome)
    data = dict(zip(factorial["task"], factorial["data"], strict=True))
    found: dict[tuple[str, str, str], Part] = {}
    for task in [task for task in data if task in table.index]:
        own = contrasts(table.loc[task])
        parts = [_part(_named(*key, outcome), own[key], margin=MARGIN) for key in own]
        found |= {(task, *key): part for key, part in zip(own, _corrected(parts), strict=True)}
    for key in dict.fromkeys(key[1:] for key in found):
        several = [part for (_, *own), part in found.items() if tuple(own) == key]
        if len(several) > 1:
            found[POOLED, *key] = _over_tasks(_named(*key, outcome), several, margin=MARGIN)
    data[POOLED] = ", ".join(dict.fromkeys(data.values()))
    return pd.DataFrame(
        {"task": task, "data": data[task], "kind": kind, "effect": effect, **asdict(part)}
        for (task, kind, effect), part in found.items()
    )


def _named(kind: str, effect: str, outcome: str) -> str:
    first, second = FACTORS[effect if kind == "main" else "weighting"]
    if outcome == "decoy_flip_rate":  # fewer are better
        first, second = second, first
    text = f"{label(first)} minus {label(second).lower()}, {label(outcome).lower()}"
    if kind == "rest":
        return f"{text}, without the combination of the largest difference"
    return text if kind == "main" else f"{text}, {kind} effect for {label(effect)}"


def _c2(factorial: pd.DataFrame | None) -> list[Part]:
    if factorial is None:
        return [Part(f"Factorial experiment ({NOT_RUN})")]
    deciding, reported = list[Part](), list[Part]()
    for outcome in ("recovery", "decoy_flip_rate"):
        for row in effects(factorial, outcome=outcome).to_dict("records"):
            task, kind = row["task"], row["kind"]
            part = Part(**{name: row[name] for name in Part.__dataclass_fields__})
            if kind in ("simple", "rest") or (kind, row["effect"]) == ("main", "weighting"):
                name = label(task) if task == POOLED else about(task, row["data"])
                decides = kind == "main" and task != POOLED and outcome == "recovery"
                part = replace(part, statistic=f"{name}: {part.statistic}", decides=decides)
                (deciding if decides else reported).append(part)
    return [*(deciding or [Part("Distance minus overlap, recovery (not run)")]), *reported]


def run_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run: its explanation metrics, flips, and clean accuracy as ``target``.

    Metrics are those of Grad-CAM on images with a decoy, oriented so that higher is
    better; all-zero maps count as worst.
    """
    key = ["task", "method", "seed"]
    rows = runs[(runs["split"] == DECOY) & runs["explainer"].isin([EXPLAINER, "none"])]
    table = rows.pivot(index=key, columns="metric", values="worst").drop(columns="accuracy")
    for name in table:
        if name in metrics.METRICS and not metrics.METRICS[name].higher_is_better:
            table[name] = -table[name]
    table["target"] = select(runs, "accuracy", split=CLEAN).set_index(key)["value"]
    return table


def correlation(table: pd.DataFrame, metric: str) -> Estimate:
    """Correlation of a metric with clean accuracy over the networks: a second view of C3.

    Runs are ranked within their task, so that tasks of different difficulty can be pooled.
    """
    ranks = table[[metric, "target"]].dropna().groupby("task").rank(pct=True).reindex(table.index)
    groups = table.index.get_level_values("method")
    return stats.rank_correlation(ranks[metric], ranks["target"], groups=groups)


def informativeness(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the correlation of every metric with clean accuracy, for each task and pooled.

    Columns: ``task, explainer, metric, kind, rho, ci_low, ci_high, runs, undefined``.
    """
    parts = {str(task): own for task, own in runs.groupby("task", sort=False)}
    if len(parts) > 1:
        parts[POOLED] = runs
    rows = []
    for task, own in parts.items():
        table = run_table(own)
        for metric in table.columns.drop("target"):
            if metric in metrics.METRICS:
                found = correlation(table, metric)
                rows.append((task, EXPLAINER, metric, metrics.METRICS[metric].kind, found.value,
                             found.low, found.high, found.n, found.dropped))  # fmt: skip
    columns = ["task", "explainer", "metric", "kind", "rho", "ci_low", "ci_high", "runs",
               "undefined"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _seeds(auroc: pd.Series[float]) -> pd.Series[float]:
    """Average over the networks of a task and seed, then over the tasks; one value per seed."""
    return auroc.groupby(["task", "seed"]).mean().unstack("task").mean(axis=1, skipna=False)


def validity_table(validity: pd.DataFrame) -> pd.DataFrame:
    """Return the mean AUROC of every metric over the seeds, for each task and pooled.

    Columns: ``task, data, target, family, explainer, metric, mean, ci_low, ci_high, seeds,
    networks``.
    """
    keys = ["target", "family", "explainer", "metric"]
    parts = {str(task): own for task, own in validity.groupby("task", sort=False)}
    if len(parts) > 1:
        parts[POOLED] = validity
    rows = []
    for task, part in parts.items():
        data = ", ".join(part["data"].unique())
        for key, own in part.groupby(keys, sort=False):
            mean = stats.mean_ci(_seeds(own.set_index(["task", "seed"])["auroc"]))
            rows.append((task, data, *key, mean.value, mean.low, mean.high, mean.n, len(own)))
    columns = ["task", "data", *keys, "mean", "ci_low", "ci_high", "seeds", "networks"]
    return pd.DataFrame(rows, columns=columns)


def _c3(validity: pd.DataFrame | None) -> list[Part]:
    if validity is None:
        return [Part(f"Validity of the explanations of single images ({NOT_RUN})")]
    own = validity[(validity["explainer"] == EXPLAINER) & (validity["family"] == "object")]
    parts = []
    for target, left_out in (("flips", ""), ("wrong", ""), ("flips", "oracle")):
        decides = target == "flips" and not left_out
        text = TARGETS[target] + f", without the {left_out}" * bool(left_out)
        some = own[(own["target"] == target) & (own["method"] != left_out)]
        wide = some.pivot(index=["task", "seed", "method"], columns="metric", values="auroc")
        if not {FOCUS, COUNTERPART} <= set(wide):
            parts.append(Part(f"AUROC for {text} (undefined)", decides=decides))
            continue
        overlap = [name for name in wide if name in metrics.METRICS
                   and metrics.METRICS[name].kind == "overlap"]  # fmt: skip
        best = max(overlap, key=lambda name: np.nan_to_num(_seeds(wide[name]).mean()))
        for other, why in ((COUNTERPART, "its overlap counterpart"), (best, "the best one")):
            statistic = f"{label(FOCUS)} minus {label(other).lower()}, {why}, AUROC for {text}"
            values = _seeds(wide[FOCUS] - wide[other])
            parts.append(_part(statistic, values, margin=AUROC_MARGIN, decides=decides))
    return parts


def _c4(
    runs: pd.DataFrame, factorial: pd.DataFrame | None, validity: pd.DataFrame | None
) -> tuple[Part, list[Part]]:
    parts, supported = list[Part](), dict.fromkeys(TASKS, 0)
    for claim, find, table in (("C1", _c1, runs), ("C2", _c2, factorial), ("C3", _c3, validity)):
        first = []
        for task in TASKS:
            own = runs.iloc[:0] if table is None else table[table["task"] == task]
            if own.empty:
                if table is not None and task in set(runs["task"]):
                    parts.append(Part(f"{claim}, {label(task)}: not run"))
                continue
            found, name = find(own), about(task, own["data"].iloc[0])
            head = _decider(found)
            text = f"{claim}, {name}: {head.statistic.removeprefix(f'{name}: ')}"
            parts.append(replace(head, statistic=text, p_holm=math.nan))
            first.append(replace(found[0], statistic=found[0].statistic.removeprefix(f"{name}: ")))
            supported[task] += head.verdict == "supported"
        if len(first) > 1:
            text = f"{claim}, all tasks: {first[0].statistic}"
            parts.append(_over_tasks(text, first, margin=MARGINS.get(claim)))
        else:
            few = "one task only, so no mean" if first else NOT_RUN
            parts.append(Part(f"{claim}, all tasks: {few}"))
    parts += [Part(f"{label(task)}: not run") for task in TASKS if task not in set(runs["task"])]
    text = "Number of the three tasks on which C1, C2 and C3 are all supported"
    count = float(sum(number == 3 for number in supported.values()))
    return Part(text, count, verdict=_decider(parts).verdict), parts
