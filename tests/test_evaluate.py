"""Measuring a model: rows by hand, missing annotations, batches that change nothing."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import toys

from xblcore import evaluate, explainers, metrics
from xblcore.distance import distance_map
from xblcore.evaluate import Marked, Measurement
from xblcore.explainers import CAMS, HELD_OUT, Explainer

HIRES = (explainers.get("hires_cam"),)
OF_MAPS = {name for name, metric in metrics.METRICS.items() if metric.needs[0] == "cam"}


def marked(images, labels, object_mask, decoy_mask) -> Marked:
    object_mask = torch.tensor(object_mask)
    distances = torch.from_numpy(distance_map(object_mask.numpy()))
    return Marked(
        torch.tensor(images)[:, None], torch.tensor(labels), object_mask, torch.tensor(decoy_mask),
        distances,
    )  # fmt: skip


def by_hand() -> Marked:
    """Logits (12, 4) with a dead map of class 0, and (15, 19) with the map [16, 3] of class 1."""
    first, none = [[True, False]], [[False, False]]
    return marked([[[0.0, 0.0]], [[3.0, 3.0]]], [0, 0], [first, first], [none, none])


def values(rows: list[Measurement]) -> dict[tuple[str, str, str], tuple[float, float]]:
    return {(r.split, r.explainer, r.metric): (r.value, r.nan_share) for r in rows}


def measured(splits, by=HIRES, *, swapped=None, count=10, model=None):
    model = model or toys.hand_net()
    behaviour = evaluate.behaviour(model, splits, swapped or {})
    explained = evaluate.explanations(model, splits, by, layer="features", count=count)
    return values([*behaviour, *explained])


def test_rows_by_hand():
    swapped = torch.tensor([[[[3.0, 3.0]]], [[[3.0, 3.0]]]])
    rows = measured({"s": by_hand()}, swapped={"s": swapped})
    assert rows["s", "none", "accuracy"] == (0.5, 0.0)
    assert rows["s", "none", "decoy_flip_rate"] == (0.5, 0.0)
    assert rows["s", "hires_cam", "dead_cam"] == (0.5, 0.0)
    value, nan_share = rows["s", "hires_cam", "energy_pointing_game"]
    assert value == pytest.approx(16 / 19) and nan_share == 0.5
    value, nan_share = rows["s", "hires_cam", "attribution_distance"]
    assert value == pytest.approx(3 / 19 / math.sqrt(5)) and nan_share == 0.5


def test_a_metric_whose_annotation_is_missing_from_the_whole_split_has_no_row():
    split = by_hand()
    rows = measured({"s": split})
    assert {m for _, e, m in rows if e != "none"} == OF_MAPS - {"wrong_reason"}
    nothing = dataclasses.replace(
        split, object_mask=split.object_mask & False, distance=split.distance * math.nan
    )
    assert {m for _, e, m in measured({"s": nothing}) if e != "none"} == {"dead_cam"}
    one = dataclasses.replace(split, decoy_mask=torch.tensor([[[True, False]], [[False, False]]]))
    assert {m for _, e, m in measured({"s": one}) if e != "none"} == OF_MAPS


def test_an_object_that_fills_the_grid_is_no_missing_annotation():
    full = [[[True, True]]] * 2
    split = marked([[[0.0, 0.0]], [[3.0, 3.0]]], [0, 1], full, full)
    rows = measured({"s": split})
    assert {m for _, e, m in rows if e != "none"} == OF_MAPS
    assert rows["s", "hires_cam", "attribution_distance"] == (0.0, 0.5)


def test_what_is_undefined_on_every_image_is_nan_and_counted():
    rows = measured({"s": by_hand()}, count=1)
    value, nan_share = rows["s", "hires_cam", "energy_pointing_game"]
    assert math.isnan(value) and nan_share == 1
    assert rows["s", "none", "accuracy"] == (0.5, 0.0), "all images are classified"


def test_rows_of_every_split_and_explainer():
    rows = measured({"a": by_hand(), "b": by_hand()}, CAMS)
    names = [explainer.name for explainer in CAMS]
    assert len(set(names)) == len(names) == 3
    for split in ("a", "b"):
        assert (split, "none", "decoy_flip_rate") not in rows
        for name in names:
            assert (split, name, "dead_cam") in rows
    for (_, explainer, metric), row in rows.items():
        assert rows["b", explainer, metric] == pytest.approx(row, nan_ok=True)


def random_split(count: int) -> Marked:
    generator = toys.seeded()
    object_mask = toys.random_masks(count, 4, 4)
    return Marked(
        torch.rand(count, 3, 8, 8, generator=generator),
        torch.randint(0, 3, (count,), generator=generator),
        object_mask,
        toys.random_masks(count, 4, 4, seed=1),
        torch.from_numpy(distance_map(object_mask.numpy())),
    )


def test_the_batch_size_bounds_the_memory_and_changes_no_number(monkeypatch):
    split, model, results, sizes = random_split(11), toys.fc_net(), [], []
    model.register_forward_pre_hook(lambda _m, inputs: sizes.append(len(inputs[0])))
    for batch in (100, 4):
        monkeypatch.setattr(evaluate, "BATCH", batch)
        swapped = {"s": split.images.flip(0)}
        results.append(measured({"s": split}, CAMS, swapped=swapped, count=11, model=model))
    assert results[0].keys() == results[1].keys()
    for key, row in results[0].items():
        assert results[1][key] == pytest.approx(row, rel=1e-5, nan_ok=True), key
    assert max(sizes[-10:]) == 4


def test_an_attribution_finer_than_the_grid_is_averaged_over_its_cells():
    fine = torch.tensor([[1.0, 3.0, 0.0, 0.0], [0.0, 0.0, 0.0, 4.0]]).repeat(2, 1, 1)  # (2, 2, 4)
    by = (Explainer("fine", lambda _model, images, _layer: fine[: len(images)]),)
    rows = measured({"s": by_hand()}, by)  # cells [1, 1], the object in the first
    assert rows["s", "fine", "energy_pointing_game"][0] == pytest.approx(0.5)


def test_explainers_that_no_method_trains_on_give_every_metric_of_a_map():
    rows = measured({"s": random_split(6)}, HELD_OUT, model=toys.fc_net())
    for explainer in HELD_OUT:
        assert {m for _, e, m in rows if e == explainer.name} == OF_MAPS


def test_a_model_is_measured_as_it_predicts_and_left_as_it_was():
    model = toys.gap_net().train()
    model.features[1].eval()
    modes = [module.training for module in model.modules()]
    images = torch.rand(5, 3, 8, 8, generator=toys.seeded())
    logits = evaluate.predict(model, images)
    assert not logits.requires_grad
    assert [module.training for module in model.modules()] == modes
    torch.testing.assert_close(logits, model.eval()(images).detach())
