"""The explanation loss XBL-D+ as a module, from masks to penalty."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from xblcore import cam, losses
from xblcore.examples import Examples

SHARES = (1.0, 0.9, 0.5)  # of the squared gradient; the first whose margin is small enough is used
CLASS_TOKEN = (
    "the prediction is read from a class token, which can carry a shortcut that the map of the "
    "patches does not show; check it by swapping the wrong region"
)


class XBLDLoss(nn.Module):
    """Distance-aware explanation loss, XBL-D+, ready to be added to the classification loss.

    ``w sum_uv M+ max(D, c E)``: ``M+`` is the HiResCAM of a random projection of all logits, as
    mass and in float32; ``D`` the distance to the object in grid diagonals; ``E`` the cells that
    see the wrong region. The mean over the annotated images of the batch. Source: Hagos et al. 2023
    (arXiv 2309.05548), in the form of this compendium (``xbl_d_plus`` in :mod:`xblcore.methods`).

    **Masks** are bool, or floating point in [0, 1] and above 0.5 where marked, ``(N, H, W)`` like
    the images; None or all zero where nothing is annotated. Mark the object, the wrong region, or
    both. Wrong regions are widened by the receptive field, which is measured once for each size of
    the images: cells next to a wrong region still see it.

    **Training and evaluation.** If the model or this module is in eval mode, the penalty is
    computed in full (no ramp, no ``every``), and ``step`` stays; with this module in eval mode or
    under ``no_grad``, the signs are the same each time. ``step`` counts the calls in training mode,
    with gradient accumulation those for each part of a batch. ``state_dict`` holds it, the measured
    margins and the state of the random signs. The model is not a submodule: ``copy.deepcopy``
    copies both. A compiled model runs eagerly in the steps that compute the penalty.

    **Two classes.** Up to its sign, two logits have one projection, half their difference, and
    random signs for each logit would give zero half of the time. The penalty is its expected value.

    **Normalisation behind the layer.** In training mode, batch norm makes an image change the batch
    statistics and with them the scores of the other images, so that its map is approximate, and
    poor in small batches: freeze batch norm there. Before group norm, the loss did not remove the
    shortcut in a small test. Prefer a layer that is followed by little normalisation, and check by
    swapping the wrong region.

    **Class tokens.** A vision transformer can carry a shortcut in its class token, which the map of
    the patches does not show: the loss did not remove it in small tests, and such models cause a
    warning. Prefer networks that average their cells, and check by swapping the wrong region.

    **Choosing the weight.** :meth:`suggest_weight` gives the order of magnitude. Then train with
    0.1, 0.3, 1, 3 and 10 times this weight and keep the best on *validation* images on which the
    shortcut does not help, such as images without it or with it swapped; ordinary validation images
    reward the shortcut. If the loss becomes NaN or the accuracy collapses in the first steps,
    lengthen the ramp before lowering the weight.

    Args:
        model: the network; see :mod:`xblcore.cam` for what it may return.
        layer: submodule or dotted name, usually the last one with a spatial output.
        weight: of the penalty, relative to the classification loss.
        ramp_steps: training steps over which the weight rises linearly.
        every: steps between two evaluations of the penalty, which is scaled by this factor (lazy
            regularisation, Karras et al. 2020, StyleGAN2).
        wrong: ``c``, least penalty of cells that see a wrong region, in grid diagonals.
        margin: pixels by which wrong regions are widened; None: the receptive field's. If that
            exceeds a quarter of the image, as in deep networks, the margin of 90 % and then 50 % of
            the squared gradient, and at most a quarter.
        order: of the derivative: 2 is exact, 1 is cheaper (:func:`xblcore.cam.grad_cam`) and works
            with layers that have no second derivative, such as Hardsigmoid.
        head: ``softmax`` or ``sigmoid``; None: ``sigmoid`` for a single logit and for labels of the
            shape of the logits, else ``softmax``. Pass ``softmax`` for soft labels of classes that
            exclude each other, as with mixup.
        reshape: as in :func:`xblcore.cam.capture`.
        output: selects the logits from what the model returns.
        seed: of the random signs.

    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Flatten(), nn.Linear(64, 2))
    >>> xbl = XBLDLoss(model, layer="0", weight=3.0)
    >>> images, labels = torch.rand(3, 1, 4, 4), torch.tensor([0, 1, 1])
    >>> object_mask = torch.zeros(3, 4, 4)
    >>> object_mask[:, 1:3, 1:3] = 1
    >>> logits, penalty = xbl(images, labels, object_mask)
    >>> (functional.cross_entropy(logits, labels) + penalty).backward()

    With a forward pass of your own:

    >>> with xbl.capture():
    ...     logits = model(images)
    >>> penalty = xbl.penalty(logits, labels, object_mask)
    """

    def __init__(
        self, model: nn.Module, *, layer: str | nn.Module, weight: float, ramp_steps: int = 100,
        every: int = 1, wrong: float = losses.WRONG, margin: int | None = None,
        order: cam.Order = 2, head: cam.Head | None = None, reshape: cam.Reshape | None = None,
        output: cam.Output | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        limits = {"weight": 0, "ramp_steps": 0, "every": 1, "wrong": 0, "margin": 0}
        given = {"weight": weight, "ramp_steps": ramp_steps, "every": every, "wrong": wrong,
                 "margin": margin or 0}  # fmt: skip
        for name, least in limits.items():
            if not least <= given[name] < torch.inf:
                raise ValueError(f"{name} must be at least {least} and finite, got {given[name]}")
        for name in ("ramp_steps", "every", "margin"):
            if given[name] != int(given[name]):
                raise ValueError(f"{name} must be a whole number, got {given[name]}")
        if order not in (1, 2):
            raise ValueError(f"order must be 1 or 2, got {order}")
        if head not in (None, "softmax", "sigmoid"):
            raise ValueError(f"head must be 'softmax', 'sigmoid' or None, got {head!r}")
        cam.find_layer(model, layer)
        self._model = (model,)  # in a tuple: not a submodule, whose parameters would count twice
        self.layer, self.weight, self.ramp_steps, self.every = layer, weight, ramp_steps, every
        self.wrong, self.margin, self.order, self.head = wrong, margin, order, head
        self.reshape, self.output, self.seed, self.step = reshape, output, seed, 0
        self._generator = torch.Generator().manual_seed(seed)
        self._margins: dict[tuple[str, torch.Size], int] = {}
        self._captured: cam.capture | None = None
        self._warned = self._checked = False

    def extra_repr(self) -> str:
        """Options in ``print(loss)``."""
        return f"weight={self.weight}, ramp_steps={self.ramp_steps}, every={self.every}"

    def get_extra_state(self) -> dict[str, Any]:
        """Part of ``state_dict``: step, state of the signs, and measured margins."""
        state = {"step": self.step, "signs": self._generator.get_state()}
        return state | {"margins": dict(self._margins)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Part of ``load_state_dict``."""
        self.step = state["step"]
        self._generator.set_state(state["signs"].cpu())
        self._margins = dict(state["margins"])

    def forward(
        self, images: Tensor, labels: Tensor, object_mask: Tensor | None = None,
        wrong_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Return ``(logits, penalty)`` of a batch; the penalty is a weighted scalar."""
        with self.capture():
            logits = cam.logits_of(self._model[0](images), self.output)
        penalty = self.penalty(logits, labels, object_mask, wrong_mask)
        return (logits if torch.is_grad_enabled() else logits.detach()), penalty

    @contextlib.contextmanager
    def capture(self) -> Iterator[None]:
        """Record the model's forward pass inside the block for :meth:`penalty`.

        Gradients are enabled from the layer on, also under ``no_grad``.
        """
        self._captured = None
        if not self._is_due():
            yield
            return
        try:
            with cam.capture(
                self._model[0], self.layer, trunk_graph=torch.is_grad_enabled(), order=self.order,
                reshape=self.reshape,
            ) as self._captured:  # fmt: skip
                yield
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ValueError(
                "batch must have at least two images for batch norm in training mode, got one; "
                "pass drop_last=True to the DataLoader"
            ) from error

    def penalty(
        self, logits: Tensor, labels: Tensor, object_mask: Tensor | None = None,
        wrong_mask: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Weighted penalty of the forward pass in the last :meth:`capture`.

        A scalar, at least float32.
        """
        captured, self._captured = self._captured, None  # do not keep the graph
        logits = cam.logits_of(logits, self.output if not isinstance(logits, Tensor) else None)
        head = self._checked_head(logits, labels)
        images = torch.empty(0) if captured is None else captured.images
        if self._is_due() and captured is None:
            raise ValueError(
                "penalty must follow a forward pass in `with loss.capture():`, got none"
            )
        object_mask, wrong_mask = (
            _checked_mask(mask, name, logits, images)
            for mask, name in ((object_mask, "object_mask"), (wrong_mask, "wrong_mask"))
        )
        factor, generator = self.weight, torch.Generator().manual_seed(self.seed)
        if self._is_training():
            self.step += 1
            factor *= self.every * min(1.0, self.step / max(1, self.ramp_steps))
        if self.training and torch.is_grad_enabled():
            generator = self._generator  # also if the model is in eval mode to freeze batch norm
        masks = [mask for mask in (object_mask, wrong_mask) if mask is not None]
        if captured is None or not any(mask.any() for mask in masks):
            return logits.flatten()[:0].float().sum()  # 0, with a gradient
        features = captured.output()
        if features.ndim != 4 or features[0, 0].numel() < 2:
            raise ValueError(
                f"layer must have an output (N, K, h, w) with several cells, got "
                f"{tuple(features.shape)} from {captured.layer!r}; choose an earlier layer"
            )
        if captured.has_class_token and self.reshape is None and not self._warned:
            self._warned = True
            warnings.warn(CLASS_TOKEN, stacklevel=3)
        empty = torch.zeros_like(masks[0])
        marked = Examples(
            empty[:, None], torch.zeros(len(empty), dtype=torch.long),
            empty if object_mask is None else object_mask,
            empty if wrong_mask is None else wrong_mask,
        )  # fmt: skip
        margin = self._margin(images) if marked.decoy_mask.any() else 0
        cells = marked.on_grid((features.shape[2], features.shape[3]), margin=margin).cells
        assert cells is not None
        distance = losses.combined_distance(cells.distance, cells.decoy_mask, wrong=self.wrong)
        graph = torch.is_grad_enabled()
        with torch.enable_grad(), torch.autocast(logits.device.type, enabled=False):
            scores = _projection(logits, head, generator)
            pair = cam.with_gradient(features, scores, graph, self.order)
            signed = cam.ARITHMETIC["hires_cam"](*pair)
        if not self._checked:  # of the layer, so once is enough
            captured.check_map(signed, pair, self.output)
            self._checked = True
        return factor * losses.xbl_d(signed.abs(), distance.to(signed.device))

    def suggest_weight(
        self, images: Tensor, labels: Tensor, object_mask: Tensor | None = None,
        wrong_mask: Tensor | None = None,
    ) -> float:  # fmt: skip
        """Weight at which penalty and classification loss have gradients of the same norm.

        ``|d CE / d theta| / |d penalty / d theta|`` over all trained parameters, for a batch of
        annotated images, in eval mode; the model and this module do not change. It depends on how
        far the model is trained: use the one that you want to refine, or average over some batches.
        """
        model, weight = self._model[0], self.weight
        parameters = [weight for weight in model.parameters() if weight.requires_grad]
        if not parameters:
            raise ValueError("model must have a parameter with requires_grad, got none")
        training, self.weight = self.training, 1.0
        try:
            with cam.evaluating(model), torch.enable_grad():
                logits, penalty = self.eval()(images, labels, object_mask, wrong_mask)
        finally:
            self.weight = weight
            self.train(training)
        with torch.enable_grad():
            if self._checked_head(logits, labels) != "sigmoid":
                wanted = labels.float() if labels.ndim == 2 else labels.long()
                classification = functional.cross_entropy(logits.float(), wanted)
            elif logits.numel() == labels.numel():
                classification = functional.binary_cross_entropy_with_logits(
                    logits.float().flatten(), labels.float().flatten()
                )
            else:
                raise ValueError(
                    f"labels must have the shape of the logits {tuple(logits.shape)} with "
                    f"head='sigmoid', got {tuple(labels.shape)}"
                )
        norms = [
            torch.stack([gradient.float().norm() for gradient in torch.autograd.grad(
                loss, parameters, retain_graph=True, materialize_grads=True)]).norm().item()
            for loss in (classification, penalty)
        ]  # fmt: skip
        if not norms[1] > 0:
            raise ValueError(
                "penalty must have a gradient to compare, got none; pass annotated images whose "
                "attribution is not zero"
            )
        return norms[0] / norms[1]

    def _is_training(self) -> bool:
        return self.training and self._model[0].training

    def _is_due(self) -> bool:
        return not self._is_training() or self.step % self.every == 0

    def _margin(self, images: Tensor) -> int:
        if self.margin is not None:
            return self.margin
        if images.ndim != 4:
            raise ValueError(
                "margin must be given for a model without an input (N, C, H, W), got None"
            )
        size, name = images.shape[1:], str(self.layer)
        if (name, size) not in self._margins:
            try:
                field = narrowed_field(
                    self._model[0], self.layer, (size[0], size[1], size[2]), images=images[:8],
                    reshape=self.reshape,
                )  # fmt: skip
            except TypeError as error:  # a model that takes more than images
                raise ValueError(
                    f"margin must be given for this model, got None: {error}"
                ) from error
            self._margins[name, size] = min(field.margin, min(size[1:]) // 4)
        return self._margins[name, size]

    def _checked_head(self, logits: Tensor, labels: Tensor) -> cam.Head | None:
        if not isinstance(labels, Tensor):
            raise ValueError(f"labels must be a tensor, got {type(labels).__name__}")
        if not len(logits):
            return self.head
        single = cam.is_single(logits)
        if len(labels) != len(logits) or (labels.ndim > 1 and labels.shape != logits.shape):
            raise ValueError(
                f"labels must be (N,) or of the shape of the logits {tuple(logits.shape)}, got "
                f"{tuple(labels.shape)}"
            )
        return self.head or ("sigmoid" if single or labels.ndim == 2 else None)


def narrowed_field(
    model: nn.Module, layer: str | nn.Module, size: tuple[int, int, int], *,
    images: Tensor | None = None, reshape: cam.Reshape | None = None,
) -> cam.ReceptiveField:  # fmt: skip
    """Receptive field whose margin is at most a quarter of the image ``(C, H, W)``, if possible.

    In deep networks a cell sees most of the image. The field is that of the first of
    :data:`SHARES` whose margin is small enough, or of the last. Other arguments as in
    :func:`xblcore.cam.receptive_field`.
    """
    energy = cam.cell_energy(model, layer, size, images=images, reshape=reshape)
    fields = [energy.field(share) for share in SHARES]
    return next((f for f in fields if f.margin <= min(size[1:]) // 4), fields[-1])


def _projection(logits: Tensor, head: cam.Head | None, generator: torch.Generator) -> Tensor:
    """Scores ``(N,)`` of the ``projection``; of two classes, half their difference.

    Its sign is random for each image: with one sign for all, batch norm behind the layer, which
    subtracts the mean over the batch, would cancel what the images have in common.
    """
    if head != "sigmoid" and logits.ndim == 2 and logits.shape[1] == 2:
        half = (logits[:, 1] - logits[:, 0]).float() / 2
        bits = torch.randint(0, 2, half.shape, generator=generator)
        return half * bits.to(half).mul_(2).sub_(1)
    return cam.class_scores(logits, None, kind="projection", head=head, generator=generator)


def _checked_mask(mask: Tensor | None, name: str, logits: Tensor, images: Tensor) -> Tensor | None:
    """Bool mask on the CPU, where distance maps are computed."""
    if mask is None:
        return None
    size = tuple(images.shape[2:]) if images.ndim == 4 else tuple(mask.shape[1:])
    if not isinstance(mask, Tensor) or tuple(mask.shape) != (len(logits), *size) or len(size) != 2:
        shape = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        rule = f"a tensor ({len(logits)}, H, W) like the images"
        remedy = "" if isinstance(mask, Tensor) else f"; pass torch.as_tensor({name})"
        raise ValueError(f"{name} must be {rule}, got {shape}{remedy}")
    mask = mask.detach().cpu()
    if mask.dtype != torch.bool:
        if mask.numel() and not (mask.min() >= 0 and mask.max() <= 1):
            raise ValueError(
                f"{name} must be boolean or in [0, 1], got {mask.min().item():.4g} to "
                f"{mask.max().item():.4g}; pass {name} > 127 for masks in [0, 255]"
            )
        marked = mask > 0.5
        if mask.any() and not marked.any():
            raise ValueError(
                f"{name} must be above 0.5 where marked, got at most {mask.max().item():.4g}; pass "
                f"{name} > 0"
            )
        mask = marked
    return mask
