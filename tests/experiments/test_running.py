"""One run: the main grid's where nothing is changed, what was asked for where something is."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
import toy_task
import toys
from toy_task import TASK

from xblcore import config, losses, metrics, models, prepare, study, train
from xblcore.evaluate import Measurement, predict
from xblcore.experiments import data, running, settings
from xblcore.experiments.spec import Spec
from xblcore.explainers import EXPLAINERS
from xblcore.methods import METHODS, Step

PLAIN = Spec(TASK, "xbl_d", 3.0, 0)
KINDS_OF_METHOD = {  # one of each: nothing, clean images, CAM, input gradient, layers, other images
    "erm": 0.0, "oracle": 0.0, "xbl_d": 3.0, "xbl_d_grad_cam": 10.0, "rrr": 1.0, "cdep": 1.0,
    "ce_augment": 0.0,
}  # fmt: skip
TAKE_A_CAM = [name for name in METHODS if "cam" in METHODS[name].needs]
EXCHANGEABLE = [name for name in TAKE_A_CAM if not METHODS[name].fixed_weight]


def run(root, **changed):
    return running.run(dataclasses.replace(PLAIN, **changed), root=root)


def table(rows):
    return pd.DataFrame(rows, columns=running.COLUMNS)


@pytest.fixture
def fits(monkeypatch):
    """Every call of the training loop: what it was given, in order."""
    seen, fit = [], running.fit

    def spying(model, images, method, config, *, layer="features"):
        seen.append((images, method.name, config, layer))
        return fit(model, images, method, config, layer=layer)

    monkeypatch.setattr(running, "fit", spying)
    return seen


@pytest.fixture
def cams(monkeypatch):
    """Method and score of every CAM that a training step takes, in order."""
    seen, cam = [], Step.cam

    def spying(self, method, score):
        seen.append((method, score))
        return cam(self, method, score)

    monkeypatch.setattr(Step, "cam", spying)
    return seen


# ---------------------------------------------------------------- rows


@pytest.fixture(scope="module")
def plain(root):
    return run(root)


def test_rows_are_tidy_and_complete(plain):
    assert all(tuple(row) == running.COLUMNS for row in plain)
    fields = [field.name for field in dataclasses.fields(Spec)]
    measured = ["data", "split", "explainer", "metric", "value", "nan_share"]
    assert list(running.COLUMNS) == fields + measured
    for row in plain:
        assert {name: row[name] for name in fields} == dataclasses.asdict(PLAIN)
        assert row["data"] == "original"
        assert isinstance(row["value"], float) and 0 <= row["nan_share"] <= 1
    measured = [(row["split"], row["explainer"], row["metric"]) for row in plain]
    assert len(set(measured)) == len(measured)
    expected = {(s, "none", "accuracy") for s in ("val", "val_swapped", "test_decoy", "test_clean")}
    expected |= {(split, "none", "decoy_flip_rate") for split in ("val", "test_decoy")}
    of_maps = {name for name, metric in metrics.METRICS.items() if metric.kind != "behaviour"}
    assert len(of_maps) == 10 and len(EXPLAINERS) == 6
    expected |= {("test_decoy", explainer, name) for explainer in EXPLAINERS for name in of_maps}
    assert set(measured) == expected


def test_the_same_run_gives_the_same_rows(root, plain, monkeypatch):
    """From inside the project too, whatever was drawn or set before."""
    torch.manual_seed(7)
    np.random.seed(7)
    torch.set_num_threads(2)
    monkeypatch.chdir(root)
    pd.testing.assert_frame_equal(table(running.run(PLAIN)), table(plain), check_exact=True)
    assert torch.get_num_threads() == 1, "as params.yaml says: they decide the last bits"


def test_another_seed_gives_others(root, plain):
    other = table(run(root, seed=1))
    assert set(other.seed) == {1} and not other.value.equals(table(plain).value)


@pytest.mark.parametrize(("method", "weight"), KINDS_OF_METHOD.items())
def test_a_plain_run_is_that_of_the_main_grid_bit_for_bit(method, weight, root, own):
    spec = Spec(TASK, method, weight, seed=1)
    main = config.load(root).task(TASK)
    built = prepare.load_data(main, root=root / "data" / "decoy")
    expected = study.run(built, main, METHODS[method], weight=weight, seed=1)
    given = data.load(spec, own, root)
    running.train(spec, own, given)
    state = given.model.state_dict()
    assert state.keys() == expected.state.keys()
    assert all(torch.equal(state[name], value) for name, value in expected.state.items())

    names = [field.name for field in dataclasses.fields(Measurement)]
    mine = pd.DataFrame(map(dataclasses.asdict, running.measure(given, own)), columns=names)
    theirs = pd.DataFrame(map(dataclasses.asdict, expected.measurements), columns=names)
    theirs = theirs[(theirs.explainer == "none") | (theirs.split == "test_decoy")]
    pd.testing.assert_frame_equal(mine, theirs.reset_index(drop=True), check_exact=True)


def test_with_two_decoys_each_has_its_flips(root, own):
    spec = dataclasses.replace(PLAIN, decoys=2, method="erm", weight=0.0)
    given = data.load(spec, own, root)
    running.train(spec, own, given)
    rows = {(row.split, row.metric): row.value for row in running.measure(given, own)
            if row.explainer == "none"}  # fmt: skip
    before = predict(given.model, given.evaluation["test_decoy"].images).argmax(1)
    for metric, images in (
        ("decoy_flip_rate", given.swapped["test_decoy"]),
        (running.SECOND_FLIPS, given.second_swapped),
    ):
        flipped = before != predict(given.model, images).argmax(1)
        assert rows["test_decoy", metric] == flipped.double().mean().item()
    assert ("val", running.SECOND_FLIPS) not in rows


class Reads(torch.nn.Module):
    """Says class 1 where a cell of 2x2 pixels is darker than the brightest decoy, else 0."""

    def __init__(self, row, column, brightest=1.0):
        super().__init__()
        self.features = torch.nn.AvgPool2d(2)
        self.at, self.brightest, self.cam_layer = (row, column), brightest, "features"

    def forward(self, images):
        dark = self.brightest - self.features(images)[:, 0, self.at[0], self.at[1]]
        return torch.stack((torch.full_like(dark, 0.05), dark, dark * 0), 1)


def test_a_network_that_reads_the_second_decoy_alone_is_caught(root, own):
    """In the images whose first decoy is top left, the second is bottom right."""
    given = data.load(dataclasses.replace(PLAIN, decoys=2), own, root)
    part = given.evaluation["test_decoy"]
    first = given.swapped["test_decoy"] != part.images
    (index,) = first[:, 0, 0, 0].nonzero(as_tuple=True)
    assert len(index) > 1
    given = dataclasses.replace(
        given,
        model=Reads(-1, -1, brightest=0.5),  # every other pixel of the second is black
        evaluation={
            "test_decoy": type(part)(
                *(getattr(part, field.name)[index] for field in dataclasses.fields(part))
            )
        },
        swapped={"test_decoy": given.swapped["test_decoy"][index]},
        second_swapped=given.second_swapped[index],
    )
    rows = running.measure(given, dataclasses.replace(own, explained_images=1, held_out_images=1))
    values = {row.metric: row.value for row in rows if row.explainer == "none"}
    assert values["decoy_flip_rate"] == 0 < values[running.SECOND_FLIPS]


# ---------------------------------------------------------------- what is asked for


@pytest.fixture
def step():
    """A batch after its forward pass."""
    images = toys.shortcut(6, seed=0)
    generator = toys.seeded(3)
    method = METHODS["xbl_d"]
    return train.forward(toys.small_net(), images, torch.arange(6), method, "features", generator)


@pytest.mark.parametrize("cam", [None, "grad_cam", "hires_cam"])
@pytest.mark.parametrize("score", [None, "logit", "log_prob", "projection"])
@pytest.mark.parametrize("name", EXCHANGEABLE)
def test_the_penalty_takes_the_cam_and_the_score_that_were_asked_for(name, score, cam, step, cams):
    method = METHODS[name]
    method.penalty(step)
    ((own_cam, own_score),) = cams
    cams.clear()
    penalty = running.explained_by(method, cam, score).penalty(step)
    assert cams == [(cam or own_cam, score or own_score)]
    assert penalty.requires_grad and penalty.isfinite()


def test_the_rest_of_the_method_stays(step):
    """By hand: RRR-G on the HiResCAM of the log-probability."""
    method = METHODS["rrr_g"]
    other = running.explained_by(method, "hires_cam", "log_prob")
    assert dataclasses.replace(other, penalty=method.penalty) == method
    by_hand = losses.rrr_g(step.cam("hires_cam", "log_prob"), step.annotations.decoy_mask)
    assert torch.equal(other.penalty(step), by_hand)
    assert not torch.equal(by_hand, method.penalty(step))


def test_asked_for_nothing_it_is_the_method_itself():
    for name in METHODS:
        assert running.explained_by(METHODS[name], None, None) is METHODS[name]


@pytest.mark.parametrize("name", [name for name in METHODS if name not in TAKE_A_CAM])
def test_without_a_cam_there_is_none_to_exchange(name, root):
    message = f"method must be one that uses a CAM, got {name!r}"
    for asked in ({"cam": "grad_cam"}, {"score": "logit"}):
        with pytest.raises(ValueError, match=message):
            run(root, method=name, weight=0.0, **asked)


@pytest.mark.parametrize(
    ("asked", "taken"),
    [
        ({}, ("hires_cam", "projection")),
        ({"cam": "grad_cam"}, ("grad_cam", "projection")),
        ({"score": "logit"}, ("hires_cam", "logit")),
        ({"cam": "grad_cam", "score": "log_prob"}, ("grad_cam", "log_prob")),
    ],
    ids=["own", "cam", "score", "both"],
)
def test_a_run_trains_on_what_was_asked_for_and_is_measured_by_all(asked, taken, root, plain, cams):
    rows = table(run(root, **asked))
    assert set(cams) == {taken} and len(cams) == 4, "two epochs of two steps"
    assert rows.explainer.tolist() == table(plain).explainer.tolist()
    assert rows.value.equals(table(plain).value) == (not asked)


@pytest.mark.parametrize("layer", ["features.2", "head.0", None])
def test_the_layer_asked_for_is_explained_in_training_and_the_own_one_measured(
    layer, root, fits, monkeypatch
):
    measured, explanations = [], running.explanations

    def spying(*arguments, layer, count):
        measured.append((layer, count))
        return explanations(*arguments, layer=layer, count=count)

    monkeypatch.setattr(running, "explanations", spying)
    run(root, layer=layer)
    ((images, _, _, trained),) = fits
    assert trained == (layer or "features")
    assert images.annotations.object_mask.shape[1:] == ((2, 2) if layer == "head.0" else (4, 4))
    assert measured == [("features", 8), ("features", 4)]


# ---------------------------------------------------------------- switched on later


@pytest.mark.parametrize("method", ["erm", "oracle", "xbl_d", "rrr"])
@pytest.mark.parametrize("epochs", [0, 3])
def test_plain_epochs_come_first_and_as_many_as_ever_follow(method, epochs, root, own, fits):
    weight = METHODS[method].default_weight
    given = data.load(Spec(TASK, method, weight, 1, switch_on=epochs), own, root)
    running.train(Spec(TASK, method, weight, 1, switch_on=epochs), own, given)
    told = [(name, config.epochs, config.weight, config.seed) for _, name, config, _ in fits]
    assert told == [*[("erm", epochs, 0.0, 1)][:epochs], (method, own.epochs, weight, 1)]
    images = given.training["train_clean" if method == "oracle" else "train"]
    assert all(seen is images for seen, *_ in fits), "the ceiling never sees a decoy"
    for _, _, used, _ in fits:
        assert (used.batch_size, used.learning_rate) == (own.batch_size, own.learning_rate)

    model = models.build(own.model, channels=1, classes=3, size=toy_task.SIZE, seed=1)
    if epochs:
        before = study.train_config(dataclasses.replace(own, epochs=epochs), weight=0.0, seed=1)
        train.fit(model, images, METHODS["erm"], before)
    train.fit(model, images, METHODS[method], study.train_config(own, weight=weight, seed=1))
    state = given.model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())


# ---------------------------------------------------------------- the key


OTHER = {
    "method": "rrr", "weight": 1.0, "seed": 1, "annotated": 25, "feedback": "boxes", "switch_on": 3,
    "layer": "head.0", "cam": "grad_cam", "score": "log_prob", "decoy_size": 2, "predictive": 0.6,
    "decoys": 2, "marked": "first",
}  # fmt: skip


def test_every_field_has_a_key_of_its_own(root):
    assert set(OTHER) == {field.name for field in dataclasses.fields(Spec)} - {"task"}
    changed = [dataclasses.replace(PLAIN, **{name: value}) for name, value in OTHER.items()]
    keys = [running.key(spec, root) for spec in (PLAIN, *changed)]
    assert len(set(keys)) == len(keys)
    assert running.key(dataclasses.replace(PLAIN), root) == keys[0]


@pytest.mark.parametrize(
    "changed",
    [
        {"n_train": 16}, {"n_val": 8}, {"n_test": 8}, {"epochs": 1}, {"ramp_epochs": 0},
        {"batch_size": 8}, {"learning_rate": 0.01}, {"explained_images": 2},
        {"held_out_images": 2}, {"model": "small_cnn_gap"}, {"threads": 2}, {"data_seed": 1},
    ],
    ids=lambda changed: next(iter(changed)),
)  # fmt: skip
def test_settings_that_decide_the_numbers_are_in_the_key(changed, rewritable, rewrite):
    before = running.key(PLAIN, rewritable)
    profile = {"switch_on": [1], "seeds": [0, 1], "task_settings": changed}
    rewrite(rewritable, profiles={"toy": profile})
    assert running.key(PLAIN, rewritable) != before


def test_what_decides_nothing_in_a_run_is_not(rewritable, rewrite):
    before = running.key(PLAIN, rewritable)
    profile = {"switch_on": [2], "seeds": [3, 4, 5], "task_settings": {"sweep_seeds": [1]}}
    rewrite(
        rewritable, profiles={"toy": profile}, annotated=[2], layers=["head.0"], sweep_only=[],
        weights={name: [7] for name in ("erm", "oracle", "xbl_d", "rrr_g", "rrr")},
    )  # fmt: skip
    toy_task.write_params(rewritable, weights={"xbl_d": [9]})
    assert running.key(PLAIN, rewritable) == before
    toy_task.write_params(rewritable, learning_rate=0.5)
    assert running.key(PLAIN, rewritable) != before, "the task's own, where nothing replaces it"


def test_other_data_have_another_key(rewritable, monkeypatch):
    before = running.key(PLAIN, rewritable)
    toy_task.build(rewritable)
    assert running.key(PLAIN, rewritable) == before, "the same bytes"
    build = toy_task.pool
    monkeypatch.setattr(toy_task, "pool", lambda count, first: build(count, first + 1))
    toy_task.build(rewritable)
    assert running.key(PLAIN, rewritable) != before


@pytest.fixture
def fresh_code():
    """The digests of the code are kept for the life of a process."""
    running._code.cache_clear()
    yield
    running._code.cache_clear()


def test_other_code_or_another_pytorch_has_another_key(root, monkeypatch, fresh_code):
    keys = [running.key(PLAIN, root)]
    monkeypatch.setattr(running.imports, "digests", lambda *modules: dict.fromkeys(modules, "x"))
    running._code.cache_clear()
    keys.append(running.key(PLAIN, root))
    monkeypatch.setattr(running.torch, "__version__", "0.1")
    keys.append(running.key(PLAIN, root))
    monkeypatch.setattr(running.checkpoints, "device_of", lambda _settings: torch.device("cuda"))
    keys.append(running.key(PLAIN, root))
    assert len(set(keys)) == 4


def test_the_code_is_all_that_a_run_rests_on_and_no_other_method():
    """Nor what plans, tables or figures look like: that must not train anything anew."""
    code = {name.removeprefix("xblcore/") for name in running._code("rrr")}
    rests_on = {f"experiments/{name}.py" for name in
                ("running", "data", "feedback", "variants", "spec", "settings")}  # fmt: skip
    assert {name for name in code if name.startswith("experiments/")} - {
        "experiments/__init__.py"
    } == rests_on
    assert {"methods/rrr.py", "methods/erm.py", "losses/input_gradient.py", "train.py"} <= code
    assert not code & {"methods/xbl_d.py", "losses/by_distance.py"}
    assert not [name for name in code if name.startswith(("plots/", "widgets/"))]


def test_neither_the_folder_nor_the_name_of_the_profile_is_in_the_key(root, rewritable):
    before = running.key(PLAIN, root)
    assert running.key(PLAIN, rewritable) == before
    for path in (rewritable / "params.yaml", rewritable / settings.FILE):
        path.write_text(path.read_text(encoding="utf-8").replace("toy:", "mine:"), encoding="utf-8")
    params = rewritable / "params.yaml"
    text = params.read_text(encoding="utf-8").replace("profile: toy", "profile: mine")
    params.write_text(text, encoding="utf-8")
    assert settings.load(rewritable).profile == "mine"
    assert running.key(PLAIN, rewritable) == before


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"method": "xbld"}, "method must be one of erm, .*, got 'xbld'"),
        ({"task": "mnist"}, f"task must be one of {TASK}, got 'mnist'"),
    ],
    ids=["method", "task"],
)
def test_unknown_names(changed, message, root):
    with pytest.raises(ValueError, match=message):
        run(root, **changed)
