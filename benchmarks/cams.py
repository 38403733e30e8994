"""Time of ``xblcore.cam.explain`` compared with captum, torch-cam and pytorch-grad-cam.

Every library gets the class to explain, and the maps are compared before they are timed. The peers
keep their hooks on the model between calls; xblcore registers and removes its own in each call.
pytorch-grad-cam also scales its maps and enlarges them to the image. The row ``forward pass`` runs
the model without gradient: no explanation can be faster.

    python benchmarks/cams.py [--rounds 9] [--out FOLDER] [--quick]
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import pandas as pd
import torch
from _timing import Call, Options, compare, options, peer, report
from torch import Tensor, nn
from torch.nn.functional import interpolate

from xblcore.cam import CamMethod, explain
from xblcore.study.evaluate import predict
from xblcore.study.models import build

Explain = Callable[[Tensor, Tensor], Any]  # images and classes to maps

OURS, LIMIT = "xblcore", "forward pass"
METHODS: tuple[CamMethod, ...] = ("grad_cam", "hires_cam")
BATCHES = (1, 8, 64)
TOLERANCE = 1e-3  # of the maximum of the maps
NETWORKS = {  # (explained layer, channels, size)
    "small_cnn": ("features", 1, 28),
    "resnet8": ("features", 3, 32),
    "resnet18": ("layer4", 3, 128),
}


def network(name: str) -> nn.Module:
    """Build a network with random weights; ResNet-18 is torchvision's."""
    if name == "resnet18":
        from torchvision.models import resnet18

        torch.manual_seed(0)
        model: nn.Module = resnet18(weights=None)
        return model.eval()
    _, channels, size = NETWORKS[name]
    return build(name, channels=channels, classes=10, size=size, seed=0).eval()


def peers(model: nn.Module, layer: str, method: CamMethod) -> dict[str, Explain]:
    """Explainers of those peers that are installed and have the method, on copies of the model."""
    found: dict[str, Explain] = {}
    if captum := peer("captum.attr", "captum"):
        own = copy.deepcopy(model)
        kind = captum.LayerGradCam if method == "grad_cam" else captum.LayerGradientXActivation
        explainer = kind(own, own.get_submodule(layer))
        # The channel axis of a Grad-CAM has length 1; the sum of gradient x activation is HiResCAM.
        found["captum"] = lambda images, target: (
            explainer.attribute(images, target).sum(1).relu().detach()
        )
    if method == "grad_cam" and (torchcam := peer("torchcam.methods", "torchcam")):
        watched = copy.deepcopy(model)
        extractor = torchcam.GradCAM(watched, layer)
        found["torch-cam"] = lambda images, target: extractor(
            target.tolist(), watched(images), normalized=False
        )[0]
    if jacobgil := peer("pytorch_grad_cam", "grad-cam"):
        one_class = peer("pytorch_grad_cam.utils.model_targets", "grad-cam").ClassifierOutputTarget
        hooked = copy.deepcopy(model)
        by_name = jacobgil.GradCAM if method == "grad_cam" else jacobgil.HiResCAM
        enlarged = by_name(model=hooked, target_layers=[hooked.get_submodule(layer)])
        found["pytorch-grad-cam"] = lambda images, target: enlarged(
            images, [one_class(label) for label in target.tolist()]
        )
    return found


def difference(ours: Tensor, theirs: Any, size: int) -> float:
    """Largest difference between two sets of maps, relative to the largest value of ours."""
    theirs = torch.as_tensor(theirs)
    if theirs.shape != ours.shape:  # pytorch-grad-cam scales, enlarges and scales again
        large = interpolate(_scaled(ours)[:, None], (size, size), mode="bilinear")[:, 0]
        ours = _scaled(large)
    return float((ours - theirs).abs().max() / ours.max().clamp(min=1e-12))


def _scaled(maps: Tensor) -> Tensor:
    """Scale each map to [0, 1] in the same way as pytorch-grad-cam."""
    maps = maps - maps.amin((1, 2), keepdim=True)
    return maps / (maps.amax((1, 2), keepdim=True) + 1e-7)


def measure(name: str, method: CamMethod, options: Options) -> list[dict[str, object]]:
    """One row per batch size and library."""
    layer, channels, size = NETWORKS[name]
    model = network(name)
    rivals = peers(model, layer, method)
    rows: list[dict[str, object]] = []
    for batch in (1, 2) if options.quick else BATCHES:
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(batch, channels, size, size, generator=generator)
        target = predict(model, images).argmax(1)
        ours = partial(explain, model, images, target, layer=layer, method=method)
        calls: dict[str, Call] = {OURS: ours, LIMIT: partial(predict, model, images)}
        differences = {}
        for rival, function in rivals.items():
            calls[rival] = partial(function, images, target)
            differences[rival] = difference(ours(), calls[rival](), size)
            if not differences[rival] < TOLERANCE:
                raise ValueError(
                    f"maps of {rival} must equal those of {OURS} up to {TOLERANCE}, "
                    f"got a difference of {differences[rival]:.2g} ({name}, {method})"
                )
        for library, ratio in compare(calls, base=OURS, options=options).items():
            row = {"network": name, "cam": method, "batch": batch, "library": library}
            rows.append(row | asdict(ratio) | {"difference": differences.get(library)})
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both CAMs on every network."""
    chosen = options(__doc__, arguments)
    rows = [row for name in NETWORKS for method in METHODS for row in measure(name, method, chosen)]
    packages = ["torchvision", "captum", "torchcam", "grad-cam"]
    report(
        "cams", pd.DataFrame(rows), chosen, packages=packages, index=["network", "cam"],
        columns="library",
    )  # fmt: skip


if __name__ == "__main__":
    main()
