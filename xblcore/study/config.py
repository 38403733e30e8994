"""``params.yaml``, validated: what is run, and with which settings."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from xblcore import project
from xblcore.data import DataConfig
from xblcore.decoys import Decoy
from xblcore.methods import METHODS, Options
from xblcore.study.feedback import KINDS
from xblcore.study.models import MODELS

Positive = Annotated[int, Field(gt=0)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    """A frozen model that rejects unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, kw_only=True)
class Condition(Options):
    """How a run differs from the settings of its task; the default is the main grid.

    None stands for the network and decoy of the task and the explained layer of the network.

    Attributes:
        annotated: number of annotated training images, drawn by the seed; None: all.
        feedback: quality of the annotations, see :mod:`xblcore.study.feedback`.
        switch_on: epochs of plain training before the method starts; its own epochs follow.
        margin: pixels by which wrong regions are widened; None: the receptive field.
        learning_rate: of the method's own epochs; None: that of the task.
        epochs: the method's own epochs; None: those of the task.
        keep: the network of the ``last`` epoch, or that of the ``best`` epoch by accuracy on the
            *clean test images*, as the released scripts of the paper do.
        every: steps between two evaluations of the explanation loss; None: those of the study.
        explained: whether explanations are measured; not in runs that only choose a weight.
    """

    annotated: int | None = None
    feedback: str = "correct"
    switch_on: int = 0
    network: str | None = None
    layer: str | None = None
    decoy: Decoy | None = None
    margin: int | None = None
    learning_rate: float | None = None
    epochs: int | None = None
    keep: Literal["last", "best"] = "last"
    every: int | None = None
    explained: bool = True

    def __str__(self) -> str:
        """Only what differs from the default, e.g. ``annotated=25``; empty for the main grid."""
        return ", ".join(
            f"{f.name}={getattr(self, f.name)}"
            for f in fields(self)
            if getattr(self, f.name) != f.default
        )


class Size(_Strict):
    """How much of a task a profile runs, see :class:`xblcore.study.train.TrainConfig`."""

    n_train: Positive
    n_val: Positive
    n_test: Positive  # images of each test split
    epochs: Positive
    ramp_epochs: Annotated[float, Field(ge=0)]
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0)]


class TaskSettings(_Strict):
    """Everything about a task that decides the numbers of a run."""

    task: str
    data: DataConfig
    decoy: Decoy | None  # None: the default decoy of the task
    network: str  # a key of xblcore.study.models.MODELS
    size: Size
    device: Literal["auto", "cpu", "cuda"]
    threads: Positive  # of PyTorch per run; decides the last bits
    every: Positive  # steps between two evaluations of the explanation loss
    explained_images: Positive  # images of a split that are explained by CAMs
    held_out_images: Positive  # and by the slower held-out explainers


class _Setup(_Strict):
    source: Literal["auto", "original", "stand-in"] = "auto"
    image_size: int | None = None
    data_seed: Annotated[int, Field(ge=0)] = 0
    decoy: Decoy | None = None
    network: str
    weights: dict[str, list[Weight]]


class _Profile(_Strict):
    seeds: list[int] = Field(min_length=1)
    selection_seeds: list[int] = Field(min_length=1)
    candidates: Positive
    threads: Positive
    explained_images: Positive
    held_out_images: Positive
    tasks: dict[str, Size]


class Experiment(_Strict):
    """Runs of some methods under several conditions.

    By default with the weights of the main grid: a user who meets another condition unexpectedly
    could not tune to it either.
    """

    question: str  # what it asks, in one sentence
    by: str  # the field of the condition that varies, for figures
    tasks: list[str] = Field(min_length=1)
    methods: list[str] = Field(min_length=1)
    conditions: list[Condition] = Field(min_length=1)
    weights: list[Weight] = []  # candidates, if the weights are chosen in each condition by itself
    seeds: Positive | dict[str, Positive] | None = None  # reported, 0, 1, ...; or for each task

    def seeds_on(self, task: str, default: list[int]) -> list[int]:
        """Reported seeds on a task; ``default``, those of the profile, if none are given."""
        count = self.seeds.get(task) if isinstance(self.seeds, dict) else self.seeds
        return default if count is None else list(range(count))


class Config(_Strict):
    """``params.yaml``; ``tasks`` and ``methods`` are those of the main grid."""

    profile: str
    device: Literal["auto", "cpu", "cuda"]
    every: Positive = 1  # steps between two evaluations of the explanation loss
    results: str = "results"  # folder of tables, figures and executed notebooks
    tasks: list[str] = Field(min_length=1)
    methods: list[str] = Field(min_length=1)
    setup: dict[str, _Setup]  # by task
    profiles: dict[str, _Profile]
    experiments: dict[str, Experiment] = {}
    factorial: Experiment | None = None  # decides claim C2

    @model_validator(mode="after")
    def _names(self) -> Config:
        checks: list[tuple[str, list[str], Collection[str]]] = [
            ("profile", [self.profile], self.profiles),
            ("tasks", self.tasks, self.setup),
            ("methods", self.methods, METHODS),
            *((f"weights of {task}", [*own.weights], METHODS) for task, own in self.setup.items()),
            *((f"network of {task}", [own.network], MODELS) for task, own in self.setup.items()),
        ]
        for name, own in self.all_experiments.items():
            networks = [c.network for c in own.conditions if c.network is not None]
            seeds = own.seeds if isinstance(own.seeds, dict) else {}
            checks += [
                (f"tasks of {name}", own.tasks, self.setup),
                (f"methods of {name}", own.methods, METHODS),
                (f"by of {name}", [own.by], [f.name for f in fields(Condition)]),
                (f"feedback of {name}", [c.feedback for c in own.conditions], KINDS),
                (f"network of {name}", networks, MODELS),
                (f"seeds of {name}", list(seeds), own.tasks),
            ]
        if self.profile in self.profiles:
            checks.append((f"tasks of {self.profile}", self.tasks, self.own.tasks))
        for name, values, known in checks:
            if unknown := [value for value in values if value not in known]:
                raise ValueError(f"{name} must be among {', '.join(known)}, got {unknown[0]!r}")
        if self.profile == "smoke" and self.results == "results":
            raise ValueError(
                "results must be another folder for the profile smoke, got 'results', which holds "
                "the committed ones; set results: build/smoke"
            )
        if both := {*self.own.seeds} & {*self.own.selection_seeds}:
            raise ValueError(
                "selection_seeds must not be among the reported seeds, "
                f"got {', '.join(map(str, both))} in both"
            )
        return self

    @property
    def all_experiments(self) -> dict[str, Experiment]:
        """The experiments by name, ``factorial`` included."""
        return self.experiments | ({"factorial": self.factorial} if self.factorial else {})

    @property
    def own(self) -> _Profile:
        """Settings of the chosen profile."""
        return self.profiles[self.profile]

    @property
    def seeds(self) -> list[int]:
        """Seeds of the reported runs."""
        return self.own.seeds

    @property
    def selection_seeds(self) -> list[int]:
        """Seeds of the runs that choose the weights; they are not reported."""
        return self.own.selection_seeds

    def task(self, name: str) -> TaskSettings:
        """Return the settings of a task in this profile."""
        if name not in self.setup or name not in self.own.tasks:
            raise ValueError(f"task must be one of {', '.join(self.setup)}, got {name!r}")
        setup, size = self.setup[name], self.own.tasks[name]
        data = DataConfig(
            n_train=size.n_train, n_val=size.n_val, n_test=size.n_test, seed=setup.data_seed,
            source=setup.source, image_size=setup.image_size,
        )  # fmt: skip
        return TaskSettings(
            task=name, data=data, decoy=setup.decoy, network=setup.network, size=size,
            device=self.device, threads=self.own.threads, every=self.every,
            explained_images=self.own.explained_images, held_out_images=self.own.held_out_images,
        )  # fmt: skip

    def candidates(self, task: str, method: str) -> list[float]:
        """Candidate weights of a method, ascending, at most as many as the profile tries."""
        entry = METHODS[method]
        if not entry.is_tuned:
            return [entry.default_weight]
        found = sorted(self.setup[task].weights.get(method, []))
        if not found:
            raise ValueError(
                f"params.yaml must have candidate weights for {method!r} under "
                f"setup.{task}.weights, got none"
            )
        # The middle ones if the profile tries fewer.
        drop = max(0, len(found) - self.own.candidates)
        return found[drop // 2 : len(found) - (drop - drop // 2)]


def load(path: Path | None = None) -> Config:
    """Read and validate ``params.yaml``; any mistake in it is a ValueError."""
    path = path or project.root() / "params.yaml"
    try:
        return Config.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (ValidationError, yaml.YAMLError) as error:
        raise ValueError(f"{path.name} must be valid, got: {error}") from error
