"""The example app in real browsers: two people look at each other's screens, and nothing is lost or shown twice."""

from __future__ import annotations

import re
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from .example_server import ExampleServer
from .office import Office, dot, message, office, press, say, server

__all__ = ["office", "server"]

pytestmark = [pytest.mark.browser, pytest.mark.process]

LONG = "word " * 90
"""What the offline model repeats in its answer: several seconds of streaming."""


def watch(answer: Locator) -> list[str]:
    """Every text that is seen of an answer while it is being written."""
    seen: list[str] = []
    text = answer.locator(".text")
    while "growing" in (text.get_attribute("class") or ""):
        # both at once: a look at the class and then at the text may fall on either side of the end
        kind, shown = text.evaluate("element => [element.className, element.textContent]")
        if "growing" in kind and shown and shown not in seen:
            seen.append(shown)
    return seen


def offline_answer(heard: str) -> str:
    """What is seen of the offline model's answer, without the tools that it names at its end."""
    return (
        "I am the offline model: no key for Claude is set, so nobody has thought about this answer."
        f"You said:{heard}Set ANTHROPIC_API_KEY to talk to Claude"
    )


def test_ada_comes_is_asked_answers_and_goes(office: Office) -> None:
    """Two browsers: presence follows the login, the answer to @ada grows on both screens and ends, then she leaves."""
    maya = office.open("maya")
    expect(dot(maya, "ada")).to_have_text("Offline")
    ada = office.open("ada")
    for page in (maya, ada):
        expect(dot(page, "ada")).to_have_text("Online")
        expect(dot(page, "otto")).to_have_text("Offline")
    line, hers = office.enter(maya), office.enter(ada)
    say(line, "@ada hello, who are you?")
    answer = message(line, "who are you?").locator(".newest")
    expect(answer).to_have_attribute("data-state", "streaming")
    seen = watch(answer)
    assert len(seen) > 2, seen
    assert all(after.startswith(before) for before, after in pairwise(seen)), seen
    for section in (line, hers):
        answer = message(section, "who are you?").locator(".newest")
        expect(answer).to_have_attribute("data-state", "final")
        expect(answer.locator("strong")).to_have_text("offline model")
        expect(message(section, "who are you?").get_by_role("button", name="1 reply")).to_be_visible()
    # who cannot see has been told once, at the end, without the signs of Markdown
    expect(maya.locator("#announcer")).to_contain_text("Ada wrote: I am the offline model")
    ada.get_by_role("button", name="Log out").click()
    expect(ada.get_by_role("heading", name="Neolith")).to_be_visible()
    expect(dot(maya, "ada")).to_have_text("Offline")


def test_who_asked_stops_the_answer(office: Office) -> None:
    """Stop is there for Maya who asked, not for Sam who watches; what was written stays, marked as interrupted."""
    ada, maya, sam = office.open("ada"), office.open("maya"), office.open("sam")
    expect(dot(maya, "ada")).to_have_text("Online")
    line, watched = office.enter(maya), office.enter(sam)
    say(line, f"@ada stop me {LONG}")
    answer = message(line, "stop me").locator(".newest")
    expect(answer.locator(".text")).to_contain_text("I am the")
    expect(message(watched, "stop me").locator(".newest .text")).to_contain_text("I am the")
    expect(watched.get_by_role("button", name="Stop")).to_have_count(0)
    press(message(line, "stop me"), "Edit")
    expect(line.locator("form.edit")).to_contain_text("The answer of Ada is to the text as it was")
    maya.keyboard.press("Escape")
    answer.get_by_role("button", name="Stop").click()
    for section in (line, watched):
        shown = message(section, "stop me").locator(".newest")
        expect(shown).to_have_attribute("data-state", "interrupted")
        expect(shown.locator(".remark.bad")).to_have_text("Interrupted")
        expect(shown.locator(".text")).to_contain_text("I am the")
        expect(shown.locator(".text")).not_to_contain_text("to talk to Claude")
    expect(line.get_by_role("button", name="Stop")).to_have_count(0)
    # the pointer has not left the answer
    expect(answer.get_by_role("toolbar").get_by_role("button", name="Regenerate")).to_be_visible()
    ada.get_by_role("button", name="Log out").click()


def test_who_waits_sees_it_and_may_have_it_written_anew(office: Office) -> None:
    """Maya sees why nothing comes; then Regenerate, which only she has, and its Stop, which leaves the old answer."""
    maya, sam = office.open("maya"), office.open("sam")
    line, watched = office.enter(maya), office.enter(sam)
    say(line, f"@ada say it again {LONG}")
    expect(message(line, "say it again").locator(".waits")).to_have_text("your question is next: nobody is there yet")
    expect(watched.locator(".waits")).to_have_count(0)
    ada = office.open("ada")
    answer = message(line, "say it again").locator(".newest")
    expect(answer).to_have_attribute("data-state", "final", timeout=20_000)
    expect(line.locator(".waits")).to_have_count(0)
    message(watched, "say it again").locator(".newest").hover()
    expect(watched.get_by_role("toolbar")).to_be_visible()
    expect(watched.get_by_role("button", name="Regenerate")).to_have_count(0)
    press(answer, "Regenerate")
    expect(answer).to_have_attribute("data-state", "streaming")
    answer.get_by_role("button", name="Stop").click()
    for section in (line, watched):
        shown = message(section, "say it again").locator(".newest")
        expect(shown).to_have_attribute("data-state", "final")
        expect(shown.locator(".text")).to_contain_text("to talk to Claude")
        expect(shown.locator(".remark")).to_contain_text("The new version was stopped")
    ada.get_by_role("button", name="Log out").click()


def test_who_comes_late_reads_along(office: Office) -> None:
    """Sam opens the channel in the middle of an answer: he sees it from its beginning and grow, no letter twice."""
    ada, maya, sam = office.open("ada"), office.open("maya"), office.open("sam")
    expect(dot(maya, "ada")).to_have_text("Online")
    line = office.enter(maya)
    say(line, f"@ada late {LONG}")
    expect(message(line, "late").locator(".newest .text")).to_contain_text("You said")
    answer = message(office.enter(sam), "late").locator(".newest")
    seen = watch(answer)
    assert len(seen) > 2, seen
    assert all(seen[-1].startswith(one) for one in seen), seen
    assert seen[-1].startswith(offline_answer(f"@ada late {LONG.strip()}"))
    expect(answer).to_have_attribute("data-state", "final")
    ada.get_by_role("button", name="Log out").click()


def test_markup_of_others_is_only_text(office: Office) -> None:
    """A script and an image with a handler arrive as the letters they are; Markdown is shown; nothing is fetched."""
    maya, sam = office.open("maya"), office.open("sam")
    line, watched = office.enter(maya, "# research"), office.enter(sam, "# research")
    evil = "<script>alert(1)</script> <img src=https://evil.test/x onerror=alert(2)> **bold** ![x](https://evil.test/y)"
    say(line, evil)
    for section in (line, watched):
        shown = message(section, "bold").locator(".text")
        expect(shown).to_contain_text("<script>alert(1)</script> <img src=https://evil.test/x onerror=alert(2)>")
        expect(shown.locator("strong")).to_have_text("bold")
        expect(shown.locator("script, img")).to_have_count(0)
    maya.reload()
    expect(message(maya.locator("#line"), "bold").locator("script, img")).to_have_count(0)


def test_a_thread_opens_beside_the_main_line(office: Office) -> None:
    """Everything by keyboard: open the thread, answer in it, see it counted on the main line, close it."""
    maya, sam = office.open("maya"), office.open("sam")
    line, watched = office.enter(maya, "# research"), office.enter(sam, "# research")
    say(line, "a question for a thread")
    expect(message(watched, "a question for a thread")).to_be_visible()
    watched.get_by_role("textbox").press("Shift+Tab")  # into the messages
    sam.keyboard.press("Tab")
    watched.get_by_role("button", name="Reply in thread").press("Enter")
    thread = sam.get_by_role("complementary", name="Thread")
    expect(thread.get_by_role("textbox")).to_be_focused()
    expect(message(thread, "a question for a thread")).to_be_visible()
    say(thread, "an answer in it")
    expect(message(thread, "an answer in it")).to_be_visible()
    root = message(line, "a question for a thread")
    expect(root.get_by_role("button", name="1 reply")).to_be_visible()
    expect(root.locator(".newest .text")).to_have_text("an answer in it")
    expect(line.locator(".messages > li", has_text="an answer in it")).to_have_count(1)
    sam.keyboard.press("Escape")
    expect(thread).to_be_hidden()
    expect(message(watched, "a question for a thread").get_by_role("button", name="1 reply")).to_be_visible()
    expect(watched.get_by_role("button", name="Reply in thread")).to_be_focused()
    # the newest answer is there after a reload as well, without opening anything
    sam.reload()
    expect(message(sam.locator("#line"), "a question").locator(".newest .text")).to_have_text("an answer in it")


def test_names_are_suggested_while_a_mention_is_written(office: Office) -> None:
    """@a and Tab is enough to mention Ada; Enter then sends, and the next @ begins anew."""
    maya = office.open("maya")
    line = office.enter(maya)
    box = line.get_by_role("textbox")
    box.press_sequentially("Dear @")
    expect(line.get_by_role("option")).to_have_text([re.compile("@ada"), re.compile("@otto"), re.compile("@Sam")])
    box.press("ArrowDown")
    expect(line.get_by_role("option", selected=True)).to_contain_text("@otto")
    box.press_sequentially("a")
    expect(line.get_by_role("option")).to_have_text([re.compile("@ada")])
    box.press("Tab")
    expect(box).to_have_value("Dear @ada ")
    expect(line.get_by_role("listbox")).to_be_hidden()
    box.press_sequentially("good evening")
    box.press("Shift+Enter")
    box.press_sequentially("and thanks")
    expect(box).to_have_value("Dear @ada good evening\nand thanks")
    box.press("Enter")
    expect(message(line, "Dear @ada good evening")).to_be_visible()


def test_it_fits_a_phone_in_the_dark(office: Office) -> None:
    """At 360 pixels no page scrolls sideways, the thread takes the main line's place, and the dark is dark."""
    maya = office.open("maya", width=360, dark=True)
    assert maya.evaluate("document.documentElement.scrollWidth <= innerWidth")
    line = office.enter(maya)
    say(line, "x" * 300)
    press(message(line, "xxx"), "Reply in thread")
    expect(line).to_be_hidden()
    expect(maya.get_by_role("complementary", name="Thread").get_by_role("textbox")).to_be_in_viewport()
    assert maya.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert maya.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(23, 27, 34)"


@pytest.mark.parametrize("name", ["ada", "sam"])
def test_an_ended_login_leads_to_the_login_page(office: Office, name: str) -> None:
    """Somebody has the chat open twice, and logs out in one tab: the other does not go on listening."""
    page = office.open(name)
    office.enter(page)
    other = page.context.new_page()
    other.goto(office.server.url)
    other.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    assert "/login?next=" in page.url
    # an answer that is being written meanwhile may make the page ask once more, in vain
    office.forgive("401")


def test_a_killed_server_loses_nothing(tmp_path: Path, browser: Browser) -> None:
    """The server dies in the middle of an answer and comes back: the page mends itself, each message is there once."""
    with ExampleServer(tmp_path, NEOLITH_SCRIPTED_DELAY="20") as server, ExitStack() as stack:
        office = Office(server, browser, stack)
        office.open("ada")
        maya = office.open("maya")
        line = office.enter(maya)
        say(line, f"@ada before {LONG}")
        row = message(line, "before")
        expect(row.locator(".newest .text")).to_contain_text("You said")
        server.kill()
        expect(maya.locator("#connection")).to_have_text("reconnecting")
        say(line, "written while nobody listened")
        unsent = message(line, "written while nobody listened")
        expect(unsent.locator(".remark")).to_have_text("Waiting for the connection")
        server.start()
        expect(maya.locator("#connection")).to_have_text("live")
        expect(unsent).to_have_count(1)
        expect(unsent.locator(".remark")).to_have_count(0)
        # Ada was logged in, so she is there again and answers what she was asked
        expect(row.locator(".newest")).to_have_attribute("data-state", "final", timeout=15_000)
        expect(dot(maya, "ada")).to_have_text("Online")
        said = line.locator(".messages > li > .message:not(.newest) .text").all_inner_texts()
        assert said == [f"@ada before {LONG}".strip(), "written while nobody listened"]
        maya.reload()
        expect(line.locator(".messages")).to_have_attribute("data-ready", "yes")
        expect(row.get_by_role("button", name="1 reply")).to_be_visible()
        said_then = line.locator(".messages > li > .message:not(.newest) .text").all_inner_texts()
        assert said_then == said
        office.forgive("ERR_CONNECTION", "WebSocket")
        office.check()
