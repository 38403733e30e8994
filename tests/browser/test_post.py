"""What the annotator sends and keeps, on a bare page: no JupyterLab, a Python that is played."""

from __future__ import annotations

import re

import pytest

from xblcore.widgets.annotator import HERE

# A view of the store "s"; `sent` is what reached Python, `dead` a kernel that is gone.
PLAYED = """() => {
  window.sent = [];
  window.dead = false;
  window.model = {
    get: () => ({ store: "s" }),
    send: message => { if (window.dead) throw new Error("gone"); window.sent.push(message); },
  };
  window.view = () => new Post(window.model, () => {});
}"""
DRAW = """([view, mark]) => window[view].send({do: "stroke", image: "a.png", mark})"""
ANSWER = """([view, mark, done, again]) => {
  const { number } = window.sent.findLast(message => message.mark === mark);
  window[view].answered({ number, done, again, status: done ? "Saved" : "Not saved: disk full" });
}"""


class Views:
    """Views of one store in a window, by name."""

    def __init__(self, page) -> None:
        self.page = page

    def open(self, *names: str) -> None:
        for name in names:
            self.page.evaluate("name => { window[name] = window.view(); }", name)

    def draw(self, view: str, mark: str) -> None:
        self.page.evaluate(DRAW, [view, mark])

    def answer(self, view: str, mark: str, *, done: bool, again: bool = False) -> None:
        self.page.evaluate(ANSWER, [view, mark, done, again])

    def sent(self) -> list[str]:
        return self.page.evaluate("window.sent.map(message => message.mark)")

    def kept(self) -> list[str]:
        found = self.page.evaluate(
            "Object.values(sessionStorage).flatMap(JSON.parse).map(message => message.mark)"
        )
        return sorted(found)

    def trouble(self, view: str) -> str:
        return self.page.evaluate("view => window[view].trouble", view)


@pytest.fixture
def views(page) -> Views:
    script = (HERE / "annotator_post.js").read_text(encoding="utf-8")
    page.route("**/*", lambda route: route.fulfill(body="<p>", content_type="text/html"))
    page.clock.install()
    page.goto("http://annotator.invalid/")  # a page of its own, which has a sessionStorage
    page.add_script_tag(content=script)
    page.evaluate(PLAYED)
    return Views(page)


def reload(views: Views) -> None:
    views.page.reload()
    script = (HERE / "annotator_post.js").read_text(encoding="utf-8")
    views.page.add_script_tag(content=script)
    views.page.evaluate(PLAYED)


def test_a_stroke_that_could_not_be_written_is_kept_and_sent_again_in_its_turn(views):
    views.open("one")
    views.draw("one", "first")
    views.answer("one", "first", done=False, again=True)
    assert views.kept() == ["first"]
    views.draw("one", "second")  # an eraser must not overtake the brush
    assert views.sent() == ["first"] and views.kept() == ["first", "second"]
    told = views.trouble("one")
    assert re.match(r"Not saved: disk full\. 2 strokes are kept in this window", told)
    assert "ried again every 5 seconds" in told and "kernel" not in told
    views.page.clock.run_for(5000)
    assert views.sent() == ["first", "first"]
    views.answer("one", "first", done=False, again=True)
    views.page.clock.run_for(5000)
    views.answer("one", "first", done=True)
    assert views.sent() == ["first"] * 3 + ["second"]
    views.answer("one", "second", done=True)
    assert views.kept() == [] and views.trouble("one") == ""
    views.draw("one", "third")
    assert views.sent()[-1] == "third", "all is as before"


def test_a_stroke_that_never_can_be_saved_is_dropped_and_holds_nothing_up(views):
    views.open("one")
    views.draw("one", "first")
    views.answer("one", "first", done=False, again=True)
    views.draw("one", "second")
    views.page.clock.run_for(5000)
    views.answer("one", "first", done=False)
    assert views.sent() == ["first", "first", "second"] and views.kept() == ["second"]


def test_a_view_keeps_its_strokes_whatever_another_view_does(views):
    views.open("one", "two")
    views.page.evaluate("window.dead = true")
    views.draw("one", "first")
    views.page.evaluate("window.two.send({do: 'go', to: 1})")
    assert views.kept() == ["first"]
    views.draw("two", "second")
    assert views.kept() == ["first", "second"]


def test_a_new_view_sends_what_those_that_are_gone_have_kept(views):
    views.open("one", "two")
    views.page.evaluate("window.dead = true")
    views.draw("one", "first")
    views.draw("two", "second")
    views.page.evaluate("window.dead = false; window.one.stop()")
    views.open("three")
    views.page.evaluate("window.three.resume()")
    assert views.sent() == ["first"], "what a view waits for that is there is its own"
    views.answer("three", "first", done=True)
    assert views.kept() == ["second"]
    reload(views)
    views.open("four")
    views.page.evaluate("window.four.resume()")
    assert views.sent() == ["second"]
    views.answer("four", "second", done=True)
    assert views.kept() == []
