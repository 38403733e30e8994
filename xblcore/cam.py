"""Differentiable class activation maps: one forward pass, tensors in, tensors out.

Everything here stays in the graph when asked to (``create_graph=True``), so that a map can be
part of a training loss. The gradient is taken through the head only, that is from the scores
back to the features of the explained layer, never through the trunk below it.
"""

from __future__ import annotations

import contextlib
from typing import Literal

import torch
from torch import Tensor, nn

from xblcore.capture import capture, evaluating

__all__ = [
    "CAM_METHODS", "CamMethod", "ScoreKind",
    "capture", "class_scores", "explain", "grad_cam", "hires_cam", "non_negative",
]  # fmt: skip

CamMethod = Literal["grad_cam", "hires_cam"]
ScoreKind = Literal["logit", "log_prob", "projection"]


def class_scores(
    logits: Tensor,
    target: Tensor | None,
    *,
    kind: ScoreKind = "logit",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Scalar score of each sample, the quantity whose gradient a CAM explains.

    ``logit``: ``z_t``. ``log_prob``: ``log softmax(z)_t``, which also sees evidence that lowers the
    other classes. ``projection``: ``sum_c v_c (z_c - mean z)`` with random signs ``v`` drawn anew
    for every sample, whose squared gradient covers, in expectation, the evidence for every class
    at the cost of one (the estimator of Hutchinson 1990).

    Args:
        logits: ``(N, C)``, before the softmax.
        target: ``(N,)`` integer classes in ``[0, C)``; unused by ``projection``, may be None there.
        kind: which score.
        generator: source of the random signs, needed by ``projection`` and on the device of
            ``logits``.

    Returns:
        ``(N,)``, differentiable with respect to ``logits``.

    Raises:
        ValueError: unknown ``kind``, shapes that do not fit, a target outside the classes, or a
            missing generator.

    >>> class_scores(torch.tensor([[1.0, 3.0]]), torch.tensor([1]))
    tensor([3.])
    """
    if logits.ndim != 2:
        raise ValueError(f"logits must be (N, C), got shape {tuple(logits.shape)}")
    if kind == "projection":
        if generator is None:
            raise ValueError(
                "generator must be a torch.Generator for kind='projection', got None; "
                "pass torch.Generator().manual_seed(seed) so that a run can be repeated"
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
        raise ValueError(f"target must hold integer classes, got {target.dtype}")
    outside = (target < 0) | (target >= logits.shape[1])
    if outside.any():
        value = int(target[outside][0])
        raise ValueError(f"target must be a class in [0, {logits.shape[1]}), got {value}")
    return target.long()


def grad_cam(features: Tensor, scores: Tensor, *, create_graph: bool = False) -> Tensor:
    """Grad-CAM before its ReLU: ``M = sum_k mean_uv(G_k) A_k`` with ``G = d scores / d features``.

    Source: Selvaraju et al. 2017, "Grad-CAM", eqs. 1 and 2.

    Args:
        features: ``(N, K, h, w)``, output ``A`` of the explained layer, part of the graph of
            ``scores``.
        scores: ``(N,)``, sample ``n`` depending on features ``n`` only.
        create_graph: keep the map differentiable, for use in a loss.

    Returns:
        ``(N, h, w)``, signed; :func:`non_negative` makes the attribution that losses expect.

    Raises:
        ValueError: shapes that do not fit, or scores that do not depend on the features.

    >>> features = torch.ones(1, 2, 1, 2, requires_grad=True)
    >>> scores = (features[:, 0] * torch.tensor([[2.0, 4.0]])).sum((1, 2))
    >>> grad_cam(features, scores)
    tensor([[[3., 3.]]])
    """
    gradient = _feature_gradient(features, scores, create_graph)
    # Channels last, and the weights spread out: in backward the gradients then lie as the features
    # of the networks here do. In another layout every layer behind would be slower.
    cells = features.permute(0, 2, 3, 1).flatten(1, 2)  # (N, h * w, K)
    weights = gradient.permute(0, 2, 3, 1).flatten(1, 2).mean(1, keepdim=True)  # (N, 1, K)
    cam = torch.linalg.vecdot(weights.expand_as(cells), cells)  # (N, h * w)
    return _graph_or_not(cam.unflatten(1, features.shape[2:]), create_graph)  # (N, h, w)


def hires_cam(features: Tensor, scores: Tensor, *, create_graph: bool = False) -> Tensor:
    """HiResCAM: ``M = sum_k G_k * A_k``, the contribution of each cell.

    Exact, up to the biases, for a head that is piecewise linear in the features; equal to Grad-CAM
    where the head begins with global average pooling.
    Source: Draelos and Carin 2020, "Use HiResCAM instead of Grad-CAM".

    Args, returns and errors as :func:`grad_cam`.

    >>> features = torch.ones(1, 2, 1, 2, requires_grad=True)
    >>> scores = (features[:, 0] * torch.tensor([[2.0, 4.0]])).sum((1, 2))
    >>> hires_cam(features, scores)
    tensor([[[2., 4.]]])
    """
    gradient = _feature_gradient(features, scores, create_graph)
    return _graph_or_not(torch.linalg.vecdot(gradient, features, dim=1), create_graph)  # (N, h, w)


CAM_METHODS = {"grad_cam": grad_cam, "hires_cam": hires_cam}


def _feature_gradient(features: Tensor, scores: Tensor, create_graph: bool) -> Tensor:
    if features.ndim != 4:
        raise ValueError(
            f"features must be (N, K, h, w), got shape {tuple(features.shape)}; "
            "name a layer whose output is spatial"
        )
    if scores.shape != features.shape[:1]:
        raise ValueError(f"scores must have shape ({len(features)},), got {tuple(scores.shape)}")
    if not scores.requires_grad or not features.requires_grad:
        raise ValueError(
            "scores must be differentiable with respect to features, got tensors without a graph; "
            "run the head with gradients enabled on features that require them"
        )
    try:
        (gradient,) = torch.autograd.grad(scores.sum(), features, create_graph=create_graph)
    except RuntimeError as error:
        if "appears to not have been used" not in str(error):
            raise
        raise ValueError(
            "scores must depend on features, got scores of another graph; explain a layer "
            "that the model's output passes through"
        ) from error
    return gradient


def _graph_or_not(cam: Tensor, create_graph: bool) -> Tensor:
    return cam if create_graph else cam.detach()


def non_negative(cam: Tensor, score: ScoreKind) -> Tensor:
    """Attribution ``M+`` that losses and metrics take: ``relu(M)`` for ``logit``, else ``abs(M)``.

    A positive value of a logit's map is evidence for the class. The other scores weigh several
    classes at once, so both signs are evidence.

    Args:
        cam: any shape, signed.
        score: the score that the map explains.

    Returns:
        The same shape, all values at least 0.

    >>> cam = torch.tensor([-1.0, 2.0])
    >>> non_negative(cam, "logit"), non_negative(cam, "log_prob")
    (tensor([0., 2.]), tensor([1., 2.]))
    """
    return cam.relu() if score == "logit" else cam.abs()


def explain(
    model: nn.Module,
    images: Tensor,
    target: Tensor | None = None,
    *,
    layer: str | nn.Module,
    method: CamMethod = "grad_cam",
    score: ScoreKind = "logit",
    create_graph: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Attribution of ``model``'s answer over the cells of ``layer``, in one forward pass.

    Without ``create_graph`` the model is explained as it predicts, in eval mode, and its modes are
    restored; with it, as it trains, in the mode it is in.

    Args:
        model: any module that maps ``(N, C, H, W)`` to logits ``(N, classes)``.
        images: ``(N, C, H, W)``.
        target: ``(N,)`` classes to explain; None explains the predicted ones.
        layer: submodule or dotted name whose output is ``(N, K, h, w)``.
        method: ``grad_cam`` or ``hires_cam``.
        score: as in :func:`class_scores`.
        create_graph: keep the map differentiable with respect to the model's weights.
        generator: for ``score="projection"``.

    Returns:
        ``(N, h, w)``, non-negative (:func:`non_negative`); on the device of ``images``.

    Raises:
        ValueError: unknown method or layer, shapes that do not fit, a target outside the classes.

    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3))
    >>> explain(model, torch.rand(5, 1, 4, 4), layer="0").shape
    torch.Size([5, 2, 2])
    """
    if method not in CAM_METHODS:
        raise ValueError(f"method must be one of {', '.join(CAM_METHODS)}, got {method!r}")
    _check_images(images)
    mode = contextlib.nullcontext() if create_graph else evaluating(model)
    with mode, capture(model, layer, trunk_graph=create_graph) as seen:
        logits = model(images)
    if seen.features is None:
        raise ValueError(
            f"layer must take part in the forward pass, got {layer!r}, which did not run"
        )
    with torch.enable_grad():
        target = logits.argmax(1) if target is None else target
        scores = class_scores(logits, target, kind=score, generator=generator)
        cam = CAM_METHODS[method](seen.features, scores, create_graph=create_graph)
        return non_negative(cam, score)


def _check_images(images: Tensor) -> None:
    if not isinstance(images, Tensor):
        kind = type(images).__name__
        raise ValueError(f"images must be a tensor, got {kind}; pass torch.as_tensor(images)")
    if images.ndim != 4:
        raise ValueError(
            f"images must be (N, C, H, W), got shape {tuple(images.shape)}; "
            "one image is images[None]"
        )
