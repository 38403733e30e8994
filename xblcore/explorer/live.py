"""Networks that were trained here, asked as one goes: any image, class, layer and score."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from xblcore import cam, config, datasets, metrics, models, project, results
from xblcore.datasets import store
from xblcore.datasets.drawing import VIEWS, View
from xblcore.evaluate import predict
from xblcore.explorer.shelf import Shelf, pick
from xblcore.explorer.views import SEEN, Answer, Ask, Look, Picture

AT_HAND = 200  # images of each split; the filters measure all of them at every change
SPLITS = ("test_decoy", "test_clean", "test_decoy_swapped", "val", "val_swapped")
SIGNS = 0  # seed of the random signs of the score "projection", so that a view can be seen again


class Live:
    """Implements :class:`xblcore.explorer.views.Source` with networks and data that lie here.

    Everything is read when it is first asked for and computed on the CPU, where an image takes a
    few milliseconds.

    Args:
        task: a task of ``params.yaml``.
        root: of the project; None: found from the current folder.

    Raises:
        ValueError: an unknown task.
        FileNotFoundError: no network was trained on it, or its data were not built.
    """

    free_target = True
    scores: Mapping[str, tuple[str, ...]] = dict.fromkeys(
        cam.CAM_METHODS, ("logit", "log_prob", "projection")
    )
    splits = SPLITS

    def __init__(self, task: str, *, root: Path | None = None) -> None:
        self._root = root or project.root()
        study = config.load(self._root)
        self._settings = study.task(task)
        about = datasets.manifest(task, root=self._data)
        self.task, self.data = task, str(about["data"])
        self.classes = tuple(about["classes"])
        self.methods = tuple(name for name in study.methods if self._weights(name).is_file())
        if not self.methods:
            raise FileNotFoundError(
                f"no networks of {task} under {self._root / 'build' / 'runs'}; run: make reproduce"
            )
        self.weights = {name: float(self._manifest(name)["weight"]) for name in self.methods}
        self._states = {name: _load(self._weights(name)) for name in self.methods}
        common = set.intersection(*(set(states) for states in self._states.values()))
        self.seeds = tuple(sorted(common))
        self._model = functools.cache(self._built)
        self.shelf = functools.cache(self._read)
        self._grid = functools.cache(self._measured)
        self.table = functools.lru_cache(32)(self._table)
        self.layers = self._spatial()
        self.about = (
            f"Computed now by the networks trained here: the first {AT_HAND} images of each split, "
            "any class, layer and score."
        )

    @property
    def _data(self) -> Path:
        return self._root / "data" / "decoy"

    def _weights(self, method: str) -> Path:
        return results.folder(self._settings.task, method, root=self._root) / "weights.pt"

    def _manifest(self, method: str) -> dict[str, Any]:
        path = self._weights(method).with_name("manifest.json")
        return cast(dict[str, Any], json.loads(path.read_text(encoding="utf-8")))

    def _read(self, base: str) -> Shelf:
        drawn = store.read(self._data, self.task, base)
        positions = range(min(AT_HAND, len(drawn.labels)))
        return Shelf(pick(drawn, positions), positions)

    def _built(self, method: str, seed: int) -> models.SplitNet:
        height, channels = self.shelf("test_decoy").drawn.images.shape[1::2]
        model = models.build(
            self._settings.model, channels=channels, classes=len(self.classes), size=height, seed=0
        )
        if method not in self._states or seed not in self.seeds:
            raise ValueError(
                f"method and seed must be among {', '.join(self.methods)} and "
                f"{', '.join(map(str, self.seeds))}, got {method!r} and {seed}"
            )
        try:
            model.load_state_dict(self._states[method][seed])
        except RuntimeError as error:
            raise ValueError(
                f"the networks of {method} on {self.task} must be of the model "
                f"{self._settings.model!r} that params.yaml names, got others; run: make reproduce"
            ) from error
        return model.eval()

    def _spatial(self) -> tuple[str, ...]:
        """Names of the layers whose output has height and width, the study's own first."""
        model = self._model(self.methods[0], self.seeds[0])
        own = model.cam_layer
        inside = [f"{own}.{name}" for name, _ in model.features.named_children()]
        return (own, *inside[:-1])  # the last one's output is the trunk's

    def _measured(self, layer: str) -> tuple[int, int]:
        model = self._model(self.methods[0], self.seeds[0])
        image = self.shelf("test_decoy").render("decoy").images[:1]
        with cam.capture(model, layer) as seen:
            predict(model, torch.from_numpy(image))
        if seen.features is None:
            raise ValueError(f"layer must take part in the forward pass, got {layer!r}")
        return seen.features.shape[2], seen.features.shape[3]

    def numbers(self, split: str) -> Sequence[int]:
        """Position in the split of each image that can be shown."""
        return self.shelf(VIEWS[split][0]).positions

    def picture(self, ask: Ask, number: int) -> Picture:
        """The image at position ``number`` of the split."""
        return self.shelf(ask.base).picture(number, view=ask.view, grid=self._grid(ask.layer))

    def look(self, ask: Ask, number: int) -> Look:
        """What the network makes of it, computed now."""
        row = self.shelf(ask.base).row(number)
        return self.looks(ask, [row])[0]

    def looks(self, ask: Ask, rows: Sequence[int]) -> list[Look]:
        """What the network makes of several images of the shelf, in one batch."""
        maps, values, logits = self._computed(ask, rows)
        confidence = {view: found.softmax(1).amax(1) for view, found in logits.items()}
        predicted = {view: found.argmax(1) for view, found in logits.items()}
        return [
            Look(
                maps[n].numpy(),
                int(predicted[ask.view][n]) if ask.target is None else ask.target,
                {v: Answer(int(predicted[v][n]), float(confidence[v][n])) for v in SEEN},
                {name: float(found[n]) for name, found in values.items()},
            )
            for n in range(len(rows))
        ]

    def _table(self, ask: Ask) -> pd.DataFrame:
        shelf = self.shelf(ask.base)
        _, values, logits = self._computed(ask, range(len(shelf.positions)))
        labels = shelf.drawn.labels
        predicted = logits[ask.view].argmax(1).numpy()
        return pd.DataFrame(
            {
                "label": labels,
                "predicted": predicted,
                "wrong": predicted != labels,
                "flipped": metrics.decoy_flip_rate(logits["decoy"], logits["swapped"]).bool(),
                **{name: found.numpy() for name, found in values.items()},
            },
            index=pd.Index(shelf.positions),
        )

    def _computed(
        self, ask: Ask, rows: Sequence[int]
    ) -> tuple[Tensor, dict[str, Tensor], dict[View, Tensor]]:
        """CAMs ``(n, h, w)``, metrics ``(n,)`` and, by view, logits ``(n, classes)``."""
        shelf, index = self.shelf(ask.base), np.asarray(rows)
        model = self._model(ask.method, ask.seed)
        seen = {view: torch.from_numpy(shelf.render(view).images[index]) for view in SEEN}
        logits = {view: predict(model, images) for view, images in seen.items()}
        maps = cam.explain(
            model,
            seen[ask.view],
            None if ask.target is None else torch.full((len(index),), ask.target),
            layer=ask.layer,
            method=cast(cam.CamMethod, ask.kind),
            score=cast(cam.ScoreKind, ask.score),
            generator=torch.Generator().manual_seed(SIGNS),
        )
        marked = shelf.marked(ask.view, self._grid(ask.layer))
        return maps, explained(maps, *(part[index] for part in marked)), logits


def explained(
    maps: Tensor,
    object_mask: NDArray[np.bool_],
    decoy_mask: NDArray[np.bool_],
    away: NDArray[np.float32],
) -> dict[str, Tensor]:
    """Every metric ``(n,)`` of explanations ``(n, h, w)``, NaN where undefined."""
    known = {
        "cam": maps,
        "object_mask": torch.from_numpy(object_mask),
        "decoy_mask": torch.from_numpy(decoy_mask),
        "distance": torch.from_numpy(away),
    }
    return {
        name: metric.function(*(known[need] for need in metric.needs))
        for name, metric in metrics.METRICS.items()
        if set(metric.needs) <= set(known)
    }


def _load(path: Path) -> dict[int, dict[str, Tensor]]:
    """The networks' weights, by seed."""
    return {int(seed): state for seed, state in torch.load(path, weights_only=True).items()}
