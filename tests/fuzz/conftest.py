"""Lets the tests import the fuzzers' modules, as the fuzzers themselves do."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
