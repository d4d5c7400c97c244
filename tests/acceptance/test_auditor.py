"""The campaign's auditor sees each kind of what must not be: hand-made evidence, with one thing wrong at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

from .campaign.auditor import audit
from .campaign.ears import Event, Listening
from .campaign.evidence import Call, Evidence, Reply
from .campaign.fleet import Life
from .campaign.load import Post
from .campaign.nursery import Process
from .campaign.questions import LIMIT, answer, ask

TABLES = """
CREATE TABLE neolith_message (id INTEGER PRIMARY KEY, author_id INTEGER, state TEXT, deleted_at REAL);
CREATE TABLE neolith_delivery (id INTEGER PRIMARY KEY, conversation_id INTEGER, message_id TEXT, state TEXT,
    turn_id INTEGER);
CREATE TABLE neolith_turn (id INTEGER PRIMARY KEY, conversation_id INTEGER, reply_id TEXT, state TEXT, ended_at REAL);
CREATE TABLE neolith_slot (orchestrator_id INTEGER, n INTEGER, node_id TEXT);
CREATE TABLE neolith_conversation (id INTEGER PRIMARY KEY, turn_id INTEGER);
CREATE TABLE neolith_orchestrator (id INTEGER PRIMARY KEY, user_id INTEGER);
INSERT INTO neolith_orchestrator VALUES (1, 4);
INSERT INTO neolith_slot VALUES (1, 0, NULL);
INSERT INTO neolith_conversation VALUES (1, NULL);
INSERT INTO neolith_message VALUES (11, 1, 'final', NULL), (12, 1, 'final', NULL),
    (21, 4, 'final', NULL), (22, 4, 'final', NULL);
INSERT INTO neolith_delivery VALUES (1, 1, '11', 'answered', 1), (2, 1, '12', 'answered', 2);
INSERT INTO neolith_turn VALUES (1, 1, '21', 'done', 12.0), (2, 1, '22', 'done', 22.0);
"""


@dataclass
class Case:
    """Two questions in one thread, each asked of the model once and answered. Lifetime: a test."""

    evidence: Evidence
    database: sqlite3.Connection

    def run(self, statement: str) -> None:
        """Spoil the rows."""
        self.database.execute(statement)

    def hear(self, place: int, name: str, number: int, epoch: int, at: float, text: str = "") -> None:
        """A browser hears something more."""
        state = "final" if name == "message:done" else ""
        cast("list[Event]", self.evidence.events).insert(
            place, Event(at, "p0.0", name, f"2{number}", epoch, state, text)
        )

    def call(self, number: int, begin: float, who: str = "p1.0", **more: Any) -> None:
        """One more call for a question."""
        calls = cast("list[Call]", self.evidence.calls)
        calls.append(Call(f"x{len(calls)}", who, "ada", (number,), begin, begin + 0.5, cut=False, **more))
        calls.sort(key=lambda call: call.begin)

    def reply(self, place: int, **changes: Any) -> None:
        """An answer is seen differently in the end."""
        replies = cast("list[Reply]", self.evidence.replies)
        replies[place] = replace(replies[place], **changes)


def posted(number: int) -> Post:
    """A question that was acknowledged."""
    content = ask("ada", number, 0)
    return Post(
        number, "ada", "maya", "1", "10", content, number * 10.0, acknowledged=number * 10.1, ids=[f"1{number}"]
    )


def told(number: int) -> list[Event]:
    """What a browser hears of a good answer."""
    at, reply, said = number * 10.0, f"2{number}", answer([number], f"c{number}")
    return [
        Event(at + 1, "p0.0", "message", reply, number, "streaming"),
        Event(at + 1.4, "p0.0", "message:delta", reply, number, text=said[:2], seq=1),
        Event(at + 1.5, "p0.0", "message:delta", reply, number, text=said[2:], seq=2),
        Event(at + 2, "p0.0", "message:done", reply, number, "final", said),
    ]


@pytest.fixture
def case() -> Iterator[Case]:
    """Nothing is wrong."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(TABLES)
        nobody = cast("Process", None)
        evidence = Evidence(
            posts=[posted(1), posted(2)],
            calls=[Call(f"c{n}", "p0.0", "ada", (n,), n * 10 + 1.0, n * 10 + 1.9, cut=False) for n in (1, 2)],
            replies=[Reply(f"2{n}", "ada", "final", answer([n], f"c{n}"), "10", "1") for n in (1, 2)],
            events=[*told(1), *told(2)],
            listening=[Listening("p0.0", 1.0)],
            lives={who: Life(who[:2], who, nobody, up=0.5) for who in ("p0.0", "p1.0")},
            rows=lambda statement: database.execute(statement).fetchall(),
            offset=0.0,
        )
        yield Case(evidence, database)


def test_nothing_is_wrong(case: Case) -> None:
    """Two questions asked and answered in order are no violation."""
    assert audit(case.evidence) == []


def _busy(case: Case) -> None:
    posts = cast("list[Post]", case.evidence.posts)
    for number in range(3, 4 + LIMIT):
        posts.append(replace(posted(number), thread=f"{number}00", ids=[f"1{number}"]))
        case.call(number, 40.0)


def _without(kind: str, seq: int = 0) -> Callable[[Case], None]:
    def spoil(case: Case) -> None:
        events = cast("list[Event]", case.evidence.events)
        events[:] = [event for event in events if (event.name, event.message_id, event.seq) != (kind, "22", seq)]

    return spoil


def _piece(case: Case, place: int, other: int) -> None:
    events = cast("list[Event]", case.evidence.events)
    if place == other:
        events.insert(place, events[place])
    else:
        events[place], events[other] = events[other], events[place]


def _second_ear(case: Case) -> None:
    cast("list[Listening]", case.evidence.listening).append(Listening("p1.0", 1.0))


WRONG: dict[str, tuple[str, Callable[[Case], None]]] = {
    "a post is refused": ("refused", lambda case: case.evidence.posts[0].refused.append("409")),
    "one clientId, two ids": ("accepted-twice", lambda case: case.evidence.posts[0].ids.append("13")),
    "a question without an answer": ("lost", lambda case: case.reply(1, text=answer([9], "c2"))),
    "a question with two": ("answered-twice", lambda case: case.reply(1, text=answer([1, 2], "c2"))),
    "an answer that goes on": ("unfinished", lambda case: case.reply(1, state="streaming")),
    "an answer that broke off": ("unfinished", lambda case: case.reply(1, state="interrupted")),
    "a later question first": ("order", lambda case: case.call(1, 25.0)),
    "two calls at once": ("overlap", lambda case: case.call(2, 21.5)),
    "more calls than slots": ("limit", _busy),
    "a second call for nothing": ("second-call", lambda case: case.call(2, 24.0)),
    "done, and done again": ("done-twice", lambda case: case.hear(8, "message:done", 2, 2, 23.0)),
    "done, and begun again": ("after-done", lambda case: case.hear(8, "message:reset", 2, 3, 23.0)),
    "done, and more text": ("after-done", lambda case: case.hear(8, "message:delta", 2, 2, 23.0)),
    "text of an older attempt": ("old-epoch", lambda case: case.hear(7, "message:delta", 2, 1, 21.9)),
    "done, and changed": ("done-differs", lambda case: case.reply(1, text=answer([2], "c9"))),
    "nobody is told": ("done-missing", _without("message:done")),
    "one of two is not told": ("done-missing", _second_ear),
    "a piece heard twice": ("parts", lambda case: _piece(case, 5, 5)),
    "pieces out of order": ("parts", lambda case: _piece(case, 5, 6)),
    "a piece never heard": ("parts", _without("message:delta", 2)),
    "a delivery failed": (
        "not-answered",
        lambda case: case.run("UPDATE neolith_delivery SET state = 'failed' WHERE id = 2"),
    ),
    "a message with two deliveries": (
        "not-answered",
        lambda case: case.run("INSERT INTO neolith_delivery VALUES (3, 1, '12', 'answered', 2)"),
    ),
    "a message without a delivery": (
        "not-answered",
        lambda case: case.run("DELETE FROM neolith_delivery WHERE id = 2"),
    ),
    "a turn without its reply": ("reply-rows", lambda case: case.run("DELETE FROM neolith_message WHERE id = 22")),
    "a reply without a turn": (
        "reply-rows",
        lambda case: case.run("INSERT INTO neolith_message VALUES (23, 4, 'final', NULL)"),
    ),
    "one reply for two turns": ("reply-rows", lambda case: case.run("UPDATE neolith_turn SET reply_id = '21'")),
    "a turn that answers nothing": ("reply-rows", lambda case: case.run("UPDATE neolith_delivery SET turn_id = 1")),
    "a row that streams": (
        "streaming",
        lambda case: case.run("UPDATE neolith_message SET state = 'streaming' WHERE id = 12"),
    ),
    "a turn that runs": (
        "streaming",
        lambda case: case.run("INSERT INTO neolith_turn VALUES (3, 1, '9', 'running', 0)"),
    ),
    "a slot that is held": ("held", lambda case: case.run("UPDATE neolith_slot SET node_id = 'n'")),
    "a conversation that is held": ("held", lambda case: case.run("UPDATE neolith_conversation SET turn_id = 2")),
    "rows out of order": ("order", lambda case: case.run("UPDATE neolith_turn SET ended_at = 5.0 WHERE id = 2")),
}


@pytest.mark.parametrize("what", WRONG)
def test_each_wrong_is_seen(case: Case, what: str) -> None:
    """One thing is wrong, and it is among the violations under its name."""
    kind, spoil = WRONG[what]
    spoil(case)
    assert kind in {violation.kind for violation in audit(case.evidence)}


def test_a_process_that_ends_by_itself_is_seen(case: Case) -> None:
    """Nobody killed it."""
    case.evidence.ended = ["p1.0"]
    assert [violation.kind for violation in audit(case.evidence)] == ["died"]


def test_what_is_posted_at_one_time_has_no_order(case: Case) -> None:
    """Of two people's questions one may be in the history of the other's turn; of one person's it may not."""
    first, second = case.evidence.posts
    first.acknowledged, second.sent = 20.6, 10.0
    case.evidence.calls[0].asked, case.evidence.calls[1].asked = (1, 2), (1,)
    case.reply(0, text=answer([1, 2], "c1"))
    case.reply(1, text=answer([1], "c2"))
    found = {violation.kind for violation in audit(case.evidence)}
    assert {"answered-twice", "second-call", "order"} & found == {"answered-twice", "second-call"}
    second.author = "noor"
    found = {violation.kind for violation in audit(case.evidence)}
    assert not {"answered-twice", "second-call", "order"} & found


def test_a_death_explains_a_second_call(case: Case) -> None:
    """A question whose process died before it could write the answer may be asked again."""
    case.call(2, 24.0)
    case.evidence.lives["p0.0"].died = 21.95
    case.evidence.calls[1].end = 21.95
    assert "second-call" not in {violation.kind for violation in audit(case.evidence)}
