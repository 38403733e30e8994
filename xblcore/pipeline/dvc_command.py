"""What the pipeline asks of DVC: run a command that can be ended whole, and name stages."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from xblcore.pipeline import lifeline

PIPELINE = "dvc.yaml"  # without a target, DVC looks at the experiments' too
# Files that a killed DVC may leave half written, and what brings each back.
HALF_WRITTEN = {"dvc.lock": "git checkout dvc.lock", "rwlock": "rm .dvc/tmp/rwlock"}


class DvcError(RuntimeError):
    """DVC cannot say what is to be done; the message has its reason and, where known, a remedy."""


@dataclass
class Dvc:
    """One running ``dvc`` command, in a process group of its own so that it can be ended whole."""

    root: Path
    arguments: Sequence[str]
    log: Path | None = None
    process: subprocess.Popen[bytes] = field(init=False)
    begun: float = field(init=False, default_factory=time.monotonic)

    def __post_init__(self) -> None:
        environment = dict(os.environ)
        # Stages call ``python``: it must be this one, also when the environment is not activated.
        environment["PATH"] = os.pathsep.join(
            [str(Path(sys.executable).parent), environment.get("PATH", os.defpath)]
        )
        environment[lifeline.ENDS_WITH] = str(os.getpid())
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(self.log.open("wb")) if self.log else None
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dvc", "--wait-for-lock", *self.arguments],
                cwd=self.root,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                start_new_session=True,
            )

    @property
    def age(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.begun

    def wait(self) -> int:
        """Exit code; an exception that arrives meanwhile ends the command."""
        try:
            return self.process.wait()
        finally:
            self.stop()

    def stop(self, patience: float = 10.0) -> None:
        """End the command and all that it started, as Ctrl-C would, or by force."""
        if self.process.poll() is not None:
            return
        os.killpg(self.process.pid, signal.SIGINT)
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            lifeline.kill_descendants(psutil.Process(self.process.pid))
            self.process.kill()
            self.process.wait()


def generations(root: Path) -> list[list[str]]:
    """Names of the stages of ``dvc.yaml``, those of a list needing only those of lists before it.

    Args:
        root: project folder.
    """
    import networkx

    graph = _asked(root, lambda repo: repo.index.graph)
    graph = graph.reverse()  # DVC's edges lead from a stage to what it needs
    graph = graph.subgraph(s for s in graph if s.path_in_repo == PIPELINE)
    layers = networkx.topological_generations(graph)
    return [sorted(stage.addressing for stage in layer) for layer in layers]


def changed(root: Path, names: Sequence[str]) -> list[str]:
    """Those of the stages ``names`` that DVC would run, in the given order.

    Raises:
        DvcError: another DVC is in one of them, or a file of DVC's is damaged.
    """
    if not names:  # no targets would mean all of them
        return []
    status = _asked(root, lambda repo: repo.status(targets=list(names)))
    return [name for name in names if name in status]


def _asked(root: Path, question: Callable[[Any], Any]) -> Any:
    """What DVC's own view of the project answers; the question is a call of DVC's alone."""
    from dvc.exceptions import DvcException  # here, since it takes a second, in which the parent
    from dvc.repo import Repo  # may end

    try:
        with Repo(str(root)) as repo:
            return question(repo)
    except DvcException as error:
        remedy = next((HALF_WRITTEN[name] for name in HALF_WRITTEN if name in str(error)), None)
        told = f"\nit was not written to its end; run: {remedy}" if remedy else ""
        raise DvcError(f"DVC stopped: {error}{told}") from error
    except TypeError as error:  # all that DVC says of a list that is none, and of a date
        raise DvcError(
            "DVC stopped: `tasks` and `methods` of params.yaml must be lists, and each value in it "
            "a number, truth value, list, mapping or text (as a date in quotes is), got others: "
            f"{error}"
        ) from error


def drop_damaged(root: Path) -> list[Path]:
    """Delete the files in DVC's cache that no longer are what was put there, and return them.

    DVC takes a read-only file in its cache for whole, gives it out as a result and calls this up to
    date. What is missing from the cache it makes anew.
    """
    damaged = []
    for path in sorted((root / ".dvc" / "cache" / "files" / "md5").glob("[0-9a-f][0-9a-f]/*")):
        if path.name.startswith("."):  # being written, or left by a killed DVC
            continue
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
        if found.hexdigest() != path.parent.name + path.name.removesuffix(".dir"):
            path.unlink()
            damaged.append(path)
    return damaged
