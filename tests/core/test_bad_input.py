"""Public functions of the core reject bad input with a message that names it."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from tests.core import toys
from xblcore import cam, contextual, decoys, distance, explaining, losses, methods, metrics
from xblcore.decoys import Decoy
from xblcore.examples import Examples
from xblcore.module import XBLDLoss

NAN, INF = math.nan, math.inf
MAP, MASK = torch.ones(3, 2, 2), toys.random_masks(3, 2, 2)
MAPS, MASKS = MAP.numpy(), MASK.numpy()
IMAGES, LABELS = torch.zeros(3, 1, 2, 2), torch.tensor([0, 1, 0])
LEAF = torch.zeros(3, 1, 1, 1, requires_grad=True)
LOGITS = torch.tensor([[1.0, 2.0], [0.0, 1.0]])


def bad(value: float, *shape: int) -> Tensor:
    """Three samples of ones, with a bad value in the second one."""
    tensor = torch.ones(3, *shape)
    tensor[1].flatten()[0] = value
    return tensor


def explain(target=None, *, model=None, images=None, layer="features", **options) -> Tensor:
    target = target if target is None else torch.tensor(target)
    images = toys.images(2) if images is None else images
    return cam.explain(model or toys.fc_net(), images, target, layer=layer, **options)


class Pair(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images, images


def idle_net() -> nn.Module:
    model = toys.fc_net()
    model.add_module("idle", nn.Identity())
    model.forward = lambda images: model.head(model.features(images))
    return model


def returns(wrap) -> nn.Module:
    model = toys.fc_net()
    model.forward = lambda images: wrap(model.head(model.features(images)))
    return model


def scores(logits=LOGITS, *, target=None, **options) -> Tensor:
    target = torch.tensor(target) if isinstance(target, list) else target
    return cam.class_scores(logits, target, kind="projection", generator=toys.seeded(), **options)


class Tokens(nn.Module):
    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(2)[:, :, : self.count].transpose(1, 2)


def tokens(count: int) -> nn.Module:
    return nn.Sequential(Tokens(count), nn.Flatten(), nn.Linear(3 * count, 3))


def unknown_layout() -> nn.Module:
    """``(N, 3, 3, 4)`` without a module whose channels fit."""
    tail = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    return nn.Sequential(nn.AdaptiveAvgPool2d((3, 4)), tail)


def in_inference_mode() -> Tensor:
    with torch.inference_mode():
        return explain()


def last_block() -> Tensor:
    """The head reads the first token only."""
    model = nn.Sequential(Tokens(17), nn.Linear(3, 3))
    model.class_token = True
    read = model.forward
    model.forward = lambda images: read(images)[:, 0]
    return explain(model=model, layer="0")


BATCH, WRONG = (toys.images(3), LABELS), torch.zeros(3, 8, 8, dtype=torch.bool)
WRONG[:, 0, 0] = True


def xbl(*, layer="features", weight=1.0, **options) -> XBLDLoss:
    return XBLDLoss(toys.fc_net(), layer=layer, weight=weight, ramp_steps=0, **options)


class Squeezed(nn.Module):
    """Eight channels of 8x8 cells, rescaled by a linear layer as in squeeze and excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 8)

    def forward(self, images: Tensor) -> Tensor:
        features = self.conv(images)
        return features * self.gate(features.mean((2, 3)))[:, :, None, None]


def squeezed() -> nn.Module:
    return nn.Sequential(Squeezed(), nn.Flatten(), nn.Linear(512, 3))


def one_cell() -> object:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    return XBLDLoss(model, layer="1", weight=1.0)(*BATCH, WRONG)


def frozen() -> XBLDLoss:
    return XBLDLoss(toys.fc_net().requires_grad_(False), layer="features", weight=1.0)


def one_image_with_batch_norm() -> object:
    model = nn.Sequential(nn.Conv2d(3, 4, 8), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 3))
    loss = XBLDLoss(model, layer="0", weight=1.0)
    return loss(BATCH[0][:1], LABELS[:1], WRONG[:1])


def in_a_compiled_loss() -> object:
    torch._dynamo.reset()  # else it may be skipped, after other tests have compiled the same code
    return torch.compile(xbl(), backend="eager")(*BATCH, WRONG)


def batched(**options) -> object:
    return explaining.explain_batches(toys.fc_net(), [toys.images()], layer="features", **options)


def field(layer="features", **options) -> cam.ReceptiveField:
    return cam.receptive_field(toys.gap_net(), layer, (3, 16, 16), **options)


def unresponsive() -> nn.Module:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    nn.init.constant_(network[0].bias, -100.0)
    return network


def examples(images=IMAGES, labels=LABELS, object_mask=MASK, decoy_mask=MASK) -> Examples:
    return Examples(images, labels, object_mask, decoy_mask)


GREYS = decoys.grey_palette(2)


def decoyed(decoy: Decoy, dtype=torch.uint8, object_mask=MASK, palette=GREYS) -> decoys.Decoyed:
    clean = examples(IMAGES.to(dtype), object_mask=object_mask)
    return decoys.add_decoys(clean, decoy, palette, predictive=True, seed=[0])


def decompose(*layers: nn.Module, mask: Tensor = MASK) -> contextual.Parts:
    return contextual.decompose(nn.Sequential(*layers), IMAGES, mask)


def penalty(name: str) -> Tensor:
    model, batch = toys.small_net(), toys.shortcut(3)
    step = methods.Step(batch, model.features(batch.images), LOGITS, toys.seeded(), model)
    return methods.METHODS[name].penalty(step)


CASES = [
    (lambda: explain(images=torch.rand(3, 8, 8)), r"images must .* got \(3, 8, 8\); pass images"),
    (lambda: explain(layer="featurs"), "must be a module .*, got 'featurs'; there are: features"),
    (lambda: explain(layer=nn.ReLU()), "layer must be a module of the model, got 'ReLU'"),
    (lambda: explain(model=idle_net(), layer="idle"), "in the forward pass, got 'idle', which did"),
    (lambda: explain(layer="head.2"), r"features must be \(N, K, h, w\), got shape \(2, 6\); choo"),
    (lambda: explain(model=nn.Sequential(Pair()), layer="0"), "must return one tensor, got tuple"),
    (lambda: explain(method="cam"), "method must be one of grad_cam, hires_cam, got 'cam'"),
    (lambda: explain(score="logits"), "kind must be 'logit', .* or 'projection', got 'logits'"),
    (lambda: explain(score="projection"), "generator must be a torch.Generator .*, got None; pass"),
    (lambda: explain([0, 3]), r"target must be in \[0, 3\), got 3"),
    (lambda: explain([-1, 0]), r"target must be in \[0, 3\), got -1"),
    (lambda: explain([0.0, 1.0]), "target must be integer classes, got torch.float32"),
    (lambda: explain([True, False]), "target must be integer classes, got torch.bool"),
    (lambda: explain([0]), r"target must have shape \(2,\) like the logits, got \(1,\)"),
    (lambda: cam.class_scores(MAP, None), r"logits must be .* \(N, C\), got .* \(3, 2, 2\)"),
    (lambda: cam.class_scores(LABELS, None), "logits must be floating point .*, got torch.int64"),
    (lambda: cam.class_scores(LOGITS, None), r"target must have shape \(2,\) .*, got None"),
    (lambda: scores(LOGITS[:, 0], target=2), r"target must be in \[0, 2\), got 2"),
    (lambda: scores(head="tanh"), "head must be 'softmax' or 'sigmoid', got 'tanh'"),
    (lambda: scores(LOGITS[:, 0], head="softmax"), "head must be 'sigmoid' for a single logit, go"),
    (lambda: explain(True), "target must have shape .*, got"),
    (lambda: cam.grad_cam(LEAF, LEAF.sum((1, 2, 3)), order=3), "order must be 1 or 2, got 3"),
    (lambda: explain(model=returns(lambda z: (z, z))), "a tensor of logits, got tuple; pass outpu"),
    (lambda: explain(model=returns(lambda z: {"out": z})), "must return a tensor .*, got dict; pa"),
    (lambda: explain(reshape=lambda a: a.mean(1, True)), "reshape must select and permute .* got"),
    (lambda: explain(reshape=lambda a: a[:, 0]), r"reshape must select .*, got \(2, 4, 4\) from"),
    (lambda: explain(reshape=lambda a: a * 2), "reshape must select and permute .*; compute noth"),
    (lambda: explain(model=squeezed(), layer="0"), "layer must have a known layout, got .*; pass "),
    (lambda: explain(model=tokens(17), layer="0"), r"got shape \(2, 17, 3\); choose .* pass res"),
    (lambda: explain(model=unknown_layout(), layer="0"), "layer must have a known layout, got .*;"),
    (lambda: in_inference_mode(), "gradients must be enabled, got inference_mode; use torch.no_g"),
    (lambda: in_a_compiled_loss(), "capture must not be compiled"),
    (lambda: last_block(), "layer must influence the output .* only the class token .*; choose an"),
    (lambda: field(samples=0), r"samples and size .* must be at least 1, got 0"),
    (lambda: xbl(weight=-1.0), "weight must be at least 0 and finite, got -1.0"),
    (lambda: xbl(weight=NAN), "weight must be at least 0 and finite, got nan"),
    (lambda: xbl(every=0), "every must be at least 1 and finite, got 0"),
    (lambda: xbl(every=1.5), "every must be a whole number, got 1.5"),
    (lambda: xbl(head="bce"), "head must be 'softmax', 'sigmoid' or None, got 'bce'"),
    (lambda: xbl()(*BATCH, WRONG / 255), "object_mask must be above 0.5 .*, got at most 0.0039"),
    (lambda: xbl(head="sigmoid").suggest_weight(*BATCH, WRONG), "labels must have the shape of"),
    (lambda: xbl(layer="head.1")(*BATCH, WRONG), r"layer must have an output .*, got \(3, 80\) f"),
    (lambda: one_cell(), r"layer must have .* several cells, got \(3, 4, 1, 1\) from '1'"),
    (lambda: frozen().suggest_weight(*BATCH, WRONG), "model must have a parameter with requires"),
    (lambda: xbl(order=0), "order must be 1 or 2, got 0"),
    (lambda: xbl()(*BATCH, MASK), r"object_mask must be a tensor \(3, H, W\) .*, got \(3, 2, 2\)"),
    (lambda: xbl()(*BATCH, WRONG[:1]), r"object_mask must be a tensor \(3, .*, got \(1, 8, 8\)"),
    (lambda: xbl()(*BATCH, None, WRONG * 255), r"wrong_mask must be boolean or in .*, got 0 to 25"),
    (lambda: xbl()(*BATCH, WRONG.numpy()), r"object_mask must be .*, got ndarray; pass torch.a"),
    (lambda: xbl()(BATCH[0], [0, 1, 2], WRONG), "labels must be a tensor, got list"),
    (lambda: xbl()(BATCH[0], LABELS[:2], WRONG), r"labels must be \(N,\) or .* \(3, 3\), got \(2,"),
    (lambda: xbl(margin=9)(*BATCH, None, WRONG), "margin must leave cells that do not see the wro"),
    (lambda: xbl().penalty(BATCH[0][:, :, 0, 0], LABELS, WRONG), "penalty must follow a forward p"),
    (lambda: xbl().suggest_weight(*BATCH), "penalty must have a gradient to compare, got none; pa"),
    (lambda: one_image_with_batch_norm(), "at least two images .*, got one; pass drop_last=True"),
    (lambda: list(batched(score="projection")), "score must be 'logit' or 'log_prob', got 'p"),
    (lambda: list(batched(methods=["cam"])), "method must be one of .*, got 'cam'"),
    (lambda: explaining.overlay(IMAGES, MAP[:1]), r"images and maps must be .*, got \(3, 1, 2, 2"),
    (lambda: explaining.overlay(IMAGES + 2, MAP), r"images must be in \[0, 1\], got .* undo their"),
    (lambda: explaining.overlay(IMAGES, MAP, strength=2), r"strength must be in \[0, 1\], got 2"),
    (lambda: explaining.save("map.jpg", MAP), "path must end in .npy, .*, got 'map.jpg' for shape"),
    (lambda: metrics.Average("IoU"), "name must be one of activation_precision, .*, got 'IoU'"),
    (lambda: losses.xbl_d(MAP, bad(NAN, 2, 2)), "distance must be known in all cells .* or in n"),
    (lambda: losses.overlap(MAP.int(), MASK), r"cam must be \(N, h, w\), got .* of torch.int32"),
    (lambda: losses.overlap(MAP[:0, :0], MASK[:0, :0]), r"got shape \(0, 0, 2\) .* least one cell"),
    (lambda: losses.combined_distance(MAP, MASK, wrong=NAN), "wrong must be at least 0 .*, got na"),
    (lambda: losses.combined_distance(MAP, MASK[:1], wrong=1), r"distance must have shape \(1, 2,"),
    (lambda: losses.pgd_ex(LOGITS, LABELS[:2], MASK), r"decoy_mask must have shape \(2, 2, 2\), g"),
    (lambda: losses.pgd_ex(LOGITS, LABELS, MASK[:2]), r"logits and labels must be .*, got \(2, 2"),
    (lambda: losses.tap([IMAGES], MASK[:1]), r"decoy_mask must have shape \(3, 2, 2\), got \(1, 2"),
    (lambda: losses.actdiff([MAP], [MAP], MASK[:1]), r"decoy_mask must have shape \(3, 2, 2\), go"),
    (lambda: cam.grad_cam(LEAF, torch.zeros(2)), r"scores must have shape \(3,\), got \(2,\)"),
    (lambda: cam.hires_cam(LEAF, torch.zeros(3)), "scores must be differentiable .* without a gr"),
    (lambda: cam.grad_cam(LEAF, bad(1).requires_grad_()), "must depend on features, got scores of"),
    (lambda: field(share=0.0), r"share must be in \(0, 1\], got 0.0"),
    (lambda: field("head.1"), r"layer must have an output \(N, K, h, w\), got \(8, 5\)"),
    (lambda: cam.receptive_field(unresponsive(), "1", (1, 9, 9)), "layer must respond to random i"),
    (lambda: losses.xbl_d(MAP, MAP, form="sum"), "form must be 'mass' or 'share', got 'sum'"),
    (lambda: losses.xbl_d(MAP, bad(-0.5, 2, 2)), "distance must be .* and finite, got -0.5"),
    (lambda: losses.xbl_d_gated(MAP, bad(INF, 2, 2), MASK), "distance must be .* finite, got inf"),
    (lambda: losses.xbl_d(MAP, MASK), "distance must be floating point, got torch.bool"),
    (lambda: losses.overlap(MAP, MASK * 255), "decoy_mask must be boolean, got torch.int64"),
    (lambda: losses.hint(MAP, MASKS), "object_mask must be a tensor, got ndarray; pass torch"),
    (lambda: losses.combined_distance(MAP, MASK, wrong=-1), "wrong must be at least 0 .*, got -1"),
    (lambda: losses.rrr(MAP, MASK), r"input_gradient must be \(N, C, H, W\), got shape \(3, 2, 2"),
    (lambda: losses.rrr(bad(NAN, 1, 2, 2), MASK), "input_gradient must be finite, .* in sample 1"),
    (lambda: losses.rrr(bad(1, 1, 4, 4), MASK), r"decoy_mask must have shape \(3, 4, 4\), got \(3"),
    (lambda: losses.rbr(IMAGES, bad(INF, 1, 2, 2), MASK), "influence_gradient must be finite, got"),
    (lambda: losses.index_distance(MAP, MASK[:1], MASK), r"decoy_mask must have shape \(3, 2, 2\)"),
    (lambda: losses.index_distance(MAP, MASK, MAP), "object_mask must be boolean, got torch.float"),
    (lambda: contextual.cdep(MAP[0], MAP[0, :1], MASK), r"must be \(N, classes\) both, got shapes"),
    (lambda: contextual.cdep(MAP[0], MAP[0], MASK), r"decoy_mask must have shape \(2, 2, 2\), got"),
    (lambda: contextual.cdep(bad(NAN, 4), bad(1, 4), MASK), "relevant must be finite, got NaN or"),
    (lambda: contextual.cdep(bad(1, 4), bad(INF, 4), MASK), "irrelevant must be finite, got NaN"),
    (lambda: decompose(nn.Flatten(), mask=MASK[:1]), r"mask must have shape \(3, 2, 2\), got \(1"),
    (lambda: decompose(nn.Flatten(), nn.Dropout()), "must have a rule .*, got Dropout as '1'"),
    (lambda: decompose(nn.Conv2d(1, 1, 1, padding_mode="circular")), "'zeros' .*'circular'"),
    (lambda: methods.get("xbld"), "method must be one of erm, oracle, .*, got 'xbld'"),
    (lambda: penalty("centre_prior"), "mean_penalty must be given for the centre prior, got None"),
    (lambda: penalty("rrr"), "images must require a gradient; add 'input_gradient' to the method"),
    (lambda: methods.Step(examples(), MAP, MAP, None, None).cells, "must have its annotations on"),
    (lambda: metrics.iou(MAP[0], MASK[0]), r"cam must be floating \(N, h, w\), got .* \(2, 2\)"),
    (lambda: metrics.all_zero(MAP.int()), "cam must be floating .*, got torch.int32"),
    (lambda: metrics.iou(MAP, MAP), "object_mask must be boolean of shape .*, got torch.float32"),
    (lambda: metrics.iou(MAP, MASK[:1]), r"object_mask must be .* \(3, 2, 2\), got .* \(1, 2, 2\)"),
    (lambda: metrics.distance_focus(MAP, MASK), "distance must be numeric of shape"),
    (lambda: metrics.distance_focus(MAP, bad(-1, 2, 2)), "distance must be .*, got -1 in sample 1"),
    (lambda: metrics.distance_focus(MAP, bad(INF, 2, 2)), "distance must be .*, got inf in sample"),
    (lambda: metrics.iou(MAP, MASK, threshold=1), r"threshold must be in \[0, 1\), .*, got 1"),
    (lambda: metrics.iou(MAP, MASK, threshold=-0.1), "threshold must be in .*, got -0.1"),
    (lambda: metrics.pointing_game(MAP, MASK, tolerance=-1), "tolerance must be at .*, got -1"),
    (lambda: metrics.pointing_game(MAP, MASK, tolerance=INF), "tolerance must be at .*, got inf"),
    (lambda: metrics.accuracy(LOGITS, torch.tensor([0, 2])), "labels must be .*, got 2 in sample"),
    (lambda: metrics.accuracy(LOGITS, torch.tensor([-1, 0])), "labels must be .*, got -1 in sampl"),
    (lambda: metrics.accuracy(LOGITS, torch.tensor([0, 0.5])), "labels must be .*, got 0.5 in sam"),
    (lambda: metrics.accuracy(LOGITS, LABELS), r"labels must be numeric of shape \(2,\), got"),
    (lambda: metrics.accuracy(MAP, LABELS), r"logits must be \(N, C\) or .*, got shape \(3, 2, 2"),
    (lambda: metrics.decoy_flip_rate(LOGITS, LOGITS.log()), "swapped_logits must be .*, got -inf"),
    (lambda: metrics.decoy_flip_rate(LOGITS, LOGITS[:1]), "swapped_logits must be numeric of sha"),
    (lambda: distance.distance_map(MAPS), "mask must be a boolean NumPy array, got float32; binar"),
    (lambda: distance.to_grid(MASK, (1, 1)), "a boolean NumPy array, got Tensor; pass mask.cpu"),
    (lambda: distance.widen(MASKS[0], 1), r"mask must be \(N, H, W\) .*, got shape \(2, 2\)"),
    (lambda: distance.distance_map(MASKS[:, :0]), r"at least one pixel, got shape \(3, 0, 2\)"),
    (lambda: distance.to_grid(MASKS, (0, 2)), r"size must be \(h, w\), .*, got \(0, 2\)"),
    (lambda: distance.widen(MASKS, -1), "margin must be at least 0 pixels, got -1"),
    (lambda: examples().on_grid((2, 2), margin=-1), "margin must be at least 0 pixels, got -1"),
    (lambda: examples(IMAGES[0]), r"images must be \(N, C, H, W\), got shape \(1, 2, 2\)"),
    (lambda: examples(labels=LABELS[:1]), r"labels must have shape \(3,\) like images, got \(1,"),
    (lambda: examples(object_mask=MASK[:, 1:]), r"object_mask must have shape .*, got \(3, 1, 2"),
    (lambda: examples(decoy_mask=MASK * 255), "decoy_mask must be boolean, got torch.int64; bina"),
    (lambda: Decoy(size=0), "size must be at least 1 pixel, got 0"),
    (lambda: Decoy(place="centre"), "place must be one of corner, top_left, object, got 'centre'"),
    (lambda: Decoy(predictive=1.5), r"predictive must be in \[0, 1\], got 1.5"),
    (lambda: decoyed(Decoy(size=3)), "size must be at most 2, the side of the images, got 3"),
    (lambda: decoyed(Decoy(size=1), torch.float32), "images must be uint8, got torch.float32"),
    (lambda: decoyed(Decoy(size=1, place="object"), object_mask=MASK & False), "place='object'"),
    (lambda: decoyed(Decoy(), palette=decoys.colour_palette(2)), "palette must have the 1 "),
    (lambda: decoys.grey_palette(12), r"classes must be in \[2, 11\] .*, got 12"),
    (lambda: decoys.colour_palette(1), r"classes must be in \[2, 64\] .*, got 1"),
]  # fmt: skip
for name, function in toys.CAM_LOSSES.items():
    marks = toys.annotation(name, MASK)
    CASES += [
        (partial(function, bad(NAN, 2, 2), marks), "cam must be finite, got .* in sample 1; trai"),
        (partial(function, bad(INF, 2, 2), marks), "cam must be finite, got .* in sample 1; trai"),
        (partial(function, bad(-0.5, 2, 2), marks), "cam must be non-negative, got -0.5; pass it"),
        (partial(function, MAP[None], marks), r"cam must be \(N, h, w\), got shape \(1, 3, 2, 2"),
        (partial(function, bad(1, 2, 4), marks), r"must have shape \(3, 2, 4\), got \(3, 2, 2\)"),
        (partial(function, MAP, marks, reduction="avg"), "reduction must be 'mean', .* got 'avg'"),
    ]
for metric in metrics.METRICS.values():
    if metric.needs[0] == "cam":
        arguments = [MASK if need.endswith("mask") else MAP for need in metric.needs[1:]]
        for value in (NAN, INF, -0.5):
            call = partial(metric.function, bad(value, 2, 2), *arguments)
            CASES.append((call, f"^cam must be at least 0 and finite, got {value} in sample 1$"))


@pytest.mark.parametrize(("call", "message"), CASES)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
