"""The dashboard as a page: who gets it, and what a browser is allowed to do with it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from flask_neolith_orchestrator.web.dashboard import PAGES, POLICY, Page
from tests.integration.web_site import Site, make_site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = make_site(tmp_path)
    yield made
    made.close()


class Elements(HTMLParser):
    """All elements of a page with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember it."""
        self.found.append((tag, dict(attrs)))


def test_a_stranger_is_sent_to_the_hosts_own_login(site: Site) -> None:
    """The page is for those who have logged in, however the host lets them."""
    answer = site.as_(None).client.get("/neolith/")
    assert (answer.status_code, answer.location.split("?")[0]) == (302, "/login")


def test_a_key_does_not_open_the_page(site: Site) -> None:
    """Pages are for browsers, which have a login."""
    assert site.with_key("ann", "orchestrators:read").client.get("/neolith/").status_code == 302


def test_everything_on_the_page_comes_from_here_and_nothing_is_inline(site: Site) -> None:
    """The policy forbids inline and foreign scripts, and the page does not need them: every file is there."""
    client = site.as_("ann").client
    answer = client.get("/neolith/")
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert "unsafe" not in POLICY
    assert answer.headers["Cache-Control"] == "no-store"
    elements = Elements(answer.text).found
    linked = [source for _, attributes in elements if (source := attributes.get("src") or attributes.get("href"))]
    linked = [one for one in linked if "static" in one]
    assert len(linked) >= 7
    for address in linked:
        with client.get(address) as file:
            assert file.status_code == 200, address
    for tag, attributes in elements:
        assert tag != "style"
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        assert tag != "script" or attributes.get("src")


def test_vendored_libraries_are_unchanged_and_have_their_licence_beside_them() -> None:
    """What is not ours says whose it is, which version, and under which licence; nobody has touched it."""
    vendor = Path(__file__).parents[2] / "flask_neolith_orchestrator/web/static/vendor"
    rows = [
        line.split("|")[1:-1]
        for line in (vendor / "README.md").read_text().splitlines()
        if ".js |" in line or ".css |" in line
    ]
    listed = {}
    for name, _library, version, licence, _source, _use, checksum in (map(str.strip, row) for row in rows):
        listed[name] = checksum
        assert f"-{version}." in name
        beside = vendor / f"{name.split(f'-{version}.')[0]}-{version}.LICENSE.txt"
        assert licence in beside.read_text()
    files = {one.name for one in vendor.iterdir() if one.suffix in (".js", ".css")}
    assert files == listed.keys()
    for name, checksum in listed.items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == checksum, name


def test_the_host_can_put_its_own_page_in_its_place(site: Site, tmp_path: Path) -> None:
    """A template of the host's with the same name wins."""
    own = tmp_path / "templates" / "neolith"
    own.mkdir(parents=True)
    (own / "dashboard.html").write_text("<p>mine, for {{ name }}</p>")
    site.app.template_folder = str(own.parent)
    assert site.as_("ann").client.get("/neolith/").text == "<p>mine, for ann</p>"


def test_the_page_says_when_daemons_are_switched_off(tmp_path: Path, site: Site) -> None:
    """Nobody wonders why nothing starts."""
    assert "ORCHESTRATOR_MODE" in site.as_("ann").client.get("/neolith/").text
    on = make_site(tmp_path / "on", mode=True)
    try:
        assert "ORCHESTRATOR_MODE" not in on.as_("ann").client.get("/neolith/").text
    finally:
        on.close()


def test_names_are_text(site: Site) -> None:
    """A user who is called like a tag is shown like a name."""
    with site.app.app_context():
        user = site.db.session.query(site.neolith.models.user).filter_by(name="ann").one()
        user.name = "<img src=x onerror=alert(1)>"
        site.db.session.commit()
    page = site.as_("<img src=x onerror=alert(1)>").client.get("/neolith/").text
    assert "<img" not in page
    assert re.search("&lt;img", page)


def test_who_manages_nothing_is_told_whom_to_ask(site: Site) -> None:
    """A plain member gets a page that says so and leads back; an orchestrator manages itself."""
    answer = site.as_("bob").client.get("/neolith/")
    assert answer.status_code == 403
    assert "owner or admin" in answer.text
    assert site.as_("mallory").client.get("/neolith/audit-log").status_code == 403
    ada = site.ids["ada-orchestrator"]
    assert site.as_("ada").client.get(f"/neolith/orchestrators/{ada}").status_code == 200
    assert site.as_("bob").client.get(f"/neolith/orchestrators/{ada}").status_code == 403
    for stranger in ("eve", "mallory"):
        for address in (f"/neolith/orchestrators/{ada}", f"/neolith/orchestrators/{ada}/edit-charter"):
            assert site.as_(stranger).client.get(address).status_code == 404
    assert site.as_("ann").client.get("/neolith/orchestrators/nonsense").status_code == 404


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.endpoint)
def test_every_page_is_there_under_the_policy(site: Site, page: Page) -> None:
    """All pages have their title, the policy, and only scripts that exist."""
    client = site.as_("ann").client
    address = page.rule.replace("<id>", site.ids["ada-orchestrator"]).replace("<organization_id>", site.ids["acme"])
    address = f"/neolith{address}"
    answer = client.get(address)
    assert (answer.status_code, answer.headers["Content-Security-Policy"]) == (200, POLICY)
    for tag, attributes in Elements(answer.text).found:
        source = attributes.get("src") or (attributes.get("href") if tag == "link" else None)
        if source:
            with client.get(source) as file:
                assert file.status_code == 200, source


def test_links_lead_to_where_the_host_shows_messages(tmp_path: Path, site: Site) -> None:
    """By default to the example app's address of a message, else to the host's own."""
    address = f"/neolith/orchestrators/{site.ids['ada-orchestrator']}"
    page = site.as_("ann").client.get(address).text
    assert 'data-message-link="/channels/{channel}#message-{message}"' in page
    own = make_site(tmp_path / "own", NEOLITH_PUBLIC_URL="https://chat.test/c/{channel}/{message}")
    try:
        assert 'data-message-link="https://chat.test/c/{channel}/{message}"' in own.as_("ann").client.get(address).text
    finally:
        own.close()
