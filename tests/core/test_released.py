"""The arithmetic of the released scripts, by hand and in plain Python."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.core import toys
from xblcore import losses
from xblcore.cam import capture
from xblcore.examples import Examples


@pytest.mark.parametrize(
    ("mask", "edges"),
    [
        ("x", "."),
        (".x", "x."),
        ("......", "......"),
        ("xxxxxx", "......"),
        ("x.....", "x....."),
        (".....x", "....x."),
        ("xxx...", "..x..."),
        ("..x...", ".x.x.."),
        ("..xx..", ".x...."),  # four equal gradients, of which the first is kept
        ("..x/x..", ".x...."),  # the same, over the end of a row
        (".xxx..", "x..x.."),
        ("x.x.xx", "x...x."),
    ],
)
def test_edges_of_the_flattened_mask(mask: str, edges: str) -> None:
    """Computed by hand; OpenCV gives the same, called as in the released scripts."""
    object_mask = toys.marks(*mask.split("/")).transpose(0, 1)
    assert torch.equal(losses.object_edges(object_mask), toys.marks(edges)[0])


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


def mean_distance(model: nn.Module, data: Examples) -> Tensor:
    with capture(model, "features") as captured:
        logits = model(data.images)
    cells = data.cells
    return losses.xbl_d_released(
        captured.output(), logits, data.labels, cells.decoy_mask, cells.object_mask
    )


def test_every_image_is_paired_with_its_own_annotation() -> None:
    """Unlike in the released scripts, the order of a batch does not matter."""
    model, data = toys.small_net(), toys.shortcut(16)
    order = torch.randperm(16, generator=toys.seeded())
    found, expected = (mean_distance(model, own) for own in (data.take(order), data))
    assert expected > 0
    torch.testing.assert_close(found, expected)
