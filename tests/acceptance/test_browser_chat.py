"""The chat's pages in real browsers: what is unread, what one does with messages, a long history, the way in."""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import closing

import pytest
from playwright.sync_api import Page, Response, Route, WebSocket, expect

from .browser import check_accessible, check_fits
from .example_server import ExampleServer
from .office import Office, dot, message, office, press, say, server

__all__ = ["office", "server"]

pytestmark = [pytest.mark.browser, pytest.mark.process]

EVIL = (
    "<img src=x onerror=alert(1)> <script>alert(2)</script> [go](javascript:alert(3)) "
    "![i](https://evil.test/i) **bold**"
)
FIRST_LOAD = 300_000  # bytes
LAYOUTS = 25  # of a page that shows 50 messages: it is not measured for each of them
MOST_ROWS = 300  # of a list that lets go of what is far away
LONG = 1200

WATCH = """
window.seen = [];
new MutationObserver(() => {
  const evil = ".text :is(script, img, iframe, object, [onerror])";
  for (const one of document.querySelectorAll(evil)) seen.push(one.outerHTML);
  for (const one of document.querySelectorAll(".text a[href]")) {
    if (!/^(https?|mailto):/.test(one.getAttribute("href"))) seen.push(one.outerHTML);
  }
}).observe(document, { childList: true, subtree: true, attributes: true, characterData: true });
"""


def ready(page: Page) -> None:
    expect(page.locator("#line .messages")).to_have_attribute("data-ready", "yes")


def seed(server: ExampleServer, channel: int, count: int) -> None:
    """Write many messages of Maya and Sam directly, a minute apart."""
    path = server.log.parent / "instance" / "neolith.db"
    rows = [(channel, 1 + n // 3 % 2, f"line {n} of many", time.time() - (count - n) * 60) for n in range(count)]
    with closing(sqlite3.connect(path, timeout=10)) as database, database:
        database.executemany(
            "INSERT INTO neolith_message (channel_id, author_id, content, state, epoch, seq, created_at, versions)"
            " VALUES (?, ?, ?, 'final', 0, 0, ?, 0)",
            rows,
        )


def test_a_newcomer_has_a_first_answer_within_three_steps(office: Office) -> None:
    """One card leads there: start Ada, say hello, send. Then the card is gone for good; who may not is told."""
    sam = office.open("sam")
    expect(sam.locator("#welcome")).to_contain_text("An owner or admin can start Ada")
    sam.get_by_role("button", name="Not now").click()
    expect(sam.locator("#welcome")).to_have_count(0)
    sam.reload()
    expect(sam.locator("#everybody li")).to_have_count(6)
    expect(sam.locator("#welcome")).to_have_count(0)
    maya = office.open("maya")
    maya.get_by_role("button", name="Start Ada").click()
    expect(maya.locator("#welcome-wake")).to_contain_text("Ada is here")
    check_accessible(maya)
    maya.get_by_role("button", name="Say hello to Ada").click()
    ready(maya)
    box = maya.locator("#line").get_by_role("textbox")
    expect(box).to_have_value("@ada hello")
    expect(box).to_be_focused()
    box.press("Enter")
    answer = maya.locator("#line .message[data-author=ada]")
    expect(answer).to_have_attribute("data-state", "final")
    expect(answer).to_contain_text("offline model")
    expect(answer).to_contain_text("ANTHROPIC_API_KEY")
    expect(maya.get_by_role("navigation").get_by_role("link", name="Ada (online)")).to_be_visible()
    maya.get_by_role("link", name="Neolith", exact=True).click()
    expect(maya.get_by_role("heading", name="Hello Maya")).to_be_visible()
    expect(maya.locator("#welcome")).to_have_count(0)


def test_what_is_unread_is_counted_marked_and_cleared(office: Office) -> None:
    """Sam reads elsewhere: count, mention and title come live, the line New shows where he left, reading clears all."""
    maya, sam = office.open("maya"), office.open("sam")
    line = office.enter(maya, "# writing")
    office.enter(sam, "# writing")
    with sam.expect_response(re.compile("/read$")):
        say(line, "seen by both")
        expect(sam.locator("#line")).to_contain_text("seen by both")
    his = office.enter(sam, "# research")
    link = sam.get_by_role("navigation").get_by_role("link", name="# writing")
    expect(link).to_have_text("# writing")
    say(line, "one while he was away")
    expect(link.locator(".count")).to_have_text("1 unread")
    say(line, '@"Sam" two, with your name')
    expect(link.locator(".count.mentions")).to_have_text("@ 2 unread, mentions you")
    expect(sam).to_have_title(re.compile(r"^\(2\) # research"))
    check_accessible(sam)
    other = sam.context.new_page()
    other.goto(office.url)
    expect(other.get_by_role("navigation").get_by_role("link", name="# writing").locator(".count")).to_be_visible()
    his = office.enter(other, "# writing")
    expect(message(his, "one while he was away").locator(".new")).to_be_visible()
    expect(his.locator(".new:visible")).to_have_count(1)
    expect(message(his, "with your name").locator(".mention.mine")).to_have_text("@Sam")
    for page in (sam, other):
        counted = page.get_by_role("navigation").locator(".is-unread")
        expect(counted).to_have_count(0)
    expect(sam).to_have_title(re.compile("^# research"))


def test_a_mark_that_comes_while_the_counts_are_read_is_not_lost(office: Office) -> None:
    """The page before tells how far one has read while this one reads the channels: the older answer does not win."""
    maya, sam = office.open("maya"), office.open("sam")
    say(office.enter(maya, "# research"), "not read at all")
    line = office.enter(maya, "# writing")
    say(line, "read at the last moment")
    other = sam.get_by_role("navigation").get_by_role("link", name="# research")
    link = sam.get_by_role("navigation").get_by_role("link", name="# writing")
    expect(link.locator(".count")).to_be_visible()
    newest = message(line, "read at the last moment").locator("[data-id]").get_attribute("data-id")
    api = f"{office.url}/neolith/api/v1/channels"

    def hold(route: Route) -> None:
        stale = route.fetch()
        with sockets[0].expect_event("framereceived", lambda frame: "channel:read" in str(frame)):
            told = {"messageId": newest}
            sam.context.request.put(f"{api}/3/read", data=told, headers={"Origin": office.url})
        route.fulfill(response=stale)

    sockets: list[WebSocket] = []
    sam.on("websocket", lambda one: sockets.append(one))
    sam.route(api, hold, times=1)
    sam.reload()
    expect(other.locator(".count")).to_be_visible()
    expect(link.locator(".count")).to_be_hidden()


def test_what_a_list_has_counted_is_not_counted_again(office: Office) -> None:
    """The news of a message may come after a list that has it already: one unread message stays one."""
    maya, sam = office.open("maya"), office.open("sam")
    link = sam.get_by_role("navigation").get_by_role("link", name="# writing")
    say(office.enter(maya, "# writing"), "counted once")
    expect(link.locator(".count")).to_be_visible()
    before = link.locator(".count").text_content()
    sam.reload()
    expect(link.locator(".count")).to_have_text(before or "")
    after = sam.evaluate(
        """async () => {
          const { socket, sidebar } = await import("/static/frame.js");
          const [channelId, { lastMessage }] = [...sidebar.known].find(([, one]) => one.name === "writing");
          const news = { channelId, threadId: null, messageId: lastMessage.id, authorId: "0", mentions: [] };
          for (const hear of socket.listeners("channel:activity")) hear({ ...news, replyToUserId: null });
          return document.querySelector(`.side [data-channel="${channelId}"] .count`).textContent;
        }"""
    )
    assert after == before


def test_ones_own_messages_are_edited_reacted_to_and_deleted(office: Office) -> None:
    """By keyboard: Up edits the last one in place, Escape leaves it; a deleted one is gone for all."""
    maya, sam = office.open("maya"), office.open("sam")
    line, his = office.enter(maya, "# writing"), office.enter(sam, "# writing")
    say(line, "frist draft")
    box = line.get_by_role("textbox", name="Write to")
    expect(message(line, "frist draft").locator(".remark")).to_have_count(0)
    box.press("ArrowUp")
    form = line.get_by_role("textbox", name="Edit the message")
    expect(form).to_be_focused()
    form.fill("nothing of this")
    form.press("Escape")
    expect(message(line, "frist draft").locator(".message")).to_be_focused()
    box.press("ArrowUp")
    form.fill("first draft")
    check_accessible(maya)
    form.press("Enter")
    expect(message(his, "first draft").locator(".head")).to_contain_text("(edited)")
    press(message(his, "first draft"), "React")
    sam.get_by_role("button", name="Hooray").press("Enter")
    chip = message(line, "first draft").get_by_role("button", name="🎉 1")
    chip.click()
    expect(message(his, "first draft").get_by_role("button", name="🎉 2")).to_have_attribute("aria-pressed", "true")
    message(his, "first draft").hover()
    expect(his.get_by_role("toolbar")).to_be_visible()
    expect(his.get_by_role("toolbar").get_by_role("button", name="Edit")).to_have_count(0)
    press(message(line, "first draft"), "Delete")
    maya.get_by_role("dialog").get_by_role("button", name="Delete").click()
    for section in (line, his):
        expect(section.get_by_text("This message was deleted.").last).to_be_visible()


def test_an_answer_says_why_and_keeps_its_versions(office: Office) -> None:
    """Why it came, in words; written anew it has two versions, and the first may be taken back."""
    maya, ada = office.open("maya"), office.open("ada")
    line = office.enter(maya, "# research")
    say(line, "@ada which version is this?")
    answer = message(line, "which version").locator(".newest")
    expect(answer).to_have_attribute("data-state", "final")
    press(answer, "Why this answer")
    why = maya.get_by_role("dialog", name="Why Ada answered")
    expect(why).to_contain_text("It is mentioned. It was answered.")
    check_accessible(maya)
    maya.keyboard.press("Escape")
    press(answer, "Regenerate")
    expect(answer.get_by_role("button", name="2 versions")).to_be_visible()
    answer.get_by_role("button", name="2 versions").click()
    listed = maya.get_by_role("dialog", name="Versions of Ada")
    expect(listed.get_by_role("listitem")).to_have_count(2)
    check_accessible(maya)
    listed.get_by_role("button", name="Use this version").click()
    expect(listed).to_have_count(0)
    expect(answer.get_by_role("button", name="3 versions")).to_be_visible()
    ada.get_by_role("button", name="Log out").click()


def test_channels_and_direct_messages_are_made_and_left(office: Office) -> None:
    """A new channel is at once in the lists of whom it has; a taken name is refused in its dialog; out is out."""
    maya, sam = office.open("maya"), office.open("sam")
    maya.get_by_role("button", name="New channel").click()
    dialog = maya.get_by_role("dialog", name="New channel")
    dialog.get_by_label("Name", exact=True).fill("general")
    dialog.get_by_role("button", name="Make the channel").click()
    expect(dialog.get_by_role("alert")).to_contain_text("There is a channel named general already")
    office.forgive("409")
    check_accessible(maya)
    dialog.get_by_label("Name", exact=True).fill("lifts")
    dialog.get_by_role("searchbox").fill("sa")
    dialog.get_by_role("checkbox", name="Sam").check()
    dialog.get_by_role("button", name="Make the channel").click()
    ready(maya)
    expect(maya.get_by_role("heading", name="# lifts")).to_be_visible()
    link = sam.get_by_role("navigation").get_by_role("link", name="# lifts")
    link.click()
    ready(sam)
    maya.locator("#members").click()
    maya.get_by_role("button", name="Add Otto").click()
    expect(maya.get_by_role("button", name="Remove Otto")).to_be_visible()
    check_accessible(maya)
    maya.get_by_role("button", name="Remove Sam").click()
    expect(sam.get_by_role("heading", name="Hello Sam")).to_be_visible()
    expect(sam.get_by_role("alert").first).to_have_text("You are not in # lifts any more.")
    expect(link).to_have_count(0)
    maya.keyboard.press("Escape")
    maya.get_by_role("button", name="New direct message").click()
    maya.get_by_role("dialog").get_by_role("button", name="Sam").click()
    expect(maya.locator("#title")).to_have_text("Sam")  # the page before is ready, too
    ready(maya)
    say(maya.locator("#line"), "just between us")
    direct = sam.locator("#dms").get_by_role("link", name="Maya")
    expect(direct.locator(".count")).to_have_text("1 unread")
    direct.click()
    ready(sam)
    expect(sam.locator("#line")).to_contain_text("just between us")


def test_a_long_history_is_read_as_one_scrolls_and_linked_into(office: Office) -> None:
    """To the first of many messages and back: the page stays small; an address shows a message and its thread."""
    seed(office.server, 4, LONG)
    maya = office.open("maya")
    line = office.enter(maya, "# money")
    expect(line.locator(".messages > li").last).to_contain_text(f"line {LONG - 1} of many")
    most = maya.evaluate(
        """async () => {
          const scroll = document.querySelector("#line .scroll");
          let most = 0;
          while (!document.querySelector("#line .messages .text").textContent.startsWith("line 0 ")) {
            most = Math.max(most, document.querySelectorAll("#line .messages > li").length);
            scroll.scrollTop -= scroll.clientHeight;
            await new Promise(requestAnimationFrame);
          }
          return most;
        }"""
    )
    assert most <= MOST_ROWS
    say(line, "written from far away")
    expect(line.locator(".messages > li").last).to_contain_text("written from far away")
    expect(message(line, "written from far away")).to_be_in_viewport()
    row = message(line, f"line {LONG - 3} of many")
    press(row, "Reply in thread")
    thread = maya.get_by_role("complementary", name="Thread")
    say(thread, "deep down")
    expect(message(thread, "deep down").locator(".head a")).to_have_attribute("href", re.compile("message="))
    address = message(thread, "deep down").locator(".head a").get_attribute("href")
    oldest = int(row.locator("[data-id]").first.get_attribute("data-id") or 0) - LONG + 200
    maya.goto(f"{office.url}{address}")
    expect(message(thread, "deep down").locator(".pointed")).to_be_in_viewport()
    maya.goto(f"{office.url}/channels/4?message={oldest}")
    ready(maya)
    expect(maya.locator(f"#line [data-id='{oldest}'].pointed")).to_be_in_viewport()
    expect(maya.locator(f"#line [data-id='{oldest}']")).to_be_focused()
    maya.get_by_role("button", name="Newest messages").click()
    expect(message(line, "written from far away")).to_be_in_viewport()
    maya.goto(f"{office.url}/channels/1?message={oldest}")  # it is in another channel
    expect(maya).to_have_url(f"{office.url}/channels/4?message={oldest}")
    expect(maya.locator(f"#line [data-id='{oldest}'].pointed")).to_be_in_viewport()
    maya.goto(f"{office.url}/channels/4?message=999999")
    expect(line.get_by_role("alert").last).to_contain_text("not here any more")
    office.forgive("404")


def test_nothing_evil_is_made_even_while_an_answer_grows(office: Office) -> None:
    """Markup that a model writes word by word is never an element, at no moment; Markdown is shown as it comes."""
    maya, ada = office.open("maya"), office.open("ada")
    maya.add_init_script(WATCH)
    line = office.enter(maya, "# research")
    expect(dot(maya, "ada")).to_have_text("Online")
    say(line, f"@ada {EVIL} and so on")
    answer = message(line, "and so on").locator(".newest")
    expect(answer.locator(".text.growing strong").first).to_have_text("offline model")
    expect(maya.locator("#line .doing")).to_contain_text("Ada is writing")
    expect(maya.locator("#announcer")).to_contain_text("Ada is writing.")
    expect(answer).to_have_attribute("data-state", "final")
    expect(answer.locator(".text")).to_contain_text(
        "<img src=x onerror=alert(1)> <script>alert(2)</script> [go](javascript:"
    )
    expect(maya.locator("#line .doing")).to_be_empty()
    assert maya.evaluate("seen") == []
    ada.get_by_role("button", name="Log out").click()


def test_only_who_may_decide_has_buttons(office: Office) -> None:
    """What is escalated waits for an owner: Sam, who asked, may only deny it; Maya approves it."""
    maya, sam, otto = office.open("maya"), office.open("sam"), office.open("otto")
    hers, his = office.enter(maya), office.enter(sam)
    expect(dot(sam, "otto")).to_have_text("Online")
    say(his, '@otto use post_message {"channel": "general", "text": "The lift works again"}')
    group = his.get_by_role("group", name="Approval")
    expect(group.get_by_role("button", name="Deny")).to_be_visible()
    expect(group.get_by_role("button", name="Approve")).to_have_count(0)
    expect(his).to_contain_text("Waits for approval of an owner or admin: post_message")
    approve = hers.get_by_role("group", name="Approval").get_by_role("button", name="Approve")
    check_accessible(maya)
    approve.click()
    expect(group).to_have_count(0)
    expect(hers).to_contain_text("What came of it")
    otto.get_by_role("button", name="Log out").click()


def test_the_first_load_is_small(office: Office) -> None:
    """Everything that a browser which has nothing yet fetches for a channel of many messages."""
    maya = office.open("maya")
    page = office.context(storage_state=maya.context.storage_state()).new_page()
    got: list[Response] = []
    page.on("response", lambda response: got.append(response))
    page.goto(f"{office.url}/channels/4")
    ready(page)
    sizes = {one.url: len(one.body()) for one in got if one.status == 200}
    assert len(sizes) > 30
    assert sum(sizes.values()) <= FIRST_LOAD, sorted(sizes.items(), key=lambda one: -one[1])[:10]
    counted = page.context.new_cdp_session(page)
    counted.send("Performance.enable")
    page.reload()
    ready(page)
    metrics = {one["name"]: one["value"] for one in counted.send("Performance.getMetrics")["metrics"]}
    assert metrics["LayoutCount"] <= LAYOUTS


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_all_can_use_each_page(office: Office, dark: bool) -> None:
    """axe-core finds nothing serious, nothing scrolls sideways, on a desk and on a phone."""
    for width in (1280, 360):
        page = office.context(width=width, dark=dark).new_page()
        page.goto(f"{office.url}/login")
        page.get_by_role("button", name="Sam").click()
        check_accessible(page)
        check_fits(page)
        page.keyboard.press("Enter")
        expect(page.locator("#everybody li")).to_have_count(6)
        check_accessible(page)
        check_fits(page)
        line = office.enter(page)
        say(line, f"# Wide {width} {dark}\n\n```\n{'code ' * 60}\n```\n\n| {'wide | ' * 20}\n|{'-|' * 20}\n")
        press(message(line, f"Wide {width} {dark}"), "Reply in thread")
        check_accessible(page)
        check_fits(page)
