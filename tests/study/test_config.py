"""``params.yaml``: mistakes are found before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.study.conftest import ROOT, tiny_params
from xblcore.methods import METHODS
from xblcore.study import config
from xblcore.study.config import Config

Change = Callable[[dict[str, Any]], object]


def experiment(condition: dict[str, Any], **changes: Any) -> Change:
    """Add an experiment with one condition."""
    own = {
        "question": "?", "by": "annotated", "tasks": ["decoy_coco"], "methods": ["erm"],
        "conditions": [condition],
    }  # fmt: skip
    return lambda params: params.update(experiments={"own": own | changes})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.update(metods=["erm"]), "metods"),
        (lambda p: p.pop("methods"), "methods"),
        (lambda p: p.update(methods=["erm", "xbld"]), "methods must be among erm, .*, got 'xbld'"),
        (lambda p: p.update(tasks=["decoy_mnist"]), "tasks must be among .*, got 'decoy_mnist'"),
        (lambda p: p.update(profile="fast"), "profile must be among .*, got 'fast'"),
        (lambda p: p.update(results="results"), "results must be another folder .* smoke"),
        (lambda p: p["profiles"]["smoke"].update(seeds=[7, 100]), "got 100 in both"),
        (lambda p: p["profiles"]["smoke"]["tasks"].pop("decoy_coco"), "tasks of smoke must be"),
        (lambda p: p["profiles"]["smoke"]["tasks"]["decoy_coco"].update(epochs=0), "epochs"),
        (
            lambda p: p["setup"]["decoy_coco"]["weights"].update(xbld=[1]),
            "weights of .*, got 'xbld'",
        ),
        (lambda p: p["setup"]["decoy_coco"].update(decoy={"size": 0}), "size must be at least 1"),
        (lambda p: p["setup"]["decoy_coco"].update(network="resnet9"), "network of decoy_coco"),
        (experiment({"anotated": 25}), "anotated"),
        (experiment({"decoy": {"sise": 3}}), "sise"),
        (experiment({"feedback": "sloppy"}), "feedback of own must be among .*, got 'sloppy'"),
        (experiment({"network": "resnet9"}), "network of own must be among .*, got 'resnet9'"),
        (experiment({}, by="anotated"), "by of own must be among cam_method, .*, got 'anotated'"),
    ],
)
def test_mistakes_are_named(change: Change, message: str, tmp_path: Path) -> None:
    params = tiny_params(experiments={})
    change(params)
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(params))
    with pytest.raises(ValueError, match=f"(?s)params.yaml must be valid, got: .*{message}"):
        config.load(path)


def test_every_profile_of_the_repository_is_complete() -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for profile in params["profiles"]:
        own = Config.model_validate(params | {"profile": profile, "results": "build/smoke"})
        used = {*own.methods, *(m for e in own.experiments.values() for m in e.methods)}
        for task in own.tasks:
            assert own.task(task).size.n_train >= 64
            for method in used:
                found = own.candidates(task, method)
                tuned = METHODS[method].penalty is not None and not METHODS[method].fixed_weight
                assert len(found) == (own.own.candidates if tuned else 1)
                assert found == sorted(found)


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, [10]), (2, [3, 10]), (3, [3, 10, 30]), (5, [1, 3, 10, 30, 100]), (9, [1, 3, 10, 30, 100])],
)
def test_a_profile_with_fewer_candidates_tries_the_middle_ones(
    count: int, expected: list[float]
) -> None:
    params = tiny_params()
    params["setup"]["decoy_coco"]["weights"]["xbl_d_plus"] = [100, 1, 30, 3, 10]
    params["profiles"]["smoke"]["candidates"] = count
    own = Config.model_validate(params)
    assert own.candidates("decoy_coco", "xbl_d_plus") == expected
    assert own.candidates("decoy_coco", "erm") == [0]
    assert own.candidates("decoy_coco", "xbl_d_released") == [0.1]
    del params["setup"]["decoy_coco"]["weights"]["hint"]
    with pytest.raises(ValueError, match="must have candidate weights for 'hint' under setup.deco"):
        Config.model_validate(params).candidates("decoy_coco", "hint")
