"""Explainers that models are measured by.

:data:`CAMS` are the maps that methods are trained on, or close relatives. A model can satisfy the
map that it is trained on and still rely on the decoy. :data:`HELD_OUT` are of other families: no
CAM loss is trained on them, but RRR and RBR train on input gradients, which are related.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from captum.attr import InputXGradient, IntegratedGradients, Occlusion
from torch import Tensor, nn

from xblcore.cam import CamMethod, ScoreKind, evaluating, explain

IG_STEPS = 16  # Gauss-Legendre points on the path from black
OCCLUDED = 7  # the occluding square has a seventh of the side of the image
AT_ONCE = 64  # images, or modified copies, per forward pass; bounds the memory

Attribute = Callable[[nn.Module, Tensor, str], Tensor]


@dataclass(frozen=True)
class Explainer:
    """A way to attribute a prediction.

    ``attribute`` maps model, images ``(N, C, H, W)`` and layer to the non-negative attribution
    ``(N, h, w)`` of the predicted classes, at the resolution of the explainer.
    """

    name: str
    attribute: Attribute


def input_x_gradient(model: nn.Module, images: Tensor, target: Tensor) -> Tensor:
    """``x * dz_t / dx``, signed, ``(N, C, H, W)``.

    Source: Shrikumar et al. 2016, "Not just a black box", arXiv 1605.01713.
    """
    signed: Tensor = InputXGradient(model).attribute(images, target=target)
    return signed


def integrated_gradients(model: nn.Module, images: Tensor, target: Tensor) -> Tensor:
    """``x * (mean of dz_t / dx on the straight path from black to x)``, signed, ``(N, C, H, W)``.

    Source: Sundararajan et al. 2017, "Axiomatic attribution for deep networks".
    """
    signed: Tensor = IntegratedGradients(model).attribute(
        images, target=target, n_steps=IG_STEPS, internal_batch_size=AT_ONCE
    )
    return signed


def occlusion(model: nn.Module, images: Tensor, target: Tensor) -> Tensor:
    """How much ``z_t`` falls if a square is black, signed, ``(N, C, H, W)``.

    The squares do not overlap.
    Source: Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks".
    """
    channels, side = images.shape[1], max(1, images.shape[2] // OCCLUDED)
    signed: Tensor = Occlusion(model).attribute(
        images, target=target, sliding_window_shapes=(channels, side, side),
        strides=(channels, side, side), perturbations_per_eval=max(1, AT_ONCE // len(images)),
    )  # fmt: skip
    return signed / channels  # all channels of a square are occluded together


def _cam(method: CamMethod, score: ScoreKind) -> Attribute:
    def attribute(model: nn.Module, images: Tensor, layer: str) -> Tensor:
        return explain(model, images, layer=layer, method=method, score=score)

    return attribute


def _by_pixel(signed: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> Attribute:
    """Sum the channels and keep positive evidence, as for the CAM of a logit."""

    def attribute(model: nn.Module, images: Tensor, layer: str) -> Tensor:
        with evaluating(model):
            return torch.cat([positive(model, some) for some in images.split(AT_ONCE)])

    def positive(model: nn.Module, images: Tensor) -> Tensor:
        with torch.no_grad():
            target = model(images).argmax(1)
        copy = images.clone().requires_grad_()  # captum would modify the caller's tensor
        return signed(model, copy, target).detach().sum(1).relu()  # (N, H, W)

    return attribute


CAMS = (
    Explainer("grad_cam", _cam("grad_cam", "logit")),
    Explainer("hires_cam", _cam("hires_cam", "logit")),
    Explainer("hires_cam_log_prob", _cam("hires_cam", "log_prob")),
)
HELD_OUT = (
    Explainer("input_x_gradient", _by_pixel(input_x_gradient)),
    Explainer("integrated_gradients", _by_pixel(integrated_gradients)),
    Explainer("occlusion", _by_pixel(occlusion)),
)
EXPLAINERS = {explainer.name: explainer for explainer in (*CAMS, *HELD_OUT)}


def get(name: str) -> Explainer:
    """Return the explainer with this name.

    >>> get("occlusion").name
    'occlusion'
    """
    if name not in EXPLAINERS:
        raise ValueError(f"explainer must be one of {', '.join(EXPLAINERS)}, got {name!r}")
    return EXPLAINERS[name]
