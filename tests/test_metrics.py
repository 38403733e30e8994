"""Metrics against values worked out on paper, brute force over images, and Quantus."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from xblcore import metrics
from xblcore.metrics import METRICS

nan = math.nan
OVERLAP = {name: m for name, m in METRICS.items() if m.kind == "overlap"}
OF_CAM = {name: m for name, m in METRICS.items() if m.needs[0] == "cam"}


def maps(*rows: list[float]) -> Tensor:
    """One image of one row each."""
    return torch.tensor(rows, dtype=torch.float32)[:, None]


def mask(*rows: str) -> Tensor:
    """One image of one row each, ``x`` where set."""
    return torch.tensor([[[cell == "x" for cell in row]] for row in rows])


def random_inputs(
    n: int = 40, *, shape: tuple[int, int] = (4, 5), seed: int = 0
) -> dict[str, Tensor]:
    """Every argument that a metric may need, with ties, dead CAMs, empty and full masks."""
    generator = torch.Generator().manual_seed(seed)
    cam = torch.randint(0, 6, (n, *shape), generator=generator).float()
    object_mask, decoy_mask = torch.rand((2, n, *shape), generator=generator) < 0.3
    distance = torch.rand((n, *shape), generator=generator)
    distance[object_mask] = 0
    cam[0], object_mask[1], decoy_mask[1], distance[1] = 0, False, False, nan
    object_mask[2], decoy_mask[2], distance[2] = True, True, 0
    logits, swapped_logits = torch.randn((2, n, 3), generator=generator)
    labels = torch.randint(0, 3, (n,), generator=generator)
    return {
        "cam": cam, "object_mask": object_mask, "decoy_mask": decoy_mask, "distance": distance,
        "logits": logits, "swapped_logits": swapped_logits, "labels": labels,
    }  # fmt: skip


def call(name: str, inputs: dict[str, Tensor]) -> Tensor:
    metric = METRICS[name]
    return metric.function(*(inputs[argument] for argument in metric.needs))


# One row: B = (1, .75, .5, .25, 0). Above one half lie two cells, and 0.5 itself is not above it.
HAND = maps([8, 6, 4, 2, 0])


@pytest.mark.parametrize(
    ("function", "region", "value"),
    [
        (metrics.activation_precision, "x.x..", 1 / 2),
        (metrics.activation_precision, "..xxx", 0.0),
        (metrics.activation_recall, "x.xx.", 1 / 3),
        (metrics.activation_recall, "xx...", 1.0),
        (metrics.iou, "x.xx.", 1 / 4),
        (metrics.iou, "xx...", 1.0),
        (metrics.iou, "..x..", 0.0),
        (metrics.wrong_reason, ".xxxx", 1 / 4),
        (metrics.wrong_reason, "....x", 0.0),
        (metrics.energy_pointing_game, ".x.x.", 0.4),
        (metrics.energy_pointing_game, "....x", 0.0),
        (metrics.pointing_game, "x....", 1.0),
        (metrics.pointing_game, ".xxxx", 0.0),
        (metrics.relevance_rank_accuracy, "x.xx.", 2 / 3),
        (metrics.relevance_rank_accuracy, "....x", 0.0),
        (metrics.relevance_rank_accuracy, "xxxxx", 1.0),
    ],
)
def test_overlap_by_hand(function: Callable[..., Tensor], region: str, value: float) -> None:
    assert function(HAND, mask(region)).tolist() == pytest.approx([value])


@pytest.mark.parametrize(
    ("threshold", "values"), [(0, [2 / 4, 2 / 2, 2 / 4, 2 / 2]), (0.8, [1, 1 / 2, 1 / 2, 1 / 2])]
)
def test_threshold_is_a_fraction_of_the_maximum(threshold: float, values: list[float]) -> None:
    functions = (
        metrics.activation_precision, metrics.activation_recall, metrics.iou, metrics.wrong_reason
    )  # fmt: skip
    found = [function(HAND, mask("x..x."), threshold=threshold).item() for function in functions]
    assert found == pytest.approx(values)


def test_distance_kind_by_hand() -> None:
    cam = maps([2, 1, 1], [0, 0, 3], [5, 0, 0])
    distance = maps([0, 0.2, 0.4], [0, 0.2, 0.4], [0, 0.2, 0.4])
    assert metrics.attribution_distance(cam, distance).tolist() == pytest.approx([0.15, 0.4, 0])
    assert metrics.distance_focus(cam, distance).tolist() == pytest.approx([0.625, 0, 1])


def test_distance_focus_of_attribution_all_at_the_farthest_cells_is_not_below_0() -> None:
    cam = torch.rand(500, 3, 4, generator=torch.Generator().manual_seed(0))
    distance = torch.full((500, 3, 4), 0.7)
    cam[:, 0, 0] = distance[:, 0, 0] = 0
    found = metrics.distance_focus(cam, distance)  # rounding alone would make some -2e-7
    assert found.min() >= 0
    assert found.max() < 1e-6


def test_distance_sees_what_overlap_does_not() -> None:
    near, far = maps([0, 1, 0, 0]), maps([0, 0, 0, 1])
    region, distance = mask("x..."), maps([0, 0.25, 0.5, 0.75])
    for name, metric in OVERLAP.items():
        assert torch.equal(metric.function(near, region), metric.function(far, region)), name
    assert metrics.distance_focus(near, distance) > metrics.distance_focus(far, distance)


def test_behaviour_by_hand() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, 3.0, 0.0], [0.0, 0.0, 1.0]])
    assert metrics.accuracy(logits, torch.tensor([1, 1, 2])).tolist() == [1, 0, 1]  # ties
    assert metrics.decoy_flip_rate(logits, logits.flip(0)).tolist() == [1, 0, 1]
    assert metrics.decoy_flip_rate(logits, 2 * logits + 1).tolist() == [0, 0, 0]
    assert metrics.accuracy(logits.double(), torch.tensor([1, 0, 0])).dtype == torch.float32


@pytest.mark.parametrize("name", METRICS)
def test_a_dead_cam_and_an_empty_mask_are_undefined_and_nothing_else_is(name: str) -> None:
    found = call(name, random_inputs())
    undefined = set(found.isnan().nonzero()[:, 0].tolist())
    expected = {"overlap": {0, 1}, "distance": {0, 1}, "behaviour": set(), "health": set()}
    full_object = {2} if name == "distance_focus" else set()
    assert undefined == expected[METRICS[name].kind] | full_object
    assert found.shape == (40,)
    assert found.is_floating_point()


def test_dead_cam_is_the_rate_that_the_nans_are_about() -> None:
    assert metrics.dead_cam(maps([0, 0], [0, 1e-30], [-0.0, 0])).tolist() == [1, 0, 1]


@pytest.mark.parametrize("name", METRICS)
def test_a_batch_gives_what_its_images_give_one_by_one(name: str) -> None:
    inputs = random_inputs(seed=1)
    singles = [call(name, {k: v[i : i + 1] for k, v in inputs.items()}) for i in range(40)]
    assert torch.equal(call(name, inputs).nan_to_num(-1), torch.cat(singles).nan_to_num(-1))
    assert call(name, {k: v[:0] for k, v in inputs.items()}).shape == (0,)


@pytest.mark.parametrize("name", METRICS)
def test_bounds_and_direction(name: str) -> None:
    found = call(name, random_inputs(300, seed=2))
    found = found[~found.isnan()]
    assert found.min() >= 0
    assert found.max() <= 1
    good = {
        "cam": maps([9, 0, 0]), "object_mask": mask("x.."), "decoy_mask": mask("..x"),
        "distance": maps([0, 0.3, 0.6]), "labels": torch.tensor([0]),
        "logits": torch.tensor([[1.0, 0.0]]), "swapped_logits": torch.tensor([[1.0, 0.0]]),
    }  # fmt: skip
    bad = {
        "cam": maps([0, 0, 0]) if name == "dead_cam" else maps([0, 0, 9]),
        "labels": torch.tensor([1]), "swapped_logits": torch.tensor([[0.0, 1.0]]),
    }  # fmt: skip
    gain = call(name, good) - call(name, good | bad)
    assert (gain.item() > 0) == METRICS[name].higher_is_better


@pytest.mark.parametrize("name", OF_CAM)
@pytest.mark.parametrize("scale", [1e-30, 1e-3, 7.0, 1e37])
def test_the_scale_of_the_cam_does_not_matter(name: str, scale: float) -> None:
    inputs = random_inputs()
    scaled = inputs | {"cam": inputs["cam"] * scale}
    assert torch.allclose(call(name, scaled), call(name, inputs), equal_nan=True)


@pytest.mark.parametrize("name", OF_CAM)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(name: str, dtype: torch.dtype) -> None:
    inputs = random_inputs()
    cast = inputs | {"cam": inputs["cam"].to(dtype)}
    assert torch.allclose(call(name, cast).float(), call(name, inputs), equal_nan=True)


@pytest.mark.parametrize("name", METRICS)
def test_arguments_are_left_as_they_are(name: str) -> None:
    inputs = random_inputs()
    before = {argument: value.clone() for argument, value in inputs.items()}
    call(name, inputs)
    assert all(torch.equal(inputs[k].nan_to_num(-1), v.nan_to_num(-1)) for k, v in before.items())


def test_pointing_game_counts_ties_by_the_share_that_hits() -> None:
    cam = maps([3, 3, 3, 1])
    assert metrics.pointing_game(cam, mask("x..x")).item() == pytest.approx(1 / 3)
    assert metrics.pointing_game(cam, mask("xxx.")).item() == 1


@pytest.mark.parametrize(
    ("tolerance", "hits"),
    [
        (0, "00000"),
        (0.99, "00000"),
        (1, "10000"),
        (1.42, "11000"),
        (2, "11100"),
        (2.83, "11110"),
        (1e9, "11111"),
    ],
)
def test_pointing_game_tolerance_is_a_euclidean_distance(tolerance: float, hits: str) -> None:
    object_mask = torch.zeros(5, 3, 7, dtype=torch.bool)
    object_mask[:, 0, 0] = True
    cam = torch.zeros(5, 3, 7)
    cam[0, 0, 1] = cam[1, 1, 1] = cam[2, 0, 2] = cam[3, 2, 2] = cam[4, 2, 6] = 1
    found = metrics.pointing_game(cam, object_mask, tolerance=tolerance)
    assert found.tolist() == [float(hit) for hit in hits]


@pytest.mark.parametrize("values", [(0, 0, 1, 2), (1, 1, 1, 1), (0, 2, 2, 2), (3, 1, 1, 0)])
@pytest.mark.parametrize("region", ["x...", ".x.x", "xxx.", "..xx"])
def test_rank_accuracy_with_ties_is_the_mean_over_all_orders(
    values: tuple[int, ...], region: str
) -> None:
    inside = [cell == "x" for cell in region]
    scores = []
    for order in itertools.permutations(range(4)):
        strongest = sorted(order, key=lambda cell: -values[cell])[: sum(inside)]
        scores.append(sum(inside[cell] for cell in strongest) / sum(inside))
    found = metrics.relevance_rank_accuracy(maps(list(values)), mask(region)).item()
    assert found == pytest.approx(np.mean(scores))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("RelevanceMassAccuracy", "energy_pointing_game"),
        ("RelevanceRankAccuracy", "relevance_rank_accuracy"),
        ("PointingGame", "pointing_game"),
    ],
)
def test_quantus_agrees_where_it_is_defined(theirs: str, ours: str) -> None:
    quantus = pytest.importorskip("quantus", exc_type=ImportError)
    inputs = random_inputs(64, shape=(7, 7), seed=3)
    # Without ties, which Quantus breaks by position, and without its empty mask scored as a hit.
    cam = torch.rand(62, 7, 7, generator=torch.Generator().manual_seed(4))
    object_mask = inputs["object_mask"][2:]
    oracle = getattr(quantus, theirs)(normalise=False, disable_warnings=True)
    expected = oracle(
        model=None,
        x_batch=np.zeros((62, 1, 7, 7)),
        y_batch=np.zeros(62, dtype=int),
        a_batch=cam[:, None].numpy(),
        s_batch=object_mask[:, None].numpy(),
    )
    found = METRICS[ours].function(cam, object_mask)
    assert found.numpy() == pytest.approx(np.array(expected, dtype=float), abs=1e-6)
    assert len(set(expected)) > 1


@pytest.mark.parametrize("name", OF_CAM)
@pytest.mark.parametrize(
    ("value", "shown"), [(nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf"), (-0.5, "-0.5")]
)
def test_a_bad_cam_is_named_by_its_first_sample(name: str, value: float, shown: str) -> None:
    inputs = random_inputs()
    inputs["cam"][7, 2, 1] = inputs["cam"][9, 0, 0] = value
    message = f"^cam must be at least 0 and finite, got {shown} in sample 7$"
    with pytest.raises(ValueError, match=message):
        call(name, inputs)


@pytest.mark.parametrize("name", [name for name in METRICS if len(METRICS[name].needs) > 1])
def test_shapes_that_do_not_fit_are_rejected(name: str) -> None:
    inputs = random_inputs()
    second = METRICS[name].needs[1]
    for wrong in (inputs[second][:1], inputs[second][..., :1], inputs[second][None]):
        if wrong.shape != inputs[second].shape:
            kind = "boolean" if second.endswith("mask") else "numeric"
            rule = rf"^{second} must be ({kind} of shape \(40,.*\)|\(N, C\)), got .*\(.*\)$"
            with pytest.raises(ValueError, match=rule):
                call(name, inputs | {second: wrong})


@pytest.mark.parametrize("name", OF_CAM)
@pytest.mark.parametrize(
    "cam",
    [torch.ones(2, 3), torch.ones(2, 1, 3, 3), torch.ones(2, 0, 3), torch.ones(2, 3, 3).int()],
)
def test_a_cam_of_the_wrong_kind_is_rejected(name: str, cam: Tensor) -> None:
    with pytest.raises(ValueError, match=r"^cam must be floating \(N, h, w\), got torch\."):
        call(name, random_inputs() | {"cam": cam})


one = maps([1, 2])
scores = torch.tensor([[1.0, 2.0], [0.0, 1.0]])


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: metrics.iou(one, one),
         r"object_mask must be boolean of shape \(1, 1, 2\), got torch.float32 \(1, 1, 2\)"),
        (lambda: metrics.wrong_reason(one, one), "decoy_mask must be boolean of shape"),
        (lambda: metrics.distance_focus(one, mask("x.")), "distance must be numeric of shape"),
        (lambda: metrics.attribution_distance(one, maps([0, -1])),
         "distance must be at least 0 and finite, got -1 in sample 0"),
        (lambda: metrics.distance_focus(one, maps([0, math.inf])), "finite, got inf in sample 0"),
        (lambda: metrics.iou(one, mask("x."), threshold=1),
         r"threshold must be in \[0, 1\), a fraction of the maximum, got 1"),
        (lambda: metrics.wrong_reason(one, mask("x."), threshold=-0.1), "threshold must be in"),
        (lambda: metrics.pointing_game(one, mask("x."), tolerance=-1),
         "tolerance must be at least 0 and finite, got -1"),
        (lambda: metrics.accuracy(scores, torch.tensor([0, 2])),
         r"labels must be whole numbers in \[0, 2\), got 2 in sample 1"),
        (lambda: metrics.accuracy(scores, torch.tensor([0, -1])), "got -1 in sample 1"),
        (lambda: metrics.accuracy(scores, torch.tensor([0.5, 0])), "got 0.5 in sample 0"),
        (lambda: metrics.accuracy(scores[0], torch.tensor([0])), r"logits must be \(N, C\), got"),
        (lambda: metrics.accuracy(scores * nan, torch.tensor([0, 1])),
         "logits must be finite, got nan in sample 0"),
        (lambda: metrics.decoy_flip_rate(scores, scores.log()),
         "swapped_logits must be finite, got -inf in sample 1"),
    ],
)  # fmt: skip
def test_other_bad_input(attempt: Callable[[], Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attempt()


def test_the_table_names_every_metric_of_the_design() -> None:
    assert set(OVERLAP) == {
        "activation_precision", "activation_recall", "iou", "wrong_reason", "energy_pointing_game",
        "pointing_game", "relevance_rank_accuracy",
    }  # fmt: skip
    kinds = {name: metric.kind for name, metric in METRICS.items() if name not in OVERLAP}
    assert kinds == {
        "attribution_distance": "distance", "distance_focus": "distance", "dead_cam": "health",
        "accuracy": "behaviour", "decoy_flip_rate": "behaviour",
    }  # fmt: skip
    for name, metric in METRICS.items():
        assert name == metric.function.__name__
        assert metric.summary.endswith(".")
