"""The harness names files that exist, and forgives only mutants of lines that are still there."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import yaml

HERE = Path(__file__).parent
SPEC = importlib.util.spec_from_file_location("mutation_run", HERE / "run.py")
assert SPEC and SPEC.loader
run = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(run)
EQUIVALENT = yaml.safe_load((HERE / "equivalent.yaml").read_text(encoding="utf-8"))


def sources(module: str) -> list[Path]:
    return [path for pattern in run.TESTS[module][0] for path in sorted(run.ROOT.glob(pattern))]


@pytest.mark.parametrize("module", run.TESTS)
def test_modules_and_their_tests_are_there(module: str) -> None:
    assert sources(module)
    assert all((run.ROOT / test).exists() for test in run.TESTS[module][1])


@pytest.mark.parametrize("module", EQUIVALENT)
def test_equivalent_mutants_are_of_lines_that_are_still_there(module: str) -> None:
    text = " ".join(" ".join(path.read_text(encoding="utf-8").split()) for path in sources(module))
    for mutant in EQUIVALENT[module]:
        assert " ".join(mutant["was"].split()) in text, mutant["was"]
        assert mutant["was"] != mutant["is"] and mutant["why"]


def test_an_unknown_module_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run.main(["stats", "taste"])
    assert "MODULE must be of losses, metrics, distance, cam, stats, claims, got taste" in (
        capsys.readouterr().err
    )
