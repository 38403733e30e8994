"""Finished runs, kept on disk until their stage is done, so that a killed stage goes on.

They lie outside what DVC tracks, for DVC removes a stage's outputs before it runs it again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from xblcore import project, weights
from xblcore.config import TaskConfig
from xblcore.evaluate import Measurement
from xblcore.prepare import device_of, digest
from xblcore.train import EpochLog


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes:
        weight: of the explanation loss.
        seed: of everything random in it.
        measurements: all metrics on all splits.
        history: one log an epoch.
        over_training: ``(epochs, G, h, w)`` CAMs of the gallery.
        state: the network's weights.
        seconds: wall time.
    """

    weight: float
    seed: int
    measurements: list[Measurement]
    history: list[EpochLog]
    over_training: Tensor
    state: dict[str, Tensor]
    seconds: float


def once(path: Path, start: Callable[[], Run]) -> Run:
    """The run kept at ``path``, or else the one that ``start`` makes, then kept there."""
    if path.is_file():
        kept = weights.read(path)
        try:
            kept["measurements"] = [Measurement(**row) for row in kept["measurements"]]
            kept["history"] = [EpochLog(**row) for row in kept["history"]]
            return Run(**kept)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} must be a finished run, got {error!r}; delete it") from error
    finished = start()
    with project.write_atomic(path) as partial:
        torch.save(asdict(finished), partial)
    return finished


def folder(root: Path, task: str, method: str) -> Path:
    """Where finished runs of a task x method wait for the others."""
    return root / "build" / "checkpoints" / task / method


def drop(root: Path, task: str, method: str) -> None:
    """Forget the finished runs of a task x method."""
    shutil.rmtree(folder(root, task, method), ignore_errors=True)


def run_key(settings: TaskConfig, *, data: str, code: Mapping[str, str], **run: object) -> str:
    """Digest of all that decides a run's numbers: settings, data, code, PyTorch and device.

    A finished run is taken for another only if all of it is the same.

    Args:
        settings: of the task; what says which runs there are, and not what one does, is left out.
        data: digest of the data.
        code: digests of the modules that the run rests on.
        run: what tells it from the other runs.
    """
    undecided = ("profile", "weights", "seeds", "sweep_seeds", "device")
    return digest(
        {
            **run,
            "settings": {k: v for k, v in asdict(settings).items() if k not in undecided},
            "data": data,
            "code": code,
            "torch": torch.__version__,
            "device": str(device_of(settings)),
        }
    )
