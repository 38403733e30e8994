"""Explanation losses: by hand, in plain loops and in edge cases; see also test_methods."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from tests.core import toys
from xblcore import contextual, losses

T, F = True, False
INF, NAN = math.inf, math.nan

# For losses of pixels or logits, the CAM stands for a gradient with one channel, or for logits.
LOSSES = toys.CAM_LOSSES | {
    "rrr": lambda cam, *args, **options: losses.rrr(cam[:, None], *args, **options),
    "rbr": lambda cam, *args, **options: losses.rbr(
        cam[:, None], cam[:, None].cos(), *args, **options),
    "cdep": lambda cam, *args, **options: contextual.cdep(
        cam.flatten(1), 1 - cam.flatten(1), *args, **options),
}  # fmt: skip
IN_LOOPS = tuple(LOSSES)  # those of the rivals are in test_rivals
LOSSES |= {
    "pgd_ex": lambda cam, *args, **options: losses.pgd_ex(
        cam.flatten(1), torch.zeros(len(cam)).long(), *args, **options),
    "tap": lambda cam, *args, **options: losses.tap([cam[:, None]], *args, **options),
    "actdiff": lambda cam, *args, **options: losses.actdiff([cam], [cam.cos()], *args, **options),
    "res_g": lambda cam, mask, **options: losses.res_g(
        cam, mask, ~mask & mask.any(2, True).any(1, True), threshold=0.4, **options),
}  # fmt: skip


def call(loss: str, cam: Tensor, mask: Tensor, **options) -> Tensor:
    return LOSSES[loss](cam, toys.annotation(loss, mask), **options)


def batch(count: int = 6) -> tuple[Tensor, Tensor]:
    """CAMs, one of them all zero, and masks, two of them empty and one full."""
    cam = torch.randn(count, 3, 4, generator=toys.seeded(), dtype=torch.float64).relu()
    cam[1] = 0
    mask = toys.random_masks(count, 3, 4)
    mask[2], mask[4], mask[5] = False, False, True
    return cam, mask


@pytest.mark.parametrize(
    ("loss", "marked", "expected", "all_zero"),
    [
        # the CAM is [4, 2, 1], hence P = [4, 2, 1] / 7 and B = [1, 1/2, 1/4]; or all zero
        ("xbl_d mass", [T, F, F], (2 * 1 + 1 * 2) / math.sqrt(10), 0),  # the diagonal of 1 x 3
        ("xbl_d share", [T, F, F], (2 * 1 + 1 * 2) / 7 / math.sqrt(10), 0),
        ("xbl_d gated", [T, F, F], 1 * 2 / math.sqrt(10), 0),  # the decoy is the last cell
        ("overlap", [F, T, T], 2 + 1, 0),
        ("rrr_g", [F, T, T], 1 / 4 + 1 / 16, 0),
        ("energy", [T, F, F], 3 / 7, 1),
        ("hint", [T, T, F], (0 + 1 / 4 + 1 / 16) / 3, 2 / 3),
        ("l1", [T, T, F], (0 + 1 / 2 + 1 / 4) / 3, 2 / 3),
        ("ppce", [T, T, F], math.log(2) / 2, 100),
    ],
)
def test_values_by_hand(loss: str, marked: list, expected: float, all_zero: float) -> None:
    """The same for the image alone and next to one that is not annotated."""
    mask, function = torch.tensor([[marked]]), toys.CAM_LOSSES[loss]
    for cells, value in (([4, 2, 1], expected), ([0, 0, 0], all_zero)):
        cam = torch.tensor([[cells]], dtype=torch.float64)
        assert function(cam, toys.annotation(loss, mask)).item() == pytest.approx(value, abs=1e-7)
        marks = toys.annotation(loss, torch.cat((mask, mask & False)))
        assert function(cam.repeat(2, 1, 1), marks).item() == pytest.approx(value, abs=1e-7)


def in_loops(loss: str, cam: Tensor, mask: Tensor) -> list[float]:
    """Image by image and cell by cell; 0 without annotation."""
    values = []
    _, height, width = cam.shape
    grid = list(itertools.product(range(height), range(width)))
    for m, r in zip(cam.tolist(), mask.tolist(), strict=True):
        total = sum(m[i][j] for i, j in grid) or 1
        peak = max(m[i][j] for i, j in grid) or 1
        marked = [(i, j) for i, j in grid if r[i][j]]
        value = 0.0
        for i, j in grid if marked else ():
            p, b = m[i][j] / total, m[i][j] / peak
            d = min(math.hypot(i - u, j - v) for u, v in marked) / math.hypot(height, width)
            log = math.log(b) if b > 0 else -100
            value += {
                "xbl_d mass": m[i][j] * d,
                "xbl_d share": p * d,
                "xbl_d gated": m[i][j] * d * (j == width - 1),
                "overlap": m[i][j] * r[i][j],
                "rrr_g": (b * r[i][j]) ** 2,
                "energy": 1 / len(grid) - p * r[i][j],
                "hint": (b - r[i][j]) ** 2 / len(grid),
                "l1": abs(b - r[i][j]) / len(grid),
                "ppce": -r[i][j] * log / len(marked),
                "rrr": (m[i][j] * r[i][j]) ** 2,
                "rbr": (m[i][j] * math.cos(m[i][j]) * r[i][j]) ** 2,
                "cdep": 1 / (1 + math.exp(1 - 2 * m[i][j])) / len(grid),
            }[loss]
        values.append(value)
    return values


@pytest.mark.parametrize("loss", IN_LOOPS)
def test_values_in_loops(loss: str) -> None:
    cam, mask = batch()
    assert call(loss, cam, mask, reduction="none").tolist() == pytest.approx(
        in_loops(loss, cam, mask), rel=1e-6, abs=1e-12
    )


def test_channels_are_summed_in_rrr_and_rbr() -> None:
    """Two pixels, the second one marked: ``2^2 + (-3)^2``; weighted ``(2 * 5)^2 + (-3 / 2)^2``."""
    gradient = torch.tensor([[[[1.0, 2.0]], [[5.0, -3.0]]]])
    influence = torch.tensor([[[[9.0, 5.0]], [[9.0, 0.5]]]])
    mask = torch.tensor([[[F, T]]])
    assert losses.rrr(gradient, mask).item() == 13
    assert losses.rbr(gradient, influence, mask).item() == 102.25


def test_the_gated_distance_needs_both_annotations() -> None:
    """``P = [.5, .25, .25]``; the second sample has no decoy, the third no distance."""
    cam = torch.tensor([[[4.0, 2.0, 2.0]]]).repeat(3, 1, 1)
    distance = torch.tensor([[[0.0, 0.4, 0.8]], [[0.0, 0.4, 0.8]], [[NAN, NAN, NAN]]])
    decoy = torch.tensor([[[T, F, T]], [[F, F, F]], [[T, F, T]]])
    each = losses.xbl_d_gated(cam, distance, decoy, form="share", reduction="none")
    torch.testing.assert_close(each, torch.tensor([0.2, 0.0, 0.0]))
    assert losses.xbl_d_gated(cam, distance, decoy, form="share").item() == pytest.approx(0.2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_combined_distance(dtype: torch.dtype) -> None:
    """Wrong cells cost at least 0.25, also on the object; unknown distances stay unknown."""
    distance = torch.tensor([[[0.0, 0.0, 0.5, 0.5]], [[NAN] * 4]], dtype=dtype)
    wrong = torch.tensor([[[F, T, T, F]], [[F, F, T, T]]])
    expected = torch.tensor([[[0.0, 0.25, 0.5, 0.5]], [[NAN] * 4]], dtype=dtype)
    found = losses.combined_distance(distance, wrong, wrong=0.25)
    torch.testing.assert_close(found, expected, equal_nan=True)
    found = losses.combined_distance(distance, wrong, wrong=0)
    torch.testing.assert_close(found, distance, equal_nan=True)


@pytest.mark.parametrize("loss", LOSSES)
def test_reductions_average_over_the_annotated_images(loss: str) -> None:
    """So that a weight does not depend on the batch size or on the annotated fraction."""
    cam, mask = batch()
    each = call(loss, cam, mask, reduction="none")
    annotated = mask.flatten(1).any(1)
    assert (each[~annotated] == 0).all()
    torch.testing.assert_close(call(loss, cam, mask, reduction="sum"), each.sum())
    value = each[annotated].mean()
    torch.testing.assert_close(call(loss, cam, mask), value)
    torch.testing.assert_close(call(loss, cam.repeat(3, 1, 1), mask.repeat(3, 1, 1)), value)
    fewer = torch.cat((mask, mask & False))
    torch.testing.assert_close(call(loss, cam.repeat(2, 1, 1), fewer), value)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_without_annotations_has_value_and_gradient_zero(loss: str, reduction: str) -> None:
    signed = torch.randn(3, 2, 4, generator=toys.seeded(), requires_grad=True)
    value = call(loss, signed.relu(), torch.zeros(3, 2, 4, dtype=torch.bool), reduction=reduction)
    assert (value == 0).all()
    value.sum().backward()
    assert (signed.grad == 0).all()


@pytest.mark.parametrize("rectify", [torch.relu, torch.abs])
@pytest.mark.parametrize("loss", toys.CAM_LOSSES)
def test_an_all_zero_map_has_gradient_zero(loss: str, rectify) -> None:
    """Not NaN, and the other images of the batch keep their gradients."""
    signed = torch.randn(2, 3, 4, generator=toys.seeded())
    signed[0] = 0
    signed.requires_grad_()
    call(loss, rectify(signed), toys.random_masks(1, 3, 4).repeat(2, 1, 1)).backward()
    assert (signed.grad[0] == 0).all()
    assert signed.grad[1].isfinite().all()
    assert signed.grad[1].abs().sum() > 0


@pytest.mark.parametrize("loss", toys.CAM_LOSSES)
@pytest.mark.parametrize("scale", [1e-6, 7.0, 1e6])
def test_only_losses_of_mass_depend_on_the_scale_of_the_map(loss: str, scale: float) -> None:
    cam, mask = batch()
    cam[0] += 0.01
    factor = scale if loss in ("xbl_d mass", "xbl_d gated", "overlap") else 1
    torch.testing.assert_close(call(loss, cam * scale, mask), factor * call(loss, cam, mask))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("loss", toys.CAM_LOSSES)
def test_large_and_all_zero_maps_of_any_precision(loss: str, dtype: torch.dtype) -> None:
    """Sums of half precision would overflow at 65,504; the result is that of float64."""
    cam = torch.randint(1, 5, (2, 8, 8), generator=toys.seeded()).double()
    cam = cam * (1e37 if dtype == torch.float32 else 8192)
    cam[1] = 0
    mask = toys.random_masks(2, 8, 8)
    found = call(loss, cam.to(dtype), mask, reduction="none")
    expected = call(loss, cam, mask, reduction="none")
    assert found.dtype == torch.float32
    if loss in ("xbl_d mass", "xbl_d gated", "overlap") and dtype == torch.float32:
        return  # their true value is too large
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-6)
