"""The original Fashion-MNIST for tests, from the project's own folder or else by a real fetch."""

from __future__ import annotations

from pathlib import Path

from xblcore.datasets import fashion_mnist, sources

PROJECT = Path(__file__).parents[1]


def raw_root(folder: Path) -> Path:
    """``folder`` as one of raw files that may be written to, with Fashion-MNIST in it."""
    here = PROJECT / "data" / "raw"
    if sources.missing_files(fashion_mnist.SOURCE, here):
        sources.fetch(fashion_mnist.SOURCE, folder, progress=False)
    else:
        (folder / "fashion-mnist").mkdir(parents=True, exist_ok=True)
        for path in (here / "fashion-mnist").glob("*.gz"):  # what is written is beside them
            (folder / "fashion-mnist" / path.name).symlink_to(path)
    return folder
