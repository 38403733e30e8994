"""The sample of the notebook for one's own data, made from tiny raw data."""

from __future__ import annotations

import numpy as np
import torch

from xblcore.data.folder import mask_path, read_folder, read_mask
from xblcore.lab import sample
from xblcore.lab.annotator import Annotator


def test_sample_network_and_simulated_marks(project_folder, monkeypatch):
    monkeypatch.setattr(sample, "EPOCHS", 2)
    given = sample.make_sample(count=200, tests=50)
    assert given.images.is_relative_to(project_folder / "build")
    images, tests = read_folder(given.images), read_folder(given.test)
    assert len(images.names) == 200 and len(tests.names) == 50 and len(images.classes) == 10
    true = read_folder(given.images, annotations=given.truth).examples
    assert (true.decoy_mask.sum((1, 2)) == 16).all() and true.object_mask.any((1, 2)).all()
    patches = [
        image[0][mask].unique().item()
        for image, mask in zip(images.examples.images, true.decoy_mask, strict=True)
    ]
    assert len({*zip(patches, images.examples.labels.tolist(), strict=True)}) == 10

    weights = sample.trained_network(given).state_dict()
    monkeypatch.setattr(sample, "fit", None)  # the second network comes from the cache
    for name, value in sample.trained_network(given).state_dict().items():
        assert torch.equal(value, weights[name])

    annotator = Annotator(given.images)
    sample.simulate_marks(annotator, given, count=5)
    assert len(annotator.marked) == 5
    for name in annotator.marked:
        patch = read_mask(mask_path(given.truth, name, "wrong"), (28, 28))
        drawn = annotator.mask(name, "wrong")
        assert drawn[patch].all() and 16 < drawn.sum() < 64
    sample.simulate_marks(annotator, given, count=9)  # four more
    sample.simulate_marks(annotator, given, count=7)
    again = sample.make_sample(count=200, tests=50)
    assert again == given and len(Annotator(given.images).marked) == 9
    assert np.sum(read_folder(given.images).examples.decoy_mask.any((1, 2)).numpy()) == 9
