"""Measurements of a toy network by hand, and explainers on models with a known explanation."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

from tests.core import toys
from xblcore.examples import Examples
from xblcore.study import evaluate, explainers
from xblcore.study.evaluate import Measurement
from xblcore.study.explainers import CAMS, HELD_OUT, Explainer

HIRES = (explainers.get("hires_cam"),)
PIXELS = tuple(explainer.name for explainer in HELD_OUT)
OF_OBJECT = {
    "activation_precision", "activation_recall", "iou", "energy_pointing_game", "pointing_game",
    "relevance_rank_accuracy",
}  # fmt: skip
OF_DISTANCE = {"attribution_distance", "distance_focus"}


def toy_examples() -> Examples:
    """Two images of :func:`tests.core.toys.hand_net`, both of class 0, object on the left.

    The first has the logits (12, 4) and an all-zero map of class 0, the second (15, 19) and the
    map [16, 3] of class 1.
    """
    images = torch.tensor([[[[0.0, 0.0]]], [[[3.0, 3.0]]]])
    left = torch.tensor([[[True, False]]] * 2)
    examples = Examples(images, torch.tensor([0, 0]), left, torch.zeros_like(left))
    return examples.on_grid((1, 2))


def by_key(rows: list[Measurement]) -> dict[tuple[str, str, str], tuple[float, float, float]]:
    return {(r.split, r.explainer, r.metric): (r.value, r.nan_share, r.worst) for r in rows}


def measured(examples: Examples) -> dict[tuple[str, str, str], tuple[float, float, float]]:
    return by_key(
        evaluate.explanations(toys.hand_net(), "s", examples, HIRES, layer="features")
    )  # fmt: skip


def test_behaviour_by_hand() -> None:
    examples = toy_examples()
    same = torch.tensor([[[[3.0, 3.0]]], [[[3.0, 3.0]]]])  # only the first prediction changes
    swapped = {"s": dataclasses.replace(examples, images=same)}
    rows = evaluate.behaviour(toys.hand_net(), {"s": examples, "t": examples}, swapped)
    assert by_key(rows) == {
        ("s", "none", "accuracy"): (0.5, 0.0, 0.5),
        ("s", "none", "decoy_flip_rate"): (0.5, 0.0, 0.5),
        ("t", "none", "accuracy"): (0.5, 0.0, 0.5),
    }


def test_explanations_by_hand_with_undefined_ones_as_the_worst() -> None:
    rows = measured(toy_examples())
    expected = {
        "energy_pointing_game": (16 / 19, 0.5, 16 / 19 / 2),  # worst: 0
        "attribution_distance": (3 / 19 / math.sqrt(5), 0.5, (3 / 19 / math.sqrt(5) + 1) / 2),
        "distance_focus": (16 / 19, 0.5, 16 / 19 / 2),
        "all_zero": (0.5, 0.0, 0.5),
    }
    for name, values in expected.items():
        assert rows["s", "hires_cam", name] == pytest.approx(values), name


def test_metrics_without_annotation_have_no_row() -> None:
    examples = toy_examples()
    with pytest.raises(ValueError, match="on the CAM grid; use on_grid"):
        measured(dataclasses.replace(examples, cells=None))
    assert {metric for _, _, metric in measured(examples)} == OF_OBJECT | OF_DISTANCE | {"all_zero"}
    nothing = torch.zeros_like(examples.object_mask)
    unmarked = dataclasses.replace(examples, object_mask=nothing).on_grid((1, 2))
    assert {metric for _, _, metric in measured(unmarked)} == {"all_zero"}
    one = torch.tensor([[[False, False]], [[False, True]]])
    marked = dataclasses.replace(examples, decoy_mask=one).on_grid((1, 2))
    rows = measured(marked)
    assert len(rows) == len(OF_OBJECT | OF_DISTANCE | {"all_zero", "wrong_reason"})
    # The map [16, 3] has one active cell, which is not the decoy's; the first image has no decoy.
    assert rows["s", "hires_cam", "wrong_reason"] == (0.0, 0.5, 0.5)


def test_attributions_finer_than_the_grid_are_averaged_over_its_cells() -> None:
    fine = torch.tensor([[[1.0, 3.0, 0.0, 0.0], [0.0, 0.0, 0.0, 4.0]]])  # means: 1 and 1
    fixed = Explainer("fixed", lambda model, images, layer: fine)
    examples = toy_examples().take(slice(1))
    rows = by_key(evaluate.explanations(nn.Identity(), "s", examples, [fixed], layer=""))
    assert rows["s", "fixed", "energy_pointing_game"][0] == pytest.approx(0.5)


def test_batches_and_integer_images_do_not_change_the_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = toys.gap_net().train()  # batch norm in train mode would mix the images
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pixels = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8, generator=toys.seeded())
    found = {}
    for batch in (250, 2):
        monkeypatch.setattr(evaluate, "BATCH", batch)
        monkeypatch.setattr(explainers, "AT_ONCE", batch)
        found[batch] = [
            evaluate.predict(model, pixels),
            evaluate.predict(model, pixels.float() / 255),
            *(evaluate.attributions(model, pixels, explainer, layer="features")
              for explainer in (*CAMS, *HELD_OUT)),
        ]  # fmt: skip
    for whole, parts in zip(found[250], found[2], strict=True):
        torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-5)
        assert not whole.requires_grad
    torch.testing.assert_close(found[250][0], found[250][1])
    assert model.training
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


# Explainers


class Linear(nn.Module):
    """Logits ``(0, sum of weights * x)``, so that every explainer gives ``weights * x``."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, images: Tensor) -> Tensor:
        score = (images * self.weights).sum((1, 2, 3))
        return torch.stack([torch.zeros_like(score), score], dim=1)


@pytest.mark.parametrize("name", PIXELS)
def test_linear_model_is_its_own_explanation(name: str) -> None:
    weights = torch.tensor([[[2.0, -1.0], [0.0, 3.0]], [[1.0, -1.0], [-5.0, 1.0]]])  # (2, 2, 2)
    images = torch.tensor([[[[1.0, 1.0], [1.0, 2.0]], [[3.0, 1.0], [1.0, -1.0]]]])
    found = explainers.get(name).attribute(Linear(weights), images, "")
    expected = torch.tensor([[[2.0 + 3.0, 0.0], [0.0, 6.0 - 1.0]]])  # negative sums count as 0
    torch.testing.assert_close(found, expected)
    # For the opposite image, class 0 is predicted, which looks at nothing.
    found = explainers.get(name).attribute(Linear(weights), -images, "")
    assert torch.equal(found, torch.zeros(1, 2, 2))
    with pytest.raises(ValueError, match="explainer must be one of grad_cam, .*, got 'lime'"):
        explainers.get("lime")


def test_occluding_square_has_a_seventh_of_the_side() -> None:
    """The score of a pixel goes to its whole square."""
    images = torch.zeros(1, 1, 14, 14)
    images[0, 0, 0, 1], images[0, 0, 13, 13] = 1.0, 2.0
    found = explainers.get("occlusion").attribute(Linear(torch.ones(1, 14, 14)), images, "")
    expected = torch.zeros(14, 14)
    expected[:2, :2], expected[12:, 12:] = 1.0, 2.0
    torch.testing.assert_close(found[0], expected)
