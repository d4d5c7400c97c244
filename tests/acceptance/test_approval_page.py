"""Approvals in real browsers: who asked sees what is to be done and decides by keyboard; others see that it waits."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from .office import Office, office, say, server

__all__ = ["office", "server"]

pytestmark = [pytest.mark.browser, pytest.mark.process]


def test_who_asked_decides_by_keyboard(office: Office) -> None:
    """The arguments are on one screen only, also after a reload; a key press has the notice pinned and answered."""
    office.open("ada")
    maya, sam = office.open("maya"), office.open("sam")
    hers, his = office.enter(maya), office.enter(sam)
    say(hers, "@ada use pin_notice The lift is out of order")
    group = hers.get_by_role("group", name="Approval")
    expect(group).to_contain_text("The lift is out of order")
    waits = his.get_by_text("Waits for approval of Maya: pin_notice")
    expect(waits).to_be_visible()
    expect(his.get_by_role("group", name="Approval")).to_have_count(0)
    maya.reload()
    sam.reload()
    expect(waits).to_be_visible()
    approve = group.get_by_role("button", name="Approve")
    approve.focus()
    approve.press("Enter")
    expect(hers).to_contain_text("It is on the noticeboard.")
    expect(his).to_contain_text("It is on the noticeboard.")
    expect(group).to_have_count(0)
    sam.goto(office.server.url)
    expect(sam.get_by_role("main")).to_contain_text("Ada: The lift is out of order")
    say(hers, "@ada use pin_notice Free ice cream")
    group.get_by_role("button", name="Deny").click()
    expect(hers).to_contain_text("said no")
    sam.reload()
    expect(sam.get_by_role("main")).not_to_contain_text("Free ice cream")
