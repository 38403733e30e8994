"""Deceiving a map on purpose: a network that keeps its answers and changes its Grad-CAM."""

from __future__ import annotations

import dataclasses

import torch

from xblcore import models
from xblcore.evaluate import predict
from xblcore.workshop import course


def whitewash(
    data: course.Data,
    fooled: models.SplitNet,
    *,
    weight: float = 100.0,
    epochs: int = 4,
    seed: int = 0,
    progress: bool = True,
) -> course.Trained:
    """Train a copy of a network to answer as it does, with its Grad-CAM on the object.

    Its own answers on the training images are the labels, and the penalty is that of
    ``xbl_d_grad_cam``, so nothing asks it to leave the decoy.
    Source: after Heo, Joo and Moon 2019, "Fooling Neural Network Interpretations via Adversarial
    Model Manipulation" (location fooling).

    Args:
        data: of the workshop.
        fooled: the network; left as it is.
        weight: of the penalty.
        epochs: passes over the training images.
        seed: of the order of the images.
        progress: show a bar.
    """
    train = data.splits["train"]
    own = dataclasses.replace(train, labels=predict(fooled, train.images).argmax(1))
    task = dataclasses.replace(data, splits={**data.splits, "train": own})
    return course.train(
        task, "xbl_d_grad_cam", weight=weight, start=fooled, epochs=epochs, seed=seed,
        progress=progress,
    )  # fmt: skip


def agreement(one: torch.nn.Module, other: torch.nn.Module, data: course.Data) -> float:
    """Share of the test images with a lying decoy on which two networks answer alike."""
    images = data.splits["test_decoy"].images
    same = predict(one, images).argmax(1) == predict(other, images).argmax(1)
    return same.float().mean().item()
