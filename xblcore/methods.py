"""The registry of methods: what each one is trained on, its explanation loss, and its source.

A method is one entry of :data:`METHODS`. Its ``penalty`` gets a :class:`Step`, all that is known
about one training batch after the one forward pass, and returns a scalar.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from xblcore import losses, released
from xblcore.cam import CAM_METHODS, CamMethod, ScoreKind, class_scores, non_negative

Need = Literal["object_mask", "decoy_mask", "input_gradient"]


@dataclass(frozen=True)
class Annotations:
    """What a person marked, for ``N`` images; empty masks and NaN distances mean "not marked".

    Attributes:
        object_mask: bool ``(N, h, w)`` on the CAM's grid.
        decoy_mask: bool ``(N, h, w)`` on the CAM's grid.
        distance: ``(N, h, w)`` distance to the object, in grid diagonals.
        decoy_pixels: bool ``(N, H, W)``, the decoy mask at the images' resolution.
    """

    object_mask: Tensor
    decoy_mask: Tensor
    distance: Tensor
    decoy_pixels: Tensor

    def take(self, index: Tensor) -> Annotations:
        """The annotations of the images ``index``."""
        return Annotations(
            self.object_mask[index],
            self.decoy_mask[index],
            self.distance[index],
            self.decoy_pixels[index],
        )


@dataclass(frozen=True)
class Step:
    """One training batch after its forward pass, with everything still in the graph.

    Attributes:
        images: ``(N, C, H, W)``; require a gradient if the method needs ``input_gradient``.
        labels: ``(N,)``.
        features: ``(N, K, h, w)``.
        logits: ``(N, classes)``.
        annotations: of the same images.
        generator: for scores that draw random signs.
    """

    images: Tensor
    labels: Tensor
    features: Tensor
    logits: Tensor
    annotations: Annotations
    generator: torch.Generator

    def cam(self, method: CamMethod, score: ScoreKind) -> Tensor:
        """Non-negative CAM ``(N, h, w)`` of the labels' score, differentiable."""
        scores = class_scores(self.logits, self.labels, kind=score, generator=self.generator)
        return non_negative(CAM_METHODS[method](self.features, scores, create_graph=True), score)

    def input_gradient(self) -> Tensor:
        """``d/dx sum_k log p_k``, ``(N, C, H, W)``, differentiable."""
        total = self.logits.log_softmax(1).sum()
        (gradient,) = torch.autograd.grad(total, self.images, create_graph=True)
        return gradient


Penalty = Callable[[Step], Tensor]


@dataclass(frozen=True)
class Method:
    """One way of training.

    Attributes:
        name: key in :data:`METHODS` and in every table.
        label: name in figures.
        summary: one line on what it does and when to use it.
        source: citation.
        penalty: explanation loss of a batch, a scalar; None: classification loss alone.
        needs: what an annotator must supply, and whether gradients reach the images.
        default_weight: of the penalty beside the cross-entropy; 0 without a penalty.
        ce_weight: of the cross-entropy.
        fixed_weight: the weight belongs to the method and is not tuned.
        train_split: the split that it learns from.
    """

    name: str
    label: str
    summary: str
    source: str
    penalty: Penalty | None = None
    needs: frozenset[Need] = frozenset()
    default_weight: float = 0.0
    ce_weight: float = 1.0
    fixed_weight: bool = False
    train_split: Literal["train", "train_clean"] = "train"


def _xbl_d(step: Step) -> Tensor:
    cam = step.cam("hires_cam", "projection")
    return losses.xbl_d(cam, step.annotations.distance, normalise=False)


def _xbl_d_grad_cam(step: Step) -> Tensor:
    return losses.xbl_d(step.cam("grad_cam", "logit"), step.annotations.distance)


def _xbl_d_released(step: Step) -> Tensor:
    marked = step.annotations
    return released.xbl_d_released(
        step.features, step.logits, step.labels, marked.decoy_mask, marked.object_mask
    )


def _xbl_overlap(step: Step) -> Tensor:
    cam = step.cam("hires_cam", "projection")
    return losses.overlap(cam, step.annotations.decoy_mask)


def _rrr_g(step: Step) -> Tensor:
    return losses.rrr_g(step.cam("grad_cam", "logit"), step.annotations.decoy_mask)


def _rrr(step: Step) -> Tensor:
    return losses.rrr(step.input_gradient(), step.annotations.decoy_pixels)


_OBJECT: frozenset[Need] = frozenset({"object_mask"})
_DECOY: frozenset[Need] = frozenset({"decoy_mask"})

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            name="erm",
            label="ERM",
            summary="Cross-entropy alone, on images with the decoy: the floor.",
            source="Vapnik 1998, Statistical Learning Theory",
        ),
        Method(
            name="oracle",
            label="Oracle",
            summary="Cross-entropy alone, on the same images without the decoy: the ceiling.",
            source="the usual upper bound, e.g. Ross et al. 2017",
            train_split="train_clean",
        ),
        Method(
            name="xbl_d",
            label="XBL-D",
            summary="Distance-weighted HiResCAM of a random projection of the logits, as mass; "
            "the first choice wherever objects are outlined.",
            source="this compendium, after Hagos et al. 2023",
            penalty=_xbl_d,
            needs=_OBJECT,
            default_weight=3.0,
        ),
        Method(
            name="xbl_overlap",
            label="XBL-overlap",
            summary="XBL-D with overlap with the decoy in place of distance, all else equal: "
            "the control that isolates what distance adds.",
            source="this compendium, a control",
            penalty=_xbl_overlap,
            needs=_DECOY,
            default_weight=10.0,
        ),
        Method(
            name="xbl_d_grad_cam",
            label="XBL-D (Grad-CAM)",
            summary="Distance-weighted Grad-CAM of the true class's logit, as share; the plain "
            "differentiable reading of the paper, for heads with global average pooling.",
            source="Hagos et al. 2023, arXiv 2309.05548",
            penalty=_xbl_d_grad_cam,
            needs=_OBJECT,
            default_weight=10.0,
        ),
        Method(
            name="xbl_d_released",
            label="XBL-D (released)",
            summary="The arithmetic of the released scripts; its penalty has no gradient.",
            source="Hagos et al. 2023, released code",
            penalty=_xbl_d_released,
            needs=_OBJECT | _DECOY,
            default_weight=released.DISTANCE_WEIGHT,
            ce_weight=released.CE_WEIGHT,
            fixed_weight=True,
        ),
        Method(
            name="rrr",
            label="RRR",
            summary="Input gradients on the decoy's pixels; when the wrong region is marked to the "
            "pixel and twice the training time is no matter.",
            source="Ross, Hughes and Doshi-Velez 2017",
            penalty=_rrr,
            needs=_DECOY | {"input_gradient"},
            default_weight=10.0,
        ),
        Method(
            name="rrr_g",
            label="RRR-G",
            summary="Overlap of the Grad-CAM with the decoy; the overlap counterpart of XBL-D.",
            source="Schramowski et al. 2020",
            penalty=_rrr_g,
            needs=_DECOY,
            default_weight=10.0,
        ),
    )
}


def get(name: str) -> Method:
    """The method of this name.

    Raises:
        ValueError: there is none; the message lists those there are.

    >>> get("rrr").label
    'RRR'
    """
    if name not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {name!r}")
    return METHODS[name]
