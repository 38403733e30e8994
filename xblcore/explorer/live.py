"""Networks that were trained here, asked as one goes: any image, class, layer and score."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from xblcore import cam, config, datasets, metrics, models, project, weights
from xblcore.datasets import store
from xblcore.datasets.drawing import VIEWS, View
from xblcore.evaluate import predict
from xblcore.explorer.shelf import Shelf, answer_table, pick
from xblcore.explorer.views import SEEN, Answer, Ask, Look, Picture

Index = NDArray[np.integer]
AT_HAND = 100  # images of each split; the filters look at all of them, within 0.3 seconds
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
    splits: tuple[str, ...] = SPLITS

    def __init__(self, task: str, *, root: Path | None = None) -> None:
        self._root = root or project.root()
        study = config.load(self._root)
        self._settings = study.task(task)
        torch.set_num_threads(self._settings.threads)  # decides the last bits, as in training
        about = datasets.manifest(task, root=self._data)
        self.task, self.data = task, str(about["data"])
        self.classes = tuple(about["classes"])
        self.methods = tuple(name for name in study.methods if self._weights(name).is_file())
        if not self.methods:
            raise FileNotFoundError(
                f"no networks of {task} under {self._root / 'build' / 'runs'}; run: make reproduce"
            )
        self.weights: Mapping[str, float] = {
            name: self._chosen_weight(name) for name in self.methods
        }
        self._states = {name: _load(self._weights(name)) for name in self.methods}
        common = set.intersection(*(set(states) for states in self._states.values()))
        self.seeds = tuple(sorted(common))
        self._model = functools.cache(self._built)
        self.shelf = functools.cache(self._read)
        self._grid = functools.cache(self._measured)
        self._answered = functools.lru_cache(32)(self._answers_of)
        self._maps = functools.lru_cache(16)(self._explained)
        self.layers = self._spatial()
        self.about = (
            f"Computed now by the networks trained here: the first {AT_HAND} images of each split, "
            "any class, layer and score."
        )

    @property
    def _data(self) -> Path:
        return self._root / "data" / "decoy"

    def _weights(self, method: str) -> Path:
        return self._root / "build" / "runs" / self._settings.task / method / "weights.pt"

    def _chosen_weight(self, method: str) -> float:
        path = self._weights(method).with_name("manifest.json")
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; run: make reproduce")
        try:
            return float(json.loads(path.read_text(encoding="utf-8"))["weight"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(
                f"{path} must be a manifest with a weight, got {error!r}; delete its folder and "
                "run: make reproduce"
            ) from error

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
        return self.looks(ask, [self.shelf(ask.base).row(number)])[0]

    def looks(self, ask: Ask, rows: Sequence[int]) -> list[Look]:
        """What the network makes of some images of the shelf, in one batch."""
        index = np.asarray(rows)
        logits = self._predict(ask, index)
        maps = self._explain(ask, index)
        known = self._known(ask, maps, index)
        values = {name: metrics.METRICS[name].function(*args) for name, args in known.items()}
        best = {view: found.softmax(1).max(1) for view, found in logits.items()}
        return [
            Look(
                maps[n].numpy(),
                int(best[ask.view].indices[n]) if ask.target is None else ask.target,
                {v: Answer(int(best[v].indices[n]), float(best[v].values[n])) for v in SEEN},
                {name: float(found[n]) for name, found in values.items()},
            )
            for n in range(len(index))
        ]

    def answers(self, ask: Ask) -> pd.DataFrame:
        """One row an image: ``label, predicted, wrong``."""
        return answer_table(self.shelf(ask.base), self._predicted_all(ask, ask.view))

    def flipped(self, ask: Ask) -> pd.Series[bool]:
        """Whether the answer differs between the image's decoy and that of another class."""
        flips = self._predicted_all(ask, "decoy") != self._predicted_all(ask, "swapped")
        return pd.Series(flips, index=self.shelf(ask.base).positions)

    def values(self, ask: Ask, metric: str) -> pd.Series[float]:
        """One metric of every image's explanation."""
        shelf = self.shelf(ask.base)
        maps = self._maps(ask)
        known = self._known(ask, maps, np.arange(len(maps)))
        found = metrics.METRICS[metric].function(*known[metric])
        return pd.Series(found.numpy(), index=shelf.positions)

    def _predicted_all(self, ask: Ask, view: View) -> NDArray[np.int64]:
        return self._answered(ask.method, ask.seed, ask.base, view)

    def _answers_of(self, method: str, seed: int, base: str, view: View) -> NDArray[np.int64]:
        images = torch.from_numpy(self.shelf(base).render(view).images)
        return predict(self._model(method, seed), images).argmax(1).numpy()

    def _explained(self, ask: Ask) -> Tensor:
        return self._explain(ask, np.arange(len(self.shelf(ask.base).positions)))

    def _images(self, ask: Ask, view: View, index: Index) -> Tensor:
        return torch.from_numpy(self.shelf(ask.base).render(view).images[index])

    def _predict(self, ask: Ask, index: Index) -> dict[View, Tensor]:
        """Logits ``(n, classes)`` by how the images are seen."""
        model = self._model(ask.method, ask.seed)
        return {view: predict(model, self._images(ask, view, index)) for view in SEEN}

    def _explain(self, ask: Ask, index: Index) -> Tensor:
        """CAMs ``(n, h, w)``."""
        return cam.explain(
            self._model(ask.method, ask.seed),
            self._images(ask, ask.view, index),
            None if ask.target is None else torch.full((len(index),), ask.target),
            layer=ask.layer,
            method=cast(cam.CamMethod, ask.kind),
            score=cast(cam.ScoreKind, ask.score),
            generator=torch.Generator().manual_seed(SIGNS),
        )

    def _known(self, ask: Ask, maps: Tensor, index: Index) -> dict[str, list[Tensor]]:
        """The arguments of every metric of an explanation."""
        marked = self.shelf(ask.base).marked(ask.view, self._grid(ask.layer))
        parts = [torch.from_numpy(part[index]) for part in marked]
        known = dict(zip(("object_mask", "decoy_mask", "distance"), parts, strict=True))
        known["cam"] = maps
        return {
            name: [known[need] for need in metric.needs]
            for name, metric in metrics.METRICS.items()
            if set(metric.needs) <= set(known)
        }


def _load(path: Path) -> dict[int, dict[str, Tensor]]:
    """The networks' weights, by seed."""
    return {int(seed): state for seed, state in weights.read(path).items()}
