"""Every Python process of a measured pipeline tells what it spent its time on.

Python imports a module of this name by itself at its start, before anything else, where it finds
one: ``benchmarks/pipeline.py`` puts this folder on the path of the processes that it watches. The
project's code is not changed. On the main thread the clock is always charged to one thing, the
innermost that is going on: an import, a function of :data:`PARTS`, or nothing of these.

Each process writes ``<pid>.json`` to the folder named by :data:`FOLDER`: when it began and ended,
which watched process started it, its command line, and seconds by part, on the wall and of the CPU.
"""

from __future__ import annotations

import atexit
import builtins
import functools
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FOLDER, PARENT = "XBL_BENCHMARK_RECORDS", "XBL_BENCHMARK_PARENT"
OTHER, IMPORTS, CELLS = "other", "imports", "cells"
# By module, its functions and the part that their time belongs to. A name that a module imported
# is a name of its own: the study calls its own `fit`.
PARTS = {
    "xblcore.study": {
        "load_data": "data",
        "fit": "training",
        "behaviour": "evaluation",
        "explanations": "evaluation",
        "attributions": "evaluation",  # of the watched images, after every epoch
    },
    "xblcore.prepare": {"load_data": "data"},
}
KERNEL = "ipykernel.ipkernel"


class Clock:
    """Seconds by part; what goes on inside a part does not count for it."""

    def __init__(self) -> None:
        self.begun = time.time()
        self.parts: dict[str, list[float]] = {}
        self.stack = [OTHER]
        self.last = time.perf_counter(), time.process_time()

    def charge(self) -> None:
        """Give the time since the last call to what is going on."""
        now = time.perf_counter(), time.process_time()
        part = self.parts.setdefault(self.stack[-1], [0.0, 0.0])
        for kind in range(2):
            part[kind] += now[kind] - self.last[kind]
        self.last = now

    @contextmanager
    def inside(self, part: str) -> Iterator[None]:
        """What the block does belongs to ``part``."""
        self.charge()
        self.stack.append(part)
        try:
            yield
        finally:
            self.charge()
            self.stack.pop()

    def write(self) -> None:
        """The record so far, whole or not at all."""
        self.charge()
        record = {
            "pid": os.getpid(),
            "parent": STARTED_BY,
            "command": sys.orig_argv,
            "begun": self.begun,
            "ended": time.time(),
            "parts": self.parts,
        }
        path = Path(os.environ[FOLDER]) / f"{os.getpid()}.json"
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(record), encoding="utf-8")
        partial.replace(path)


def timed(function: Callable[..., Any], part: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        with clock.inside(part):
            return function(*arguments, **options)

    return call


def timed_cell(execute: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel's ``do_execute``; the record is renewed after every cell, in case it is killed."""

    @functools.wraps(execute)
    async def call(*arguments: Any, **options: Any) -> Any:
        with clock.inside(CELLS):
            reply = await execute(*arguments, **options)
        clock.write()
        return reply

    return call


def watch_imported() -> None:
    """Put the clock around the functions of :data:`PARTS` whose module has been imported."""
    for name in list(waiting):
        module = sys.modules.get(name)
        if module is None or getattr(module.__spec__, "_initializing", False):
            continue
        waiting.discard(name)
        if name == KERNEL:
            kernel = module.IPythonKernel
            kernel.do_execute = timed_cell(kernel.do_execute)
        for function, part in PARTS.get(name, {}).items():
            setattr(module, function, timed(getattr(module, function), part))


def timed_import(*arguments: Any, **options: Any) -> Any:
    """``__import__``; only the outermost one starts the clock, and only on the main thread."""
    if clock.stack[-1] == IMPORTS or threading.current_thread() is not threading.main_thread():
        return original(*arguments, **options)
    with clock.inside(IMPORTS):
        module = original(*arguments, **options)
    if waiting:
        watch_imported()
    return module


clock = Clock()
original = builtins.__import__
waiting = {KERNEL, *PARTS}
if FOLDER in os.environ:
    STARTED_BY = os.environ.get(PARENT)
    os.environ[PARENT] = str(os.getpid())
    atexit.register(clock.write)
    builtins.__import__ = timed_import
