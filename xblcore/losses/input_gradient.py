"""Explanation losses of input gradients, on the pixels marked as wrong."""

from __future__ import annotations

from torch import Tensor

from xblcore.losses.common import Reduction, check_annotation, check_finite, non_empty, reduce


def rrr(input_gradient: Tensor, decoy_mask: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Right for the right reasons: ``sum_pixels (E * d/dx sum_k log p_k)^2``.

    Source: Ross, Hughes and Doshi-Velez 2017, eq. 1.

    Args:
        input_gradient: ``(N, C, H, W)``, gradient of the summed log probabilities with respect to
            the images, made with ``create_graph=True``; finite.
        decoy_mask: bool ``(N, H, W)`` at the images' resolution.
        reduction: as in :func:`xblcore.losses.xbl_d`.

    Raises:
        ValueError: shapes that do not fit, a gradient that is not finite, an unknown reduction.

    >>> import torch
    >>> rrr(torch.tensor([[[[2.0, 3.0]]]]), torch.tensor([[[True, False]]]))
    tensor(4.)
    """
    _check(input_gradient, "input_gradient", decoy_mask)
    per_sample = (input_gradient * decoy_mask[:, None]).square().sum((1, 2, 3))
    return reduce(per_sample, non_empty(decoy_mask), reduction)


def rbr(
    input_gradient: Tensor,
    influence_gradient: Tensor,
    decoy_mask: Tensor,
    *,
    reduction: Reduction = "mean",
) -> Tensor:
    """Right for better reasons: ``sum_pixels (E * d/dx sum_k log p_k * d/dx I)^2``.

    :func:`rrr` weighted by influence: ``I = sum_theta dCE/dtheta`` of a sample is how training on
    it moves the weights (the influence function with the identity in place of the Hessian), and its
    gradient tells which pixels it owes that to.
    Source: Shao, Skryagin, Stammer, Schramowski and Kersting 2021, "Right for Better Reasons", in
    the form of Friedrich et al. 2023.

    Args:
        input_gradient: ``(N, C, H, W)`` as in :func:`rrr`.
        influence_gradient: ``(N, C, H, W)``, ``d/dx I``, made with ``create_graph=True``; finite.
        decoy_mask: bool ``(N, H, W)`` at the images' resolution.
        reduction: as in :func:`xblcore.losses.xbl_d`.

    Raises:
        ValueError: as :func:`rrr`.

    >>> import torch
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
    check_annotation(decoy_mask, "decoy_mask", gradient.shape[:1] + gradient.shape[2:])
    check_finite(gradient, name)
