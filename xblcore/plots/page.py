"""The results page: one HTML file with text, tables, charts and the explorer of single images.

Everything that states a result is computed here from the numbers; ``page.html`` lays it out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape
from PIL import Image

from xblcore import project
from xblcore.methods import METHODS
from xblcore.metrics import METRICS
from xblcore.plots.charts import BOUNDS
from xblcore.plots.experiments import heading, value_label
from xblcore.plots.style import number, percent
from xblcore.study import gallery, stats, tables
from xblcore.study.claims import COUNTERPART, FOCUS, MARGINS, OURS, VERDICTS
from xblcore.study.config import Config
from xblcore.study.tables import POOLED, about, label

OVERLAP = "xbl_overlap"
LEAD = {"erm": "Plain training (ERM)", "oracle": "Oracle (no decoy)",
        OURS: "Distance (XBL-D+)", OVERLAP: "Overlap (XBL-overlap)",
        "rrr": "Input gradient (RRR)", "rrr_g": "Grad-CAM (RRR-G)"}  # fmt: skip
RECOVERED, FLIPS = 0.8, 0.1  # of a method that ignores the decoy: at least, and at most
MEASURES = {  # column of the runs, and title of its chart
    "accuracy": "Accuracy on images without the decoy ↑",
    "recovery": "Recovery (0: ERM, 1: oracle) ↑",
    "flips": "Predictions that flip with the decoy ↓",
}
FIGURES = {
    "data": "Images with their annotations and distance maps",
    "cams_hires_cam": "HiResCAMs for each method, from the network of its median seed",
    "explainers": "Reported and actual reliance on the decoy",
    "learning_curves": "Losses and accuracy during training",
    "gradients": "Gradients of the explanation loss: XBL-D+ and the released scripts",
}
SPECIAL = {"validity": "Which metrics of an explanation can be trusted?",
           "scale": "Why is the first order less stable?"}  # fmt: skip
CAMS = ("grad_cam", "hires_cam")
WIDTH = 900  # of embedded figures in pixels


def write(
    path: Path, runs: pd.DataFrame, *, weights: pd.DataFrame, claims: Sequence[Mapping[str, Any]],
    missing: Mapping[str, str], settings: Config, overview: pd.DataFrame | None = None,
    root: Path | None = None,
) -> None:  # fmt: skip
    """Write the page.

    Args:
        path: of the HTML file, which needs no other file.
        runs: tidy runs of the main grid.
        weights: of :func:`xblcore.study.runs.choose_weights`.
        claims: of :func:`xblcore.study.claims.judge`.
        missing: tasks that were not run, and why.
        settings: for the questions of the experiments, and the folder of the figures.
        overview: of :func:`xblcore.study.tables.overview`; None leaves it out.
        root: of the project; ``build/tasks`` has the data of the explorer.
    """
    root = root or project.root()
    results, known = root / settings.results, points(runs)
    kinds = dict(zip(runs["task"], runs["data"], strict=True))
    names = {task: about(task, kind) for task, kind in kinds.items()}
    parts = [(names[task], part) for task, part in _by(known, "task")]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"number": number, "percent": percent, "code": _code}
    environment.tests["known"] = pd.notna
    text = environment.get_template("page.html").render(
        title=title(known), sentences=sentences(known, names), names=names,
        profile=settings.profile, seeds=runs["seed"].nunique(),
        missing={label(task): why for task, why in missing.items()},
        rule=f"A method ignores the decoy if it recovers at least {RECOVERED:.0%} of the accuracy "
        f"that the decoy costs (from ERM to the oracle), and at most {FLIPS:.0%} of its "
        "predictions flip. The oracle can have more flips: it never learnt to ignore patches.",
        panels=[_panel(part, name) for name, part in parts],
        verdicts=VERDICTS, claims=[_claim(claim) for claim in claims],
        tasks=[_task(part, name, runs, weights, results) for name, part in parts],
        overview=None if overview is None else _table(overview),
        experiments=_experiments(results / "experiments", settings),
        explorers={t: _script(root / "build" / "tasks" / t / "explorer.json") for t in names},
        labels={"methods": {name: entry.label for name, entry in METHODS.items()},
                "metrics": {name: f"{label(name)} {'↑' if metric.higher_is_better else '↓'}"
                            for name, metric in METRICS.items()}},
    )  # fmt: skip
    with project.write_atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def points(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run: ``task, method, seed, weight, data`` and those of ``MEASURES``."""
    found = {"accuracy": tables.select(runs, "accuracy", split=tables.CLEAN),
             "recovery": tables.recoveries(runs),
             "flips": tables.select(runs, "decoy_flip_rate", split=tables.DECOY)}  # fmt: skip
    found = {name: rows.set_index(["task", "method", "seed"]) for name, rows in found.items()}
    values = {name: rows["value"] for name, rows in found.items()}
    return found["accuracy"][["weight", "data"]].assign(**values).reset_index()


def ignoring(known: pd.DataFrame, by: str) -> list[str]:
    """Return the tasks, or the methods, of :func:`points` that ignore the decoy on average."""
    means = known.groupby(by, sort=False)[["recovery", "flips"]].mean()
    return list(means.index[(means["recovery"] >= RECOVERED) & (means["flips"] <= FLIPS)])


def title(known: pd.DataFrame) -> str:
    """State on how many tasks distance, and overlap, make networks ignore the decoy."""
    total, methods = known["task"].nunique(), set(known["method"])
    if OURS not in methods:
        return f"{label(OURS)} was not run"
    ours, other = (ignoring(known[known["method"] == name], "task") for name in (OURS, OVERLAP))
    text = f"A distance-aware loss ({label(OURS)}) prevents networks from learning the shortcut"
    text += _on(len(ours), total)
    if substitutes := known.loc[known["data"] != "original", "task"].nunique():
        text += f" ({substitutes} with stand-in data)"
    if OVERLAP in methods:
        verb = " does too" if ours else " does no better"
        text += f"; an overlap loss{verb if ours == other else _on(len(other), total)}"
    return text


def _on(count: int, total: int) -> str:
    if count == total == 1:
        return ""
    if 0 < count < total:
        return f" on {count} of {total} tasks"
    return f" on all {total} tasks" if count else " on no task"


def sentences(known: pd.DataFrame, names: Mapping[str, str]) -> list[str]:
    """Return the main numbers: accuracy, flips, and the recovery of other losses."""
    means = known.groupby(["method", "task"], sort=False)[[*MEASURES]].mean()

    def row(method: str, measure: str, *, where: str = "") -> str:
        values = {task: float(means[measure].get((method, task), float("nan"))) for task in names}
        return _and(f"{percent(v)}{where and where + names[task]}" for task, v in values.items())

    others = {OVERLAP: "the same loss with overlap", "rrr": "RRR", "rrr_g": "RRR-G"}
    found = [f"; {text} {row(name, 'recovery')}" for name, text in others.items()
             if name in means.index]  # fmt: skip
    return [
        f"On test images without the decoy, {label(OURS)} reaches an accuracy of "
        f"{row(OURS, 'accuracy', where=' on ')}. Plain training (ERM) reaches "
        f"{row('erm', 'accuracy')}, and training without decoys (oracle) "
        f"{row('oracle', 'accuracy')}.",
        f"If only the decoy changes, {row(OURS, 'flips')} of the predictions of {label(OURS)} "
        f"change; with ERM, {row('erm', 'flips')} change.",
        f"Of the accuracy that the decoy costs (from ERM to the oracle), {label(OURS)} recovers "
        f"{row(OURS, 'recovery')}{''.join(found)}.",
    ]


def _and(texts: Iterable[str]) -> str:
    *first, last = [*texts] or ["none"]
    return f"{', '.join(first)} and {last}" if first else last


def _by(table: pd.DataFrame, name: str) -> Iterator[tuple[str, pd.DataFrame]]:
    return ((str(key), part) for key, part in table.groupby(name, sort=False))


def _panel(part: pd.DataFrame, name: str) -> dict[str, Any]:
    """Return the bars of one task in the lead figure, and their description."""
    own = {method: part[part["method"] == method] for method in LEAD}
    rows = [{"label": LEAD[method], "ours": method == OURS, "flips": own["flips"].mean(),
             "accuracy": stats.mean_ci(own["accuracy"])}
            for method, own in own.items() if len(own)]  # fmt: skip
    alt = "; ".join(f"{row['label']}: {percent(row['accuracy'].value)} right, "
                    f"{percent(row['flips'])} flip" for row in rows)  # fmt: skip
    return {"name": name, "rows": rows, "alt": f"{name}. {alt}."}


def _strip(part: pd.DataFrame, measure: str) -> dict[str, Any]:
    """Return a chart of all runs of a task: a row per method, a dot per seed."""
    rows, ends = [], [0.0, 1.0, *part[measure].dropna()]
    for method, own in _by(part, "method"):
        dots = [{"x": run[measure], "run": f"{method}-{run['seed']}", "text":
                 f"{label(method)}, seed {run['seed']}, weight {run['weight']:g}: "
                 + ", ".join(f"{name} {number(run[name])}" for name in MEASURES)}
                for run in own.dropna(subset=measure).to_dict("records")]  # fmt: skip
        mean, entry = stats.mean_ci(own[measure]), METHODS.get(method)
        ends += [end for end in (mean.low, mean.high) if pd.notna(end)]
        rows.append({"label": label(method), "colour": entry.colour if entry else "grey",
                     "mean": mean, "dots": dots, "bound": method in BOUNDS})  # fmt: skip
    return {"title": MEASURES[measure], "rows": rows, "low": min(ends), "high": max(ends)}


def _claim(claim: Mapping[str, Any]) -> dict[str, Any]:
    """Return a claim with its numbers as text; parts without a number are listed apart."""
    parts = [{**part, "text": _interval(part)} for part in claim["parts"]]
    absent = [part["statistic"] for part in parts
              if pd.isna(part["estimate"]) and part["statistic"] != claim["statistic"]]  # fmt: skip
    parts = [part for part in parts if pd.notna(part["estimate"])]
    band, plotted = MARGINS.get(claim["id"], 0.0), [part for part in parts if part["decides"]]
    ends = [-band, band, *(part[name] for part in plotted for name in
                           ("estimate", "ci_low", "ci_high") if pd.notna(part[name]))]  # fmt: skip
    room = 0.04 * (max(ends) - min(ends)) or 1.0
    columns = {
        "statistic": "Statistic",
        "text": "Estimate [95% interval]",
        "seeds": "Seeds",
        "p": "p",
        "p_holm": "p (Holm)",
        "seeds_needed": "Seeds needed",
        "verdict": "Verdict",
        "decides": "Decides",
    }
    table = pd.DataFrame(parts, columns=[*columns]).rename(columns=columns)
    table["Seeds"] = table["Seeds"].map(lambda seeds: seeds or "–")  # of a mean over tasks
    count = f"{claim['estimate']:.0f} of 3 tasks" if claim["id"] == "C4" else ""
    return {**claim, "parts": plotted, "absent": absent, "text": count or _interval(claim),
            "band": band, "low": min(ends) - room, "high": max(ends) + room,
            "table": _table(table.replace({True: "yes", False: "no"}))}  # fmt: skip


def _interval(part: Mapping[str, Any]) -> str:
    value, low, high = (part[name] for name in ("estimate", "ci_low", "ci_high"))
    if pd.isna(value):
        return "Not measured yet"
    ends = f"{number(low, 3)}, {number(high, 3)}" if pd.notna([low, high]).all() else "no interval"
    return f"{number(value, 3)} [{ends}]"


def _task(
    part: pd.DataFrame, name: str, runs: pd.DataFrame, weights: pd.DataFrame, results: Path
) -> dict[str, Any]:
    """Return charts, tables and figures of one task."""
    task = part["task"].iloc[0]
    runs, weights = runs[runs["task"] == task], weights[weights["task"] == task]
    solved = [label(method) for method in ignoring(part, "method") if method not in BOUNDS]
    by = {kind: runs[runs["explainer"].isin(["none", kind])] for kind in ("none", *CAMS)}
    found = {"Accuracy, recovery and flips": tables.behaviour_table(by["none"], weights)}
    for kind in CAMS:
        found[f"Metrics of {label(kind)}"] = tables.explanation_table(by[kind], kind)
    found["Weights that were tried"] = weights.assign(method=weights["method"].map(label))
    return {
        "id": task, "name": name, "charts": [_strip(part, measure) for measure in MEASURES],
        "finding": f"{_and(solved)} ignore{'s' * (len(solved) < 2)} the decoy",
        "tables": {text: _table(table.drop(columns=["Task", "task", "condition"], errors="ignore"))
                   for text, table in found.items()},
        "figures": [_picture(results / task / f"{key}.png", f"{text}, {name}") | {"caption": text}
                    for key, text in FIGURES.items() if (results / task / f"{key}.png").is_file()],
    }  # fmt: skip


def _table(table: pd.DataFrame) -> dict[str, Any]:
    """Return names of columns and formatted rows."""

    def text(value: Any) -> str:
        return "–" if pd.isna(value) else f"{value:.4g}" if isinstance(value, float) else str(value)

    columns = [name[:1].upper() + name[1:].replace("_", " ") for name in map(str, table)]
    return {"columns": columns, "rows": [[*map(text, row)] for row in table.to_numpy(object)]}


def _picture(path: Path, alt: str) -> dict[str, Any]:
    """Return a figure as the URL of a small WebP file, with its size."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    image.thumbnail((WIDTH, 4 * WIDTH), Image.Resampling.LANCZOS)
    url = gallery.webp(image, quality=75)
    return {"url": url, "width": image.width, "height": image.height, "alt": alt}


def _script(path: Path) -> Markup:
    """Return JSON, safe within a script element; empty if there is no such file."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return Markup(text.replace("<", "\\u003c"))


def _code(text: str) -> Markup:
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _experiments(folder: Path, settings: Config) -> list[dict[str, Any]]:
    """Return question, finding, table and figures of every experiment that was run."""
    cards = {}
    questions = {name: own.question for name, own in settings.all_experiments.items()} | SPECIAL
    for path in sorted(folder.glob("*/table.csv")):
        name, table = path.parent.name, tables.read_csv(path)
        assert table is not None
        question = questions.get(name, label(name))
        (lead, *items), shown = _finding(table, path.parent)
        alt = " ".join([question, lead, *(f"{item}." for item in items)])
        cards[name] = {"question": question, "lead": lead, "items": items, "table": _table(shown),
                       "figures": [_picture(file, f"{label(file.stem)}. {alt}")
                                   for file in sorted(path.parent.glob("*.png"))]}  # fmt: skip
    return [cards[name] for name in dict.fromkeys([*questions, *cards]) if name in cards]


def _finding(table: pd.DataFrame, folder: Path) -> tuple[list[str], pd.DataFrame]:
    """State the result of an experiment, and return its table for readers."""
    effects = tables.read_csv(folder / "effects.csv")
    names = [name for name in ("task", "target", "explainer", "metric") if name in table]
    named = table.assign(**{name: table[name].map(label) for name in names})
    if effects is not None:  # factorial
        own = effects.query("kind == 'main' and effect == 'weighting' and task != @POOLED")
        items = [f"{about(row['task'], row['data'])}: {_interval(row)}, {row['verdict']}"
                 for row in own.to_dict("records")]  # fmt: skip
        return ["Difference in recovery, distance minus overlap:", *items], named
    if "family" in table:  # validity
        own = table[(table["target"] == "flips") & (table["explainer"] == tables.EXPLAINER)]
        own = own[own["task"] == (POOLED if POOLED in set(own["task"]) else own["task"].min())]
        means = own.set_index("metric")["mean"].sort_values(ascending=False)
        chosen = [name for name in dict.fromkeys([*means.index[:1], FOCUS, COUNTERPART])
                  if name in means]  # fmt: skip
        items = [f"{label(name)}: {number(means[name])}" for name in chosen]
        return ["AUROC of metrics of Grad-CAM for predicting flips (0.5 is chance):", *items], named
    if "mean" not in table:  # scale
        means = table.groupby("method", sort=False).mean(numeric_only=True).drop(columns="seed")
        items = [f"{method}: " + ", ".join(f"{name} {value:.3g}" for name, value in row.items())
                 for method, row in means.iterrows()]  # fmt: skip
        return ["Means over tasks and seeds:", *items], named
    by = table.columns[table.columns.get_loc("condition") + 1]  # see tables.summarise
    table = table.assign(**{by: [value_label(value, by) for value in table[by]]})
    found = _recoveries(table[~table["method"].isin(BOUNDS)], by)
    return found, tables.condition_table(table, by)


def _recoveries(table: pd.DataFrame, by: str) -> list[str]:
    """State the recovery and the flips of XBL-D+ in each condition, or else of each method."""
    keys = ["task", "method", by]
    flips = tables.select(table, "decoy_flip_rate", split=tables.DECOY).set_index(keys)["mean"]
    rows = tables.select(table, "recovery", split=tables.CLEAN).dropna(subset="mean")
    if rows.empty:
        return ["Recovery is undefined for every method."]
    several = [name for name in ("method", by) if rows[name].nunique() > 1]
    varies = by in several and OURS in set(rows["method"])

    def state(row: dict[str, Any], *names: str) -> str:
        shown = [label(row[name]) if name == "method" else row[name] for name in names]
        rate = percent(flips.get(tuple(row[key] for key in keys), float("nan")))
        return f"{', '.join(shown)}: {number(row['mean'])} ({rate})".removeprefix(": ")

    of = f" of {label(OURS)}" * varies
    factor = f" by {heading(by)}" * (by in several)
    found = [f"Recovery{of}{factor}, with flips; {rows['seeds'].max()} seeds:"]
    for _, part in _by(rows, "task"):
        ranked = part.sort_values("mean", ascending=False).to_dict("records")
        if not varies:
            text = "; ".join(state(row, *several) for row in ranked)
        else:
            own = part[part["method"] == OURS]
            text = "; ".join(state(row, by) for row in own.to_dict("records"))
            if ranked[-1]["method"] != OURS:
                text += f"; lowest of all: {state(ranked[-1], *several)}"
        found.append(f"{about(part['task'].iloc[0], part['data'].iloc[0])}: {text}")
    return found
