"""Continue training a model with an explanation loss on the images that a person marked.

From a folder of images and masks (see :mod:`xblcore.data.folder`) to a refined model::

    images = read_folder("photos", size=(224, 224), annotations="masks")
    refined = refine(model, images.examples, classes=images.classes)
    print(refined)  # accuracy on held-out images, and the influence of what was marked
    torch.save(refined.model.state_dict(), "refined.pt")
"""

from __future__ import annotations

import base64
import contextlib
import copy
import functools
import html
import io
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional
from tqdm.auto import tqdm

from xblcore import methods, metrics
from xblcore.cam import ReceptiveField, evaluating
from xblcore.data.folder import masks_of
from xblcore.examples import Examples
from xblcore.methods import Method
from xblcore.module import narrowed_field
from xblcore.plots.images import before_after, share_inside
from xblcore.plots.style import percent
from xblcore.study import explainers
from xblcore.study.evaluate import attributions, predict
from xblcore.study.train import EpochLog, TrainConfig, fit

# A shortcut can be evidence against the other classes, which the logit of the class leaves out.
EXPLAINER = explainers.get("hires_cam_log_prob")


@dataclass(frozen=True, eq=False, repr=False)
class Refined:
    """What :func:`refine` returns, in pairs before and after; a notebook shows picture and text."""

    model: nn.Module  # the refined copy, in eval mode
    log: list[EpochLog]
    layer: str  # the explained layer
    field: ReceptiveField  # marks of wrong regions were widened by its margin
    marked: Examples  # the marked images
    cams: tuple[Tensor, Tensor]  # HiResCAMs (M, h, w) of their predictions
    predictions: tuple[Tensor, Tensor]  # their predicted classes (M,)
    held_out: int  # number of images that were not trained on
    accuracy: tuple[float, float]  # on those; NaN if there are none
    flips: dict[tuple[str, str], tuple[float, float]]  # see flip_rates
    classes: tuple[str, ...] = ()  # names of the classes

    def shares(self) -> dict[str, tuple[float, float]]:
        """Mean share of the attribution on the marked pixels, for each layer with marks.

        On ``wrong``, less is better; on ``object``, more. All-zero maps are left out.
        """
        found: dict[str, tuple[float, float]] = {}
        for layer, mask in masks_of(self.marked).items():
            if (has_marks := mask.flatten(1).any(1)).any():
                before, after = (share_inside(cam[has_marks], mask[has_marks]) for cam in self.cams)
                found[layer] = (before, after)
        return found

    def verdict(self) -> str:
        """State whether fewer predictions depend on what is marked as wrong; empty without such."""
        wrong = [pair for (layer, _), pair in self.flips.items() if layer == "wrong"]
        if not wrong:
            return ""
        before, after = max(wrong)  # of the change that matters more
        if before == 0:
            return ("No prediction depended on the regions marked as wrong: refining cannot have "
                    "helped. Mark another region.")  # fmt: skip
        start = "Fewer" if after < before else "Not fewer"
        return (f"{start} predictions depend on the regions marked as wrong: {percent(before)} "
                f"before, {percent(after)} after.")  # fmt: skip

    def __repr__(self) -> str:
        lines = [verdict] if (verdict := self.verdict()) else []
        lines += [
            f"attribution on regions marked as {layer}: "
            f"{percent(before)} before, {percent(after)} after"
            for layer, (before, after) in self.shares().items()
        ]
        lines += [
            f"predictions that change when the regions marked as {layer} are {change}: "
            f"{percent(before)} before, {percent(after)} after"
            for (layer, change), (before, after) in self.flips.items()
        ]
        if self.held_out:
            before, after = self.accuracy
            lines.append(f"accuracy on {self.held_out} held-out images, which may still have the "
                         f"shortcut: {before:.1%} before, {after:.1%} after")  # fmt: skip
        lines.append(f"{len(self.marked)} marked images, layer {self.layer}; "
                     f"margin of wrong regions in pixels: {self.field.margin}")  # fmt: skip
        return "\n".join(lines)

    def picture(self, *, count: int = 8) -> Figure:
        """Draw marked images, evenly spread over all, with their CAMs before and after."""
        index = torch.linspace(0, len(self.marked) - 1, min(count, len(self.marked))).long()
        few = self.marked.take(index)
        truth, before, after = (
            [self.classes[n] if self.classes else str(n) for n in labels[index].tolist()]
            for labels in (self.marked.labels, *self.predictions)
        )
        return before_after(
            Figure(figsize=(9.5, 4), layout="constrained"),
            few.inputs(), self.cams[0][index], self.cams[1][index], object_mask=few.object_mask,
            decoy_mask=few.decoy_mask, truth=truth, predictions=(before, after),
        )  # fmt: skip

    def _repr_html_(self) -> str:
        content = io.BytesIO()
        self.picture().savefig(content, format="png", dpi=100)
        data = base64.b64encode(content.getvalue()).decode()
        text = html.escape(f"{self}\nThe columns are evenly spread over all marked images.")
        return (
            f'<figure class="xbl-refined" style="margin: 0"><img style="max-width: 100%" alt="CAMs '
            f'before and after refining. {text}" src="data:image/png;base64,{data}">'
            f'<figcaption style="white-space: pre-line">{text}</figcaption></figure>'
        )


def refine(
    model: nn.Module,
    examples: Examples,
    method: str | Method = "xbl_d_plus",
    *,
    weight: float | None = None,
    epochs: int = 5,
    layer: str | None = None,
    margin: int | None = None,
    learning_rate: float = 0.001,
    batch_size: int = 32,
    marked_share: float = 0.5,
    held_out: float = 0.2,
    seed: int = 0,
    classes: Sequence[str] = (),
) -> Refined:
    """Train a copy of ``model`` further, with an explanation loss on the marked images.

    The cross-entropy is taken over all images. Marked ones are repeated, so that a few among many
    are seen often enough. The weight of the explanation loss rises over the first epoch.

    Args:
        model: maps images ``(N, C, H, W)`` in [0, 1] to logits; it is not changed. If it expects
            normalised images, put the normalisation in front of it with ``nn.Sequential``.
        examples: images with the marks of a person, or with the masks of a data set.
        method: a name in :data:`xblcore.methods.METHODS`, or a method of your own.
        weight: of the explanation loss; None: the default of the method.
        epochs: passes over the images.
        layer: dotted name of the explained layer; None: :func:`last_spatial_layer`.
        margin: pixels by which wrong regions are widened; None: see ``module.narrowed_field``.
        learning_rate: of Adam.
        batch_size: images per step; a single image that is left over joins the batch before.
        marked_share: least share of marked images in an epoch, in [0, 1); 0 repeats none.
        held_out: share of the images that is only used to measure the accuracy, in [0, 1). They
            are unmarked ones as far as possible. They still contain the wrong regions.
        seed: of the order of the images and of everything random in the model.
        classes: names of the classes, one for each logit, for the picture.

    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2))
    >>> wrong = torch.zeros(5, 4, 4, dtype=torch.bool)
    >>> wrong[0, 0, 0] = True  # one pixel of the first image
    >>> examples = Examples(torch.rand(5, 1, 4, 4), torch.tensor([0, 1, 0, 1, 0]),
    ...     torch.zeros_like(wrong), wrong)
    >>> refined = refine(model, examples, epochs=2, margin=0)
    >>> refined.cams[1].shape, refined.held_out, len(refined.log)
    (torch.Size([1, 2, 2]), 1, 2)
    """
    chosen = methods.get(method) if isinstance(method, str) else method
    for name, value in (("marked_share", marked_share), ("held_out", held_out)):
        if not 0 <= value < 1:
            raise ValueError(f"{name} must be in [0, 1), got {value}")
    _check_marks(examples, chosen)
    config = TrainConfig(
        weight=chosen.default_weight if weight is None else weight, epochs=epochs,
        batch_size=batch_size, learning_rate=learning_rate, seed=seed, ramp_epochs=1.0,
    )  # fmt: skip
    device = device_of(model)
    examples = examples.to(device)
    class_logits(model, examples.images[:1], classes)
    if len(examples.labels.unique()) == 1:
        warnings.warn("all labels are the same; give images of several classes", stacklevel=2)
    layer = layer or last_spatial_layer(model, examples.take(slice(1)).inputs())
    channels, height, width = examples.images.shape[1:]
    own = examples.take(slice(8)).inputs()
    sees = narrowed_field(model, layer, (channels, height, width), images=own)
    sees = sees if margin is None else replace(sees, margin=margin)
    training, rest = _split(examples, held_out, seed)
    training = training.on_grid(sees.grid, margin=sees.margin)
    marked = training.take(is_marked(training))
    training = training.take(repeated(is_marked(training), marked_share))
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
        if min(batch_size, len(training)) == 1:
            raise ValueError("batch norm must see at least 2 images in a step, got 1; use a larger "
                             "batch_size, or more images")  # fmt: skip
    refined = copy.deepcopy(model)
    for module in refined.modules():
        if hasattr(module, "inplace"):  # would overwrite the explained features
            module.inplace = False  # type: ignore[assignment]
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(gpus), tqdm(total=epochs, desc="refine", unit="epoch") as bar:

        def advance(_log: EpochLog) -> None:
            bar.update()

        torch.manual_seed(seed)  # dropout
        log = fit(refined, training, chosen, config, layer=layer, on_epoch=advance)
    refined.eval()
    pair = (model, refined)
    cams = [attributions(m, marked.images, EXPLAINER, layer=layer).cpu() for m in pair]
    predicted = [predict(m, marked.images).argmax(1).cpu() for m in pair]
    return Refined(
        refined, log, layer, sees, marked.to("cpu"), (cams[0], cams[1]),
        (predicted[0], predicted[1]), len(rest), (accuracy(model, rest), accuracy(refined, rest)),
        flip_rates(model, refined, examples), tuple(classes),
    )  # fmt: skip


def flip_rates(
    before: nn.Module, after: nn.Module, examples: Examples
) -> dict[tuple[str, str], tuple[float, float]]:
    """Share of predictions of two models that change if only the marked region does.

    The keys are a layer and a change, :func:`blanked` or :func:`swapped`; the second needs marked
    images of two classes. For the layer ``wrong``, less is better. All marked images count,
    whether they were trained on or held out.
    """
    rates: dict[tuple[str, str], tuple[float, float]] = {}
    for layer, change, index, images in counterfactuals(examples):
        first, last = (
            metrics.decoy_flip_rate(predict(model, examples.images[index]), predict(model, images))
            .mean().item() for model in (before, after)
        )  # fmt: skip
        rates[layer, change] = (first, last)
    return rates


def counterfactuals(examples: Examples) -> Iterator[tuple[str, str, Tensor, Tensor]]:
    """Change the marked regions: yield layer, change, positions ``(M,)`` and the changed images.

    The changes are :func:`blanked` and, with marked images of two classes, :func:`swapped`.
    """
    for layer, masks in masks_of(examples).items():
        (index,) = masks.flatten(1).any(1).nonzero(as_tuple=True)
        images, masks, labels = examples.images[index], masks[index], examples.labels[index]
        if len(index):
            yield layer, "blanked", index, blanked(images, masks)
        if len(labels.unique()) > 1:
            yield layer, "swapped", index, swapped(images, masks, labels)


def blanked(images: Tensor, masks: Tensor) -> Tensor:
    """Give marked pixels the mean colour of the other pixels of their image, black without any.

    From ``(N, C, H, W)`` and bool ``(N, H, W)``.

    >>> mask = torch.tensor([[[True, False, False]]])
    >>> blanked(torch.tensor([[[[9.0, 1.0, 2.0]]]]), mask)
    tensor([[[[1.5000, 1.0000, 2.0000]]]])
    """
    changed = images.clone()
    for image, mask in zip(changed, masks, strict=True):
        mean = image[:, ~mask].float().mean(1, keepdim=True).nan_to_num()  # (C, 1)
        image[:, mask] = mean.to(image.dtype)
    return changed


def swapped(images: Tensor, masks: Tensor, labels: Tensor) -> Tensor:
    """Replace each marked region by that of the next image of another class, stretched to its box.

    >>> mask = torch.tensor([[[True, False, False]], [[False, True, True]]])
    >>> images = torch.tensor([[[[1, 2, 3]]], [[[4, 5, 6]]]])
    >>> swapped(images, mask, torch.tensor([0, 1])).flatten(1)
    tensor([[5, 2, 3],
            [4, 1, 1]])
    """
    changed, values = images.clone(), labels.tolist()
    for n, mask in enumerate(masks):
        turn = (m % len(values) for m in range(n + 1, n + len(values)))
        other = next(m for m in turn if values[m] != values[n])
        here, there = _box(mask), _box(masks[other])
        # Pixels of the other box that are not marked do not come along.
        region = blanked(images[other, None], ~masks[other, None])[0][:, *there]  # (C, h, w)
        inside, part = mask[here], changed[n][:, *here]  # a view
        region = functional.interpolate(region[None].float(), size=inside.shape)[0]
        part[:] = torch.where(inside, region.to(part.dtype), part)
    return changed


def _box(mask: Tensor) -> tuple[slice, slice]:
    """Return rows and columns of the bounding box of a mask ``(H, W)``."""
    rows, columns = (mask.any(dim).nonzero()[:, 0].tolist() for dim in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def class_logits(model: nn.Module, images: Tensor, classes: Sequence[str] = ()) -> Tensor:
    """Return logits ``(N, classes)``; errors name the variables of ``your_own_data.ipynb``."""
    try:
        logits = predict(model, images)
    except RuntimeError as error:
        shape = tuple(images.shape[1:])
        raise ValueError(f"size and grey (SIZE and GREY in the notebook) must be what the network "
                         f"takes, got {shape} and: {error}") from error  # fmt: skip
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(f"model must have a logit for each class, got {tuple(logits.shape)}; turn "
                         "a single logit z into (0, z)")  # fmt: skip
    if classes and len(classes) != logits.shape[1]:
        raise ValueError(f"classes (CLASSES in the notebook) must be names for all logits "
                         f"{tuple(logits.shape)}, got {len(classes)}: {classes}")  # fmt: skip
    return logits


def spoken(probabilities: Tensor, classes: Sequence[str], label: str) -> str:
    """Describe a prediction, from ``(1, classes)``.

    >>> spoken(torch.tensor([[0.1, 0.9]]), ["cat", "dog"], "cat")
    '✗ dog (90%)'
    """
    confidence, predicted = probabilities[0].max(0)
    name = classes[int(predicted)] if classes else str(int(predicted))
    return f"{'✓ ' if name == label else '✗ ' if label else ''}{name} ({float(confidence):.0%})"


def device_of(model: nn.Module) -> torch.device:
    """Return the device of the first parameter, or the CPU."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def accuracy(model: nn.Module, examples: Examples, *, classes: Sequence[str] = ()) -> float:
    """Return the share of correct predictions; NaN without images."""
    if not len(examples):
        return math.nan
    examples = examples.to(device_of(model))
    logits = class_logits(model, examples.images, classes)
    return metrics.accuracy(logits, examples.labels).mean().item()


def last_spatial_layer(model: nn.Module, images: Tensor) -> str:
    """Return ``model.cam_layer``, else the name of the last layer with a spatial output.

    That is the last one to finish whose output is ``(N, K, h, w)`` with more than one cell.

    Args:
        model: run once on ``images``, in eval mode.
        images: ``(N, C, H, W)``; one is enough.

    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    >>> last_spatial_layer(model, torch.zeros(1, 1, 4, 4))
    '1'
    """
    if isinstance(named := getattr(model, "cam_layer", None), str):
        return named
    found: list[str] = []

    def note(name: str, _module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output[0, 0].numel() > 1:
            found.append(name)

    with contextlib.ExitStack() as hooks, evaluating(model), torch.no_grad():
        for name, module in model.named_modules():
            if name:
                hook = functools.partial(note, name)
                hooks.enter_context(module.register_forward_hook(hook))
        model(images)
    if not found:
        raise ValueError(
            "layer must have an output (N, K, h, w) with several cells, got none; pass layer="
        )
    return found[-1]


def is_marked(examples: Examples) -> Tensor:
    """Return which images have a mark on any layer, bool ``(N,)``."""
    return (examples.object_mask | examples.decoy_mask).flatten(1).any(1)


def repeated(marked: Tensor, share: float) -> Tensor:
    """Return positions of all images, the marked ones so often that they are ``share`` of all.

    >>> repeated(torch.tensor([False] * 4 + [True] * 2), 0.5).tolist()
    [0, 1, 2, 3, 4, 5, 4, 5]
    """
    (index,) = marked.nonzero(as_tuple=True)
    wanted = share * (len(marked) - len(index)) / ((1 - share) * max(1, len(index)))
    times = max(1, math.ceil(wanted - 1e-9))
    return torch.cat([torch.arange(len(marked), device=index.device), index.repeat(times - 1)])


def _split(examples: Examples, share: float, seed: int) -> tuple[Examples, Examples]:
    """Split off the held-out images, unmarked ones first; at least one marked image stays."""
    marked = is_marked(examples).cpu()
    order = torch.randperm(len(marked), generator=torch.Generator().manual_seed(seed))
    order = order[marked[order].long().argsort(stable=True)].to(examples.labels.device)
    count = min(round(share * len(marked)), len(marked) - 1)
    return examples.take(order[count:].sort().values), examples.take(order[:count])


def _check_marks(examples: Examples, method: Method) -> None:
    if method.train_split != "train":
        raise ValueError(f"method must train on the given images, got {method.name!r}")
    if method.refit:
        raise ValueError(f"method must have an explanation loss, got {method.name!r}")
    usable = examples.decoy_mask
    if "object_mask" in method.needs or "decoy_mask" not in method.needs:
        usable = usable | examples.object_mask
    if not usable.any():
        raise ValueError(
            f"examples must have marks that {method.name!r} can use, got none; mark regions as "
            "wrong; 'xbl_d_plus' can also use marks of objects"
        )
