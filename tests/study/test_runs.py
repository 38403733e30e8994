"""Runs and their cache: repeatable, trained once, and safe against faults."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.study.synthetic import result as fake_result
from xblcore import data, methods
from xblcore.decoys import Decoy
from xblcore.study import config, evaluate, runs, tables
from xblcore.study.config import Condition, Config
from xblcore.study.evaluate import BEHAVIOUR
from xblcore.study.explainers import EXPLAINERS
from xblcore.study.runs import Result, Run
from xblcore.study.train import DivergedError

TASK = "decoy_fashion_mnist"
RUN = Run(TASK, "xbl_d_plus", 5.0, 0)
ERM = Run(TASK, "erm", 0.0, 0)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the methods that are trained from now on."""
    names, fit = list[str](), runs.fit

    def counted(model: Any, examples: Any, method: Any, *args: Any, **options: Any) -> Any:
        names.append(method.name)
        return fit(model, examples, method, *args, **options)

    monkeypatch.setattr(runs, "fit", counted)
    return names


def cache_files() -> list[Path]:
    return [path for path in Path("build/runs").rglob("*") if path.is_file()]


def results(*wanted: Run) -> list[Result]:
    return runs.results(wanted, progress=False)


def assert_same(first: Result, second: Result) -> None:
    """Bit-identical, but for the seconds."""
    assert (first.run, first.data, first.history) == (second.run, second.data, second.history)
    assert repr(first.rows) == repr(second.rows)  # NaN equals NaN
    for name, value in (first.state or {}).items():
        assert torch.equal(value, (second.state or {})[name]), name
    if first.over_training is not None:
        assert torch.equal(first.over_training, second.over_training)


# One run


def test_a_run_measures_behaviour_and_explanations(tiny: Config) -> None:
    (done,), settings = results(RUN), tiny.task(TASK)
    table = runs.table([done])
    assert (table["data"] == "tiny").all()
    behaviour = table[table["explainer"] == BEHAVIOUR]
    assert set(zip(behaviour["split"], behaviour["metric"], strict=True)) == {
        *((s, "accuracy") for s in ("val", "val_swapped", "test_decoy", "test_clean")),
        *((s, "decoy_flip_rate") for s in ("val", "test_decoy")),
    }
    assert set(table["explainer"]) == {BEHAVIOUR, *EXPLAINERS}
    assert set(table.loc[table["explainer"] != BEHAVIOUR, "split"]) == {"test_decoy"}
    assert [log.epoch for log in done.history] == [1]
    assert done.over_training is not None
    assert done.over_training.shape == (1, runs.GALLERY, 14, 14)  # (epochs, images, h, w)
    assert set(tables.METRIC_COLUMNS) <= set(table)
    assert table["condition"].unique().tolist() == [""]
    # The stored network gives the stored numbers.
    model, clean = runs.trained_model(done, settings), runs.load_split(RUN, settings, "test_clean")
    correct = evaluate.predict(model, clean.images).argmax(1) == clean.labels
    assert correct.double().mean().item() == runs.clean_accuracy(done)
    assert len(runs.history([done, done])) == 2


# What is trained on


def test_wrong_regions_are_widened_by_the_receptive_field_or_the_condition(tiny: Config) -> None:
    settings = tiny.task(TASK)
    margin = runs.receptive_field(RUN, settings).margin
    assert margin == 3  # small_cnn: 8 pixels, centred on a cell of 2
    images = data.load(TASK, split="train")
    for condition, used in ((Condition(), margin), (Condition(margin=0), 0)):
        found = runs.training_examples(replace(RUN, condition=condition), settings)
        expected = images.on_grid((14, 14), margin=used)
        assert torch.equal(found.images, images.images)
        assert found.cells is not None
        assert expected.cells is not None
        assert torch.equal(found.cells.decoy_mask, expected.cells.decoy_mask)
        assert torch.equal(found.cells.distance, expected.cells.distance)
    found = runs.training_examples(replace(RUN, method="oracle"), settings)
    assert torch.equal(found.images, data.load(TASK, split="train_clean").images)


def test_annotations_depend_on_the_condition_and_its_seed(tiny: Config) -> None:
    settings = tiny.task(TASK)

    def masks(seed: int, **condition: Any) -> torch.Tensor:
        run = replace(RUN, seed=seed, condition=Condition(**condition))
        found = runs.training_examples(run, settings)
        return torch.stack((found.object_mask, found.decoy_mask))

    assert torch.equal(masks(0), masks(1))
    few = masks(0, annotated=7)
    assert few.flatten(2).any(2).sum(1).tolist() == [7, 7]
    assert not torch.equal(few, masks(1, annotated=7))
    assert not torch.equal(masks(0, feedback="random"), masks(1, feedback="random"))
    wrong = masks(0, feedback="adversarial")
    assert torch.equal(wrong[1], masks(0)[0])  # the object is marked as wrong


def test_method_is_switched_on_after_plain_training(tiny: Config, trained: list[str]) -> None:
    (done,) = results(replace(RUN, condition=Condition(switch_on=2)))
    assert trained == ["erm", "xbl_d_plus"]
    assert len(done.history) == 1
    with pytest.raises(ValueError, match="result must have the default condition, got switch_on=2"):
        runs.trained_model(done, tiny.task(TASK))


# The cache


def test_cached_runs_are_not_trained_again(tiny: Config, trained: list[str]) -> None:
    first = results(ERM, RUN, ERM)
    assert [done.run for done in first] == [ERM, RUN]  # in order, each once
    assert trained == ["erm", "xbl_d_plus"]
    again = results(RUN, ERM, replace(ERM, seed=1))
    assert trained == ["erm", "xbl_d_plus", "erm"]
    assert_same(again[0], first[1])
    assert_same(again[1], first[0])
    assert len(cache_files()) == 3


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [flip, lambda content: content[:-10], lambda content: b"\xff" * 99],
    ids=["flipped bit", "truncated", "other bytes"],
)
def test_corrupt_cache_file_is_reported_and_regenerated(
    damage: Callable[[bytes], bytes], tiny: Config, trained: list[str]
) -> None:
    (first,) = results(ERM)
    (path,) = cache_files()
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match="Removed a corrupt cache file .* will be regenerated"):
        (second,) = results(ERM)
    assert trained == ["erm", "erm"]
    assert_same(first, second)
    assert_same(results(ERM)[0], first)  # without a warning
    assert len(trained) == 2


def full_disk(path: Path, content: bytes) -> int:
    with path.open("wb") as file:
        file.write(content[: len(content) // 2])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def read_only(*_: object, **__: object) -> None:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "build/runs")


@pytest.mark.parametrize(
    ("owner", "name", "fault", "message"),
    [(Path, "write_bytes", full_disk, "No space left"), (Path, "mkdir", read_only, "Permission d")],
    ids=["full disk", "read-only folder"],
)
def test_fault_while_writing_is_reported_and_leaves_nothing_behind(
    owner: type, name: str, fault: Callable[..., Any], message: str,
    tiny: Config, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fault)
        with pytest.raises(OSError, match=message):
            results(ERM)
    assert cache_files() == []
    assert results(ERM)[0].run == ERM


def test_key_depends_on_run_settings_and_data(
    tiny: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny.task(TASK)
    conditions = [
        Condition(), Condition(annotated=8), Condition(wrong=0.0), Condition(margin=0),
        Condition(decoy=Decoy(size=3)), Condition(network="resnet8"),
    ]  # fmt: skip
    others = [replace(RUN, condition=condition) for condition in conditions]
    others += [replace(RUN, weight=6.0), replace(RUN, seed=1), replace(RUN, method="xbl_d")]
    keys = [runs.key(run, settings) for run in others]
    longer = settings.size.model_copy(update={"epochs": 2})
    for update in ({"size": longer}, {"network": "resnet8"}, {"threads": 2}):
        keys.append(runs.key(RUN, settings.model_copy(update=update)))
    about = data.info(TASK)
    with monkeypatch.context() as patch:
        patch.setattr(data, "info", lambda task: about | {"digest": "other"})
        keys.append(runs.key(RUN, settings))
    assert len(set(keys)) == len(keys)
    assert keys[0] == runs.key(Run(TASK, "xbl_d_plus", 5, 0), settings)  # 5 and 5.0 are the same


@pytest.mark.parametrize(
    ("file", "pattern", "replacement", "changes"),
    [
        ("methods.py", r"(def _xbl_d_plus\(.*\n.*\n    return )", r"\g<1>2 * ", True),
        ("methods.py", r"losses.rrr_g\(", "2 * losses.rrr_g(", False),  # of another method
        ("methods.py", "Cross-entropy on images", "Loss on images", False),  # a summary
        ("methods.py", r"losses.combined_distance\(", "2 * losses.combined_distance(", True),
        ("losses.py", r"\nWRONG = ", r"\nWRONG = 2 * ", True),
        ("losses.py", r"\A", "# A comment.\n", False),
        ("losses.py", r'\A"""', '"""Another docstring. ', False),
        ("losses.py", " must be at least 0", " must not be negative", False),  # a message
        ("losses.py", r"\nimport torch\n", "\nimport math as maths\nimport torch\n", True),
        ("study/train.py", r"functional.cross_entropy\(", "2 * functional.cross_entropy(", True),
        ("study/runs.py", 'desc="runs"', 'desc="networks"', False),
        ("study/stats.py", "0.01", "0.02", False),
    ],
)
def test_key_depends_on_the_code_that_decides_the_numbers(
    file: str, pattern: str, replacement: str, changes: bool,
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    settings, package = tiny.task(TASK), tmp_path / "xblcore"
    expected = runs.key(RUN, settings)
    ignored = shutil.ignore_patterns("__pycache__", "lab", "plots")
    shutil.copytree(Path(methods.__file__).parent, package, ignore=ignored)
    text = (package / file).read_text(encoding="utf-8")
    edited = re.sub(pattern, replacement, text)
    assert edited != text
    (package / file).write_text(edited, encoding="utf-8")
    monkeypatch.setattr(methods, "__file__", str(package / "methods.py"))
    runs._code_digest.cache_clear()
    try:
        assert (runs.key(RUN, settings) != expected) == changes
    finally:
        runs._code_digest.cache_clear()


# Choosing weights

SWAPPED = ("val_swapped", "none", "accuracy")


def accuracy_of(patch: pytest.MonkeyPatch, function: Callable[[Run], float]) -> set[Run]:
    """Replace training: the accuracy depends on the run, and a little on its seed."""
    requested = set[Run]()

    def instead(wanted: Iterable[Run], **_: Any) -> list[Result]:
        own = list(dict.fromkeys(wanted))
        requested.update(own)
        return [
            fake_result(
                run.task, run.method, run.seed,
                {SWAPPED: function(run) + run.seed % 2 / 100},
                weight=run.weight, condition=run.condition,
            )
            for run in own
        ]  # fmt: skip

    patch.setattr(runs, "results", instead)
    return requested


def five_candidates(tiny: Config) -> Config:
    own = tiny.model_dump()
    own["profiles"]["smoke"] |= {"candidates": 5, "selection_seeds": [100, 101]}
    for setup in own["setup"].values():
        setup["weights"]["xbl_d_plus"] = [1, 3, 10, 30, 100]
    return Config.model_validate(own)


@pytest.mark.parametrize(
    ("best", "tried"),
    [
        (10, [1, 3, 10, 30, 100]),
        (100, [1, 3, 10, 30, 100, 300]),  # the edge: one more, which is worse
        (300, [1, 3, 10, 30, 100, 300, 1000]),
        (1e9, [1, 3, 10, 30, 100, 300, 1000, 3000]),  # at most three more
        (0.1, [0.03, 0.1, 0.3, 1, 3, 10, 30, 100]),
    ],
)
def test_weights_are_extended_while_the_best_is_at_the_edge(
    best: float, tried: list[float], tiny: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    requested = accuracy_of(monkeypatch, lambda run: 0.6 - abs(np.log10(run.weight / best)) / 20)
    trials = [(Condition(), TASK, name) for name in ("xbl_d_plus", "erm", "xbl_d_released")]
    found = runs.choose_weights(trials, settings=five_candidates(tiny)).set_index("method")
    own = found.loc["xbl_d_plus"]
    assert own["weight"].tolist() == tried
    assert own.loc[own["chosen"], "weight"].tolist() == [min(max(best, tried[0]), tried[-1])]
    assert own["recovers"].all()
    assert own["lowest"].tolist() == pytest.approx((own["accuracy"] - 0.005).tolist())
    assert len(requested) == 2 * len(tried)  # the selection seeds, and nothing for fixed weights
    assert {run.seed for run in requested} == {100, 101}
    for method, weight in (("erm", 0), ("xbl_d_released", 0.1)):
        assert found.loc[method, ["weight", "chosen"]].tolist() == [weight, True]


def test_method_recovers_if_it_exceeds_the_chance_level_of_the_task(
    tiny: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracy_of(monkeypatch, lambda run: 0.3 if run.weight == 10 else 0.05)
    trials = [(Condition(), task, "xbl_d_plus") for task in ("decoy_cifar10", "decoy_coco")]
    found = runs.choose_weights(trials, settings=five_candidates(tiny))
    assert found.groupby("task")["recovers"].unique().map(list).tolist() == [[True], [False]]
    assert found.groupby("task")["chance"].first().tolist() == [0.1, 0.5]


def test_grid_and_experiments_use_the_chosen_weights_and_run_unaffected_methods_once(
    tiny: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracy_of(monkeypatch, lambda run: 1 - abs(np.log10(max(run.weight, 1e-9) / 30)) / 20)
    own = config.Experiment(
        question="?", by="annotated", tasks=[TASK], methods=["erm", "xbl_d_plus"],
        conditions=[Condition(), Condition(annotated=25), Condition(network="resnet8", margin=1)],
    )  # fmt: skip
    settings = five_candidates(tiny).model_copy(update={"experiments": {"own": own}})
    weights, finished = runs.main_grid(TASK, settings=settings)
    assert [(done.run.method, done.run.weight, done.run.seed) for done in finished] == [
        ("erm", 0, 0), ("erm", 0, 1), ("oracle", 0, 0), ("oracle", 0, 1),
        ("xbl_d_plus", 30, 0), ("xbl_d_plus", 30, 1),
    ]  # fmt: skip
    assert weights.groupby("method")["chosen"].sum().tolist() == [1, 1, 1]
    _, finished = runs.experiment("own", settings=settings)
    seen = [(done.run.method, str(done.run.condition)) for done in finished if done.run.seed == 0]
    assert sorted(seen) == [
        ("erm", ""), ("erm", "network=resnet8"), ("xbl_d_plus", ""),
        ("xbl_d_plus", "annotated=25"), ("xbl_d_plus", "network=resnet8, margin=1"),
    ]  # fmt: skip
    assert {done.run.weight for done in finished} == {0, 30}
    with pytest.raises(ValueError, match="experiment must be one of own, factorial, got 'other'"):
        runs.experiment("other", settings=settings)


def test_of_similar_weights_the_smallest_is_best_unless_none_has_any_effect() -> None:
    assert runs._best(pd.Series({1.0: 0.5, 3.0: 0.7, 10.0: 0.715})) == 3
    assert runs._best(pd.Series({1.0: 0.5, 3.0: 0.69, 10.0: 0.715})) == 10
    assert runs._best(pd.Series({1.0: 0.0, 3.0: 0.01, 10.0: 0.0})) == 10


def test_factorial_chooses_a_weight_in_each_condition(
    tiny: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    conditions = [Condition(feedback="object_only"), Condition(feedback="decoy_only", form="share")]
    own = config.Experiment(
        question="?", by="form", tasks=[TASK, "decoy_cifar10"], methods=["erm", "xbl_d_plus"],
        conditions=conditions, weights=[1, 10], seeds={TASK: 3, "decoy_cifar10": 4},
    )  # fmt: skip
    best = {"mass": 1, "share": 10}
    accuracy_of(monkeypatch, lambda run: float(run.weight == best[run.condition.form or "mass"]))
    settings = tiny.model_copy(update={"factorial": own})
    weights, finished = runs.experiment("factorial", settings=settings)
    assert set(weights["condition"]) == set(map(str, conditions))
    seen = {(r.run.task, r.run.condition, r.run.weight, r.run.seed)
            for r in finished if r.run.method == "xbl_d_plus"}  # fmt: skip
    assert seen == {
        (task, condition, weight, seed)
        for task, condition, weight in (
            (TASK, conditions[0], 1.0),  # Decoy CIFAR-10 has no object masks
            (TASK, conditions[1], 10.0), ("decoy_cifar10", conditions[1], 10.0),
        )
        for seed in range(3 if task == TASK else 4)
    }  # fmt: skip


def test_diverged_run_counts_as_collapsed(tiny: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DivergedError("loss must stay finite, got nan")

    monkeypatch.setattr(runs, "fit", fail)
    with pytest.warns(UserWarning, match="counts as collapsed.*got nan"):
        done = runs.run(RUN)
    row = next(x for x in done.rows if (x.split, x.metric) == ("val", "accuracy"))
    labels = data.load(TASK, split="val").labels
    assert row.value == pytest.approx((labels == 0).float().mean())  # always the first class


def test_best_epoch_by_the_clean_test_images_is_kept_if_asked_for(
    tiny: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third of four epochs is the best one; the weights count the epochs."""
    accuracies = iter([0.1, 0.2, 0.9, 0.3])

    def fit(model: Any, *_: Any, on_epoch: Any, **__: Any) -> list[Any]:
        for epoch in range(1, 5):
            for parameter in model.parameters():
                torch.nn.init.constant_(parameter, epoch / 1000)
            on_epoch(None)
        return []

    monkeypatch.setattr(runs, "fit", fit)
    kept = []
    monkeypatch.setattr(
        runs, "measure", lambda model, *_: kept.append(next(model.parameters()).flatten()[0].item())
    )
    real = runs.metrics.accuracy
    monkeypatch.setattr(runs.metrics, "accuracy", lambda *a: real(*a).fill_(next(accuracies, 0.0)))
    for keep in ("best", "last"):
        runs.run(replace(RUN, condition=Condition(keep=keep)))
    assert kept == pytest.approx([0.003, 0.004])


def test_median_result_is_that_of_the_median_accuracy() -> None:
    finished = [
        fake_result(TASK, method, seed, {("test_clean", "none", "accuracy"): accuracy})
        for method, accuracies in (("erm", (0.1, 0.9, 0.5)), ("rrr", (0.4, 0.2, 0.2, 0.8)))
        for seed, accuracy in enumerate(accuracies)
    ]
    assert runs.median_result(finished, "erm").run.seed == 2
    assert runs.median_result(finished, "rrr").run.seed == 2  # the lower of the two in the middle
