"""The loss in many set-ups, against sums over cells of gradients that are taken one by one.

The reference runs image by image, without hooks: it calls the parts of the network below and above
the explained layer, and takes one gradient for each logit. Finite differences check the gradient.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from tests.core import toys
from xblcore import XBLDLoss, cam


class Head(nn.Module):
    """Two linear layers on all cells."""

    def __init__(self, cells: int, classes: int = 3) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(cells, 6), nn.Linear(6, classes)

    def forward(self, features: Tensor) -> Tensor:
        return self.second(self.first(features.flatten(1)).tanh())


class Net(nn.Module):
    """``wrap(head(trunk(x)))``: ``trunk`` is explained, ``wrap`` changes what is returned."""

    def __init__(
        self, trunk: nn.Module, head: nn.Module, wrap: Callable[[Tensor], Any] | None = None
    ):
        super().__init__()
        self.trunk, self.head, self.wrap = trunk, head, wrap or (lambda logits: logits)

    def forward(self, images: Tensor) -> Any:
        return self.wrap(self.head(self.trunk(images)))


class Lambda(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor], *inner: nn.Module) -> None:
        super().__init__()
        self.function, self.inner = function, nn.ModuleList(inner)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(inputs)


class Tokens(nn.Module):
    """Patches as tokens behind a class token, ``(N, 17, 6)``."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.class_token = nn.Conv2d(3, 6, 2, 2), nn.Parameter(torch.ones(1, 1, 6))

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        return torch.cat([self.class_token.expand(len(images), 1, 6), tokens], 1)


class Attention(nn.Module):
    """One head of fused attention and the class token's logits."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(6, 18), nn.Linear(6, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = self.qkv(tokens)[:, None].chunk(3, -1)
        return self.out(functional.scaled_dot_product_attention(q, k, v)[:, 0, 0])


class SelfAttention(nn.Module):
    """Every token attends to all, with a skip connection."""

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + functional.scaled_dot_product_attention(tokens, tokens, tokens)


def attended() -> nn.Sequential:
    return nn.Sequential(Tokens(), SelfAttention())


def conv() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 5, 2, 2), nn.Tanh())


def channels_last() -> nn.Sequential:
    """``(N, 4, 4, 6)``, as in Swin."""
    return nn.Sequential(nn.Conv2d(3, 6, 2, 2), Lambda(lambda x: x.permute(0, 2, 3, 1)),
                         nn.LayerNorm(6), nn.Tanh())  # fmt: skip


def tokens_to_cells(tokens: Tensor) -> Tensor:
    return tokens[:, 1:].transpose(1, 2).unflatten(2, (4, 4))


def channels_first(cells: Tensor) -> Tensor:
    return cells.permute(0, 3, 1, 2)


@dataclass
class Case:
    """A set-up: network, how features become ``(N, K, h, w)``, options and context."""

    trunk: Callable[[], nn.Module] = conv
    head: Callable[[], nn.Module] = lambda: Head(80)
    wrap: Callable[[Tensor], Any] | None = None
    spatial: Callable[[Tensor], Tensor] = lambda features: features
    options: dict[str, Any] = field(default_factory=dict)
    change: Callable[[nn.Module], nn.Module] = lambda model: model
    context: Callable[[], Any] = contextlib.nullcontext
    labels: str = "classes"
    dtype: torch.dtype = torch.float64
    tolerance: float = 1e-7
    count: int = 4


def frozen(part: str) -> Callable[[nn.Module], nn.Module]:
    def change(model: nn.Module) -> nn.Module:
        model.get_submodule(part).requires_grad_(False)
        return model

    return change


def checkpointed(part: str) -> Callable[[nn.Module], nn.Module]:
    def change(model: nn.Module) -> nn.Module:
        inner = model.get_submodule(part)
        whole = Lambda(lambda x: checkpoint(inner, x, use_reentrant=False), inner)
        setattr(model, part, whole)
        return model

    return change


def without_graph(model: nn.Module) -> nn.Module:
    inner = model.trunk.requires_grad_(False)
    model.trunk = Lambda(torch.no_grad()(inner), inner)
    return model


def autocast(dtype: torch.dtype) -> Callable[[], Any]:
    return lambda: torch.autocast("cpu", dtype)


def compiled(model: nn.Module) -> nn.Module:
    return torch.compile(model, backend="aot_eager")


def partly_compiled(model: nn.Module) -> nn.Module:
    model.head.compile(backend="aot_eager")
    return model


def drop_in(model: nn.Module) -> nn.Module:
    model.head.second.register_forward_hook(lambda _m, _i, output: output)
    return model


NHWC = {"trunk": channels_last, "spatial": channels_first, "head": lambda: Head(96)}
CLASS = {"head": Attention, "spatial": tokens_to_cells}
VIT = {"trunk": Tokens, **CLASS}
HALF = {"dtype": torch.float32, "tolerance": 0.05}
CASES = {
    "cnn": Case(),
    "first order": Case(options={"order": 1}),
    "float32": Case(dtype=torch.float32, tolerance=1e-4),
    "bfloat16 model": Case(dtype=torch.bfloat16, tolerance=0.1),
    "float16 model": Case(dtype=torch.float16, tolerance=0.05),
    "autocast bfloat16": Case(context=autocast(torch.bfloat16), **HALF),
    "autocast float16": Case(context=autocast(torch.float16), **HALF),
    "global average pooling": Case(
        head=lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3))
    ),
    "in-place ReLU behind": Case(head=lambda: nn.Sequential(nn.ReLU(inplace=True), Head(80))),
    "batch norm in the trunk": Case(
        trunk=lambda: nn.Sequential(nn.Conv2d(3, 5, 2, 2), nn.BatchNorm2d(5))
    ),
    "one image": Case(count=1),
    "one logit": Case(head=lambda: Head(80, 1), labels="binary"),
    "one logit without an axis": Case(
        head=lambda: Head(80, 1), wrap=lambda logits: logits[:, 0], labels="binary"
    ),
    "several labels": Case(labels="several"),
    "sigmoid head": Case(options={"head": "sigmoid"}),
    "dict": Case(wrap=lambda logits: {"logits": logits, "extra": None}),
    "object": Case(wrap=lambda logits: SimpleNamespace(logits=logits)),
    "tuple": Case(wrap=lambda logits: (None, logits), options={"output": lambda pair: pair[1]}),
    "channels last": Case(**NHWC),
    "channels last, given": Case(**NHWC, options={"reshape": channels_first}),
    "class token": Case(**VIT),
    "class token, given": Case(**VIT, options={"reshape": tokens_to_cells}),
    "compiled": Case(change=compiled),
    "compiled head": Case(change=partly_compiled),
    "compiled attention": Case(**VIT, change=compiled),
    "DataParallel": Case(change=nn.DataParallel),
    "checkpointed trunk": Case(change=checkpointed("trunk")),
    "checkpointed head": Case(change=checkpointed("head")),
    "frozen trunk": Case(change=frozen("trunk")),
    "frozen trunk, run under no_grad": Case(change=without_graph, options={"margin": 0}),
    "attention in a checkpointed trunk": Case(
        trunk=attended, change=checkpointed("trunk"), options={"margin": 0}, **CLASS
    ),
    "frozen head": Case(change=frozen("head")),
    "eval mode": Case(change=lambda model: model.eval()),
    "deterministic hooks": Case(change=drop_in),
}


def annotations(count: int) -> tuple[Tensor, Tensor]:
    """Object and wrong region, both, one of them, or none."""
    object_mask, wrong_mask = torch.zeros(2, count, 8, 8, dtype=torch.bool)
    object_mask[:, 2:5, 3:6] = True
    wrong_mask[:, :1, :2] = True
    object_mask[1:2], wrong_mask[2:3] = False, False
    object_mask[3:4] = wrong_mask[3:4] = False
    return object_mask, wrong_mask


def penalised(object_mask: Tensor, wrong_mask: Tensor) -> Tensor:
    """``max(D, c E)`` on the 4x4 grid of patches of 2x2 pixels, whose cells see nothing else."""
    marked, wrong = (functional.max_pool2d(mask[:, None].double(), 2)[:, 0] > 0
                     for mask in (object_mask, wrong_mask))  # fmt: skip
    rows = []
    for inside, outside in zip(marked, wrong, strict=True):
        inside = inside if inside.any() or not outside.any() else ~outside
        cells, found = inside.nonzero().double(), torch.zeros(4, 4, dtype=torch.float64)
        for i in range(4 if len(cells) else 0):
            for j in range(4):
                far = (cells - torch.tensor([i, j])).square().sum(1).min().sqrt() / 32**0.5
                found[i, j] = max(far, 0.3 * outside[i, j])
        rows.append(found)
    return torch.stack(rows)


def reference(case: Case, model: nn.Module, images: Tensor, weights: Tensor) -> Tensor:
    """Mean over the annotated images of ``sum |sum_k A_k sum_c v_c dz_c/dA_k| D+``."""
    below, above = model.trunk, model.head
    features = below(images)
    with sdpa_kernel(SDPBackend.MATH):
        logits = above(features.clone())
    bits = torch.randint(0, 2, logits.shape, generator=toys.seeded(0))
    signs = (2 * bits - 1).to(logits)
    if case.labels != "several" and "head" not in case.options and logits.shape[1] > 1:
        signs = signs - signs.mean(1, keepdim=True)
    total = torch.zeros((), dtype=torch.float64)
    for n in range(len(images)):
        signed = 0
        for c in range(logits.shape[1]):
            (gradient,) = torch.autograd.grad(logits[n, c], features, create_graph=True)
            gradient = case.spatial(gradient)[n]
            if case.options.get("order") == 1:
                gradient = gradient.detach()
            signed = signed + signs[n, c] * (gradient * case.spatial(features)[n]).sum(0)
        total = total + (signed.abs().double() * weights[n]).sum()
    return total / max(1, int((weights.flatten(1) > 0).any(1).sum()))


@pytest.mark.parametrize("name", CASES)
def test_penalty_and_gradient(name: str) -> None:
    """The same as the reference, and the gradient reaches every trained weight."""
    case = CASES[name]
    own = toys.randomised(Net(case.trunk(), case.head())).double()
    images = torch.rand(case.count, 3, 8, 8, generator=toys.seeded()).double()
    masks = annotations(case.count)
    if name == "eval mode":
        own.eval()
    if "frozen" in name:
        own.get_submodule(name.split(",")[0].removeprefix("frozen ")).requires_grad_(False)
    features = own.trunk.register_forward_hook(
        lambda _m, _i, out: out if out.requires_grad else out.detach().requires_grad_()
    )
    expected = 2 * reference(case, own, images, penalised(*masks))
    features.remove()
    parameters = [one for one in own.parameters() if one.requires_grad]
    slopes = torch.autograd.grad(expected, parameters, allow_unused=True)

    model = toys.randomised(Net(case.trunk(), case.head(), case.wrap)).to(case.dtype)
    model = case.change(model)
    loss = XBLDLoss(model, layer="trunk", weight=2.0, ramp_steps=0, **case.options)
    labels = {
        "classes": torch.arange(case.count) % 3, "binary": torch.arange(case.count).double() % 2,
        "several": torch.ones(case.count, 3),
    }[case.labels]  # fmt: skip
    with case.context():
        logits, penalty = loss(images.to(case.dtype), labels, *masks)
        again = XBLDLoss(model, layer="trunk", weight=2.0, ramp_steps=0, **case.options)
        with again.capture():
            result = model(images.to(case.dtype))
        same = again.penalty(result, labels, masks[0].float(), masks[1])
    assert logits.shape[0] == case.count
    assert penalty.dtype == (torch.float64 if case.dtype == torch.float64 else torch.float32)
    if "batch norm" not in name:
        torch.testing.assert_close(same, penalty)
    torch.testing.assert_close(penalty.double(), expected, rtol=case.tolerance, atol=case.tolerance)
    penalty.backward()
    found = [one.grad for one in model.parameters() if one.requires_grad]
    for ours, theirs in zip(found, slopes, strict=True):
        theirs = torch.zeros_like(parameters[0]) if theirs is None else theirs
        ours = torch.zeros_like(theirs) if ours is None else ours.double()
        scale = theirs.abs().max().clamp(min=1)
        torch.testing.assert_close(
            ours / scale, theirs.expand_as(ours) / scale, rtol=case.tolerance, atol=case.tolerance
        )


@pytest.mark.parametrize("method", cam.CAM_METHODS)
@pytest.mark.parametrize("name", [n for n in CASES if CASES[n].dtype == torch.float64])
def test_explain(name: str, method: cam.CamMethod) -> None:
    """One gradient of one logit for each image."""
    case = CASES[name]
    own = toys.randomised(Net(case.trunk(), case.head())).double().eval()
    images = torch.rand(case.count, 3, 8, 8, generator=toys.seeded()).double()
    features = own.trunk(images).detach().requires_grad_()
    logits = own.head(features.clone())
    single = logits.shape[1] == 1
    for target in (None, 0):
        maps = []
        for n in range(case.count):
            c = (
                (int(logits[n].argmax()) if not single else int(logits[n] > 0))
                if target is None
                else 0
            )
            score = logits[n, 0] * (2 * c - 1) if single else logits[n, c]
            (gradient,) = torch.autograd.grad(score, features, retain_graph=True)
            gradient, one = case.spatial(gradient)[n], case.spatial(features)[n]
            if method == "grad_cam":
                gradient = gradient.mean((1, 2), keepdim=True)
            maps.append((gradient * one).sum(0).relu().detach())
        model = case.change(toys.randomised(Net(case.trunk(), case.head(), case.wrap)).double())
        options = {k: v for k, v in case.options.items() if k not in ("order", "margin")}
        with case.context():
            found = cam.explain(model, images, target, layer="trunk", method=method, **options)
        torch.testing.assert_close(found, torch.stack(maps))
        if target is None:
            assert found.any()


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("vit_b_16", "encoder.layers.encoder_layer_1.ln_1"),  # the last block, at its input
        ("swin_t", "norm"),
        ("convnext_tiny", "features.7"),
        ("densenet121", "features.denseblock2"),
        ("resnet18", "layer4"),
        ("resnet18", "bn1"),  # an in-place ReLU follows
    ],
)
def test_networks_of_torchvision(name: str, layer: str) -> None:
    """Penalty and derivative are finite; maps add up as their definition says."""
    models = toys.torchvision_models()
    torch.manual_seed(0)
    if name == "vit_b_16":
        model = models.VisionTransformer(64, 16, 2, 2, 32, 64, num_classes=3)
        nn.init.normal_(model.heads.head.weight)
    else:
        model = models.get_model(name, weights=None, num_classes=3)
    images = torch.rand(2, 3, 64, 64)
    model.eval()
    outputs = []
    hook = model.get_submodule(layer).register_forward_hook(lambda _m, _i, o: outputs.append(o))
    logits = model(images)
    hook.remove()
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), outputs)
    product = gradient * outputs[0]
    if name == "vit_b_16":
        expected = product[:, 1:].sum(2).unflatten(1, (4, 4))
    else:
        expected = product.sum(3 if name == "swin_t" else 1)
    found = cam.explain(model, images, 1, layer=layer)
    scale = expected.abs().max()
    assert scale > 1e-3 * product.abs().max(), "more than rounding"
    torch.testing.assert_close(found / scale, expected.relu().detach() / scale, rtol=0, atol=1e-4)
    loss = XBLDLoss(model, layer=layer, weight=1.0, margin=0)
    object_mask = torch.zeros(2, 64, 64)
    object_mask[:, :8, :8] = 1
    _, penalty = loss(images, torch.tensor([0, 1]), object_mask)
    penalty.backward()
    assert penalty > 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def small_vit() -> nn.Module:
    models = toys.torchvision_models()
    vit = models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=2)
    nn.init.normal_(vit.heads.head.weight)
    return vit


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("swin_t", "features.7"),
        ("convnext_tiny", "features.5"),
        ("vit", "encoder.layers.encoder_layer_0"),
    ],
)
def test_a_layer_that_only_a_layer_norm_reads_is_an_error(name: str, layer: str) -> None:
    """The norm does not depend on the scale of a cell, so ``sum_k G_k A_k`` is 0 (Euler)."""
    torch.manual_seed(0)
    side = 32 if name == "vit" else 64
    model = (
        small_vit() if name == "vit" else toys.torchvision_models().get_model(name, weights=None)
    )
    images, message = torch.rand(2, 3, side, side), f"read only through a layer norm, got '{layer}'"
    with pytest.raises(ValueError, match=message):
        cam.explain(model, images, 1, layer=layer)
    for dtype in (torch.float32, torch.bfloat16):
        with (
            pytest.raises(ValueError, match=message),
            torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16),
        ):
            loss = XBLDLoss(model, layer=layer, weight=1.0)
            loss(images, torch.ones(2).long(), images[:, 0] > 0.5)


class Concatenation(nn.Module):
    """As in DenseNet: the last inner convolution has fewer channels than the output."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([inputs, self.inner(inputs)], 1)


def test_the_layout_of_oblong_images() -> None:
    """The shape of the images tells the axes apart, for feature maps and for tokens."""
    oblong = torch.rand(2, 3, 6, 8)
    network = nn.Sequential(Concatenation(), nn.Flatten(), nn.LazyLinear(2))
    network(oblong)
    assert cam.explain(network, oblong, 0, layer="0").shape == (2, 6, 8)
    wide = torch.rand(2, 3, 8, 32)  # 4x16 patches, as many as 8x8
    expected = []
    network = nn.Sequential(Tokens(), Attention())
    for reshape in (None, lambda tokens: tokens[:, 1:].transpose(1, 2).unflatten(2, (4, 16))):
        expected.append(cam.explain(network, wide, 0, layer="0", reshape=reshape))
    assert expected[0].shape == (2, 4, 16)
    assert torch.equal(*expected)
    pooled = nn.Sequential(nn.Conv2d(3, 8, 1), nn.AdaptiveAvgPool2d((8, 4)), nn.Flatten(),
                           nn.Linear(256, 2))  # fmt: skip
    with pytest.raises(ValueError, match="layer must have a known layout, got shape"):
        cam.explain(pooled, torch.rand(2, 3, 8, 8), 0, layer="1")  # a grid unlike the images
    last = nn.Sequential(Lambda(lambda x: x.permute(0, 2, 3, 1)), nn.Flatten(), nn.LazyLinear(2))
    images = torch.rand(2, 6, 4, 6)  # channels last with as many channels as columns
    last(images)
    assert cam.explain(last, images, 0, layer="0").shape == (2, 4, 6)


def test_batch_norm_behind_the_layer_does_not_cancel_two_classes() -> None:
    """Batch norm subtracts what the images have in common, so their signs must differ."""
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1),
        nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2),
    )  # fmt: skip
    toys.randomised(model)
    images = torch.rand(32, 3, 8, 8, generator=toys.seeded())
    everything = torch.ones(32, 8, 8, dtype=torch.bool)  # penalised with c = 1: the mass of the map
    loss = XBLDLoss(model, layer="1", weight=1.0, ramp_steps=0, wrong=1.0, margin=0)
    everything[:, 4, 4] = False
    _, penalty = loss(images, torch.zeros(32).long(), None, everything)
    features = model[:2](images)
    logits = model[2:](features)
    total = 0.0
    for n in range(32):
        half = (logits[n, 1] - logits[n, 0]) / 2
        (gradient,) = torch.autograd.grad(half, features, retain_graph=True)
        total += (gradient[n] * features[n]).sum(0).abs().flatten().sum().item() / 32
    assert 0.9 < penalty.item() / total < 1.1  # with one sign for all images: 0.55
