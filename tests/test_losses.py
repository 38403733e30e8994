"""Explanation losses: by hand, by finite differences through the CAM, and at the edges."""

from __future__ import annotations

import math

import pytest
import torch
import toys
from torch.func import functional_call

from xblcore import cam as cams
from xblcore import losses

T, F = True, False
INF, NAN = math.inf, math.nan

# ---------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("loss", "cam", "marked", "expected"),
    [
        # P = [.5, .25, .25], the object is the first cell, the diagonal sqrt(10)
        ("xbl_d share", [4, 2, 2], [T, F, F], (0.25 * 1 + 0.25 * 2) / math.sqrt(10)),
        ("xbl_d mass", [4, 2, 2], [T, F, F], (2 * 1 + 2 * 2) / math.sqrt(10)),
        ("xbl_d gated", [4, 2, 3], [T, F, F], 3 * 2 / math.sqrt(10)),  # the last cell is the decoy
        ("overlap", [4, 2, 2], [F, T, T], 4),
        ("rrr_g", [4, 2, 1], [F, T, T], 1 / 4 + 1 / 16),
        ("energy", [4, 2, 2], [T, F, F], 1 / 2),
        ("hint", [4, 2, 1], [T, T, F], (0 + 1 / 4 + 1 / 16) / 3),
        ("l1", [4, 2, 1], [T, T, F], (0 + 1 / 2 + 1 / 4) / 3),
        ("ppce", [4, 2, 1], [T, T, F], math.log(2) / 2),
        ("ppce", [4, 0, 1], [T, T, F], 100 / 2),  # the logarithm of 0 counts as -100
        # a dead CAM: P = B = 0
        ("xbl_d share", [0, 0, 0], [T, F, F], 0),
        ("xbl_d mass", [0, 0, 0], [T, F, F], 0),
        ("xbl_d gated", [0, 0, 0], [T, F, F], 0),
        ("overlap", [0, 0, 0], [T, F, F], 0),
        ("rrr_g", [0, 0, 0], [T, F, F], 0),
        ("energy", [0, 0, 0], [T, F, F], 1),
        ("hint", [0, 0, 0], [T, T, F], 2 / 3),
        ("l1", [0, 0, 0], [T, T, F], 2 / 3),
        ("ppce", [0, 0, 0], [T, F, F], 100),
        # a full mask
        ("xbl_d share", [4, 2, 2], [T, T, T], 0),
        ("xbl_d mass", [4, 2, 2], [T, T, T], 0),
        ("xbl_d gated", [4, 2, 2], [T, T, T], 0),
        ("overlap", [4, 2, 2], [T, T, T], 8),
        ("rrr_g", [4, 2, 2], [T, T, T], 1 + 1 / 4 + 1 / 4),
        ("energy", [4, 2, 2], [T, T, T], 0),
        ("hint", [4, 2, 2], [T, T, T], (1 / 4 + 1 / 4) / 3),
        ("l1", [4, 2, 2], [T, T, T], (1 / 2 + 1 / 2) / 3),
        ("ppce", [4, 2, 2], [T, T, T], 2 * math.log(2) / 3),
    ],
)
def test_values_computed_by_hand(loss, cam, marked, expected):
    """On a grid of 1 x 3, whether the image is alone or beside one that is not annotated."""
    cam = torch.tensor([[cam]], dtype=torch.float64)
    mask = torch.tensor([[marked]])
    function = toys.LOSSES[loss]
    assert function(cam, toys.annotation(loss, mask)).item() == pytest.approx(expected, abs=1e-7)
    both = function(cam.repeat(2, 1, 1), toys.annotation(loss, torch.cat((mask, mask & False))))
    assert both.item() == pytest.approx(expected, abs=1e-7)


def test_ppce_is_the_binary_cross_entropy_to_one():
    """Dark cells included, and a CAM that is dark altogether."""
    cam, mask = batch()
    level = cam / cam.amax((1, 2), keepdim=True).clamp(min=1e-300)
    nats = torch.nn.functional.binary_cross_entropy(level, torch.ones_like(level), reduction="none")
    expected = (nats * mask).sum((1, 2)) / mask.sum((1, 2)).clamp(min=1)
    assert ((level == 0) & mask).any(), "a dark cell counts"
    actual = losses.ppce(cam, mask, reduction="none")
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


def test_rrr_by_hand():
    """Two channels, two pixels, the second one marked: ``2^2 + (-3)^2``."""
    gradient = torch.tensor([[[[1.0, 2.0]], [[5.0, -3.0]]]])
    assert losses.rrr(gradient, torch.tensor([[[F, T]]])).item() == 13


def test_rbr_by_hand():
    """As above, each pixel weighted by its influence: ``(2 * 5)^2 + (-3 * 0.5)^2``."""
    gradient = torch.tensor([[[[1.0, 2.0]], [[5.0, -3.0]]]])
    influence = torch.tensor([[[[9.0, 5.0]], [[9.0, 0.5]]]])
    value = losses.rbr(gradient, influence, torch.tensor([[[F, T]]]))
    assert value.item() == 100 + 2.25


def test_cdep_by_hand():
    """``softmax(log 3, 0) = (3/4, 1/4)`` and ``softmax(-1, -1) = (1/2, 1/2)``."""
    relevant, irrelevant = torch.tensor([[math.log(3), -1.0]]), torch.tensor([[0.0, -1.0]])
    value = losses.cdep(relevant, irrelevant, torch.tensor([[[F, T]]]))
    assert value.item() == pytest.approx((3 / 4 + 1 / 2) / 2)


def test_a_gated_distance_is_that_of_both_annotations():
    """``P = [.5, .25, .25]``; the second sample has no decoy, the third no distance."""
    cam = torch.tensor([[[4.0, 2.0, 2.0]]]).repeat(3, 1, 1)
    distance = torch.tensor([[[0.0, 0.4, 0.8]], [[0.0, 0.4, 0.8]], [[NAN, NAN, NAN]]])
    decoy = torch.tensor([[[T, F, T]], [[F, F, F]], [[T, F, T]]])
    each = losses.xbl_d_gated(cam, distance, decoy, reduction="none")
    torch.testing.assert_close(each, torch.tensor([0.25 * 0.8, 0.0, 0.0]))
    assert losses.xbl_d_gated(cam, distance, decoy).item() == pytest.approx(0.2)
    assert losses.xbl_d_gated(cam, distance, decoy, normalise=False).item() == pytest.approx(1.6)


@pytest.mark.parametrize("loss", toys.LOSSES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1), (3, 4)])
def test_one_pixel_masks_and_thin_grids_give_finite_values_and_gradients(loss, shape):
    cells = shape[0] * shape[1]
    mask = torch.eye(cells, dtype=torch.bool).view(cells, *shape)  # each cell once
    signed = torch.randn(cells, *shape, generator=toys.seeded(), requires_grad=True)
    value = toys.LOSSES[loss](signed.relu(), toys.annotation(loss, mask))
    (gradient,) = torch.autograd.grad(value, signed)
    assert value.isfinite() and value >= 0
    assert gradient.isfinite().all()


# ---------------------------------------------------------------- batches


def batch(count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """CAMs, one of them dead, and masks, two of them empty and one full."""
    cam = torch.randn(count, 3, 4, generator=toys.seeded(), dtype=torch.float64).relu()
    cam[1] = 0
    mask = toys.random_masks(count, 3, 4)
    mask[2], mask[4], mask[5] = False, False, True
    return cam, mask


# Losses of pixels and of parts: the CAM stands for a gradient of one channel, or for logits.
OF_NO_CAM = {
    "rrr": lambda cam, mask, **options: losses.rrr(cam[:, None], mask, **options),
    "rbr": lambda cam, mask, **options: losses.rbr(
        cam[:, None], cam[:, None].cos(), mask, **options
    ),
    "cdep": lambda cam, mask, **options: losses.cdep(
        cam.flatten(1), 1 - cam.flatten(1), mask, **options
    ),
}


def call(loss, cam, mask, **options):
    """Any loss of this module."""
    function = OF_NO_CAM.get(loss) or toys.LOSSES[loss]
    return function(cam, toys.annotation(loss, mask), **options)


EVERY = [*toys.LOSSES, *OF_NO_CAM]


@pytest.mark.parametrize("loss", EVERY)
def test_a_batch_gives_what_its_images_give_one_by_one(loss):
    cam, mask = batch()
    together = call(loss, cam, mask, reduction="none")
    alone = [call(loss, cam[n : n + 1], mask[n : n + 1]) for n in range(len(cam))]
    assert together.shape == (6,)
    torch.testing.assert_close(together, torch.stack(alone))


@pytest.mark.parametrize("loss", EVERY)
def test_reductions_count_the_annotated_images_only(loss):
    cam, mask = batch()
    each = call(loss, cam, mask, reduction="none")
    annotated = mask.flatten(1).any(1)
    assert (each[~annotated] == 0).all() and each.sum() > 0
    torch.testing.assert_close(call(loss, cam, mask, reduction="sum"), each.sum())
    torch.testing.assert_close(call(loss, cam, mask), each[annotated].mean())


@pytest.mark.parametrize("loss", EVERY)
def test_the_mean_does_not_change_with_batch_size_or_annotated_fraction(loss):
    cam, mask = batch()
    value = call(loss, cam, mask)
    torch.testing.assert_close(call(loss, cam.repeat(3, 1, 1), mask.repeat(3, 1, 1)), value)
    unannotated = torch.cat((mask, mask & False))
    torch.testing.assert_close(call(loss, cam.repeat(2, 1, 1), unannotated), value)


@pytest.mark.parametrize("normalise", [True, False])
def test_a_distance_that_is_unknown_anywhere_is_no_annotation(normalise):
    cam = torch.ones(2, 1, 2, requires_grad=True)
    distance = torch.tensor([[[0.0, 0.5]], [[0.5, NAN]]])
    value = losses.xbl_d(cam, distance, normalise=normalise)
    assert value == (0.25 if normalise else 0.5)
    value.backward()
    assert cam.grad.isfinite().all() and (cam.grad[1] == 0).all()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("loss", EVERY)
def test_a_batch_without_annotation_gives_zero_that_can_be_trained_on(loss, reduction):
    signed = torch.randn(3, 2, 4, generator=toys.seeded(), requires_grad=True)
    value = call(loss, signed.relu(), torch.zeros(3, 2, 4, dtype=torch.bool), reduction=reduction)
    assert (value == 0).all() and value.requires_grad
    value.sum().backward()
    assert (signed.grad == 0).all()


@pytest.mark.parametrize("rectify", [torch.relu, torch.abs])
@pytest.mark.parametrize("loss", toys.LOSSES)
def test_a_dead_map_pulls_at_nothing(loss, rectify):
    """Its gradient is 0, not NaN, and the other images of the batch keep theirs."""
    signed = torch.randn(2, 3, 4, generator=toys.seeded())
    signed[0] = 0
    signed.requires_grad_()
    mask = toys.random_masks(1, 3, 4).repeat(2, 1, 1)
    call(loss, rectify(signed), mask).backward()
    assert (signed.grad[0] == 0).all()
    assert signed.grad[1].isfinite().all() and signed.grad[1].abs().sum() > 0


@pytest.mark.parametrize("loss", toys.LOSSES)
def test_only_losses_of_mass_depend_on_the_maps_scale(loss):
    cam, mask = batch()
    by_mass = loss in ("xbl_d mass", "xbl_d gated", "overlap")
    factor = 7 if by_mass else 1
    value = call(loss, cam, mask)
    torch.testing.assert_close(call(loss, cam * 7, mask), factor * value)
    if not by_mass and loss != "ppce":  # up to -100 there
        torch.testing.assert_close(call(loss, cam * 1e-6, mask), value, rtol=1e-5, atol=0)


# ---------------------------------------------------------------- derivatives

IMAGES = torch.rand(2, 1, 4, 4, generator=toys.seeded(), dtype=torch.float64)
LABELS = torch.tensor([0, 2])
MASK = toys.random_masks(2, 3, 3, seed=1)


def through_the_network(model, penalties):
    """``penalties(images, features, logits)`` as a function of all the weights."""
    names = [name for name, _ in model.named_parameters()]

    def function(*weights):
        images = IMAGES.clone().requires_grad_()
        weights = dict(zip(names, weights, strict=True))
        trunk, head = (
            {n.partition(".")[2]: w for n, w in weights.items() if n.startswith(part)}
            for part in ("features.", "head.")
        )
        features = functional_call(model.features, trunk, images)
        return penalties(images, features, functional_call(model.head, head, features))

    return function


def check_gradients(penalties, *, unreached: tuple[str, ...] = ()) -> None:
    """Finite differences agree, and every weight but the ``unreached`` has a gradient to check.

    ``penalties`` returns a tuple of losses; a failure names the output by its place in it.
    """
    model = toys.smooth_net()
    function = through_the_network(model, penalties)
    weights = tuple(model.parameters())
    assert torch.autograd.gradcheck(function, weights)
    for place, value in enumerate(function(*weights)):
        gradients = torch.autograd.grad(value, weights, retain_graph=True, allow_unused=True)
        for (name, _), gradient in zip(model.named_parameters(), gradients, strict=True):
            reached = gradient is not None and gradient.abs().max() > 1e-8
            assert reached != (name in unreached), (place, name)


@pytest.mark.parametrize("score", ["logit", "log_prob", "projection"])
@pytest.mark.parametrize("method", cams.CAM_METHODS)
def test_gradients_of_every_loss_through_the_map_to_head_and_trunk(method, score):
    def penalties(_images, features, logits):
        scores = cams.class_scores(logits, LABELS, kind=score, generator=toys.seeded(1))
        cam = cams.CAM_METHODS[method](features, scores, create_graph=True)
        cam = cams.non_negative(cam, score)
        return tuple(call(loss, cam, MASK) for loss in toys.LOSSES)

    # A logit is linear in the last bias, so its gradient by the features does not know it.
    check_gradients(penalties, unreached=() if score == "log_prob" else ("head.3.bias",))


def test_gradients_of_rrr_through_the_input_gradient():
    """Second order: the loss is made of a gradient already."""
    mask = toys.random_masks(2, 4, 4)

    def penalties(images, _features, logits):
        total = logits.log_softmax(1).sum()
        (gradient,) = torch.autograd.grad(total, images, create_graph=True)
        return (losses.rrr(gradient, mask),)

    check_gradients(penalties)


# ---------------------------------------------------------------- rejections


def bad_cam(value: float) -> torch.Tensor:
    cam = torch.ones(3, 2, 2)
    cam[1, 0, 0] = value
    return cam


@pytest.mark.parametrize("loss", toys.LOSSES)
@pytest.mark.parametrize(
    ("cam", "message"),
    [
        (
            bad_cam(NAN),
            "cam must be finite, got NaN or infinity in sample 1; training has diverged",
        ),
        (
            bad_cam(INF),
            "cam must be finite, got NaN or infinity in sample 1; training has diverged",
        ),
        (bad_cam(-0.5), "cam must be at least 0, got -0.5; pass it through xblcore.cam.non_negat"),
        (torch.ones(3, 1, 2, 2), r"cam must be \(N, h, w\), got shape \(3, 1, 2, 2\)"),
        (
            torch.ones(3, 2, 4),
            r"must have shape \(3, 2, 4\), got \(3, 2, 2\); xblcore.distance.to_",
        ),
        (
            torch.ones(2, 2, 2),
            r"must have shape \(2, 2, 2\), got \(3, 2, 2\); xblcore.distance.to_",
        ),
    ],
)
def test_rejected_maps(loss, cam, message):
    with pytest.raises(ValueError, match=message):
        call(loss, cam, toys.random_masks(3, 2, 2))


@pytest.mark.parametrize("loss", EVERY)
def test_rejected_annotations_and_reductions(loss):
    cam, mask = torch.ones(3, 2, 2), toys.random_masks(3, 2, 2)
    with pytest.raises(ValueError, match="reduction must be 'mean', 'sum' or 'none', got 'avg'"):
        call(loss, cam, mask, reduction="avg")
    function = OF_NO_CAM.get(loss) or toys.LOSSES[loss]
    # Bytes of 0 and 255 would weigh 65,025 times as much; a mask for a distance, the wrong way.
    wrong, message = mask * 255, "mask must be boolean, got torch.int64"
    if loss.startswith("xbl_d"):
        wrong, message = mask, "distance must be floating, got torch.bool"
    with pytest.raises(ValueError, match=message):
        function(cam, wrong)
    name = message.split()[0]
    with pytest.raises(ValueError, match=f"{name} must be a tensor, got ndarray; pass torch.as_t"):
        function(cam, wrong.numpy())


@pytest.mark.parametrize("loss", [name for name in toys.LOSSES if name.startswith("xbl_d")])
@pytest.mark.parametrize("value", [-0.25, INF])
def test_rejected_distances(loss, value):
    distance = torch.full((3, 2, 2), 0.5)
    distance[1, 0, 0] = value
    with pytest.raises(ValueError, match=f"distance must be at least 0 and finite, got {value}; "):
        toys.LOSSES[loss](torch.ones(3, 2, 2), distance)


@pytest.mark.parametrize("name", ["input_gradient", "influence_gradient"])
@pytest.mark.parametrize(
    ("gradient", "message"),
    [
        (torch.full((3, 1, 2, 2), NAN), "{} must be finite, got NaN or infinity in sample 0"),
        (torch.ones(3, 2, 2), r"{} must be \(N, C, H, W\), got shape \(3, 2, 2\)"),
        (torch.ones(3, 1, 4, 4), r"decoy_mask must have shape \(3, 4, 4\), got \(3, 2, 2\)"),
    ],
)
def test_rejected_input_gradients(name, gradient, message):
    good, mask = torch.ones(3, 1, 2, 2), toys.random_masks(3, 2, 2)
    arguments = {"input_gradient": good, "influence_gradient": good, name: gradient}
    with pytest.raises(ValueError, match=message.format(name)):
        losses.rbr(**arguments, decoy_mask=mask)
    if name == "input_gradient":
        with pytest.raises(ValueError, match=message.format(name)):
            losses.rrr(gradient, mask)


@pytest.mark.parametrize(
    ("relevant", "irrelevant", "message"),
    [
        (torch.ones(3, 4), torch.ones(3, 5), r"must be \(N, classes\) both, got shapes \(3, 4\)"),
        (torch.ones(3), torch.ones(3), r"must be \(N, classes\) both, got shapes \(3,\) and"),
        (torch.ones(2, 4), torch.ones(2, 4), r"decoy_mask must have shape \(2, 2, 2\), got \(3, 2"),
        (torch.full((3, 4), NAN), torch.ones(3, 4), "relevant must be finite, got NaN"),
        (torch.ones(3, 4), torch.full((3, 4), INF), "irrelevant must be finite, got NaN or inf"),
    ],
)
def test_rejected_parts(relevant, irrelevant, message):
    with pytest.raises(ValueError, match=message):
        losses.cdep(relevant, irrelevant, toys.random_masks(3, 2, 2))
