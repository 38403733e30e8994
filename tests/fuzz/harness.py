"""Runs a reader under atheris, libFuzzer for Python, guided by what the reader's code does."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
# Found inputs and the growing corpus; not in git.
BUILD = Path(os.environ.get("XBL_FUZZ", TESTS.parent / "build" / "fuzz"))
# Seconds and MiB that one input may take. An input that takes more is a finding.
LIMITS = ("-timeout=10", "-rss_limit_mb=1024", "-max_len=16384")
# Pure Python that reads; not PyYAML, whose scanner gets ten times slower.
INSTRUMENTED = ["xblcore", "PIL", "gzip", "tarfile", "zipfile", "pickletools", "json"]


def fuzz(reader: str) -> None:
    """Give a reader ever new inputs until one fails or the options of libFuzzer say to end."""
    import atheris

    sys.path[:0] = [str(TESTS.parent), str(TESTS)]
    with atheris.instrument_imports(include=INSTRUMENTED):
        import readers
        import seeds

    corpus = BUILD / reader
    corpus.mkdir(parents=True, exist_ok=True)
    for content in [*seeds.valid(reader), *seeds.refused(reader)]:
        readers.read(reader, content)  # imports what it needs, and shows that the seed is good
        (corpus / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)

    def one(data: bytes) -> None:
        readers.read(reader, data)

    options = [*LIMITS, f"-artifact_prefix={BUILD}/{reader}-", *sys.argv[1:]]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()
