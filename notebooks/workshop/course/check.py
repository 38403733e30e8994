"""Notebook 0: is this computer ready for the workshop?"""

from __future__ import annotations

import platform
import time
from importlib.metadata import PackageNotFoundError, version

NEEDED = ("xblcore", "torch", "matplotlib", "ipywidgets", "anywidget")
FETCH = ".venv/bin/python -m xblcore.data fetch"
LONGEST = 130  # epochs on 3,000 garments that take as long as notebook 5
SLOW = 180  # seconds


def verdict() -> str:
    """Print what is found; return "Ready." or what to do."""
    print(f"Python {platform.python_version()} on {platform.system()}")
    for name in NEEDED:  # before anything of xblcore is imported
        try:
            print(f"{name} {version(name)}")
        except PackageNotFoundError:
            return f"Not ready: {name} is missing. Close JupyterLab and start it with `make lab`."
    from course import task

    if not task.is_here(task.GARMENTS):
        return (
            "Not ready: Fashion-MNIST is missing. In the folder of the project, run "
            f"`{FETCH} {task.GARMENTS}`."
        )
    data = task.load()
    task.train(data["train"], epochs=1, progress=False)  # the first steps are slower
    start = time.perf_counter()
    task.train(data["train"], epochs=2, progress=False)
    seconds = LONGEST / 2 * (time.perf_counter() - start)
    print(f"The longest notebook computes for about {seconds / 60:.1f} minutes on this computer.")
    if not task.is_here(task.PHOTOS):
        print("The photographs are missing, so notebook 5 will use garments. To get them "
              f"(140 MB), run `{FETCH} {task.PHOTOS}`.")  # fmt: skip
    if seconds > SLOW:
        return "Ready, but slow: close other programs, or share a faster computer."
    return "Ready."
