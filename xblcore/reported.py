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
import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pandas as pd

from xblcore import config, project, results
from xblcore.expected import Block, Method, Number, Task
from xblcore.results import BOUNDS, CLEAN, DECOY, EXPLAINER
from xblcore.tolerance import FALSE_ALARMS, tolerances

T = TypeVar("T")

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
    metrics, lines = _table(root, METRICS, results.STRICT)
    summary, _ = _table(root, SUMMARY, ["task", "method", "weight"])
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
    hashes = _hashes(lines)
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
    return Block(
        _environment(root),
        _read(root, CLAIMS, "a list of claims with id and verdict", _verdicts),
        tasks,
    )


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


def _hashes(lines: list[str]) -> dict[tuple[str, str], str]:
    """sha256 of the lines of each task x method, however the lines end."""
    found: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        task, _, method, *_ = line.split(",")
        found.setdefault((task, method), []).append(line + "\n")
    return {key: hashlib.sha256("".join(own).encode()).hexdigest() for key, own in found.items()}


def _environment(root: Path) -> dict[str, str]:
    """What decides the last bits, from the manifests; empty where a run is not at hand."""
    try:
        manifests = results.load_manifests(root=root).values()
    except FileNotFoundError:
        return {}
    found = [
        {
            "torch": manifest["packages"].get("torch", "unknown"),
            "device": manifest["device"],
            "processor": manifest["processor"],
            "threads": manifest["config"].get("threads", "unknown"),
        }
        for manifest in manifests
    ]
    return {key: " and ".join(sorted({str(one[key]) for one in found})) for key in found[0]}


def _verdicts(text: str) -> dict[str, str]:
    claims = json.loads(text)
    if not isinstance(claims, list):
        raise TypeError(type(claims).__name__)
    return {str(claim["id"]): str(claim["verdict"]) for claim in claims}


def _read(root: Path, name: str, rule: str, parse: Callable[[str], T]) -> T:
    """What ``parse`` makes of a file; what it cannot, is told with the file and what to do."""
    path = root / name
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {REPRODUCE}")
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{name} must be {rule}, got: {error!r}; {REPRODUCE}") from error


def _table(root: Path, name: str, columns: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """A table that has the columns, the last one numbers, and its lines without the head."""
    table, lines = _read(root, name, "a table", _parsed)
    if fault := _fault(table, columns):
        raise ValueError(f"{name} must have {fault}; {REPRODUCE}")
    return table, lines


def _parsed(text: str) -> tuple[pd.DataFrame, list[str]]:
    table = pd.read_csv(
        io.StringIO(text),
        keep_default_na=False,
        na_values={"value": [""]},
        float_precision="round_trip",
    )
    head, *lines = text.splitlines()
    for line in lines:  # none that is written needs a quote
        if line.count(",") != head.count(",") or '"' in line:
            raise ValueError(f"the line {line!r:.80}")
    return table, lines


def _fault(table: pd.DataFrame, columns: list[str]) -> str:
    """What is wrong with a table: the end of a sentence; empty where nothing is."""
    missing = [column for column in columns if column not in table]
    if missing:
        return f"the column {missing[0]!r}, got none"
    *keys, last = columns
    if not pd.api.types.is_numeric_dtype(table[last]):
        return f"numbers as {last!r}, got text"
    if table[last].isin([math.inf, -math.inf]).any():
        return f"finite numbers as {last!r}, got an infinite one"
    if "seed" in keys and not pd.api.types.is_integer_dtype(table["seed"]):
        strange = [seed for seed in table["seed"].tolist() if not str(seed).isdigit()]
        return f"whole numbers as 'seed', got {reprlib.repr(strange)}"
    keys = [key for key in keys if key != "data"]
    again = table.loc[table.duplicated(keys), keys]
    if len(again):
        return f"one row each {', '.join(keys)}, got two of {', '.join(map(str, again.iloc[0]))}"
    return ""
