"""Refining a toy model by a handful of marks: it is cured, and what was given is left alone."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
import toys
from torch import nn

from xblcore import evaluate, methods, metrics, models
from xblcore.train import TrainConfig, TrainingSet, fit, forward
from xblcore.widgets.explained import spatial_layer
from xblcore.widgets.folder import write_images
from xblcore.widgets.marked import MarkedImages, complement
from xblcore.widgets.refining import refine, repeated
from xblcore.widgets.simulated import masks_of, simulate
from xblcore.widgets.store import AnnotationStore
from xblcore.widgets.strokes import Stroke

COUNT, SIZE, FEW = 200, 12, 25


def pixels_of_bars(images: torch.Tensor) -> np.ndarray:
    """The bars of ``toys.shortcut``, found by their brightness; the noise stays below 0.4."""
    return (images[:, 0].numpy() > 0.5) & (images[:, 0].numpy() < 0.7)


def marked_toys(layer: str, count: int = FEW) -> MarkedImages:
    """Toy images of which ``count`` were marked by a jittery hand."""
    data = toys.shortcut(COUNT, seed=1)
    truth = {"wrong": data.annotations.decoy_pixels.numpy(), "object": pixels_of_bars(data.images)}
    rng = np.random.default_rng(3)
    strokes = simulate(truth[layer], layer, generator=rng, count=count)
    masks = {name: masks_of(strokes, truth[layer].shape, name) for name in ("wrong", "object")}
    names = tuple(f"{n}.png" for n in range(COUNT))
    return MarkedImages(names, data.images, data.labels, masks["object"], masks["wrong"])


def clean_accuracy(model: nn.Module) -> float:
    data = toys.shortcut(300, seed=2, decoy=False)
    return metrics.accuracy(evaluate.predict(model, data.images), data.labels).mean().item()


@pytest.fixture(scope="module")
def fooled() -> nn.Module:
    """A model that was trained on images whose corner tells the class."""
    model = models.build("small_cnn", channels=1, classes=2, size=SIZE, seed=0)
    config = TrainConfig(
        weight=0, ramp_epochs=0, epochs=12, batch_size=16, learning_rate=0.003, seed=0
    )
    fit(model, toys.shortcut(COUNT, seed=1), methods.get("erm"), config)
    return model


@pytest.mark.parametrize("layer", ["wrong", "object"])
def test_a_handful_of_marks_cures_a_fooled_model(fooled, layer):
    before = copy.deepcopy(fooled.state_dict())
    modes = toys.state_of(fooled)
    marked = marked_toys(layer)
    seen = []
    done = refine(
        fooled, marked, epochs=12, learning_rate=0.003, on_epoch=seen.append, progress=False
    )
    control = refine(fooled, marked, "erm", epochs=12, learning_rate=0.003, progress=False)
    fooled_accuracy, accuracy = clean_accuracy(fooled), clean_accuracy(done.model)
    print(layer, fooled_accuracy, clean_accuracy(control.model), accuracy)
    assert fooled_accuracy < 0.8
    assert accuracy > max(0.85, clean_accuracy(control.model) + 0.15)
    assert seen == done.log and [log.epoch for log in seen] == list(range(1, 13))
    assert done.layer == "features" and done.before.shape == done.after.shape == (FEW, 6, 6)
    assert set(done.names) == {marked.names[n] for n in marked.marked.tolist()}
    corners = marked.on_grid((6, 6)).decoy_mask[marked.marked]
    if layer == "wrong":
        share = [(cam * corners).sum() / cam.sum() for cam in (done.before, done.after)]
        assert share[1] < share[0] / 2, "it looks away from what was marked"
    for name, tensor in fooled.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    assert toys.state_of(fooled) == modes
    assert not done.model.training


def test_the_same_seed_gives_the_same_model(fooled):
    marked = marked_toys("wrong", 3)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, second = (
        refine(fooled, marked, epochs=1, seed=4, progress=False).model for _ in range(2)
    )
    assert torch.equal(torch.get_rng_state(), state), "the global generator is left alone"
    for one, two in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, two)


# xbl_d_released is a mean over all images and has no gradient at all.
@pytest.mark.parametrize(
    "method",
    [m for m in methods.METHODS if methods.METHODS[m].penalty and m != "xbl_d_released"],
)
def test_images_without_a_mark_add_nothing_to_the_penalty(fooled, method):
    marked = marked_toys("wrong", 4)
    data = TrainingSet(marked.images.clone(), marked.labels, marked.on_grid((6, 6)))
    chosen = methods.get(method)

    def penalty(index: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        own = dataclasses.replace(data, images=images)
        # Signs are drawn in the order of a batch: the marked ones come first.
        step = forward(fooled, own, index, chosen, "features", toys.seeded())
        return chosen.penalty(step)

    index = marked.marked
    others = torch.tensor([n for n in range(COUNT) if n not in index.tolist()])
    alone = penalty(index, marked.images)
    beside = penalty(torch.cat([index, others]), marked.images)
    torch.testing.assert_close(alone, beside)
    changed = marked.images.clone()
    changed[others] = torch.rand(changed[others].shape, generator=toys.seeded())
    torch.testing.assert_close(alone, penalty(torch.cat([index, others]), changed))
    assert alone > 0
    nothing = penalty(others, marked.images)
    assert nothing == 0 and nothing.requires_grad


def test_only_wrong_marks_leave_the_rest_for_the_object():
    wrong = np.zeros((3, 4, 8), bool)
    wrong[0, 0, 0] = True
    objects = np.zeros_like(wrong)
    objects[1, 2:, 6:] = True
    wrong[1, 3, 7] = True  # where both are marked, it is wrong
    images, labels = torch.zeros(3, 1, 4, 8), torch.tensor([0, 1, 0])
    marked = MarkedImages(("a", "b", "c"), images, labels, objects, wrong)
    assert marked.marked.tolist() == [0, 1]
    found = marked.on_grid((2, 4))  # cells of 2 x 2
    assert found.object_mask.int().tolist() == [
        [[0, 0, 1, 1], [0, 0, 1, 1]],  # the cell that is wrong and the one around it
        [[0, 0, 0, 0], [0, 0, 0, 1]],
        [[0] * 4] * 2,
    ]
    assert found.distance.isnan().flatten(1).all(1).tolist() == [False, False, True]
    assert found.decoy_mask.flatten(1).any(1).tolist() == [True, True, False]
    assert (~marked.on_grid((2, 4), margin=0).object_mask[0]).sum() == 1


def test_a_complement_goes_by_rows_and_columns():
    wrong = np.zeros((5, 5), bool)
    wrong[2, 2] = True
    assert (~complement(wrong, 1)).sum() == 9
    assert (~complement(wrong, 0)).sum() == 1


def test_marks_all_over_an_image_are_refused():
    all_over = np.ones((1, 4, 4), bool)
    images, labels = torch.zeros(1, 1, 4, 4), torch.tensor([0])
    marked = MarkedImages(("a.png",), images, labels, ~all_over, all_over)
    with pytest.raises(ValueError, match=r"marks of 'a.png' must leave something for the object"):
        marked.on_grid((2, 2))


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("xbl", {}, "method must be one of erm, cdep"),
        ("oracle", {}, "method must be one of erm, cdep"),
        ("rrr", {}, "annotations must have wrong regions marked for rrr, got none"),
        ("xbl_d", {"epochs": 0}, "epochs must be above 0, got 0"),
        ("xbl_d", {"weight": -1.0}, "weight must be at least 0, got -1.0"),
        ("xbl_d", {"marked_share": 1.0}, r"marked_share must be in \[0, 1\), got 1.0"),
        ("xbl_d", {"margin": -1}, "margin must be at least 0 cells, got -1"),
        ("xbl_d", {"layer": "nowhere"}, "layer must be a module of the model, got 'nowhere'"),
        ("xbl_d", {"layer": "head.4"}, r"layer must be one whose output is \(N, K, h, w\)"),
    ],
)
def test_what_refine_refuses(fooled, method, options, message):
    with pytest.raises(ValueError, match=message):
        refine(fooled, marked_toys("object", 2), method, progress=False, **options)


def test_nothing_marked_is_refused(fooled):
    with pytest.raises(ValueError, match="annotations must have at least one marked image"):
        refine(fooled, marked_toys("wrong", 0), progress=False)


class Residual(nn.Module):
    """A block whose output is no leaf module's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images + self.conv(images)


def test_the_last_spatial_layer_is_found_in_any_module():
    block = nn.Sequential(Residual(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2))
    assert spatial_layer(block, torch.zeros(1, 1, 6, 4)) == ("0", (6, 4))
    in_place = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.Flatten(), nn.ReLU(inplace=True), nn.Linear(8, 2)
    )
    assert spatial_layer(in_place, torch.zeros(1, 1, 4, 4)) == ("0", (2, 2))
    assert toys.state_of(block) == toys.state_of(copy.deepcopy(block)), "no hook is left"
    flat = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    with pytest.raises(ValueError, match="layer must be one whose output is"):
        spatial_layer(flat, torch.zeros(1, 1, 4, 4))


def test_an_activation_in_place_behind_the_layer_is_no_obstacle():
    model = toys.fc_net(inplace=True)
    wrong = np.zeros((4, 8, 8), bool)
    wrong[0, :2, :2] = True
    images = torch.rand(4, 3, 8, 8, generator=toys.seeded())
    marked = MarkedImages(tuple("abcd"), images, torch.tensor([0, 1, 2, 0]), wrong & False, wrong)
    done = refine(model, marked, layer="features.3", epochs=1, progress=False)
    assert done.after.shape == (1, 4, 4)
    assert model.features[1].inplace, "the model given is left as it is"


def test_marked_images_are_shown_more_often():
    shown = repeated(100, torch.tensor([3, 4]), 0.25)
    repeats = shown.bincount(minlength=100)
    assert repeats[3] == repeats[4] == 17 and repeats.sum() == 98 + 34  # 34 of 132 are a quarter
    assert repeated(100, torch.tensor([3]), 0.0).tolist() == list(range(100))
    assert repeated(2, torch.tensor([0, 1]), 0.5).tolist() == [0, 1], "all are marked anyway"


def test_a_store_becomes_images_classes_and_masks(tmp_path):
    rng = np.random.default_rng(0)
    pixels = {
        name: rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        for name in ("cat/1.png", "cat/2.png", "dog/1.png")
    }
    store = AnnotationStore(write_images(tmp_path, pixels))
    store.add("dog/1.png", Stroke("wrong", "brush", 1.0, ((0.5, 0.5),)))
    marked = MarkedImages.of(store)
    assert marked.names == tuple(pixels) and marked.labels.tolist() == [0, 0, 1]
    np.testing.assert_allclose(
        marked.images[2].numpy(), pixels["dog/1.png"].transpose(2, 0, 1) / 255, rtol=1e-6
    )
    assert marked.decoy_mask.sum() == 3 and not marked.object_mask.any()
    small = MarkedImages.of(store, size=(4, 4), classes=["dog", "cat"], grey=True)
    assert small.images.shape == (3, 1, 4, 4) and small.labels.tolist() == [1, 1, 0]
    assert small.decoy_mask.sum() == 1, "two pixels down and across share a cell"
    with pytest.raises(ValueError, match="classes must have the folder of 'dog/1.png'"):
        MarkedImages.of(store, classes=["cat", "cow"])
    with pytest.raises(ValueError, match="labels must have all 3 images, not 'cat/2.png'"):
        MarkedImages.of(store, labels={"cat/1.png": 0, "dog/1.png": 1})
    write_images(tmp_path, {"dog/2.png": np.zeros((9, 8), np.uint8)})
    with pytest.raises(ValueError, match="size must be given for images of 2 sizes"):
        MarkedImages.of(AnnotationStore(tmp_path))


def test_images_in_one_heap_need_labels(tmp_path):
    store = AnnotationStore(write_images(tmp_path, {"a.png": np.zeros((4, 4), np.uint8)}))
    with pytest.raises(ValueError, match="images must lie in one folder a class"):
        MarkedImages.of(store)
    assert MarkedImages.of(store, labels={"a.png": 1}).labels.tolist() == [1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ("a", "a")}, "names must be 2 distinct ones"),
        ({"images": torch.zeros(2, 4, 4)}, r"images must be \(N, C, H, W\)"),
        ({"labels": torch.zeros(2)}, "labels must be 2 integers, got torch.float32"),
        ({"labels": torch.zeros(3).long()}, "labels must be 2 integers"),
        ({"decoy_mask": np.zeros((2, 3, 4), bool)}, "decoy_mask must be boolean"),
        ({"object_mask": np.zeros((2, 4, 4))}, "object_mask must be boolean"),
    ],
)
def test_marked_images_must_fit_together(changes, message):
    good = {
        "names": ("a", "b"),
        "images": torch.zeros(2, 1, 4, 4),
        "labels": torch.tensor([0, 1]),
        "object_mask": np.zeros((2, 4, 4), bool),
        "decoy_mask": np.zeros((2, 4, 4), bool),
    }
    with pytest.raises(ValueError, match=message):
        MarkedImages(**(good | changes))
