"""What the page states follows the numbers, and its HTML is complete and self-contained."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt

from tests.plots.synthetic import make_weights
from tests.study.synthetic import TASKS, make_runs
from tests.study.test_claims import make_factorial, make_validity
from xblcore.plots import page, style
from xblcore.study import claims, config, gallery, tables

ROOT = Path(__file__).parents[2]
KINDS = {"decoy_cifar10": "original", "decoy_coco": "stand-in"}
METHODS = ["erm", "oracle", "xbl_d_plus", "xbl_overlap", "rrr"]


def explorer() -> dict[str, Any]:
    """Four images of two classes; ERM follows the decoy, the others do not."""
    generator = torch.Generator().manual_seed(0)
    clean = torch.randint(200, (4, 3, 8, 8), generator=generator, dtype=torch.uint8)
    decoy, masks = clean.clone(), torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    decoy[:, :, :2, :2], masks[:, :, :2, :2], masks[:, :, 4:, 4:] = 255, gallery.DECOY, 127
    cams = torch.randint(256, (4 * len(METHODS), 1, 2, 2), generator=generator, dtype=torch.uint8)
    labels, codes = [0, 0, 1, 1], [0, 1, 0, 1]
    methods = {
        name: {"seed": 1, "weight": 3.0, "accuracy": 0.5, "percent": [[90] * 4] * 3,
               "classes": [codes, codes[::-1], labels] if name == "erm" else [labels] * 3,
               "metrics": {cam: {"iou": [0, 50, None, 100]} for cam in gallery.CAMS}}
        for name in METHODS
    }  # fmt: skip
    sprite = gallery.sprite(gallery.changed(decoy, clean))
    return {
        "classes": ["cat", "</script>"], "columns": 10, "side": 8, "grid": [2, 2],
        "index": [3, 5, 7, 9], "labels": labels, "codes": codes, "views": list(gallery.VIEWS),
        "methods": methods, "clean": gallery.sprite(clean), "masks": gallery.sprite(masks),
        "decoy": sprite, "swapped": sprite,
        "cams": {name: gallery.sprite(cams, columns=4) for name in gallery.CAMS},
    }  # fmt: skip


def write_page(root: Path) -> Path:
    """Write the page of two tasks, one on stand-in data, and of one experiment."""
    runs = make_runs(tasks=list(KINDS), data=KINDS)
    settings = config.load(ROOT / "params.yaml").model_copy(update={"results": "results"})
    own = runs.assign(margin=3.0)
    folder = root / "results" / "experiments" / "margin"
    tables.write_csv(tables.summarise(own, by=("margin",)), folder / "table.csv")
    for place in (folder, root / "results" / "decoy_coco"):
        style.save(plt.figure(), place, "data")
    for task in KINDS:
        gallery.write(explorer(), root / "build" / "tasks" / task / "explorer.json")
    path = root / "results" / "paper" / "index.html"
    page.write(
        path, runs, weights=make_weights(METHODS), claims=claims.judge(runs), settings=settings,
        missing={"decoy_fashion_mnist": "No answer; run `make data`."}, root=root,
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_page(tmp_path_factory.mktemp("page")).read_text(encoding="utf-8")


def test_page_is_complete_and_fetches_nothing(html: str) -> None:
    levels = [int(level) for level in re.findall(r"<h(\d)", html)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    ids, links = re.findall(r' id="([^"]+)"', html), re.findall(r'href="#([^"]+)"', html)
    assert len(ids) == len(set(ids)) and set(links) <= set(ids)
    assert [len(alt) > 20 for alt in re.findall(r'<img [^>]*alt="([^"]+)"', html)] == [True] * 2
    assert all(source.startswith("data:") for source in re.findall(r'src="([^"]*)', html))
    for task in KINDS:
        (found,) = re.findall(rf'id="data-{task}">(.*?)</script>', html)
        assert json.loads(found) == explorer()
    dots = re.findall(r'data-run="(\w+-\d+)"', html)
    assert len(dots) == len(page.MEASURES) * len(KINDS) * 60 and len(set(dots)) == 60


def test_stand_in_data_and_missing_tasks_are_named(html: str) -> None:
    text = re.sub(r"(?s)<script.*?</script>", "", html)
    assert text.count("Decoy MS-COCO") == text.count("Decoy MS-COCO (stand-in data)")
    assert "No answer; run <code>make data</code>." in text


def points(**recovery: list[float]) -> pd.DataFrame:
    """Table of page.points with one seed; flips are 0.3 where a method does not recover."""
    rows = [{"task": task, "method": method, "seed": 0, "weight": 1.0, "accuracy": value / 2,
             "data": "stand-in" if task == "decoy_coco" else "original",
             "recovery": value, "flips": 0.3 if value < 0.5 else 0.004}
            for method, values in recovery.items()
            for task, value in zip(TASKS, values, strict=False)]  # fmt: skip
    return pd.DataFrame(rows)


def test_method_ignores_the_decoy_if_it_recovers_and_rarely_flips() -> None:
    known = points(xbl_d_plus=[0.9, 0.79, 0.81])
    assert page.ignoring(known, "task") == [TASKS[0], TASKS[2]]
    assert page.ignoring(known.assign(flips=0.11), "task") == []
    assert page.ignoring(points(rrr=[0.9], erm=[0.0], oracle=[1.0]), "method") == ["rrr", "oracle"]


@pytest.mark.parametrize(("ours", "other", "expected"), [
    ([0.9] * 3, [0.9] * 3, ["all 3 tasks (1 with stand-in data); an overlap loss does too"]),
    ([0.9, 0.9, 0.1], [0.9, 0.1, 0.1], ["on 2 of 3 tasks", "overlap loss on 1 of 3 tasks"]),
    ([0.1, 0.1, 0.1], [0.1, 0.1, 0.1], ["on no task", "no better"]),
    ([0.1, 0.1, 0.1], [0.9, 0.9, 0.9], ["on no task", "overlap loss on all 3 tasks"]),
    ([0.9], [0.1], ["learning the shortcut; an overlap loss on no task"]),
])  # fmt: skip
def test_title_follows_the_numbers(
    ours: list[float], other: list[float], expected: list[str]
) -> None:
    found = page.title(points(xbl_d_plus=ours, xbl_overlap=other))
    assert all(text in found for text in expected)


def test_sentences_hold_the_means() -> None:
    known = points(erm=[0.0, 0.0], oracle=[1.0, 1.0], xbl_d_plus=[0.9, 0.96], rrr=[0.2, 0.3])
    accuracy, flips, recovery = page.sentences(known, dict(zip(TASKS, "AB", strict=False)))
    assert "45% on A and 48% on B" in accuracy
    assert "0.4% and 0.4%" in flips and "30% and 30%" in flips
    assert "90% and 96%" in recovery and "RRR 20% and 30%" in recovery


@pytest.mark.parametrize("known", ["nothing", "one task", "all"])
@pytest.mark.parametrize("stored", [False, True])
def test_claims_are_complete_whatever_was_run(known: str, stored: bool, tmp_path: Path) -> None:
    tasks = TASKS if known == "all" else TASKS[:1]
    experiments = {} if known == "nothing" else {
        "factorial": make_factorial(dict.fromkeys(tasks, 0.0)),
        "validity": make_validity({"distance_focus": 0.75}, tasks=tasks),
    }  # fmt: skip
    judged: Any = claims.judge(make_runs(tasks=tasks), **experiments)
    if stored:  # with None in place of NaN
        claims.write(judged, tmp_path / "claims.json")
        judged = json.loads((tmp_path / "claims.json").read_text(encoding="utf-8"))
    cards = {claim["id"]: page._claim(claim) for claim in judged}
    for card in cards.values():
        texts = [card["text"], *card["absent"], *(part["text"] for part in card["parts"])]
        assert not any("undefined" in text or "nan" in text for text in texts)
        assert not any("at least two" in text for text in texts)
        for part in card["parts"]:
            assert (
                card["low"] < part["ci_low"] <= part["estimate"] <= part["ci_high"] < card["high"]
            )
            assert part["decides"]
    assert bool(cards["C2"]["parts"]) == bool(cards["C3"]["parts"]) == (known != "nothing")
    assert cards["C4"]["text"].startswith("0 of 3")


def test_experiment_states_recovery_in_each_condition() -> None:
    about = {"task": "decoy_cifar10", "data": "stand-in", "method": "xbl_d_plus",
             "explainer": "none", "ci_low": 0.0, "ci_high": 1.0, "seeds": 5}  # fmt: skip
    values = {"0": (0.1, 0.9), "3": (0.95, 0.004), "5": (0.5, 0.3)}
    rows = [about | {"margin": margin, "metric": metric, "split": split, "mean": value}
            for margin, pair in values.items()
            for (metric, split), value in zip(
                (("recovery", "test_clean"), ("decoy_flip_rate", "test_decoy")), pair, strict=True
            )]  # fmt: skip
    lead, only = page._recoveries(pd.DataFrame(rows), "margin")
    assert lead == "Recovery of XBL-D+ by margin in pixels, with flips; 5 seeds:"
    expected = "Decoy CIFAR-10 (stand-in data): 0: 0.10 (90%); 3: 0.95 (0.4%); 5: 0.50 (30%)"
    assert only == expected
    rrr = pd.DataFrame(rows).assign(method="rrr", mean=0.05)
    assert page._recoveries(pd.concat([pd.DataFrame(rows), rrr]), "margin")[1].startswith(expected)
    [_, first] = page._recoveries(rrr[rrr["margin"] == "0"], "margin")
    assert first == "Decoy CIFAR-10 (stand-in data): 0.05 (5.0%)"
