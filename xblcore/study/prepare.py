"""Fetch and build the data of all tasks: ``python -m xblcore.study.prepare``.

A task whose data is unavailable does not stop the others. The reason is kept in
``data/built/missing.json`` and appears in the output, on the page and in the claims.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from xblcore import data, project
from xblcore.study import config


def main() -> None:
    """Fetch and build every task of the grid and of the experiments."""
    settings = config.load()
    missing = {}
    wanted = [*settings.tasks, *(t for one in settings.all_experiments.values() for t in one.tasks)]
    for task in dict.fromkeys(wanted):
        own = settings.task(task)
        try:
            data.fetch(task, own.data)
            data.build(task, own.data)
            print(f"{task}: {data.info(task)['data']} data")
        except data.DataUnavailableError as error:
            if data.is_built(task, own.data):  # and only the raw files are gone
                continue
            missing[task] = str(error).replace(f"{project.root()}/", "")
            print(f"{task} is left out, because its data is unavailable:\n{error}", file=sys.stderr)
    with project.write_atomic(_path()) as temporary:
        temporary.write_text(json.dumps(missing, indent=2) + "\n", encoding="utf-8")
    if set(settings.tasks) <= set(missing):
        sys.exit("No task has any data; see above for what helps.")


def missing() -> dict[str, str]:
    """Return the tasks whose data is unavailable, and why."""
    path = _path()
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; run: make data")
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return found


def available() -> list[str]:
    """Return the tasks of the grid that have data."""
    absent = missing()
    return [task for task in config.load().tasks if task not in absent]


def _path() -> Path:
    return project.root() / "data" / "built" / "missing.json"


if __name__ == "__main__":
    main()
