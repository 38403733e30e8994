"""xblcore.pipeline.notebook: real kernels, killed and not."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from xblcore import project
from xblcore.pipeline import execute, notebook, strip

Start = Callable[..., "subprocess.Popen[str]"]
Until = Callable[..., bool]
PidIn = Callable[[Path], int]
Gone = Callable[[int], bool]
COMMAND = ("-m", "xblcore.pipeline.notebook")

ORDINARY = [
    "import os, sys, time",
    "print('out', number)\nprint('err', file=sys.stderr)\ntime.sleep(0.3)\nprint('out again')",
    "print(os.getcwd(), sys.executable, os.environ.get('OMP_NUM_THREADS'), sep='\\n')",
    "object()",
    "{'a', 'b', 'c', 'd', 'e', 'f'}",
]
# Tells its process number, then never answers again.
ENDLESS = ["open('kernel.pid', 'w').write(f'{__import__(\"os\").getpid()}\\n')\nwhile True: pass"]


def author(path: Path, *sources: str) -> Path:
    """Write a notebook with a parameters cell, for a kernel that is not installed."""
    v4 = nbformat.v4
    cells = [
        v4.new_markdown_cell("# A notebook"),
        v4.new_code_cell("number = 1\nname = 'a'", metadata={"tags": ["parameters"]}),
        *(v4.new_code_cell(source) for source in sources),
    ]
    made = v4.new_notebook(cells=cells)
    made.metadata.kernelspec = {"name": "nonesuch", "display_name": "?", "language": "python"}
    nbformat.write(made, path)
    return path


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_two_runs_give_the_same_bytes(
    folder: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = author(folder / "ordinary.ipynb", *ORDINARY)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    destinations = [folder / "results" / f"{name}.ipynb" for name in ("first", "second")]
    runs = [start(*COMMAND, source, path, "-p", "number", "7") for path in destinations]
    # All there is on the terminal is the kernel's stderr: no warning, no log.
    assert [run.communicate() for run in runs] == [("", "err\n")] * 2
    assert destinations[0].read_bytes() == destinations[1].read_bytes()
    assert files(folder / "results") == {"first.ipynb", "second.ipynb"}

    executed = strip.read(destinations[0])
    nbformat.validate(executed)
    outputs = [cell.outputs for cell in executed.cells if cell.cell_type == "code"]
    assert [output.text for output in outputs[3]] == ["out 7\nout again\n"]
    assert outputs[4][0].text.splitlines() == [str(folder.resolve()), sys.executable, "1"]
    assert outputs[5][0].data["text/plain"] == "<object at 0x0>"
    assert executed.cells[2].metadata.tags == ["injected-parameters"]
    assert executed.metadata == strip.METADATA


def test_a_cell_that_raises(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cause = folder / "cause"
    source = author(
        folder / "train.ipynb",
        "import os, sys\nprint('a hint', file=sys.stderr)",
        "if os.path.exists('cause'):\n    raise ArithmeticError('not finite')",
        "print('done')",
    )
    destination = folder / "results" / "train.ipynb"
    destination.parent.mkdir()
    destination.write_text("the last good one")
    cause.touch()
    with pytest.raises(execute.NotebookError) as raised:
        execute.execute(source, destination, {"name": "decoy/x", "number": 2})
    failed = folder / "results" / "failed" / "train-decoy_x-2.ipynb"
    assert str(raised.value).splitlines() == [
        "train.ipynb stopped: a cell raised ArithmeticError: not finite",
        f"  notebook    {source}",
        "  parameters  name=decoy/x, number=2",
        "  cell        code cell 4 of 5, which begins: if os.path.exists('cause'):",
        f"  kept        {failed}",
        "  remedy      the kept notebook shows the traceback; mend the cause and run it again",
    ]
    assert destination.read_text() == "the last good one"
    assert files(folder / "results") == {"train.ipynb", "failed/train-decoy_x-2.ipynb"}
    kept = failed.read_text()
    assert "a hint" in kept
    assert "ArithmeticError" in kept

    cause.unlink()
    execute.execute(source, destination, {"name": "decoy/x", "number": 2})
    assert "done" in destination.read_text()
    assert files(folder / "results") == {"train.ipynb"}
    assert capfd.readouterr() == ("", "a hint\n" * 2)


def test_a_kernel_that_is_killed(folder: Path) -> None:
    source = author(
        folder / "train.ipynb", "import os, signal", "os.kill(os.getpid(), signal.SIGKILL)"
    )
    with pytest.raises(execute.NotebookError) as raised:
        execute.execute(source, folder / "results" / "train.ipynb", {"number": 3})
    message = str(raised.value)
    assert "the kernel was killed (SIGKILL), most likely by the system for want of mem" in message
    assert "parameters  number=3" in message
    assert "code cell 4 of 4, which begins: os.kill(os.getpid(), signal.SIGKILL)" in message
    assert "profile=smoke" in message
    assert files(folder / "results") == {"failed/train-3.ipynb"}
    kept = strip.read(folder / "results" / "failed" / "train-3.ipynb")
    assert kept.cells[-1].outputs[0].ename == "KernelDied"


@pytest.mark.parametrize(
    ("exit_code", "text"),
    [(-signal.SIGSEGV, "ended by SIGSEGV"), (3, "exit code 3"), (None, "exit code unknown")],
)
def test_other_deaths(exit_code: int | None, text: str) -> None:
    assert text in execute.death(exit_code)[0]


def test_unknown_parameters_and_missing_notebooks(folder: Path) -> None:
    source = author(folder / "train.ipynb")
    with pytest.raises(ValueError, match=r"parameter must be one of number, name.*got 'nmae'"):
        execute.execute(source, folder / "out.ipynb", {"nmae": "x"})
    with pytest.raises(FileNotFoundError, match=r"no notebook missing\.ipynb.*dvc repro strip"):
        execute.execute(Path("missing.ipynb"), folder / "out.ipynb", {})
    assert files(folder) == {"params.yaml", "dvc.yaml", "train.ipynb"}


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("-1e-3", -1e-3), ("true", True), ("None", None), ("[1, 2]", [1, 2])]
    + [(text, text) for text in ("xbl_d", "decoy-x", "1-2", "")],
)
def test_values(text: str, value: object) -> None:
    assert notebook.parse_value(text) == value


def test_the_end_of_dvc_is_the_end_of_all_and_there_is_one_writer(
    folder: Path, start: Start, until: Until, pid_in: PidIn, gone: Gone
) -> None:
    source = author(folder / "endless.ipynb", *ENDLESS)
    command = f"{sys.executable} {' '.join(COMMAND)} {source} out.ipynb"
    # As under DVC: a program, a shell that outlives it, the wrapper, the kernel.
    dvc = start(
        "-c",
        "import subprocess, sys; subprocess.run(['sh', '-c', sys.argv[1]])",
        f"{command} & echo $! > wrapper.pid; wait",
    )
    wrapper, kernel = pid_in(folder / "wrapper.pid"), pid_in(folder / "kernel.pid")

    second = start(*COMMAND, source, "out.ipynb", "--wait", "0")
    _, message = second.communicate()
    assert second.returncode == 1
    assert f"being written by another run (process {wrapper})" in message
    assert not gone(kernel)

    dvc.kill()
    assert until(lambda: gone(wrapper) and gone(kernel), seconds=5)
    assert not list(folder.glob("out*"))  # the wrapper cleaned up
    with project.only_writer(folder / "out.ipynb", wait=0):
        pass


def test_the_kernel_ends_with_a_killed_wrapper_and_with_a_stopped_one(
    folder: Path, start: Start, until: Until, pid_in: PidIn, gone: Gone
) -> None:
    source = author(folder / "endless.ipynb", *ENDLESS)
    for number, seconds in ((signal.SIGKILL, 5.0), (signal.SIGTERM, 5.0)):
        wrapper = start(*COMMAND, source, "out.ipynb")
        kernel = pid_in(folder / "kernel.pid")
        os.kill(wrapper.pid, number)
        assert until(lambda k=kernel: gone(k), seconds)
        wrapper.communicate(timeout=seconds)
        assert wrapper.returncode == (-number if number == signal.SIGKILL else 128 + number)
        (folder / "kernel.pid").unlink()
    assert not list(folder.glob("out*"))  # the second cleaned up after the first, too
    assert not (folder / "results").exists()  # nothing failed
