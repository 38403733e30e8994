"""The model card tells the truth about the networks, and names files that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from xblcore import config, models

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "MODEL_CARD.md").read_text(encoding="utf-8")
SHAPES = {  # channels, classes, size
    "decoy_fashion_mnist": (1, 10, 28),
    "decoy_cifar10": (3, 10, 32),
    "decoy_coco": (3, 2, 64),
}
FILES = sorted({*re.findall(r"`([\w.-]+/[\w./-]*|\w+\.(?:cff|lock|yaml))`", TEXT)})
ROWS = re.findall(r"^\| `(\w+)`.*? \| `(\w+)` \| ([\d,]+) \|", TEXT, re.MULTILINE)


def test_every_task_of_the_study_has_its_row():
    """Networks of a task that a reader adds are the reader's to describe."""
    assert [task for task, _, _ in ROWS] == list(SHAPES)
    assert set(SHAPES) <= set(config.load(ROOT).setup)


@pytest.mark.parametrize(("task", "network", "parameters"), ROWS)
def test_networks_and_their_parameters(task, network, parameters):
    channels, classes, size = SHAPES[task]
    model = models.build(network, channels=channels, classes=classes, size=size, seed=0)
    assert config.load(ROOT).setup[task]["model"] == network
    assert f"{sum(p.numel() for p in model.parameters()):,}" == parameters


@pytest.mark.parametrize("name", FILES)
def test_files_that_it_names_are_there(name):
    assert (ROOT / name).exists()
