"""The dashboard of a small host app (two organizations, see web_site) in browsers. Fixtures `site` and `screen`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.integration.live import LiveServer
from tests.integration.web_site import Site, make_site

from .browser import Browsers


class Screen(Browsers):
    """A site behind a real server, and pages of its dashboard. Lifetime: the stack."""

    def __init__(self, site: Site, url: str, browser: Browser, stack: ExitStack) -> None:
        super().__init__(url, browser, stack)
        self.site = site

    def open(self, name: str, path: str = "", *, width: int = 1280, dark: bool = False) -> Page:
        """A page of the dashboard (`path` below /neolith/) in a new browser of somebody who has logged in."""
        context = self.context(width=width, dark=dark)
        context.request.post(f"{self.url}/login/{name}")
        page = context.new_page()
        page.goto(f"{self.url}/neolith/{path}")
        return page


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """The host app, with daemons allowed."""
    made = make_site(tmp_path, mode=True)
    yield made
    made.close()


@pytest.fixture
def screen(site: Site, browser: Browser) -> Iterator[Screen]:
    """Browsers on it; at the end nobody complained, nothing was fetched from elsewhere."""
    with ExitStack() as stack:
        server = stack.enter_context(LiveServer(site.app))
        made = Screen(site, server.url, browser, stack)
        yield made
        made.check()
