"""The example app in browsers of the people in its demo: fixtures `server` and `office`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from playwright.sync_api import TimeoutError as TookTooLong

from .browser import Browsers
from .example_server import PASSWORD, ExampleServer


class Office(Browsers):
    """A server, and browsers of people who have logged in. Lifetime: the stack."""

    def __init__(self, server: ExampleServer, browser: Browser, stack: ExitStack) -> None:
        super().__init__(server.url, browser, stack)
        self.server = server

    def open(self, name: str, *, width: int = 1100, dark: bool = False, **more: Any) -> Page:
        """A new browser in which somebody logs in by the form; shows the home page."""
        page = self.context(width=width, height=750, dark=dark, **more).new_page()
        page.goto(f"{self.url}/login")
        page.get_by_label("E-mail").fill(f"{name}@neolith.test")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page.locator("#connection")).to_have_text("live")
        return page

    def enter(self, page: Page, channel: str = "# general") -> Locator:
        """Go into a channel; returns its main line when it is live and read."""
        page.get_by_role("navigation").get_by_role("link", name=channel).click()
        expect(page.locator("#line .messages")).to_have_attribute("data-ready", "yes")
        return page.locator("#line")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExampleServer]:
    """One server for the tests of a module that do it no harm."""
    with ExampleServer(tmp_path_factory.mktemp("office"), NEOLITH_SCRIPTED_DELAY="40") as server:
        yield server


@pytest.fixture
def office(server: ExampleServer, browser: Browser) -> Iterator[Office]:
    """Browsers on that server; at the end nobody complained, nothing was fetched from elsewhere."""
    with ExitStack() as stack:
        office = Office(server, browser, stack)
        yield office
        office.check()


def say(section: Locator, content: str) -> None:
    """Write a message and send it by Enter."""
    box = section.get_by_role("textbox")
    box.fill(content)
    box.press("Enter")


def message(section: Locator, content: str) -> Locator:
    """The row of a message, with the newest answer to it."""
    return section.locator(".messages > li", has_text=content)


def press(row: Locator, name: str) -> None:
    """Press a button of the toolbar that a message has under the pointer; it goes when the list moves on meanwhile."""
    button = row.get_by_role("toolbar").get_by_role("button", name=name)
    for _ in range(4):
        row.locator(".text").first.hover()
        with suppress(TookTooLong):
            return button.click(timeout=2_000)
    return button.click()


def dot(page: Page, handle: str) -> Locator:
    """The dot of an orchestrator beside the channels."""
    return page.get_by_role("navigation").locator(f"[data-orchestrator={handle}] .dot")
