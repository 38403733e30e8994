"""Make the explorer's fixed gallery of a task: ``python -m xblcore.pipeline.gallery TASK``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from xblcore.pipeline import stage


def main(arguments: Sequence[str] | None = None) -> int:
    """Write ``results/gallery/<task>.npz`` and say how large it is; returns the exit code."""
    import torch  # slow: the stage's end is watched for before

    from xblcore import config
    from xblcore.explorer import gallery, making

    parser = argparse.ArgumentParser(prog="python -m xblcore.pipeline.gallery", description=__doc__)
    parser.add_argument("task", help="a task of params.yaml")
    task = parser.parse_args(arguments).task
    try:
        torch.set_num_threads(config.load().task(task).threads)  # decides the last bits
        made = making.make(task)
        path = gallery.path_of(task)
        gallery.save(made, path)
    except (ValueError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    images = sum(len(part.positions) for part in made.shown.values())
    print(f"{path}: {images} images, {path.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(stage.run(main))
