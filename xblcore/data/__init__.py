"""The decoy tasks: fetch the raw data, build clean splits, load them with a decoy.

``fetch`` puts the raw files under ``data/raw``, ``build`` writes the clean images of a task to
``data/built``, and ``load`` returns one split as :class:`xblcore.examples.Examples`. Decoys are
drawn when a split is loaded, so one built task serves every decoy. ``data/README.md`` describes
the data.
"""

from xblcore.data.sources import DataUnavailableError
from xblcore.data.splits import SPLITS, DataConfig, Drawn, clean_examples, draw_splits
from xblcore.data.store import build, decoyed, fetch, info, is_built, load
from xblcore.data.tasks import TASKS, Recipe, Task

__all__ = [
    "SPLITS", "TASKS", "DataConfig", "DataUnavailableError", "Drawn", "Recipe", "Task", "build",
    "clean_examples", "decoyed", "draw_splits", "fetch", "info", "is_built", "load",
]  # fmt: skip
