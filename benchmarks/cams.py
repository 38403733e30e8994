"""Time of a Grad-CAM beside captum, torch-cam, pytorch-grad-cam and a forward pass alone.

The limit is a forward pass without gradient: nothing can explain a prediction in less. The least
that a gradient costs is the next row: the trunk without a graph, the head with one, its gradient at
the features, and no map made of it.

Every explainer is told the class to explain, and the peers have their hooks in place before the
clock starts, while xblcore puts its own on and takes them off again. Of a data set, xblcore
explains the predicted class, which it finds by itself, in the batches of `xblcore.evaluate`; the
peers are told it, and get the same batches. All maps are compared before they are timed.

    python benchmarks/cams.py [--rounds 9] [--out FOLDER]
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import pandas as pd
import torch
from _timing import Bench, Goal, bench, rows_of, same
from torch import Tensor, nn
from torch.nn.functional import interpolate

from xblcore import cam, evaluate, explainers, models

Explain = Callable[[Tensor, Tensor], Tensor | np.ndarray]  # images, target -> maps

LIMIT, OURS = "forward without gradient", "xblcore"
LEAST = "with the head's gradient, no map"
BATCHES = (1, 32, 256)
SIDE = 64  # pixels of the images of ResNet-18, as in Decoy COCO
SLACK = 1.1  # of the time of the limit


def small_cnn() -> tuple[nn.Module, str, tuple[int, ...]]:
    """The study's network on Fashion-MNIST."""
    model = models.build("small_cnn", channels=1, classes=10, size=28, seed=0)
    return model.eval(), "features", (1, 28, 28)


def resnet18() -> tuple[nn.Module, str, tuple[int, ...]]:
    """Torchvision's ResNet-18 with random weights, which cost the same as trained ones."""
    from torchvision.models import resnet18

    torch.manual_seed(0)
    return resnet18(weights=None).eval(), "layer4", (3, SIDE, SIDE)


NETWORKS = {"small_cnn": (small_cnn, 4000), "resnet18": (resnet18, 256)}  # images of the data set


def gradient(model: nn.Module, images: Tensor, target: Tensor, layer: str) -> Tensor:
    """The gradient that a Grad-CAM is made of, in one forward pass."""
    with cam.capture(model, layer, trunk_graph=False) as seen:
        scores = model(images).gather(1, target[:, None])
    return torch.autograd.grad(scores.sum(), cast(Tensor, seen.features))[0]


def scaled(maps: Tensor) -> Tensor:
    """Every map from 0 to 1, as the peers return them."""
    maps = maps - maps.amin((1, 2), keepdim=True)
    return maps / (maps.amax((1, 2), keepdim=True) + 1e-8)


def peers(run: Bench, model: nn.Module, layer: str) -> dict[str, tuple[Explain, bool]]:
    """Each peer that is installed, on a copy of the model; and whether it scales its maps."""
    found: dict[str, tuple[Explain, bool]] = {}
    if captum := run.peer("captum.attr", "captum"):
        own = copy.deepcopy(model)
        layer_cam = captum.LayerGradCam(own, own.get_submodule(layer))

        def by_captum(images: Tensor, target: Tensor) -> Tensor:
            maps: Tensor = layer_cam.attribute(images, target, relu_attributions=True)
            return maps.detach()[:, 0]

        found["captum"] = by_captum, False
    if torchcam := run.peer("torchcam.methods", "torchcam"):
        watched = copy.deepcopy(model)
        extractor = torchcam.GradCAM(watched, layer)

        def by_torchcam(images: Tensor, target: Tensor) -> Tensor:
            maps: Tensor = extractor(target.tolist(), watched(images))[0]
            return maps

        found["torch-cam"] = by_torchcam, True
    if grad_cam := run.peer("pytorch_grad_cam", "grad-cam"):
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        hooked = copy.deepcopy(model)
        explainer = grad_cam.GradCAM(model=hooked, target_layers=[hooked.get_submodule(layer)])

        def by_grad_cam(images: Tensor, target: Tensor) -> np.ndarray:
            classes = [ClassifierOutputTarget(one) for one in target.tolist()]
            maps: np.ndarray = explainer(images, classes)
            return maps

        found["pytorch-grad-cam"] = by_grad_cam, True
    return found


def check(ours: Tensor, theirs: Tensor | np.ndarray, name: str, is_scaled: bool) -> None:
    """The peer's maps are ours, up to the scale and the size that it returns them in."""
    theirs = torch.as_tensor(theirs)
    if theirs.shape != ours.shape:  # pytorch-grad-cam enlarges to the image
        ours = interpolate(scaled(ours)[:, None], theirs.shape[1:], mode="bilinear")[:, 0]
    same(scaled(ours) if is_scaled else ours, theirs, f"the maps of xblcore and {name}")


def measure(run: Bench, network: str) -> pd.DataFrame:
    """One row a number of images and explainer."""
    build, in_data_set = NETWORKS[network]
    model, layer, shape = build()
    sizes = (1, 2) if run.tiny else BATCHES
    in_data_set = 4 if run.tiny else in_data_set
    everything = torch.rand(in_data_set, *shape, generator=torch.Generator().manual_seed(0))
    target = evaluate.predict(model, everything).argmax(1)
    others = peers(run, model, layer)
    rows = []
    for count in sizes:
        images, classes = everything[:count], target[:count]

        def forward(images: Tensor = images) -> Tensor:
            with torch.no_grad():
                return model(images)

        def ours(images: Tensor = images, classes: Tensor = classes) -> Tensor:
            return cam.explain(model, images, classes, layer=layer)

        def least(images: Tensor = images, classes: Tensor = classes) -> Tensor:
            return gradient(model, images, classes, layer)

        calls = {LIMIT: forward, LEAST: least, OURS: ours}
        for name, (explain, is_scaled) in others.items():
            check(ours(), explain(images, classes), name, is_scaled)
            calls[name] = lambda e=explain, i=images, c=classes: e(i, c)
        rows += rows_of(run.seconds(calls), network=network, what="one batch", images=count)
    whole = {
        LIMIT: lambda: evaluate.predict(model, everything),
        OURS: lambda: evaluate.attributions(
            model, everything, explainers.get("grad_cam"), layer=layer
        ),
    }
    batches = list(zip(everything.split(evaluate.BATCH), target.split(evaluate.BATCH), strict=True))
    for name, (explain, _) in others.items():
        whole[name] = lambda e=explain: [e(images, classes) for images, classes in batches]
    rows += rows_of(run.seconds(whole), network=network, what="data set", images=in_data_set)
    return pd.DataFrame(rows)


def goals(table: pd.DataFrame) -> list[Goal]:
    """At most the limit and a tenth, and below every peer, in every row."""
    found = []
    for (network, what, images), rows in table.groupby(["network", "what", "images"], sort=False):
        ratio = rows.set_index("by")["ratio"]
        where = f"{network}, {what} of {images}"
        fastest = ratio.drop([LIMIT, LEAST, OURS], errors="ignore").min()  # NaN without a peer
        found.append(Goal(f"{where}, beside a forward pass", ratio[OURS], SLACK))
        found.append(Goal(f"{where}, beside the fastest peer", ratio[OURS] / fastest, 1))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both networks."""
    with bench("cams", __doc__, arguments) as run:
        table = pd.concat([measure(run, network) for network in NETWORKS], ignore_index=True)
        run.report(table, goals(table))


if __name__ == "__main__":
    main()
