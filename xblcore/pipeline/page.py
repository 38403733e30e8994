"""The one page of results: ``results/paper/index.html``, self-contained, readable in print.

:func:`collect` reads what the stages wrote, :func:`render` is a pure function of that, and
:func:`write` puts the page where it belongs.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import jinja2
import pandas as pd

from xblcore import config, project, results
from xblcore.claims import FOCUS
from xblcore.pipeline.page_parts import (
    FIGURES,
    POOLED,
    SUMMARY,
    Context,
    Entry,
    Figure,
    Table,
    Task,
)
from xblcore.plots.style import RC, data_of, label, task_label
from xblcore.tables import readable, summary_table

TASK_NOTEBOOK, PAPER_NOTEBOOK = "notebooks/paper/task.ipynb", "notebooks/paper/paper.ipynb"


def render(context: Context) -> str:
    """The page as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["label"] = label
    return environment.get_template("page.html.j2").render(page=context)


def write(*, root: Path | None = None) -> Path:
    """Make ``results/paper/index.html`` from what the earlier stages and ``paper.ipynb`` wrote.

    Raises:
        FileNotFoundError: something that it shows is missing; the message names the stage to run.
    """
    path = (root or project.root()) / "results" / "paper" / "index.html"
    results.write_text(render(collect(root=root)), path)
    return path


def collect(*, root: Path | None = None) -> Context:
    """Read what the page shows, for the grid in ``params.yaml`` and nothing else.

    Raises:
        FileNotFoundError: as :func:`write`.
    """
    root = root or project.root()
    manifests = results.load_manifests(root=root)
    runs = results.load_runs(root=root)
    tasks = [
        _task(runs[runs["task"] == task], manifests, root) for task in dict.fromkeys(runs["task"])
    ]
    return Context(
        profile=config.load(root).profile,
        seeds=runs.loc[runs["chosen"], "seed"].nunique(),
        claims=json.loads(_existing(root, "results/paper/claims.json", "paper").read_text("utf-8")),
        tasks=tasks,
        overview=[_paper_figure(entry, runs, root) for entry in (SUMMARY, POOLED)[: len(tasks)]],
        summary=_summary(summary_table(runs, manifests)),
        run_times=_run_times(manifests),
        environment=_environment(manifests.values()),
    )


def number(value: float | None) -> str:
    """Three decimals, a dash for none.

    >>> number(0.12345), number(-2.0), number(None)
    ('0.123', '−2.000', '–')
    """
    return "–" if value is None or math.isnan(value) else f"{value:.3f}".replace("-", "−")


def _task(runs: pd.DataFrame, manifests: results.Manifests, root: Path) -> Task:
    task, data = str(runs["task"].iloc[0]), str(runs["data"].iloc[0])
    title = task_label(task, data=data)
    explainers = dict.fromkeys(runs.loc[runs["metric"] == "distance_focus", "explainer"])
    parts = {
        "Behaviour and cost": None,
        **{f"Explanations by {label(name)}": name for name in explainers},
    }
    tables = [
        _table(
            f"{task}-table-{i}",
            heading,
            readable(runs, manifests, explainer=explainer),
            caption="Mean over seeds ± half of the 95% interval; arrows point to the better side.",
            notebook=TASK_NOTEBOOK,
            file=f"results/{task}/table.csv",
            claims="C1" if explainer else "C1, C2",
        )
        for i, (heading, explainer) in enumerate(parts.items(), start=1)
    ]
    tables.append(_gains(task, root))
    figures = [
        _figure(entry, root, folder=task, stage=f"task@{task}", notebook=TASK_NOTEBOOK)
        for entry in FIGURES
    ]
    return Task(anchor=task, title=title, data=data, figures=figures, tables=tables)


def _gains(task: str, root: Path) -> Table:
    """How much more distance focus tells about accuracy than each overlap metric."""
    name = f"results/{task}/gains.csv"
    gains = pd.read_csv(_existing(root, name, f"task@{task}"))
    gains = gains[(gains["distance_metric"] == FOCUS) & (gains["split"] == results.DECOY)]
    rows: dict[str, dict[str, str]] = {}
    for row in gains.to_dict("records"):
        metric = label(row["overlap_metric"])
        ends = f"[{number(row['ci_low'])}, {number(row['ci_high'])}]"
        cells = rows.setdefault(metric, {f"{label(FOCUS)} against": metric})
        cells[label(row["explainer"])] = f"{number(row['difference'])} {ends}"
    return _table(
        f"{task}-gains",
        f"What {label(FOCUS).lower()} tells more than each overlap metric",
        pd.DataFrame(rows.values()),
        caption="Difference of Spearman's correlations with clean accuracy over all runs, with 95% "
        "interval by a bootstrap that draws whole methods; above 0 where distance tells more.",
        notebook=TASK_NOTEBOOK,
        file=name,
        claims="C3",
    )


def _paper_figure(entry: Entry, runs: pd.DataFrame, root: Path) -> Figure:
    """A figure over all tasks; its heading says so if some of the data are not the original."""
    figure = _figure(entry, root, folder="paper", stage="paper", notebook=PAPER_NOTEBOOK)
    return replace(figure, title=entry.title + _note(runs))


def _note(runs: pd.DataFrame) -> str:
    """What a title over several tasks adds where not all data are original."""
    data = data_of(runs)
    return "" if data == "original" else f" ({data} data)"


def _figure(entry: Entry, root: Path, *, folder: str, stage: str, notebook: str) -> Figure:
    """The figure as SVG or PNG, whichever is smaller, so that the page stays light."""
    names = {kind: f"results/{folder}/{entry.name}.{kind[:3]}" for kind in ("png", "svg+xml")}
    pictures = {kind: _existing(root, name, stage).read_bytes() for kind, name in names.items()}
    kind, content = min(pictures.items(), key=lambda item: len(item[1]))
    dots = int.from_bytes(pictures["png"][16:20], "big")  # a PNG's width stands in its header
    return Figure(
        anchor=f"{folder}-{entry.name}",
        title=entry.title,
        claims=entry.claims,
        alt=entry.alt,
        caption=entry.caption,
        notebook=notebook,
        file=names[kind],
        uri=f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}",
        width=round(dots * 96 / RC["savefig.dpi"]),
    )


def _existing(root: Path, name: str, stage: str) -> Path:
    path = root / name
    if not path.is_file():
        raise FileNotFoundError(f"{name} is missing; run: dvc repro {stage}")
    return path


def _table(
    anchor: str,
    title: str,
    table: pd.DataFrame,
    *,
    caption: str,
    notebook: str = "",
    file: str = "",
    words: int = 1,
    claims: str = "",
) -> Table:
    rows = [[str(cell) for cell in row] for row in table.to_numpy().tolist()]
    return Table(anchor, title, caption, list(table.columns), rows, notebook, file, words, claims)


def _summary(table: pd.DataFrame) -> Table:
    rows = pd.DataFrame(
        {
            "Task": _named(table),
            "Method": [label(method) for method in table["method"]],
            "Weight": table["weight"].map("{:g}".format),
            "Accuracy, clean ↑": table["accuracy_clean"].map(number),
            "Recovery ↑": table["recovery"].map(number),
            "Decoy flip rate ↓": table["decoy_flip_rate"].map(number),
            "Distance focus ↑": table["distance_focus"].map(number),
            "Seconds a run": table["seconds_a_run"].map("{:.1f}".format),
        }
    )
    caption = f"Means over seeds; distance focus by {label(results.EXPLAINER)}."
    return _table("summary", f"Summary{_note(table)}", rows, caption=caption, words=2,
                  notebook=PAPER_NOTEBOOK, file="results/paper/summary.csv")  # fmt: skip


def _named(table: pd.DataFrame) -> list[str]:
    pairs = zip(table["task"], table["data"], strict=True)
    return [task_label(task, data=data) for task, data in pairs]


def _run_times(manifests: results.Manifests) -> Table:
    """Runs and minutes of every task x method, and below them the total of the task."""
    found = pd.DataFrame(
        [
            {"task": task, "data": manifest["data"], "method": method,
             "seconds": list(manifest["seconds"].values()), "device": manifest["device"]}
            for (task, method), manifest in manifests.items()
        ]
    )  # fmt: skip
    rows = []
    for _, own in found.groupby("task", sort=False):
        name = _named(own)[0]
        rows += [
            _run_time(name, label(row["method"]), row["seconds"], row["device"])
            for row in own.to_dict("records")
        ]
        every = [second for seconds in own["seconds"] for second in seconds]
        rows.append(_run_time(name, "All methods", every, ", ".join(dict.fromkeys(own["device"]))))
    caption = (
        "Wall time of training and measuring; the median of a run, and the sum of all. Runs that "
        "shared the machine are each counted in full."
    )
    return _table("run-times", f"Run times{_note(found)}", pd.DataFrame(rows), caption=caption,
                  file="build/runs", words=2)  # fmt: skip


def _run_time(task: str, method: str, seconds: list[float], device: str) -> dict[str, str]:
    return {
        "Task": task,
        "Method": method,
        "Runs": str(len(seconds)),
        "Seconds a run": f"{median(seconds):.1f}",
        "Minutes in all": f"{sum(seconds) / 60:.1f}",
        "Device": device,
    }


def _environment(manifests: Iterable[Mapping[str, Any]]) -> Table:
    """What the runs were made with; where they differ, all of it."""
    found: dict[str, dict[str, None]] = {}
    for manifest in manifests:
        facts = {name.capitalize(): manifest[name]
                 for name in ("device", "processor", "cores", "platform", "python")}  # fmt: skip
        facts["Seeds"] = ", ".join(str(seed) for seed in manifest["config"]["seeds"])
        for name, value in {**facts, **manifest["packages"]}.items():
            found.setdefault(name, {})[str(value)] = None
    rows = pd.DataFrame(
        {"What": list(found), "Value": ["; ".join(values) for values in found.values()]}
    )
    caption = "From the manifests of the runs."
    return _table("environment", "Environment", rows, caption=caption, words=2)
