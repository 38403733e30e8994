"""Execute a notebook by papermill, settle what varies in it, and tell why it stopped.

The command around it is :mod:`xblcore.pipeline.notebook`, apart since it must watch its parent
before the slow imports of this module.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import papermill
import psutil
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbformat import NotebookNode
from nbformat.v4 import new_output

from xblcore import project
from xblcore.pipeline.strip import dumps, normalise, read, strip

# papermill and nbclient report a death in words of their own; ours come once, at the end.
logging.getLogger("papermill").setLevel(logging.CRITICAL)
WIDGET = "application/vnd.jupyter.widget-view+json"
KERNEL_ENVIRONMENT = {
    # The order of a set of strings else changes from run to run.
    "PYTHONHASHSEED": "0",
    # glibc else returns each freed tensor's pages to the system and faults them in again, at a
    # third of the time of a small network's training step. Other C libraries do not read these.
    "MALLOC_TRIM_THRESHOLD_": "1073741824",
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TOP_PAD_": "67108864",
}


class NotebookError(RuntimeError):
    """A notebook that did not run to its end; the message tells what, where and what to do."""


class Kernel(AsyncKernelManager):
    """The interpreter that runs this module, whatever kernel the notebook names."""

    # Of the last kernel; a class attribute, since papermill makes the manager and keeps it.
    exit_code: ClassVar[int | None] = None

    @property
    def kernel_spec(self) -> KernelSpec:
        """Made here, so that no ``ipython kernel install`` is needed nor one of it found."""
        start = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        # Quiet, for it reports plain TCP at the start and now and then its own shutdown.
        return KernelSpec(argv=[*start, "--log-level=CRITICAL"], language="python")

    async def cleanup_resources(self, restart: bool = False) -> None:  # type: ignore[override]
        """Keep the exit code, by which a killed kernel is known."""
        if self.provisioner is not None:
            Kernel.exit_code = await self.provisioner.poll()
        await super().cleanup_resources(restart)


def execute(source: Path, destination: Path, parameters: Mapping[str, object]) -> None:
    """Execute ``source`` with ``parameters`` in the project's root and write ``destination``.

    Args:
        source: notebook, with a cell tagged ``parameters``; its outputs are ignored.
        destination: executed notebook, replaced only by a complete one.
        parameters: by the names assigned in that cell.

    Raises:
        FileNotFoundError: no ``source``.
        ValueError: not a notebook, or a parameter that it does not have.
        NotebookError: a cell raised or the kernel died. What had run of the notebook is kept in
            ``results/failed/``.
    """
    notebook = _checked(source, parameters)
    source, destination = source.resolve(), destination.resolve()
    partial = destination.with_suffix(".partial.ipynb")
    failed = _failed_path(source, parameters)
    for name, value in KERNEL_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    destination.parent.mkdir(parents=True, exist_ok=True)
    Kernel.exit_code = None
    try:
        executed = papermill.execute_notebook(
            notebook,
            partial,
            dict(parameters),
            progress_bar=False,
            stderr_file=sys.stderr,
            cwd=project.root(),
            kernel_manager_class=Kernel,
            start_timeout=120,
        )
    except (papermill.PapermillExecutionError, RuntimeError) as error:
        message = _post_mortem(partial, source, failed, parameters, error)
        raise NotebookError(message) from error
    finally:
        partial.unlink(missing_ok=True)
    with project.write_atomic(destination) as temporary:
        temporary.write_text(dumps(settle(executed)), encoding="utf-8")
    failed.unlink(missing_ok=True)


def _checked(source: Path, parameters: Mapping[str, object]) -> NotebookNode:
    if not source.is_file():
        raise FileNotFoundError(
            f"no notebook {source}; copies under build/ are made by: dvc repro strip"
        )
    notebook = strip(read(source))
    known = papermill.inspect_notebook(notebook)
    for name in parameters:
        if name not in known:
            raise ValueError(
                f"parameter must be one of {', '.join(known) or 'none'} (the names assigned in the "
                f"cell of {source} tagged 'parameters'), got {name!r}"
            )
    return notebook


def settle(executed: NotebookNode) -> NotebookNode:
    """Copy of an executed notebook without times, random ids, addresses and stderr.

    Widgets go too: their state, mostly progress bars, has all of these.
    """
    notebook = normalise(executed)
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        outputs: list[NotebookNode] = []
        for output in cell.outputs:
            if output.get("name") == "stderr" or WIDGET in output.get("data", {}):
                continue
            if "text/plain" in output.get("data", {}):
                output.data["text/plain"] = re.sub(
                    r" at 0x[0-9a-fA-F]+", " at 0x0", output.data["text/plain"]
                )
            # How prints are cut into messages depends on the moment.
            if output.output_type == "stream" and outputs and outputs[-1].get("name") == "stdout":
                outputs[-1].text += output.text
            else:
                outputs.append(output)
        cell.outputs = outputs
    return notebook


def _failed_path(source: Path, parameters: Mapping[str, object]) -> Path:
    name = "-".join([source.stem, *map(str, parameters.values())])
    return project.root() / "results" / "failed" / f"{project.file_name(name)}.ipynb"


def _post_mortem(
    partial: Path, source: Path, failed: Path, parameters: Mapping[str, object], error: Exception
) -> str:
    """Keep the partial notebook as ``failed`` and tell what happened."""
    if isinstance(error, papermill.PapermillExecutionError):
        what = f"a cell raised {error.ename}: {error.evalue}"
        remedy = "the kept notebook shows the traceback; mend the cause and run it again"
    else:
        what, remedy = death(Kernel.exit_code)
    notebook = read(partial)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    begun = [cell for cell in code if cell.metadata.get("papermill", {}).get("start_time")]
    where = "before the first cell"
    if begun:
        lines = begun[-1].source.strip().splitlines() or ["(empty)"]
        where = f"code cell {len(begun)} of {len(code)}, which begins: {lines[0]}"
        if not isinstance(error, papermill.PapermillExecutionError):
            # Nobody else leaves a mark in a notebook whose kernel was killed.
            mark = {"ename": "KernelDied", "evalue": what, "traceback": [what]}
            begun[-1].outputs.append(new_output("error", **mark))  # type: ignore[no-untyped-call]
    with project.write_atomic(failed) as temporary:
        temporary.write_text(dumps(normalise(notebook)), encoding="utf-8")
    given = ", ".join(f"{name}={value}" for name, value in parameters.items()) or "none"
    return (
        f"{source.name} stopped: {what}\n  notebook    {source}\n  parameters  {given}\n"
        f"  cell        {where}\n  kept        {failed}\n  remedy      {remedy}"
    )


def death(exit_code: int | None) -> tuple[str, str]:
    """What a dead kernel's exit code tells, and the remedy."""
    if exit_code == -signal.SIGKILL:
        size = psutil.virtual_memory().total / 2**30
        what = "the kernel was killed (SIGKILL), most likely by the system for want of memory"
        remedy = "close other programs, run one stage at a time (dvc repro), or take a smaller"
        return (
            f"{what} (this machine has {size:.1f} GiB)",
            f"{remedy} profile (dvc exp run -S profile=smoke); then run it again",
        )
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        return (
            f"the kernel was ended by {name}, a crash in compiled code unless someone sent it",
            "run it again; if it dies there again, make the environment anew",
        )
    return (
        f"the kernel ended by itself, exit code {'unknown' if exit_code is None else exit_code}",
        "see what it wrote above; a kernel that does not start at all: pip install -e .",
    )
