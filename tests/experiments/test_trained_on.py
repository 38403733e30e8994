"""The scores that the tables on explainers name are those that the registry's methods ask for."""

from __future__ import annotations

import pytest
import torch
import toys

from xblcore.experiments import gaming
from xblcore.methods import METHODS, Step
from xblcore.plots.carry_over import TRAINED_ON
from xblcore.train import forward


@pytest.mark.parametrize("name", [n for n in METHODS if "cam" in METHODS[n].needs])
def test_a_method_s_own_score_is_that_of_the_registry(name, monkeypatch):
    asked: set[tuple[str, str]] = set()
    original = Step.cam

    def spy(step, cam, score):
        asked.add((cam, score))
        return original(step, cam, score)

    monkeypatch.setattr(Step, "cam", spy)
    method, data = METHODS[name], toys.shortcut(8, seed=0)
    step = forward(toys.small_net(), data, torch.arange(8), method, "features", toys.seeded())
    assert method.penalty is not None
    method.penalty(step)
    own = (TRAINED_ON[name], gaming.OWN_SCORE.get(name, "logit"))
    # The released loss makes its map by guided backpropagation, outside of Step.
    assert asked == (set() if name == "xbl_d_released" else {own})
