"""The arithmetic of the released scripts, in plain Python, and that it has no gradient."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.core import toys
from xblcore import losses, methods
from xblcore.cam import capture
from xblcore.examples import Examples
from xblcore.study.train import TrainConfig, fit


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 2), (7, 1), (3, 3), (14, 14)])
def test_edges_are_those_of_opencv_on_the_flattened_mask(shape: tuple[int, int]) -> None:
    """Called as the released scripts do; all masks of small grids, random ones of large grids."""
    cv2 = pytest.importorskip("cv2", exc_type=ImportError)
    cells, rng = shape[0] * shape[1], np.random.default_rng(0)
    if cells <= 9:
        flat = np.array(list(itertools.product((False, True), repeat=cells)))
    else:
        flat = rng.random((400, cells)) < rng.random((400, 1))
        flat[0], flat[1] = False, True
    columns = flat[:, :, None].astype(np.uint8)  # a flat array is a column to OpenCV
    expected = [cv2.Canny(column, 0.01, 0.2)[:, 0] > 0 for column in columns]
    found = losses.object_edges(torch.from_numpy(flat.reshape(-1, *shape)))
    assert np.array_equal(found.numpy(), np.stack(expected))


def test_guided_grad_cam_in_loops() -> None:
    generator = toys.seeded()
    features, slopes = torch.randn(2, 4, 3, 3, 2, generator=generator, dtype=torch.float64)
    features.requires_grad_()
    probabilities = (slopes * features).sum((1, 2, 3)).sigmoid()
    found = losses.guided_grad_cam(features, probabilities)
    assert found.requires_grad, "up to this step the released loss could be trained"
    gradient = (probabilities * (1 - probabilities))[:, None, None, None] * slopes
    expected = np.zeros((4, 3, 2))
    for n, k in itertools.product(range(4), range(3)):
        a, g = features[n, k].detach().numpy(), gradient[n, k].detach().numpy()
        positive = [g[i] for i in np.ndindex(3, 2) if a[i] > 0 and g[i] > 0]
        expected[n] += sum(positive) / 6 * a
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-12)


def index_distance_in_loops(cam: Tensor, decoy_mask: Tensor, object_mask: Tensor) -> float:
    edges = losses.object_edges(object_mask[None])[0].nonzero()[:, 0].tolist()
    pairs = zip(cam.flatten().tolist(), decoy_mask.flatten().tolist(), strict=True)
    overlap = [i for i, (value, marked) in enumerate(pairs) if marked and value > 0]
    if not overlap or not edges:
        return 0.0
    return sum(min(abs(edge - end) for edge in edges) for end in (overlap[0], overlap[-1])) / 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (4, 3), (14, 14)])
def test_index_distance_in_loops(shape: tuple[int, int]) -> None:
    generator = toys.seeded()
    cam = torch.randn(200, *shape, generator=generator)
    share = torch.rand(200, 1, 1, generator=generator)  # from empty to full masks
    decoy_mask = torch.rand(200, *shape, generator=generator) < share
    object_mask = torch.rand(200, *shape, generator=generator) < share.flip(0)
    found = losses.index_distance(cam, decoy_mask, object_mask)
    assert found.tolist() == list(map(index_distance_in_loops, cam, decoy_mask, object_mask))


def parts(model: nn.Module, data: Examples) -> tuple[Tensor, Tensor]:
    """Cross-entropy and mean ``d``."""
    with capture(model, "features") as captured:
        logits = model(data.images)
    cells = data.cells
    d = losses.xbl_d_released(
        captured.output(), logits, data.labels, cells.decoy_mask, cells.object_mask
    )
    return functional.cross_entropy(logits, data.labels), d


def test_the_released_loss_has_the_gradient_of_cross_entropy_alone() -> None:
    """``grad(2.7 CE + 0.1 d) == grad(2.7 CE)``, bit for bit, although d > 0."""
    model, data = toys.small_net(), toys.shortcut(64)
    gradients = []
    for weight in (0.1, 0.0):
        cross_entropy, d = parts(model, data)
        assert d > 0
        total = 2.7 * cross_entropy + weight * d
        gradients.append(torch.autograd.grad(total, list(model.parameters())))
    for with_d, without in zip(*gradients, strict=True):
        assert with_d.abs().max() > 0
        assert torch.equal(with_d, without)


def test_every_image_is_paired_with_its_own_annotation() -> None:
    """Unlike in the released scripts, the order of a batch does not matter."""
    model, data = toys.small_net(), toys.shortcut(16)
    order = torch.randperm(16, generator=toys.seeded())
    torch.testing.assert_close(parts(model, data.take(order))[1], parts(model, data)[1])


def test_training_with_the_released_penalty_is_training_without_it() -> None:
    """The same weights, bit for bit, after a few epochs."""
    method = methods.get("xbl_d_released")
    config = TrainConfig(
        weight=method.default_weight, epochs=2, batch_size=16, learning_rate=1e-3, seed=0
    )
    trained = []
    for variant in (method, dataclasses.replace(method, penalty=None)):
        model = toys.small_net()
        logs = fit(model, toys.shortcut(64), variant, config)
        assert (logs[0].penalty > 0) == (variant.penalty is not None)
        trained.append(model)
    for one, other in zip(*(model.parameters() for model in trained), strict=True):
        assert torch.equal(one, other)
