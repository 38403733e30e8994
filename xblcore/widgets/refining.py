"""Continue training a model with what a person marked on some images, and show what it did."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator
from dataclasses import fields

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from xblcore.cam import CamMethod
from xblcore.methods import METHODS, Annotations, Method
from xblcore.train import EpochLog, OnEpoch, TrainConfig, TrainingSet, fit
from xblcore.widgets.explained import looked_at, spatial_layer
from xblcore.widgets.marked import MarkedImages
from xblcore.widgets.refined import Refined


def refine(
    model: nn.Module,
    annotations: MarkedImages,
    method: str = "xbl_d",
    *,
    weight: float | None = None,
    epochs: int = 10,
    layer: str | None = None,
    learning_rate: float = 0.001,
    batch_size: int = 32,
    ramp_epochs: float = 2.0,
    marked_share: float = 0.5,
    margin: int = 1,
    cam_method: CamMethod = "hires_cam",
    seed: int = 0,
    on_epoch: OnEpoch | None = None,
    progress: bool = True,
) -> Refined:
    """Train a copy of ``model`` on, with an explanation loss on the marked images.

    All images teach the classes; those without a mark add nothing to the explanation loss. Marked
    images are shown several times an epoch, so that a few among many are met often enough.

    Args:
        model: maps images ``(N, C, H, W)`` in [0, 1] to logits; it is left as it is. If it expects
            normalised images, put the normalisation before it with ``nn.Sequential``.
        annotations: images, classes and marks, see :meth:`MarkedImages.of`.
        method: a name in :data:`xblcore.methods.METHODS`; ``xbl_d`` takes either kind of mark.
        weight: of the explanation loss; None: the method's own.
        epochs: passes over the images.
        layer: dotted name of the layer to explain; None: the model's ``cam_layer`` if it names
            one, else the last layer with a spatial output.
        learning_rate: of Adam.
        batch_size: images a step.
        ramp_epochs: the weight rises from 0 over that many epochs.
        marked_share: of the images shown in an epoch, at least this share is marked, by repeating
            those that are; in [0, 1), where 0 repeats none.
        margin: cells of the CAM around what is wrong that are not object either, where only that
            was marked.
        cam_method: of the maps before and after.
        seed: of the order of images and of everything random in the model.
        on_epoch: called with each epoch's log.
        progress: show a progress bar.

    Returns:
        The :class:`~xblcore.widgets.refined.Refined` model; a notebook shows it before and after.

    Raises:
        ValueError: unknown method or layer, nothing marked, nothing of the kind that the method
            needs, a number outside its range, a loss that does not stay finite.

    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2))
    >>> wrong = torch.zeros(4, 4, 4, dtype=torch.bool)
    >>> wrong[0, 0, 0] = True  # one pixel of the first image
    >>> marked = MarkedImages(("a", "b", "c", "d"), torch.rand(4, 1, 4, 4),
    ...     torch.tensor([0, 1, 0, 1]), torch.zeros_like(wrong).numpy(), wrong.numpy())
    >>> done = refine(model, marked, epochs=2, margin=0, progress=False)
    >>> done.names, done.after.shape, len(done.log)
    (('a',), torch.Size([1, 2, 2]), 2)
    """
    chosen = _checked(method, annotations)
    if not 0 <= marked_share < 1:
        raise ValueError(f"marked_share must be in [0, 1), got {marked_share}")
    config = TrainConfig(
        weight=chosen.default_weight if weight is None else weight,
        ramp_epochs=ramp_epochs,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
    )
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    images, labels = annotations.images.to(device), annotations.labels.to(device).long()
    name, grid = spatial_layer(model, images[:1], layer)
    marked = annotations.marked
    marks = annotations.on_grid(grid, margin=margin)
    shown = repeated(len(images), marked, marked_share)
    at_hand = Annotations(*(getattr(marks, f.name).to(device) for f in fields(Annotations)))
    data = TrainingSet(
        images[shown.to(device)], labels[shown.to(device)], at_hand.take(shown.to(device))
    )
    these = images[marked.to(device)], labels[marked.to(device)]
    before, predicted_before = looked_at(model, *these, name, cam_method)
    refined = copy.deepcopy(model)
    for module in refined.modules():
        if getattr(module, "inplace", False) is True:  # would overwrite what is explained
            module.inplace = False  # type: ignore[assignment]
    with (
        tqdm(total=epochs, unit="epoch", desc="refine", disable=not progress) as bar,
        _random_as(seed, device),
    ):

        def each_epoch(log: EpochLog) -> None:
            bar.set_postfix(accuracy=f"{log.accuracy:.3f}", penalty=f"{log.penalty:.3g}")
            bar.update()
            if on_epoch:
                on_epoch(log)

        log = fit(refined, data, chosen, config, layer=name, on_epoch=each_epoch)
    after, predicted_after = looked_at(refined, *these, name, cam_method)
    few = annotations.take(marked)
    return Refined(refined.eval(), log, name, few, before, after, predicted_before, predicted_after)


def repeated(count: int, marked: Tensor, share: float) -> Tensor:
    """Positions of all images, the marked ones as often as makes them ``share`` of the whole.

    Args:
        count: of all images.
        marked: positions of those that are.
        share: in [0, 1).

    >>> repeated(8, torch.tensor([5, 7]), 0.5).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 5, 7, 5, 7]
    """
    others = count - len(marked)
    wanted = share * others / ((1 - share) * max(1, len(marked)))
    times = max(1, math.ceil(wanted - 1e-9))  # the rounding of a whole number adds no round
    return torch.cat([torch.arange(count), marked.repeat(times - 1)])


def _checked(method: str, annotations: MarkedImages) -> Method:
    names = [name for name in METHODS if name != "oracle"]  # which needs images without the decoy
    if method not in names:
        raise ValueError(f"method must be one of {', '.join(names)}, got {method!r}")
    if not len(annotations.marked):
        raise ValueError(
            "annotations must have at least one marked image, got none; mark what is wrong, or the "
            "object, on some"
        )
    needs = METHODS[method].needs
    if "decoy_mask" in needs and not annotations.decoy_mask.any():
        raise ValueError(
            f"annotations must have wrong regions marked for {method}, got none; mark some, or use "
            "method='xbl_d'"
        )
    return METHODS[method]


@contextlib.contextmanager
def _random_as(seed: int, device: torch.device) -> Iterator[None]:
    """What the model itself draws, for dropout say, comes from the seed; then all is as before."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        yield
