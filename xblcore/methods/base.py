"""What a method is made of: what was marked, what a training step knows, and the entry itself.

A method is one :class:`Method`. Its ``penalty`` gets a :class:`Step`, all that is known about one
training batch after the one forward pass, and returns a scalar. A method that changes the data
instead has an ``augment``, which gets the batch before that pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from xblcore.cam import CAM_METHODS, CamMethod, ScoreKind, class_scores, non_negative

Need = Literal["object_mask", "decoy_mask", "input_gradient", "cam"]


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


class Batch(NamedTuple):
    """Images ``(N, C, H, W)``, labels ``(N,)`` and annotations before the forward pass."""

    images: Tensor
    labels: Tensor
    annotations: Annotations


@dataclass(frozen=True)
class Step:
    """One training batch after its forward pass, with everything still in the graph.

    Attributes:
        images: ``(N, C, H, W)``; require a gradient if the method needs ``input_gradient``.
        labels: ``(N,)``.
        features: ``(N, K, h, w)``; the logits where the method has no penalty, and so no use for
            them.
        logits: ``(N, classes)``.
        annotations: of the same images.
        generator: for scores that draw random signs.
        model: what made the logits, for losses that look into its weights or layers.
    """

    images: Tensor
    labels: Tensor
    features: Tensor
    logits: Tensor
    annotations: Annotations
    generator: torch.Generator
    model: nn.Module

    def cam(self, method: CamMethod, score: ScoreKind) -> Tensor:
        """Non-negative CAM ``(N, h, w)`` of the labels' score, differentiable.

        Raises:
            ValueError: an unknown method or score.
        """
        if method not in CAM_METHODS:
            raise ValueError(f"method must be one of {', '.join(CAM_METHODS)}, got {method!r}")
        scores = class_scores(self.logits, self.labels, kind=score, generator=self.generator)
        return non_negative(CAM_METHODS[method](self.features, scores, create_graph=True), score)

    def input_gradient(self) -> Tensor:
        """``d/dx sum_k log p_k``, ``(N, C, H, W)``, differentiable.

        Raises:
            ValueError: the method does not say that it needs it.
        """
        if not self.images.requires_grad:
            raise ValueError(
                "images must require a gradient, got images without; "
                "add 'input_gradient' to the method's needs"
            )
        total = self.logits.log_softmax(1).sum()
        (gradient,) = torch.autograd.grad(total, self.images, create_graph=True)
        return gradient


Penalty = Callable[[Step], Tensor]
Augment = Callable[[Batch, torch.Generator], Batch]


@dataclass(frozen=True)
class Method:
    """One way of training.

    Attributes:
        name: key in :data:`xblcore.methods.METHODS` and in every table.
        summary: one line on what it does and when to use it.
        source: citation.
        penalty: explanation loss of a batch, a scalar; None: classification loss alone.
        augment: what the method does to a batch before the forward pass; None: nothing.
        needs: what an annotator must supply, and what the penalty differentiates: a CAM, or the
            network with respect to its input.
        default_weight: of the penalty beside the cross-entropy; 0 without a penalty.
        weights: task to default weight, where it is known for a task.
        ce_weight: of the cross-entropy.
        fixed_weight: the weight belongs to the method and is not tuned.
        has_gradient: whether the penalty has one; without, it teaches nothing.
        train_split: the split that it learns from.
    """

    name: str
    summary: str
    source: str
    penalty: Penalty | None = None
    augment: Augment | None = None
    needs: frozenset[Need] = frozenset()
    default_weight: float = 0.0
    weights: Mapping[str, float] = field(default_factory=dict, hash=False)
    ce_weight: float = 1.0
    fixed_weight: bool = False
    has_gradient: bool = True
    train_split: Literal["train", "train_clean"] = "train"

    def __post_init__(self) -> None:
        known = get_args(Need)
        if unknown := sorted(self.needs - {*known}):
            raise ValueError(
                f"needs of {self.name} must be of {', '.join(known)}, got {unknown[0]!r}"
            )

    def weight_for(self, task: str) -> float:
        """Default weight for a task; the method's own where it has none for the task.

        >>> Method("mine", "", "", default_weight=3.0, weights={"hard": 10.0}).weight_for(
        ...     "hard")
        10.0
        """
        return self.weights.get(task, self.default_weight)
