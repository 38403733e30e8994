"""A network of the workshop: trained in seconds on one core, and measured by its answers."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from tqdm import tqdm

from xblcore import methods, metrics, models, stats
from xblcore.datasets.fashion_mnist import CLASSES
from xblcore.evaluate import predict
from xblcore.methods import Method, Penalty
from xblcore.plots import style
from xblcore.train import EpochLog, TrainConfig, fit
from xblcore.workshop.task import (
    Data,
    Settings,
    cells_that_see,
    load,
    new_model,
    patch_greys,
    with_each_decoy,
)

__all__ = [
    "CLASSES", "Data", "Scores", "Settings", "Trained",
    "cells_that_see", "load", "new_model", "own_method", "patch_greys", "recovery", "scores",
    "threads", "train", "with_each_decoy",
]  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """A trained network and one log an epoch."""

    model: models.SplitNet
    logs: list[EpochLog]


@dataclass(frozen=True)
class Scores:
    """What a network does, from its answers alone; each in [0, 1].

    Attributes:
        with_decoy: accuracy on validation images whose decoy tells the class, as in training.
        clean: accuracy on test images without a decoy.
        flip_rate: share of test images with the decoy of a random class whose answer changes when
            only the decoy changes.
    """

    with_decoy: float
    clean: float
    flip_rate: float


def train(
    data: Data,
    method: str | Method = "erm",
    *,
    weight: float | None = None,
    start: models.SplitNet | None = None,
    epochs: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Trained:
    """Train a network by one method; a few seconds on one core.

    The same arguments give the same network on one machine.

    Args:
        data: from :func:`load`.
        method: a name in :data:`xblcore.methods.METHODS`, or one made by :func:`own_method`.
        weight: of the explanation loss; None: the method's default.
        start: a network to go on from, which is left as it is; None: a fresh one.
        epochs: None: the workshop's.
        seed: of the weights and of the order of the images.
        progress: show a bar, an epoch a step.

    Raises:
        ValueError: an unknown method, or training that diverged.
    """
    chosen = methods.get(method) if isinstance(method, str) else method
    settings = data.settings
    model = new_model(settings, seed=seed)
    if start is not None:
        model.load_state_dict(start.state_dict())
    config = TrainConfig(
        weight=chosen.default_weight if weight is None else weight,
        ramp_epochs=settings.ramp_epochs,
        epochs=epochs or settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        seed=seed,
    )
    with (
        threads(settings.threads),
        tqdm(
            total=config.epochs,
            desc=style.method(chosen.name).label,
            unit="epoch",
            disable=not progress,
            file=sys.stdout,  # on stderr JupyterLab shows it like an error
            ncols=70,
        ) as bar,
    ):
        training = data.training(chosen.train_split)

        def advance(_: EpochLog) -> None:
            bar.update()

        logs = fit(model, training, chosen, config, on_epoch=advance)
    return Trained(model.eval(), logs)


def own_method(name: str, penalty: Penalty, *, weight: float) -> Method:
    """A method with a penalty of one's own, for :func:`train`.

    Args:
        name: for the progress bar and the figures.
        penalty: a :class:`xblcore.methods.Step` to a scalar.
        weight: of the penalty beside the cross-entropy.

    >>> own_method("mine", lambda step: step.logits.sum(), weight=2).default_weight
    2
    """
    return Method(name=name, summary="", source="", penalty=penalty, default_weight=weight)


def scores(model: torch.nn.Module, data: Data) -> Scores:
    """What a network does on images with the decoy, without it, and with a lying one."""
    names = ("val", "test_clean", "test_decoy", "test_decoy_swapped")
    with threads(data.settings.threads):
        logits = {name: predict(model, data.splits[name].images) for name in names}
    accuracy = {
        name: metrics.accuracy(logits[name], data.splits[name].labels).mean().item()
        for name in ("val", "test_clean")
    }
    flips = metrics.decoy_flip_rate(logits["test_decoy"], logits["test_decoy_swapped"])
    return Scores(accuracy["val"], accuracy["test_clean"], flips.mean().item())


def recovery(method: Scores, erm: Scores, oracle: Scores) -> float:
    """Share of the clean accuracy lost to the decoy that a method wins back; 1 is all of it."""
    share = stats.recovery([method.clean], [erm.clean], [oracle.clean])
    return float(share[0])


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use so many threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
