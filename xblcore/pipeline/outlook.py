"""How long the stages of a matrix will take, by what their runs took last time.

The results in git tell how many runs each method of a task has and what one took. On another
machine or in another profile they take longer or shorter, all by about the same factor, which the
first stage that ends tells. So only proportions count here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Outlook:
    """What stages are expected to take.

    Attributes:
        usual: stage to the seconds that it took last time; one that is not there counts as their
            mean.
    """

    usual: Mapping[str, float]

    def expected(self, name: str) -> float:
        """Seconds of a stage, last time."""
        mean = sum(self.usual.values()) / len(self.usual) if self.usual else 1.0
        return self.usual.get(name, mean)

    def longest_first(self, names: Sequence[str]) -> list[str]:
        """The stages in an order in which none that is long is left alone at the end."""
        return sorted(names, key=self.expected, reverse=True)

    def left(
        self,
        took: Mapping[str, float],
        ages: Mapping[str, float],
        waiting: Sequence[str],
        jobs: int,
    ) -> float:
        """Seconds until all are done.

        A running stage that has taken as long as expected is given a tenth of that more.

        Args:
            took: seconds of each finished stage, at least one.
            ages: seconds since the start of each running one.
            waiting: those not begun.
            jobs: how many run at a time.

        >>> Outlook({"a": 1.0, "b": 2.0, "c": 2.0}).left({"a": 10.0}, {"b": 5.0}, ["c"], 1)
        35.0
        >>> Outlook({"a": 1.0, "b": 9.0}).left({"a": 10.0}, {"b": 0.0}, [], 2)
        90.0
        """
        usual = sum(map(self.expected, took))
        pace = sum(took.values()) / usual if usual else 1.0
        running = [
            max(pace * self.expected(name) - age, pace * self.expected(name) / 10)
            for name, age in ages.items()
        ]
        work = sum(running) + pace * sum(map(self.expected, waiting))
        return max(work / jobs, *running, 0.0)


def of_results(root: Path) -> Outlook:
    """By the results in ``results/``, of the training stages alone.

    Empty where there are none, and where they are damaged: what they are of is about to be made.
    """
    import pandas as pd  # here, since it takes a second, in which the parent may end

    usual = {}
    try:
        for task, table in pd.read_csv(root / "results/paper/summary.csv").groupby("task"):
            path = root / "results" / str(task) / "runs.csv"
            if not path.is_file():
                continue
            runs = pd.read_csv(path, usecols=["method", "weight", "seed"]).drop_duplicates()
            count = runs["method"].value_counts()
            for method, seconds in zip(table["method"], table["seconds_a_run"], strict=True):
                usual[f"train@{task}-{method}"] = float(count.get(method, 0)) * float(seconds)
    except (OSError, ValueError, KeyError):
        return Outlook({})
    # A gap in the table is NaN, and of such a time no clock can be told.
    whole = all(0 <= seconds < math.inf for seconds in usual.values())
    return Outlook(usual if whole else {})
