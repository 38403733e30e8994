"""One training loop, on one page, for every method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from xblcore.cam import capture
from xblcore.methods.base import Annotations, Batch, Method, Step


@dataclass(frozen=True)
class TrainConfig:
    """What decides a training run, beside the data, the network and the method.

    Attributes:
        weight: of the explanation loss beside the cross-entropy, reached at the end of the ramp.
        ramp_epochs: the weight rises linearly from 0 over that many epochs; a full weight from the
            first step can collapse training before there is anything to explain.
        epochs: passes over the training images.
        batch_size: images a step.
        learning_rate: of Adam.
        seed: of the order of the images and of random scores.
    """

    weight: float
    ramp_epochs: float
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int

    def __post_init__(self) -> None:
        for name in ("weight", "ramp_epochs"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        for name in ("epochs", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")


@dataclass(frozen=True)
class TrainingSet:
    """Images ``(N, C, H, W)``, labels ``(N,)`` and what a person marked, all on one device."""

    images: Tensor
    labels: Tensor
    annotations: Annotations

    def __post_init__(self) -> None:
        if not 0 < len(self.images) == len(self.labels):
            raise ValueError(
                f"labels must be as many as images and at least one, got {len(self.labels)} for "
                f"{len(self.images)}"
            )


@dataclass(frozen=True)
class EpochLog:
    """Means over one epoch's steps: losses before weighting, and training accuracy.

    Of a method that adds images to a batch, both are of all of them.
    """

    epoch: int
    cross_entropy: float
    penalty: float
    accuracy: float


OnEpoch = Callable[[EpochLog], None]


def fit(
    model: nn.Module,
    data: TrainingSet,
    method: Method,
    config: TrainConfig,
    *,
    layer: str = "features",
    on_epoch: OnEpoch | None = None,
) -> list[EpochLog]:
    """Train ``model`` in place by one method, with Adam, and return one log an epoch.

    ``loss = ce_weight * CE + ramp(step) * weight * penalty``; one forward pass a step, from
    which the penalty takes its CAM.

    Args:
        model: maps images to logits; left in train mode.
        data: the method's training split.
        method: a :class:`xblcore.methods.Method`.
        config: the run.
        layer: the explained layer of ``model``.
        on_epoch: called with each epoch's log.

    Raises:
        ValueError: a label outside the classes, or a loss that became NaN or infinite.
    """
    device = data.images.device
    labels = int(data.labels.min()), int(data.labels.max())
    # Of one seed, like the initial weights: on a CPU all three are drawn from the same stream of
    # numbers, each from its beginning, and so by all methods alike.
    order = torch.Generator().manual_seed(config.seed)
    signs = torch.Generator(device).manual_seed(config.seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    steps_per_epoch = -(-len(data.images) // config.batch_size)
    ramp_steps = config.ramp_epochs * steps_per_epoch
    logs = []
    for epoch in range(config.epochs):
        model.train()
        totals = torch.zeros(3, device=device)
        batches = torch.randperm(len(data.images), generator=order).to(device)
        for i, index in enumerate(batches.split(config.batch_size)):
            step = epoch * steps_per_epoch + i
            ramp = min(1.0, step / ramp_steps) if ramp_steps else 1.0
            seen = forward(model, data, index, method, layer, signs)
            _check_classes(labels, seen.logits)
            cross_entropy = functional.cross_entropy(seen.logits, seen.labels)
            penalty = method.penalty(seen) if method.penalty else torch.zeros_like(cross_entropy)
            if step == 0:
                _check_first(penalty, seen, method)
            loss = method.ce_weight * cross_entropy + ramp * config.weight * penalty
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            correct = (seen.logits.argmax(1) == seen.labels).float().mean()
            totals += torch.stack((cross_entropy, penalty, correct)).detach() * len(index)
        logs.append(_log(epoch + 1, totals / len(data.images), method, config))
        if on_epoch:
            on_epoch(logs[-1])
    return logs


def forward(
    model: nn.Module,
    data: TrainingSet,
    index: Tensor,
    method: Method,
    layer: str,
    generator: torch.Generator,
) -> Step:
    """One forward pass of the images ``index``, with what the method's penalty needs of it.

    A method that changes the data does so before the pass.
    """
    batch = Batch(data.images[index], data.labels[index], data.annotations.take(index))
    if method.augment:
        batch = method.augment(batch, generator)
    images, labels, annotations = batch
    images.requires_grad_("input_gradient" in method.needs)
    if method.penalty is None:  # nothing to explain: no hook, no copy
        logits = model(images)
        features = logits
    else:
        with capture(model, layer, copy=False) as seen:
            logits = model(images)
        if seen.features is None:
            raise ValueError(f"layer must take part in the forward pass, got {layer!r}")
        features = seen.features
    return Step(images, labels, features, logits, annotations, generator, model)


def _check_classes(labels: tuple[int, int], logits: Tensor) -> None:
    """Cross-entropy would skip the label -100 in silence, and stop a GPU for others."""
    classes = logits.shape[1]
    if labels[0] < 0 or labels[1] >= classes:
        raise ValueError(
            f"labels must be in [0, {classes}), as the network has {classes} logits, got "
            f"{labels[0]} to {labels[1]}"
        )


def _check_first(penalty: Tensor, step: Step, method: Method) -> None:
    """What an explanation loss that was just written may get wrong, told in the first step."""
    if method.penalty is None:
        return
    got = f"shape {tuple(penalty.shape)}" if isinstance(penalty, Tensor) else repr(penalty)
    if not isinstance(penalty, Tensor) or penalty.ndim:
        raise ValueError(
            f"penalty of {method.name} must be a scalar tensor, got {got}; reduce it over the "
            "images that are annotated, see xblcore.losses.common.reduce"
        )
    if step.logits.isfinite().all() and not penalty.isfinite():
        raise ValueError(
            f"penalty of {method.name} must be finite, got {penalty.item()} in the first step, "
            "before it taught anything: look for a root, a logarithm or a division in it (a CAM "
            "can be all zero)"
        )
    marks = step.annotations.object_mask.any() or step.annotations.decoy_mask.any()
    if marks and method.has_gradient and not penalty.requires_grad:
        raise ValueError(
            f"penalty of {method.name} must have a gradient, got one without: it would teach "
            "nothing; make it of step.cam(...) or step.input_gradient() and detach neither"
        )


def _log(epoch: int, means: Tensor, method: Method, config: TrainConfig) -> EpochLog:
    cross_entropy, penalty, accuracy = means.tolist()
    if not means.isfinite().all():
        raise ValueError(
            f"loss must stay finite, got cross-entropy {cross_entropy} and penalty {penalty} in "
            f"epoch {epoch} of {method.name} with weight {config.weight}; lower the weight or the "
            "learning rate, or lengthen ramp_epochs"
        )
    return EpochLog(epoch, cross_entropy, penalty, accuracy)
