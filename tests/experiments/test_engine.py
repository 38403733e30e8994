"""Many runs on real worker processes: which are done, which again, and what is left of each."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
import fake_runs
import pandas as pd
import psutil
import pytest
from distributed import Client, LocalCluster, Security

from xblcore.experiments import engine, running, store
from xblcore.experiments.spec import Spec
from xblcore.pipeline.execute import KERNEL_ENVIRONMENT

SPECS = [Spec("decoy_fashion_mnist", "erm", 0.0, seed) for seed in range(5)]
MIXED = [SPECS[4], SPECS[0], SPECS[3], SPECS[1], SPECS[2]]
ALL_ONCE = dict.fromkeys(range(5), 1)
TESTS = Path(__file__).parents[1]


def run_all(specs, root, *, run=fake_runs.run, key=fake_runs.key, **options):
    return engine.run_all(specs, root=root, run=run, key=key, progress=False, **options)


def assert_as_in_a_loop(frame, specs):
    """The rows that a plain loop over the specs gives."""
    rows = [row for spec in specs for row in fake_runs.rows(spec)]
    plain = pd.DataFrame(rows, columns=list(running.COLUMNS))
    pd.testing.assert_frame_equal(frame, plain.astype({"annotated": float, "decoy_size": float}))


def workers_of(client):
    return set(client.run(os.getpid).values())


@pytest.fixture(scope="module")
def cluster():
    """Two workers as the engine starts them, shared by these tests; none lives on."""
    ours = {**KERNEL_ENVIRONMENT, "OMP_NUM_THREADS": "1"}
    before = {name: os.environ.get(name) for name in ours}
    with engine.local_cluster(2) as shared:
        yield shared
        with Client(shared, set_as_default=False) as last:
            processes = [psutil.Process(pid) for pid in workers_of(last)]
    assert {name: os.environ.get(name) for name in ours} == before
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert not alive


@pytest.fixture(scope="module")
def client(cluster):
    with Client(cluster, set_as_default=False) as shared:
        yield shared


def test_workers_have_the_environment_of_the_kernels_and_this_machine_alone_reaches_them(client):
    """The environment that their processes were started with: glibc reads it no later."""
    pids = workers_of(client)
    assert len(pids) == 2
    assert os.getpid() not in pids
    for process in map(psutil.Process, pids):
        started_with = process.environ()
        for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_"):
            assert started_with[name] == KERNEL_ENVIRONMENT[name]
    for process in (
        psutil.Process(),
        *psutil.Process().children(recursive=True),
    ):  # the scheduler too
        listening = [c for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
        assert {connection.laddr.ip for connection in listening} <= {"127.0.0.1"}
    assert client.scheduler.address.startswith("tls://127.0.0.1:")
    assert set(client.nthreads().values()) == {1}


def test_the_rows_are_those_of_a_loop_in_the_order_of_the_specs(client, tmp_path):
    assert_as_in_a_loop(run_all([*MIXED, MIXED[1]], tmp_path, client=client), MIXED)
    assert fake_runs.begun(tmp_path) == ALL_ONCE  # the one that is there twice, too
    assert fake_runs.kept(tmp_path) == {*ALL_ONCE}
    assert fake_runs.pids(tmp_path) <= workers_of(client)


def test_finished_runs_are_not_repeated_and_the_frame_is_the_same(client, tmp_path):
    assert_as_in_a_loop(run_all(SPECS[1:3], tmp_path, client=client), SPECS[1:3])
    for _ in range(2):
        assert_as_in_a_loop(run_all(MIXED, tmp_path, client=client), MIXED)
    assert fake_runs.begun(tmp_path) == ALL_ONCE


def test_what_is_finished_needs_no_workers(tmp_path):
    for spec in SPECS:
        file = store.path(tmp_path, spec, fake_runs.key(spec, tmp_path))
        store.save(file, store.Finished(spec, fake_runs.rows(spec), 1.0))
    with dask.config.set({engine.SCHEDULER: "tcp://127.0.0.1:1"}):  # where nobody answers
        assert_as_in_a_loop(run_all(MIXED, tmp_path), MIXED)


def test_no_specs_give_an_empty_frame(tmp_path):
    frame = run_all([], tmp_path)
    assert (len(frame), tuple(frame.columns)) == (0, running.COLUMNS)


def test_a_damaged_run_is_named_before_any_work(tmp_path):
    file = store.path(tmp_path, SPECS[1], fake_runs.key(SPECS[1], tmp_path))
    file.parent.mkdir(parents=True)
    file.write_text("{")
    with pytest.raises(ValueError, match=rf"{file.name} must hold a finished run"):
        run_all(SPECS, tmp_path)


def test_a_killed_worker_costs_the_run_that_it_was_in(client, tmp_path):
    before = workers_of(client)
    frame = run_all(SPECS, tmp_path, run=fake_runs.run_two_dies_once, client=client)
    assert_as_in_a_loop(frame, SPECS)
    assert fake_runs.begun(tmp_path) == ALL_ONCE | {2: 2}
    assert len(fake_runs.files(tmp_path)) == len(SPECS)
    assert len(before - workers_of(client)) == 1


def test_a_run_that_raises_is_named_and_what_is_finished_is_kept(client, tmp_path):
    failing = r"Spec\(.*seed=2.*\) raised ZeroDivisionError: no images\n.*are kept"
    with pytest.raises(engine.RunError, match=failing) as caught:
        run_all(SPECS, tmp_path, run=fake_runs.run_two_fails, client=client)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert fake_runs.kept(tmp_path) >= {0, 1}
    assert 2 not in fake_runs.kept(tmp_path)
    assert_as_in_a_loop(run_all(SPECS, tmp_path, client=client), SPECS)
    begun = fake_runs.begun(tmp_path)
    assert (begun[0], begun[1], begun[2]) == (1, 1, 2)


def test_a_worker_with_another_key_refuses(client, tmp_path):
    with pytest.raises(engine.RunError, match="are not those of the process that asks"):
        run_all(SPECS[:2], tmp_path, key=fake_runs.own_key, client=client)
    assert not fake_runs.begun(tmp_path)
    assert not fake_runs.files(tmp_path)


def test_two_calls_at_once_share_the_store(cluster, client, tmp_path):
    with (
        Client(cluster, set_as_default=False) as other,
        ThreadPoolExecutor() as threads,
    ):
        calls = [
            threads.submit(run_all, specs, tmp_path, client=one)
            for specs, one in ((SPECS, client), (MIXED, other))
        ]
        for call, specs in zip(calls, (SPECS, MIXED), strict=True):
            assert_as_in_a_loop(call.result(), specs)
    assert len(fake_runs.files(tmp_path)) == len(SPECS)
    assert_as_in_a_loop(run_all(SPECS, tmp_path), SPECS)


def test_a_configured_scheduler_is_used_and_left_open(tmp_path):
    options = {"n_workers": 1, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(**options) as own, Client(own, set_as_default=False) as client:
        with dask.config.set({engine.SCHEDULER: own.scheduler_address}):
            assert_as_in_a_loop(run_all(SPECS[:2], tmp_path), SPECS[:2])
        assert fake_runs.pids(tmp_path) <= workers_of(client)


def test_a_stranger_who_knows_the_address_is_refused(cluster):
    """A scheduler runs whatever it is sent."""
    with pytest.raises((OSError, TypeError, ValueError)):
        Client(cluster.scheduler_address, set_as_default=False, timeout="2s")
    plain = cluster.scheduler_address.replace("tls://", "tcp://")
    with pytest.raises(OSError):
        Client(plain, set_as_default=False, timeout="2s")
    own = Security.temporary()  # a key, but not ours
    with pytest.raises(OSError):
        Client(cluster.scheduler_address, security=own, set_as_default=False, timeout="2s")


@pytest.mark.parametrize("page", ["info/main/workers.html", "metrics", "health"])
def test_no_status_page_tells_a_stranger_of_the_runs(client, page):
    """Dask serves them by plain HTTP, whatever its own messages go by."""
    scheduler = client.scheduler_info(n_workers=-1)
    nodes = [scheduler, *scheduler["workers"].values()]
    assert len(nodes) == 3
    for port in (node["services"]["dashboard"] for node in nodes):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=5)


def test_a_scheduler_that_does_not_answer_is_named_with_the_remedy(tmp_path):
    nobody = {engine.SCHEDULER: "tcp://127.0.0.1:1", "distributed.comm.timeouts.connect": "100ms"}
    message = r"scheduler-address must be .*, got 'tcp://127\.0\.0\.1:1' .*DASK_SCHEDULER_ADDRESS"
    with dask.config.set(nobody), pytest.raises(ConnectionError, match=message):
        run_all(SPECS[:2], tmp_path)


def test_ctrl_c_keeps_what_is_finished_and_leaves_no_process(client, tmp_path):
    """A cluster of the call's own, in this file as a program."""
    process = subprocess.Popen(
        [sys.executable, __file__, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that the signal goes to all of its group, as Ctrl-C does
    )
    try:
        fake_runs.wait_until(lambda: process.poll() or fake_runs.begun(tmp_path)[2])
        fake_runs.wait_until(lambda: process.poll() or fake_runs.kept(tmp_path) == {0, 1})
        family = [
            psutil.Process(process.pid),
            *psutil.Process(process.pid).children(recursive=True),
        ]
        assert fake_runs.pids(tmp_path) <= {member.pid for member in family}
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    finally:
        with contextlib.suppress(ProcessLookupError):  # after an error alone is it still there
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGINT, errors
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive
    assert_as_in_a_loop(run_all(SPECS, tmp_path, client=client), SPECS)
    begun = fake_runs.begun(tmp_path)
    assert (begun[0], begun[1], begun[2]) == (1, 1, 2)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    engine.CPU_COUNT = 1
    run_all(SPECS, Path(sys.argv[1]), run=fake_runs.run_two_and_on_last_long)
