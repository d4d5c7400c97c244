"""Write `docs/images/`: every page of the example app and of the dashboard, wide and narrow, light and dark.

    python -m docs.images [NAME ...]

It needs what the tests need (Debian's Chromium), plays `docs.scenes` on a real server, and looks.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page, expect, sync_playwright

from flask_neolith_orchestrator.testing import FakeClaude
from tests.acceptance.conftest import ARGUMENTS, CHROMIUM
from tests.acceptance.example_server import PASSWORD, ExampleServer

from .scenes import Company, play

FOLDER: Final = Path(__file__).parent / "images"
SIZES: Final = {"wide": (1280, 800), "phone": (360, 740)}
SETTLED: Final = 1_200
"""Milliseconds after which a page has what it shows from the API and has drawn it."""
AT_WORK: Final = ("ada", "otto", "iris")


@dataclass(frozen=True, slots=True)
class Shot:
    """One page: where it is, and what is done there before one looks. `{...}` in the address are ids."""

    name: str
    path: str
    ready: str
    inside: bool = True
    prepare: Callable[[Page], None] | None = None


def _open_thread(page: Page) -> None:
    page.locator("#line").get_by_role("button", name="1 reply").last.click()
    expect(page.locator("#thread .messages > li").nth(1)).to_be_visible()


SHOTS: Final = (
    Shot("login", "/login", "form", inside=False),
    Shot("home", "/", "main h1"),
    Shot("channel", "/channels/{research}", "#line [data-ready=yes]"),
    Shot("approval", "/channels/{general}", "#line .approval"),
    Shot("thread", "/channels/{research}", "#line [data-ready=yes]", prepare=_open_thread),
    Shot("dashboard", "/neolith/", "main h1"),
    Shot("orchestrator", "/neolith/orchestrators/{ada}", "main h1"),
    Shot("charter", "/neolith/orchestrators/{ada}/edit-charter", "main h1"),
    Shot("dead-letters", "/neolith/dead-letters", "main h1"),
    Shot("budgets", "/neolith/budgets", "main h1"),
    Shot("api-keys", "/neolith/api-keys", "main h1"),
    Shot("nodes", "/neolith/cluster", "main h1"),
    Shot("audit-log", "/neolith/audit-log", "main h1"),
)


def take(names: Sequence[str], folder: Path = FOLDER) -> None:
    """Write the pictures of some pages, or of all."""
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        api = stack.enter_context(FakeClaude())
        key = {"ANTHROPIC_API_KEY": "sk-ant-demo", "ANTHROPIC_BASE_URL": api.url}
        server = stack.enter_context(ExampleServer(place, **key))
        people = {name: server.log_in(name) for name in ("maya", "sam", *AT_WORK)}
        for session in people.values():
            stack.callback(session.close)
        company = Company(server, api, people)
        play(company)
        play_on = stack.enter_context(sync_playwright())
        browser = play_on.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        stack.callback(browser.close)
        ids = {name: company.channel(name) for name in ("general", "research")}
        listed = company.ask("maya", "GET", "orchestrators")["items"]
        ids |= {one["handle"]: one["id"] for one in listed}
        wanted = [one for one in SHOTS if not names or one.name in names]
        for size, scheme in product(SIZES, ("light", "dark")):
            _round(browser, server.url, wanted, ids, size, scheme, folder)


def _round(
    browser: Browser, url: str, shots: Sequence[Shot], ids: dict[str, str], size: str, scheme: str, folder: Path
) -> None:
    width, height = SIZES[size]
    kind = f"{size}-{scheme}"
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
        locale="en-GB",
        timezone_id="Europe/Berlin",
    )
    page = context.new_page()
    inside = False
    for shot in sorted(shots, key=lambda one: one.inside):
        if shot.inside and not inside:
            _log_in(page, url, "maya")
            inside = True
        page.goto(url + shot.path.format(**ids))
        page.locator(shot.ready).first.wait_for()
        page.wait_for_timeout(SETTLED)
        if shot.prepare:
            shot.prepare(page)
        file = folder / f"{shot.name}-{kind}.png"
        page.screenshot(path=file)
        sys.stdout.write(f"{file.name}\n")
    context.close()


def _log_in(page: Page, url: str, name: str) -> None:
    page.goto(f"{url}/login")
    page.get_by_label("E-mail").fill(f"{name}@neolith.test")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("#connection")).to_have_text("live")


if __name__ == "__main__":
    take(sys.argv[1:])
