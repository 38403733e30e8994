"""Execute a notebook with papermill, reproducibly: ``python -m xblcore.study.notebook IN OUT``.

The kernel does not see the user's matplotlib and IPython configuration, and what differs between
two executions (times, random cell ids) is removed from the result.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import nbformat
import papermill
from nbstripout import strip_output

from xblcore import project
from xblcore.study import prepare

EXTRA_KEYS = [
    "metadata.papermill", "cell.metadata.papermill", "cell.metadata.execution",
    "metadata.language_info",
]  # fmt: skip


def execute(source: Path, target: Path, parameters: dict[str, str]) -> None:
    """Execute ``source`` and write the result to ``target``; both relative to the project."""
    build = project.root() / "build"
    build.mkdir(exist_ok=True)
    empty = build / "matplotlibrc"
    empty.write_text("", encoding="utf-8")
    os.environ |= {
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MATPLOTLIBRC": str(empty),
        "IPYTHONDIR": str(build / "ipython"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    papermill.execute_notebook(
        str(source), str(target), parameters, kernel_name="python3", progress_bar=False,
        extra_arguments=["--IPKernelApp.log_level=40"],
    )  # fmt: skip
    content = strip_output(
        nbformat.read(target, as_version=4), keep_output=True, keep_count=True, keep_id=False,
        extra_keys=EXTRA_KEYS,
    )  # fmt: skip
    nbformat.write(content, target)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("-p", "--parameter", nargs=2, action="append", default=[],
                        metavar=("NAME", "VALUE"))  # fmt: skip
    options = parser.parse_args()
    parameters = dict(options.parameter)
    reason = prepare.missing().get(parameters.get("task", ""))
    if reason is not None:
        text = f"# {parameters['task']} was not run\n\nIts data is unavailable:\n\n{reason}\n"
        print(text)
        for folder in (options.target.parent, Path("build", "tasks", parameters["task"])):
            with project.write_atomic(folder / "MISSING.md") as temporary:
                temporary.write_text(text, encoding="utf-8")
        return
    execute(options.source, options.target, parameters)


if __name__ == "__main__":
    main()
