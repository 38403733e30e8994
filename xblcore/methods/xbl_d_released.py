"""The arithmetic of the released scripts."""

from __future__ import annotations

from torch import Tensor

from xblcore import released
from xblcore.methods.base import Method, Step


def penalty(step: Step) -> Tensor:
    """The released ``d``, which has no gradient."""
    marked = step.annotations
    return released.xbl_d_released(
        step.features, step.logits, step.labels, marked.decoy_mask, marked.object_mask
    )


METHOD = Method(
    name="xbl_d_released",
    summary="The arithmetic of the released scripts; its penalty has no gradient.",
    source="Hagos et al. 2023, released code",
    penalty=penalty,
    needs=frozenset({"object_mask", "decoy_mask", "cam"}),
    default_weight=released.DISTANCE_WEIGHT,
    ce_weight=released.CE_WEIGHT,
    fixed_weight=True,
    has_gradient=False,
)
