"""Differentiable class activation maps: one forward pass, tensors in, tensors out.

With ``create_graph=True`` a map stays in the graph and can be part of a training loss. The gradient
is taken through the head only, from the scores back to the features of the explained layer, and
never through the trunk below it.

Any module works. Its output is a tensor, an object or dict with ``logits``, or what ``output=``
selects from it; features are ``(N, K, h, w)``, or brought there by ``reshape=``, automatically for
``(N, h, w, K)`` (Swin) and for a class token followed by a grid of patches (ViT). If the head reads
only the class token, maps after the last attention layer are zero: explain the input of that block.
HiResCAM is zero where a layer is read only through a layer norm: explain that norm.
Maps of half-precision features are float32. Threads may explain one model at the same time, but not
while it is trained.
"""

from __future__ import annotations

import contextlib
import math
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

CamMethod = Literal["grad_cam", "hires_cam"]
ScoreKind = Literal["logit", "log_prob", "projection"]
Order = Literal[1, 2]
Head = Literal["softmax", "sigmoid"]
Target = Tensor | Sequence[int] | int
Reshape = Callable[[Tensor], Tensor]
Output = Callable[[Any], Tensor]


def class_scores(
    logits: Tensor, target: Target | None, *, kind: ScoreKind = "logit", head: Head | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:  # fmt: skip
    """Scalar score of each sample, the quantity whose gradient a CAM explains.

    ``logit``: ``z_t``. ``log_prob``: ``log softmax(z)_t``, which also contains evidence against
    the other classes. ``projection``: ``sum_c v_c (z_c - mean z)`` with random signs ``v`` for each
    sample, whose squared gradient covers, in expectation, the evidence for every class at the cost
    of one gradient (the estimator of Hutchinson 1990).

    With a sigmoid head, ``log_prob`` is ``log sigmoid(z_t)`` and ``projection`` does not subtract
    the mean. A single logit is ``z`` for class 1 and ``-z`` for class 0.

    Args:
        logits: ``(N, C)``, before the softmax or sigmoid; or single logits, ``(N,)`` or ``(N, 1)``.
        target: ``(N,)``, integer classes in ``[0, C)``, or one class for all samples; optional for
            ``projection``, which does not use it.
        kind: which score.
        head: what follows the logits: ``softmax`` (one class per image) or ``sigmoid`` (several
            labels per image); None: ``sigmoid`` for a single logit, else ``softmax``.
        generator: source of the random signs of ``projection``.

    Returns:
        ``(N,)``, at least float32, differentiable with respect to ``logits``.

    >>> class_scores(torch.tensor([[1.0, 3.0]]), torch.tensor([1]))
    tensor([3.])
    >>> class_scores(torch.tensor([2.0, 2.0]), torch.tensor([0, 1]))
    tensor([-2.,  2.])
    """
    if logits.ndim not in (1, 2) or not logits.is_floating_point():
        shape = tuple(logits.shape)
        raise ValueError(f"logits must be floating point (N, C), got {logits.dtype} {shape}")
    if kind not in ("logit", "log_prob", "projection"):
        raise ValueError(f"kind must be 'logit', 'log_prob' or 'projection', got {kind!r}")
    logits = _wide(logits if logits.ndim == 2 else logits[:, None])
    single = is_single(logits)
    head = head or ("sigmoid" if single else "softmax")
    if head not in ("softmax", "sigmoid") or (single and head == "softmax"):
        rule = "'sigmoid' for a single logit" if single else "'softmax' or 'sigmoid'"
        raise ValueError(f"head must be {rule}, got {head!r}")
    if kind != "projection" or target is not None:
        target = _checked_target(logits, target)
    if kind == "projection":
        if generator is None:
            raise ValueError(
                "generator must be a torch.Generator for kind='projection', got None; "
                "pass torch.Generator().manual_seed(seed)"
            )
        bits = torch.randint(0, 2, logits.shape, generator=generator, device=generator.device)
        signs = bits.to(logits).mul_(2).sub_(1)
        return (signs * (logits if head == "sigmoid" else _centred(logits))).sum(1)
    assert isinstance(target, Tensor)
    index = target[:, None]
    chosen = (logits * (2 * index - 1) if single else logits.gather(1, index))[:, 0]
    if kind == "logit":
        return chosen
    if head == "sigmoid":
        return functional.logsigmoid(chosen)
    plain = logits.log_softmax(1).gather(1, index)[:, 0]
    # 1 - p cancels for p near 1; the sigmoid of the margin to the other classes does not.
    others = logits.scatter(1, index, -math.inf).logsumexp(1)
    return torch.where(plain > -1e-5, functional.logsigmoid(chosen - others), plain)


def _centred(logits: Tensor) -> Tensor:
    return logits - logits.mean(1, keepdim=True)


def _wide(values: Tensor) -> Tensor:
    """At least float32: half precision overflows in sums."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def is_single(logits: Tensor) -> bool:
    """Whether there is one logit per sample, ``(N,)`` or ``(N, 1)``, for two classes."""
    return logits.ndim == 1 or logits.shape[1] == 1


def predicted(logits: Tensor) -> Tensor:
    """Predicted classes ``(N,)`` of logits ``(N, C)``, or of single logits by their sign."""
    if is_single(logits):
        return (logits.flatten() > 0).long()
    return logits.argmax(1)


def _checked_target(logits: Tensor, target: Target | None) -> Tensor:
    if isinstance(target, int) and not isinstance(target, bool):
        target = torch.full(logits.shape[:1], target, device=logits.device)
    elif target is not None and not isinstance(target, Tensor):
        target = torch.as_tensor(target)
    if target is None or target.shape != logits.shape[:1]:
        shape = None if target is None else tuple(target.shape)
        raise ValueError(f"target must have shape ({len(logits)},) like the logits, got {shape}")
    if target.dtype == torch.bool or target.is_floating_point():
        raise ValueError(f"target must be integer classes, got {target.dtype}")
    if len(target):
        values, classes = target.tolist(), max(2, logits.shape[1])  # one transfer from a GPU
        if min(values) < 0 or max(values) >= classes:
            value = next(value for value in values if not 0 <= value < classes)
            raise ValueError(f"target must be in [0, {classes}), got {value}")
    return target.to(logits.device, torch.long)


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
    return _averaged(*with_gradient(features, scores, create_graph, order))


def _averaged(features: Tensor, gradient: Tensor) -> Tensor:
    weights = gradient.mean((2, 3), keepdim=True)  # (N, K, 1, 1)
    cam: Tensor = torch.linalg.vecdot(weights, features, dim=1)  # (N, h, w)
    return cam


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
    return _by_cell(*with_gradient(features, scores, create_graph, order))


def _by_cell(features: Tensor, gradient: Tensor) -> Tensor:
    cam: Tensor = torch.linalg.vecdot(gradient, features, dim=1)  # (N, h, w)
    return cam


CAM_METHODS = {"grad_cam": grad_cam, "hires_cam": hires_cam}
ARITHMETIC = {"grad_cam": _averaged, "hires_cam": _by_cell}
KERNELS = ("flash_sdp", "mem_efficient_sdp", "cudnn_sdp", "math_sdp")  # of attention
NORMS = ("LayerNorm", "LayerNorm2d", "RMSNorm")  # ends of the names of classes
ROUNDING = 3e-3  # of the sum of absolute values: bfloat16 reaches 1e-3, other maps exceed 5e-2


def with_gradient(
    features: Tensor, scores: Tensor, create_graph: bool, order: Order = 2,
    chosen: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return ``A`` and ``G`` for the arithmetic of a map, at least float32.

    With ``chosen``, one-hot ``(N, C)``, the scores are logits, one of which is explained.
    """
    if features.ndim != 4:
        raise ValueError(
            f"features must be (N, K, h, w), got shape {tuple(features.shape)}; "
            "choose a layer whose output is spatial, or pass reshape=, for example "
            "lambda tokens: tokens[:, 1:].transpose(1, 2).unflatten(2, (h, w))"
        )
    if order not in (1, 2):
        raise ValueError(f"order must be 1 or 2, got {order}")
    if chosen is None and scores.shape != features.shape[:1]:
        raise ValueError(f"scores must have shape ({len(features)},), got {tuple(scores.shape)}")
    if not scores.requires_grad or not features.requires_grad:
        raise ValueError(
            "scores must be differentiable with respect to features, got tensors without a graph; "
            "run the head with gradients enabled on features that require them"
        )
    try:
        # The graph is kept for further maps of the same forward pass and for the loss itself.
        (gradient,) = torch.autograd.grad(
            scores, features, torch.ones_like(scores) if chosen is None else chosen,
            create_graph=create_graph and order == 2, retain_graph=create_graph or chosen is None,
        )  # fmt: skip
    except RuntimeError as error:
        if type(error).__name__ == "CheckpointError":
            raise ValueError(
                "checkpoints must be recomputed as in the forward pass, got other tensors; choose "
                "a layer outside of checkpointed blocks, and for checkpointed attention pass "
                "order=1 or run the whole step within sdpa_kernel(SDPBackend.MATH)"
            ) from error
        if "appears to not have been used" not in str(error):
            raise
        raise ValueError(
            "scores must depend on features, got scores of another graph; explain a layer "
            "that the model's output passes through, and use use_reentrant=False for checkpoints"
        ) from error
    return _wide(features if create_graph else features.detach()), _wide(gradient)


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
    model: nn.Module, images: Tensor, target: Target | None = None, *, layer: str | nn.Module,
    method: CamMethod = "hires_cam", score: ScoreKind = "logit", create_graph: bool = False,
    head: Head | None = None, generator: torch.Generator | None = None,
    reshape: Reshape | None = None, output: Output | None = None,
) -> Tensor:  # fmt: skip
    """Attribution of the model's prediction over the cells of ``layer``.

    One forward pass; a second one only if an in-place operation follows the layer.

    Without ``create_graph`` the model is explained in eval mode and its modes are restored; with
    it, in the mode that it is in. For a training loss use :class:`xblcore.module.XBLDLoss`, whose
    score is the ``projection``.

    Args:
        model: maps images ``(N, C, H, W)`` to logits ``(N, classes)``, or single logits.
        images: ``(N, C, H, W)``.
        target: ``(N,)``, classes to explain, or one for all; None explains the predicted ones.
        layer: submodule or dotted name whose output is ``(N, K, h, w)``.
        method: ``grad_cam`` or ``hires_cam``.
        score: as in :func:`class_scores`.
        create_graph: keep the map differentiable with respect to the model's weights.
        head: as in :func:`class_scores`.
        generator: for ``score="projection"``.
        reshape: as in :func:`capture`.
        output: selects the logits from what the model returns.

    Returns:
        ``(N, h, w)``, non-negative (:func:`non_negative`), on the device of ``images``.

    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3))
    >>> explain(model, torch.rand(5, 1, 4, 4), layer="0").shape
    torch.Size([5, 2, 2])
    """
    maps, *_ = explained(
        model, images, target, layer=layer, methods=[method], score=score,
        create_graph=create_graph, head=head, generator=generator, reshape=reshape, output=output,
    )  # fmt: skip
    return maps[method]


def explained(
    model: nn.Module, images: Tensor, target: Target | None, *, layer: str | nn.Module,
    methods: Sequence[CamMethod], score: ScoreKind = "logit", create_graph: bool = False,
    head: Head | None = None, generator: torch.Generator | None = None,
    reshape: Reshape | None = None, output: Output | None = None,
) -> tuple[dict[CamMethod, Tensor], Tensor, Tensor]:  # fmt: skip
    """Return the maps of several methods, the logits and the explained classes.

    As :func:`explain`, with one forward pass and one gradient for all maps.
    """
    for method in methods:
        if method not in CAM_METHODS:
            raise ValueError(f"method must be one of {', '.join(CAM_METHODS)}, got {method!r}")
    if not isinstance(images, Tensor) or images.ndim != 4:
        shape = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(
            f"images must be a tensor (N, C, H, W), got {shape}; pass images[None] for one image"
        )

    def attempt(copy: bool | None) -> tuple[dict[CamMethod, Tensor], Tensor, Tensor]:
        graph = create_graph or bool(copy)
        with capture(
            model, layer, trunk_graph=graph, copy=copy, reshape=reshape, images=images
        ) as captured:
            logits = logits_of(unwrapped(model)(images), output)
            features = captured.output()
            classes = predicted(logits) if target is None else target
            chosen = None
            if score == "logit" and head is None and logits.ndim == 2 and not is_single(logits):
                # The score itself would cost two more operations, and two in the backward pass.
                classes = _checked_target(logits, classes)
                scores = logits
                chosen = torch.zeros_like(logits).scatter_(1, classes.unsqueeze(1), 1.0)
            else:
                scores = class_scores(logits, classes, kind=score, head=head, generator=generator)
            pair = with_gradient(features, scores, create_graph, chosen=chosen)
            maps: dict[CamMethod, Tensor] = {}
            for method in methods:
                signed = ARITHMETIC[method](*pair)
                captured.check_map(signed, pair if method == "hires_cam" else None, output)
                maps[method] = non_negative(signed, score)
            return maps, logits, torch.as_tensor(classes)

    if create_graph:
        return attempt(True)
    with evaluating(model):
        try:  # without a copy of the features and without their graph, which take time
            return attempt(None)
        except (RuntimeError, ValueError) as error:
            # An in-place operation follows the layer, or the model runs its trunk under no_grad.
            if not any(text in str(error) for text in ("in-place operation", "without a graph")):
                raise
        return attempt(True)


def logits_of(result: Any, output: Output | None = None) -> Tensor:
    """Logits from what a model returns: a tensor, or ``logits`` of an object or dict.

    ``output`` selects them otherwise.
    """
    found = output(result) if output else result
    if not isinstance(found, Tensor):
        found = found.get("logits") if isinstance(found, dict) else getattr(found, "logits", None)
    if not isinstance(found, Tensor):
        raise ValueError(
            f"model must return a tensor of logits, got {type(result).__name__}; pass "
            "output=lambda result: result[0], or whatever selects the logits"
        )
    return found


class capture:  # noqa: N801 - used like a function; a generator would be slower
    """Keep the output of ``layer`` during forward passes of this thread inside the ``with`` block.

    Compiled modules run eagerly inside the block, because compiled code ignores new hooks and has
    no second derivative; with ``trunk_graph`` and ``order=2``, attention behind the layer uses
    PyTorch's math kernel, because the fused ones have no second derivative either.

    Args:
        model: any module.
        layer: a submodule, or its dotted name as in ``model.named_modules()``.
        trunk_graph: False runs everything up to the layer without a graph and makes the features
            a leaf. That is cheaper and sufficient to explain a trained model.
        order: of the derivative of a loss of the map.
        copy: pass a copy of the features to the rest of the model, so that an in-place ReLU after
            the layer cannot overwrite them. False copies leaves only, None nothing; such a ReLU
            after features that were not copied is an error.
        reshape: brings the output of the layer to ``(N, K, h, w)`` by selecting and permuting its
            elements; None recognises ``(N, h, w, K)`` and class tokens.

        images: ``(N, C, H, W)``, the input of the model; None: its first input of this shape.

    Leaving the block removes the hooks and restores the gradient mode.

    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2, 3))
    >>> with capture(model, "0") as captured:
    ...     logits = model(torch.ones(1, 1, 3, 3))
    >>> captured.output().shape
    torch.Size([1, 2, 1, 1])
    """

    def __init__(
        self, model: nn.Module, layer: str | nn.Module, *, trunk_graph: bool = True,
        order: Order = 2, copy: bool | None = True, reshape: Reshape | None = None,
        images: Tensor | None = None,
    ) -> None:  # fmt: skip
        if torch.is_inference_mode_enabled():
            raise ValueError("gradients must be enabled, got inference_mode; use torch.no_grad()")
        if isinstance(model, nn.DataParallel) and len(model.device_ids) > 1:
            raise ValueError(
                f"model must run on one device, got DataParallel on {len(model.device_ids)}; use "
                "DistributedDataParallel, or pass model.module"
            )
        self.model = unwrapped(model)
        self.module = find_layer(self.model, layer)
        self.layer = layer if isinstance(layer, str) else type(layer).__name__
        self.trunk_graph, self.order, self.copy, self.reshape = trunk_graph, order, copy, reshape
        self.features: Tensor | None = None
        self._version = 0  # of the features when captured; an in-place operation raises it
        self.tokens: Tensor | None = None  # positions that were selected from tokens
        self.has_class_token = False
        self._given, self.images = images, torch.empty(0) if images is None else images

    def __enter__(self) -> Self:
        self._stance = _eager()
        self._thread = threading.get_ident()
        self._kernels = {name: bool(getattr(torch.backends.cuda, f"{name}_enabled")())
                         for name in KERNELS if self.trunk_graph and self.order == 2}  # fmt: skip
        self._handles = [self.module.register_forward_hook(self._keep)]
        if self._given is None:
            note = self.model.register_forward_pre_hook(self._note, with_kwargs=True)
            self._handles.append(note)
        self._grad_mode = torch.is_grad_enabled()
        torch.set_grad_enabled(self.trunk_graph)
        if self._stance is not None:
            self._stance.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if self._stance is not None:
            self._stance.__exit__(None, None, None)
        _enable(self._kernels)
        torch.set_grad_enabled(self._grad_mode)
        for handle in self._handles:
            handle.remove()
        if kind is None and self.features is not None and self.features._version != self._version:
            raise ValueError(
                "features must not be overwritten, got an in-place operation on the output of "
                f"{self.layer!r}; set inplace=False there, or capture with copy=True"
            )

    def _note(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if threading.get_ident() == self._thread:
            spatial = (
                v for v in (*args, *kwargs.values()) if isinstance(v, Tensor) and v.ndim == 4
            )
            self.images = next(spatial, torch.empty(0)).detach()

    def _keep(self, _module: nn.Module, inputs: tuple[Any, ...], output: object) -> Tensor | None:
        if threading.get_ident() != self._thread:
            return None
        if not isinstance(output, Tensor):
            raise ValueError(
                f"layer must return one tensor, got {type(output).__name__} from "
                f"{self.layer!r}; choose a layer inside or after it"
            )
        if not self.trunk_graph:
            torch.set_grad_enabled(True)
        # For the head only: the trunk needs no second derivative.
        _enable({name: name == "math_sdp" for name in self._kernels})
        if inputs and inputs[0] is output:  # a layer that does nothing, such as dropout
            output = inputs[0].view_as(inputs[0])
        # A frozen trunk has no graph either, but its head can still be trained through the CAM.
        with_graph = self.trunk_graph and output.requires_grad
        layout = self.reshape or _layout(self.model, self.module, output, self.images.shape[2:])
        kept = output if layout is None else layout(output)
        self.features = kept if with_graph else kept.detach().requires_grad_()
        self._version = self.features._version
        if layout is not None:
            index = _selected(output, kept, layout)
            self.tokens = index if output.ndim == 3 else None
            self.has_class_token = output.ndim == 3 and index.numel() < output[0].numel()
            flat = self.features.flatten(1)
            with torch.enable_grad():  # the model may run its trunk under no_grad
                return output.flatten(1).scatter(1, index.expand_as(flat), flat).view_as(output)
        if self.copy or (self.copy is False and not with_graph):
            with torch.enable_grad():
                return self.features.clone()
        return self.features

    def output(self) -> Tensor:
        """Return the last output of the layer, ``(N, K, h, w)``; an error if it did not run."""
        if self.features is None:
            raise ValueError(
                f"layer must take part in the forward pass, got {self.layer!r}, which did not run"
            )
        if self.images.ndim == 4 and self.images.shape[0] != self.features.shape[0]:
            raise ValueError(
                f"layer must have one output for each of {len(self.images)} images, got "
                f"{len(self.features)} from {self.layer!r}; choose another layer"
            )
        return self.features

    def check_map(
        self, cam: Tensor, pair: tuple[Tensor, Tensor] | None, output: Output | None = None
    ) -> None:
        """Raise if a map is zero everywhere because of where the layer is.

        That is: if the head reads only other tokens, or, for a HiResCAM of features and gradient
        (``pair``), reads the cells through a layer norm, whose output does not depend on their
        scale, so that ``sum_k G_k A_k`` is 0 up to rounding.
        """
        if not cam.numel():
            return
        if pair and any(type(one).__name__.endswith(NORMS) for one in _modules(self.model)):
            most = (pair[0].detach() * pair[1].detach()).abs().sum(1).max()
            if cam.detach().abs().max() < ROUNDING * most:
                raise ValueError(
                    f"layer must not be read only through a layer norm, got {self.layer!r}, whose "
                    "map is zero up to rounding; choose that norm, or an earlier layer"
                )
        if self.tokens is None or cam.any() or self.images.ndim != 4:
            return
        if not _reaches_output(self.model, self.module, self.tokens, self.images, output):
            raise ValueError(
                f"layer must influence the output through its cells, got {self.layer!r}, of which "
                "only the class token is used; choose an earlier layer, such as the first layer "
                "norm of the last block"
            )


def _enable(kernels: Mapping[str, bool]) -> None:
    """Allow or forbid PyTorch's kernels of attention, as ``sdpa_kernel`` does within a block."""
    for name, enabled in kernels.items():
        getattr(torch.backends.cuda, f"enable_{name}")(enabled)


def _eager() -> contextlib.AbstractContextManager[object] | None:
    """Make compiled modules run eagerly; None if there are none."""
    if "torch._dynamo" not in sys.modules:
        return None
    cause: RuntimeError | None = None
    if not torch.compiler.is_compiling():
        try:
            return torch.compiler.set_stance("force_eager")
        except RuntimeError as error:  # called by a compiled function
            cause = error
    raise ValueError(
        "capture must not be compiled, got a function or loss inside torch.compile; compile "
        "the model only, it then runs eagerly while it is explained"
    ) from cause


def _layout(
    model: nn.Module, module: nn.Module, output: Tensor, size: Sequence[int]
) -> Reshape | None:
    """Return what brings an output to ``(N, K, h, w)``; None if nothing is known or needed.

    ``size`` is ``(H, W)`` of the images, whose shape the grid has; empty if it is unknown.
    """
    if output.ndim == 3:
        owner = next((m for m in model.modules() if hasattr(m, "class_token")
                      or hasattr(m, "cls_token")), None)  # fmt: skip
        first = int(getattr(owner, "num_prefix_tokens", 1))
        count, (height, width) = output.shape[1] - first, size or (1, 1)
        h = math.isqrt(max(0, count) * height // width)
        if owner is None or not h or count % h or h * width != count // h * height:
            return None
        return lambda tokens: tokens[:, first:].transpose(1, 2).unflatten(2, (h, count // h))
    if output.ndim != 4:
        return None
    second, third, last = output.shape[1:]
    if third == last and abs(second - third) > 1 and (not size or size[0] == size[1]):
        return None  # the usual case, quickly
    first_fits, last_fits = _alike((third, last), size), _alike((second, third), size)
    if first_fits and not last_fits:
        return None
    # The last module up to here whose channel count fits one of both axes decides. If it fits both,
    # a linear or layer norm is skipped, as networks of both layouts have them; others have channels
    # first, and say nothing about the last axis.
    found: list[nn.Module] = []
    for candidate in model.modules():
        found.append(candidate)
        if candidate is module:
            found += [inner for inner in module.modules() if inner is not module]
            break
    axis = 0  # of the channels; 0: unknown
    for candidate in reversed(found):
        names = ("out_channels", "num_features", "num_channels", "out_features", "normalized_shape")
        channels = next((value for name in names if (value := getattr(candidate, name, None))), 0)
        channels = channels[-1] if isinstance(channels, tuple) else channels
        of_last = isinstance(candidate, (nn.Linear, nn.LayerNorm, nn.RMSNorm))
        if channels == last == second and of_last:
            break
        if channels == second and candidate is module and not of_last:
            return None  # the output of a convolution or batch norm
        if channels == second and isinstance(candidate, nn.Linear):
            continue  # says nothing about the second axis
        if channels == second or (channels == last and of_last):
            axis = 1 if channels == second else 3
            break
    only_last_fits = last_fits and not first_fits
    if axis == 3 or (only_last_fits and not axis):
        return lambda cells: cells.permute(0, 3, 1, 2)
    if only_last_fits or (not axis and second in (third, last)):
        raise ValueError(
            f"layer must have a known layout, got shape {tuple(output.shape)}; pass "
            "reshape=lambda cells: cells.permute(0, 3, 1, 2) if the channels are last, else "
            "reshape=lambda cells: cells"
        )
    return None


def _alike(grid: tuple[int, int], size: Sequence[int]) -> bool:
    """Whether a grid has the shape of the images, up to one cell."""
    return bool(size) and abs(grid[1] * size[0] - grid[0] * size[1]) <= max(size)


def _selected(output: Tensor, kept: Tensor, layout: Reshape) -> Tensor:
    """Positions in ``output`` of the elements that ``layout`` selects, ``(1, K * h * w)``."""
    shape = output.shape[1:]
    places = torch.arange(shape.numel(), dtype=torch.float64)  # on the CPU: mps has no float64
    index = layout(places.view(1, *shape)).flatten(1).long().clamp(0, shape.numel() - 1)
    index = index.to(output.device)
    same = kept.ndim == 4 and kept.flatten(1) == output.flatten(1)[:, index[0]]
    if kept.ndim != 4 or not (same | kept.flatten(1).isnan()).all():
        raise ValueError(
            "reshape must select and permute elements to (N, K, h, w), got "
            f"{tuple(kept.shape)} from {tuple(output.shape)}; compute nothing in it"
        )
    return index


def _reaches_output(
    model: nn.Module, module: nn.Module, index: Tensor, images: Tensor, output: Output | None
) -> bool:
    """Whether NaN at these positions of the layer changes the logits."""

    def poison(_module: nn.Module, _inputs: object, result: Tensor) -> Tensor:
        return result.flatten(1).index_fill(1, index[0], math.nan).view_as(result)

    hook = module.register_forward_hook(poison)
    try:
        with evaluating(model), torch.no_grad():
            return bool(logits_of(model(images), output).isnan().any())
    finally:
        hook.remove()


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the module inside of ``torch.compile``, DataParallel and its distributed form."""
    while True:
        if "_orig_mod" in model._modules:
            model = model.get_submodule("_orig_mod")
        elif isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        else:
            return model


def _modules(model: nn.Module) -> list[nn.Module]:
    """All modules, some of them twice if they are shared; faster than ``model.modules()``."""
    found = [model]
    for module in found:  # grows
        if module._modules:
            found += [child for child in module._modules.values() if child is not None]
    return found


def find_layer(model: nn.Module, layer: str | nn.Module) -> nn.Module:
    """Return a submodule of ``model``, by dotted name or checked to belong to it."""
    model = unwrapped(model)
    if isinstance(layer, nn.Module):
        layer = unwrapped(layer)
        if any(module is layer for module in model.modules()):
            return layer
    else:
        try:
            return model.get_submodule(layer)
        except AttributeError:  # no such name
            pass
    names = ", ".join(name for name, _ in model.named_modules() if name)
    shown = layer if isinstance(layer, str) else type(layer).__name__
    raise ValueError(f"layer must be a module of the model, got {shown!r}; there are: {names}")


_lock = threading.Lock()
_evaluated: dict[nn.Module, tuple[list[int], set[nn.Module]]] = {}  # blocks, modules to restore


class evaluating:  # noqa: N801 - used like a function; a generator would be slower
    """Put the model into eval mode inside the block; every module's mode is restored after it.

    With several blocks at once, as in threads, the last one to end restores the modes.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __enter__(self) -> None:
        with _lock:
            blocks, training = _evaluated.setdefault(self.model, ([0], set()))
            blocks[0] += 1
            before = len(training)
            training.update(module for module in _modules(self.model) if module.training)
            if len(training) > before:
                self.model.eval()

    def __exit__(self, *_error: object) -> None:
        with _lock:
            blocks, training = _evaluated[self.model]
            blocks[0] -= 1
            if not blocks[0]:
                del _evaluated[self.model]
                own = any(type(module).train is not nn.Module.train for module in training)
                changed = list(self.model.modules()) if own else []
                for module in changed:  # parents first; LoRA, for example, also merges weights
                    if type(module).train is not nn.Module.train:
                        module.train(module in training)
                for module in changed or training:
                    module.training = module in training


@dataclass(frozen=True)
class ReceptiveField:
    """Receptive field of the cells of a layer.

    Attributes:
        grid: ``(h, w)``, cells of the layer.
        extent: side in pixels of the region that a central cell sees.
        margin: pixels by which the region that a cell sees extends beyond the cell, on its widest
            side, over all cells. Masks of wrong regions are widened by this much.
    """

    grid: tuple[int, int]
    extent: int
    margin: int


def receptive_field(
    model: nn.Module, layer: str | nn.Module, size: tuple[int, int, int], *, share: float = 1.0,
    samples: int = 16, seed: int = 0, images: Tensor | None = None, reshape: Reshape | None = None,
) -> ReceptiveField:  # fmt: skip
    """Measure the receptive field of a layer by the gradient of its cells at the input.

    Several random images and random signs of the channels are used, so that no path through a ReLU
    or a max pooling is missed. Source of the idea: Luo et al. 2016, "Understanding the effective
    receptive field in deep convolutional neural networks".

    Args:
        model: any network.
        layer: submodule or dotted name whose output is ``(N, K, h, w)``.
        size: ``(C, H, W)`` of one image.
        share: of the squared gradient that the region must contain. 1 gives the full extent, over
            the cells of a diagonal: without padding, cells at the border see further to one side. A
            smaller share is that of a central cell, for deep networks that see the whole image.
        samples: number of random images.
        seed: of the images and signs.
        images: ``(N, C, H, W)``, further images, for networks that random images do not excite.
        reshape: as in :func:`capture`.

    >>> receptive_field(nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU()), "1", (1, 9, 9))
    ReceptiveField(grid=(9, 9), extent=3, margin=1)
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1], got {share}")
    energy = cell_energy(
        model, layer, size, samples=samples, seed=seed, images=images, reshape=reshape
    )
    return energy.field(share)


@dataclass(frozen=True, eq=False)
class CellEnergy:
    """Squared gradients of cells at the input.

    Attributes:
        grid: ``(h, w)``, cells of the layer.
        cells: ``(P, 2)``, row and column of cells on a diagonal, and last of a central cell.
        values: ``(P, H, W)``, the squared gradient of each.
    """

    grid: tuple[int, int]
    cells: Tensor
    values: Tensor

    def field(self, share: float) -> ReceptiveField:
        """Return the smallest field that contains this share of the squared gradient."""
        extent, margin = self._extent_and_margin(-1, share)
        if share == 1:
            margin = max(self._extent_and_margin(n, 1)[1] for n in range(len(self.cells)))
        return ReceptiveField(self.grid, extent, margin)

    def _extent_and_margin(self, n: int, share: float) -> tuple[int, int]:
        energy, cell = self.values[n], self.cells[n]
        size, grid = torch.tensor(energy.shape), torch.tensor(self.grid)
        first, end = cell * size // grid, -(-(cell + 1) * size // grid)  # of its own pixels
        places = energy.nonzero()
        if not len(places):
            return 0, 0
        beyond = torch.cat([first - places.amin(0), places.amax(0) + 1 - end])
        full = max(0, int(beyond.max()))
        for margin in range(full + 1) if share < 1 else (full,):
            top, left = (first - margin).clamp(min=0).tolist()
            bottom, right = (end + margin).tolist()
            window = energy[top:bottom, left:right]
            if window.sum() >= share * energy.sum():
                break
        inside = window.nonzero()
        return int((inside.amax(0) - inside.amin(0)).max()) + 1 if len(inside) else 0, margin


def cell_energy(
    model: nn.Module, layer: str | nn.Module, size: tuple[int, int, int], *, samples: int = 16,
    seed: int = 0, images: Tensor | None = None, reshape: Reshape | None = None,
) -> CellEnergy:  # fmt: skip
    """Measure the squared gradient of cells at the input; arguments as :func:`receptive_field`."""
    if samples < 1 or len(size) != 3 or min(size) < 1:
        raise ValueError(f"samples and size (C, H, W) must be at least 1, got {samples} and {size}")
    parameter = next(model.parameters(), torch.empty(0))
    generator = torch.Generator().manual_seed(seed)
    # Of mean 0, so that a channel whose weights have a negative sum responds to some of them.
    shown = torch.randn(samples, *size, generator=generator)
    if images is not None:
        shown = torch.cat([shown, images.detach().float().cpu()])
    grid, cells, values = (0, 0), torch.empty(0), torch.empty(0)
    for start in range(0, len(shown), 8):  # bounds the memory
        batch = shown[start : start + 8].to(parameter.device, parameter.dtype).requires_grad_()
        with (
            evaluating(model), capture(model, layer, reshape=reshape) as captured,
            torch.autocast(parameter.device.type, enabled=False),
        ):  # fmt: skip
            unwrapped(model)(batch)
            features = captured.output()
            if features.ndim != 4:
                shape = tuple(features.shape)
                raise ValueError(f"layer must have an output (N, K, h, w), got {shape}")
            if not start:
                grid = (features.shape[2], features.shape[3])
                steps = torch.arange(max(grid))[:, None]
                centre = torch.tensor([[grid[0] // 2, grid[1] // 2]])
                cells = torch.cat([steps * torch.tensor(grid) // max(grid), centre])
                values = torch.zeros(len(cells), *size[1:], dtype=torch.float64)
            count, last = torch.arange(len(batch)), len(cells) - 1
            # The centre, both ends, and one other cell for each image.
            for index in (count * 0 + last, count * 0, count * 0 + last - 1,
                          (start + count) * last // len(shown)):  # fmt: skip
                rows, columns = cells[index].T
                cell = features[count, :, rows, columns]  # (N, K)
                signs = torch.randint(0, 2, cell.shape, generator=generator).to(cell) * 2 - 1
                (gradient,) = torch.autograd.grad(
                    (cell * signs).sum(), batch, retain_graph=True, materialize_grads=True
                )
                values.index_add_(0, index, gradient.cpu().double().square().sum(1))
    if not values.any():
        raise ValueError(
            "layer must respond to random images, got no gradient at the input; measure a model "
            "that is untrained and does not use no_grad, or choose the margin yourself"
        )
    return CellEnergy(grid, cells, values)
