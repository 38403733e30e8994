"""Empirical risk minimisation: the floor."""

from __future__ import annotations

from xblcore.methods.base import Method

METHOD = Method(
    name="erm",
    summary="Cross-entropy alone, on images with the decoy: the floor.",
    source="Vapnik 1998, Statistical Learning Theory",
)
