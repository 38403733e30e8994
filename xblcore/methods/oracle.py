"""The same images without the decoy: the ceiling."""

from __future__ import annotations

from xblcore.methods.base import Method

METHOD = Method(
    name="oracle",
    summary="Cross-entropy alone, on the same images without the decoy: the ceiling.",
    source="the usual upper bound, e.g. Ross et al. 2017",
    train_split="train_clean",
)
