"""Deceiving a map on purpose, and the evidence that tells a deceived map from a cured model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from torch.nn.functional import adaptive_avg_pool2d

from xblcore import explainers, metrics, models
from xblcore.evaluate import Marked, attributions, predict
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


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What a reader of a paper may know of a model.

    Attributes:
        grad_cam_wrong: mean share of the decoy that the Grad-CAM activates (wrong reason), over
            the images where there is a Grad-CAM.
        dead: share of the images without a Grad-CAM.
        held_out_wrong: the same as ``grad_cam_wrong`` by an explainer that was not trained
            against.
        flip_rate: share of the answers that change with the decoy; None: nobody measured it.
    """

    grad_cam_wrong: float
    dead: float
    held_out_wrong: float
    flip_rate: float | None


def evidence(
    model: models.SplitNet, data: course.Data, *, held_out: str = "occlusion", count: int = 100
) -> Evidence:
    """Measure a network on the first ``count`` test images with a lying decoy.

    Args:
        model: the network.
        data: of the workshop.
        held_out: name of the explainer that it was not trained against.
        count: of the images to explain; its answers are counted on all.
    """
    few = data.splits["test_decoy"].first(count)
    maps = by_explainer(model, few, ("grad_cam", held_out))
    wrong = {name: metrics.wrong_reason(cam, few.decoy_mask) for name, cam in maps.items()}
    return Evidence(
        wrong["grad_cam"].nanmean().item(),
        wrong["grad_cam"].isnan().float().mean().item(),
        wrong[held_out].nanmean().item(),
        course.scores(model, data).flip_rate,
    )


def by_explainer(
    model: models.SplitNet, marked: Marked, names: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Attributions ``(N, h, w)`` of the predicted classes on the annotations' grid.

    Args:
        model: the network.
        marked: the images.
        names: of explainers, keys of :data:`xblcore.explainers.EXPLAINERS`.
    """
    height, width = marked.object_mask.shape[1:]
    fine = {
        name: attributions(model, marked.images, explainers.get(name), layer="features")
        for name in names
    }
    return {name: adaptive_avg_pool2d(cam, (height, width)) for name, cam in fine.items()}


def without_flips(evidence: Evidence) -> Evidence:
    """The same evidence, had nobody measured the flip rate."""
    return dataclasses.replace(evidence, flip_rate=None)


def maps_of(
    networks: Mapping[str, models.SplitNet], marked: Marked, explainer: str
) -> dict[str, torch.Tensor]:
    """Attributions ``(N, h, w)`` of each network by one explainer, see :func:`by_explainer`."""
    return {
        name: by_explainer(network, marked, (explainer,))[explainer]
        for name, network in networks.items()
    }


def mean_focus(cams: Mapping[str, torch.Tensor], marked: Marked) -> dict[str, float]:
    """Mean distance focus of each network's maps, over the images where it is defined."""
    return {
        name: metrics.distance_focus(cam, marked.distance).nanmean().item()
        for name, cam in cams.items()
    }


def mean_wrong(cams: Mapping[str, torch.Tensor], marked: Marked) -> dict[str, float]:
    """Mean share of the decoy that each network's maps activate, where it is defined."""
    return {
        name: metrics.wrong_reason(cam, marked.decoy_mask).nanmean().item()
        for name, cam in cams.items()
    }


def wrong_by_explainer(
    networks: Mapping[str, models.SplitNet], marked: Marked, explainer_names: Sequence[str]
) -> dict[str, dict[str, float]]:
    """:func:`mean_wrong` by each of several explainers, by name of the explainer and network."""
    return {name: mean_wrong(maps_of(networks, marked, name), marked) for name in explainer_names}
