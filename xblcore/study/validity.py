"""Does a metric of an explanation predict what the decoy does to *this* image? (claim C3)

For each network and image, two things are known without any explanation: whether the prediction
changes if only the decoy changes, and whether it is wrong once the decoy is gone. A metric is valid
for an explainer if it ranks the images of a network by these, which the area under the ROC curve
(AUROC) measures: 0.5 is chance, 1 perfect.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import joblib
import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from scipy.stats import mannwhitneyu
from tqdm import tqdm

from xblcore import project
from xblcore.metrics import METRICS
from xblcore.study import config, evaluate, explainers, runs
from xblcore.study.runs import Result

FEWEST = 10  # positive images, and as many negative ones
COLUMNS = ["task", "data", "method", "seed", "explainer", "metric", "family", "target", "auroc",
           "images", "positives"]  # fmt: skip


def auroc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Area under the ROC curve: P(score of a positive > score of a negative), ties count half.

    >>> auroc([0.1, 0.4, 0.35, 0.8], [False, False, True, True])
    0.75
    """
    truth, values = np.asarray(positive, bool), np.asarray(scores, np.float64)
    found = mannwhitneyu(values[truth], values[~truth], method="asymptotic")  # p is not used
    return float(found.statistic / (truth.sum() * (~truth).sum()))


def table(
    finished: Iterable[Result], *, images: int = 300, settings: config.Config | None = None
) -> pd.DataFrame:
    """Measure all explainers and metrics on networks whose weights are kept, see ``Result``.

    Args:
        finished: their results. What was computed once is kept in ``build/validity``.
        images: number of images of ``test_decoy``.
        settings: those of ``params.yaml`` by default.

    Returns:
        One row per network, explainer, metric and target with :data:`COLUMNS`: ``family`` says
        which mask the metric receives, ``object`` or ``decoy``; ``target`` is ``flips`` (the
        prediction changes if only the decoy changes) or ``wrong`` (the prediction without the decoy
        is wrong). A low value of the metric, oriented so that higher is better, should predict the
        target; all-zero maps count as worst. Targets with fewer than :data:`FEWEST` images of
        either kind are left out.
    """
    settings = settings or config.load()
    memory = joblib.Memory(project.root() / "build" / "validity", verbose=0)
    kept = memory.cache(_of_network, ignore=["result", "settings"])
    tasks = []
    for result in finished:
        own = settings.task(result.run.task)
        tasks.append(joblib.delayed(kept)(runs.key(result.run, own), images, result, own))
    workers = max(1, min(len(tasks), joblib.cpu_count()))
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator")
    return pd.concat(list(tqdm(parallel(tasks), total=len(tasks), desc="networks")))


def _of_network(
    _key: str, images: int, result: Result, settings: config.TaskSettings
) -> pd.DataFrame:  # fmt: skip
    run, device = result.run, runs.device_of(settings)
    torch.set_num_threads(settings.threads)
    model = runs.trained_model(result, settings)
    shown, swapped, clean = (
        runs.load_split(run, settings, f"test_decoy{end}").take(slice(images)).to(device)
        for end in ("", "_swapped", "_clean")
    )
    predicted, other, without = (
        evaluate.predict(model, part.images).argmax(1).cpu() for part in (shown, swapped, clean)
    )
    found = {"flips": predicted != other, "wrong": without != clean.labels.cpu()}
    targets = {
        name: target for name, target in found.items()
        if FEWEST <= int(target.sum()) <= len(target) - FEWEST
    }  # fmt: skip
    rows: list[tuple[Any, ...]] = []
    on_grid = shown.on_grid(runs.own_grid(run, settings))
    for explainer in explainers.EXPLAINERS.values() if targets else ():
        values = evaluate.per_image(model, on_grid, explainer, layer=model.cam_layer)
        for name, value in values.items():
            metric = METRICS[name]
            family = "decoy" if "decoy_mask" in metric.needs else "object"
            if metric.kind == "health" or value.isnan().all():
                continue
            score = metric.counting_undefined(value).double().cpu().numpy()
            score = -score if metric.higher_is_better else score
            rows += [
                (run.task, result.data, run.method, run.seed, explainer.name, name, family, target,
                 auroc(score, truth), len(truth), int(truth.sum()))
                for target, truth in targets.items()
            ]  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)
