"""The rule that chooses a weight sees one split only."""

from __future__ import annotations

import pandas as pd
import pytest

from xblcore import selection


def runs(**scores: list[float]) -> pd.DataFrame:
    """Accuracy of the weights 1, 3, 10 (two seeds each) on the named splits, and distractors."""
    rows = [
        {"weight": weight, "seed": seed, "split": split, "metric": metric, "value": value}
        for split, values in scores.items()
        for metric, sign in (("accuracy", 1), ("dead_cam", -1))
        for weight, mean in zip([1.0, 3.0, 10.0], values, strict=True)
        for seed, value in enumerate((sign * mean + 0.1, sign * mean - 0.1))
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


@pytest.mark.parametrize(
    ("scores", "weight"),
    [
        ([0.5, 0.8, 0.7], 3),
        ([0.5, 0.8, 0.9], 10),
        ([0.8, 0.8, 0.2], 1),  # of equals, the smallest
        ([0.7, 0.8, 0.8], 3),
    ],
)
def test_the_best_mean_on_val_swapped_wins_whatever_the_other_splits_say(scores, weight):
    up, down = [0.1, 0.5, 0.9], [0.9, 0.5, 0.1]
    for others in (up, down):
        table = runs(val_swapped=scores, val=others, test_clean=others, test_decoy=others)
        assert selection.choose_weight(table) == weight
    assert selection.choose_weight(runs(val_swapped=scores)) == weight


def test_scores_are_means_over_seeds_by_ascending_weight():
    scores = selection.validation_score(runs(val_swapped=[0.5, 0.8, 0.7], val=[0, 0, 0]))
    assert scores.index.tolist() == [1, 3, 10]
    assert scores.tolist() == pytest.approx([0.5, 0.8, 0.7])


def test_it_does_not_choose_without_the_split():
    table = runs(val=[0.1, 0.2, 0.3], test_clean=[0.1, 0.2, 0.3])
    message = "runs must have rows of accuracy on val_swapped, got none"
    with pytest.raises(ValueError, match=message):
        selection.choose_weight(table)
