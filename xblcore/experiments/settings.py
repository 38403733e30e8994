"""``experiments/settings.yaml``, checked: which conditions, how much of the task."""

from __future__ import annotations

import dataclasses
import re
import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xblcore import config, project
from xblcore.config import TaskConfig

FILE = Path("experiments") / "settings.yaml"
BOUNDS = ("erm", "oracle")
COUNTS = ("n_train", "n_val", "n_test")

# Of each list, what its values must be; kinds, CAMs and scores that there are not, Spec refuses.
Rule = tuple[str, Callable[[Any], object]]
AT_LEAST_0: Rule = ("at least 0", lambda value: value >= 0)
AT_LEAST_1: Rule = ("at least 1", lambda value: value >= 1)
NAME: Rule = ("a name", bool)
RULES: dict[str, Rule] = {
    "methods": NAME,
    "annotated": AT_LEAST_1,
    "feedback": ("a kind other than correct", lambda value: value not in ("", "correct")),
    "switch_on": AT_LEAST_1,
    "decoy_sizes": AT_LEAST_1,
    "predictive": ("in [0, 1)", lambda value: 0 <= value < 1),
    "layers": (
        "features, head or a layer in them, as features.2",
        re.compile(r"(features|head)(\.\w+)*").fullmatch,
    ),
    "cams": NAME,
    "scores": NAME,
    "layer_factors": ("above 0", lambda value: value > 0),
    "seeds": AT_LEAST_0,
}


@dataclass(frozen=True)
class Settings:
    """What the experiments run in the profile of ``params.yaml``.

    Attributes:
        profile: its name.
        task: the task that they are made on.
        methods: all that take part; the floor ``erm`` and the ceiling ``oracle`` among them.
        sweep_only: those of ``methods`` that take part in the weight sweep alone.
        weights: candidates for the explanation loss, per method.
        annotated: numbers of marked images, below all.
        feedback: kinds of feedback beside the correct one.
        switch_on: epochs of plain training before the loss is turned on.
        decoy_sizes: sides of the decoy in pixels beside the task's.
        predictive: shares of images whose decoy tells the label, below 1.
        layers: explained layers.
        cams: CAMs that XBL-D is trained on.
        scores: of the class, of such a CAM.
        layer_factors: of a method's chosen weight, the candidates in the experiment on layers.
        seeds: of the runs.
        task_settings: of the runs, in the place of the task's own in ``params.yaml``.
    """

    profile: str
    task: str
    methods: list[str]
    sweep_only: list[str]
    weights: dict[str, list[float]]
    annotated: list[int]
    feedback: list[str]
    switch_on: list[int]
    decoy_sizes: list[int]
    predictive: list[float]
    layers: list[str]
    cams: list[str]
    scores: list[str]
    layer_factors: list[float]
    seeds: list[int]
    task_settings: dict[str, Any]

    def __post_init__(self) -> None:
        missing = {*BOUNDS} - {*self.methods}
        if missing:
            raise ValueError(
                f"methods of the experiments must include {' and '.join(sorted(missing))}, beside "
                f"which the others are measured, got {', '.join(self.methods)}"
            )
        for method in self.methods:
            if method not in self.weights:
                raise ValueError(f"{FILE} must have weights of {method}, got none")
        wrong = [name for name in self.sweep_only if name in BOUNDS or name not in self.methods]
        if wrong:
            raise ValueError(
                f"sweep_only must be some of methods, but {' and '.join(BOUNDS)}, "
                f"got {', '.join(wrong)}"
            )
        for name, rule in RULES.items():
            _check(name, getattr(self, name), rule)
        for method, candidates in self.weights.items():
            _check(f"weights.{method}", candidates, AT_LEAST_0)
        for key in ("task", "profile"):
            if key in self.task_settings:
                got = self.task_settings[key]
                raise _refused(f"task_settings.{key}", "left out, for it is set elsewhere", got)

    @property
    def everywhere(self) -> list[str]:
        """The methods that take part in all experiments."""
        return [name for name in self.methods if name not in self.sweep_only]

    def task_config(self, root: Path, task: str | None = None) -> TaskConfig:
        """What a task's runs use: that of ``params.yaml``, at the size of the experiments.

        Raises:
            ValueError: no such task, a bad value, or conditions that the task cannot serve.
        """
        own = config.load(root).task(task or self.task)
        values = {f.name: getattr(own, f.name) for f in dataclasses.fields(own)}
        found = config.from_mapping(
            TaskConfig, {**values, **self.task_settings}, f"task_settings in {FILE}"
        )
        by_data = {key for settings in own.by_data.values() for key in settings}
        for name in COUNTS:
            count, most = getattr(found, name), getattr(own, name)
            if count > most and name not in by_data:
                raise _refused(f"task_settings.{name}", f"at most {most}, as in params.yaml", count)
        every, size = found.n_train, own.decoy.get("size")
        _check("annotated", self.annotated, (f"below n_train, {every}", lambda n: n < every))
        _check("decoy_sizes", self.decoy_sizes, (f"not the task's, {size}", lambda n: n != size))
        if "model" in self.task_settings:
            from xblcore.models import MODELS  # here, since it loads torch

            if found.model not in MODELS:
                raise _refused("task_settings.model", f"one of {', '.join(MODELS)}", found.model)
        return found


def _check(name: str, values: Sequence[Any], rule: Rule) -> None:
    text, keeps = rule
    if not values or len(set(values)) < len(values) or not all(map(keeps, values)):
        raise _refused(name, f"one or more, none of them twice, each {text}", values)


def _refused(name: str, rule: str, got: object) -> ValueError:
    return ValueError(f"{FILE}: {name} must be {rule}, got {reprlib.repr(got)}")


def load(root: Path | None = None) -> Settings:
    """The settings of the experiments in the profile of ``params.yaml``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not YAML, no such profile, a key that is missing or unknown, a bad value.
    """
    root = root or project.root()
    values = config.read_yaml(root, str(FILE))
    profile = config.load(root).profile
    profiles = values.pop("profiles", {})
    own = profiles.get(profile) if isinstance(profiles, dict) else None
    if not isinstance(own, dict):
        raise ValueError(
            f"{FILE} must have profiles.{profile}, a mapping, got {reprlib.repr(profiles)}"
        )
    merged = {**values, "profile": profile, **own}
    return config.from_mapping(Settings, merged, str(FILE))
