"""Explanation losses: pure functions of attributions and annotations.

Arguments that the losses of a CAM share, all on its grid:

- ``cam``: ``M+``, ``(N, h, w)``, non-negative and finite (:func:`xblcore.cam.non_negative`). ``P``
  is the same scaled to sum 1 and ``B+`` to maximum 1; an all-zero map has ``P = B+ = 0``.
- ``distance``: ``D``, ``(N, h, w)`` from :func:`xblcore.distance.distance_map`, in grid diagonals;
  NaN for images without annotation.
- ``decoy_mask``, ``object_mask``: bool ``(N, h, w)``, the region marked as wrong, ``E``, and the
  object, ``R``; all False for images without annotation.
- ``reduction``: ``mean`` over the *annotated* samples, so that the weight of a loss means the same
  for every batch size and annotated fraction; their ``sum``; or ``none`` for ``(N,)``, with 0 for
  samples without annotation. A batch without annotations gives 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Reduction = Literal["mean", "sum", "none"]
Form = Literal["mass", "share"]

# Least penalty of cells that see the wrong region, in grid diagonals: c in D+ = max(D, c E).
WRONG = 0.3


def xbl_d(
    cam: Tensor, distance: Tensor, *, form: Form = "mass", reduction: Reduction = "mean"
) -> Tensor:
    """Distance-aware explanation loss: attribution weighted by its distance to the object.

    ``mass``: ``sum_uv M+ * D``, at least 0. It also decreases if the attribution off the object
    shrinks as a whole, and its gradient does not vanish if most of the attribution is far away.
    ``share``: ``sum_uv P * D``, in [0, 1]: the mean distance of the attribution to the object.
    Source: Hagos et al. 2023 (arXiv 2309.05548) for the distance penalty; mass and share are
    differentiable forms of it. Arguments as in :mod:`xblcore.losses`.

    >>> cam, distance = torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[0.0, 0.5]]])
    >>> xbl_d(cam, distance), xbl_d(cam, distance, form="share")
    (tensor(0.5000), tensor(0.1250))
    """
    cam = _check_cam(cam, distance, "distance")
    annotated = _has_distance(distance)
    distance = torch.where(annotated[:, None, None], distance, 0.0)
    return _weighted(cam, distance, annotated, form, reduction)


def combined_distance(distance: Tensor, decoy_mask: Tensor, *, wrong: float = WRONG) -> Tensor:
    """``D+ = max(D, wrong * E)``: distance to the object, but at least ``wrong`` in wrong cells.

    A cell on the object that also sees the wrong region through its receptive field is penalised:
    where the two annotations disagree, "wrong" takes precedence over "object". ``wrong`` is in grid
    diagonals, the other arguments are as in :mod:`xblcore.losses`.

    >>> combined_distance(torch.tensor([[[0.0, 0.0, 0.5]]]), torch.tensor([[[False, True, True]]]))
    tensor([[[0.0000, 0.3000, 0.5000]]])
    """
    if not 0 <= wrong < torch.inf:
        raise ValueError(f"wrong must be at least 0 grid diagonals, got {wrong}")
    _check_annotation(distance, "distance", decoy_mask.shape)
    _check_annotation(decoy_mask, "decoy_mask", distance.shape)
    return torch.maximum(distance, wrong * decoy_mask)


def xbl_d_gated(
    cam: Tensor, distance: Tensor, decoy_mask: Tensor, *, form: Form = "mass",
    reduction: Reduction = "mean",
) -> Tensor:  # fmt: skip
    """:func:`xbl_d` with distance counted inside the decoy only: ``sum_uv M+ * D * E``.

    The paper's wording, read literally: the distance of the attribution that overlaps the region
    marked as wrong. The ``share`` form still divides by the sum of the whole CAM. Only images with
    both annotations count. Arguments as in :mod:`xblcore.losses`.
    Source: Hagos et al. 2023 (arXiv 2309.05548), in a differentiable form.

    >>> cam, distance = torch.tensor([[[2.0, 1.0, 1.0]]]), torch.tensor([[[0.0, 0.25, 0.5]]])
    >>> xbl_d_gated(cam, distance, torch.tensor([[[False, False, True]]]), form="share")
    tensor(0.1250)
    """
    cam = _check_cam(cam, distance, "distance")
    _check_annotation(decoy_mask, "decoy_mask", cam.shape)
    annotated = _non_empty(decoy_mask) & _has_distance(distance)
    distance = torch.where(annotated[:, None, None], distance * decoy_mask, 0.0)
    return _weighted(cam, distance, annotated, form, reduction)


def overlap(cam: Tensor, decoy_mask: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Attribution on the region marked as wrong: ``sum_uv M+ * E``, at least 0.

    The ``mass`` form of :func:`xbl_d` with ``E`` in place of the distance.
    Source: this compendium, as a control. Arguments as in :mod:`xblcore.losses`.

    >>> overlap(torch.tensor([[[4.0, 2.0]]]), torch.tensor([[[False, True]]]))
    tensor(2.)
    """
    cam = _check_cam(cam, decoy_mask, "decoy_mask")
    return _reduce((cam * decoy_mask).sum((1, 2)), _non_empty(decoy_mask), reduction)


def rrr_g(cam: Tensor, decoy_mask: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Squared attribution on the region marked as wrong: ``sum_uv (B+ * E)^2``.

    Source: Schramowski et al. 2020, who apply RRR to Grad-CAM; "RRR-G" in Friedrich et al. 2023.
    Arguments as in :mod:`xblcore.losses`.

    >>> rrr_g(torch.tensor([[[4.0, 2.0]]]), torch.tensor([[[False, True]]]))
    tensor(0.2500)
    """
    cam = _check_cam(cam, decoy_mask, "decoy_mask")
    per_sample = (_scaled(cam) * decoy_mask).square().sum((1, 2))
    return _reduce(per_sample, _non_empty(decoy_mask), reduction)


def energy(cam: Tensor, object_mask: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Share of the attribution off the object: ``1 - sum_uv P * R``, in [0, 1].

    An all-zero map has the value 1. It gives the network no gradient, because the ReLU or absolute
    value that made the map has none at 0.
    Source: Rao et al. 2023, "Studying How to Efficiently and Effectively Guide Models". Arguments
    as in :mod:`xblcore.losses`.

    >>> energy(torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[True, False]]]))
    tensor(0.2500)
    """
    cam = _check_cam(cam, object_mask, "object_mask")
    per_sample = 1 - (_share(cam) * object_mask).sum((1, 2))
    return _reduce(per_sample, _non_empty(object_mask), reduction)


def hint(cam: Tensor, object_mask: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Squared difference between CAM and object mask: ``mean_uv (B+ - R)^2``, in [0, 1].

    Source: Selvaraju et al. 2019, in the form of Friedrich et al. 2023. Arguments as in
    :mod:`xblcore.losses`.

    >>> hint(torch.tensor([[[4.0, 2.0]]]), torch.tensor([[[True, False]]]))
    tensor(0.1250)
    """
    cam = _check_cam(cam, object_mask, "object_mask")
    per_sample = (_scaled(cam) - object_mask.to(cam.dtype)).square().mean((1, 2))
    return _reduce(per_sample, _non_empty(object_mask), reduction)


def l1(cam: Tensor, object_mask: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Absolute difference between CAM and object mask: ``mean_uv |B+ - R|``, in [0, 1].

    Source: Rao et al. 2023, after Gao et al. 2022. Arguments as in :mod:`xblcore.losses`.

    >>> l1(torch.tensor([[[4.0, 2.0]]]), torch.tensor([[[True, False]]]))
    tensor(0.2500)
    """
    cam = _check_cam(cam, object_mask, "object_mask")
    per_sample = (_scaled(cam) - object_mask.to(cam.dtype)).abs().mean((1, 2))
    return _reduce(per_sample, _non_empty(object_mask), reduction)


def res_g(
    cam: Tensor, object_mask: Tensor, decoy_mask: Tensor, *,
    threshold: Tensor | float | None = None, slack: float = 0.0, reduction: Reduction = "mean",
) -> Tensor:  # fmt: skip
    """Robust difference to both marks, and L1 difference to the softened object mask.

    ``relu(mean_{F != 0} |tanh(5 (B+ - a)) - F| - slack) + mean_uv |B+ - h(R)|`` with the marks
    ``F = R - E`` and ``h`` a 3x3 Gaussian, scaled to maximum 1. The threshold ``a`` has the largest
    share of ``R`` at or above it plus share of ``E`` below, and is a constant for the gradient.

    Source: Gao et al. 2022, "RES", in the form of their code (github.com/YuyangGao/RES), whose
    slack is 0 by default as well. There, the threshold is that of the batch, the CAM is shifted to
    minimum 0, and the channel weights are constants. Arguments as in :mod:`xblcore.losses`.

    >>> marks = torch.tensor([[[True, False]]]), torch.tensor([[[False, True]]])
    >>> res_g(torch.tensor([[[1.0, 0.0]]]), *marks, threshold=0.5)
    tensor(0.1801)
    """
    cam = _check_cam(cam, object_mask, "object_mask")
    _check_annotation(decoy_mask, "decoy_mask", cam.shape)
    scaled, marks = _scaled(cam), object_mask.to(cam.dtype) - decoy_mask.to(cam.dtype)
    if threshold is None:
        threshold = _threshold(scaled.detach(), marks)
    robust = ((5 * (scaled - threshold)).tanh() - marks).abs() * marks.abs()
    robust = robust.sum((1, 2)) / marks.abs().sum((1, 2)).clamp(min=1)
    padded = functional.pad(marks.relu()[:, None], (1, 1, 1, 1), mode="replicate")
    soft = functional.avg_pool2d(functional.avg_pool2d(padded, 2, 1), 2, 1)[:, 0]  # (N, h, w)
    per_sample = (robust - slack).relu() + (scaled - _scaled(soft)).abs().mean((1, 2))
    return _reduce(per_sample, _non_empty(object_mask | decoy_mask), reduction)


def _threshold(values: Tensor, marks: Tensor) -> Tensor:
    """Threshold ``(N, 1, 1)`` with most positive marks at or above it and negative ones below."""
    values, marks = values.flatten(1), marks.flatten(1)  # (N, cells)
    right, wrong = marks > 0, marks < 0
    tried = torch.cat((values + 1e-4, values), 1)  # (N, 2 cells)

    def below(mark: Tensor) -> Tensor:
        """Share of the marked values below each threshold."""
        ranked = torch.where(mark, values, torch.inf).sort(1).values
        return torch.searchsorted(ranked, tried) / mark.sum(1, keepdim=True).clamp(min=1)

    score = torch.where(torch.cat((wrong, right), 1), below(wrong) - below(right), -2.0)
    return tried.gather(1, score.argmax(1, keepdim=True))[..., None]


def ppce(cam: Tensor, object_mask: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Per-pixel cross-entropy of the CAM to 1 inside the object: ``-mean_R log B+``, in nats.

    Logarithms are clamped to at least -100, as in ``binary_cross_entropy``; cells at 0 have -100.
    Source: Rao et al. 2023, after Shen et al. 2021. Arguments as in :mod:`xblcore.losses`.

    >>> ppce(torch.tensor([[[4.0, 4.0]]]), torch.tensor([[[True, False]]]))
    tensor(0.)
    """
    cam = _check_cam(cam, object_mask, "object_mask")
    lit = object_mask & (cam > 0)
    # The other cells get log 1 = 0, because the logarithm of 0 would make the gradient NaN.
    gained = torch.where(lit, _scaled(cam), 1.0).log().clamp(min=-100).sum((1, 2))
    cells = object_mask.sum((1, 2))
    dark = cells - lit.sum((1, 2))
    return _reduce((100 * dark - gained) / cells.clamp(min=1), cells > 0, reduction)


def pgd_ex(
    logits: Tensor, labels: Tensor, decoy_mask: Tensor, *, reduction: Reduction = "mean"
) -> Tensor:
    """Cross-entropy of :func:`xblcore.methods.perturbed` images, in nats.

    ``logits`` ``(N, classes)`` are those of the perturbed images, ``labels`` ``(N,)``;
    ``decoy_mask`` is bool ``(N, H, W)``.
    Source: Heo, Piratla, Wicker and Weller 2023, "Use perturbations when learning from
    explanations".

    >>> pgd_ex(torch.zeros(1, 2), torch.tensor([0]), torch.ones(1, 1, 1).bool())
    tensor(0.6931)
    """
    _check_annotation(decoy_mask, "decoy_mask", logits.shape[:1] + decoy_mask.shape[1:])
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        shapes = f"{tuple(logits.shape)} and {tuple(labels.shape)}"
        raise ValueError(f"logits and labels must be (N, classes) and (N,), got {shapes}")
    per_sample = functional.cross_entropy(logits, labels, reduction="none")
    return _reduce(per_sample, _non_empty(decoy_mask), reduction)


def tap(
    activations: Sequence[Tensor], decoy_mask: Tensor, *, reduction: Reduction = "mean"
) -> Tensor:
    """Targeted activation penalty: ``mean_layers sum_uv (E_l * sum_k |A_lk|)^2``.

    ``activations`` are ``(N, K, h, w)``, layer by layer; ``decoy_mask`` is bool ``(N, H, W)`` at
    the resolution of the images. Each time that the resolution changes, ``E_l`` is widened by one
    cell and then averaged over the cells of the next layer.
    Source: Zhang, Williams and Toni 2024, "Targeted Activation Penalties Help CNNs Ignore Spurious
    Signals", in the form of their code (github.com/dkaizhang/TAP). There, the explanations of a
    teacher can replace the annotations.

    >>> tap([torch.tensor([[[[2.0, 3.0]], [[-1.0, 0.0]]]])], torch.tensor([[[True, False]]]))
    tensor(9.)
    """
    per_layer, mask = [], decoy_mask[:, None].float()
    for activation in activations:
        size = (activation.shape[2], activation.shape[3])
        if size != mask.shape[2:]:
            mask = functional.max_pool2d(mask, 3, stride=1, padding=1)
            mask = functional.adaptive_avg_pool2d(mask, size)
        per_layer.append((mask[:, 0] * activation.abs().sum(1)).square().sum((1, 2)))
    return _mean_of_layers(per_layer, decoy_mask, reduction)


def actdiff(
    activations: Sequence[Tensor], masked: Sequence[Tensor], decoy_mask: Tensor, *,
    reduction: Reduction = "mean",
) -> Tensor:  # fmt: skip
    """Distance of the activations of an image to those of its masked copy: ``mean_l |A_l - A'_l|``.

    The Euclidean norm over all elements of a layer ``l``, ``(N, ...)``. ``decoy_mask`` is bool
    ``(N, H, W)``, the masked pixels.
    Source: Viviano et al. 2021, "Saliency is a Possible Red Herring When Diagnosing Poor
    Generalization". Their code (github.com/josephdviviano/saliency-red-herring) takes the norm of
    each row of a feature map and averages these.

    >>> actdiff([torch.tensor([[3.0, 4.0]])], [torch.zeros(1, 2)], torch.ones(1, 1, 1).bool())
    tensor(5.)
    """
    per_layer = [torch.linalg.vector_norm((one - other).flatten(1), dim=1)
                 for one, other in zip(activations, masked, strict=True)]  # fmt: skip
    return _mean_of_layers(per_layer, decoy_mask, reduction)


def _mean_of_layers(per_layer: list[Tensor], decoy_mask: Tensor, reduction: Reduction) -> Tensor:
    if not per_layer:
        raise ValueError(
            "activations must have at least one layer, got none; add 'activations' to the needs of "
            "the method and use a network with ReLUs"
        )
    means = torch.stack(per_layer).mean(0)
    _check_annotation(decoy_mask, "decoy_mask", means.shape + decoy_mask.shape[1:])
    return _reduce(means, _non_empty(decoy_mask), reduction)


def rrr(input_gradient: Tensor, decoy_mask: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Right for the right reasons: ``sum_pixels (E * d/dx sum_k log p_k)^2``.

    Source: Ross, Hughes and Doshi-Velez 2017, eq. 1.

    Args:
        input_gradient: ``(N, C, H, W)``, finite: ``d/dx sum_k log p_k``, computed with
            ``create_graph=True``.
        decoy_mask: bool ``(N, H, W)`` at the resolution of the images.
        reduction: as in :mod:`xblcore.losses`.

    >>> rrr(torch.tensor([[[[2.0, 3.0]]]]), torch.tensor([[[True, False]]]))
    tensor(4.)
    """
    _check(input_gradient, "input_gradient", decoy_mask)
    marked = input_gradient * decoy_mask[:, None]
    wide = marked.to(torch.promote_types(marked.dtype, torch.float32))  # squares overflow
    return _reduce(wide.square().sum((1, 2, 3)), _non_empty(decoy_mask), reduction)


def rbr(
    input_gradient: Tensor, influence_gradient: Tensor, decoy_mask: Tensor, *,
    reduction: Reduction = "mean",
) -> Tensor:  # fmt: skip
    """Right for better reasons: ``sum_pixels (E * d/dx sum_k log p_k * d/dx I)^2``.

    :func:`rrr` weighted by the influence of each pixel on the weights. ``I = sum_theta dCE/dtheta``
    is the influence function of a sample with the identity in place of the Hessian.
    Source: Shao, Skryagin, Stammer, Schramowski and Kersting 2021, "Right for Better Reasons", in
    the form of Friedrich et al. 2023.
    ``influence_gradient`` is ``d/dx I``; shapes and other arguments as in :func:`rrr`.

    >>> gradient, mask = torch.tensor([[[[2.0, 3.0]]]]), torch.tensor([[[True, False]]])
    >>> rbr(gradient, torch.tensor([[[[-0.5, 7.0]]]]), mask)
    tensor(1.)
    """
    _check(input_gradient, "input_gradient", decoy_mask)
    _check(influence_gradient, "influence_gradient", decoy_mask)
    return rrr(input_gradient * influence_gradient, decoy_mask, reduction=reduction)


def _check(gradient: Tensor, name: str, decoy_mask: Tensor) -> None:
    if gradient.ndim != 4:
        raise ValueError(f"{name} must be (N, C, H, W), got shape {tuple(gradient.shape)}")
    _check_annotation(decoy_mask, "decoy_mask", gradient.shape[:1] + gradient.shape[2:])
    _check_finite(gradient, name)


def xbl_d_released(
    features: Tensor, logits: Tensor, labels: Tensor, decoy_mask: Tensor, object_mask: Tensor
) -> Tensor:
    """Mean distance ``d`` of the released scripts, for the softmax output of the true class.

    Their training loss is ``2.7 CE + 0.1 mean d``. ``d`` is computed from *indices*, which have no
    derivative: it changes the value of the loss but no weight. Here every image has its own
    annotation; the scripts look up object edges by the position in the shuffled batch.
    ``features`` are ``(N, K, h, w)``, ``logits`` ``(N, C)``, computed from them, ``labels``
    ``(N,)``, and both masks bool ``(N, h, w)``.
    Source: the TensorFlow code of Hagos et al. (github.com/Msgun/XBL-D). This is a statement about
    that code, not about the paper's results.
    """
    probabilities = logits.softmax(1).gather(1, labels[:, None])[:, 0]
    cam = guided_grad_cam(features, probabilities)
    return index_distance(cam, decoy_mask, object_mask).mean()


def guided_grad_cam(features: Tensor, probabilities: Tensor) -> Tensor:
    """Grad-CAM of the released scripts, with channel weights ``mean_uv 1[A > 0] 1[g > 0] g``.

    ``A``: features ``(N, K, h, w)``. ``g``: gradient of the probabilities ``(N,)`` of the explained
    classes with respect to ``A``. The map ``(N, h, w)`` is signed and differentiable.
    """
    (gradient,) = torch.autograd.grad(probabilities.sum(), features, create_graph=True)
    guided = gradient * (features > 0) * (gradient > 0)
    weights = guided.mean((2, 3), keepdim=True)  # (N, K, 1, 1)
    return (weights * features).sum(1)  # (N, h, w)


def object_edges(object_mask: Tensor) -> Tensor:
    """Edges of the object as the released scripts find them, along the flattened grid.

    The scripts pass the *flattened* mask to OpenCV's Canny detector, which treats it as an image
    one pixel wide. Its gradient is then ``|m[i+1] - m[i-1]|``, and non-maximum suppression keeps
    ``i`` if its gradient exceeds that of ``i - 1`` and is at least that of ``i + 1``. From bool
    ``(N, h, w)`` to bool ``(N, h * w)``.

    >>> object_edges(torch.tensor([[[False, False, True, True, True, False, False]]])).int()
    tensor([[0, 1, 0, 0, 1, 0, 0]], dtype=torch.int32)
    """
    mask = object_mask.flatten(1).float()
    padded = torch.nn.functional.pad(mask[:, None], (1, 1), mode="replicate")[:, 0]
    gradient = (padded[:, 2:] - padded[:, :-2]).abs()
    around = torch.nn.functional.pad(gradient, (1, 1))
    return (gradient > around[:, :-2]) & (gradient >= around[:, 2:])


def index_distance(cam: Tensor, decoy_mask: Tensor, object_mask: Tensor) -> Tensor:
    """``d`` of the released scripts: mean distance of both ends of the overlap to the object.

    The ends are the first and the last index of the flattened grid with
    ``relu(cam) * decoy_mask > 0``; distances are in flat indices, to the nearest index of
    :func:`object_edges`. On a 14x14 grid, vertical neighbours are therefore 14 apart, while the end
    of a row and the start of the next are 1 apart.

    From a signed CAM ``(N, h, w)`` and bool masks of the same shape to ``(N,)``: 0 if nothing
    overlaps or the object has no edge; never part of a graph.

    >>> row = lambda *cells: torch.tensor([[cells]])
    >>> index_distance(row(1.0, 2.0, 0.0, 0.0, 0.0), row(True, True, False, False, False),
    ...                row(False, False, False, False, True))
    tensor([2.5000])
    """
    for name, mask in (("decoy_mask", decoy_mask), ("object_mask", object_mask)):
        _check_annotation(mask, name, cam.shape)
    cells = cam.shape[1] * cam.shape[2]
    index = torch.arange(cells, device=cam.device, dtype=cam.dtype)
    overlap = ((cam.relu() * decoy_mask) > 0).flatten(1)  # (N, h * w)
    first = torch.where(overlap, index, cells).amin(1)
    last = torch.where(overlap, index, -1).amax(1)
    edges = object_edges(object_mask)
    to_edge = [
        torch.where(edges, (index - end[:, None]).abs(), torch.inf).amin(1) for end in (first, last)
    ]
    defined = overlap.any(1) & edges.any(1)
    return torch.where(defined, (to_edge[0] + to_edge[1]) / 2, 0.0)


def _has_distance(distance: Tensor) -> Tensor:
    """Which samples have a distance map, bool ``(N,)``."""
    unknown = distance.isnan().flatten(1)
    if not torch.equal(unknown.any(1), unknown.all(1)):
        raise ValueError(
            "distance must be known in all cells of an image or in none, got NaN in some; "
            "an image without annotation has NaN everywhere"
        )
    wrong = (distance < 0) | (distance == torch.inf)  # False for NaN
    if wrong.any():
        raise ValueError(
            f"distance must be at least 0 and finite, got {distance[wrong][0].item():.4g}; "
            "an image without annotation has NaN everywhere"
        )
    return ~unknown.any(1)


def _weighted(
    cam: Tensor, distance: Tensor, annotated: Tensor, form: Form, reduction: Reduction
) -> Tensor:
    if form not in ("mass", "share"):
        raise ValueError(f"form must be 'mass' or 'share', got {form!r}")
    attribution = _share(cam) if form == "share" else cam
    return _reduce((attribution * distance).sum((1, 2)), annotated, reduction)


def _share(cam: Tensor) -> Tensor:
    """``P``: the CAM scaled to sum 1; an all-zero map stays 0."""
    peak = cam.detach().amax((1, 2), keepdim=True)
    cam = cam / torch.where(peak > 1e30, peak, 1.0)  # the sum could overflow
    total = cam.sum((1, 2), keepdim=True)
    return cam / torch.where(total > 0, total, 1.0)


def _scaled(cam: Tensor) -> Tensor:
    """``B+``: the CAM scaled to maximum 1; an all-zero map stays 0."""
    peak = cam.amax((1, 2), keepdim=True)
    return cam / torch.where(peak > 0, peak, 1.0)


def _non_empty(mask: Tensor) -> Tensor:
    """Which masks are not empty, bool ``(N,)``."""
    return mask.flatten(1).any(1)


def _reduce(per_sample: Tensor, annotated: Tensor, reduction: Reduction) -> Tensor:
    """Reduce losses ``(N,)``, ignoring samples without annotation."""
    per_sample = torch.where(annotated, per_sample, 0.0)
    if reduction == "none":
        return per_sample
    if reduction == "sum":
        return per_sample.sum()
    if reduction == "mean":
        return per_sample.sum() / annotated.sum().clamp(min=1)
    raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


def _check_cam(cam: Tensor, annotation: Tensor, name: str) -> Tensor:
    """Check the CAM and an annotation on its grid; the CAM as at least float32."""
    if cam.ndim != 3 or 0 in cam.shape[1:] or not cam.is_floating_point():
        raise ValueError(
            f"cam must be (N, h, w), got shape {tuple(cam.shape)} of {cam.dtype}; it has at least "
            "one cell and is floating point"
        )
    _check_annotation(annotation, name, cam.shape)
    low, high = cam.detach().aminmax() if len(cam) else (0, 0)
    if low >= 0 and high < torch.inf:  # False for NaN
        return cam.to(torch.promote_types(cam.dtype, torch.float32))
    _check_finite(cam, "cam")
    raise ValueError(
        f"cam must be non-negative, got {cam.min().item():.4g}; "
        "pass it through xblcore.cam.non_negative first"
    )


def _check_annotation(annotation: Tensor, name: str, shape: torch.Size) -> None:
    if not isinstance(annotation, Tensor):
        kind = type(annotation).__name__
        raise ValueError(f"{name} must be a tensor, got {kind}; pass torch.as_tensor({name})")
    if annotation.shape != shape:
        raise ValueError(
            f"{name} must have shape {tuple(shape)}, got {tuple(annotation.shape)}; "
            "xblcore.distance.to_grid brings masks to the CAM grid"
        )
    if (annotation.dtype == torch.bool) == (name == "distance"):
        kind = "floating point" if name == "distance" else "boolean"
        raise ValueError(f"{name} must be {kind}, got {annotation.dtype}")


def _check_finite(values: Tensor, name: str) -> None:
    finite = values.isfinite().flatten(1).all(1)
    if not finite.all():
        sample = int((~finite).nonzero()[0])
        raise ValueError(
            f"{name} must be finite, got NaN or infinity in sample {sample}; training has diverged "
            "(lower the weight or the learning rate, or lengthen the ramp), or the image has NaN"
        )
