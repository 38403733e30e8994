"""The registry of methods: name, source, required annotations, plot style and explanation loss.

A method is one entry of :data:`METHODS`. Its ``penalty`` receives a :class:`Step`, everything known
about a training batch after its forward pass, and returns a scalar. A method that changes
the data instead has an ``augment``, which receives the batch before that pass. One that changes the
trained network has a ``refit``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from xblcore import contextual, losses
from xblcore.cam import CAM_METHODS, CamMethod, Order, ScoreKind, class_scores, non_negative
from xblcore.examples import Cells, Examples

Need = Literal["object_mask", "decoy_mask", "input_gradient", "activations"]
Explainer = Literal["grad_cam", "hires_cam", "input_gradient"]
Weighting = Literal["distance", "overlap"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Changes to the loss of a method in an experiment; None keeps the setting of the method.

    Attributes:
        cam_method: the CAM in training.
        score: the score that it explains.
        form: of XBL-D+, ``mass`` or ``share``.
        weighting: of XBL-D+. ``distance``: ``D+``, scaled to mean 1 over the penalised cells of
            each image; ``overlap``: ``1[D+ > 0]``, which has the same mean. None: ``D+`` as it is.
        wrong: ``c`` in ``D+ = max(D, c E)``.
    """

    cam_method: CamMethod | None = None
    score: ScoreKind | None = None
    form: losses.Form | None = None
    weighting: Weighting | None = None
    wrong: float = losses.WRONG


class ReluInputs(TorchFunctionMode):
    """Keep the input of every ReLU, layer or function, inside the ``with`` block."""

    RELUS = (functional.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Tensor] = []

    def __torch_function__(
        self, function: Callable[..., Any], types: Iterable[type], args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # fmt: skip
        """Called by PyTorch for each function of tensors."""
        if function in self.RELUS:
            self.kept.append(args[0].clone())  # a ReLU may work in place
        return function(*args, **(kwargs or {}))


@dataclass(frozen=True, eq=False)
class Step:
    """One training batch after its forward pass, with everything still in the graph.

    Attributes:
        batch: images in [0, 1] (with a gradient if the method needs ``input_gradient``), labels
            and annotations, ``batch.cells`` included.
        features: ``(N, K, h, w)``.
        logits: ``(N, classes)``.
        generator: for random signs, noise and decoys.
        model: for losses that need its weights or layers.
        mean_penalty: ``(h, w)``, ``D+`` averaged over the annotated training images.
        options: changes to the loss.
        activations: inputs of all ReLUs, if the method needs ``activations``.
    """

    batch: Examples
    features: Tensor
    logits: Tensor
    generator: torch.Generator
    model: nn.Module
    mean_penalty: Tensor | None = None
    options: Options = Options()
    activations: Sequence[Tensor] = ()

    @property
    def cells(self) -> Cells:
        """The annotations on the CAM grid."""
        if self.batch.cells is None:
            raise ValueError("batch must have its annotations on the CAM grid; use on_grid")
        return self.batch.cells

    def cam(self, method: CamMethod, score: ScoreKind, *, order: Order = 2) -> Tensor:
        """Non-negative CAM ``(N, h, w)`` of the labels' score, differentiable."""
        method, score = self.options.cam_method or method, self.options.score or score
        scores = class_scores(self.logits, self.batch.labels, kind=score, generator=self.generator)
        signed = CAM_METHODS[method](self.features, scores, create_graph=True, order=order)
        return non_negative(signed, score)

    def distance_plus(self) -> Tensor:
        """``D+ = max(D, c E)``, ``(N, h, w)``, rescaled as ``options.weighting`` says.

        NaN for images without annotation.
        """
        cells, wrong = self.cells, self.options.wrong
        found = losses.combined_distance(cells.distance, cells.decoy_mask, wrong=wrong)
        return rescaled(found, self.options.weighting) if self.options.weighting else found

    def input_gradient(self) -> Tensor:
        """``d/dx sum_k log p_k``, ``(N, C, H, W)``, differentiable."""
        if not self.batch.images.requires_grad:
            raise ValueError(
                "images must require a gradient; add 'input_gradient' to the method's needs"
            )
        total = self.logits.log_softmax(1).sum()
        (gradient,) = torch.autograd.grad(total, self.batch.images, create_graph=True)
        return gradient

    def side_pass(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits and ReLU inputs of changed copies of the whole batch, in the model's mode.

        Batch norm uses the statistics of these images, but keeps its running averages, so that
        they are those of the training images in every method.
        """
        buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        with ReluInputs() as relus:
            logits = functional_call(self.model, buffers, (images,))
        return logits, relus.kept


def rescaled(distance: Tensor, weighting: Weighting) -> Tensor:
    """Scale the penalty of each image to mean 1 over its penalised cells, where it is above 0.

    From and to ``(N, h, w)``; ``overlap`` penalises all these cells alike.

    >>> penalty = torch.tensor([[[0.0, 0.2, 0.6]]])
    >>> rescaled(penalty, "distance"), rescaled(penalty, "overlap")
    (tensor([[[0.0000, 0.5000, 1.5000]]]), tensor([[[0., 1., 1.]]]))
    """
    penalised = (distance > 0).to(distance.dtype)
    if weighting == "overlap":
        return torch.where(distance.isnan(), distance, penalised)
    mean = distance.sum((1, 2), keepdim=True) / penalised.sum((1, 2), keepdim=True).clamp(min=1)
    return torch.where(mean > 0, distance / mean, distance)


Penalty = Callable[[Step], Tensor]
Augment = Callable[[Examples, torch.Generator], Examples]
Refit = Callable[[nn.Module, Examples, float], None]


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
        refit: changes the trained network, given validation images with the decoy of their own and
            of another class, and the weight.
        needs: annotations, ``input_gradient`` if the penalty differentiates the input, and
            ``activations`` if it uses those of all layers.
        default_weight: of the penalty, relative to the cross-entropy; or of ``refit``.
        trained_on: the explanation from which the penalty is computed, if any.
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
    refit: Refit | None = None
    needs: frozenset[Need] = frozenset()
    default_weight: float = 0.0
    trained_on: Explainer | None = None
    ce_weight: float = 1.0
    fixed_weight: bool = False
    has_gradient: bool = True
    train_split: Literal["train", "train_clean"] = "train"

    @property
    def is_tuned(self) -> bool:
        """Whether the study chooses the weight; that of ``refit`` would need images of its own."""
        return self.penalty is not None and not self.fixed_weight


OBJECT: frozenset[Need] = frozenset({"object_mask"})
DECOY: frozenset[Need] = frozenset({"decoy_mask"})
BOTH = OBJECT | DECOY


def _xbl_d(step: Step) -> Tensor:
    return losses.xbl_d(step.cam("grad_cam", "logit"), step.cells.distance, form="share")


def _xbl_d_object(step: Step) -> Tensor:
    return losses.xbl_d(step.cam("hires_cam", "projection"), step.cells.distance)


def _xbl_d_plus(step: Step, *, order: Order = 2) -> Tensor:
    cam = step.cam("hires_cam", "projection", order=order)
    return losses.xbl_d(cam, step.distance_plus(), form=step.options.form or "mass")


def _xbl_d_plus_first(step: Step) -> Tensor:
    return _xbl_d_plus(step, order=1)


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


def _res_g(step: Step) -> Tensor:
    cells = step.cells
    return losses.res_g(step.cam("grad_cam", "logit"), cells.object_mask, cells.decoy_mask)


def _pgd_ex(step: Step) -> Tensor:
    logits, _ = step.side_pass(perturbed(step))
    return losses.pgd_ex(logits, step.batch.labels, step.batch.decoy_mask)


def perturbed(step: Step, *, steps: int = 3) -> Tensor:
    """Images after ``steps`` sign-gradient steps in the wrong region that raise the cross-entropy.

    Each is by ``1 / steps``, so that any pixel can reach 0 and 1: ``eps = 1`` of Heo et al. 2023.
    Their code (github.com/vihari/robust_mlx) neither clamps to [0, 1] nor keeps perturbed images
    out of the running averages of batch norm.
    """
    images, wrong = step.batch.images.detach(), step.batch.decoy_mask[:, None]
    found = images
    for _ in range(steps):
        found = found.detach().requires_grad_()
        logits, _ = step.side_pass(found)
        loss = functional.cross_entropy(logits, step.batch.labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, found)
        found = torch.where(wrong, (found + gradient.sign() / steps).clamp(0, 1), images).detach()
    return found


def _tap(step: Step) -> Tensor:
    # After each ReLU; the released code takes the output of each stage of the network.
    spatial = [one.relu() for one in step.activations if one.ndim == 4]
    return losses.tap(spatial, step.batch.decoy_mask)


def _actdiff(step: Step) -> Tensor:
    # The released code shuffles the pixels, which would not change a decoy of one colour.
    batch = step.batch
    _, masked = step.side_pass(noisy(batch.images.detach(), batch.decoy_mask, step.generator))
    return losses.actdiff(step.activations, masked, batch.decoy_mask)


def noisy(images: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    """Images ``(N, C, H, W)`` with uniform noise in [0, 1) where ``mask`` ``(N, H, W)`` is True."""
    noise = torch.empty_like(images).uniform_(generator=generator)
    return torch.where(mask[:, None], noise, images)


def counterexamples(batch: Examples, generator: torch.Generator) -> Examples:
    """Add a copy of each annotated image with uniform noise in place of the decoy.

    From ``N`` to between ``N`` and ``2 N`` images as float32, the originals first. A copy keeps the
    annotations of its image. ``generator`` draws the noise, new at each step.
    """
    (annotated,) = batch.decoy_mask.flatten(1).any(1).nonzero(as_tuple=True)
    copies = batch.take(annotated)
    images = noisy(copies.images, copies.decoy_mask, generator)
    index = torch.cat((torch.arange(len(batch), device=annotated.device), annotated))
    return replace(batch.take(index), images=torch.cat((batch.images, images)))


def decoy_swap(batch: Examples, generator: torch.Generator) -> Examples:
    """Put the decoy of a random image of the batch on each annotated image.

    The decoy then says nothing about the label. It is one of the images whose marked region has as
    many pixels, possibly the same one. From and to ``N`` images as float32.
    """
    count = batch.decoy_mask.sum((1, 2))
    (index,) = count.nonzero(as_tuple=True)
    images = batch.images.permute(0, 2, 3, 1).clone()  # (N, H, W, C)
    if len(index):
        alike = (count[index, None] == count).float()  # (n, N)
        other = torch.multinomial(alike, 1, generator=generator)[:, 0]
        decoys = batch.images[other].permute(0, 2, 3, 1)[batch.decoy_mask[other]]
        images[batch.decoy_mask] = decoys  # both in the order of images, rows and columns
    return replace(batch, images=images.permute(0, 3, 1, 2))


def dfr(model: nn.Module, examples: Examples, weight: float) -> None:
    """Refit the last linear layer on examples without the shortcut (deep feature reweighting).

    ``min mean CE(W x + b) + weight * sum |W|`` with the standardised inputs ``x`` of the layer. The
    problem is convex and is solved by L-BFGS-B for ``W = U - V`` with ``U, V >= 0``. The model is
    left in eval mode. Source: Kirichenko, Izmailov and Wilson 2023, "Last Layer Re-Training is
    Sufficient for Robustness to Spurious Correlations". They average the solutions for subsets that
    are balanced over labels and shortcuts, and choose ``weight``, ``1 / (C N)`` in their code, on
    held-out images; here all ``examples`` are used once.
    """
    last = next((layer for layer in [*model.modules()][::-1] if isinstance(layer, nn.Linear)), None)
    if last is None or last.bias is None:
        raise ValueError(f"model must end in a linear layer with a bias, got {last}")
    seen: list[Tensor] = []
    model.eval()
    with torch.no_grad(), last.register_forward_pre_hook(lambda _, args: seen.append(args[0])):
        for images in examples.inputs().split(500):
            model(images)
    inputs, labels = torch.cat(seen).double().cpu(), examples.labels.cpu()
    deviation, mean = torch.std_mean(inputs, 0, correction=0)
    deviation[deviation < 1e-9] = 1  # constant inputs
    inputs = (inputs - mean) / deviation  # (N, K)
    size, classes = last.weight.numel(), len(last.bias)

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        values = torch.from_numpy(flat).requires_grad_()
        up, down, bias = values.split([size, size, classes])
        logits = torch.addmm(bias, inputs, (up - down).view(classes, -1).T)
        total = functional.cross_entropy(logits, labels) + weight * (up + down).sum()
        (gradient,) = torch.autograd.grad(total, values)
        return total.item(), gradient.numpy()

    bounds = [(0, None)] * (2 * size) + [(None, None)] * classes
    found = minimize(loss, np.zeros(len(bounds)), jac=True, method="L-BFGS-B", bounds=bounds)
    up, down, bias = torch.from_numpy(found.x).split([size, size, classes])
    coefficients = (up - down).view(classes, -1) / deviation
    with torch.no_grad():
        last.weight.copy_(coefficients)
        last.bias.copy_(bias - coefficients @ mean)


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
        "xbl_d", "XBL-D", "Grad-CAM as share, weighted by distance, as in the paper.",
        "Hagos et al. 2023, arXiv 2309.05548", "sky", "s",
        penalty=_xbl_d, needs=OBJECT, default_weight=100.0, trained_on="grad_cam",
    ),
    Method(
        "xbl_d_object", "XBL-D (mass)", "XBL-D+ with the distance to the object only.",
        "this compendium, after Hagos et al. 2023", "sky", "P",
        penalty=_xbl_d_object, needs=OBJECT, default_weight=5.0, trained_on="hires_cam",
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
        "xbl_d_gated", "XBL-D (gated)", "XBL-D (mass) with distance counted inside the decoy only.",
        "Hagos et al. 2023, arXiv 2309.05548", "purple", "h",
        penalty=_xbl_d_gated, needs=BOTH, default_weight=100.0, trained_on="hires_cam",
    ),
    Method(
        "xbl_d_released", "XBL-D (released)", "The loss of the released code; it has no gradient.",
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
    Method(
        "pgd_ex", "PGD-Ex", "Cross-entropy of images perturbed on the decoy to raise it.",
        "Heo et al. 2023", "green", "s",
        penalty=_pgd_ex, needs=DECOY, default_weight=1.0,
    ),
    Method(
        "tap", "TAP", "Squared activations on the decoy, at all layers.",
        "Zhang, Williams and Toni 2024", "vermillion", "^",
        penalty=_tap, needs=DECOY | {"activations"}, default_weight=0.01,
    ),
    Method(
        "actdiff", "ActDiff", "Distance of activations to those with noise on the decoy.",
        "Viviano et al. 2021", "purple", ">",
        penalty=_actdiff, needs=DECOY | {"activations"}, default_weight=0.3,
    ),
    Method(
        "res_g", "RES-G", "Robust difference between the Grad-CAM and both softened marks.",
        "Gao et al. 2022", "green", "v",
        penalty=_res_g, needs=BOTH, default_weight=10.0, trained_on="grad_cam",
    ),
    Method(
        "dfr", "DFR", "ERM, then the last layer refitted on data without the shortcut.",
        "Kirichenko, Izmailov and Wilson 2023", "black", "D",
        refit=dfr, default_weight=0.003,
    ),
    Method(
        "decoy_swap", "Decoy swap", "Control: each image shows the decoy of a random one.",
        "this compendium, a control", "grey", "P", augment=decoy_swap, needs=DECOY,
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
