"""Differentiable class activation maps: one forward pass, tensors in, tensors out.

With ``create_graph=True`` a map stays in the graph and can be part of a training loss. The gradient
is taken through the head only, from the scores back to the features of the explained layer, and
never through the trunk below it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

CamMethod = Literal["grad_cam", "hires_cam"]
ScoreKind = Literal["logit", "log_prob", "projection"]
Order = Literal[1, 2]


def class_scores(
    logits: Tensor, target: Tensor | None, *, kind: ScoreKind = "logit",
    generator: torch.Generator | None = None,
) -> Tensor:  # fmt: skip
    """Scalar score of each sample, the quantity whose gradient a CAM explains.

    ``logit``: ``z_t``. ``log_prob``: ``log softmax(z)_t``, which also contains evidence against
    the other classes. ``projection``: ``sum_c v_c (z_c - mean z)`` with random signs ``v`` for each
    sample, whose squared gradient covers, in expectation, the evidence for every class at the cost
    of one gradient (the estimator of Hutchinson 1990).

    Args:
        logits: ``(N, C)``, before the softmax.
        target: ``(N,)``, integer classes in ``[0, C)``; ``projection`` ignores it.
        kind: which score.
        generator: source of the random signs of ``projection``, on the device of ``logits``.

    Returns:
        ``(N,)``, differentiable with respect to ``logits``.

    >>> class_scores(torch.tensor([[1.0, 3.0]]), torch.tensor([1]))
    tensor([3.])
    """
    if logits.ndim != 2:
        raise ValueError(f"logits must be (N, C), got shape {tuple(logits.shape)}")
    if kind == "projection":
        if generator is None:
            raise ValueError(
                "generator must be a torch.Generator for kind='projection', got None; "
                "pass torch.Generator().manual_seed(seed)"
            )
        bits = torch.randint(0, 2, logits.shape, generator=generator, device=logits.device)
        signs = bits.to(logits.dtype).mul_(2).sub_(1)
        return (signs * (logits - logits.mean(1, keepdim=True))).sum(1)
    if kind not in ("logit", "log_prob"):
        raise ValueError(f"kind must be 'logit', 'log_prob' or 'projection', got {kind!r}")
    target = _checked_target(logits, target)
    values = logits if kind == "logit" else logits.log_softmax(1)
    return values.gather(1, target[:, None])[:, 0]


def _checked_target(logits: Tensor, target: Tensor | None) -> Tensor:
    if target is None or target.shape != logits.shape[:1]:
        shape = None if target is None else tuple(target.shape)
        raise ValueError(f"target must have shape ({len(logits)},) like the logits, got {shape}")
    if target.dtype == torch.bool or target.is_floating_point():
        raise ValueError(f"target must be integer classes, got {target.dtype}")
    outside = (target < 0) | (target >= logits.shape[1])
    if outside.any():
        value = int(target[outside][0])
        raise ValueError(f"target must be in [0, {logits.shape[1]}), got {value}")
    return target.long()


def grad_cam(
    features: Tensor, scores: Tensor, *, create_graph: bool = False, order: Order = 2
) -> Tensor:
    """Grad-CAM before its ReLU: ``M = sum_k mean_uv(G_k) A_k`` with ``G = d scores / d features``.

    Source: Selvaraju et al. 2017, "Grad-CAM", eqs. 1 and 2.

    Args:
        features: ``(N, K, h, w)``, output ``A`` of the explained layer, part of the graph of
            ``scores``.
        scores: ``(N,)``; sample ``n`` depends on features ``n`` only.
        create_graph: keep the map differentiable, for use in a loss.
        order: of the derivative of such a loss. 2: exact. 1: ``G`` is treated as a constant, which
            is cheaper.

    Returns:
        ``(N, h, w)``, signed; :func:`non_negative` makes the attribution that losses expect.

    >>> features = torch.ones(1, 2, 1, 2, requires_grad=True)
    >>> scores = (features[:, 0] * torch.tensor([[2.0, 4.0]])).sum((1, 2))
    >>> grad_cam(features, scores)
    tensor([[[3., 3.]]])
    """
    gradient = _feature_gradient(features, scores, create_graph and order == 2)
    # Channels last: the gradients of the backward pass then have the memory layout of the features.
    cells = features.permute(0, 2, 3, 1).flatten(1, 2)  # (N, h * w, K)
    weights = gradient.permute(0, 2, 3, 1).flatten(1, 2).mean(1, keepdim=True)  # (N, 1, K)
    cam: Tensor = torch.linalg.vecdot(weights.expand_as(cells), cells)  # (N, h * w)
    cam = cam.unflatten(1, features.shape[2:])  # (N, h, w)
    return cam if create_graph else cam.detach()


def hires_cam(
    features: Tensor, scores: Tensor, *, create_graph: bool = False, order: Order = 2
) -> Tensor:
    """HiResCAM: ``M = sum_k G_k * A_k``, the contribution of each cell to the score.

    Exact up to the biases for a head that is piecewise linear in the features; equal to Grad-CAM
    if the head starts with global average pooling. Arguments and result as :func:`grad_cam`.
    Source: Draelos and Carin 2020, "Use HiResCAM instead of Grad-CAM".

    >>> features = torch.ones(1, 2, 1, 2, requires_grad=True)
    >>> scores = (features[:, 0] * torch.tensor([[2.0, 4.0]])).sum((1, 2))
    >>> hires_cam(features, scores)
    tensor([[[2., 4.]]])
    """
    gradient = _feature_gradient(features, scores, create_graph and order == 2)
    cam: Tensor = torch.linalg.vecdot(gradient, features, dim=1)  # (N, h, w)
    return cam if create_graph else cam.detach()


CAM_METHODS = {"grad_cam": grad_cam, "hires_cam": hires_cam}


def _feature_gradient(features: Tensor, scores: Tensor, create_graph: bool) -> Tensor:
    if features.ndim != 4:
        raise ValueError(
            f"features must be (N, K, h, w), got shape {tuple(features.shape)}; "
            "choose a layer whose output is spatial"
        )
    if scores.shape != features.shape[:1]:
        raise ValueError(f"scores must have shape ({len(features)},), got {tuple(scores.shape)}")
    if not scores.requires_grad or not features.requires_grad:
        raise ValueError(
            "scores must be differentiable with respect to features, got tensors without a graph; "
            "run the head with gradients enabled on features that require them"
        )
    try:
        # The graph is kept for further maps of the same forward pass and for the loss itself.
        (gradient,) = torch.autograd.grad(
            scores.sum(), features, create_graph=create_graph, retain_graph=True
        )
    except RuntimeError as error:
        if "appears to not have been used" not in str(error):
            raise
        raise ValueError(
            "scores must depend on features, got scores of another graph; explain a layer "
            "that the model's output passes through"
        ) from error
    return gradient


def non_negative(cam: Tensor, score: ScoreKind) -> Tensor:
    """Attribution ``M+`` that losses and metrics take: ``relu(M)`` for ``logit``, else ``abs(M)``.

    Positive values in the map of a logit are evidence for its class. The other scores combine
    several classes, so that both signs are evidence.

    >>> cam = torch.tensor([-1.0, 2.0])
    >>> non_negative(cam, "logit"), non_negative(cam, "log_prob")
    (tensor([0., 2.]), tensor([1., 2.]))
    """
    return cam.relu() if score == "logit" else cam.abs()


def explain(
    model: nn.Module, images: Tensor, target: Tensor | None = None, *, layer: str | nn.Module,
    method: CamMethod = "grad_cam", score: ScoreKind = "logit", create_graph: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:  # fmt: skip
    """Attribution of the model's prediction over the cells of ``layer``, in one forward pass.

    Without ``create_graph`` the model is explained in eval mode and its modes are restored; with
    it, in the mode that it is in.

    Args:
        model: maps images ``(N, C, H, W)`` to logits ``(N, classes)``.
        images: ``(N, C, H, W)``.
        target: ``(N,)``, classes to explain; None explains the predicted ones.
        layer: submodule or dotted name whose output is ``(N, K, h, w)``.
        method: ``grad_cam`` or ``hires_cam``.
        score: as in :func:`class_scores`.
        create_graph: keep the map differentiable with respect to the model's weights.
        generator: for ``score="projection"``.

    Returns:
        ``(N, h, w)``, non-negative (:func:`non_negative`), on the device of ``images``.

    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3))
    >>> explain(model, torch.rand(5, 1, 4, 4), layer="0").shape
    torch.Size([5, 2, 2])
    """
    if method not in CAM_METHODS:
        raise ValueError(f"method must be one of {', '.join(CAM_METHODS)}, got {method!r}")
    if not isinstance(images, Tensor) or images.ndim != 4:
        shape = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(
            f"images must be a tensor (N, C, H, W), got {shape}; one image is images[None]"
        )
    mode = contextlib.nullcontext() if create_graph else evaluating(model)
    with mode, capture(model, layer, trunk_graph=create_graph) as captured:
        logits = model(images)
    with torch.enable_grad():
        target = logits.argmax(1) if target is None else target
        scores = class_scores(logits, target, kind=score, generator=generator)
        cam = CAM_METHODS[method](captured.output(), scores, create_graph=create_graph)
        return non_negative(cam, score)


@dataclass
class Capture:
    """Result of :func:`capture`; ``features`` is the last output of the layer."""

    layer: str
    features: Tensor | None = None
    version: int = 0  # of the features when captured; an in-place operation raises it

    def output(self) -> Tensor:
        """Return the features, ``(N, K, h, w)``; an error if the layer did not run."""
        if self.features is None:
            raise ValueError(
                f"layer must take part in the forward pass, got {self.layer!r}, which did not run"
            )
        return self.features


@contextlib.contextmanager
def capture(
    model: nn.Module, layer: str | nn.Module, *, trunk_graph: bool = True, copy: bool = True
) -> Iterator[Capture]:
    """Keep the output of ``layer`` during forward passes inside the ``with`` block.

    Args:
        model: any module.
        layer: a submodule, or its dotted name as in ``model.named_modules()``.
        trunk_graph: False runs everything up to the layer without a graph and makes the features
            a leaf. That is cheaper and sufficient to explain a trained model.
        copy: pass a copy on to the rest of the model, so that an in-place ReLU behind the layer
            cannot overwrite the features. False saves the copy; such a ReLU is then an error.

    Yields:
        A :class:`Capture`. Leaving the block removes the hook and restores the gradient mode.

    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2, 3))
    >>> with capture(model, "0") as captured:
    ...     logits = model(torch.ones(1, 1, 3, 3))
    >>> captured.output().shape
    torch.Size([1, 2, 1, 1])
    """
    module = find_layer(model, layer)
    captured = Capture(str(layer) if isinstance(layer, str) else type(layer).__name__)

    def keep(_module: nn.Module, _inputs: tuple[object, ...], output: object) -> Tensor:
        if not isinstance(output, Tensor):
            raise ValueError(
                f"layer must return one tensor, got {type(output).__name__} from {captured.layer!r}"
            )
        if not trunk_graph:
            torch.set_grad_enabled(True)
        # A frozen trunk has no graph either, but its head can still be trained through the CAM.
        with_graph = trunk_graph and output.requires_grad
        captured.features = output if with_graph else output.detach().requires_grad_()
        captured.version = captured.features._version
        return captured.features.clone() if copy or not with_graph else captured.features

    handle = module.register_forward_hook(keep)
    try:
        with torch.enable_grad() if trunk_graph else torch.no_grad():
            yield captured
    finally:
        handle.remove()
    if captured.features is not None and captured.features._version != captured.version:
        raise ValueError(
            "features must not be overwritten, got an in-place operation on the output of "
            f"{captured.layer!r}; set inplace=False there, or capture with copy=True"
        )


def find_layer(model: nn.Module, layer: str | nn.Module) -> nn.Module:
    """Return a submodule of ``model``, by dotted name or checked to belong to it."""
    if isinstance(layer, nn.Module):
        if any(module is layer for module in model.modules()):
            return layer
    else:
        with contextlib.suppress(AttributeError):  # no such name
            return model.get_submodule(layer)
    names = ", ".join(name for name, _ in model.named_modules() if name)
    shown = layer if isinstance(layer, str) else type(layer).__name__
    raise ValueError(f"layer must be a module of the model, got {shown!r}; there are: {names}")


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model into eval mode inside the block; every module's mode is restored after it."""
    training = [module for module in model.modules() if module.training]
    if training:
        model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@dataclass(frozen=True)
class ReceptiveField:
    """What a cell of a layer sees of the image.

    Attributes:
        grid: ``(h, w)``, cells of the layer.
        extent: side in pixels of the region that a central cell sees.
        margin: pixels by which that region extends beyond the cell, on its widest side. Masks of
            wrong regions are widened by this much.
    """

    grid: tuple[int, int]
    extent: int
    margin: int


def receptive_field(
    model: nn.Module, layer: str | nn.Module, size: tuple[int, int, int], *, share: float = 1.0,
    samples: int = 32, seed: int = 0,
) -> ReceptiveField:  # fmt: skip
    """Measure how far a cell of a layer sees, by the gradient of its features at the input.

    Several random images and random signs of the channels are used, so that no path through a ReLU
    or a max pooling is missed. Source of the idea: Luo et al. 2016, "Understanding the effective
    receptive field in deep convolutional neural networks".

    Args:
        model: any network.
        layer: submodule or dotted name whose output is ``(N, K, h, w)``.
        size: ``(C, H, W)`` of one image.
        share: of the squared gradient that the region must contain. 1 gives the full extent; a
            smaller share is useful for deep networks whose full extent covers the image.
        samples: number of random images.
        seed: of the images and signs.

    >>> receptive_field(nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU()), "1", (1, 9, 9))
    ReceptiveField(grid=(9, 9), extent=3, margin=1)
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1], got {share}")
    parameter = next(model.parameters(), torch.empty(0))
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(samples, *size, generator=generator).to(parameter.device, parameter.dtype)
    images.requires_grad_()
    with evaluating(model), capture(model, layer) as captured:
        model(images)
    features = captured.output()
    if features.ndim != 4:
        raise ValueError(f"layer must have an output (N, K, h, w), got {tuple(features.shape)}")
    grid = (features.shape[2], features.shape[3])
    row, column = grid[0] // 2, grid[1] // 2
    cell = features[:, :, row, column]  # (N, K)
    signs = torch.randint(0, 2, cell.shape, generator=generator).to(cell) * 2 - 1
    (gradient,) = torch.autograd.grad((cell * signs).sum(), images)
    energy = gradient.double().square().sum((0, 1))  # (H, W)
    if not energy.any():
        raise ValueError(
            "layer must respond to random images, got a zero gradient; measure an untrained model"
        )
    first = [position * side // cells for position, side, cells in
             zip((row, column), size[1:], grid, strict=True)]  # fmt: skip
    last = [-(-(position + 1) * side // cells) for position, side, cells in
            zip((row, column), size[1:], grid, strict=True)]  # fmt: skip
    for margin in range(max(size[1:]) + 1):
        window = energy[
            max(0, first[0] - margin) : last[0] + margin,
            max(0, first[1] - margin) : last[1] + margin,
        ]
        inside = window.sum()
        if (window.count_nonzero() == energy.count_nonzero()) or (
            share < 1 and inside >= share * energy.sum()
        ):
            break
    rows, columns = window.sum(1).nonzero(), window.sum(0).nonzero()
    extent = max(int(axis.max() - axis.min()) + 1 if len(axis) else 0 for axis in (rows, columns))
    return ReceptiveField(grid, extent, margin)
