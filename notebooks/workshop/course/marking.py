"""Notebook 7: images that learners mark with a brush, and what the marks are worth.

The images are in ``build/workshop/images``, and the masks that a learner paints in
``build/workshop/marks``, where they stay until that folder is deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from course import task
from course.exercise import Feedback, check_answers
from xblcore import project
from xblcore.data.folder import Layer, read_folder
from xblcore.examples import Examples
from xblcore.study.feedback import mark

COUNT = 25  # images to be marked
AT_HAND = 600  # training images for refinement, these included


def folders(data: task.Data) -> tuple[Path, Path]:
    """Write the images as PNG files; return their folder and that of the marks."""
    home = project.root() / "build" / "workshop"
    (home / "images").mkdir(parents=True, exist_ok=True)
    for n, image in enumerate(data["train"].images[:COUNT, 0].numpy()):
        with project.write_atomic(home / "images" / f"{n:02}.png") as path:
            Image.fromarray(image).save(path)
    return home / "images", home / "marks"


def marks(data: task.Data, whose: str) -> Examples:
    """The first images, with the masks of a person (``mine``) or of a ``simulated`` annotator.

    The simulated annotator outlines each region at a position that is up to 2 pixels off. That is a
    model of a person, not a person. It is also used if nothing is marked as wrong.
    """
    first = data["train"].take(slice(0, COUNT))
    if whose == "mine":
        images, annotations = folders(data)
        annotations.mkdir(parents=True, exist_ok=True)
        painted = read_folder(images, grey=True, annotations=annotations).examples
        if painted.decoy_mask.any():
            return replace(painted, labels=first.labels)
        print(
            "You have not marked anything as wrong yet, so these are the marks of the simulated "
            "annotator.\nTo use your own, paint with the layer Wrong above, then run this cell."
        )
    masks = (first.object_mask.numpy(), first.decoy_mask.numpy())
    drawn = mark("jittered", *masks, np.random.default_rng(0))
    objects, wrong = (torch.from_numpy(mask) for mask in drawn)
    return replace(first, object_mask=objects, decoy_mask=wrong)


def at_hand(data: task.Data, marked: Examples, layer: Layer, only: Sequence[int]) -> Examples:
    """Training images; on those at ``only``, the marks of one layer count."""
    train = data["train"].take(slice(0, AT_HAND))
    masks = {name: torch.zeros_like(train.decoy_mask) for name in ("wrong", "object")}
    given = marked.decoy_mask if layer == "wrong" else marked.object_mask
    masks[layer][list(only)] = given[list(only)]
    return replace(train, object_mask=masks["object"], decoy_mask=masks["wrong"])


def which_mark(choices: Any) -> Feedback:
    """Check which kind of mark fits which situation."""
    expected = {
        "stamp": ("wrong", "You know the fault and can point at it with one stroke per image."),
        "unknown": ("object", "You cannot mark what you do not know. What can you mark?"),
        "outline": ("wrong", "An outline of every branch takes hours; how long takes the sign?"),
        "touching": ("object", "Marks of what is wrong are widened. What would that cost here?"),
    }
    success = "what you know, the time that a mark takes and what is next to it decide."
    return check_answers(choices, expected, success)
