"""Lets every test ``import toys``, however pytest is started; removes what DVC leaves behind."""

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

# DVC keeps an index of every repository that it is run in, by default below /var/tmp for ever.
_SITE_CACHE = tempfile.TemporaryDirectory(prefix="xbl-dvc-")
os.environ["DVC_SITE_CACHE_DIR"] = _SITE_CACHE.name
