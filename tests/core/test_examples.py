"""Examples: what annotations mean on a CAM grid, and that everything stays together."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from tests.core import toys
from xblcore.examples import Cells, Examples


def examples(object_mask: Tensor, decoy_mask: Tensor) -> Examples:
    count, height, width = object_mask.shape
    images = torch.zeros(count, 1, height, width)
    return Examples(images, torch.arange(count), object_mask, decoy_mask)


# One row of 8 pixels on 4 cells, hence distances in units of sqrt(1 + 16).
OBJECT = toys.marks("........", "xx......", "........", "xx......", "xxxx....")
DECOY = toys.marks("........", "........", "......xx", "......xx", "..x.....")


@pytest.mark.parametrize(
    ("margin", "object_cells", "decoy_cells"),
    [
        # none; only object; only wrong: all other cells are the object; both; both on one cell
        (0, ["....", "x...", "xxx.", "x...", "xx.."], ["....", "....", "...x", "...x", ".x.."]),
        (1, ["....", "x...", "xx..", "x...", "xx.."], ["....", "....", "..xx", "..xx", "xx.."]),
    ],
)
def test_annotations_on_a_grid(margin: int, object_cells: list, decoy_cells: list) -> None:
    on_grid = examples(OBJECT, DECOY).on_grid((1, 4), margin=margin)
    assert torch.equal(on_grid.cells.object_mask, toys.marks(*object_cells))
    assert torch.equal(on_grid.cells.decoy_mask, toys.marks(*decoy_cells))
    assert torch.equal(on_grid.object_mask, OBJECT)
    assert torch.equal(on_grid.decoy_mask, DECOY)
    torch.testing.assert_close(
        on_grid.cells.distance, toys.to_distance(toys.marks(*object_cells)), equal_nan=True
    )


def test_everything_is_taken_together() -> None:
    data = toys.shortcut(6)
    for index in (torch.tensor([4, 1]), torch.tensor([False, True] * 3), slice(1, 3)):
        taken = data.take(index)
        for field in dataclasses.fields(Examples)[:-1]:
            assert torch.equal(getattr(taken, field.name), getattr(data, field.name)[index])
        for field in dataclasses.fields(Cells):
            whole, part = getattr(data.cells, field.name), getattr(taken.cells, field.name)
            assert torch.equal(part, whole[index])


def test_pixels_are_scaled_once() -> None:
    """Losses of input gradients depend on the scale of the pixels."""
    mask = torch.zeros(1, 1, 3, dtype=torch.bool)
    pixels = torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8)
    stored = Examples(pixels, torch.tensor([0]), mask, mask)
    torch.testing.assert_close(stored.inputs(), torch.tensor([[[[0.0, 0.2, 1.0]]]]))
    scaled = dataclasses.replace(stored, images=stored.inputs())
    assert torch.equal(scaled.inputs(), stored.inputs())
    moved = toys.shortcut(2).to("meta")
    assert moved.images.device.type == moved.cells.distance.device.type == "meta"
    assert stored.to("cpu").cells is None


def test_a_wrong_region_that_every_cell_sees_is_an_error() -> None:
    """Silently, such an image would count as not annotated."""
    wrong = torch.zeros(1, 4, 4, dtype=torch.bool)
    wrong[0, 0, 0] = True
    examples = Examples(torch.zeros(1, 1, 4, 4), torch.tensor([0]), wrong & False, wrong)
    assert examples.on_grid((4, 4), margin=2).cells.distance.isfinite().all()
    with pytest.raises(ValueError, match="margin must leave cells .*, got 3 pixels"):
        examples.on_grid((4, 4), margin=3)
