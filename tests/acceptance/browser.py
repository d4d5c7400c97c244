"""Browsers that complain: pages whose console stays silent, that fetch nothing from elsewhere, and that all can use."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import Any, Final
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Error, Page

SERIOUS: Final = ("serious", "critical")
STANDARDS: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
TIMEOUT: Final = 10_000  # milliseconds; how long anything on a page may take on a busy machine


class Browsers:
    """Browsers at one address. Lifetime: the stack; what is heard and fetched is collected, `check` judges it.

    `complaints` has every console error (violations of the content policy among them), uncaught error and dialog;
    `foreign` every request to another host. Service workers are let in where `keeps` is set: each new browser would
    fetch the whole app a second time for its own.
    """

    keeps = False

    def __init__(self, url: str, browser: Browser, stack: ExitStack) -> None:
        self.url = url
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        self._browser = browser
        self._stack = stack

    def context(self, *, width: int = 1280, height: int = 800, dark: bool = False, **more: Any) -> BrowserContext:
        """Another browser, with cookies and storage of its own."""
        made = self._browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            service_workers="allow" if self.keeps else "block",
            **more,
        )
        self._stack.callback(_close, made)
        made.set_default_timeout(TIMEOUT)
        made.on("weberror", lambda error: self.complaints.append(str(error.error)))
        made.on("console", lambda said: self._hear(said.type, f"{said.text} ({said.location['url']})"))
        made.on("request", lambda request: self._note(request.url))
        made.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        return made

    def forgive(self, *parts: str) -> None:
        """Complaints with one of these parts belong to what the test does: the browser notes refusals itself."""
        self.complaints[:] = [one for one in self.complaints if not any(part in one for part in parts)]

    def check(self) -> None:
        """Nobody complained and nothing left the host. To be called at the end."""
        assert self.complaints == [], self.complaints
        assert self.foreign == [], self.foreign

    def _hear(self, kind: str, text: str) -> None:
        if kind == "error":
            self.complaints.append(text)

    def _note(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.netloc != urlsplit(self.url).netloc:
            self.foreign.append(url)


def _close(context: BrowserContext) -> None:
    """Close it. Chromium never answers where a page is just on its way to another one: it goes nowhere first."""
    for page in context.pages:
        with suppress(Error):
            page.goto("about:blank")
    context.close()


def check_accessible(page: Page) -> None:
    """axe-core finds nothing serious on the page as it is now (WCAG 2.2 AA and good practice)."""
    page.emulate_media(reduced_motion="reduce")  # a button's color on its way to another has no contrast to judge
    rules = {"type": "tag", "values": STANDARDS}
    # no preload: it would copy style sheets into the page, which the content policy refuses
    found = Axe().run(page, options={"runOnly": rules, "resultTypes": ["violations"], "preload": False})
    page.emulate_media(reduced_motion="null")
    serious = [one for one in found.response["violations"] if one["impact"] in SERIOUS]
    told = [f"{one['id']}: {one['help']}: {[node['target'] for node in one['nodes']][:5]}" for one in serious]
    assert told == [], told


def check_fits(page: Page) -> None:
    """The page does not scroll sideways."""
    width, room = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= room, f"{width} px of content in {room} px"
