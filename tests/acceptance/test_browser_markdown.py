"""Text that grows on the screen, on the modules themselves: never evil, and in the end what the server makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route

from flask_neolith_orchestrator.chat.markdown import to_html
from tests.acceptance.example_server import ROOT

pytestmark = pytest.mark.browser

FOLDERS = {
    "/neolith/static/": ROOT / "flask_neolith_orchestrator/web/static",
    "/static/": ROOT / "example_app/static",
}

GROWS = """async ([source, html]) => {
  const { TextView } = await import("/static/text.js");
  const view = new TextView({ me: "1", names: (word) => (word === "ada" ? { id: "3" } : undefined) });
  const found = { evil: [], kept: null };
  const evil = "script, img, iframe, svg, style, [onerror], [onclick], [style]";
  for (let end = 1; end <= source.length; end += 1) {
    view.update({ state: "streaming", content: source.slice(0, end) });
    for (const one of view.element.querySelectorAll(evil)) found.evil.push(one.outerHTML);
    for (const one of view.element.querySelectorAll("a[href]")) {
      if (!/^(https?|mailto):/.test(one.getAttribute("href"))) found.evil.push(one.outerHTML);
    }
  }
  const before = [...view.element.children];
  found.before = view.element.innerHTML;
  view.update({ state: "final", content: source, html });
  found.kept = before.filter((one) => view.element.contains(one)).length;
  found.all = view.element.children.length;
  found.html = view.element.innerHTML;
  return found;
}"""


def answer(route: Route) -> None:
    """Serve the modules from their folders, and an empty page for all else."""
    path = urlsplit(route.request.url).path
    folder = next((prefix for prefix in FOLDERS if path.startswith(prefix)), None)
    if folder is None:
        route.fulfill(body="<!doctype html>", content_type="text/html")
    else:
        route.fulfill(path=FOLDERS[folder] / path.removeprefix(folder))


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """An empty page that can load the modules; there is no server."""
    page = browser.new_page()
    page.route("**/*", answer)
    page.goto("http://example.test/")
    yield page
    page.close()


def grow(page: Page, source: str) -> Any:
    """Show a source letter by letter, then settled as the server shows it."""
    return page.evaluate(GROWS, [source, to_html(source)])


@pytest.mark.parametrize(
    "source",
    [
        "<script>alert(1)</script> and <img src=x onerror=alert(1)> <svg onload=alert(1)>",
        "[a](javascript:alert(1)) [b](JaVaScRiPt:alert(1)) [c](data:text/html,x) [d]( javascript:alert(1))",
        "![alt](https://evil.test/x.png) ![alt](javascript:alert(1))",
        "```js onclick=alert(1)\n<script>alert(1)</script>\n```\n\n<style>*{}</style>",
        '| <img src=x onerror=alert(1)> | [x](vbscript:x) |\n|---|---|\n| <b style="x"> | y |\n',
        "[x](https://a.test/ onclick=alert(1)) <https://a.test> <javascript:alert(1)>",
    ],
)
def test_markup_is_never_an_element_at_any_letter(page: Page, source: str) -> None:
    """However a text is cut into deltas, nothing but Markdown's own elements and safe links is ever made."""
    found = grow(page, source)
    assert found["evil"] == []
    assert not any(tag in found["html"] for tag in ("<script", "<img", "<svg", "<style"))


@pytest.mark.parametrize(
    "source",
    [
        "Hello **bold** and *soft* `code`.\n\nSecond paragraph\nwith a second line.",
        "# Title\n\n- one\n- two\n\n1. first\n2. second\n",
        'Look:\n\n```python\nprint("x")\n```\n\nDone.',
        "> quoted\n\nAnd [a link](https://example.com/a).",
        "| a | b |\n| --- | --- |\n| 1 | 2 |\n",
    ],
)
def test_a_text_that_is_done_keeps_its_elements(page: Page, source: str) -> None:
    """What has grown is what the server makes: nothing is thrown away at the end, so nothing jumps."""
    found = grow(page, source)
    assert found["kept"] == found["all"], (found["before"], found["html"])


def test_what_is_settled_is_dressed(page: Page) -> None:
    """Addresses become links, mentions of members are marked, code can be copied."""
    found = grow(page, "See https://example.com/x. Thanks @ada and @nobody, not `@ada`.\n\n    code\n")
    assert '<a href="https://example.com/x" rel="nofollow noopener noreferrer" target="_blank">' in found["html"]
    assert found["html"].count('<span class="mention">@ada</span>') == 1
    assert 'aria-label="Copy code"' in found["html"]
