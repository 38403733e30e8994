"""The rule that chooses the weight of an explanation loss without looking at a test split.

Accuracy on ``val`` cannot choose, since the decoy tells the label there too and the uncured model
wins. The rule takes accuracy on ``val_swapped``: the same validation images, the value of the decoy
replaced by another class's. It needs validation images and the annotation of what is wrong in them,
no more; a model scores high there only if it knows the object *and* does not follow the decoy. An
uncured model scores below chance there, a collapsed one at chance: where no weight cures, the rule
takes a collapsed one, with two classes (chance 0.5) sooner than with ten.
"""

from __future__ import annotations

import pandas as pd

SPLIT, METRIC = "val_swapped", "accuracy"


def validation_score(runs: pd.DataFrame) -> pd.Series[float]:
    """Mean accuracy on ``val_swapped`` of each weight, over the seeds in ``runs``.

    Args:
        runs: tidy rows with the columns ``weight``, ``split``, ``metric`` and ``value``.

    Returns:
        Indexed by weight, ascending.

    Raises:
        ValueError: no such rows.
    """
    rows = runs[(runs["split"] == SPLIT) & (runs["metric"] == METRIC)]
    if rows.empty:
        raise ValueError(f"runs must have rows of {METRIC} on {SPLIT}, got none")
    return rows.groupby("weight")["value"].mean()


def choose_weight(runs: pd.DataFrame) -> float:
    """The weight with the highest :func:`validation_score`; of equals, the smallest.

    >>> runs = pd.DataFrame({"weight": [1.0, 3.0], "split": "val_swapped", "metric": "accuracy",
    ...                      "value": [0.5, 0.8]})
    >>> choose_weight(runs)
    3.0
    """
    score = validation_score(runs)
    return float(score.index[int(score.to_numpy().argmax())])
