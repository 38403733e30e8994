"""The explorer on runs of the profile smoke, and without any."""

from __future__ import annotations

import io
import re

import joblib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from xblcore import data
from xblcore.lab.explorer import Explorer, finished_runs
from xblcore.study import config, runs
from xblcore.study.evaluate import predict

TASK = "decoy_fashion_mnist"


@pytest.fixture
def finished(project_folder) -> list[runs.Result]:
    settings = config.load()
    data.build(TASK, settings.task(TASK).data)
    weights = {"erm": 0.0, "xbl_d_plus": 10.0}
    wanted = [runs.Run(TASK, method, weight, seed) for method, weight in weights.items()
              for seed in settings.seeds]  # fmt: skip
    with joblib.parallel_config("sequential"):  # starting workers takes longer than the runs
        results = runs.results(wanted, progress=False)
    folder = project_folder / "results" / "smoke" / TASK
    folder.mkdir(parents=True)
    tried = [(TASK, method, weight, True) for method, weight in weights.items()]
    tried.append((TASK, "xbl_d_plus", 3.0, False))
    table = pd.DataFrame(tried, columns=["task", "method", "weight", "chosen"])
    table.to_csv(folder / "weights.csv", index=False)
    return results


def test_two_networks_on_one_image(finished, project_folder):
    explorer = Explorer()
    assert (explorer.left.value, explorer.right.value) == ("erm", "xbl_d_plus")
    first = Image.open(io.BytesIO(explorer._picture.value))
    assert first.size == (1200, 280)
    explorer.image.value = 7
    table = explorer.table
    heads = [re.sub(" seed.*", "", head) for head in table]
    assert heads == ["ERM, weight 0,", "XBL-D+, weight 10,"]
    settings = config.load().task(TASK)
    result = finished_runs(config.load(), TASK)["xbl_d_plus"]
    assert result.run in [other.run for other in finished]
    model = runs.trained_model(result, settings)
    classes = data.info(TASK)["classes"]
    clean = data.load(TASK, split="test_decoy_clean").images
    for text, images in (
        ("with the decoy", data.load(TASK, split="test_decoy").images),
        ("decoy of another class", data.load(TASK, split="test_decoy_swapped").images),
        ("without decoy", clean),
    ):
        expected = classes[int(predict(model, images[7:8]).argmax())]
        assert f" {expected} (" in table.loc[f"prediction {text}"].iloc[1]
    second = explorer._picture.value
    explorer.cam.value = "grad_cam"
    assert explorer._picture.value != second
    explorer.right.value = "erm"
    columns = explorer.table
    np.testing.assert_array_equal(columns.iloc[:, 0], columns.iloc[:, 1])


def test_results_of_the_two_methods(finished, project_folder):
    explorer = Explorer()
    assert "make reproduce" in explorer.results().to_string()
    table = runs.table(finished)
    table.to_csv(project_folder / "results" / "smoke" / "metrics.csv", index=False)
    means = explorer.results().loc[("test_clean", "none", "accuracy")]
    rows = table[(table["split"] == "test_clean") & (table["metric"] == "accuracy")]
    for method, value in rows.groupby("method")["value"].mean().items():
        assert means[method] == pytest.approx(value, abs=1e-3)


def test_without_finished_runs_it_says_what_to_do(project_folder):
    explorer = Explorer()
    assert "make reproduce" in explorer._numbers.value
    explorer.image.value = 3  # nothing to show yet
    assert explorer.left.options == ()
    rows = {"task": TASK, "method": ["erm", "xbl_d_plus", "rrr"], "split": "test_clean",
            "explainer": "none", "metric": "accuracy", "value": [0.1, 0.2, 0.3]}  # fmt: skip
    (project_folder / "results" / "smoke").mkdir(parents=True)
    pd.DataFrame(rows).to_csv(project_folder / "results" / "smoke" / "metrics.csv", index=False)
    assert explorer.results().to_dict("records") == [{"erm": 0.1, "xbl_d_plus": 0.2}]
