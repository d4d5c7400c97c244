"""The example's chat in a real browser: how soon a channel can be used, and how smoothly a long one scrolls."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect, sync_playwright

from tests.acceptance.browser import Browsers
from tests.acceptance.conftest import ARGUMENTS, CHROMIUM
from tests.acceptance.example_server import PASSWORD, ExampleServer
from tests.acceptance.test_browser_chat import seed

from .rows import Faults, Row, median, quantile

SHORT, LONG = 1, 4
"""Channels of the example's demo."""

SEEN = """
new MutationObserver(() => {
  if (!window.fieldAt && document.querySelector("#line textarea")) window.fieldAt = performance.now();
  if (!window.shownAt && document.querySelectorAll("#line .messages .message").length >= 20)
    window.shownAt = performance.now();
}).observe(document, { childList: true, subtree: true });
"""

SCROLL = """async () => {
  const scroll = document.querySelector("#line .scroll");
  const frames = [];
  let most = 0;
  let last = performance.now();
  const end = last + 60000;
  const isThere = () => document.querySelector("#line .messages .text").textContent.startsWith("line 0 ");
  while (!isThere() && performance.now() < end) {
    scroll.scrollTop -= scroll.clientHeight / 3;
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    frames.push(now - last);
    last = now;
    most = Math.max(most, document.querySelectorAll("#line .messages > li").length);
  }
  return { frames, most, isThere: isThere() };
}"""


@dataclass
class Office:
    """A server with messages in it, and browsers. Lifetime: the stack."""

    stack: ExitStack
    messages: int
    opened: list[Browsers] = field(default_factory=list)

    def __post_init__(self) -> None:
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.server = self.stack.enter_context(ExampleServer(folder))
        play = self.stack.enter_context(sync_playwright())
        self.chromium = play.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        self.stack.callback(self.chromium.close)
        seed(self.server, LONG, self.messages)
        seed(self.server, SHORT, 50)

    def enter(self, stack: ExitStack) -> Page:
        """A new browser in which Maya has logged in."""
        made = Browsers(self.server.url, self.chromium, stack)
        self.opened.append(made)
        page = made.context().new_page()
        page.goto(f"{self.server.url}/login")
        page.get_by_label("E-mail").fill("maya@neolith.test")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page.locator("#connection")).to_have_text("live")
        return page

    def load(self, *, cold: bool) -> tuple[float, float]:
        """Milliseconds from the navigation until there is a field to write in, and until the messages are shown."""
        with ExitStack() as stack:
            page = self.enter(stack)
            if cold:
                tools = page.context.new_cdp_session(page)
                tools.send("Network.enable")
                tools.send("Network.setCacheDisabled", {"cacheDisabled": True})
            page.add_init_script(SEEN)
            page.goto(f"{self.server.url}/channels/{SHORT}")
            page.wait_for_function("() => Boolean(window.shownAt)")
            found: list[float] = page.evaluate("[window.fieldAt, window.shownAt]")
        return found[0], found[1]

    def scroll(self) -> dict[str, Any]:
        """From the end of the long channel to its beginning, a third of the screen with each frame."""
        with ExitStack() as stack:
            page = self.enter(stack)
            page.goto(f"{self.server.url}/channels/{LONG}")
            page.wait_for_function("() => document.querySelectorAll('#line .messages .message').length >= 20")
            found: dict[str, Any] = page.evaluate(SCROLL)
        return found

    def faults(self, scrolled: dict[str, Any]) -> Faults:
        """What the browsers complained of, and a beginning that was not reached."""
        said = [one for browser in self.opened for one in (*browser.complaints, *browser.foreign)]
        if not scrolled["isThere"]:
            said.append("the beginning of the channel was not reached")
        return Faults(errors=len(said), details=tuple(said[:5]))


def measure(*, quick: bool = False) -> Sequence[Row]:
    """Loads with an empty cache and with a full one, and one way through all messages."""
    rounds, messages = (2, 300) if quick else (7, 5_000)
    with ExitStack() as stack:
        office = Office(stack, messages)
        cold, warm = ([office.load(cold=one) for _ in range(rounds)] for one in (True, False))
        scrolled = office.scroll()
        faults = office.faults(scrolled)
    return [
        _loaded("nothing cached", cold, faults),
        _loaded("all cached by the browser", warm, faults),
        _scrolled(messages, scrolled, faults),
    ]


def _loaded(what: str, loads: Sequence[tuple[float, float]], faults: Faults) -> Row:
    field_at, shown_at = median(one for one, _ in loads), median(one for _, one in loads)
    return Row(
        f"the chat's page in Chromium, {what}: until 50 messages are shown",
        f"{shown_at:.0f} ms",
        "<= 1 s",
        shown_at <= 1000,
        faults=faults,
        notes=(f"the field to write in after {field_at:.0f} ms; {len(loads)} loads, the longest {_longest(loads)} ms",),
    )


def _longest(loads: Sequence[tuple[float, float]]) -> str:
    return f"{max(one for _, one in loads):.0f}"


def _scrolled(messages: int, found: dict[str, Any], faults: Faults) -> Row:
    frames: list[float] = found["frames"]
    late = quantile(frames, 0.95)
    return Row(
        f"{messages:,} messages scrolled through, a frame, p95",
        f"{late:.1f} ms",
        "<= 33 ms",
        late <= 33,
        faults=faults,
        notes=(
            f"{len(frames)} frames; p50 {quantile(frames, 0.5):.1f}, p99 {quantile(frames, 0.99):.1f} ms",
            f"the longest {max(frames):.1f} ms; at most {found['most']} rows in the page",
        ),
    )
