"""Counterexamples: what is added to a batch, and that a step is taken on all of it."""

from __future__ import annotations

from dataclasses import fields

import torch
import toys

from xblcore.methods import METHODS, Annotations
from xblcore.methods.base import Batch
from xblcore.methods.ce_augment import counterexamples
from xblcore.train import forward


def test_a_counterexample_is_its_image_with_noise_for_a_decoy():
    data = toys.shortcut(6, seed=0)
    data.annotations.decoy_pixels[[1, 4]] = False  # not annotated: no copy
    copied = [0, 2, 3, 5]
    before = Batch(data.images, data.labels, data.annotations)
    images, labels, marked = counterexamples(before, toys.seeded(1))
    assert torch.equal(images[:6], data.images)
    assert labels.tolist() == [*data.labels.tolist(), *data.labels[copied].tolist()]
    for name in (f.name for f in fields(Annotations)):
        whole = getattr(data.annotations, name)
        expected = torch.cat((whole, whole[copied]))
        assert torch.equal(getattr(marked, name), expected), name
    inside = data.annotations.decoy_pixels[copied][:, None]
    assert torch.equal(images[6:][~inside], data.images[copied][~inside])
    noise = images[6:][inside]
    assert (noise >= 0).all() and (noise < 1).all() and len(noise.unique()) == len(noise)
    again = [counterexamples(before, toys.seeded(seed)).images for seed in (1, 2)]
    assert torch.equal(images, again[0]) and not torch.equal(images, again[1])


def test_a_step_on_counterexamples_is_that_of_the_images_and_their_copies():
    model, data = toys.small_net(), toys.shortcut(6, seed=0)
    index = torch.tensor([3, 0])
    step = forward(model, data, index, METHODS["ce_augment"], "features", toys.seeded(2))
    assert torch.equal(step.images[:2], data.images[index])
    assert step.labels.tolist() == data.labels[index].tolist() * 2
    torch.testing.assert_close(step.logits, model(step.images))
    assert not torch.equal(step.images[:2], step.images[2:])
