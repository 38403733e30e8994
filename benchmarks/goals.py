"""The goals of all benchmarks as they were last measured, as the table in README.md.

Nothing is measured: it reads the ``.json`` that each benchmark leaves beside its script.

    python benchmarks/goals.py
"""

from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).parent
HEAD = ["| benchmark | goal | measured | asked for | |", "|---|---|---|---|---|"]


def table(folder: Path = HERE) -> str:
    """Markdown, one row a goal, in the order of the files' names."""
    rows = []
    for path in sorted(folder.glob("*.json")):
        for goal in json.loads(path.read_text(encoding="utf-8"))["goals"]:
            value = "–" if goal["value"] is None else f"{goal['value']:.2f}"
            asked = f"{'≥' if goal['at_least'] else '≤'} {goal['bound']:g}"
            rows.append(f"| {path.stem} | {goal['text']} | {value} | {asked} | {goal['verdict']} |")
    return "\n".join([*HEAD, *rows]) + "\n"


if __name__ == "__main__":
    print(table(), end="")
