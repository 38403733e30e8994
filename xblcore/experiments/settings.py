"""``experiments/settings.yaml``, checked: which conditions, how much of the task."""

from __future__ import annotations

import dataclasses
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xblcore import config, project
from xblcore.config import TaskConfig

FILE = Path("experiments") / "settings.yaml"


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
        missing = {"erm", "oracle"} - {*self.methods}
        if missing:
            raise ValueError(
                f"methods of the experiments must include {' and '.join(sorted(missing))}, beside "
                f"which the others are measured, got {', '.join(self.methods)}"
            )
        for method in self.methods:
            if method not in self.weights:
                raise ValueError(f"{FILE} must have weights of {method}, got none")
        unknown = [name for name in self.sweep_only if name not in self.methods]
        if unknown:
            raise ValueError(f"sweep_only must be some of methods, got {', '.join(unknown)}")

    @property
    def everywhere(self) -> list[str]:
        """The methods that take part in all experiments."""
        return [name for name in self.methods if name not in self.sweep_only]

    def task_config(self, root: Path, task: str | None = None) -> TaskConfig:
        """What a task's runs use: that of ``params.yaml``, at the size of the experiments."""
        own = config.load(root).task(task or self.task)
        values = {f.name: getattr(own, f.name) for f in dataclasses.fields(own)}
        return config.from_mapping(
            TaskConfig, {**values, **self.task_settings}, f"task_settings in {FILE}"
        )


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
