"""The notebooks import their helpers as ``course`` from their own folder."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "notebooks" / "workshop"))
