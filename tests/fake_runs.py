"""Runs that take no time, for tests of the engine; in a file of their own, for workers import them.

Each leaves a file in ``<root>/begun`` when it begins, by which the tests count.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
import uuid
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from xblcore.experiments.spec import Spec


def key(spec: Spec, root: Path) -> str:
    return f"{spec.seed}-{hashlib.sha256(repr(spec).encode()).hexdigest()[:16]}"


def own_key(spec: Spec, root: Path) -> str:
    """Differs from process to process, as with other code on a worker."""
    return f"{key(spec, root)}-{os.getpid()}"


def begin(spec: Spec, root: Path) -> int:
    """Leave a mark; returns how many times the run has begun."""
    folder = root / "begun"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{spec.seed}.{os.getpid()}.{uuid.uuid4().hex}").touch()
    return begun(root)[spec.seed]


def begun(root: Path) -> Counter[int]:
    """How many times each seed's run has begun."""
    return Counter(int(path.name.split(".")[0]) for path in (root / "begun").glob("*"))


def pids(root: Path) -> set[int]:
    """The processes that the runs were in."""
    return {int(path.name.split(".")[1]) for path in (root / "begun").glob("*")}


def files(root: Path) -> list[Path]:
    """All that is in the store."""
    return sorted(p for p in (root / "build" / "experiments").rglob("*") if p.is_file())


def kept(root: Path) -> set[int]:
    """The seeds whose runs are in the store."""
    return {int(path.stem.split("-")[0]) for path in files(root) if path.name[0] != "."}


def rows(spec: Spec) -> list[dict[str, object]]:
    """The shape of real rows, an undefined metric among them."""
    values = {"accuracy": 1 / (1 + spec.seed), "iou": float("nan")}
    told = {**asdict(spec), "data": "stand-in", "split": "val", "explainer": "none"}
    return [{**told, "metric": k, "value": v, "nan_share": 0.0} for k, v in values.items()]


def run(spec: Spec, *, root: Path) -> list[dict[str, object]]:
    begin(spec, root)
    time.sleep(0.02 * (spec.seed % 3))  # they do not finish in the order of the specs
    return rows(spec)


def run_two_dies_once(spec: Spec, *, root: Path) -> list[dict[str, object]]:
    """Seed 2 is killed with its worker the first time, once seeds 0 and 1 are kept."""
    if begin(spec, root) == 1 and spec.seed == 2:
        wait_until(lambda: kept(root) >= {0, 1})
        os.kill(os.getpid(), signal.SIGKILL)
    return rows(spec)


def run_two_fails(spec: Spec, *, root: Path) -> list[dict[str, object]]:
    """Seed 2 raises once seeds 0 and 1 are kept, and those after it last longer than that."""
    begin(spec, root)
    if spec.seed >= 2:
        wait_until(lambda: kept(root) >= {0, 1})
    if spec.seed == 2:
        raise ZeroDivisionError("no images")
    if spec.seed > 2:
        time.sleep(0.5)
    return rows(spec)


def run_two_and_on_last_long(spec: Spec, *, root: Path) -> list[dict[str, object]]:
    begin(spec, root)
    if spec.seed >= 2:
        time.sleep(300)
    return rows(spec)


def wait_until(true, seconds: float = 120) -> None:
    limit = time.monotonic() + seconds
    while not true():
        if time.monotonic() > limit:
            raise TimeoutError("it did not come true")
        time.sleep(0.02)
