"""The dashboard's overview and the page of one orchestrator, in real browsers: live, by keyboard, without a word in
the console."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from .screen import Screen, screen, site

__all__ = ["screen", "site"]

pytestmark = pytest.mark.browser


def test_an_owner_starts_and_stops_by_keyboard_and_everybody_sees_it_at_once(screen: Screen) -> None:
    """Start by Enter; both browsers show it without a reload; the focus stays on what can be done next."""
    ann, other = screen.open("ann"), screen.open("ann")
    for page in (ann, other):
        expect(page.locator("#connection")).to_have_text("live")
        expect(page.get_by_role("rowheader", name="ada")).to_be_visible()
    ann.get_by_role("button", name="Start ada", exact=True).focus()
    ann.keyboard.press("Enter")
    for page in (ann, other):
        expect(page.locator("tbody [data-status=ONLINE]")).to_be_visible()
        expect(page.locator("tbody [data-daemon=running]")).to_be_visible()
        expect(page.locator("[data-sum=running] strong")).to_have_text("1")
    expect(ann.get_by_role("button", name="Stop ada")).to_be_focused()
    expect(ann.locator("#said")).to_have_text("ada has been started.")
    ann.keyboard.press("Enter")
    for page in (ann, other):
        expect(page.locator("tbody [data-daemon=stopped]")).to_be_visible()
        expect(page.locator("tbody [data-status=OFFLINE]")).to_be_visible()


def test_a_refusal_is_shown_as_a_sentence(screen: Screen) -> None:
    """What the API refuses, people can read."""
    page = screen.open("ann")
    expect(page.get_by_role("rowheader", name="ada")).to_be_visible()
    listed = screen.site.as_("ann").call("GET", "orchestrators?health=true").text
    page.route("**/orchestrators?*", lambda route: route.fulfill(body=listed, content_type="application/json"))
    page.reload()
    with screen.site.app.app_context():
        models, session = screen.site.neolith.models, screen.site.db.session
        session.query(models.OrganizationMember).delete()
        session.commit()
    page.get_by_role("button", name="Start ada", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("no such thing")
    page.unroute_all()
    page.reload()
    expect(page.get_by_role("heading")).to_contain_text("for those who manage")
    screen.forgive("404", "403")
