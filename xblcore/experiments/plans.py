"""The runs of each experiment: lists of :class:`Spec` made from the settings.

``sweep`` comes first: the weights that its rule chooses are those of all others, so no experiment
tunes a method to its own condition, as nobody could who meets that condition unawares.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from xblcore import methods, project, selection
from xblcore.experiments.settings import FILE, Settings
from xblcore.experiments.spec import Spec

WEIGHTS = Path("results") / "experiments" / "sweep" / "weights.csv"
Weights = Mapping[str, float]

# What a method's CAM may be exchanged for where not all CAMs and scores are crossed.
SOME_CAMS = (
    ("grad_cam", "logit"), ("hires_cam", "logit"), ("hires_cam", "log_prob"),
    ("hires_cam", "projection"),
)  # fmt: skip
OWN_LAYER = "features"  # of every network of the study
CROSSED = "xbl_d"  # the method whose CAM is tried at every layer, of every kind and score


def chosen_weights(root: Path | None = None) -> dict[str, float]:
    """Each method's weight as ``sweep`` chose it.

    Raises:
        FileNotFoundError: the experiment ``sweep`` has not been run.
        ValueError: the file is not what it wrote.
    """
    path = (root or project.root()) / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(
            f"{WEIGHTS} must be there, got no such file; run notebooks/experiments/4_sweep.ipynb "
            "first, or all by: make experiments"
        )
    try:
        table = pd.read_csv(path)
        names, weights = table["method"].tolist(), table["weight"].astype(float)
        if not names or len(set(names)) < len(names) or {*map(type, names)} != {str}:
            raise ValueError(f"the methods {reprlib.repr(names)}")
        if not (np.isfinite(weights) & (weights >= 0)).all():
            raise ValueError(f"the weights {reprlib.repr(weights.tolist())}")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{WEIGHTS} must have one row a method, each with a finite weight of at least 0, "
            f"got {error!r}; run: make experiments"
        ) from error
    return dict(zip(names, weights, strict=True))


def sweep(settings: Settings) -> list[Spec]:
    """Every method with every candidate weight."""
    return _seeds(
        settings,
        (
            Spec(settings.task, method, weight, seed=0)
            for method in settings.methods
            for weight in settings.weights[method]
        ),
    )


def interaction(settings: Settings, weights: Weights) -> list[Spec]:
    """All methods with few marked images, with more, and with all."""
    base = _base(settings, weights)
    few = [replace(s, annotated=n) for n in settings.annotated for s in base if needs_marks(s)]
    return _seeds(settings, [*base, *few])


def feedback(settings: Settings, weights: Weights) -> list[Spec]:
    """All methods with every kind of feedback."""
    base = _base(settings, weights)
    other = [
        replace(spec, feedback=kind)
        for kind in settings.feedback
        for spec in base
        if needs_marks(spec) and not _is_box_already(spec, kind)
    ]
    return _seeds(settings, [*base, *other])


def switch_on(settings: Settings, weights: Weights) -> list[Spec]:
    """All methods from the start, and after plain training; ``erm`` and ``oracle`` as long."""
    base = _base(settings, weights)
    later = [replace(spec, switch_on=epochs) for epochs in settings.switch_on for spec in base]
    return _seeds(settings, [*base, *later])


def decoys(settings: Settings, weights: Weights) -> list[Spec]:
    """All methods with decoys of other sizes, with less predictive ones, and with two."""
    base = _base(settings, weights)
    changes = [
        *({"decoy_size": size} for size in settings.decoy_sizes),
        *({"predictive": share} for share in settings.predictive),
        {"decoys": 2},
    ]
    other = [replace(spec, **change) for change in changes for spec in base]  # type: ignore[arg-type]
    half_marked = [
        replace(spec, decoys=2, marked="first") for spec in base if _needs(spec, "decoy_mask")
    ]
    return _seeds(settings, [*base, *other, *half_marked])


def layers(settings: Settings, weights: Weights) -> list[Spec]:
    """Every explained layer, CAM and score with candidate weights, for the first seed.

    The method :data:`CROSSED` takes all layers, CAMs and scores, the others :data:`SOME_CAMS` of
    the network's own CAM layer; all but those that have one weight and one CAM of their own. Then
    :func:`layers_chosen`.

    Raises:
        ValueError: :data:`CROSSED` does not take part.
    """
    if CROSSED not in settings.everywhere:
        raise ValueError(
            f"methods of {FILE} must include {CROSSED}, not in sweep_only, for the experiment "
            f"layers, got {', '.join(settings.everywhere)}"
        )
    combinations = [
        Spec(settings.task, CROSSED, 0.0, 0, layer=layer, cam=cam, score=score)
        for layer in settings.layers
        for cam in settings.cams
        for score in settings.scores
    ]
    others = [
        spec
        for spec in _base(settings, weights)
        if _needs(spec, "cam")
        and spec.method != CROSSED
        and not methods.get(spec.method).fixed_weight
    ]
    combinations += [
        replace(spec, layer=OWN_LAYER, cam=cam, score=score)
        for spec in others
        for cam, score in SOME_CAMS
    ]
    return [
        replace(spec, weight=weights[spec.method] * factor, seed=settings.seeds[0])
        for spec in combinations
        for factor in settings.layer_factors
    ]


def layers_chosen(settings: Settings, tried: pd.DataFrame) -> list[Spec]:
    """Each combination of :func:`layers` with the weight that the rule chooses, and all seeds.

    Args:
        settings: of the experiments.
        tried: tidy rows of the runs of :func:`layers`.
    """
    combinations = tried.groupby(["method", "layer", "cam", "score"], sort=False)
    chosen = [
        Spec(
            settings.task,
            rows["method"].iloc[0],
            selection.choose_weight(rows),
            seed=0,
            layer=rows["layer"].iloc[0],
            cam=rows["cam"].iloc[0],
            score=rows["score"].iloc[0],
        )
        for _, rows in combinations
    ]
    return _seeds(settings, chosen)


def needs_marks(spec: Spec) -> bool:
    """Whether what a person marks makes a difference to the run's method."""
    return _needs(spec, "object_mask") or _needs(spec, "decoy_mask")


def _needs(spec: Spec, what: str) -> bool:
    return what in methods.get(spec.method).needs


def _is_box_already(spec: Spec, kind: str) -> bool:
    """The box around a square decoy is the decoy: a run of its own would be the same run."""
    return kind == "boxes" and not _needs(spec, "object_mask")


def _base(settings: Settings, weights: Weights) -> list[Spec]:
    missing = [method for method in settings.everywhere if method not in weights]
    if missing:
        raise ValueError(
            f"weights must have {', '.join(missing)}, got {', '.join(weights)}; run the experiment "
            "sweep anew, which chooses them"
        )
    return [Spec(settings.task, method, weights[method], seed=0) for method in settings.everywhere]


def _seeds(settings: Settings, specs: Iterable[Spec]) -> list[Spec]:
    return [replace(spec, seed=seed) for spec in specs for seed in settings.seeds]
