"""The training loop for every method."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from xblcore.cam import capture
from xblcore.examples import Examples
from xblcore.losses import WRONG, combined_distance
from xblcore.methods import Method, Options, ReluInputs, Step


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of a training run, besides data, network and method.

    Attributes:
        weight: of the explanation loss relative to the cross-entropy, at the end of the ramp.
        epochs: passes over the training images.
        batch_size: images per step.
        learning_rate: of Adam.
        seed: of the order of the images, and of random signs, noise and decoys.
        ramp_epochs: the weight rises linearly from 0 over so many epochs. The full weight in the
            first steps can collapse the training before there is anything to explain.
        options: changes to the loss of the method.
        every: steps between two evaluations of the explanation loss; its weight is multiplied by
            this number. Cheaper (lazy regularisation, Karras et al. 2020, StyleGAN2).
    """

    weight: float
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    ramp_epochs: float = 0.0
    options: Options = Options()
    every: int = 1

    def __post_init__(self) -> None:
        for name in ("weight", "ramp_epochs"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        for name in ("epochs", "batch_size", "learning_rate", "every"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")


class DivergedError(ValueError):
    """The loss of a training run became infinite or NaN."""


@dataclass(frozen=True)
class EpochLog:
    """Means over the steps of an epoch; the penalty is before weighting."""

    epoch: int
    cross_entropy: float
    penalty: float
    accuracy: float


def fit(
    model: nn.Module, data: Examples, method: Method, config: TrainConfig, *,
    layer: str = "features", on_epoch: Callable[[EpochLog], None] | None = None,
) -> list[EpochLog]:  # fmt: skip
    """Train ``model`` in place with Adam and return one log per epoch.

    ``loss = ce_weight * CE + ramp(step) * weight * every * penalty``. The penalty is evaluated in
    every ``every``-th step.

    Args:
        model: maps images to logits; it is left in train mode.
        data: the training images, with their annotations on the grid of ``layer`` if the method
            has a penalty (:meth:`xblcore.examples.Examples.on_grid`).
        method: an entry of :data:`xblcore.methods.METHODS`, or a new one.
        config: settings of the run.
        layer: the explained layer.
        on_epoch: called with the log of each epoch.
    """
    if not len(data):
        raise ValueError("data must have at least one image, got none")
    device = data.images.device
    order = torch.Generator().manual_seed(config.seed)
    signs = torch.Generator(device).manual_seed(config.seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    # A last batch of one image joins the one before: batch norm needs two.
    steps_per_epoch = max(1, -(-(len(data) - 1) // config.batch_size))
    ramp_steps = config.ramp_epochs * steps_per_epoch
    mean_penalty = mean_distance_plus(data, wrong=config.options.wrong)
    plain = replace(method, penalty=None, needs=frozenset())
    logs = []
    for epoch in range(config.epochs):
        model.train()
        totals = torch.zeros(3, device=device)
        shuffled = torch.randperm(len(data), generator=order).to(device)
        *batches, rest = shuffled[:-1].split(config.batch_size)
        for i, index in enumerate([*batches, torch.cat([rest, shuffled[-1:]])]):
            step = epoch * steps_per_epoch + i
            ramp = min(1.0, step / ramp_steps) if ramp_steps else 1.0
            current = method if step % config.every == 0 else plain
            seen = forward(
                model, data.take(index), current, layer=layer, generator=signs, config=config,
                mean_penalty=mean_penalty,
            )  # fmt: skip
            if step == 0:
                _check_labels(data.labels, seen.logits)
            cross_entropy = functional.cross_entropy(seen.logits, seen.batch.labels)
            penalty = torch.zeros_like(cross_entropy)
            if current.penalty:
                penalty = current.penalty(seen)
                if step == 0:
                    _check_penalty(penalty, seen, method)
            penalty = config.every * penalty
            loss = method.ce_weight * cross_entropy + ramp * config.weight * penalty
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            correct = (seen.logits.argmax(1) == seen.batch.labels).float().mean()
            totals += torch.stack((cross_entropy, penalty, correct)).detach() * len(index)
        logs.append(_log(epoch + 1, totals / len(data), method, config))
        if on_epoch:
            on_epoch(logs[-1])
    return logs


def forward(
    model: nn.Module, batch: Examples, method: Method, *, layer: str, generator: torch.Generator,
    config: TrainConfig | None = None, mean_penalty: Tensor | None = None,
) -> Step:  # fmt: skip
    """Run one forward pass, with everything that the penalty of the method needs."""
    batch = replace(batch, images=batch.inputs())
    if method.augment:
        batch = method.augment(batch, generator)
    images = batch.images.requires_grad_("input_gradient" in method.needs)
    relus = ReluInputs()
    with relus if "activations" in method.needs else nullcontext():
        if method.penalty is None:
            logits = features = model(images)
        else:
            with capture(model, layer, copy=False) as captured:
                logits = model(images)
            features = captured.output()
    options = config.options if config else Options()
    return Step(batch, features, logits, generator, model, mean_penalty, options, relus.kept)


def mean_distance_plus(data: Examples, *, wrong: float = WRONG) -> Tensor | None:
    """``D+`` averaged over the annotated images, ``(h, w)``; None without annotations."""
    if data.cells is None:
        return None
    return combined_distance(data.cells.distance, data.cells.decoy_mask, wrong=wrong).nanmean(0)


def gradient_norms(
    model: nn.Module, batch: Examples, method: Method, *, weight: float, layer: str = "features",
    seed: int = 0,
) -> dict[str, tuple[float, float]]:  # fmt: skip
    """Norm of each parameter's gradient: of the cross-entropy, and of the explanation loss.

    The second is measured as the gradient of the whole loss minus that of the cross-entropy.
    """
    if method.penalty is None:
        raise ValueError(f"method must have an explanation loss, got {method.name!r}")
    generator = torch.Generator(batch.images.device).manual_seed(seed)
    step = forward(model, batch, method, layer=layer, generator=generator)
    cross_entropy = method.ce_weight * functional.cross_entropy(step.logits, step.batch.labels)
    whole = cross_entropy + weight * method.penalty(step)
    names, parameters = zip(*model.named_parameters(), strict=True)
    alone, both = (
        torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
        for loss in (cross_entropy, whole)
    )
    return {
        name: (first.norm().item(), (second - first).norm().item())
        for name, first, second in zip(names, alone, both, strict=True)
    }


def _check_labels(labels: Tensor, logits: Tensor) -> None:
    """Cross-entropy would silently skip the label -100, and a GPU would stop for others."""
    low, high, classes = int(labels.min()), int(labels.max()), logits.shape[1]
    if low < 0 or high >= classes:
        raise ValueError(
            f"labels must be in [0, {classes}), the logits of the network, got {low} to {high}"
        )


def _check_penalty(penalty: Tensor, step: Step, method: Method) -> None:
    """Catch typical mistakes of a new explanation loss in the first step."""
    if not isinstance(penalty, Tensor) or penalty.ndim:
        got = tuple(penalty.shape) if isinstance(penalty, Tensor) else penalty
        raise ValueError(
            f"penalty of {method.name} must be a scalar tensor, got {got}; average it over the "
            "annotated images"
        )
    if step.logits.isfinite().all() and not penalty.isfinite():
        raise ValueError(
            f"penalty of {method.name} must be finite, got {penalty.item()} in the first step; "
            "look for a root, a logarithm or a division (a CAM can be all zero)"
        )
    annotated = step.cells.object_mask.any() or step.cells.decoy_mask.any()
    if annotated and method.has_gradient and not penalty.requires_grad:
        raise ValueError(
            f"penalty of {method.name} must have a gradient, got one without; compute it from "
            "step.cam(...) or step.input_gradient() and do not detach them"
        )


def _log(epoch: int, means: Tensor, method: Method, config: TrainConfig) -> EpochLog:
    cross_entropy, penalty, accuracy = means.tolist()
    if not means.isfinite().all():
        raise DivergedError(
            f"loss must stay finite, got cross-entropy {cross_entropy} and penalty {penalty} in "
            f"epoch {epoch} of {method.name} with weight {config.weight}; lower the weight or the "
            "learning rate, or lengthen ramp_epochs"
        )
    return EpochLog(epoch, cross_entropy, penalty, accuracy)
