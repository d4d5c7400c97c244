"""The dashboard's overview and the page of one orchestrator in real browsers: live, by keyboard, after a crash."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser, Page, expect

from .browser import TIMEOUT, Browsers, check_accessible, check_fits
from .example_server import PASSWORD, ExampleServer
from .screen import Screen, screen, site

__all__ = ["screen", "site"]

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=alert(1)>"
LONG = "word " * 100
"""What the offline model repeats in its answer: some seconds of writing."""


def live(page: Page) -> None:
    """Wait for the connection, and for what is read over it."""
    expect(page.locator("#connection")).to_have_text("live")


def test_an_owner_starts_and_stops_by_keyboard_and_everybody_sees_it_at_once(screen: Screen) -> None:
    """Start by Enter; both browsers show it without a reload; the focus stays on what can be done next."""
    ann, other = screen.open("ann"), screen.open("ann", f"orchestrators/{screen.site.ids['ada-orchestrator']}")
    live(ann)
    live(other)
    ann.get_by_role("button", name="Start ada", exact=True).focus()
    ann.keyboard.press("Enter")
    expect(ann.locator("tbody [data-status=ONLINE]")).to_be_visible()
    expect(ann.locator("tbody [data-daemon=running]")).to_be_visible()
    expect(ann.locator("[data-sum=running] strong")).to_have_text("1")
    expect(ann.locator("#said")).to_have_text("ada has been started.")
    expect(ann.get_by_role("button", name="Stop ada")).to_be_focused()
    expect(other.locator("#presence")).to_have_text("Online")
    expect(other.locator("[data-health=daemon]")).to_have_text("running")
    ann.keyboard.press("Enter")
    expect(ann.locator("tbody [data-daemon=stopped]")).to_be_visible()
    expect(ann.locator("tbody [data-status=OFFLINE]")).to_be_visible()
    expect(ann.get_by_role("button", name="Start ada", exact=True)).to_be_focused()
    expect(other.locator("#presence")).to_have_text("Offline")
    other.get_by_text("Every change of the last 7 days").click()
    expect(other.locator("[data-changes] tr").first).to_contain_text("stopped")
    expect(other.locator("[data-changes] tr").first).to_contain_text("by a person")


def test_a_refusal_is_shown_as_a_sentence(screen: Screen) -> None:
    """What the API refuses, people can read."""
    page = screen.open("ann")
    expect(page.get_by_role("rowheader", name="ada")).to_be_visible()
    listed = screen.site.as_("ann").call("GET", "orchestrators?health=true").text
    page.route("**/orchestrators?*", lambda route: route.fulfill(body=listed, content_type="application/json"))
    page.reload()
    live(page)
    with screen.site.app.app_context():
        models, session = screen.site.neolith.models, screen.site.db.session
        session.query(models.OrganizationMember).delete()
        session.commit()
    page.get_by_role("button", name="Start ada", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("ada could not be started: There is no such thing")
    page.unroute_all()
    page.reload()
    expect(page.get_by_role("heading")).to_contain_text("for those who manage")
    screen.forgive("404", "403")


def test_without_socket_io_the_page_looks_again_by_timer(screen: Screen) -> None:
    """It says how old what it shows may be, and shows what has changed after ten seconds."""
    context = screen.context()
    context.request.post(f"{screen.url}/login/ann")
    page = context.new_page()
    page.clock.install()
    page.route("**/socket.io-*.js", lambda route: route.abort())
    page.goto(f"{screen.url}/neolith/")
    expect(page.locator("#connection")).to_have_text("updated every 10 s")
    expect(page.locator("tbody [data-daemon=stopped]")).to_be_visible()
    with screen.site.app.app_context():
        screen.site.neolith.manager.start_daemon(screen.site.ids["ada-orchestrator"])
    page.clock.fast_forward(11_000)
    expect(page.locator("tbody [data-daemon=running]")).to_be_visible()
    screen.forgive("ERR_FAILED")


def hire(screen: Screen, count: int) -> None:
    """More orchestrators; the first has a name that would be a script."""
    site = screen.site
    with site.app.app_context():
        for number in range(count):
            name = HOSTILE if number == 0 else f"bot {number:03}"
            user = site.neolith.models.user(name=name, is_orchestrator=True)
            site.db.session.add(user)
            site.db.session.flush()
            site.neolith.directory.create_orchestrator(str(user.id), site.ids["acme"], f"bot{number}", role=HOSTILE)
        site.db.session.commit()


def test_many_are_searched_and_names_are_text(screen: Screen) -> None:
    """The page holds few rows of many; search and filters find the rest; a name like a tag is a name."""
    hire(screen, 60)
    page = screen.open("ann")
    rows = page.locator("#daemons tr[data-id]")
    expect(page.locator("[data-shown]")).to_have_text("50 shown of 61 orchestrators")
    expect(rows).to_have_count(50)
    expect(page.get_by_role("link", name=HOSTILE)).to_be_visible()
    page.get_by_role("button", name="Show more").click()
    expect(rows).to_have_count(61)
    expect(page.get_by_role("link", name="bot 049")).to_be_focused()
    page.get_by_label("Search").fill("bot 04")
    expect(rows).to_have_count(11)  # bot 004 has both words, too
    page.get_by_label("Show").select_option("running")
    expect(page.get_by_text("Nothing matches.")).to_be_visible()
    assert page.locator("main img").count() == 0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExampleServer]:
    """The example app as a process that can be killed."""
    with ExampleServer(tmp_path_factory.mktemp("board"), NEOLITH_SCRIPTED_DELAY="30") as server:
        yield server


def enter(browsers: Browsers) -> Page:
    """The overview in a new browser of Maya, who owns the demo's organization, and likes no motion."""
    page = browsers.context(reduced_motion="reduce").new_page()
    page.goto(f"{browsers.url}/login?next=/neolith/")
    page.get_by_label("E-mail").fill("maya@neolith.test")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/neolith/")
    live(page)
    return page


@pytest.mark.process
def test_a_day_with_the_dashboard(server: ExampleServer, browser: Browser) -> None:
    """Answers are seen while they are written, counted, opened step by step; the server dies, comes back, and the
    pages are right again by themselves; everybody can use them, in both colours and on a phone."""
    api = f"{server.url}/neolith/api/v1"
    ada, maya = server.log_in("ada"), server.log_in("maya")
    channels = {one["name"]: one["id"] for one in maya.get(f"{api}/channels").json()["items"]}

    def post(content: str) -> None:
        answer = maya.post(f"{api}/channels/{channels['general']}/messages", json={"content": content})
        assert answer.status_code == 201, answer.text

    def approve(turn: str | None) -> None:
        assert maya.post(f"{api}/turns/{turn}/approve", json={}).ok

    with ExitStack() as stack:
        browsers = Browsers(server.url, browser, stack)
        board = enter(browsers)
        ada_row = board.get_by_role("row").filter(has=board.get_by_role("rowheader", name="Ada"))
        expect(ada_row.locator("[data-daemon]")).to_have_text("daemon running")
        check_stop_asks_first(board, lambda: post(f"@ada {LONG}"))
        one = open_ada(board)
        check_turns(one, lambda: post(f"@ada use pin_notice {HOSTILE}"), approve)
        check_charts(one)
        board.bring_to_front()
        expect(board.locator("[data-sum=answers] strong")).to_have_text("2")
        for page in (board, one):
            for colours in ("light", "dark"):
                page.emulate_media(color_scheme=colours)
                check_accessible(page)
            page.set_viewport_size({"width": 360, "height": 800})
            check_fits(page)
            check_accessible(page)
            page.set_viewport_size({"width": 1280, "height": 800})
        check_a_crash(server, board, one, lambda: post("@ada are you back?"))
        browsers.forgive("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE", "WebSocket")
        browsers.check()
    ada.close()
    maya.close()


def check_stop_asks_first(board: Page, ask: Callable[[], None]) -> None:
    """Who is writing is not stopped by a slip of the hand; no is the first choice, and changes nothing."""
    ask()
    expect(board.locator("[data-sum=active] strong")).to_have_text("1")
    stop = board.get_by_role("button", name="Stop Ada")
    stop.focus()
    board.keyboard.press("Enter")
    question = board.get_by_role("dialog", name="Stop Ada?")
    expect(question).to_contain_text("An answer is being written.")
    expect(question.get_by_role("button", name="Cancel")).to_be_focused()
    check_accessible(board)
    board.keyboard.press("Escape")
    expect(question).to_have_count(0)
    expect(stop).to_be_focused()
    expect(board.locator("[data-sum=active] strong")).to_have_text("0")
    expect(board.locator("[data-sum=answers] strong")).to_have_text("1")


def open_ada(board: Page) -> Page:
    """The page of Ada, beside the overview in the same browser."""
    with board.context.expect_page() as opened:
        board.get_by_role("link", name="Ada", exact=True).click(modifiers=["ControlOrMeta"])
    live(opened.value)
    return opened.value


def check_turns(page: Page, ask: Callable[[], None], approve: Callable[[str | None], None]) -> None:
    """A turn appears when it begins, waits for approval, goes on; what is open stays open, and shows what is new."""
    turns = page.locator("#turns .opener")
    expect(turns).to_have_count(1)
    ask()
    expect(turns.first).to_have_accessible_name(re.compile("waits for approval, asked by Maya"))
    turns.first.focus()
    page.keyboard.press("Enter")
    panel = page.locator(".turn:visible")
    expect(panel).to_contain_text("pin_notice")
    expect(panel.locator(".steps")).to_contain_text("waits for approval")
    approve(page.locator("tr[data-turn]").first.get_attribute("data-turn"))
    expect(turns.first).to_have_accessible_name(re.compile("done, asked by Maya"))
    expect(turns.first).to_be_focused()
    expect(panel.locator(".steps")).to_contain_text("Decided by Maya after")
    expect(panel.locator(".facts")).to_contain_text("Show in the channel")
    panel.get_by_text("Called with").click()
    expect(panel).to_contain_text(HOSTILE)
    row = page.locator("tr[data-turn]").first
    expect(row).to_contain_text("was mentioned")
    expect(row).to_contain_text("in a thread of #general")
    assert page.locator("main img").count() == 0
    page.get_by_label("Show").select_option("failed")
    expect(page.get_by_text("No turns in this state.")).to_be_visible()
    page.get_by_label("Show").select_option("")
    expect(turns).to_have_count(2)


def check_charts(page: Page) -> None:
    """What was answered is in the charts; they are read by keyboard, moment by moment, and as a table."""
    answers = page.get_by_role("region", name="Answers", exact=True)
    expect(answers.locator(".total")).to_have_text("2")
    plot = answers.get_by_role("slider", name="Answers, by time")
    plot.focus()
    page.keyboard.press("End")
    expect(plot).to_have_attribute("aria-valuetext", re.compile(r": Answered [12]$"))
    page.keyboard.press("Home")
    expect(plot).to_have_attribute("aria-valuetext", re.compile(r": Answered 0$"))
    expect(answers.locator(".legend b")).to_have_text("0")
    answers.get_by_text("As a table").click()
    expect(answers.get_by_role("row").last).to_contain_text(re.compile("[12]"))
    page.get_by_text("7 d", exact=True).click()
    expect(answers.get_by_text("the last 7 days")).to_be_visible()
    expect(answers.locator(".total")).to_have_text("2")
    expect(page.get_by_role("region", name="Latency", exact=True).locator(".total")).to_contain_text("median")
    expect(page.get_by_role("region", name="Failures", exact=True)).to_contain_text("No failures in this time.")
    assert page.locator(".plot:visible canvas").count() >= 3
    page.get_by_text("24 h", exact=True).click()


def check_a_crash(server: ExampleServer, board: Page, one: Page, ask: Callable[[], None]) -> None:
    """Killed: the pages say so, and so does a command; started again: they are right without a reload."""
    one.locator("#turns .opener").first.click()
    expect(one.locator(".turn:visible")).to_contain_text("pin_notice")
    server.kill()
    for page in (board, one):
        expect(page.locator("#connection")).to_have_text("reconnecting")
    one.get_by_role("button", name="Restart Ada").click()
    expect(one.get_by_role("alert")).to_contain_text("The server does not answer.")
    server.start()
    for page in (board, one):
        live(page)
        expect(page.get_by_role("alert")).to_be_hidden()
    ask()
    expect(board.locator("[data-sum=answers] strong")).to_have_text("3", timeout=2 * TIMEOUT)  # it has to be written
    expect(one.locator("[data-health=answered]")).to_have_text("3")
    expect(one.locator("#turns .opener")).to_have_count(3)
    expect(one.get_by_role("region", name="Answers", exact=True).locator(".total")).to_have_text("3")
    expect(one.locator(".turn:visible")).to_contain_text("pin_notice")
