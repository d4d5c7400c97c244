"""The rules by which a browser puts events and reads together, on the module itself (web/static/client/store.js)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.acceptance.example_server import ROOT

pytestmark = pytest.mark.browser

STATIC = ROOT / "flask_neolith_orchestrator/web/static/client"
PRELUDE = """
const { Store } = await import("/store.js");
const missing = [], changed = [];
const store = new Store({ me: "1", missing: (m) => missing.push(m.id), changed: (m) => changed.push(m.id) });
const message = (id, more = {}) => ({
  id, threadId: null, author: { id: "2" }, content: "", html: "", state: "final", epoch: 0, seq: 0, clientId: null,
  deleted: false, notice: null, ...more });
const answer = (more = {}) => message("7", { state: "streaming", epoch: 2, ...more });
const delta = (seq, text, epoch = 2) => store.delta({ messageId: "7", epoch, seq, text });
const shown = () => { const { content, seq, epoch, state } = store.get("7"); return { content, seq, epoch, state }; };
"""


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page that can load the app's modules; there is no server."""
    page = browser.new_page()
    page.route("**/*", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
    page.route("**/*.js", lambda route: route.fulfill(path=STATIC / route.request.url.rpartition("/")[2]))
    page.goto("http://example.test/")
    yield page
    page.close()


def run(page: Page, script: str) -> Any:
    return page.evaluate(f"async () => {{ {PRELUDE} {script} }}")


def test_deltas_in_order_make_the_text(page: Page) -> None:
    """Each delta is added once, also when it comes twice."""
    shown = run(page, "store.put(answer()); delta(1, 'a'); delta(2, 'b'); delta(2, 'b'); delta(1, 'a'); return shown()")
    assert shown == {"content": "ab", "seq": 2, "epoch": 2, "state": "streaming"}


def test_a_gap_is_never_papered_over(page: Page) -> None:
    """After a lost delta nothing is added and the row is wanted; once it was read, what came meanwhile fits on."""
    found = run(
        page,
        """store.put(answer()); delta(1, 'a'); delta(3, 'c'); delta(4, 'd');
        const before = shown();
        store.put(answer({ content: "ab", seq: 2 }));
        return { before, after: shown(), missing }""",
    )
    assert found["before"]["content"] == "a"
    assert found["after"]["content"] == "abcd"
    assert set(found["missing"]) == {"7"}


def test_a_read_that_came_too_early_is_asked_for_again(page: Page) -> None:
    """The stored row may lag behind: while the gap is there, each read and delta says so once more."""
    missing = run(
        page, "store.put(answer()); delta(5, 'e'); store.put(answer({ content: 'ab', seq: 2 })); return missing"
    )
    assert missing == ["7", "7"]


def test_a_newer_epoch_is_read_and_an_older_one_is_not_heard(page: Page) -> None:
    """Deltas of another attempt are not mixed into the text at hand."""
    found = run(
        page,
        """store.put(answer({ content: "old", seq: 1 })); delta(2, "late", 1); delta(1, "new", 3);
        const before = shown();
        store.put(answer({ epoch: 3 })); delta(2, "!", 3); delta(2, "late", 2);
        return { before, after: shown(), missing }""",
    )
    assert found["before"]["content"] == "old"
    assert found["after"] == {"content": "new!", "seq": 2, "epoch": 3, "state": "streaming"}
    assert found["missing"] == ["7"]


def test_another_attempt_begins_with_an_empty_text(page: Page) -> None:
    """A reset clears what an earlier attempt wrote; one that comes too late does nothing."""
    found = run(
        page,
        """store.put(answer({ content: "half", state: "interrupted", notice: "again" }));
        store.reset({ messageId: "7", epoch: 3 });
        delta(1, "whole", 3);
        const begun = shown();
        store.reset({ messageId: "7", epoch: 3 });
        return { begun, after: shown() }""",
    )
    assert found["begun"] == found["after"] == {"content": "whole", "seq": 1, "epoch": 3, "state": "streaming"}


@pytest.mark.parametrize(
    "late",
    [
        "store.put(answer({ content: 'half', seq: 5 }))",
        "store.put(answer({ epoch: 1, state: 'final', content: 'older' }))",
        "delta(9, 'more')",
        "store.reset({ messageId: '7', epoch: 1 })",
    ],
)
def test_an_answer_that_is_done_stays_done(page: Page, late: str) -> None:
    """A read that was overtaken, and news of an older attempt, change nothing."""
    shown = run(page, f"store.put(answer({{ content: 'whole', state: 'final', seq: 8 }})); {late}; return shown()")
    assert shown == {"content": "whole", "seq": 8, "epoch": 2, "state": "final"}


def test_a_deleted_message_stays_deleted(page: Page) -> None:
    """A read that was on its way when the message was deleted does not bring it back."""
    script = "store.put(message('7', { content: 'x' })); store.remove('7'); store.put(message('7', { content: 'x' }));"
    assert run(page, f"{script} return store.get('7').deleted") is True


def test_messages_are_in_the_order_of_their_numbers(page: Page) -> None:
    """Ids are compared as numbers of any size, not as text."""
    script = "for (const id of ['10', '9', '12345678901234567', '12345678901234568', '100']) store.put(message(id));"
    ids = run(page, f"{script} return store.line(null).map((one) => one.id)")
    assert ids == ["9", "10", "100", "12345678901234567", "12345678901234568"]


def test_what_was_sent_is_there_once(page: Page) -> None:
    """My message leaves the list of unsent ones when the server shows it, whichever way; somebody else's does not."""
    script = """store.unsent.set('c', { clientId: 'c' });
        store.put(message('8', { clientId: 'c' }));
        const others = store.unsent.size;
        store.put(message('9', { clientId: 'c', author: { id: '1' } }));
        return [others, store.unsent.size]"""
    assert run(page, script) == [1, 0]


def test_messages_before_a_long_absence_are_forgotten(page: Page) -> None:
    """If more was missed than one page holds, the list has no silent hole: what lies before it is read again."""
    script = """for (const id of ['1', '2', '3']) store.put(message(id));
        store.putNewest({ items: [message('3'), message('4')], next: '3' }, null);
        const touching = store.line(null).map((one) => one.id);
        store.putNewest({ items: [message('8'), message('9')], next: '8' }, null);
        return [touching, store.line(null).map((one) => one.id)]"""
    assert run(page, script) == [["1", "2", "3", "4"], ["8", "9"]]
