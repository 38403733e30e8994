"""AUROC per network, and what counts as a low value."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu

from xblcore.study import evaluate, runs, validity
from xblcore.study.config import Config
from xblcore.study.runs import Run

RUN = Run("decoy_fashion_mnist", "erm", 0.0, 0)


def test_auroc_is_the_u_statistic() -> None:
    generator = np.random.default_rng(0)
    positive = generator.random(60) < 0.3
    for scores in (generator.random(60), generator.integers(4, size=60).astype(float)):
        expected = mannwhitneyu(scores[positive], scores[~positive]).statistic
        found = validity.auroc(scores, positive)
        assert found == pytest.approx(expected / (positive.sum() * (~positive).sum()))


def test_metrics_are_oriented_and_all_zero_maps_are_worst(
    tiny: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images flip in turn; focus is low and wrong_reason is high, or undefined, where they do."""
    (done,) = runs.results([RUN], progress=False)
    flip = torch.arange(32) % 2 == 0
    logits = torch.nn.functional.one_hot(flip.long(), 10).float()
    said = iter([logits, torch.zeros(32, 10), logits])
    monkeypatch.setattr(evaluate, "predict", lambda *_: next(said))
    focus = torch.where(flip, 0.2, 0.7)
    focus[0] = torch.nan
    values = {
        "distance_focus": focus, "wrong_reason": 1 - focus, "all_zero": focus.isnan().float(),
        "iou": torch.full((32,), torch.nan),
    }  # fmt: skip
    monkeypatch.setattr(evaluate, "per_image", lambda *_, **__: values)
    found = validity.table([done], images=32, settings=tiny)
    flips = found[(found["target"] == "flips") & (found["explainer"] == "occlusion")]
    assert flips.set_index("metric")["auroc"].to_dict() == {
        "distance_focus": 1.0, "wrong_reason": 1.0
    }  # fmt: skip
    assert flips.set_index("metric")["family"].to_dict() == {
        "distance_focus": "object", "wrong_reason": "decoy"
    }  # fmt: skip
    assert set(flips["positives"]) == {16}
    again = validity.table([done], images=32, settings=tiny)  # from build/validity
    assert again.equals(found)


def test_targets_with_few_images_of_a_kind_are_left_out(tiny: Config, tmp_path: Path) -> None:
    (done,) = runs.results([RUN], progress=False)
    assert done.state is not None
    constant = {name: torch.zeros_like(value) for name, value in done.state.items()}
    found = validity.table([replace(done, state=constant)], images=32, settings=tiny)
    assert found.empty  # a constant network never flips; it is wrong for most of 32 images
    assert list(found) == validity.COLUMNS
