"""The desks of the dashboard in browsers: dead letters, charters, budgets, API keys, nodes and the audit log.

All journeys share one host app (see web_site) whose orchestrators talk to a Claude-compatible server.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Locator, Page, expect

from flask_neolith_orchestrator.backends.claude import ClaudeModel
from flask_neolith_orchestrator.testing import FakeClaude, text, use_model
from tests.integration.live import LiveServer
from tests.integration.web_site import Visitor, make_site

from .browser import check_accessible, check_fits
from .screen import Screen

pytestmark = pytest.mark.browser

PRICES = {"claude-cheap": {"input": 1.0, "output": 5.0}}
SCRIPT = "<img src=x onerror=alert(1)>"
BAD = "<img/src=x/onerror=alert(1)>"
"""A model's name that no provider serves: its refusal quotes it."""

ANSWERED = re.compile(r"^\s*answered")
"""What a letter says that has been answered, and not one that "is being answered"."""

SLOW = 20_000
"""Milliseconds that an answer may take on a busy machine."""


class Desks(Screen):
    """The dashboard, and the model behind it. Lifetime: the module; `check` after each journey."""

    api: FakeClaude

    @property
    def ada(self) -> str:
        """The orchestrator's id."""
        return self.site.ids["ada-orchestrator"]

    def put(self, who: Visitor, charter: dict[str, Any], **more: Any) -> int:
        """Save ada's charter, whatever it was; the version."""
        path = f"orchestrators/{self.ada}/charter"
        body = {"charter": charter, "version": who.get(path)["version"], "confirm": True, **more}
        return int(who.call("PUT", path, json=body).json["version"])

    def ask(self, *texts: str) -> None:
        """Questions of bob's for ada, each in a thread of its own."""
        bob = self.site.as_("bob")
        for one in texts:
            posted = bob.call("POST", f"channels/{self.site.ids['general']}/messages", json={"content": f"@ada {one}"})
            assert posted.status_code == 201

    def rest(self) -> None:
        """Nothing is left to be answered: a journey that failed spoils none after it."""
        ann = self.site.as_("ann")
        for one in ann.get("deliveries?state=waiting,running,parked")["items"]:
            ann.call("POST", f"deliveries/{one['id']}/cancel")


@pytest.fixture(autouse=True)
def no_thread_is_left_over() -> None:
    """The app outlives a journey here: `shared` looks when it has ended."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Desks]:
    """One host app and server for all journeys."""
    with ExitStack() as stack:
        site = make_site(tmp_path_factory.mktemp("desks"), mode=True, NEOLITH_PRICES=json.dumps(PRICES))
        stack.callback(site.close)
        api = stack.enter_context(FakeClaude())
        model = ClaudeModel(api_key="test-key", base_url=api.url, connect_timeout=2.0, read_timeout=5.0)
        stack.callback(model.close)
        stack.enter_context(use_model(site.app, model))
        server = stack.enter_context(LiveServer(site.app))
        made = Desks(site, server.url, browser, stack)
        made.api = api
        yield made
    for thread in threading.enumerate():
        if thread.name.startswith(("neolith-", "APScheduler")):
            thread.join(5)
            assert not thread.is_alive(), thread.name


@pytest.fixture
def desks(shared: Desks) -> Iterator[Desks]:
    """The same for one journey, with pages of its own; at its end nobody complained."""
    with ExitStack() as stack:
        made = Desks(shared.site, shared.url, shared._browser, stack)
        made.api = shared.api
        stack.callback(made.rest)
        yield made
        made.check()


def row(page: Page, part: str) -> Locator:
    """The row of a table with this text."""
    return page.locator("tbody tr").filter(has_text=part)


def test_dead_letters_are_seen_at_once_understood_and_tried_again(desks: Desks) -> None:
    """They appear by themselves with cause and remedy; one or several are tried again, and show what becomes of it."""
    ann, api = desks.site.as_("ann"), desks.api
    desks.put(ann, {"model": {"name": BAD}})
    ann.call("POST", f"orchestrators/{desks.ada}/start")
    page = desks.open("ann", "dead-letters")
    expect(page.get_by_role("heading", name="All is well")).to_be_visible()
    expect(page.locator("#connection")).to_have_text("live")
    desks.ask("one", "two", "three")
    expect(page.get_by_text("The model provider refused the request.")).to_have_count(3, timeout=SLOW)
    page.get_by_text("In the words of the program").first.click()
    expect(page.locator("td code").first).to_contain_text(BAD)
    desks.put(ann, {"model": {"name": "claude-served"}})
    expect(page.get_by_text("in #general, in a thread")).to_have_count(3)
    api.script(text("Here I am."), text("And again."))
    page.get_by_role("button", name="Try again: the question of bob to ada").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".dot", has_text=ANSWERED)).to_have_count(1, timeout=SLOW)
    page.get_by_label("Choose all").check()
    expect(page.get_by_text("2 of 2 chosen")).to_be_visible()
    page.get_by_label("Choose the question").first.uncheck()
    expect(page.get_by_text("1 of 2 chosen")).to_be_visible()
    page.get_by_role("button", name="Try the chosen ones again").click()
    expect(page.locator(".dot", has_text=ANSWERED)).to_have_count(2, timeout=SLOW)
    ann.call("POST", f"orchestrators/{desks.ada}/stop")
    page.get_by_role("button", name="Try again").click()
    page.get_by_role("button", name="Cancel: the question of bob to ada").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the question").click()
    expect(page.locator(".dot", has_text="cancelled")).to_have_count(1)
    page.reload()
    expect(page.get_by_role("heading", name="All is well")).to_be_visible()
    page.goto(f"{desks.url}/neolith/dead-letters?state=expired")
    expect(page.get_by_label("State")).to_have_value("expired")
    expect(page.get_by_text("No dead letter fits the filter.")).to_be_visible()


def test_many_dead_letters_are_tried_again_by_few_questions(desks: Desks) -> None:
    """What becomes of those tried again is read as a list, not one by one for each of them."""
    ann, delivery = desks.site.as_("ann"), desks.site.neolith.models.table("Delivery")
    ann.call("POST", f"orchestrators/{desks.ada}/stop")
    desks.ask(*"abcdefgh")
    with desks.site.state.house.database.write() as tx:
        mine = delivery.c.state == "waiting"
        tx.execute(delivery.update().where(mine).values(state="failed", ended_at=delivery.c.accepted_at))
    page = desks.open("ann", "dead-letters")
    page.get_by_label("Choose all").check()
    expect(page.get_by_text("8 of 8 chosen")).to_be_visible()
    asked: list[str] = []
    page.on("request", lambda one: asked.append(f"{one.method} {one.url.rpartition('/v1/')[2]}"))
    page.get_by_role("button", name="Try the chosen ones again").click()
    expect(page.locator(".dot", has_text="waits to be tried")).to_have_count(8)
    assert len([one for one in asked if one.startswith("POST")]) == 8
    assert [one for one in asked if one.startswith("GET deliveries/")] == []
    for one in ann.get("deliveries?state=waiting")["items"]:
        ann.call("POST", f"deliveries/{one['id']}/cancel")
    expect(page.locator(".dot", has_text="cancelled")).to_have_count(8)


def test_what_no_event_tells_is_read_every_half_minute(desks: Desks) -> None:
    """As what another process did, which has no message queue to tell it by."""
    context = desks.context()
    context.request.post(f"{desks.url}/login/eve")
    page = context.new_page()
    page.clock.install()
    asked: list[str] = []
    page.on("response", lambda one: asked.append(one.url) if one.url.endswith("/keys") else None)
    page.goto(f"{desks.url}/neolith/api-keys")
    expect(page.locator("#connection")).to_have_text("live")
    expect(page.locator("#empty")).to_be_visible()
    page.clock.run_for(1_000)  # so that the look at a new connection is over
    page.wait_for_load_state("networkidle")
    before = len(asked)
    with desks.site.state.house.database.write() as tx:
        desks.site.state.house.keys.create(tx, desks.site.ids["eve"], label="by hand", scopes=["audit:read"])
    page.clock.run_for(5_000)
    page.wait_for_load_state("networkidle")
    assert len(asked) == before
    page.clock.run_for(31_000)
    expect(row(page, "by hand")).to_be_visible()


def test_a_charter_is_mended_while_one_types_and_nothing_typed_is_lost(desks: Desks) -> None:
    """An error stands at its field and in the text with its line; what is less safe is asked; a reload keeps all."""
    ann = desks.site.as_("ann")
    begin = {"mission": "Count.", "limits": {"cost_per_day": 5}, "safety": {"always_reject": ["delete_all"]}}
    version = desks.put(ann, begin)
    page = desks.open("ann", f"orchestrators/{desks.ada}/edit-charter")
    page.on("dialog", lambda dialog: dialog.accept())  # it asks before one leaves
    day = page.get_by_label("Dollars a day")
    expect(day).to_have_value("5")
    day.fill("lots")
    expect(day).to_have_attribute("aria-invalid", "true")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("alert").filter(has_text="It cannot be saved yet")).to_be_visible()
    expect(day).to_be_focused()
    day.fill("50")
    page.get_by_label("Tone").fill(SCRIPT)
    expect(page.get_by_text("limits.cost_per_day: 5 now, and 50 then")).to_be_visible()
    page.reload()
    expect(page.get_by_text("What you had not saved is here again.")).to_be_visible()
    expect(day).to_have_value("50")
    page.get_by_role("button", name="YAML").click()
    source = page.get_by_label("The whole charter")
    lines = ["limits:", "  cost_per_day: 50", "mission: Count.", "safety:", "  always_reject:", "  - delete_all"]
    expect(source).to_have_value("\n".join([*lines, "personality:", f"  tone: {SCRIPT}", ""]))
    source.fill(f"{source.input_value()}safty:\n  x: 1\n")
    expect(page.get_by_text("do you mean safety?")).to_be_visible()
    page.get_by_role("button", name="Line 9").click()
    assert source.evaluate("one => one.value.slice(one.selectionStart, one.selectionEnd)") == "safty:"
    source.fill(source.input_value().replace("safty:\n  x: 1\n", ""))
    page.get_by_role("button", name="Form").click()
    expect(page.get_by_label("Tone")).to_have_value(SCRIPT)
    page.get_by_label("Reason").fill("more room")
    page.get_by_role("button", name="Save", exact=True).click()
    sure = page.get_by_role("dialog", name="This makes it less safe")
    expect(sure).to_contain_text("limits.cost_per_day: 5 now, and 50 then")
    sure.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Nothing was saved.")).to_be_visible()
    page.get_by_role("button", name="Save", exact=True).click()
    sure.get_by_role("button", name="Save it all the same").click()
    expect(page.get_by_text(f"Saved as version {version + 1}.")).to_be_visible()
    saved = ann.get(f"orchestrators/{desks.ada}/charter")
    assert saved["charter"] == {**begin, "limits": {"cost_per_day": 50}, "personality": {"tone": SCRIPT}}
    assert saved["reason"] == "more room"
    assert page.evaluate("sessionStorage.length") == 0
    desks.forgive("dialog:", "409")


def test_who_was_slower_sees_both_and_can_go_back(desks: Desks) -> None:
    """Somebody's newer version is told while one types; both are brought together; an older version holds again."""
    ann = desks.site.as_("ann")
    first = desks.put(ann, {"mission": "Count.", "role": "Clerk"}, reason="the first")
    page = desks.open("ann", f"orchestrators/{desks.ada}/edit-charter")
    page.get_by_label("Mission").fill("Count slowly.")
    expect(page.get_by_text("unsaved changes")).to_be_visible()
    desks.put(ann, {"mission": "Add.", "role": "Teller"}, reason="the second")
    expect(page.locator("#news")).to_contain_text(f"saved version {first + 1}: the second. What you have typed")
    expect(page.get_by_label("Mission")).to_have_value("Count slowly.")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("button", name="Compare with yours").click()
    both = page.get_by_role("dialog", name="It was changed meanwhile")
    expect(row(page, "mission").filter(has_text="changed by both")).to_contain_text("Count slowly.")
    check_accessible(page)
    both.get_by_role("button", name="Go on with these").click()
    expect(page.get_by_label("Role", exact=True)).to_have_value("Teller")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text(f"Saved as version {first + 2}.")).to_be_visible()
    assert ann.get(f"orchestrators/{desks.ada}/charter")["charter"] == {"mission": "Count slowly.", "role": "Teller"}
    page.get_by_role("button", name=f"Compare: version {first}").click()
    told = page.get_by_role("dialog")
    expect(told.locator("tr", has_text="role")).to_contain_text("Clerk")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name=f"Compare: version {first}")).to_be_focused()
    page.get_by_role("button", name=f"Go back to version {first}").click()
    page.get_by_role("dialog").get_by_label("Why").fill("calmer")
    page.keyboard.press("Enter")
    expect(page.get_by_text(f"version {first} again: calmer")).to_be_visible()
    expect(page.get_by_label("Mission")).to_have_value("Count.")
    desks.forgive("409")


def test_what_is_typed_while_others_and_oneself_save_stays(desks: Desks) -> None:
    """Typing goes on while the answer is on its way; a text that cannot be read is mended before it is merged."""
    ann = desks.site.as_("ann")
    version = desks.put(ann, {"mission": "Count."})
    page = desks.open("ann", f"orchestrators/{desks.ada}/edit-charter")
    mission, held = page.get_by_label("Mission"), []
    page.route("**/charter", lambda one: one.continue_() if one.request.method == "GET" else held.append(one))
    mission.fill("Count slowly")
    with page.expect_request(lambda one: one.method == "PUT"):
        page.get_by_role("button", name="Save", exact=True).click()
    mission.press("End")
    mission.press_sequentially(" and twice")
    held[0].continue_()
    expect(page.get_by_text(f"Saved as version {version + 1}.")).to_be_visible()
    expect(page.get_by_text("unsaved changes")).to_be_visible()
    expect(mission).to_have_value("Count slowly and twice")
    page.unroute_all()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text(f"Saved as version {version + 2}.")).to_be_visible()
    page.get_by_role("button", name="YAML").click()
    source = page.get_by_label("The whole charter")
    expect(source).to_have_value("mission: Count slowly and twice\n")
    source.fill("mission: [Count")
    desks.put(ann, {"mission": "Add."})
    page.get_by_role("button", name="Compare with yours").click()
    expect(page.get_by_role("alert").filter(has_text="The text cannot be read yet")).to_be_visible()
    expect(source).to_have_value("mission: [Count")
    source.fill("mission: Count")
    page.get_by_role("button", name="Discard").click()
    page.get_by_role("button", name="Discard it").click()
    expect(source).to_have_value("mission: Add.\n")


def test_an_organizations_charter_shows_in_those_below_it(desks: Desks) -> None:
    """Its owner writes it on a page of its own, and each orchestrator's page says what holds from there."""
    page = desks.open("ann", "charters")
    page.get_by_role("link", name="Edit the organization's charter").click()
    expect(page.get_by_role("heading", name="Charter of Acme")).to_be_visible()
    expect(page.get_by_label("Name", exact=True)).to_have_count(0)
    page.get_by_text("What it may do: tools").click()
    page.get_by_label("Never").fill("drop_tables")
    expect(page.get_by_text("It can be saved.")).to_be_visible()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved as version 1.")).to_be_visible()
    page.goto(f"{desks.url}/neolith/orchestrators/{desks.ada}/edit-charter")
    expect(page.get_by_text("drop_tables, from the organization's charter.")).to_be_attached()


def test_a_key_is_shown_once_works_and_is_revoked(desks: Desks) -> None:
    """It is on the page in its dialog alone, opens what its scopes say, and nothing once it is revoked."""
    page = desks.open("ann", "api-keys")
    page.get_by_role("button", name="Make a key").click()
    page.get_by_role("button", name="Make the key").click()
    expect(page.get_by_text("Say what the key is for.")).to_be_visible()
    page.get_by_label("What is it for?").fill(SCRIPT)
    page.get_by_label("See orchestrators").check()
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.method))
    page.get_by_label("What is it for?").focus()
    page.evaluate("""() => {
      const enter = new KeyboardEvent("keydown", { key: "Enter", bubbles: true });
      for (const _ of [1, 2, 3]) document.activeElement.dispatchEvent(enter);
    }""")  # a key that is held down
    key = page.get_by_label("The key", exact=True).text_content() or ""
    assert key.startswith("nlk_")
    assert asked.count("POST") == 1
    check_accessible(page)
    page.get_by_role("button", name="I have kept it").click()
    expect(page.get_by_role("button", name="Make a key")).to_be_focused()
    assert key not in page.content()
    assert key not in page.evaluate("JSON.stringify([location.href, {...localStorage}, {...sessionStorage}])")
    mine = row(page, SCRIPT)
    expect(mine).to_contain_text("See orchestrators")

    def use(path: str) -> int:
        headers = {"Authorization": f"Bearer {key}"}
        return requests.get(f"{desks.url}/neolith/api/v1/{path}", headers=headers, timeout=10).status_code

    assert (use("orchestrators"), use("channels")) == (200, 403)
    mine.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke it").click()
    expect(page.get_by_text("opens nothing any more.").first).to_be_visible()
    assert use("orchestrators") == 401
    expect(page.locator("tbody tr", has_text="active")).to_have_count(0)


def test_a_budget_shows_what_real_calls_have_cost(desks: Desks) -> None:
    """Used, limit and left; by model; a call without a known price is not shown as free."""
    ann, api = desks.site.as_("ann"), desks.api
    desks.put(ann, {"limits": {"cost_per_day": 5}, "model": {"name": "claude-cheap"}})
    ann.call("POST", f"orchestrators/{desks.ada}/start")
    page = desks.open("ann", f"budgets?of=orchestrator:{desks.ada}")
    api.script(text("One."))
    desks.ask("what does it cost?")
    today = page.get_by_role("article").filter(has=page.get_by_role("heading", name="Today"))
    expect(row(page, "claude-cheap").first).to_be_visible(timeout=SLOW)
    expect(today).to_contain_text("limit$5.00")
    spent = ann.get(f"orchestrators/{desks.ada}/spend")["items"]
    (priced,) = [one for one in spent if one["model"] == "claude-cheap"]
    assert (priced["calls"], priced["unpriced"]) == (1, 0)
    assert float(priced["cost"]) == pytest.approx((priced["inputTokens"] + 5 * priced["outputTokens"]) / 1e6, abs=1e-6)
    desks.put(ann, {"model": {"name": "claude-mystery"}})
    api.script(text("Two."))
    desks.ask("and now?")
    expect(row(page, "claude-mystery").first).to_contain_text("unpriced", timeout=SLOW)
    expect(today).to_contain_text("no known price")
    expect(page.get_by_role("link", name="Change its limits in its charter")).to_be_visible()


def test_deeds_and_processes_are_seen(desks: Desks) -> None:
    """What somebody has just done stands in the audit log by itself; the nodes' page shows this process."""
    ann = desks.site.as_("ann")
    page = desks.open("ann", "audit-log?action=charter.")
    expect(page.locator("#connection")).to_have_text("live")
    version = desks.put(ann, {"mission": "Look."}, reason=SCRIPT)
    newest = page.locator("tbody tr").first
    expect(newest).to_contain_text(f"saved a charter, version {version}")
    expect(newest).to_contain_text(SCRIPT)
    newest.get_by_text("More").click()
    expect(newest).to_contain_text("charter.saved")
    page.get_by_label("What").select_option("key.")
    expect(page.get_by_text("saved a charter")).to_have_count(0)
    assert page.url.endswith("?action=key.")
    page.get_by_label("What").select_option("")
    page.get_by_label("Who").select_option(label="the command line")
    expect(page.get_by_text("No deed fits the filter.")).to_be_visible()
    page.goto(f"{desks.url}/neolith/cluster")
    this = row(page, "answers this page")
    expect(this).to_contain_text("alive")
    expect(this).to_contain_text("embedded")


def test_who_may_not_gets_a_page_that_says_so(desks: Desks) -> None:
    """A member is told whom to ask, a stranger sees nothing of it, and whoever is not logged in goes to the login."""
    charter, parent = f"orchestrators/{desks.ada}/edit-charter", f"organizations/{desks.site.ids['acme']}/edit-charter"
    for path in ("dead-letters", "charters", "budgets", "api-keys", "cluster", "audit-log", charter, parent):
        answer = desks.site.as_("bob").client.get(f"/neolith/{path}")
        assert (answer.status_code, "owner or admin" in answer.text) == (403, True), path
    for path in (charter, parent):
        assert desks.site.as_("eve").client.get(f"/neolith/{path}").status_code == 404
        assert desks.site.as_(None).client.get(f"/neolith/{path}").status_code == 302
    page = desks.open("eve", "audit-log")
    expect(page.get_by_text("Nothing is written down here")).to_be_visible()
    page.goto(f"{desks.url}/neolith/dead-letters")
    expect(page.get_by_label("Orchestrator").locator("option")).to_have_text(["all", "zoe"])


def test_everybody_can_use_each_page(desks: Desks) -> None:
    """axe-core finds nothing serious, wide and light nor dark on a phone, and nothing is wider than the screen."""
    paths = ["dead-letters", "charters", "budgets", "api-keys", "cluster", "audit-log"]
    paths += [f"organizations/{desks.site.ids['acme']}/edit-charter", f"orchestrators/{desks.ada}/edit-charter"]
    page = desks.open("ann", "charters")
    for path in paths:
        page.goto(f"{desks.url}/neolith/{path}")
        expect(page.locator("#loading")).to_be_hidden()
        both_ways(page)
    page.get_by_role("button", name="YAML").click()
    expect(page.get_by_label("The whole charter")).to_be_visible()
    both_ways(page)


def both_ways(page: Page) -> None:
    """Wide and light, then dark on a phone, without a reload, and without colours on their way."""
    page.set_viewport_size({"width": 1280, "height": 800})
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    check_accessible(page)
    page.set_viewport_size({"width": 360, "height": 800})
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    check_accessible(page)
    check_fits(page)
