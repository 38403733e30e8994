"""``params.yaml``, checked: a frozen dataclass of what a task runs with in the chosen profile."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import reprlib
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from xblcore import project

T = TypeVar("T")


@dataclass(frozen=True)
class TaskConfig:
    """Everything that decides the runs of one task.

    Attributes:
        task: name of the task.
        profile: name of the profile.
        device: ``auto``, ``cpu`` or ``cuda``.
        data: which data: ``original``, ``stand-in``, or ``auto``, the original if it can be had.
        data_seed: of the splits and of the decoys.
        decoy: settings of the decoy, as the task's builder takes them.
        model: a network of :mod:`xblcore.models`.
        weights: candidates for the explanation loss, per method.
        seeds: of the runs reported.
        sweep_seeds: those of ``seeds`` that try every candidate weight.
        threads: of PyTorch; part of the configuration, for it decides the last bits.
        explained_images: of each split, the first so many are explained; all are classified.
        held_out_images: the same for the held-out explainers, which cost more.
        n_train: images to learn from.
        n_val: images to choose the weight on.
        n_test: images in each test split.
        epochs: passes over the training images.
        ramp_epochs: over which the weight rises from 0.
        batch_size: images a training step.
        learning_rate: of Adam.
        by_data: to ``original`` or ``stand-in``, the settings of the data that differ there.
    """

    task: str
    profile: str
    device: str
    data: str
    data_seed: int
    decoy: dict[str, Any]
    model: str
    weights: dict[str, list[float]]
    seeds: list[int]
    sweep_seeds: list[int]
    threads: int
    explained_images: int
    held_out_images: int
    n_train: int
    n_val: int
    n_test: int
    epochs: int
    ramp_epochs: float
    batch_size: int
    learning_rate: float
    by_data: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("threads", "explained_images", "held_out_images", "n_train", "n_val", "n_test",
                     "epochs", "batch_size", "learning_rate"):  # fmt: skip
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"{name} of {self.task} must be above 0, got {value}")
        if not self.ramp_epochs >= 0:
            raise ValueError(
                f"ramp_epochs of {self.task} must be at least 0, got {self.ramp_epochs}"
            )
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds must be distinct and at least one, got {self.seeds}")
        own = set(self.sweep_seeds)
        if not own or len(own) != len(self.sweep_seeds) or not own <= set(self.seeds):
            raise ValueError(
                f"sweep_seeds must be some of seeds, each once, got {self.sweep_seeds}"
            )
        for method, weights in self.weights.items():
            distinct = len(set(weights)) == len(weights)
            if not weights or not distinct or not all(weight >= 0 for weight in weights):
                raise ValueError(
                    f"weights of {method} must be one or more, distinct and each at least 0, "
                    f"got {weights}"
                )
        if self.device not in ("auto", "cpu", "cuda"):
            raise ValueError(f"device must be auto, cpu or cuda, got {self.device!r}")

    def weights_of(self, method: str) -> list[float]:
        """Candidate weights of a method.

        Raises:
            ValueError: params.yaml has none for it.
        """
        if method not in self.weights:
            raise ValueError(
                f"{self.task} must have weights of {method!r}, got those of "
                f"{', '.join(self.weights)}; give its own under setup.{self.task}.weights in "
                "params.yaml"
            )
        return self.weights[method]


@dataclass(frozen=True)
class Config:
    """The study: the grid, and what each of its tasks runs with."""

    profile: str
    device: str
    tasks: list[str]
    methods: list[str]
    setup: dict[str, dict[str, Any]]
    profiles: dict[str, dict[str, Any]]

    def __post_init__(self) -> None:
        for name in ("tasks", "methods"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise ValueError(f"{name} must be one or more, each once, got {values}")

    def task(self, name: str) -> TaskConfig:
        """What a task runs with in this profile.

        Raises:
            ValueError: unknown task or profile, a key that is missing or unknown, a bad value.
        """
        known = [task for task in self.setup if task in self.tasks]
        if name not in known:
            raise ValueError(
                f"task must be one of {', '.join(known)}, got {name!r}; the grid is `tasks` and "
                "`setup` in params.yaml"
            )
        if self.profile not in self.profiles:
            names = ", ".join(self.profiles)
            raise ValueError(f"profile must be one of {names}, got {self.profile!r}")
        own = dict(self.setup[name])
        in_profile = _typed(
            own.pop("profiles", {}),
            dict[str, dict[str, Any]],
            f"params.yaml: setup.{name}.profiles",
        )
        if self.profile not in in_profile:
            raise ValueError(
                f"params.yaml must have setup.{name}.profiles.{self.profile}, got none"
            )
        merged = {
            "task": name,
            "profile": self.profile,
            "device": self.device,
            **own,
            **self.profiles[self.profile],
            **in_profile[self.profile],
        }
        return from_mapping(TaskConfig, merged, f"params.yaml for {name}")


def load(root: Path | None = None) -> Config:
    """Read ``params.yaml`` of the project.

    Raises:
        ValueError: not YAML, a key that is missing or unknown, or a task without its setup.
    """
    found = from_mapping(Config, read_yaml(root or project.root(), "params.yaml"), "params.yaml")
    for task in found.tasks:
        if task not in found.setup:
            raise ValueError(
                f"params.yaml: tasks must be of setup, got {task!r}{nearest(task, found.setup)}"
            )
    return found


class _PlainLoader(yaml.SafeLoader):
    """Plain values alone, each as long as its text: no alias, no tag, no key that is there twice.

    Aliases make a small file endlessly large as soon as its values are copied or shown.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None):
            raise yaml.MarkedYAMLError(problem="an alias or a tag", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) < len(node.value):
            raise yaml.MarkedYAMLError(problem="a key twice", problem_mark=node.start_mark)
        return mapping

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value = super().construct_yaml_int(node)
        if abs(value) >= 2**63:
            raise yaml.MarkedYAMLError(problem="too large a number", problem_mark=node.start_mark)
        return value


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_yaml_int)


def read_yaml(root: Path, name: str) -> dict[str, Any]:
    """The mapping in a YAML file of plain values.

    Args:
        root: of the project.
        name: of the file below it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not YAML or no mapping; an alias, a tag, or a key that is there twice.
    """
    try:
        values = yaml.load((root / name).read_text(encoding="utf-8"), _PlainLoader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{name} must be valid YAML, got: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{name} must be a mapping, got {type(values).__name__}")
    return values


def from_mapping(kind: type[T], values: dict[str, Any], where: str) -> T:
    """A dataclass from a mapping that must have its fields and no other, each of its type.

    A field that has a default may be left out.

    Raises:
        ValueError: a key that is missing or unknown (with the nearest known one), a wrong type.
    """
    types = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    names = [field.name for field in fields]
    for key in values:
        if key not in names:
            hint = nearest(str(key), names)
            raise ValueError(f"{where} must not have the key {reprlib.repr(key)}{hint}")
    missing = [
        field.name
        for field in fields
        if field.name not in values
        and field.default is field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"{where} must have the key {missing[0]!r}, got none")
    typed = {name: _typed(values[name], types[name], f"{where}: {name}") for name in values}
    return kind(**typed)


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message that refuses a name: the most similar one there is, if any.

    >>> nearest("tv_outsid", ["erm", "tv_outside"]), nearest("x", ["erm"])
    ("; did you mean 'tv_outside'?", '')
    """
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _typed(value: Any, hint: Any, where: str) -> Any:
    """``value`` if it is of the type ``hint``; an int passes for a float."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is list and isinstance(value, list):
        return [_typed(item, arguments[0], where) for item in value]
    if origin is dict and isinstance(value, dict) and all(type(key) is str for key in value):
        return {key: _typed(item, arguments[1], f"{where}.{key}") for key, item in value.items()}
    if hint is float and type(value) in (int, float):
        if not math.isfinite(value):
            raise ValueError(f"{where} must be a finite number, got {value}")
        return float(value)
    if hint is Any:
        return value
    if origin is None and type(value) is hint:
        return value
    name = getattr(hint, "__name__", str(hint)) if origin is None else str(hint)
    remedy = ""
    if (
        hint is float
        and isinstance(value, str)
        and re.fullmatch(r"[-+]?\d+\.?\d*([eE][-+]?\d+)?", value)
    ):
        remedy = f"; YAML takes that for text, write {float(value)!r}"
    raise ValueError(f"{where} must be of type {name}, got {reprlib.repr(value)}{remedy}")
