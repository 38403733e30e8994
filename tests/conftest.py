"""Set up the tests: helper modules can be imported, and sums do not depend on the machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for `from tests.core import toys`
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the last bits of a sum depend on it
