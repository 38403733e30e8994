"""The registry of methods: name, source, required annotations, look and explanation loss.

A method is one entry of :data:`METHODS`. Its ``penalty`` receives a :class:`Step`, everything known
about a training batch after its single forward pass, and returns a scalar. A method that changes
the data instead has an ``augment``, which receives the batch before that pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from xblcore import contextual, losses
from xblcore.cam import CAM_METHODS, CamMethod, Order, ScoreKind, class_scores, non_negative
from xblcore.examples import Cells, Examples

Need = Literal["object_mask", "decoy_mask", "input_gradient"]
Explainer = Literal["grad_cam", "hires_cam", "input_gradient"]

# Least penalty of cells that see the wrong region, in grid diagonals: c in D+ = max(D, c E).
WRONG = 0.3


@dataclass(frozen=True, eq=False)
class Step:
    """One training batch after its forward pass, with everything still in the graph.

    Attributes:
        batch: images as float32 (with a gradient if the method needs ``input_gradient``), labels
            and annotations, ``batch.cells`` included.
        features: ``(N, K, h, w)``.
        logits: ``(N, classes)``.
        generator: for scores that draw random signs.
        model: for losses that need its weights or layers.
        mean_penalty: ``(h, w)``, ``D+`` averaged over the training set.
        cam_method: if given, replaces the CAM that the method asks for.
        score: if given, replaces the score that the method asks for.
        wrong: ``c`` in ``D+ = max(D, c E)``.
    """

    batch: Examples
    features: Tensor
    logits: Tensor
    generator: torch.Generator
    model: nn.Module
    mean_penalty: Tensor | None = None
    cam_method: CamMethod | None = None
    score: ScoreKind | None = None
    wrong: float = WRONG

    @property
    def cells(self) -> Cells:
        """The annotations on the CAM grid."""
        if self.batch.cells is None:
            raise ValueError("batch must have its annotations on the CAM grid; use on_grid")
        return self.batch.cells

    def cam(self, method: CamMethod, score: ScoreKind, *, order: Order = 2) -> Tensor:
        """Non-negative CAM ``(N, h, w)`` of the labels' score, differentiable."""
        method, score = self.cam_method or method, self.score or score
        scores = class_scores(self.logits, self.batch.labels, kind=score, generator=self.generator)
        signed = CAM_METHODS[method](self.features, scores, create_graph=True, order=order)
        return non_negative(signed, score)

    def distance_plus(self) -> Tensor:
        """``D+ = max(D, c E)``, ``(N, h, w)``; NaN for images without annotation."""
        return distance_plus(self.cells, wrong=self.wrong)

    def input_gradient(self) -> Tensor:
        """``d/dx sum_k log p_k``, ``(N, C, H, W)``, differentiable."""
        if not self.batch.images.requires_grad:
            raise ValueError(
                "images must require a gradient; add 'input_gradient' to the method's needs"
            )
        total = self.logits.log_softmax(1).sum()
        (gradient,) = torch.autograd.grad(total, self.batch.images, create_graph=True)
        return gradient


def distance_plus(cells: Cells, *, wrong: float = WRONG) -> Tensor:
    """``D+ = max(D, wrong * E)`` of annotations on the CAM grid, ``(N, h, w)``."""
    return losses.combined_distance(cells.distance, cells.decoy_mask, wrong=wrong)


Penalty = Callable[[Step], Tensor]
Augment = Callable[[Examples, torch.Generator], Examples]


@dataclass(frozen=True)
class Method:
    """One way of training.

    Attributes:
        name: key in :data:`METHODS` and in every table.
        label: name in figures and on the page.
        summary: what it does, in one line.
        source: citation.
        colour: of the palette in :mod:`xblcore.plots.style`.
        marker: of matplotlib.
        penalty: explanation loss of a batch, a scalar; None: classification loss only.
        augment: changes a batch before the forward pass.
        needs: annotations, and ``input_gradient`` if the penalty differentiates the input.
        default_weight: of the penalty, relative to the cross-entropy.
        trained_on: the explanation that the penalty looks at, if any.
        ce_weight: of the cross-entropy.
        fixed_weight: whether the weight belongs to the method and is not tuned.
        has_gradient: whether the penalty has a gradient.
        train_split: the split that it is trained on.
    """

    name: str
    label: str
    summary: str
    source: str
    colour: str
    marker: str | tuple[int, int, int]
    penalty: Penalty | None = None
    augment: Augment | None = None
    needs: frozenset[Need] = frozenset()
    default_weight: float = 0.0
    trained_on: Explainer | None = None
    ce_weight: float = 1.0
    fixed_weight: bool = False
    has_gradient: bool = True
    train_split: Literal["train", "train_clean"] = "train"


OBJECT: frozenset[Need] = frozenset({"object_mask"})
DECOY: frozenset[Need] = frozenset({"decoy_mask"})
BOTH = OBJECT | DECOY


def _xbl_d(step: Step) -> Tensor:
    return losses.xbl_d(step.cam("grad_cam", "logit"), step.cells.distance, form="share")


def _xbl_d_plus(step: Step) -> Tensor:
    return losses.xbl_d(step.cam("hires_cam", "projection"), step.distance_plus())


def _xbl_d_plus_first(step: Step) -> Tensor:
    return losses.xbl_d(step.cam("hires_cam", "projection", order=1), step.distance_plus())


def _xbl_d_gated(step: Step) -> Tensor:
    cells = step.cells
    return losses.xbl_d_gated(step.cam("hires_cam", "projection"), cells.distance, cells.decoy_mask)


def _xbl_d_released(step: Step) -> Tensor:
    return losses.xbl_d_released(
        step.features, step.logits, step.batch.labels, step.cells.decoy_mask, step.cells.object_mask
    )


def _xbl_overlap(step: Step) -> Tensor:
    return losses.overlap(step.cam("hires_cam", "projection"), step.cells.decoy_mask)


def _activation(step: Step) -> Tensor:
    return losses.xbl_d(step.features.abs().sum(1), step.distance_plus())


def _shuffled(step: Step) -> Tensor:
    return losses.xbl_d(step.cam("hires_cam", "projection"), step.distance_plus().roll(1, 0))


def _centre_prior(step: Step) -> Tensor:
    if step.mean_penalty is None:
        raise ValueError("mean_penalty must be given for the centre prior, got None")
    cam = step.cam("hires_cam", "projection")
    return losses.xbl_d(cam, step.mean_penalty.expand_as(cam))


def _uniform(step: Step) -> Tensor:
    cam = step.cam("hires_cam", "projection")
    return losses.xbl_d(cam, torch.ones_like(cam))


def _rrr(step: Step) -> Tensor:
    return losses.rrr(step.input_gradient(), step.batch.decoy_mask)


def _rrr_g(step: Step) -> Tensor:
    return losses.rrr_g(step.cam("grad_cam", "logit"), step.cells.decoy_mask)


def _rbr(step: Step) -> Tensor:
    return losses.rbr(step.input_gradient(), influence_gradient(step), step.batch.decoy_mask)


def influence_gradient(step: Step) -> Tensor:
    """``d/dx sum_theta dCE/dtheta``, ``(N, C, H, W)``, differentiable.

    The cross-entropy is summed over the batch, so that the value of an image does not depend on
    the batch size. This is the most expensive loss here: it is differentiated three times.
    """
    parameters = [weight for weight in step.model.parameters() if weight.requires_grad]
    cross_entropy = functional.cross_entropy(step.logits, step.batch.labels, reduction="sum")
    by_weight = torch.autograd.grad(
        cross_entropy, parameters, create_graph=True, materialize_grads=True
    )
    influence = torch.stack([gradient.sum() for gradient in by_weight]).sum()
    (gradient,) = torch.autograd.grad(influence, step.batch.images, create_graph=True)
    return gradient


def _hint(step: Step) -> Tensor:
    return losses.hint(step.cam("grad_cam", "logit"), step.cells.object_mask)


def _energy(step: Step) -> Tensor:
    # HiResCAM is input x gradient at the explained layer, as Rao et al. use at inner layers.
    return losses.energy(step.cam("hires_cam", "logit"), step.cells.object_mask)


def _l1(step: Step) -> Tensor:
    return losses.l1(step.cam("hires_cam", "logit"), step.cells.object_mask)


def _ppce(step: Step) -> Tensor:
    return losses.ppce(step.cam("hires_cam", "logit"), step.cells.object_mask)


def _cdep(step: Step) -> Tensor:
    wrong = step.batch.decoy_mask
    return contextual.cdep(*contextual.decompose(step.model, step.batch.images, wrong), wrong)


def counterexamples(batch: Examples, generator: torch.Generator) -> Examples:
    """Add a copy of each annotated image with uniform noise in place of the decoy.

    From ``N`` to between ``N`` and ``2 N`` images as float32, the originals first. A copy keeps the
    annotations of its image. ``generator`` draws the noise, new at each step.
    """
    (annotated,) = batch.decoy_mask.flatten(1).any(1).nonzero(as_tuple=True)
    copies = batch.take(annotated)
    noise = torch.rand(
        copies.images.shape, generator=generator, dtype=batch.images.dtype,
        device=batch.images.device,
    )  # fmt: skip
    images = torch.where(copies.decoy_mask[:, None], noise, copies.images)
    index = torch.cat((torch.arange(len(batch), device=annotated.device), annotated))
    return replace(batch.take(index), images=torch.cat((batch.images, images)))


_ENTRIES = (
    Method(
        "erm", "ERM", "Cross-entropy on images with the decoy: the floor.",
        "Vapnik 1998, Statistical Learning Theory", "grey", "X",
    ),
    Method(
        "oracle", "Oracle", "Cross-entropy on the same images without the decoy: the ceiling.",
        "the usual upper bound, e.g. Ross et al. 2017", "black", "*", train_split="train_clean",
    ),
    Method(
        "xbl_d", "XBL-D", "Grad-CAM as share, weighted by distance: the paper's plain reading.",
        "Hagos et al. 2023, arXiv 2309.05548", "sky", "s",
        penalty=_xbl_d, needs=OBJECT, default_weight=100.0, trained_on="grad_cam",
    ),
    Method(
        "xbl_d_plus", "XBL-D+", "HiResCAM of a projection of all logits, weighted by D+, as mass.",
        "this compendium, after Hagos et al. 2023", "blue", "o",
        penalty=_xbl_d_plus, needs=BOTH, default_weight=5.0, trained_on="hires_cam",
    ),
    Method(
        "xbl_d_plus_first", "XBL-D+ (1st order)", "XBL-D+ without second derivatives.",
        "this compendium", "blue", (4, 1, 0),
        penalty=_xbl_d_plus_first, needs=BOTH, default_weight=5.0, trained_on="hires_cam",
    ),
    Method(
        "xbl_d_gated", "XBL-D (gated)", "XBL-D+ with distance counted inside the decoy only.",
        "Hagos et al. 2023, arXiv 2309.05548", "purple", "h",
        penalty=_xbl_d_gated, needs=BOTH, default_weight=100.0, trained_on="hires_cam",
    ),
    Method(
        "xbl_d_released", "XBL-D (released)", "The released arithmetic, which has no gradient.",
        "Hagos et al. 2023, released code", "purple", "P",
        penalty=_xbl_d_released, needs=BOTH, default_weight=0.1, ce_weight=2.7, fixed_weight=True,
        has_gradient=False,
    ),
    Method(
        "xbl_overlap", "XBL-overlap", "Control: XBL-D+ with the widened decoy in place of D+.",
        "this compendium, a control", "orange", "D",
        penalty=_xbl_overlap, needs=DECOY, default_weight=30.0, trained_on="hires_cam",
    ),
    Method(
        "activation", "Activation", "Control: activations weighted by D+, without explanation.",
        "this compendium, a control", "vermillion", "d",
        penalty=_activation, needs=BOTH, default_weight=0.1,
    ),
    Method(
        "shuffled_masks", "Shuffled masks", "Control: XBL-D+ with the annotation of another image.",
        "this compendium, a control", "orange", "p",
        penalty=_shuffled, needs=BOTH, default_weight=5.0, trained_on="hires_cam",
    ),
    Method(
        "centre_prior", "Mean map", "Control: XBL-D+ with the mean D+ for every image.",
        "this compendium, a control", "grey", "8",
        penalty=_centre_prior, needs=BOTH, default_weight=5.0, trained_on="hires_cam",
    ),
    Method(
        "uniform", "D = 1", "Control: XBL-D+ with the same penalty in every cell.",
        "this compendium, a control", "black", "H",
        penalty=_uniform, default_weight=5.0, trained_on="hires_cam",
    ),
    Method(
        "rrr", "RRR", "Squared input gradients on the decoy.",
        "Ross, Hughes and Doshi-Velez 2017", "green", "^",
        penalty=_rrr, needs=DECOY | {"input_gradient"}, default_weight=10.0,
        trained_on="input_gradient",
    ),
    Method(
        "rrr_g", "RRR-G", "Squared overlap of the Grad-CAM with the decoy.",
        "Schramowski et al. 2020", "vermillion", "v",
        penalty=_rrr_g, needs=DECOY, default_weight=1000.0, trained_on="grad_cam",
    ),
    Method(
        "rbr", "RBR", "RRR weighted by the influence of the image on the weights.",
        "Shao et al. 2021, in the form of Friedrich et al. 2023", "green", "d",
        penalty=_rbr, needs=DECOY | {"input_gradient"}, default_weight=0.1,
        trained_on="input_gradient",
    ),
    Method(
        "hint", "HINT", "Squared difference between the Grad-CAM and the object mask.",
        "Selvaraju et al. 2019, in the form of Friedrich et al. 2023", "purple", "<",
        penalty=_hint, needs=OBJECT, default_weight=10.0, trained_on="grad_cam",
    ),
    Method(
        "cdep", "CDEP", "Part of the logits due to the decoy, by contextual decomposition.",
        "Rieger et al. 2020", "orange", ">",
        penalty=_cdep, needs=DECOY, default_weight=10.0,
    ),
    Method(
        "ce_augment", "CE (augmented)", "Cross-entropy, also on copies with noise on the decoy.",
        "Teso and Kersting 2019", "sky", "8", augment=counterexamples, needs=DECOY,
    ),
    Method(
        "energy", "Energy", "Share of the HiResCAM that misses the object.",
        "Rao et al. 2023", "sky", "<",
        penalty=_energy, needs=OBJECT, default_weight=100.0, trained_on="hires_cam",
    ),
    Method(
        "l1", "L1", "Absolute difference between the HiResCAM and the object mask.",
        "Rao et al. 2023, after Gao et al. 2022", "vermillion", (5, 1, 0),
        penalty=_l1, needs=OBJECT, default_weight=10.0, trained_on="hires_cam",
    ),
    Method(
        "ppce", "PPCE", "Cross-entropy of the HiResCAM to 1 inside the object.",
        "Rao et al. 2023, after Shen et al. 2021", "black", (6, 1, 0),
        penalty=_ppce, needs=OBJECT, default_weight=0.1, trained_on="hires_cam",
    ),
)  # fmt: skip

METHODS: dict[str, Method] = {entry.name: entry for entry in _ENTRIES}


def get(name: str) -> Method:
    """Return the method with this name.

    >>> get("rrr").source
    'Ross, Hughes and Doshi-Velez 2017'
    """
    if name not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {name!r}")
    return METHODS[name]
