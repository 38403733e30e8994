"""Kill the pipeline at random moments, run it again, and compare: ``python tests/faults/kill.py``.

Each trial takes a copy of the project in which all but one stage is done (smoke profile), starts
``dvc repro``, sends SIGKILL to the kernel, to the stage's command (papermill's process) or to DVC
at a random moment of the stage, and looks: does every process end, is the stage taken for done only
if it is, and does a plain ``dvc repro`` then give what an undisturbed run gives, byte for byte?
"""

from __future__ import annotations

import argparse
import csv
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import psutil
import smoke
import victims
from tqdm import tqdm


@dataclass(frozen=True)
class Undisturbed:
    """One stage run from its start to its end.

    Attributes:
        seconds: from the first sign of each victim to the stage's end; DVC's end is that of caching
            and of its lock file.
        same: files of the stage that came out as in the finished project.
    """

    seconds: dict[str, float]
    same: frozenset[str]


@dataclass(frozen=True)
class Trial:
    """What came of one kill; empty faults are the aim."""

    stage: str
    victim: str
    moment: float  # seconds after the victim's first sign
    happened: str
    same: str
    faults: str


def undisturbed(template: Path, stage: str, scratch: Path) -> Undisturbed:
    """Run one stage in a copy, and time it."""
    folder = scratch / "undisturbed"
    smoke.unfinished(template, folder, stage)
    before = (folder / "dvc.lock").stat().st_mtime_ns
    family = victims.Family(folder, ["-m", "dvc", "repro", "-s", stage], scratch / "log")
    seen: dict[str, float] = {}
    last: dict[str, float] = {}
    while family.process.poll() is None:
        for victim in ("command", "kernel"):
            if family.find(victim):
                seen.setdefault(victim, time.monotonic())
                last[victim] = time.monotonic()
        if "command" in seen and (folder / "dvc.lock").stat().st_mtime_ns == before:
            last["dvc"] = time.monotonic()
        time.sleep(victims.POLL_SECONDS)
    if family.process.returncode:
        raise RuntimeError(f"{stage} does not run undisturbed:\n{family.told[-3000:]}")
    seen["dvc"] = seen["command"]  # DVC before that skips what is done
    theirs, ours = smoke.digests(template), smoke.digests(folder)
    same = {name for name, digest in ours.items() if theirs.get(name) == digest}
    shutil.rmtree(folder)
    return Undisturbed(
        {victim: last[victim] - seen[victim] for victim in seen},
        frozenset(name for name in same if smoke.under(name, stage)),
    )


def trial(
    template: Path, stage: str, victim: str, moment: float, known: Undisturbed, scratch: Path
) -> Trial:
    """Kill one process once, run again, and compare."""
    folder = scratch / "killed"
    smoke.unfinished(template, folder, stage)
    expected = smoke.digests(template)
    faults = []
    family = victims.Family(folder, ["-m", "dvc", "repro"], scratch / "log")
    try:
        first = family.wait_for("command" if victim == "dvc" else victim)
        target = psutil.Process(family.process.pid) if victim == "dvc" else first
        time.sleep(moment)
        hit = target is not None and victims.kill(target)
        happened = "killed" if hit else "had ended"
        orphans = family.end()
        faults += [f"lives on: {line}" for line in orphans]
        if hit and victim != "dvc" and family.process.returncode == 0:
            happened = "killed, its work done"
    finally:
        family.clear()

    left = smoke.changed(folder)
    now = smoke.digests(folder)
    if stage not in left:
        happened += "; stage done"
        faults += [f"taken for done: {n}" for n in sorted(known.same) if now.get(n) != expected[n]]
    try:
        smoke.dvc(folder, "repro")
        left = smoke.changed(folder)
    except RuntimeError as error:
        faults.append(str(error)[-500:])
    faults += [f"not in order: {name}" for name in left]
    now = smoke.digests(folder)
    compared = {"results/metrics.csv", f"build/runs/{smoke.TASK}/xbl_d/runs.csv", *known.same}
    differing = sorted(name for name in compared if now.get(name) != expected[name])
    faults += [f"differs: {name}" for name in differing]
    faults += [f"left over: {name}" for name in sorted(set(now) - set(expected))]
    shutil.rmtree(folder)
    same = f"{len(compared) - len(differing)} of {len(compared)} files"
    return Trial(stage, victim, round(moment, 2), happened, same, " | ".join(faults))


def plan(stages: Sequence[str], known: dict[str, Undisturbed], times: int) -> list[tuple[str, str]]:
    """Stage and victim of every trial, so ordered that a campaign cut short has seen each."""
    once = [(stage, victim) for stage in stages for victim in known[stage].seconds]
    return once * times


def table(trials: Sequence[Trial]) -> str:
    """One row a stage and victim."""
    lines = [f"{'stage':36}{'victim':10}{'kills':>6}{'ended before':>14}{'faults':>8}"]
    for key in dict.fromkeys((one.stage, one.victim) for one in trials):
        own = [one for one in trials if (one.stage, one.victim) == key]
        late = sum(one.happened.startswith("had ended") for one in own)
        wrong = sum(bool(one.faults) for one in own)
        lines.append(f"{key[0]:36}{key[1]:10}{len(own) - late:6}{late:14}{wrong:8}")
    return "\n".join(lines)


def main() -> int:
    """Command line; 1 if any trial found a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10, help="moments a stage and victim")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--stages", nargs="*", default=list(smoke.OUTS), choices=smoke.OUTS)
    parser.add_argument("--template", type=Path, help="finished copy to use; made where not there")
    parser.add_argument("--log", type=Path, help="CSV to which every trial is added")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    trials: list[Trial] = []
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        template = (options.template or scratch / "template").resolve()
        if not template.is_dir():
            print("running the smoke profile once", flush=True)
            smoke.make(template)
        known = {
            stage: undisturbed(template, stage, scratch)
            for stage in tqdm(options.stages, desc="undisturbed", unit="stage")
        }
        for stage, one in known.items():
            told = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in one.seconds.items())
            print(f"{stage}: {told}; {len(one.same)} files the same twice")
        planned = plan(options.stages, known, options.times)
        for stage, victim in tqdm(planned, desc="kills", unit="kill"):
            moment = rng.uniform(0, known[stage].seconds[victim])
            trials.append(trial(template, stage, victim, moment, known[stage], scratch))
            last = trials[-1]
            if last.faults:
                tqdm.write(f"{stage} {victim} after {last.moment} s: {last.faults}")
            if options.log:
                note(last, options.log)
    print(table(trials))
    return int(any(one.faults for one in trials))


def note(one: Trial, path: Path) -> None:
    """Add a trial to a CSV file."""
    new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Trial)])
        if new:
            writer.writeheader()
        writer.writerow(asdict(one))


if __name__ == "__main__":
    sys.exit(main())
