"""Many runs at once, on the cores of this machine or on the machines of a cluster.

The engine is Dask Distributed: small, pure Python, without a daemon, and at home on SLURM and PBS
(dask-jobqueue), over SSH (SSHCluster) and on Kubernetes (dask-kubernetes). Ray, the other
candidate, brings a runtime of its own and far more than independent runs of seconds need.

Workers only compute. Whoever calls :func:`run_all` keeps each run as it finishes
(:mod:`xblcore.experiments.store`), so workers need no place to write to, and a call that was
stopped goes on where it was.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol, get_type_hints

import dask
import pandas as pd
from dask.system import CPU_COUNT
from distributed import Client, Future, LocalCluster, Security, as_completed
from distributed.scheduler import KilledWorker
from tqdm import tqdm

from xblcore import project
from xblcore.experiments import running, store
from xblcore.experiments.running import COLUMNS, Row
from xblcore.experiments.spec import Spec
from xblcore.experiments.store import Finished

SCHEDULER = "scheduler-address"  # Dask's own setting, by the variable DASK_SCHEDULER_ADDRESS
LOCAL = {
    # A run whose worker dies is begun again by another, up to three times; one that takes down four
    # workers wants more memory than there is, and would take down each that is started.
    "distributed.scheduler.allowed-failures": 3,
    # A worker holds no run but the one it computes: else its death counts against the next as well.
    "distributed.scheduler.worker-saturation": 1.0,
    # No status pages: they go by plain HTTP, past TLS, and tell all on this machine of the runs.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}
OPTIONAL_NUMBERS = [name for name, hint in get_type_hints(Spec).items() if hint == int | None]


class RunError(RuntimeError):
    """A run that did not finish; the message names its Spec and tells what to do."""


class Run(Protocol):
    """One run; importable by name, for a worker finds it so."""

    def __call__(self, spec: Spec, *, root: Path | None) -> list[Row]:
        """The rows of ``spec``, in the project of ``root``; None: found by the worker."""
        ...


Key = Callable[[Spec, Path], str]


def run_all(
    specs: Iterable[Spec],
    *,
    root: Path | None = None,
    client: Client | None = None,
    progress: bool = True,
    run: Run = running.run,
    key: Key = running.key,
) -> pd.DataFrame:
    """Do all runs that are not finished yet, and give the rows of all.

    Args:
        specs: the runs; one that is there twice is run, and told, once.
        root: of the project, here and on the workers; None: each finds its own.
        client: of a Dask cluster, left open. None: the scheduler at ``DASK_SCHEDULER_ADDRESS``
            where Dask has one configured, else a cluster of this machine, one process a core, which
            is closed again.
        progress: show a bar.
        run: what does one run.
        key: digest of all that decides a run's numbers. A worker makes it too, and refuses a run
            for which its own differs.

    Returns:
        The rows in the order of ``specs``, with the columns ``running.COLUMNS``; the same whichever
        worker did what, and whatever was finished before.

    Raises:
        RunError: a run raised or cost too many workers. What has finished is kept; the rest is
            cancelled.
        ConnectionError: no scheduler answers at the configured address.
        ValueError: a kept run is damaged.
    """
    home = root or project.root()
    keys = {spec: key(spec, home) for spec in dict.fromkeys(specs)}
    files = {spec: store.path(home, spec, keys[spec]) for spec in keys}
    kept = {spec: store.load(file, spec) for spec, file in files.items()}
    done = {spec: finished for spec, finished in kept.items() if finished is not None}
    missing = {spec: digest for spec, digest in keys.items() if spec not in done}
    with tqdm(
        total=len(keys), initial=len(done), desc="runs", unit="run", disable=not progress
    ) as bar:
        if missing:
            # Dask gives equal names one result, an error too: a further call is to try again.
            call = uuid.uuid4().hex
            with _connected(client, len(missing)) as connected:
                futures = {
                    connected.submit(
                        _work, run, key, spec, root, digest, key=f"{spec.method}-{digest}-{call}"
                    ): spec
                    for spec, digest in missing.items()
                }
                for finished in _as_they_finish(connected, futures):
                    done[finished.spec] = store.save(files[finished.spec], finished)
                    bar.update()
    return _frame(done[spec] for spec in keys)


def _work(run: Run, key: Key, spec: Spec, root: Path | None, digest: str) -> Finished:
    """On a worker: one run."""
    own = key(spec, root or project.root())
    if own != digest:
        raise RuntimeError(
            "the worker's code, settings, data, PyTorch or device are not those of the process "
            f"that asks for the run (key {own}, asked for {digest}); bring them in line, "
            "then start the workers again"
        )
    begun = time.perf_counter()
    rows = run(spec, root=root)
    return Finished(spec, rows, time.perf_counter() - begun)


def _as_they_finish(client: Client, futures: Mapping[Future[Finished], Spec]) -> Iterator[Finished]:
    """The runs, each as it finishes; what is left at the end, after an error say, is cancelled."""
    try:
        results = as_completed(
            list(futures), loop=client.loop, with_results=True, raise_errors=False
        )
        for future, result in results:
            if not isinstance(result, Finished):
                # What finished meanwhile is worth keeping.
                for _, other in results.next_batch(block=False):
                    if isinstance(other, Finished):
                        yield other
                raise _failure(futures[future], future, result)
            # While anybody holds it, Dask would do the run again if its worker were lost.
            future.release()
            yield result
    finally:
        client.cancel([future for future in futures if future.status == "pending"])


def _failure(spec: Spec, future: Future[Finished], result: object) -> RunError:
    cause = result if isinstance(result, BaseException) else future.exception()
    if isinstance(cause, KilledWorker):
        what = (
            f"killed {cause.allowed_failures + 1} workers, most likely for want of memory; "
            "give run_all a client with fewer workers"
        )
    else:
        what = f"raised {type(cause).__name__}: {cause}"
    error = RunError(f"{spec} {what}\nfinished runs are kept, and a further call does the others")
    error.__cause__ = cause
    return error


@contextlib.contextmanager
def _connected(client: Client | None, runs: int) -> Iterator[Client]:
    """A client: the given one, one of the configured scheduler, or one of this machine's cores."""
    address = dask.config.get(SCHEDULER, None)
    if client is not None:
        yield client
    elif address:
        try:
            connected = Client(address, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ConnectionError(
                f"{SCHEDULER} must be the address of a running Dask scheduler, got {address!r} "
                f"({error}); start it, or unset DASK_SCHEDULER_ADDRESS to use this machine alone"
            ) from error
        with connected:
            yield connected
    else:
        with (
            local_cluster(min(runs, CPU_COUNT)) as cluster,
            Client(cluster, set_as_default=False) as connected,
        ):
            yield connected


@contextlib.contextmanager
def local_cluster(workers: int) -> Iterator[LocalCluster]:
    """Processes of one thread each, gone after the block.

    They run what they are sent. So they are reached from this machine alone, and by TLS with a key
    that only this process has: not by others who use the machine. Dask's HTTP ports are left, on
    this machine as well, but without the pages.
    """
    from xblcore.pipeline.execute import KERNEL_ENVIRONMENT  # slow, and no worker needs it

    name = "distributed.nanny.pre-spawn-environ"
    environment = {**dask.config.get(name), **KERNEL_ENVIRONMENT}
    # A process reads these as it starts, so Dask sets them here, in its parent, for good.
    before = {variable: os.environ.get(variable) for variable in environment}
    try:
        with (
            dask.config.set({**LOCAL, name: environment}),
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                security=Security.temporary(),
                dashboard_address=None,
                # Dask else pauses a worker for good at 80% of its share: what PyTorch has freed
                # counts, and with the allocator set as above does not go back to the system.
                memory_limit=None,
            ) as cluster,
        ):
            yield cluster
    finally:
        for variable, value in before.items():
            if value is None:
                os.environ.pop(variable, None)
            else:
                os.environ[variable] = value


def _frame(finished: Iterable[Finished]) -> pd.DataFrame:
    rows = [row for one in finished for row in one.rows]
    # A number that is not given is NaN in every frame, be it given elsewhere in it or nowhere.
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(OPTIONAL_NUMBERS, float))
