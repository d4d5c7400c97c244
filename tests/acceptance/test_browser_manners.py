"""What a careful visitor of the chat sees: by touch, by keyboard, with a full outbox, when the server is away."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from .browser import check_accessible
from .example_server import ExampleServer
from .office import Office, message, office, press, say, server

__all__ = ["office", "server"]

pytestmark = [pytest.mark.browser, pytest.mark.process]

HEBREW = "שלום עולם, זה מסר."
MOST = 40_000  # characters of a message
NEAR = 80  # pixels
TO_END = "one => one.scrollHeight - one.scrollTop - one.clientHeight"

SAY_OF_WAITING = """async () => {
  const { Announcer } = await import("/static/announce.js");
  const region = document.createElement("p");
  const announcer = new Announcer({ me: "1", region, places: [], changed: () => {} });
  const { MessageView } = await import("/static/message.js");
  const [no, none] = [() => null, () => []];
  const view = new MessageView({ me: "1", names: no, calls: no, waiting: none, may: none, addressOf: () => "#" });
  return ["I answer tomorrow.", null].map((notice) => {
    const author = { id: "2", name: "Ada", isOrchestrator: true };
    const answer = { id: "9", author, state: "interrupted", content: "", html: "", notice, createdAt: "2026-01-01" };
    announcer.ends(answer);
    view.update(answer);
    return [region.textContent, view.element.querySelector(".said").textContent];
  });
}"""


def answered(line: Locator, words: str) -> Locator:
    """Ask Ada; returns her answer as it begins to be written."""
    say(line, f"@ada {words}")
    answer = message(line, words).locator(".newest")
    expect(answer.locator(".text")).to_contain_text("offline")
    return answer


def test_a_finger_uses_the_toolbar(office: Office) -> None:
    """A tap on a message shows what one can do with it, all of it above the field; a tap there does it."""
    phone = office.open("sam", width=360, has_touch=True)
    phone.goto(f"{office.url}/channels/3")
    line = phone.locator("#line")
    say(line, "touch me")
    row = message(line, "touch me")
    expect(row.locator(".remark")).to_have_count(0)
    row.locator(".text").tap()
    buttons = row.get_by_role("toolbar").get_by_role("button")
    expect(buttons.first).to_be_in_viewport(ratio=1)
    row.get_by_role("button", name="React").tap()
    phone.get_by_role("button", name="Heart").tap()
    expect(row.locator(".chip")).to_have_text("❤️ 1")


def test_the_members_fit_a_phone(office: Office) -> None:
    """Nothing of the dialog is cut off at its side: it has no bar to scroll there."""
    maya = office.open("maya", width=360)
    office.enter(maya, "# general")
    maya.locator("#members").click()
    dialog = maya.get_by_role("dialog", name="Members")
    expect(dialog.get_by_role("button", name="Remove Ada")).to_be_visible()
    assert dialog.evaluate("one => one.scrollWidth - one.clientWidth") <= 0


def test_the_focus_is_never_lost(office: Office) -> None:
    """It comes back to the message when the button that was pressed is another by now, or the answer is gone."""
    maya, ada = office.open("maya"), office.open("ada")
    line = office.enter(maya, "# research")
    answer = answered(line, "one " * 40)
    press(answer, "Why this answer")
    expect(answer).to_have_attribute("data-state", "final")
    maya.keyboard.press("Escape")
    expect(answer).to_be_focused()
    press(answer, "Regenerate")
    answer.get_by_role("button", name="2 versions").click()
    maya.get_by_role("button", name="Use this version").click()
    expect(answer.get_by_role("button", name="3 versions")).to_be_visible()
    expect(answer).to_be_focused()
    press(answer, "Delete")
    maya.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(answer).to_be_hidden()
    expect(message(line, "one one").locator(".message").first).to_be_focused()
    ada.get_by_role("button", name="Log out").click()


def test_a_thread_leaves_the_end_in_sight(office: Office) -> None:
    """Beside a thread the main line still ends at its end; what one reads in it is not new; a link points there."""
    maya, sam = office.open("maya"), office.open("sam")
    line, his = office.enter(maya, "# writing"), office.enter(sam, "# writing")
    say(line, "many words " * 150)
    say(line, "root of it")
    row = message(his, "root of it")
    press(row, "Reply in thread")
    expect(row).to_be_in_viewport()
    assert his.locator(".scroll").evaluate(TO_END) < NEAR
    press(message(line, "root of it"), "Reply in thread")
    thread = maya.locator("#thread")
    his.locator(".scroll").evaluate("one => one.scrollTo(0, 0)")
    say(thread, "read at once")
    reply = message(sam.locator("#thread"), "read at once")
    expect(reply).to_be_visible()
    expect(row.locator(".replies")).to_have_text("1 reply")
    address = reply.locator(".head a").get_attribute("href")
    sam.goto(f"{office.url}{address}")
    expect(sam.locator("#line .messages")).to_have_attribute("data-ready", "yes")
    expect(sam.locator("#thread .pointed")).to_be_focused()


def test_nothing_that_is_pasted_is_cut_off(office: Office) -> None:
    """What is too long is refused with all of it, and the buttons that help are in sight."""
    maya = office.open("maya")
    line = office.enter(maya, "# money")
    box = line.get_by_role("textbox")
    box.focus()
    maya.keyboard.insert_text("long " * (MOST // 5) + "end")
    box.press("Enter")
    expect(line).to_contain_text("Not sent: content must have at most 40,000 characters.")
    discard = line.get_by_role("button", name="Discard")
    expect(discard).to_be_in_viewport()
    discard.click()
    office.forgive("422")


def test_what_is_said_of_an_answer_that_waits_is_its_reason(office: Office) -> None:
    """What goes on later is not called interrupted: the notice alone is shown and read aloud."""
    told = office.open("maya").evaluate(SAY_OF_WAITING)
    assert told == [["Ada: I answer tomorrow.", "I answer tomorrow."], ["Ada was interrupted.", "Interrupted"]]


def test_a_text_runs_its_own_way(office: Office) -> None:
    """Hebrew begins at the right, where it is written and where it is shown."""
    maya = office.open("maya")
    line = office.enter(maya, "# writing")
    say(line, HEBREW)
    shown = message(line, HEBREW).locator(".text p")
    for one in (shown, line.get_by_role("textbox")):
        expect(one).to_have_css("unicode-bidi", "plaintext")


def test_an_address_that_leads_nowhere_says_so(office: Office) -> None:
    """A page with a way back, whether the channel never was or is somebody else's."""
    maya = office.open("maya")
    maya.goto(f"{office.url}/channels/999")
    expect(maya.get_by_role("heading")).to_have_text("This channel is not here")
    check_accessible(maya)
    maya.get_by_role("link", name="All channels").click()
    expect(maya.get_by_role("heading", name="Hello Maya")).to_be_visible()
    office.forgive("404")


def test_who_is_too_fast_is_told_what_waits(tmp_path: Path, browser: Browser) -> None:
    """Over the limit it is said when it is sent again, and that the next one waits for it, not for a connection."""
    slow = {"NEOLITH_RATE_POSTS": "1/minute", "NEOLITH_SCRIPTED_DELAY": "60"}
    with ExampleServer(tmp_path, **slow) as server, ExitStack() as stack:
        office = Office(server, browser, stack)
        office.open("ada")
        maya = office.open("maya")
        line = office.enter(maya, "# research")
        answered(line, "write " * 60)
        for words in ("too fast", "faster still"):
            say(line, words)
        expect(message(line, "too fast")).to_contain_text("Wait a little, and try again. It is sent again at")
        expect(message(line, "faster still")).to_contain_text("what you wrote before it is sent first")
        expect(maya.locator("#announcer")).to_contain_text("Waiting: ")
        expect(line.locator(".doing")).to_contain_text("Ada is writing")
        server.kill()
        expect(maya.locator("#connection")).to_have_text("reconnecting")
        expect(line.locator(".doing")).to_be_empty()
