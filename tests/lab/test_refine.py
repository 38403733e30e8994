"""Refinement by a few marks: the toy model no longer relies on its decoy."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from xblcore import losses, methods
from xblcore.examples import Examples
from xblcore.lab.refine import (
    accuracy,
    blanked,
    flip_rates,
    last_spatial_layer,
    refine,
    repeated,
    swapped,
)
from xblcore.methods import Method
from xblcore.study import models
from xblcore.study.train import TrainConfig, fit

COUNT, SIZE, FEW = 200, 12, 25
TRAINING = {"epochs": 10, "learning_rate": 0.003, "batch_size": 16}


def bars(count: int, *, seed: int, decoy: bool = True) -> Examples:
    """A bar that is horizontal or vertical by class, and a corner that is bright for class 1."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.4 * torch.rand(count, 1, SIZE, SIZE, generator=generator)
    labels = torch.arange(count) % 2
    at = torch.randint(4, 9, (count,), generator=generator).tolist()
    object_mask = torch.zeros(count, SIZE, SIZE, dtype=torch.bool)
    for n, label in enumerate(labels.tolist()):
        rows, columns = (at[n], slice(4, 11)) if label else (slice(4, 11), at[n])
        object_mask[n, rows, columns] = True
    images[object_mask[:, None]] = 0.6
    decoy_mask = torch.zeros_like(object_mask)
    if decoy:
        decoy_mask[:, :2, :2] = True
        images[:, 0, :2, :2] = labels.float()[:, None, None]
    return Examples(images, labels, object_mask, decoy_mask)


def only(examples: Examples, layer: str, count: int = FEW) -> Examples:
    """Keep the marks of one layer, on the first images."""
    kept = (torch.arange(len(examples)) < count)[:, None, None]
    empty = torch.zeros_like(examples.object_mask)
    return replace(
        examples,
        object_mask=examples.object_mask & kept if layer == "object" else empty,
        decoy_mask=examples.decoy_mask & kept if layer == "wrong" else empty,
    )


TRAIN, CLEAN = bars(COUNT, seed=1), bars(300, seed=2, decoy=False)


@pytest.fixture(scope="module")
def fooled() -> nn.Module:
    """A model that learnt the corner."""
    model = models.build("small_cnn", channels=1, classes=2, size=SIZE, seed=0)
    config = TrainConfig(weight=0, epochs=12, batch_size=16, learning_rate=0.003, seed=0)
    fit(model, TRAIN, methods.get("erm"), config)
    return model


@pytest.mark.parametrize("layer", ["wrong", "object"])
def test_a_few_marks_suffice(fooled, layer):
    weights = copy.deepcopy(fooled.state_dict())
    refined = refine(fooled, only(TRAIN, layer), **TRAINING)
    control = refine(fooled, only(TRAIN, layer), "erm", **TRAINING)
    before, after = accuracy(fooled, CLEAN), accuracy(refined.model, CLEAN)
    assert before < 0.8 and after > max(0.85, accuracy(control.model, CLEAN) + 0.15)
    assert all(torch.equal(value, weights[name]) for name, value in fooled.state_dict().items())
    assert refined.layer == "features" and refined.cams[1].shape == (FEW, 6, 6)
    assert refined.held_out == 40 and not refined.model.training and len(refined.log) == 10
    first, last = refined.shares()[layer]
    assert last < first / 2 if layer == "wrong" else last > first
    assert f"marked as {layer}" in str(refined) and "40 held-out" in str(refined)
    if layer == "wrong":
        first, last = refined.flips[layer, "swapped"]
        assert first > 0.9 and last < 0.1 and "swapped: 100%" in str(refined)
        assert refined.verdict().startswith("Fewer predictions depend on the regions marked as wr")
    else:
        assert refined.verdict() == ""
    assert refined.flips.keys() == {(layer, "blanked"), (layer, "swapped")}


def test_numbers_by_hand(fooled):
    marked = only(TRAIN, "wrong", 3)
    refined = refine(fooled, marked, epochs=1, held_out=0.9)
    assert refined.held_out == 180 and len(refined.marked) == 3  # marked ones are kept to train on
    cells = refined.cams[0][:, 0, 0]  # the corner of 2 x 2 pixels is one cell of 2 x 2 pixels
    share = (cells / refined.cams[0].sum((1, 2))).mean()
    assert refined.shares()["wrong"][0] == pytest.approx(share.item())
    assert (refined.field.extent, refined.field.margin) == (8, 3)  # conv 3, pool 2, conv 3
    assert math.isnan(refine(fooled, marked, epochs=1, held_out=0).accuracy[0])
    again = refine(fooled, marked, epochs=1, held_out=0.9)
    for one, two in zip(refined.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, two)
    whole = refine(fooled, TRAIN, epochs=1, held_out=0.999)  # all are marked: one must stay
    assert whole.held_out == COUNT - 1 and len(whole.marked) == 1


def test_marks_on_which_nothing_depends_are_no_evidence(fooled):
    elsewhere = torch.zeros_like(TRAIN.decoy_mask)
    elsewhere[:FEW, -1, -1] = True
    marked = replace(TRAIN, decoy_mask=elsewhere, object_mask=torch.zeros_like(elsewhere))
    refined = refine(fooled, marked, epochs=1)
    assert refined.verdict().startswith("No prediction depended on the regions marked as wrong")


def test_a_method_of_ones_own_with_an_inplace_relu():
    def penalty(step: methods.Step) -> Tensor:
        return losses.overlap(step.cam("grad_cam", "logit"), step.cells.decoy_mask)

    own = Method("own", "Own", "", "", "grey", "o", penalty=penalty,
                 needs=methods.DECOY, default_weight=1.0)  # fmt: skip
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2),
    )  # fmt: skip
    refined = refine(model, only(TRAIN, "wrong"), own, epochs=1)
    assert refined.layer == "3" and model[2].inplace
    assert all(torch.isfinite(value).all() for value in refined.model.state_dict().values())


class Corner(nn.Module):
    """Class 1 if the first pixel is brighter than the one next to it."""

    def forward(self, images: Tensor) -> Tensor:
        corner, rest = images[:, 0, 0, 0], images[:, 0, 0, 1]
        return torch.stack([rest, corner], 1)


def test_flip_rates_by_hand():
    images = torch.tensor([[255, 51, 51], [0, 102, 102], [255, 102, 102]], dtype=torch.uint8)
    wrong = torch.tensor([[[True, False, False]]]).repeat(3, 1, 1)
    examples = Examples(images[:, None, None], torch.tensor([1, 0, 1]), wrong & False, wrong)
    opposite = nn.Sequential(Corner(), nn.Linear(2, 2, bias=False))
    opposite[1].weight.data = torch.tensor([[1.0, 0.0], [1.0, 0.0]])  # never changes
    rates = flip_rates(Corner(), opposite, examples)
    # Blanked, the first pixel equals the next one: class 0. The second image was of that class.
    assert rates["wrong", "blanked"] == pytest.approx((2 / 3, 0))
    # The corners become 0, 255 and 0, so that all change.
    assert rates["wrong", "swapped"] == (1, 0) and len(rates) == 2
    alone = flip_rates(Corner(), opposite, examples.take(slice(1)))
    assert alone.keys() == {("wrong", "blanked")}  # no other class
    assert flip_rates(Corner(), opposite, replace(examples, decoy_mask=wrong & False)) == {}


def test_regions_of_any_shape():
    images = torch.arange(32.0).reshape(2, 1, 4, 4)
    masks = torch.zeros(2, 4, 4, dtype=torch.bool)
    masks[0, :2, :2] = True
    masks[0, 1, 1] = False  # three pixels: 0, 1 and 4
    masks[1, 3, 1:] = True  # 29, 30, 31
    found = swapped(images, masks, torch.tensor([0, 1]))
    assert torch.equal(found[~masks[:, None]], images[~masks[:, None]])
    assert found[0, 0][masks[0]].tolist() == [29, 30, 29]  # three columns to two, one row to two
    # The fourth pixel of the box has the mean of the three.
    assert found[1, 0, 3].tolist() == [28, 0, 0, 1]
    whole = blanked(images, torch.ones_like(masks))
    assert not whole.any() and blanked(images.byte(), masks).dtype == torch.uint8


@pytest.mark.parametrize(("count", "batch_size"), [(9, 8), (9, 4), (3, 2), (10, 3), (2, 32)])
def test_batch_norm_never_sees_a_single_image(count, batch_size):
    """With 1 x 1 features, batch norm refuses a batch of one image."""
    sizes = []
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                          nn.BatchNorm1d(3), nn.Linear(3, 2))  # fmt: skip
    model[3].register_forward_hook(lambda m, i, o: sizes.append(len(o)) if m.training else None)
    options = {"epochs": 1, "held_out": 0.0, "marked_share": 0.0, "margin": 0}
    refine(model, TRAIN.take(slice(count)), batch_size=batch_size, **options)
    assert sum(sizes) == count and min(sizes) > 1
    with pytest.raises(ValueError, match="batch norm must see at least 2 images"):
        refine(model, TRAIN.take(slice(count)), batch_size=1, **options)


def test_labels_of_one_class_are_reported(fooled):
    with pytest.warns(UserWarning, match="all labels are the same"):
        refine(fooled, TRAIN.take(slice(0, 20, 2)), epochs=1)


def test_uint8_images_and_a_picture(fooled):
    examples = replace(only(TRAIN, "wrong"), images=(TRAIN.images * 255).to(torch.uint8))
    refined = refine(fooled, examples, classes=["upright", "flat"], **TRAINING)
    first, last = refined.flips["wrong", "swapped"]
    assert first > 0.9 and last < 0.1
    texts = [ax.get_xlabel() for ax in refined.picture(count=5).axes]
    assert any("upright" in text for text in texts) and len(texts) == 15
    assert "25 marked images" in refined._repr_html_()


def test_the_layer_of_a_network_that_names_none():
    resnet = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert last_spatial_layer(resnet, torch.zeros(1, 3, 8, 8)) == "0"
    with pytest.raises(ValueError, match="layer must have an output"):
        last_spatial_layer(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize(("share", "times"), [(0.0, 1), (0.5, 4), (0.6, 6), (0.05, 1)])
def test_marked_images_are_repeated(share, times):
    index = repeated(torch.arange(10) >= 8, share)
    assert torch.bincount(index).tolist() == [1] * 8 + [times] * 2


@pytest.mark.parametrize(
    ("examples", "method", "options", "message"),
    [
        (TRAIN, "best", {}, "method must be one of"),
        (TRAIN, "dfr", {}, "method must have an explanation loss"),
        (
            TRAIN,
            "xbl_d_plus",
            {"classes": ["a"]},
            r"classes \(CLASSES in the notebook\)",
        ),
        (TRAIN, "oracle", {}, "method must train on the given images"),
        (only(TRAIN, "wrong", 0), "xbl_d_plus", {}, "examples must have marks"),
        (only(TRAIN, "object"), "rrr", {}, "examples must have marks that 'rrr' can use"),
        (TRAIN, "xbl_d_plus", {"held_out": 1.0}, r"held_out must be in \[0, 1\)"),
        (TRAIN, "xbl_d_plus", {"marked_share": 1.0}, r"marked_share must be in \[0, 1\)"),
        (only(TRAIN, "wrong"), "xbl_d_plus", {"margin": SIZE}, "margin must leave cells"),
        (TRAIN, "xbl_d_plus", {"layer": "tail"}, "layer must be a module"),
    ],
)
def test_errors_name_the_rule(fooled, examples, method, options, message):
    with pytest.raises(ValueError, match=message):
        refine(fooled, examples, method, **options)
