"""The example chat without a connection: what was there is read, what is written is sent once, and is nobody else's."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from .browser import TIMEOUT, check_accessible
from .conftest import ARGUMENTS, CHROMIUM
from .example_server import PASSWORD, ROOT, ExampleServer
from .office import Office, message, press, say, server
from .tunnel import Tunnel

__all__ = ["server"]

pytestmark = [pytest.mark.browser, pytest.mark.process]

NETWORK = (
    "ERR_INTERNET_DISCONNECTED",
    "ERR_CONNECTION",
    "ERR_CONTENT_LENGTH_MISMATCH",
    "ERR_EMPTY_RESPONSE",
    "ERR_INCOMPLETE_CHUNKED_ENCODING",
    "ERR_FAILED",
    "WebSocket",
    "ERR_NETWORK_CHANGED",
    "ERR_SOCKET_NOT_CONNECTED",
)
"""What the browser itself says of a connection that the test has cut."""

SHELLS = "caches.keys().then((all) => all.filter((one) => one.startsWith('neolith-shell-')))"
"""The versions of the app that this browser keeps."""

LEFT = """async () => {
  const pages = await (await caches.open("neolith-pages")).keys();
  const databases = (await indexedDB.databases()).map((one) => one.name);
  return [...pages.map((one) => one.url), ...databases, ...Object.keys(localStorage)];
}"""
"""What this browser keeps of anybody."""


ALL_IS_KEPT = """async () => {
  const { me } = document.body.dataset, line = document.getElementById("line");
  // opening one that is not there would make one without anything in it
  if (!(await indexedDB.databases()).some(({ name }) => name === `neolith-${me}`)) return false;
  const { openDB } = await import("/neolith/static/vendor/idb-8.0.4.js");
  const db = await openDB(`neolith-${me}`);
  const lines = await db.getAllFromIndex("lines", "channelId", line.dataset.channel);
  db.close();
  const kept = lines.flatMap((one) => one.messages).map((one) => one.content);
  const shown = [...line.querySelectorAll(".text")].map((one) => one.textContent.trim());
  return lines.length && shown.every((one) => kept.includes(one));
}"""
"""Whether every text that is shown of the channel is in the database."""


class Keeping(Office):
    """An office whose browsers keep pages."""

    keeps = True


@pytest.fixture
def office(server: ExampleServer, browser: Browser) -> Iterator[Office]:
    """Browsers that keep pages; at the end nobody complained, nothing was fetched from elsewhere."""
    with ExitStack() as stack:
        office = Keeping(server, browser, stack)
        yield office
        office.check()


def open_kept(office: Office, name: str, *channels: str, **more: Any) -> Page:
    """A browser of somebody in which the service worker keeps the home page and these channels; in the last of them."""
    page = office.open(name, **more)
    page.evaluate("navigator.serviceWorker.ready.then(() => null)")
    for channel in channels:
        office.enter(page, channel)
    wait_until_kept(page, len(channels) + 1)
    return page


def wait_until_kept(page: Page, pages: int) -> None:
    """So many pages are kept, and every text of the channel that is shown."""
    until(page, f"caches.open('neolith-pages').then((cache) => cache.keys()).then((all) => all.length === {pages})")
    if page.locator("#line").count():
        until(page, f"({ALL_IS_KEPT})()")


def until(page: Page, promise: str) -> None:
    """Wait until what it promises is true: wait_for_function takes a promise itself for true."""
    page.evaluate(
        f"""async () => {{
          const end = performance.now() + {TIMEOUT};
          while (!(await {promise})) {{
            if (performance.now() > end) throw new Error("it has not become true");
            await new Promise((resolve) => setTimeout(resolve, 50));
          }}
        }}"""
    )


def texts(line: Locator) -> list[str]:
    """What is on the main line, without the newest answers of threads."""
    return line.locator(".messages .message:not(.newest) .text").all_inner_texts()


@pytest.fixture
def far(server: ExampleServer, browser: Browser) -> Iterator[Far]:
    """Browsers whose connection can be cut."""
    with ExitStack() as stack:
        made = Far(server, browser, stack)
        yield made
        made.forgive(*NETWORK)
        made.check()


class Far(Keeping):
    """Browsers behind a tunnel. `cut` and `mend` it: Playwright's set_offline forgets new pages for a moment."""

    def __init__(self, server: ExampleServer, browser: Browser, stack: ExitStack) -> None:
        super().__init__(server, browser, stack)
        self.tunnel = stack.enter_context(Tunnel(server.url))
        self.url = self.tunnel.url

    def cut(self, *pages: Page) -> None:
        """No connection, and the browsers know it."""
        self.tunnel.cut()
        for page in pages:
            page.context.set_offline(True)

    def mend(self, *pages: Page) -> None:
        """The connection is back."""
        self.tunnel.mend()
        for page in pages:
            page.context.set_offline(False)


def texts_of(office: Office, page: Page, channel: str, number: int) -> list[str]:
    """All of a channel's main line, once there are so many."""
    line = office.enter(page, channel)
    expect(line.locator(".messages > li")).to_have_count(number)
    return texts(line)


def test_what_is_read_and_written_without_a_connection(office: Office, far: Far) -> None:
    """Offline, Maya reads two channels after reloads and writes in both; back, all is there once and in order."""
    sam = office.open("sam")
    first = office.enter(sam, "# general")
    say(first, "said before")
    expect(message(first, "said before").get_by_role("article")).to_be_visible()
    press(message(first, "said before"), "Reply in thread")
    say(sam.locator("#thread"), "a reply before")
    expect(message(sam.locator("#thread"), "a reply before")).to_be_visible()
    maya = open_kept(far, "maya", "# research", "# general")
    line, banner = maya.locator("#line"), maya.locator("#offline")
    expect(message(line, "said before").locator(".newest")).to_be_visible()
    wait_until_kept(maya, 3)
    far.cut(maya)
    maya.reload()
    expect(banner).to_have_text(re.compile(r"You are offline: showing what was here at \d+:\d\d"))
    expect(message(line, "said before").locator(".newest .text")).to_have_text("a reply before")
    say(line, "one from the tunnel")
    say(line, "two from the tunnel")
    expect(banner).to_contain_text("2 messages will be sent when the connection is back.")
    maya.get_by_role("navigation").get_by_role("link", name="# research").click()
    expect(line.get_by_role("heading", name="# research")).to_be_visible()
    expect(banner).to_contain_text("2 messages will be sent")
    say(line, "three for research")
    maya.reload()
    expect(message(line, "three for research").locator(".remark")).to_have_text("Waiting for the connection")
    check_accessible(maya)
    # a page that was not kept says so, and what there is
    maya.goto(f"{far.url}/channels/4")
    expect(maya.get_by_role("heading", name="You are offline")).to_be_visible()
    expect(maya.get_by_role("link", name="# general")).to_be_visible()
    check_accessible(maya)
    say(first, "said meanwhile")
    expect(message(first, "said meanwhile")).to_be_visible()
    # what waits is sent from any page, whichever channel it is for
    maya.goto(far.url)
    expect(banner).to_contain_text("3 messages will be sent")
    far.mend(maya)
    expect(banner).to_be_hidden()
    expected = ["said before", "said meanwhile", "one from the tunnel", "two from the tunnel"]
    expect(message(first, "two from the tunnel")).to_be_visible()
    assert texts(first) == expected
    assert texts_of(office, maya, "# general", len(expected)) == expected
    assert texts_of(office, sam, "# research", 1) == texts_of(office, maya, "# research", 1) == ["three for research"]


def test_a_server_that_dies_has_the_message_once_and_may_come_back_newer(tmp_path: Path, browser: Browser) -> None:
    """It took the message and died before it said so; then it is there once. An update leaves open pages alone."""
    code = tmp_path / "code" / "example_app"
    shutil.copytree(ROOT / "example_app", code, ignore=shutil.ignore_patterns("__pycache__"))
    program = f"import sys; sys.path.insert(0, {str(code.parent)!r}); from example_app.__main__ import main; main()"
    with ExampleServer(tmp_path, (sys.executable, "-c", program)) as server, ExitStack() as stack:
        office = Keeping(server, browser, stack)
        maya, sam = open_kept(office, "maya", "# general"), open_kept(office, "sam", "# general")
        line, watched = maya.locator("#line"), sam.locator("#line")
        shells = maya.evaluate(SHELLS)
        posts: list[int] = []

        def take_and_die(route: Route) -> None:
            if route.request.method == "POST" and not posts:
                posts.append(route.fetch().status)
                server.kill()
                return route.abort("connectionreset")
            return route.continue_()

        maya.route("**/channels/*/messages", take_and_die)
        say(line, "did you get this?")
        say(line, "and this?")
        expect(maya.locator("#offline")).to_contain_text("The server does not answer: showing what was here at")
        assert posts == [201]
        maya.reload()
        expect(message(line, "and this?").locator(".remark")).to_have_text("Waiting for the connection")
        with (code / "static" / "channel.js").open("a", encoding="utf-8") as script:
            script.write('document.body.dataset.update = "yes";\n')
        server.start()
        for page, section in ((maya, line), (sam, watched)):
            expect(message(section, "and this?")).to_be_visible(timeout=TIMEOUT)
            expect(page.locator("#offline")).to_be_hidden()
        expect(line.locator(".remark")).to_have_count(0)
        assert texts(line) == texts(watched) == ["did you get this?", "and this?"]
        # what is opened now is new; what is open stays as it is and works; the old files go
        maya.reload()
        expect(maya.locator("body[data-update=yes]")).to_be_visible()
        say(watched, "in the old page")
        expect(message(line, "in the old page").get_by_role("article")).to_be_visible()
        expect(sam.locator("body[data-update=yes]")).to_have_count(0)
        until(maya, f"{SHELLS}.then((all) => all.length === 1 && all[0] !== '{shells[0]}')")
        maya.reload()
        expect(maya.locator("#connection")).to_have_text("live")
        office.forgive(*NETWORK)
        office.check()


def test_two_tabs_send_in_the_order_of_writing_and_share_drafts(far: Far) -> None:
    """What both wrote goes out in order, though one has closed; a draft follows unless something is written there."""
    one = open_kept(far, "maya", "# writing")
    two = one.context.new_page()
    two.goto(one.url)
    expect(two.locator("#line .messages")).to_have_attribute("data-ready", "yes")
    boxes = [page.locator("#line").get_by_role("textbox") for page in (one, two)]
    boxes[0].press_sequentially("begun here")
    expect(boxes[1]).to_have_value("begun here")
    boxes[1].press_sequentially(", and there")
    boxes[1].blur()
    boxes[0].press_sequentially(", and here")
    boxes[0].blur()
    expect(boxes[1]).to_have_value("begun here, and there")
    expect(boxes[0]).to_have_value("begun here, and here")
    one.reload()
    expect(boxes[0]).to_have_value("begun here, and here")
    far.cut(one)
    say(one.locator("#line"), "first, in one tab")
    say(two.locator("#line"), "second, in the other")
    for page in (one, two):
        expect(message(page.locator("#line"), "second, in the other")).to_be_visible()
    two.close()
    three = one.context.new_page()
    three.goto(one.url)
    expect(message(three.locator("#line"), "second, in the other")).to_be_visible()
    sent: list[Any] = []
    one.context.on("request", lambda request: sent.append(request.post_data) if request.method == "POST" else None)
    far.mend(one)
    for page in (one, three):
        expect(page.locator("#line .remark")).to_have_count(0)
        assert texts(page.locator("#line")) == ["first, in one tab", "second, in the other"]
    assert len([body for body in sent if body and "clientId" in body]) == 2  # each by one tab, though both could
    three.close()
    one.reload()
    expect(one.locator("#line .messages")).to_have_attribute("data-ready", "yes")
    assert texts(one.locator("#line")) == ["first, in one tab", "second, in the other"]
    expect(boxes[0]).to_have_value("")
    # what comes after one that has to wait, waits with it
    full = {"status": 429, "title": "Too Many Requests", "detail": "Slow down.", "retryAfter": 1}
    one.route("**/messages", lambda route: route.fulfill(status=429, json=full), times=1)
    say(one.locator("#line"), "too early")
    expect(one.locator("#line .remark", has_text="Slow down.")).to_be_visible()
    say(one.locator("#line"), "right after")
    for content in ("too early", "right after"):
        expect(message(one.locator("#line"), content).locator("time")).to_be_visible()
    assert texts(one.locator("#line"))[2:] == ["too early", "right after"]
    far.forgive("429")


def test_a_refused_message_waits_for_a_decision(office: Office, far: Far) -> None:
    """Sam is no member any more when his message arrives: it says so on any page until he sends it again, or not."""
    sam = open_kept(far, "sam", "# money")
    far.cut(sam)
    say(sam.locator("#line"), "am I too late?")
    maya = office.server.log_in("maya")
    members = f"{office.url}/neolith/api/v1/channels/4/members"
    assert maya.delete(f"{members}?userId=2").status_code == 204
    sam.goto(far.url)
    far.mend(sam)
    banner = sam.locator("#offline")
    expect(banner).to_contain_text("One message could not be sent.")
    sam.reload()
    banner.get_by_role("button", name="Show").click()
    dialog = sam.get_by_role("dialog", name="This could not be sent")
    expect(dialog).to_contain_text("There is no such channel. If you should be able to write there, ask somebody")
    expect(dialog.get_by_role("listitem")).to_have_text("am I too late?")
    check_accessible(sam)
    sam.keyboard.press("Escape")
    expect(banner).to_contain_text("One message could not be sent.")
    assert maya.post(members, json={"userId": "2"}).ok
    banner.get_by_role("button", name="Show").click()
    dialog.get_by_role("button", name="Send again").click()
    expect(banner).to_be_hidden()
    assert texts_of(office, office.open("maya"), "# money", 1) == ["am I too late?"]
    maya.close()
    far.forgive("404")


def test_nothing_of_one_person_is_left_for_the_next(far: Far) -> None:
    """Logging out tells what would be lost and removes all; an ended login keeps what was written, for nobody else."""
    page = open_kept(far, "maya", "# writing")
    line, banner = page.locator("#line"), page.locator("#offline")
    line.get_by_role("textbox").press_sequentially("a secret draft")
    page.get_by_role("button", name="Log out").click()
    dialog = page.get_by_role("dialog", name="Not everything was sent")
    expect(dialog.get_by_role("listitem")).to_have_text("a secret draft")
    page.keyboard.press("Escape")
    expect(line.get_by_role("textbox")).to_have_value("a secret draft")
    page.get_by_role("button", name="Log out").click()
    dialog.get_by_role("button", name="Log out and remove").click()
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    assert page.evaluate(LEFT) == []
    # Sam's login ends while something of his waits: that alone stays, and is not shown
    log_in(page, "sam")
    far.enter(page, "# writing")
    wait_until_kept(page, 2)
    far.cut(page)
    say(line, "Sam's secret")
    expect(banner).to_contain_text("One message will be sent")
    page.context.clear_cookies()
    far.mend(page)
    ended = page.get_by_role("dialog", name="Your login has ended")
    expect(ended).to_contain_text("One message that you have not sent will be kept until you log in again")
    ended.get_by_role("button", name="Log in again").click()
    expect(page.locator("#unsent")).to_contain_text("has not been sent. It waits until the same person logs in")
    expect(page.get_by_text("Sam's secret")).to_have_count(0)
    check_accessible(page)
    log_in(page, "sam")
    expect(message(line, "Sam's secret").locator("time")).to_be_visible()
    expect(line.locator(".remark")).to_have_count(0)
    # the same again, and then somebody else comes
    far.cut(page)
    say(line, "nobody shall read this")
    expect(banner).to_contain_text("One message will be sent")
    page.context.clear_cookies()
    far.mend(page)
    page.get_by_role("dialog", name="Your login has ended").get_by_role("button", name="Log in again").click()
    log_in(page, "maya")
    expect(page.locator("#connection")).to_have_text("live")
    far.enter(page, "# writing")
    wait_until_kept(page, 2)
    left = page.evaluate(LEFT)
    assert "neolith-1" in left
    assert not [one for one in left if re.search("-2(-|$)", one)]
    # nor does the service worker keep a page beside somebody else's
    page.evaluate("""async () => {
      await caches.delete("neolith-pages");
      const theirs = new Response("theirs", { headers: { "X-Neolith-Visitor": "2" } });
      await (await caches.open("neolith-pages")).put("/theirs", theirs);
    }""")
    page.reload()
    until(page, "caches.open('neolith-pages').then((cache) => cache.match('/theirs')).then((one) => !one)")
    until(page, "caches.open('neolith-pages').then((cache) => cache.keys()).then((all) => all.length > 0)")
    far.cut(page)
    page.reload()
    expect(page.locator(".who")).to_have_text("Maya")
    expect(page.get_by_text("nobody shall read this")).to_have_count(0)
    page.go_back()
    expect(page.get_by_text("Sam")).to_have_count(0)
    far.forgive("401")


def test_it_can_be_installed_and_outlives_the_browser(server: ExampleServer, browser: Browser, tmp_path: Path) -> None:
    """An app for Chromium. What is written before the browser ends is sent after it; plain HTTP is enough to chat."""
    with ExitStack() as stack:
        tunnel = stack.enter_context(Tunnel(server.url))
        line = Profile(browser, tmp_path, stack).page.locator("#line")
        page = line.page
        # not this machine for the browser, so no service worker, no locks and no caches
        page.goto(f"http://neolith.test:{server.port}/login")
        assert not page.evaluate("isSecureContext || 'serviceWorker' in navigator || 'caches' in window")
        log_in(page, "maya")
        page.goto(f"http://neolith.test:{server.port}/channels/2")
        say(line, "over plain HTTP")
        expect(message(line, "over plain HTTP").get_by_role("article")).to_be_visible()
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("button", name="Log in")).to_be_visible()
        page.goto(f"{tunnel.url}/login")
        log_in(page, "maya")
        page.goto(f"{tunnel.url}/channels/2")
        page.evaluate("navigator.serviceWorker.ready.then(() => null)")
        wait_until_kept(page, 2)
        chromium = page.context.new_cdp_session(page)
        assert chromium.send("Page.getInstallabilityErrors")["installabilityErrors"] == []
        assert chromium.send("Page.getAppManifest")["errors"] == []
        tunnel.cut()
        say(line, "before the browser ended")
        expect(message(line, "before the browser ended").locator(".remark")).to_have_text("Waiting for the connection")
        page.context.close()
        page = Profile(browser, tmp_path, stack).page
        line = page.locator("#line")
        page.goto(f"{tunnel.url}/channels/2")
        expect(message(line, "before the browser ended").locator(".remark")).to_have_text("Waiting for the connection")
        expect(message(line, "over plain HTTP")).to_be_visible()
        # its session was the browser's, so there is a login to begin with
        tunnel.mend()
        page.get_by_role("dialog", name="Your login has ended").get_by_role("button", name="Log in again").click()
        log_in(page, "maya")
        expect(message(line, "before the browser ended").get_by_role("article")).to_have_count(1)
        expect(line.locator(".remark")).to_have_count(0)


class Profile:
    """A browser that keeps what it has in a folder, with one page. Lifetime: the stack, or its context's `close`."""

    def __init__(self, browser: Browser, folder: Path, stack: ExitStack) -> None:
        arguments = [*ARGUMENTS, "--host-resolver-rules=MAP neolith.test 127.0.0.1"]
        start = browser.browser_type.launch_persistent_context
        context = start(folder / "profile", executable_path=CHROMIUM, args=arguments)
        stack.callback(context.close)
        context.set_default_timeout(TIMEOUT)
        self.page = context.pages[0]


def log_in(page: Page, name: str) -> None:
    """By the form, in this very browser."""
    page.get_by_label("E-mail").fill(f"{name}@neolith.test")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("#connection")).to_have_text("live")
