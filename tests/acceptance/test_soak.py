"""The soak, short: a real server under mixed load with every fault of the provider, and a verdict that can turn red."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from .soak import audit, verdict
from .soak.people import Question
from .soak.probe import TABLES, Sample
from .soak.provider import FAULTS, Script
from .soak.run import soak
from .soak.traces import is_foreign, tracebacks

STEADY = Sample(0.0, 100.0, 20, 30, 2, 5.0, 4.1, dict.fromkeys(TABLES, 50), {})


@pytest.mark.process
def test_a_short_soak_is_green(tmp_path: Path) -> None:
    """Every fault at least once, all that was asked is dealt with, nothing grows, work is forgotten meanwhile."""
    result = soak(tmp_path, seconds=20.0, seed=1)
    assert result.problems == [], result.shown()
    provider = result.counts["provider"]
    assert {*FAULTS, "outage", "answer"} - {kind for kind, count in provider.items() if count} == set()
    assert {"model-unavailable", "model-interrupted"} <= set(result.counts["attempts that failed"])
    assert result.counts["answers"]["final"] >= 20
    assert result.counts["questions"]["accepted"] >= 25
    assert {"ask", "ask_directly", "read", "listen"} <= set(result.counts["people"])
    assert sum(line.bound is not None for line in result.lines) == 4
    assert result.counts["retention"]["runs that forgot something"] >= 1


@pytest.mark.process
def test_a_planted_leak_turns_it_red(tmp_path: Path) -> None:
    """A server that loses a file and a thread at each answer is found out in both lines, by a short soak."""
    result = soak(tmp_path, seconds=10.0, seed=2, leak="fd,thread")
    grown = {line.name for line in result.lines if not line.flat}
    assert {"threads", "files and sockets"} <= grown, result.shown()
    assert any(problem.startswith("threads: ") for problem in result.problems)


def samples(**last: Any) -> list[Sample]:
    """Half an hour in which something grows steadily to its last value."""
    made = []
    for number in range(60):
        share = number / 59
        grown = {
            name: type(value)(getattr(STEADY, name) + share * (value - getattr(STEADY, name)))
            for name, value in last.items()
        }
        made.append(replace(STEADY, at=30.0 * number, **grown))
    return made


@pytest.mark.parametrize(
    ("grows", "line"),
    [
        ({"threads": 32}, "threads"),
        ({"files": 42}, "files and sockets"),
        ({"model_sockets": 10}, "sockets to the model"),
        ({"rss": 125.0}, "memory, MB"),
        ({"wal": 16.0}, "write-ahead log, MB"),
    ],
)
def test_growth_is_seen(grows: dict[str, Any], line: str) -> None:
    """What grows steadily is named, alone."""
    lines = verdict.judge(samples(**grows))
    assert [one.name for one in lines if not one.flat] == [line]
    assert "GROWS" in verdict.table(lines)


def test_ups_and_downs_are_no_growth() -> None:
    """Load moves threads and files up and down; what counts is what is left when all are quiet."""
    busy = [replace(one, threads=20 + 30 * (number % 5 > 0)) for number, one in enumerate(samples())]
    assert [one.name for one in verdict.judge(busy) if not one.flat] == []


def test_rows_that_pile_up_are_seen() -> None:
    """Deliveries that nobody forgets are named; messages are history and may grow."""
    piling = [
        replace(one, rows={**one.rows, "delivery": 50 + 5 * n, "message": 99 * n}) for n, one in enumerate(samples())
    ]
    assert [one.name for one in verdict.judge(piling) if not one.flat] == ["rows of delivery"]


def test_too_few_samples_are_no_verdict() -> None:
    """A soak that could not look is not green."""
    with pytest.raises(ValueError, match="too few"):
        verdict.judge(samples()[:6])


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """One question in a channel, answered in its thread."""
    path = tmp_path / "app.db"
    with sqlite3.connect(path) as made:
        made.executescript(
            """
            CREATE TABLE neolith_orchestrator (id INTEGER, user_id INTEGER, handle TEXT);
            CREATE TABLE neolith_message (id INTEGER, author_id INTEGER, channel_id INTEGER, parent_id INTEGER,
                reply_to_id INTEGER, state TEXT, deleted_at REAL, content TEXT);
            CREATE TABLE neolith_delivery (id INTEGER, state TEXT, ended_at REAL);
            CREATE TABLE neolith_slot (orchestrator_id INTEGER, n INTEGER, turn_id INTEGER, node_id TEXT);
            CREATE TABLE neolith_conversation (id INTEGER, turn_id INTEGER);
            INSERT INTO neolith_orchestrator VALUES (1, 5, 'ada');
            INSERT INTO neolith_message VALUES (1, 1, 1, NULL, NULL, 'final', NULL, '@ada hello');
            INSERT INTO neolith_message VALUES (2, 5, 1, 1, 1, 'final', NULL, 'Hello.');
            """
        )
    made.close()
    return path


QUESTION = Question(1, "ada", ("1", "1"))
SAID = {2: {"1"}, 3: {"1"}}


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ("UPDATE neolith_message SET state = 'streaming' WHERE id = 2", "still streaming"),
        ("INSERT INTO neolith_message VALUES (3, 5, 1, 1, 1, 'final', NULL, 'Hello!')", "answered 2 times"),
        ("DELETE FROM neolith_message WHERE id = 2", "never answered"),
        ("UPDATE neolith_message SET content = '' WHERE id = 2", "empty answer"),
        ("INSERT INTO neolith_slot VALUES (1, 0, 7, 'node')", "a slot is still held"),
        ("INSERT INTO neolith_conversation VALUES (1, 7)", "a conversation is still held"),
    ],
)
def test_a_broken_promise_is_named(database: Path, broken: str, sentence: str) -> None:
    """What people asked, and what is in the database, are held against each other."""
    assert audit.violations(database, [QUESTION], SAID) == []
    with sqlite3.connect(database) as made:
        made.execute(broken)
    made.close()
    found = audit.violations(database, [QUESTION], SAID)
    assert len(found) == 1
    assert sentence in found[0]


def test_lines_that_were_answered_apart_are_not_answered_twice(database: Path) -> None:
    """Two answers that point to the last of two lines are fine if each answers another line, and only then."""
    with sqlite3.connect(database) as made:
        made.execute("INSERT INTO neolith_message VALUES (3, 5, 1, 1, 1, 'final', NULL, 'Hello!')")
    made.close()
    assert audit.violations(database, [QUESTION], {2: {"0"}, 3: {"1"}}) == []
    assert len(audit.violations(database, [QUESTION], {2: {"0", "1"}, 3: {"1"}})) == 1
    assert len(audit.violations(database, [QUESTION], {2: {"0"}})) == 1


def test_what_was_taken_back_is_owed_no_answer(database: Path) -> None:
    """A question that was stopped or deleted may have no answer."""
    assert audit.violations(database, [QUESTION, replace(QUESTION, message_id=9, gone=True)], SAID) == []


def test_the_provider_repeats_itself() -> None:
    """The same seed is the same script, and it begins with every fault once."""
    one, other = Script(7), Script(7)
    assert [one.next({}) for _ in range(50)] == [other.next({}) for _ in range(50)]
    assert set(FAULTS) <= set(one.done)


CLOSED = """Exception in thread Thread-9 (writer):
Traceback (most recent call last):
  File "/lib/python3.11/threading.py", line 982, in run
    self._target(*self._args, **self._kwargs)
  File "/site-packages/engineio/socket.py", line 217, in writer
    ws.close()
  File "/site-packages/simple_websocket/ws.py", line 119, in close
    self.sock.send(out_data)
OSError: [Errno 9] Bad file descriptor
INFO [pruned] Old work was forgotten
"""


@pytest.mark.parametrize(
    ("change", "foreign"),
    [
        (("", ""), True),
        (("/site-packages/engineio/socket.py", "/flask_neolith_orchestrator/web/sockets.py"), False),
        (("OSError: [Errno 9]", "ValueError:"), False),
    ],
)
def test_only_the_websocket_servers_own_tracebacks_are_nobodys(change: tuple[str, str], foreign: bool) -> None:
    """A socket that its browser has closed is met by the server's own thread; with a frame of ours it is a problem."""
    (trace,) = tracebacks("INFO before\n" + (CLOSED.replace(*change) if change[0] else CLOSED))
    assert is_foreign(trace) is foreign
