"""One run of an experiment, from the built task to its rows: what notebooks and workers call."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from xblcore import checkpoints, imports, methods, metrics, project, study
from xblcore.cam import CamMethod, ScoreKind
from xblcore.config import TaskConfig
from xblcore.evaluate import BEHAVIOUR, Measurement, behaviour, explanations, predict
from xblcore.experiments import data
from xblcore.experiments.data import RunData
from xblcore.experiments.settings import load
from xblcore.experiments.spec import Spec
from xblcore.explainers import CAMS, HELD_OUT
from xblcore.methods import Method, Step
from xblcore.train import fit

Row = dict[str, Any]  # the fields of a Spec, `data`, and those of a Measurement
SECOND_FLIPS = "second_decoy_flip_rate"


def run(spec: Spec, *, root: Path | None = None) -> list[Row]:
    """Train one network as told, and measure it.

    Args:
        spec: the run.
        root: of the project; None: found from the current folder.

    Returns:
        Tidy rows, one a measurement, the columns those of :data:`COLUMNS`.

    Raises:
        ValueError, FileNotFoundError: a condition that cannot be had, a task that was not built.
    """
    root = root or project.root()
    settings = load(root)
    own = settings.task_config(root, spec.task)
    torch.set_num_threads(own.threads)
    given = data.load(spec, own, root)
    train(spec, own, given)
    told = {"data": given.kind}
    return [{**asdict(spec), **told, **asdict(row)} for row in measure(given, own)]


COLUMNS = tuple(field.name for kind in (Spec, Measurement) for field in fields(kind))
COLUMNS = (*COLUMNS[: len(fields(Spec))], "data", *COLUMNS[len(fields(Spec)) :])


def train(spec: Spec, settings: TaskConfig, given: RunData) -> None:
    """Train ``given.model`` in place: plainly until the loss is turned on, then by the method.

    The two parts are trainings of their own: Adam begins anew, and the images come in the same
    order again.
    """
    method = methods.get(spec.method)
    images = given.training[method.train_split]
    layer = spec.layer or given.model.cam_layer
    config = study.train_config(settings, weight=spec.weight, seed=spec.seed)
    if spec.switch_on:
        before = replace(config, epochs=spec.switch_on, weight=0.0)
        fit(given.model, images, methods.get("erm"), before)
    fit(given.model, images, explained_by(method, spec.cam, spec.score), config, layer=layer)


def measure(given: RunData, settings: TaskConfig) -> list[Measurement]:
    """Behaviour on all splits, and explanations on ``test_decoy`` by all explainers."""
    model, splits = given.model, given.evaluation
    rows = behaviour(model, splits, given.swapped)
    if given.second_swapped is not None:
        logits = predict(model, splits["test_decoy"].images)
        flips = metrics.decoy_flip_rate(logits, predict(model, given.second_swapped))
        rate = flips.double().mean().item()
        rows.append(Measurement("test_decoy", BEHAVIOUR, SECOND_FLIPS, rate, 0.0))
    explained = {"test_decoy": splits["test_decoy"]}
    for explainers, count in (
        (CAMS, settings.explained_images),
        (HELD_OUT, settings.held_out_images),
    ):
        rows += explanations(model, explained, explainers, layer=model.cam_layer, count=count)
    return rows


@dataclass(frozen=True)
class _Asked(Step):
    """A training step whose CAM is the one asked for, whatever the method would take."""

    asked_cam: str | None = None
    asked_score: str | None = None

    def cam(self, method: CamMethod, score: ScoreKind) -> Tensor:
        """As :meth:`Step.cam`, of what was asked for."""
        asked = (
            cast(CamMethod, self.asked_cam or method),
            cast(ScoreKind, self.asked_score or score),
        )
        return super().cam(*asked)


def explained_by(method: Method, cam: str | None, score: str | None) -> Method:
    """The method with its penalty on another CAM or score.

    Args:
        method: one that needs a CAM, unless neither is given.
        cam: None: the method's own.
        score: None: the method's own.

    Raises:
        ValueError: there is no CAM to exchange.
    """
    if cam is None and score is None:
        return method
    penalty = method.penalty
    if penalty is None or "cam" not in method.needs:
        raise ValueError(f"method must be one that uses a CAM, got {method.name!r}")

    def of_other_cam(step: Step) -> Tensor:
        known = {field.name: getattr(step, field.name) for field in fields(Step)}
        return penalty(_Asked(**known, asked_cam=cam, asked_score=score))

    return replace(method, penalty=of_other_cam)


def key(spec: Spec, root: Path) -> str:
    """Digest of all that decides a run's numbers: spec, settings, data, code, PyTorch, device.

    A finished run is taken for this one only if all of it is the same.
    """
    own = load(root).task_config(root, spec.task)
    fingerprint = data.fingerprint(root / "data" / "decoy", spec.task)
    return checkpoints.run_key(own, data=fingerprint, code=_code(spec.method), spec=asdict(spec))


@functools.cache
def _code(method: str) -> dict[str, str]:
    modules: Sequence[str] = (__name__, "xblcore.methods.erm", f"xblcore.methods.{method}")
    return imports.digests(*modules)
