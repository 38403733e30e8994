"""The released scripts' arithmetic: rebuilt in plain Python, and shown to teach nothing."""

from __future__ import annotations

import copy
import dataclasses
import itertools

import numpy as np
import pytest
import torch
import toys
from torch.nn import functional

from xblcore import methods, released
from xblcore.cam import capture
from xblcore.train import TrainConfig, fit

# ---------------------------------------------------------------- the parts


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 2), (1, 3), (2, 2), (1, 7), (7, 1), (3, 3), (5, 7), (14, 14)]
)
def test_edges_are_those_of_opencv_on_the_flattened_mask(shape):
    """As the released scripts call it; of small grids every mask, of large ones many."""
    cv2 = pytest.importorskip("cv2", exc_type=ImportError)
    cells = shape[0] * shape[1]
    rng = np.random.default_rng(0)
    if cells <= 9:
        flat = np.array(list(itertools.product((False, True), repeat=cells)))
    else:
        flat = rng.random((400, cells)) < rng.random((400, 1))
        flat[0], flat[1] = False, True
    columns = flat[:, :, None].astype(np.uint8)  # what OpenCV 4 makes of a flat array
    expected = [cv2.Canny(column, 0.01, 0.2)[:, 0] > 0 for column in columns]
    got = released.object_edges(torch.from_numpy(flat.reshape(-1, *shape)))
    assert (got.numpy() == np.stack(expected)).all()


def guided_grad_cam_in_loops(features, gradient):
    channels, height, width = features.shape
    cam = np.zeros((height, width))
    for k in range(channels):
        weight = 0.0
        for u, v in itertools.product(range(height), range(width)):
            if features[k, u, v] > 0 and gradient[k, u, v] > 0:
                weight += gradient[k, u, v] / (height * width)
        for u, v in itertools.product(range(height), range(width)):
            cam[u, v] += weight * features[k, u, v]
    return cam


def test_guided_grad_cam_is_that_of_a_plain_loop():
    generator = toys.seeded()
    features = torch.randn(4, 3, 3, 2, generator=generator, dtype=torch.float64)
    features.requires_grad_()
    slopes = torch.randn(4, 3, 3, 2, generator=generator, dtype=torch.float64)
    probabilities = (slopes * features).sum((1, 2, 3)).sigmoid()
    got = released.guided_grad_cam(features, probabilities)
    scale = (probabilities * (1 - probabilities)).detach()
    for n in range(4):
        gradient = (scale[n] * slopes[n]).numpy()  # derivative of the sigmoid
        expected = guided_grad_cam_in_loops(features[n].detach().numpy(), gradient)
        np.testing.assert_allclose(got[n].detach().numpy(), expected, atol=1e-12)
    assert got.requires_grad, "up to here the released loss could be trained"


def index_distance_in_loops(cam, decoy_mask, object_mask):
    flat = [1 if marked else 0 for marked in object_mask.flatten().tolist()]
    cells = len(flat)

    def gradient(i):
        if i < 0 or i >= cells:
            return 0
        return abs(flat[min(i + 1, cells - 1)] - flat[max(i - 1, 0)])

    edges = [
        i for i in range(cells) if gradient(i) > gradient(i - 1) and gradient(i) >= gradient(i + 1)
    ]
    overlap = []
    for i, (value, marked) in enumerate(
        zip(cam.flatten().tolist(), decoy_mask.flatten().tolist(), strict=True)
    ):
        if marked and value > 0:
            overlap.append(i)
    if not overlap or not edges:
        return 0.0
    return (
        min(abs(edge - overlap[0]) for edge in edges)
        + min(abs(edge - overlap[-1]) for edge in edges)
    ) / 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (4, 3), (14, 14)])
def test_index_distance_is_that_of_a_plain_loop(shape):
    generator = toys.seeded()
    cam = torch.randn(200, *shape, generator=generator)
    share = torch.rand(200, 1, 1, generator=generator)  # from nothing marked to all of it
    decoy_mask = torch.rand(200, *shape, generator=generator) < share
    object_mask = torch.rand(200, *shape, generator=generator) < share.flip(0)
    got = released.index_distance(cam, decoy_mask, object_mask)
    loops = map(index_distance_in_loops, cam, decoy_mask, object_mask)
    assert got.tolist() == list(loops)


@pytest.mark.parametrize(
    ("where", "distance"),
    [
        ((5, 3), 0),  # on the edge
        ((6, 3), 14),  # its vertical neighbour
        ((5, 4), 1),  # its horizontal neighbour
        ((4, 13), 4),  # the end of the row above, although 10 columns to the right
        ((13, 13), 122),
    ],
)
def test_distances_are_along_the_flattened_grid(where, distance):
    """The object fills the rows up to (5, 3), so its one edge is there, at 5 * 14 + 3 = 73."""
    object_mask = (torch.arange(196) <= 73).view(1, 14, 14)
    assert released.object_edges(object_mask).nonzero()[:, 1].tolist() == [73]
    decoy_mask = torch.zeros(1, 14, 14, dtype=torch.bool)
    decoy_mask[0][where] = True
    assert released.index_distance(torch.ones(1, 14, 14), decoy_mask, object_mask) == distance


def test_a_rows_end_and_the_next_rows_start_are_one_apart():
    object_mask = (torch.arange(196) <= 2 * 14 + 13).view(1, 14, 14)  # three full rows
    decoy_mask = torch.zeros(1, 14, 14, dtype=torch.bool)
    decoy_mask[0, 3, 0] = True
    assert released.index_distance(torch.ones(1, 14, 14), decoy_mask, object_mask) == 1


@pytest.mark.parametrize("name", ["decoy_mask", "object_mask"])
def test_masks_must_have_the_maps_shape(name):
    masks = {"decoy_mask": torch.ones(2, 3, 3, dtype=torch.bool)}
    masks["object_mask"] = masks["decoy_mask"]
    masks[name] = masks[name][:1]
    with pytest.raises(ValueError, match=rf"{name} must have shape \(2, 3, 3\), got \(1, 3, 3\)"):
        released.index_distance(torch.ones(2, 3, 3), **masks)


# ---------------------------------------------------------------- no gradient


def released_parts(model, data):
    """Cross-entropy and mean ``d`` of the data, in the graph as far as there is one."""
    with capture(model, "features") as seen:
        logits = model(data.images)
    marked = data.annotations
    d = released.xbl_d_released(
        seen.features, logits, data.labels, marked.decoy_mask, marked.object_mask
    )
    return functional.cross_entropy(logits, data.labels), d


def test_the_released_loss_has_the_gradient_of_cross_entropy_alone():
    """``grad(2.7 CE + 0.1 d) == grad(2.7 CE)``, bit for bit, for every weight, while d > 0."""
    model, data = toys.small_net(), toys.shortcut(64, seed=0)
    weights = list(model.parameters())
    cross_entropy, d = released_parts(model, data)
    assert d > 0 and not d.requires_grad
    total = released.CE_WEIGHT * cross_entropy + released.DISTANCE_WEIGHT * d
    assert total > released.CE_WEIGHT * cross_entropy
    with_d = torch.autograd.grad(total, weights)
    cross_entropy, _ = released_parts(model, data)
    without = torch.autograd.grad(released.CE_WEIGHT * cross_entropy, weights)
    for one, other in zip(with_d, without, strict=True):
        assert one.abs().max() > 0
        assert torch.equal(one, other)


def test_the_released_distance_changes_with_the_weights_in_steps():
    """So its value is no constant; but on a small enough step it is one: its derivative is 0."""
    model, data = toys.small_net(), toys.shortcut(64, seed=0)
    _, before = released_parts(model, data)
    for size, changes in ((1e-6, False), (1.0, True)):
        moved = copy.deepcopy(model)
        with torch.no_grad():
            for weight in moved.parameters():
                weight += size * torch.randn(weight.shape, generator=toys.seeded())
        _, after = released_parts(moved, data)
        assert (after != before) == changes


def test_training_with_the_released_penalty_is_training_without_it():
    """The same weights, bit for bit, after epochs of both."""
    method = methods.get("xbl_d_released")
    config = TrainConfig(
        weight=method.default_weight,
        ramp_epochs=1,
        epochs=3,
        batch_size=16,
        learning_rate=1e-3,
        seed=0,
    )
    data = toys.shortcut(64, seed=0)
    trained = []
    for variant in (method, dataclasses.replace(method, penalty=None)):
        model = toys.small_net()
        logs = fit(model, data, variant, config)
        assert (logs[0].penalty > 0) == (variant.penalty is not None)
        trained.append(model)
    for one, other in zip(*(model.parameters() for model in trained), strict=True):
        assert torch.equal(one, other)
