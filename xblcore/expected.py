"""``results/expected.json``: what the results of each profile should be, as checked records."""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from xblcore import config, project, results
from xblcore.tolerance import RULE

T = TypeVar("T")

FILE = "results/expected.json"
REMEDY = f"take it back with: git checkout {FILE}, or write it anew with: make expected"


@dataclass(frozen=True)
class Number:
    """A mean over seeds; NaN, null in the file, is "undefined", for a tolerance "unknown"."""

    mean: float
    tolerance: float

    def __post_init__(self) -> None:
        if math.isinf(self.mean):
            raise ValueError(f"mean must be finite or null, got {self.mean}")
        if not (math.isnan(self.tolerance) or 0 <= self.tolerance < math.inf):
            raise ValueError(f"tolerance must be at least 0 or null, got {self.tolerance}")


@dataclass(frozen=True)
class Method:
    """A task x method: the weight chosen, the hash of its lines in ``metrics.csv``, its numbers."""

    weight: float
    sha256: str
    numbers: dict[str, Number]


@dataclass(frozen=True)
class Task:
    """A task: ``original`` or ``stand-in`` data, the seeds, and its methods."""

    data: str
    seeds: list[int]
    methods: dict[str, Method]


@dataclass(frozen=True)
class Block:
    """The results of one profile; ``environment`` is empty where the runs are not at hand."""

    environment: dict[str, str]
    verdicts: dict[str, str]
    tasks: dict[str, Task]


@dataclass(frozen=True)
class _File:
    rule: str
    profiles: dict[str, Any]


def read(profile: str, *, root: Path | None = None) -> Block | None:
    """What is expected of a profile; None where nothing is.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not as :func:`renew` writes it.
    """
    try:
        block = _parse(root).profiles.get(profile)
        return None if block is None else _block(block, f"{FILE}: profiles.{profile}")
    except ValueError as error:
        raise ValueError(f"{error}; {REMEDY}") from error


def renew(profile: str, block: Block, *, root: Path | None = None) -> None:
    """Put the results of a profile into ``results/expected.json``; other profiles stay."""
    path = (root or project.root()) / FILE
    profiles = dict(_parse(root).profiles) if path.is_file() else {}
    profiles[profile] = _null(asdict(block))
    text = json.dumps(asdict(_File(RULE, profiles)), indent=1, allow_nan=False)
    results.write_text(text + "\n", path)


def _parse(root: Path | None) -> _File:
    path = (root or project.root()) / FILE
    if not path.is_file():
        raise FileNotFoundError(f"{FILE} is missing; {REMEDY}")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{FILE} must be valid JSON, got: {error}") from error
    return _record(_File, values, FILE)


def _block(values: Any, where: str) -> Block:
    return _record(Block, values, where, tasks=_task)


def _task(values: Any, where: str) -> Task:
    return _record(Task, values, where, methods=_method)


def _method(values: Any, where: str) -> Method:
    return _record(Method, values, where, numbers=_number)


def _number(values: Any, where: str) -> Number:
    undefined = []
    if isinstance(values, dict):  # a record of settings has no NaN: it is put in afterwards
        undefined = [key for key, value in values.items() if value is None]
        values = values | dict.fromkeys(undefined, 0.0)
    try:
        return replace(_record(Number, values, where), **dict.fromkeys(undefined, math.nan))
    except ValueError as error:
        raise ValueError(str(error) if where in str(error) else f"{where}: {error}") from error


def _record(kind: type[T], values: Any, where: str, **parts: Callable[[Any, str], Any]) -> T:
    """A record from JSON; ``parts`` make the records inside those of its fields."""
    if not isinstance(values, dict):
        raise ValueError(f"{where} must be a mapping, got {reprlib.repr(values)}")
    values = dict(values)
    for key, make in parts.items():
        if isinstance(values.get(key), dict):
            inside = values[key].items()
            values[key] = {name: make(part, f"{where}.{key}.{name}") for name, part in inside}
    return config.from_mapping(kind, values, where)


def _null(values: Any) -> Any:
    """NaN as null, anywhere inside."""
    if isinstance(values, dict):
        return {key: _null(value) for key, value in values.items()}
    return None if isinstance(values, float) and math.isnan(values) else values
