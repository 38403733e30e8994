"""The page of results: whole, well-formed, self-contained, accessible, true to what it reads."""

from __future__ import annotations

import dataclasses
import html.parser
import re

import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure as Canvas
from synthetic import TRUTHS, make_runs, write_grid

from xblcore import claims, informativeness, results
from xblcore.pipeline import page, page_parts
from xblcore.plots import style

TASK = "decoy_fashion_mnist"
FEW = {name: TRUTHS[name] for name in ("erm", "oracle", "xbl_d", "rrr")}
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Reader(html.parser.HTMLParser):
    """Elements with their attributes, and every tag that is closed out of turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


def make_project(root, runs: pd.DataFrame, *, profile: str = "laptop"):
    """What the stages before the page leave behind."""
    write_grid(root, runs, profile=profile)
    for task in dict.fromkeys(runs["task"]):
        gains = informativeness.gains(runs[runs["task"] == task], n_resamples=5)
        results.write_csv(gains, root / "results" / task / "gains.csv")
        for entry in page_parts.FIGURES:
            style.save(Canvas(figsize=(1, 1)), root / "results" / task, entry.name)
    for entry in (page_parts.SUMMARY, page_parts.POOLED)[: runs["task"].nunique()]:
        style.save(Canvas(figsize=(1, 1)), root / "results" / "paper", entry.name)
    claims.write(claims.judge(runs), root / "results" / "paper" / "claims.json")
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("project"), make_runs(FEW))


@pytest.fixture(scope="module")
def text(root):
    return page.write(root=root).read_text("utf-8")


@pytest.fixture(scope="module")
def context(root):
    return page.collect(root=root)


def test_the_page_is_well_formed_and_complete(text):
    reader = Reader(text)
    assert text.lstrip().startswith("<!DOCTYPE html>")
    assert not reader.wrong and not reader.open
    assert reader.all("html") == [{"lang": "en"}]
    assert len(reader.all("h1")) == len(reader.all("main")) == len(reader.all("title")) == 1
    anchors = [a["id"] for _, a in reader.elements if "id" in a]
    assert len(anchors) == len(set(anchors)), "every id once"


def test_the_page_needs_nothing_from_outside(text):
    reader = Reader(text)
    anchors = {a.get("id") for _, a in reader.elements}
    for _, attributes in reader.elements:
        assert not {"srcset", "onload", "data", "action"} & set(attributes)
        link, source = attributes.get("href"), attributes.get("src")
        inside = link is None or link.startswith("#") and link[1:] in anchors
        assert inside or link.startswith("../../results/"), link
        assert source is None or source.startswith("data:image/"), source
    assert not reader.all("script", "link", "iframe", "object")
    assert "@import" not in text and not re.search(r"url\(", text)
    assert "http://" not in text and "https://" not in text


def test_every_picture_has_a_text_and_every_table_a_head(text):
    reader = Reader(text)
    pictures = reader.all("img")
    assert len(pictures) == len(page_parts.FIGURES) + 1  # the summary
    assert all(len(picture["alt"] or "") > 40 and picture["width"] for picture in pictures)
    heads = reader.all("th")
    assert heads and all(head.get("scope") in ("col", "row", "rowgroup") for head in heads)
    assert len(reader.all("figcaption")) == len(pictures)
    assert text.count("<caption") == len(reader.all("table")) - 4 - 1  # those named by aria-label


def test_verdicts_stand_with_estimate_interval_and_rule(root, text):
    for claim in claims.judge(results.load_runs(root=root)):
        assert f'<h3 id="{claim["id"]}">' in text
        assert claim["claim"] in text.replace("&#39;", "'")
        assert claim["rule"] in text.replace("&#39;", "'")
    c1 = claims.judge(results.load_runs(root=root))[0]
    numbers = [page.number(c1[name]) for name in ("estimate", "ci_low", "ci_high")]
    assert "{} [{}, {}]".format(*numbers) in text
    assert 'class="verdict supported">supported<' in text
    assert 'class="verdict undecided">undecided<' in text
    assert "not in the grid: XBL-overlap" in text


def test_every_figure_and_table_is_mapped_to_its_notebook_and_file(text, context):
    last = text[text.index('id="map"') :]
    (task,) = context.tasks
    for part in (*task.figures, *task.tables, *context.overview, context.summary):
        assert f'href="#{part.anchor}"' in last
        assert f'href="../../{part.file}"' in last and part.notebook in last
    for file in ("results/paper/claims.json", "results/metrics.csv"):
        assert f'href="../../{file}"' in last


def test_facts_of_runs_and_released_code_are_told(text):
    facts = ("2.7 CE + 0.1 d", "14 apart", "plain cross-entropy", "A processor", "2.13.0",
             "<strong>laptop</strong>, 5 seeds")  # fmt: skip
    assert not [fact for fact in facts if fact not in text]
    times = text[text.index('id="run-times"') :]
    assert re.search(r">RRR</td>\s*<td>9</td>\s*<td>13.5</td>", times), "runs, seconds a run"


def test_stand_in_data_and_the_smoke_profile_are_announced(tmp_path, text):
    assert "Stand-in data." not in text and "Smoke profile." not in text
    runs = make_runs(FEW, data="stand-in", seeds=2)
    other = page.write(root=make_project(tmp_path, runs, profile="smoke")).read_text("utf-8")
    assert "Stand-in data." in other and "Smoke profile." in other
    assert "with stand-in data" in re.search("<title>(.*)</title>", other)[1]
    captions = re.findall(r"<(?:caption|figcaption)[^>]*><strong>(.*?)</strong>", other)
    of_task = [caption for caption in captions if caption.startswith("Decoy")]
    assert of_task and all("(stand-in data)" in caption for caption in of_task)
    assert {"Summary (stand-in data).", "All methods on all tasks (stand-in data).",
            "Run times (stand-in data)."} <= set(captions)  # fmt: skip


def test_several_tasks_have_a_contents_list_pooled_numbers_and_totals(tmp_path):
    tasks = {TASK: "original", "decoy_coco": "stand-in"}
    runs = make_runs(FEW, tasks=tuple(tasks), data=tasks, held_out=True)
    text = page.write(root=make_project(tmp_path, runs)).read_text("utf-8")
    contents = text[text.index("<nav") : text.index("</nav>")]
    names = ["Decoy Fashion-MNIST", "Decoy MS-COCO (stand-in data)"]
    assert re.findall(r'<a href="#decoy_\w+">(.*?)</a>', contents) == names
    order = ["paper-summary", "summary", "paper-informativeness_pooled", TASK,
             f"{TASK}-carry_over", "decoy_coco", "decoy_coco-carry_over", "run-times"]  # fmt: skip
    places = [text.index(f' id="{anchor}"') for anchor in order]
    assert places == sorted(places)
    captions = re.findall(r"<(?:caption|figcaption)[^>]*><strong>(.*?)</strong>", text)
    of_coco = [caption for caption in captions if "MS-COCO" in caption]
    assert of_coco and all("(stand-in data)" in caption for caption in of_coco)
    overall = [caption for caption in captions if not caption.startswith("Decoy")]
    assert all(
        "(partly stand-in data)" in caption for caption in overall if caption != "Environment."
    )
    assert text.count("On stand-in data: Decoy MS-COCO.") == 4, "beside each claim"
    for table in ("summary", "run-times"):
        body = text[text.index(f'<table class="numbers" id="{table}"') :].split("</table>")[0]
        assert set(re.findall(r'<th scope="row">(.*?)</th>', body)) == set(names)


def test_run_times_end_with_the_total_of_each_task(context):
    rows = [
        dict(zip(context.run_times.columns, row, strict=True)) for row in context.run_times.rows
    ]
    assert [row["Method"] for row in rows] == ["ERM", "Oracle", "XBL-D", "RRR", "All methods"]
    # Five seeds at 12.5 to 16.5 seconds; the two swept methods tried two more weights with two.
    once, swept = 72.5, 72.5 + 2 * (12.5 + 13.5)
    assert rows[-1]["Runs"] == str(2 * 5 + 2 * 9)
    assert rows[-1]["Minutes in all"] == f"{2 * (once + swept) / 60:.1f}"


def test_a_method_taken_out_of_the_grid_leaves_no_trace(tmp_path):
    root = make_project(tmp_path, make_runs(FEW))
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["methods"].remove("rrr")
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    claims.write(claims.judge(results.load_runs(root=root)), root / "results/paper/claims.json")
    written = page.write(root=root).read_text("utf-8")
    assert ">RRR<" not in written and ">XBL-D<" in written


@pytest.mark.parametrize(
    ("file", "stage"),
    [
        ("results/paper/claims.json", "paper"),
        (f"results/{TASK}/accuracy.png", f"task@{TASK}"),
        (f"results/{TASK}/gains.csv", f"task@{TASK}"),
        ("results/paper/summary.png", "paper"),
    ],
)
def test_what_is_missing_is_named_with_its_stage(root, file, stage, tmp_path):
    path = root / file
    path.rename(tmp_path / "aside")
    try:
        with pytest.raises(FileNotFoundError, match=f"{file} is missing; run: dvc repro {stage}"):
            page.collect(root=root)
    finally:
        (tmp_path / "aside").rename(path)


def test_the_same_results_make_the_same_page_and_text_is_escaped(context, text):
    assert page.render(context) == text
    odd = dataclasses.replace(context, profile="<b>&")
    assert "&lt;b&gt;&amp;" in page.render(odd)


def test_the_lighter_picture_is_taken_and_shown_at_its_size(context):
    figure = context.tasks[0].figures[0]
    assert figure.uri.startswith("data:image/png;base64,"), "an empty canvas is smaller as PNG"
    assert figure.width == pytest.approx(96 * 1.1, rel=0.3)  # an inch and its padding
