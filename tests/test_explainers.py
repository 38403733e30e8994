"""Explainers: values by hand, the class and mode explained, batches that change nothing."""

from __future__ import annotations

import pytest
import torch
import toys
from torch import nn

from xblcore import explainers
from xblcore.explainers import CAMS, HELD_OUT

PIXEL_BY_PIXEL = ("input_x_gradient", "integrated_gradients", "occlusion")


class Linear(nn.Module):
    """Logits ``(0, sum of weights * x)``, so that every explainer gives ``weights * x``."""

    def __init__(self, weights: torch.Tensor) -> None:
        super().__init__()
        self.features = nn.Identity()
        self.weights = weights

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        score = (self.features(images) * self.weights).sum((1, 2, 3))
        return torch.stack([torch.zeros_like(score), score], dim=1)


@pytest.mark.parametrize("name", PIXEL_BY_PIXEL)
def test_a_linear_model_is_its_own_explanation(name):
    weights = torch.tensor([[[2.0, -1.0], [0.0, 3.0]], [[1.0, -1.0], [-5.0, 1.0]]])  # (2, 2, 2)
    images = torch.tensor([[[[1.0, 1.0], [1.0, 2.0]], [[3.0, 1.0], [1.0, 1.0]]]])
    found = explainers.get(name).attribute(Linear(weights), images, "features")
    expected = torch.tensor([[[2.0 + 3.0, 0.0], [0.0, 6.0 + 1.0]]])  # negative sums are none
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", PIXEL_BY_PIXEL)
def test_the_predicted_class_is_explained(name):
    weights = torch.tensor([[[1.0, -2.0]]])
    images = torch.tensor([[[[1.0, 2.0]]]])  # logits (0, -3): class 0, which looks at nothing
    found = explainers.get(name).attribute(Linear(weights), images, "features")
    assert torch.equal(found, torch.zeros(1, 1, 2))


def test_integrated_gradients_follow_the_path_where_the_gradient_at_its_end_is_none():
    """z = min(x, 1): at x = 4 its gradient is 0, yet z is 1 above black."""

    class Saturated(nn.Module):
        def forward(self, images):
            score = images.clamp(max=1).sum((1, 2, 3))
            return torch.stack([score, torch.zeros_like(score)], dim=1)

    images = torch.full((1, 1, 1, 1), 4.0)
    values = {
        name: explainers.get(name).attribute(Saturated(), images, "").item()
        for name in PIXEL_BY_PIXEL
    }
    assert values["input_x_gradient"] == 0
    assert values["occlusion"] == 1
    assert values["integrated_gradients"] == pytest.approx(1, abs=0.1)  # 16 steps across a kink


def test_the_occluding_square_is_a_seventh_of_the_side():
    """Each pixel's score goes to its whole square."""
    images = torch.zeros(1, 1, 14, 14)
    images[0, 0, 0, 1], images[0, 0, 13, 13] = 1.0, 2.0
    found = explainers.get("occlusion").attribute(Linear(torch.ones(1, 14, 14)), images, "features")
    expected = torch.zeros(14, 14)
    expected[:2, :2], expected[12:, 12:] = 1.0, 2.0
    torch.testing.assert_close(found[0], expected)


@pytest.mark.parametrize("explainer", [*CAMS, *HELD_OUT], ids=lambda explainer: explainer.name)
def test_models_and_images_are_left_as_they_were(explainer):
    model = toys.gap_net().train()
    modes = [module.training for module in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images = torch.rand(3, 3, 8, 8, generator=toys.seeded())
    found = explainer.attribute(model, images, "features")
    assert found.ndim == 3 and len(found) == 3
    assert (found >= 0).all() and found.any() and not found.requires_grad
    assert not images.requires_grad
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    torch.testing.assert_close(found, explainer.attribute(model.eval(), images, "features"))


@pytest.mark.parametrize("explainer", HELD_OUT, ids=lambda explainer: explainer.name)
def test_an_image_is_explained_alike_in_any_company(explainer):
    model = toys.fc_net().double()
    images = torch.rand(5, 3, 8, 8, generator=toys.seeded(), dtype=torch.float64)
    together = explainer.attribute(model, images, "features")
    alone = torch.cat([explainer.attribute(model, image[None], "features") for image in images])
    torch.testing.assert_close(together, alone)


def test_an_unknown_explainer_is_refused_with_those_there_are():
    names = "grad_cam, hires_cam, hires_cam_log_prob, input_x_gradient, integrated_gradients"
    with pytest.raises(ValueError, match=f"explainer must be one of {names}, occlusion, got 'li"):
        explainers.get("lime")
