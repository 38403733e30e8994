"""Metrics: by hand, in plain loops, and NaN where they are undefined."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.core import toys
from xblcore import metrics
from xblcore.metrics import METRICS

NAN, INF = math.nan, math.inf
OF_CAM = [name for name, metric in METRICS.items() if metric.needs[0] == "cam"]
OF_MASK = [name for name, metric in METRICS.items() if metric.needs[-1].endswith("mask")]


def maps(*rows: list[float]) -> Tensor:
    """Images of one row."""
    return torch.tensor(rows, dtype=torch.float32)[:, None]


def inputs(count: int = 40, *, seed: int = 0) -> dict[str, Tensor]:
    """Every argument of every metric, with ties, an all-zero map, empty and full masks."""
    generator = torch.Generator().manual_seed(seed)
    cam = torch.randint(0, 6, (count, 4, 5), generator=generator).float()
    object_mask, decoy_mask = torch.rand((2, count, 4, 5), generator=generator) < 0.3
    distance = torch.rand((count, 4, 5), generator=generator)
    distance[object_mask] = 0
    cam[0], object_mask[1], decoy_mask[1], distance[1] = 0, False, False, NAN
    object_mask[2], decoy_mask[2], distance[2] = True, True, 0
    logits, swapped_logits = torch.randint(0, 3, (2, count, 3), generator=generator).float()
    labels = torch.randint(0, 3, (count,), generator=generator)
    return {
        "cam": cam, "object_mask": object_mask, "decoy_mask": decoy_mask, "distance": distance,
        "logits": logits, "swapped_logits": swapped_logits, "labels": labels,
    }  # fmt: skip


def call(name: str, arguments: dict[str, Tensor]) -> Tensor:
    metric = METRICS[name]
    return metric.function(*(arguments[argument] for argument in metric.needs))


@pytest.mark.parametrize(
    ("name", "region", "value"),
    [
        # The CAM is [8, 6, 4, 2, 0], so B = [1, .75, .5, .25, 0]; 0.5 is not above 0.5.
        ("activation_precision", "x.x..", 1 / 2),
        ("activation_recall", "x.xx.", 1 / 3),
        ("iou", "x.xx.", 1 / 4),
        ("wrong_reason", ".xxxx", 1 / 4),
        ("energy_pointing_game", ".x.x.", 0.4),
        ("pointing_game", "x....", 1),
        ("pointing_game", ".xxxx", 0),
        ("relevance_rank_accuracy", "x.xx.", 2 / 3),
    ],
)
def test_overlap_by_hand(name: str, region: str, value: float) -> None:
    found = METRICS[name].function(maps([8, 6, 4, 2, 0]), toys.marks(region))
    assert found.tolist() == pytest.approx([value])


@pytest.mark.parametrize(
    ("threshold", "values"), [(0, [2 / 4, 2 / 2, 2 / 4, 2 / 2]), (0.8, [1, 1 / 2, 1 / 2, 1 / 2])]
)
def test_the_threshold_is_a_fraction_of_the_maximum(threshold: float, values: list) -> None:
    cam, region = maps([8, 6, 4, 2, 0]), toys.marks("x..x.")
    functions = (
        metrics.activation_precision, metrics.activation_recall, metrics.iou, metrics.wrong_reason
    )  # fmt: skip
    found = [function(cam, region, threshold=threshold).item() for function in functions]
    assert found == pytest.approx(values)


def test_distances_by_hand() -> None:
    cam, distance = maps([2, 1, 1], [0, 0, 3], [5, 0, 0]), maps(*[[0, 0.2, 0.4]] * 3)
    assert metrics.attribution_distance(cam, distance).tolist() == pytest.approx([0.15, 0.4, 0])
    assert metrics.distance_focus(cam, distance).tolist() == pytest.approx([0.625, 0, 1])


def test_distance_distinguishes_what_overlap_does_not() -> None:
    near, far, distance = maps([0, 1, 0, 0]), maps([0, 0, 0, 1]), maps([0, 0.25, 0.5, 0.75])
    for name in OF_MASK:
        of_near, of_far = (METRICS[name].function(cam, toys.marks("x...")) for cam in (near, far))
        assert torch.equal(of_near, of_far)
    assert metrics.distance_focus(near, distance) > metrics.distance_focus(far, distance)


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_single_logits_predict_by_their_sign(shape: tuple[int, ...]) -> None:
    logits, swapped = (
        torch.tensor([2.0, -1, 3]).view(shape),
        torch.tensor([-2.0, -1, 3]).view(shape),
    )
    assert metrics.decoy_flip_rate(logits, swapped).tolist() == [1, 0, 0]
    assert metrics.accuracy(logits, torch.tensor([1, 1, 1])).tolist() == [1, 0, 1]


def in_loops(name: str, row: dict[str, Tensor]) -> float:
    """The metric of one image from its definition; ties by averaging over all orders."""
    if name in ("accuracy", "decoy_flip_rate"):
        rows = row["logits"].tolist(), row["swapped_logits"].tolist()
        first, other = (row.index(max(row)) for row in rows)
        return float(first == row["labels"] if name == "accuracy" else first != other)
    cam = row["cam"].flatten().tolist()
    region = row["decoy_mask" if name == "wrong_reason" else "object_mask"].flatten().tolist()
    distance = row["distance"].flatten().tolist()
    if name == "all_zero":
        return float(max(cam) == 0)
    if max(cam) == 0 or (name in OF_MASK and not any(region)):
        return NAN
    active = {i for i, value in enumerate(cam) if value > max(cam) / 2}
    inside = {i for i, marked in enumerate(region) if marked}
    mean = sum(value * d for value, d in zip(cam, distance, strict=True)) / sum(cam)
    peaks = {i for i, value in enumerate(cam) if value == max(cam)}
    last = sorted(cam, reverse=True)[max(len(inside), 1) - 1]
    above, tied = ({i for i, v in enumerate(cam) if f(v)} for f in (last.__lt__, last.__eq__))
    chance = (len(inside) - len(above)) / len(tied)
    return {
        "activation_precision": lambda: len(active & inside) / len(active),
        "activation_recall": lambda: len(active & inside) / len(inside),
        "wrong_reason": lambda: len(active & inside) / len(inside),
        "iou": lambda: len(active & inside) / len(active | inside),
        "energy_pointing_game": lambda: sum(cam[i] for i in inside) / sum(cam),
        "pointing_game": lambda: len(peaks & inside) / len(peaks),
        "relevance_rank_accuracy": lambda: (
            (len(above & inside) + chance * len(tied & inside)) / len(inside)
        ),
        "attribution_distance": lambda: mean,
        "distance_focus": lambda: 1 - mean / max(distance) if max(distance) else NAN,
    }[name]()


@pytest.mark.parametrize("name", METRICS)
def test_values_in_loops(name: str) -> None:
    """Image by image, hence independent of the batch; also for a batch without images."""
    arguments = inputs()
    rows = [{key: value[n] for key, value in arguments.items()} for n in range(40)]
    expected = [in_loops(name, row) for row in rows]
    assert call(name, arguments).tolist() == pytest.approx(expected, nan_ok=True, abs=1e-6)
    alone = [call(name, {k: v[n : n + 1] for k, v in arguments.items()}) for n in range(40)]
    assert torch.equal(call(name, arguments).nan_to_num(-1), torch.cat(alone).nan_to_num(-1))
    assert call(name, {key: value[:0] for key, value in arguments.items()}).shape == (0,)


@pytest.mark.parametrize("values", [(0, 0, 1, 2), (1, 1, 1, 1), (0, 2, 2, 2), (3, 1, 1, 0)])
@pytest.mark.parametrize("region", ["x...", ".x.x", "xxx.", "..xx"])
def test_rank_accuracy_with_ties_is_the_mean_over_all_orders(values: tuple, region: str) -> None:
    inside = [cell == "x" for cell in region]
    scores = []
    for order in itertools.permutations(range(4)):
        strongest = sorted(order, key=lambda cell: -values[cell])[: sum(inside)]
        scores.append(sum(inside[cell] for cell in strongest) / sum(inside))
    found = metrics.relevance_rank_accuracy(maps(list(values)), toys.marks(region)).item()
    assert found == pytest.approx(np.mean(scores))


@pytest.mark.parametrize(
    ("tolerance", "hits"),
    [(0, 0), (0.99, 0), (1, 1), (1.42, 2), (2, 3), (2.83, 4), (1e9, 5)],
)
def test_the_tolerance_of_the_pointing_game_is_a_euclidean_distance(tolerance, hits: int) -> None:
    """Maxima at distances 1, sqrt 2, 2, sqrt 8 and sqrt 40 from the object."""
    object_mask, cam = torch.zeros(5, 3, 7, dtype=torch.bool), torch.zeros(5, 3, 7)
    object_mask[:, 0, 0] = True
    cam[0, 0, 1] = cam[1, 1, 1] = cam[2, 0, 2] = cam[3, 2, 2] = cam[4, 2, 6] = 1
    found = metrics.pointing_game(cam, object_mask, tolerance=tolerance)
    assert found.tolist() == [1] * hits + [0] * (5 - hits)


@pytest.mark.parametrize("name", METRICS)
def test_bounds_and_direction(name: str) -> None:
    found = call(name, inputs(300, seed=2)).nan_to_num(0.5)
    assert found.min() >= 0
    assert found.max() <= 1
    good = {
        "cam": maps([9, 0, 0]), "object_mask": toys.marks("x.."), "decoy_mask": toys.marks("..x"),
        "distance": maps([0, 0.3, 0.6]), "labels": torch.tensor([0]),
        "logits": torch.tensor([[1.0, 0.0]]), "swapped_logits": torch.tensor([[1.0, 0.0]]),
    }  # fmt: skip
    bad = {
        "cam": maps([0, 0, 0]) if name == "all_zero" else maps([0, 0, 9]),
        "labels": torch.tensor([1]), "swapped_logits": torch.tensor([[0.0, 1.0]]),
    }  # fmt: skip
    gain = call(name, good) - call(name, good | bad)
    assert (gain.item() > 0) == METRICS[name].higher_is_better


def test_rounding_does_not_make_the_focus_negative() -> None:
    cam = torch.rand(500, 3, 4, generator=torch.Generator().manual_seed(0))
    distance = torch.full((500, 3, 4), 0.7)
    cam[:, 0, 0] = distance[:, 0, 0] = 0
    assert 0 <= metrics.distance_focus(cam, distance).min() < 1e-6


@pytest.mark.parametrize("name", OF_CAM)
@pytest.mark.parametrize("change", [1e-30, 7.0, 1e37, torch.float16, torch.bfloat16, torch.float64])
def test_scale_and_precision_of_the_cam_do_not_matter(name: str, change) -> None:
    arguments = inputs()
    cam = arguments["cam"]
    changed = cam * change if isinstance(change, float) else cam.to(change)
    found = call(name, arguments | {"cam": changed}).float()
    assert torch.allclose(found, call(name, arguments), equal_nan=True)
