"""Finished runs of the experiments on disk, one JSON file each, whole or absent."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from xblcore import project
from xblcore.experiments.running import COLUMNS, Row
from xblcore.experiments.spec import Spec

NUMBERS = ("value", "nan_share")


@dataclass(frozen=True)
class Finished:
    """One finished run.

    Attributes:
        spec: what was run.
        rows: one a measurement, each with every name of ``running.COLUMNS``.
        seconds: wall time.
    """

    spec: Spec
    rows: list[Row]
    seconds: float


def path(root: Path, spec: Spec, key: str) -> Path:
    """Where a run is kept: ``build/experiments/<task>/<method>/<key>.json``.

    Args:
        root: of the project.
        spec: what is run.
        key: digest of all that decides its numbers.
    """
    return root / "build" / "experiments" / spec.task / spec.method / f"{key}.json"


def save(file: Path, finished: Finished) -> Finished:
    """Keep a finished run; on the disk when this returns.

    JSON has no NaN and no infinities: among the numbers NaN is written as ``null``, an infinity as
    the text ``inf`` or ``-inf``.

    Args:
        file: from :func:`path`.
        finished: the run; the names of a row in any order.

    Returns:
        The run as :func:`load` would give it, so that a fresh run and a kept one are the same.

    Raises:
        ValueError: a row has other names than ``running.COLUMNS``, or tells of another run.

    >>> import tempfile
    >>> spec = Spec("decoy_coco", "erm", 0.0, 1)
    >>> row = {**asdict(spec), "data": "stand-in", "split": "val", "explainer": "none"}
    >>> row |= {"metric": "accuracy", "value": 0.5, "nan_share": math.nan}
    >>> file = path(Path(tempfile.mkdtemp()), spec, "0f3a")
    >>> _ = save(file, Finished(spec, [row], 2.5))
    >>> kept = load(file, spec)
    >>> kept.seconds, kept.rows[0]["value"], kept.rows[0]["nan_share"]
    (2.5, 0.5, nan)
    """
    settings = asdict(finished.spec)
    rows = [_checked(row, settings) for row in finished.rows]
    kept: dict[str, Any] = {"spec": settings, "seconds": finished.seconds, "rows": rows}
    kept["sha256"] = _digest(kept)
    text = json.dumps(kept, allow_nan=False, indent=1)
    with project.write_atomic(file) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return _finished(json.loads(text))


def load(file: Path, spec: Spec) -> Finished | None:
    """The run kept in ``file``, or None where there is none.

    Raises:
        ValueError: the file is damaged, or holds another run than ``spec``.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise _damaged(file, error) from error
    try:
        finished = _finished(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _damaged(file, error) from error
    if finished.spec != spec:
        raise ValueError(
            f"{file} must hold the run {spec}, got {finished.spec}; delete the file and run again"
        )
    return finished


def _damaged(file: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{file} must hold a finished run, got a damaged file ({type(error).__name__}: {error}); "
        "delete it and run again: that run alone is repeated"
    )


def _digest(kept: dict[str, Any]) -> str:
    told = {name: value for name, value in kept.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _finished(kept: Any) -> Finished:
    # A turned bit may leave a number that looks like one. Runs kept before this was so have none.
    if kept.get("sha256", found := _digest(kept)) != found:
        raise ValueError(f"its sha256 must be {kept['sha256']}, got {found}")
    rows = [
        {name: _from_json(row[name]) if name in NUMBERS else row[name] for name in COLUMNS}
        for row in kept["rows"]
    ]
    return Finished(Spec(**kept["spec"]), rows, float(kept["seconds"]))


def _checked(row: Row, settings: Row) -> Row:
    """A row as JSON takes it."""
    if set(row) != set(COLUMNS):
        differing = ", ".join(sorted(set(row) ^ set(COLUMNS)))
        raise ValueError(f"a row must have the names of COLUMNS, got a difference in {differing}")
    for name, value in settings.items():
        if row[name] != value:
            raise ValueError(
                f"{name} of a row must be that of its run, {value!r}, got {row[name]!r}"
            )
    return {name: _to_json(row[name]) if name in NUMBERS else row[name] for name in COLUMNS}


def _to_json(number: float) -> float | str | None:
    number = float(number)
    if math.isnan(number):
        return None
    return number if math.isfinite(number) else str(number)


def _from_json(number: float | str | None) -> float:
    return math.nan if number is None else float(number)
