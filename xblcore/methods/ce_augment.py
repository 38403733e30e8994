"""Counterexamples: what is wrong is changed in the data, not penalised."""

from __future__ import annotations

import torch

from xblcore.methods.base import Batch, Method


def counterexamples(batch: Batch, generator: torch.Generator) -> Batch:
    """The batch, and of each annotated image a copy whose decoy is noise, uniform in [0, 1].

    New noise at each step. The cross-entropy is then the mean over images and copies: there is no
    weight. A step costs as much as one of twice the batch size, less where fewer are annotated.

    Args:
        batch: ``N`` images.
        generator: of the noise, on the images' device.

    Returns:
        ``N`` to ``2 N`` images, the originals first. A copy keeps its image's annotations.
    """
    images, labels, marked = batch
    (copied,) = marked.decoy_pixels.flatten(1).any(1).nonzero(as_tuple=True)
    originals = images[copied]
    noise = torch.rand(
        originals.shape, generator=generator, dtype=images.dtype, device=images.device
    )
    copies = torch.where(marked.decoy_pixels[copied, None], noise, originals)
    index = torch.cat((torch.arange(len(labels), device=labels.device), copied))
    return Batch(torch.cat((images, copies)), labels[index], marked.take(index))


METHOD = Method(
    name="ce_augment",
    summary="Cross-entropy on the images and on copies with noise for a decoy; when nothing but "
    "the data may be changed.",
    source="Teso and Kersting 2019",
    augment=counterexamples,
    needs=frozenset({"decoy_mask"}),
)
