"""Lets the tests import the campaign's modules, as the campaign itself does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
