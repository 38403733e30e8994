"""The results that a project has, gathered to be compared: weights, hashes, means and tolerances.

What is in git is enough: ``results/metrics.csv``, ``summary.csv`` and ``claims.json`` beside
``params.yaml``. A fresh clone has that too, so whoever asks must see to it that something was run
(:func:`not_trained_here`).
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from xblcore import config, project, results
from xblcore.expected import Block, Method, Number, Task
from xblcore.results import BOUNDS, CLEAN, DECOY, EXPLAINER
from xblcore.tolerance import FALSE_ALARMS, tolerances

METRICS, SUMMARY = "results/metrics.csv", "results/paper/summary.csv"
CLAIMS = "results/paper/claims.json"
REPRODUCE = "run: make reproduce"


@dataclass(frozen=True)
class Quantity:
    """A number that is compared, and the settings that give its resolution."""

    metric: str
    split: str
    explainer: str
    images: str  # name in TaskConfig: how many it is a mean over
    bounded: bool = True  # in [0, 1]


QUANTITIES = {
    "accuracy_clean": Quantity("accuracy", CLEAN, "none", "n_test"),
    "accuracy_decoy": Quantity("accuracy", DECOY, "none", "n_test"),
    "recovery": Quantity("recovery", CLEAN, "none", "n_test", bounded=False),
    "decoy_flip_rate": Quantity("decoy_flip_rate", DECOY, "none", "n_test"),
    "distance_focus": Quantity("distance_focus", DECOY, EXPLAINER, "explained_images"),
}


def not_trained_here(root: Path) -> list[str]:
    """Each method of a task in the grid that has left no run, as "METHOD on TASK"."""
    grid = config.load(root)
    return [
        f"{method} on {task}"
        for task in grid.tasks
        for method in grid.methods
        if not (results.folder(task, method, root=root) / "runs.csv").is_file()
    ]


def own(*, root: Path | None = None) -> Block:
    """The results that a project has, of the grid in its ``params.yaml``.

    Reads what is in git: ``results/metrics.csv``, ``summary.csv`` and ``claims.json``; the
    manifests, for the environment, only where they are.

    Raises:
        FileNotFoundError, ValueError: missing results, or those of another grid or profile.
    """
    root = root or project.root()
    settings = config.load(root)
    text = _text(root / METRICS)
    metrics = _table(text, results.STRICT, METRICS)
    summary_text = _text(root / SUMMARY)
    summary = _table(summary_text, ["task", "method", "weight"], SUMMARY)
    chosen = zip(summary["task"], summary["method"], summary["weight"], strict=True)
    weights = {(task, method): float(weight) for task, method, weight in chosen}
    grid = [(task, method) for task in settings.tasks for method in settings.methods]
    there = set(zip(metrics["task"], metrics["method"], strict=True)) & set(weights)
    missing = [key for key in grid if key not in there]
    if missing:
        task, method = missing[0]
        raise ValueError(
            f"results must hold {method} on {task}, which params.yaml names, got none; {REPRODUCE}"
        )
    hashes = _hashes(text)
    numbers = _numbers(metrics, settings)
    tasks = {}
    for task in settings.tasks:
        rows = metrics[metrics["task"] == task]
        methods = {
            method: Method(weights[task, method], hashes[task, method], numbers[task, method])
            for method in settings.methods
        }
        seeds = sorted({int(seed) for seed in rows["seed"]})
        tasks[task] = Task(str(rows["data"].iloc[0]), seeds, methods)
    return Block(_environment(root), _verdicts(_text(root / CLAIMS)), tasks)


def _numbers(
    metrics: pd.DataFrame, settings: config.Config
) -> dict[tuple[str, str], dict[str, Number]]:
    """Mean and tolerance of every quantity of every task x method of the grid."""
    rows = metrics.assign(chosen=True)
    rows = pd.concat([rows, results.recoveries(rows)], ignore_index=True)
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for task in settings.tasks:
        for name, quantity in QUANTITIES.items():
            match = (rows["task"] == task) & (rows["metric"] == quantity.metric)
            match &= (rows["split"] == quantity.split) & (rows["explainer"] == quantity.explainer)
            by_method = dict(list(rows[match].groupby("method")["value"]))
            found[task, name] = {
                method: by_method[method].tolist()
                for method in settings.methods
                if method in by_method and not (name == "recovery" and method in BOUNDS)
            }
    count = sum(len(values) for values in found.values())
    numbers: dict[tuple[str, str], dict[str, Number]] = {
        (task, method): {} for task in settings.tasks for method in settings.methods
    }
    for (task, name), values in found.items():
        resolution = 1 / getattr(settings.task(task), QUANTITIES[name].images)
        limits = tolerances(values, alarm=FALSE_ALARMS / count, resolution=resolution)
        for method, of_seeds in values.items():
            limit = limits[method]
            if QUANTITIES[name].bounded and not math.isnan(limit):
                limit = min(limit, 1.0)
            mean = float(pd.Series(of_seeds).mean())
            numbers[task, method][name] = Number(float(f"{mean:.10g}"), float(f"{limit:.4g}"))
    return numbers


def _hashes(text: str) -> dict[tuple[str, str], str]:
    """sha256 of the lines of each task x method, however the lines end."""
    lines: dict[tuple[str, str], list[str]] = {}
    for line in text.splitlines()[1:]:
        task, _, method, *_ = line.split(",")
        lines.setdefault((task, method), []).append(line + "\n")
    return {key: hashlib.sha256("".join(own).encode()).hexdigest() for key, own in lines.items()}


def _environment(root: Path) -> dict[str, str]:
    """What decides the last bits, from the manifests; empty where a run is not at hand."""
    try:
        manifests = results.load_manifests(root=root).values()
    except FileNotFoundError:
        return {}
    found = [
        {
            "torch": manifest["packages"]["torch"],
            "device": manifest["device"],
            "processor": manifest["processor"],
            "threads": manifest["config"]["threads"],
        }
        for manifest in manifests
    ]
    return {key: " and ".join(sorted({str(one[key]) for one in found})) for key in found[0]}


def _verdicts(text: str) -> dict[str, str]:
    try:
        claims = json.loads(text)
        if not isinstance(claims, list):
            raise TypeError(type(claims).__name__)
        return {str(claim["id"]): str(claim["verdict"]) for claim in claims}
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        rule = "must be a list of claims with id and verdict"
        raise ValueError(f"{CLAIMS} {rule}, got: {error!r}; {REPRODUCE}") from error


def _text(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {REPRODUCE}")
    return path.read_text(encoding="utf-8")


def _table(text: str, columns: list[str], name: str) -> pd.DataFrame:
    try:
        table = pd.read_csv(
            io.StringIO(text),
            keep_default_na=False,
            na_values={"value": [""]},
            float_precision="round_trip",
        )
    except ValueError as error:  # pandas says what, not where
        raise ValueError(f"{name} must be a table, got {error}; {REPRODUCE}") from error
    missing = [column for column in columns if column not in table]
    if missing:
        raise ValueError(f"{name} must have the column {missing[0]!r}, got none; {REPRODUCE}")
    last = columns[-1]
    if not pd.api.types.is_numeric_dtype(table[last]):
        raise ValueError(f"{name} must have numbers as {last!r}, got text; {REPRODUCE}")
    return table
