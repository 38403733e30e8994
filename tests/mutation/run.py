"""Mutation testing: does a module's own test notice each small change of it?

    .venv/bin/python -m pip install uv
    .venv/bin/python -m uv pip install --group mutation
    .venv/bin/python tests/mutation/run.py                 # all; over an hour on two cores
    .venv/bin/python tests/mutation/run.py stats distance  # these

The modules are the maths, and ``claims``, the rules behind what is claimed: which weight is chosen,
what verdict a claim gets, how far a result may lie from the expected one. Each module's mutants
(mutmut) meet the tests named in TESTS, in a throwaway copy of the tracked files. Printed are the
share caught and the survivors; those in ``equivalent.yaml`` change nothing that can be seen, say
why, and count as neither. The exit status is 1 where a module's share is below 90%.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
AT_LEAST = 0.9
# Files that are mutated, and the tests that must notice.
TESTS = {
    "losses": (["xblcore/losses/*"], ["tests/test_losses.py", "tests/test_contextual.py",
               "tests/test_counterexamples.py", "xblcore/losses"]),
    "metrics": (["xblcore/metrics.py"], ["tests/test_metrics.py", "xblcore/metrics.py"]),
    "distance": (["xblcore/distance.py"], ["tests/test_distance.py", "xblcore/distance.py"]),
    "cam": (["xblcore/cam.py"], ["tests/test_cam.py", "xblcore/cam.py"]),
    "stats": (["xblcore/stats.py", "xblcore/resampling.py"],
              ["tests/test_stats.py", "tests/test_resampling.py", "xblcore/stats.py",
               "xblcore/resampling.py"]),
    "claims": (["xblcore/claims.py", "xblcore/informativeness.py", "xblcore/selection.py",
                "xblcore/tolerance.py"],
               ["tests/test_claims.py", "tests/test_selection.py", "tests/test_tolerance.py",
                "xblcore/claims.py", "xblcore/selection.py", "xblcore/tolerance.py"]),
}  # fmt: skip
MEMORY = 8 * 2**30  # bytes a process: a mutant that asks for more fails, not the machine
CAUGHT = {1, 3, 24, 36, 37, 152}  # pytest's failures, and endless loops cut off


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=", ".join(TESTS))
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args(arguments)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))  # children inherit it
    modules = asked.modules or list(TESTS)
    if unknown := set(modules) - set(TESTS):
        parser.error(f"MODULE must be of {', '.join(TESTS)}, got {', '.join(sorted(unknown))}")
    known = yaml.safe_load((Path(__file__).parent / "equivalent.yaml").read_text("utf-8"))
    shares = [mutate(module, known.get(module) or [], asked.processes) for module in modules]
    return int(min(shares) < AT_LEAST)


def mutate(module: str, equivalent: list[dict[str, str]], processes: int) -> float:
    """Share of a module's mutants that its tests catch; prints the others."""
    files, tests = TESTS[module]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        root = Path(folder)
        copy(root)
        with (root / "pyproject.toml").open("a", encoding="utf-8") as config:
            config.write(
                f'\n[tool.mutmut]\nsource_paths = ["xblcore"]\nonly_mutate = {json.dumps(files)}\n'
                f'also_copy = ["xblcore", "tests", "params.yaml", "dvc.yaml", "README.md"]\n'
                f"pytest_add_cli_args_test_selection = {json.dumps(tests)}\n"
            )
        mutmut(root, "run", "--max-children", str(processes))
        ended: dict[str, int | None] = {}
        for file in (root / "mutants").rglob("*.meta"):
            ended |= json.loads(file.read_text(encoding="utf-8"))["exit_code_by_key"]
        if not ended or None in ended.values():
            raise RuntimeError(
                f"mutmut must run every mutant of {module}, got {len(ended)}; see above"
            )
        changes = {name: change(root, name) for name, code in ended.items() if code not in CAUGHT}
    same = {(one["was"], one["is"]) for one in equivalent}
    survivors = {name: pair for name, pair in changes.items() if pair not in same}
    total = len(ended) - (len(changes) - len(survivors))
    share = 1 - len(survivors) / total
    print(f"{module}: {total - len(survivors)} of {total} mutants caught, {share:.1%}; "
          f"{len(changes) - len(survivors)} more are equivalent")  # fmt: skip
    for name, (was, now) in survivors.items():
        print(f"  {name}\n    - {was}\n    + {now}", flush=True)
    return share


def copy(root: Path) -> None:
    """The tracked files that tests need, and those not yet committed."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    wanted = ["xblcore", "tests", "pyproject.toml", "params.yaml", "dvc.yaml", "README.md"]
    found = subprocess.run([*listed, *wanted], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in found.stdout.splitlines():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, root / name)


def mutmut(root: Path, *arguments: str) -> str:
    """What mutmut prints; one thread a process, and no path to modules that are not copies."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, "-W", "ignore", "-m", "mutmut", *arguments]
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        told = re.split(r"[\r\n]", done.stdout + done.stderr)[-40:]
        raise RuntimeError("mutmut must end well, got:\n" + "\n".join(told))
    return done.stdout


def change(root: Path, name: str) -> tuple[str, str]:
    """The line of a mutant before and after."""
    lines = mutmut(root, "show", name).splitlines()
    was, now = (
        " ".join(line[1:].strip() for line in lines if re.match(rf"\{sign}(?!\{sign})", line))
        for sign in "-+"
    )
    return was, now


if __name__ == "__main__":
    sys.exit(main())
