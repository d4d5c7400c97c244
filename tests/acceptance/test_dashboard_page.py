"""The dashboard in a real browser: live, by keyboard, on a phone, in the dark, without a word in the console."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.integration.live import LiveServer
from tests.integration.web_site import Site, make_site

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield chromium
        chromium.close()


class Screen:
    """A site behind a real server, and pages on it. Complaints of a page are collected."""

    def __init__(self, site: Site, url: str, browser: Browser, stack: ExitStack) -> None:
        self.site = site
        self.complaints: list[str] = []
        self._url = url
        self._browser = browser
        self._stack = stack

    def open(self, name: str, *, width: int = 1280, dark: bool = False) -> Page:
        """The dashboard in a browser of somebody who has logged in."""
        context = self._browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light"
        )
        self._stack.callback(context.close)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        context.request.post(f"{self._url}/login/{name}")
        page.goto(f"{self._url}/neolith/")
        return page


@pytest.fixture
def screen(tmp_path: Path, browser: Browser) -> Iterator[Screen]:
    site = make_site(tmp_path, mode=True)
    with ExitStack() as stack:
        stack.callback(site.close)
        server = stack.enter_context(LiveServer(site.app))
        made = Screen(site, server.url, browser, stack)
        yield made
        assert made.complaints == []


def test_an_owner_starts_and_stops_by_keyboard_and_everybody_sees_it_at_once(screen: Screen) -> None:
    """Start by Enter; both browsers show it without a reload; the focus goes to what can be done next."""
    ann, bob = screen.open("ann"), screen.open("bob")
    for page in (ann, bob):
        expect(page.get_by_role("status")).to_have_text("live")
        expect(page.get_by_role("rowheader", name="ada")).to_be_visible()
    ann.get_by_role("button", name="Start ada", exact=True).focus()
    ann.keyboard.press("Enter")
    for page in (ann, bob):
        expect(page.locator("[data-state=running]")).to_be_visible()
        expect(page.locator("[data-state=ONLINE]")).to_be_visible()
    expect(ann.get_by_role("button", name="Stop ada")).to_be_focused()
    ann.keyboard.press("Enter")
    for page in (ann, bob):
        expect(page.locator("[data-state=stopped]")).to_be_visible()
        expect(page.locator("[data-state=OFFLINE]")).to_be_visible()
    expect(bob.get_by_role("button")).to_have_count(0)


def test_it_fits_a_phone_in_the_dark(screen: Screen) -> None:
    """The page itself does not scroll sideways; the table does, and can be reached by keyboard."""
    page = screen.open("ann", width=360, dark=True)
    expect(page.get_by_role("rowheader", name="ada")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 29)"
    page.get_by_role("region").focus()
    assert page.evaluate("document.activeElement.className") == "scroll"


def test_a_refusal_is_shown_as_a_sentence(screen: Screen) -> None:
    """What the API refuses, people can read."""
    page = screen.open("ann")
    expect(page.get_by_role("status")).to_have_text("live")
    with screen.site.app.app_context():
        models, session = screen.site.neolith.models, screen.site.db.session
        session.query(models.OrganizationMember).delete()
        session.commit()
    page.get_by_role("button", name="Start ada", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("no such thing")
    expect(page.get_by_text("There are no orchestrators here yet.")).to_be_visible()
    screen.complaints = [one for one in screen.complaints if "404" not in one]  # the browser notes the answer itself
