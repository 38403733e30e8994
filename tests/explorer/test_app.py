"""The explorer as a person uses it, without a browser: every state shows something sensible."""

from __future__ import annotations

import html
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import toy_task

from xblcore import config
from xblcore.explorer import gallery
from xblcore.explorer.app import Explorer

ROOT = Path(__file__).parents[2]
TASK = toy_task.TASK


def text(explorer: Explorer) -> str:
    """All that is written, the parts that are not shown left out."""
    shown, waiting = [], [explorer]
    while waiting:
        part = waiting.pop()
        waiting += getattr(part, "children", ())
        shown.append(str(getattr(part, "value", "")))
    return "\n".join(shown)


def options(explorer: Explorer, name: str) -> list:
    return [value for _, value in explorer.controls[name].options]


@pytest.fixture
def explorer(made) -> Explorer:
    return Explorer(root=made)


def test_it_opens_on_the_gallery_with_two_methods_side_by_side(explorer):
    assert explorer.controls["origin"].value == "committed"
    assert explorer.controls["method"].value == "xbl_d"
    assert explorer.controls["other"].value == "erm"
    found = text(explorer)
    assert found.count('role="img"') == 5 and "Metrics of this image" in found
    assert "Without a decoy" in found and "XBL-D, weight 2, seed 0" in found
    for name in ("target", "layer"):
        assert explorer.controls[name].disabled, "one option is no choice"


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", 1), ("method", "oracle"), ("other", "oracle"), ("split", "test_clean"),
     ("kind", "grad_cam"), ("score", "log_prob"), ("image", 3), ("show", "wrong"),
     ("order", "iou")],
)  # fmt: skip
def test_every_choice_changes_what_is_seen(explorer, name, value):
    before = text(explorer)
    explorer.controls[name].value = value
    assert text(explorer) != before


def test_a_kind_without_the_chosen_score_falls_back(explorer):
    explorer.controls["score"].value = "log_prob"
    explorer.controls["kind"].value = "grad_cam"
    assert options(explorer, "score") == ["logit"] and "Grad-CAM, logit of" in text(explorer)


def test_filters_list_what_they_say(explorer):
    ask, _ = explorer.controls.asks()
    answers = explorer.source.answers(ask)
    explorer.controls["show"].value = "wrong"
    assert options(explorer, "image") == list(answers.index[answers["wrong"]])
    explorer.controls["show"].value = "flipped"
    assert options(explorer, "image") == list(answers.index[explorer.source.flipped(ask)])
    explorer.controls["show"].value = "all"
    explorer.controls["order"].value = "energy_pointing_game"
    values = explorer.source.values(ask, "energy_pointing_game")
    assert values[options(explorer, "image")].dropna().is_monotonic_increasing


def test_a_filter_that_leaves_nothing_says_so_and_can_be_left(explorer, monkeypatch):
    ask, _ = explorer.controls.asks()
    none = explorer.source.flipped(ask) & False
    with monkeypatch.context() as patch:
        patch.setattr(explorer.source, "flipped", lambda ask: none)
        explorer.controls["show"].value = "flipped"
        assert "No image is left by this filter" in text(explorer)
        assert 'role="img"' not in text(explorer)
        explorer.controls.next.click()
    explorer.controls["show"].value = "all"
    assert text(explorer).count('role="img"') == 5


def test_the_buttons_walk_through_the_images_and_round(explorer):
    first, *_, last = options(explorer, "image")
    explorer.controls.previous.click()
    assert explorer.controls["image"].value == last
    explorer.controls.next.click()
    assert explorer.controls["image"].value == first


def test_a_dot_shows_its_run_and_a_choice_marks_its_dot(explorer):
    names = [dot["label"].partition(":")[0] for dot in explorer.runs.scatter.plot["dots"]]
    explorer.runs.scatter.chosen = names.index("Oracle, weight 1, seed 1")
    assert explorer.controls["method"].value == "oracle" and explorer.controls["seed"].value == 1
    assert "Oracle, weight 1, seed 1." in text(explorer)
    assert "The pictures above show this run." in text(explorer)
    explorer.runs.scatter.chosen = names.index("XBL-D, weight 9, seed 0")
    assert "Its network was not kept" in text(explorer) and "0.800" in text(explorer)
    assert explorer.controls["method"].value == "xbl_d"
    explorer.controls["method"].value = "erm"
    assert explorer.runs.scatter.chosen == names.index("ERM, weight 0, seed 0")


def test_a_run_whose_seed_the_source_has_not_is_not_said_to_be_shown(explorer, monkeypatch):
    names = [dot["label"].partition(":")[0] for dot in explorer.runs.scatter.plot["dots"]]
    monkeypatch.setattr(explorer.source, "seeds", (0,))
    explorer.runs.scatter.chosen = names.index("Oracle, weight 1, seed 1")
    assert explorer.controls["method"].value == "oracle" and explorer.controls["seed"].value == 0
    assert "Oracle, weight 1, seed 1." in text(explorer)
    assert "There is no picture of this run" in text(explorer)


def test_stand_in_data_are_called_so(explorer):
    assert "(stand-in data)" in explorer.runs.scatter.plot["title"]


def test_another_metric_keeps_the_chosen_run(explorer):
    chosen = explorer.runs.scatter.chosen
    explorer.runs.metric.value = "decoy_flip_rate"
    assert explorer.runs.scatter.chosen == chosen >= 0
    explorer.runs.explainer.value = "grad_cam"
    assert "Wrong reason" in text(explorer)


def test_live_frees_class_layer_and_score_and_keeps_the_image(explorer):
    explorer.controls["image"].value = 4
    explorer.controls["origin"].value = "live"
    assert explorer.controls["image"].value == 4
    assert options(explorer, "score") == ["logit", "log_prob", "projection"]
    assert not explorer.controls["layer"].disabled
    for name, value in (("target", 2), ("layer", "features.0"), ("score", "projection")):
        before = text(explorer)
        explorer.controls[name].value = value
        assert text(explorer) != before
    assert "random projection&nbsp;" in text(explorer) and "projection of" not in text(explorer)
    explorer.controls["order"].value = "wrong_reason"
    explorer.controls["origin"].value = "committed"
    assert explorer.controls["layer"].value == "features"
    assert text(explorer).count('role="img"') == 5


def test_nothing_there_yet_says_what_to_run(bare):
    found = text(Explorer(root=bare))
    assert "no gallery of" in found and "no results of" in found and "make reproduce" in found
    assert "no networks were trained here" in found


def test_networks_without_a_gallery_open_live(made, bare):
    for name in ("data", "build"):
        (bare / name).symlink_to(made / name)
    explorer = Explorer(root=bare)
    assert explorer.controls["origin"].value == "live" and text(explorer).count('role="img"') == 5
    assert "no results of" in text(explorer)


def test_a_damaged_gallery_says_so_and_the_runs_are_still_there(made, bare):
    shutil.copytree(made / "results", bare / "results")
    gallery.path_of(TASK, root=bare).write_text("damaged")
    explorer = Explorer(root=bare)
    assert "must be a gallery of" in text(explorer) and 'role="alert"' in text(explorer)
    assert explorer.runs.scatter.plot["dots"]
    explorer.runs.scatter.chosen = 0  # shows its facts, and fails at nothing
    assert "There is no picture of this run" in text(explorer)
    assert "pictures above" not in text(explorer)
    explorer.runs.metric.value = "decoy_flip_rate"
    assert "There is no picture of this run" in text(explorer), "another metric shows no picture"


def head(content: bytes) -> bytes:
    """The line of column names."""
    return content[: content.index(b"\n") + 1]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda _: b"", "No columns"),
        (lambda _: b"task\n", "columns expected but not found"),
        (head, "got: one of no task"),
        (lambda content: content[: content.index(b"\n", 200)], "no metric of an explanation"),
        (lambda content: content.replace(b",0.5,", b",half,", 1), "half"),
        (lambda content: content.replace(b",0.5,", b",inf,", 1), "outside [0, 1]"),
        (lambda content: content.replace(b"True,0,", b"True,inf,", 1), "int64"),
        (lambda content: content.replace(b"True,0,", b"True,9" + b"9" * 30 + b",", 1), "verflow"),
        (lambda content: content.replace(b"True,0,", b"maybe,0,", 1), "bool"),
        (lambda content: content[: len(content) // 2], "got: "),
        (lambda content: content[: content.rindex(b",")], "could not convert"),
        (lambda content: content + content[len(head(content)) :], "duplicate"),
        (lambda content: content.replace(TASK.encode(), b"decoy_coco"), "got: one of decoy_coco"),
        (lambda content: content.replace(b"erm", b"\xff"), "codec"),
        (lambda content: content + b'"', "EOF inside string"),
    ],
)
def test_a_damaged_table_of_runs_says_so(made, bare, damage, told):
    shutil.copytree(made / "results", bare / "results")
    path = bare / "results" / TASK / "runs.csv"
    path.write_bytes(damage(path.read_bytes()))
    explorer = Explorer(root=bare)
    found = html.unescape(text(explorer))
    assert f"{path} must be a table of runs, got: " in found and told in found
    assert "; run: make reproduce" in found and found.count('role="img"') == 5
    explorer.controls["method"].value = "oracle"


RANKING = (
    "task,split,explainer,metric,rho,ci_low,ci_high\n"
    f"{TASK},test_decoy,hires_cam,distance_focus,0.5,0.25,0.75\n"
    f"{TASK},test_decoy,none,decoy_flip_rate,,,\n"
).encode()


def test_how_a_metric_ranks_is_told(made, bare):
    shutil.copytree(made / "results", bare / "results")
    path = bare / "results" / TASK / "informativeness.csv"
    path.write_bytes(RANKING)
    explorer = Explorer(root=bare)
    assert "ρ = 0.50 [0.25, 0.75]" in explorer.runs.scatter.plot["told"]
    explorer.runs.metric.value = "decoy_flip_rate"
    assert explorer.runs.scatter.plot["told"] == "", "it is undefined"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"split,rho\n",
        RANKING.replace(b"0.5", b"half"),
        RANKING + b'"',
        RANKING.replace(b"none", b"\xff"),
    ],
)
def test_a_damaged_ranking_is_told_and_the_dots_are_still_there(made, bare, content):
    shutil.copytree(made / "results", bare / "results")
    path = bare / "results" / TASK / "informativeness.csv"
    path.write_bytes(content)
    explorer = Explorer(root=bare)
    plot = explorer.runs.scatter.plot
    assert plot["told"].startswith(f"{path} must be a table of metrics, got: ")
    assert plot["told"].endswith("; run: make reproduce")
    assert len(plot["dots"]) == 7 and text(explorer).count('role="img"') == 5


def test_data_damaged_while_it_is_open_are_told_in_place_of_the_picture(made, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(made, root)
    explorer = Explorer(root=root)
    explorer.controls["origin"].value = "live"
    for path in (root / "data" / "decoy" / TASK / "val").glob("*.npy"):
        path.write_bytes(path.read_bytes()[:-1] + b"\0\0")
    explorer.controls["split"].value = "val"
    found = text(explorer)
    assert "sha256 of" in found and f"run: python -m xblcore.pipeline.decoy {TASK}" in found
    assert 'role="alert"' in found and 'role="img"' not in found
    explorer.controls["split"].value = "test_decoy"
    assert text(explorer).count('role="img"') == 5


@pytest.mark.parametrize("manifest", ["{", "{}", "[]", '{"weight": "x"}', None])
def test_networks_without_a_proper_manifest_are_told(made, tmp_path, manifest):
    root = tmp_path / "project"
    shutil.copytree(made, root)
    path = root / "build" / "runs" / TASK / "erm" / "manifest.json"
    path.unlink() if manifest is None else path.write_text(manifest)
    explorer = Explorer(root=root)
    explorer.controls["origin"].value = "live"
    found = text(explorer)
    assert str(path) in found and "run: make reproduce" in found and 'role="img"' not in found


def test_a_wrong_task_is_told_and_the_first_opens(made):
    explorer = Explorer("decoy_mnist", root=made)
    assert f"task must be one of {TASK}, got" in text(explorer)
    assert "decoy_mnist" in text(explorer) and text(explorer).count('role="img"') == 5


WITHOUT_TORCH = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "captum"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "torch" else found(name, *rest)
from xblcore.explorer.app import Explorer
explorer = Explorer()
for task in [value for _, value in explorer.controls["task"].options]:
    explorer.controls["task"].value = task
    assert explorer.source.task == task
    for name in ("split", "method", "other", "seed", "kind", "score", "show", "order", "image"):
        box = explorer.controls[name]
        box.value = box.options[-1][1]
    explorer.runs.scatter.chosen = 3
    explorer.controls["show"].value = "all"
    pictures = explorer._picture.value.count('role="img"')
    print(task, pictures, len(explorer.runs.scatter.plot["dots"]))
    assert "PyTorch is not installed" in explorer._about.value
assert not {"torch", "torchvision", "captum"} & {name for name, m in sys.modules.items() if m}
"""


def test_the_committed_results_open_without_torch():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == config.load(ROOT).tasks
    assert all(line[1] == "5" and int(line[2]) > 10 for line in lines)


@pytest.mark.parametrize("task", config.load(ROOT).tasks)
def test_the_committed_gallery_is_small_and_of_the_runs_beside_it(task):
    path = gallery.path_of(task, root=ROOT)
    assert path.stat().st_size < 1.5e6
    about = gallery.load(task, root=ROOT).about
    runs = pd.read_csv(ROOT / "results" / task / "runs.csv")
    chosen = runs[runs["chosen"]].drop_duplicates("method").set_index("method")["weight"]
    assert dict(zip(about.methods, about.weights, strict=True)) == chosen.to_dict()
    assert about.seeds == sorted(set(runs["seed"])) and {about.data} == set(runs["data"])
