"""The box of notes: order, patience, and what happens to them when things fail or end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from flask_neolith_orchestrator.core.errors import SchemaMissing
from flask_neolith_orchestrator.runtime.daemons import notes
from flask_neolith_orchestrator.runtime.daemons.notes import Note, NoteBox
from flask_neolith_orchestrator.runtime.wiring import SystemClock


class Work:
    """Works notes off as told. Lifetime: a test."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.given_up: list[str] = []
        self.tried = threading.Semaphore(0)
        self.does: Callable[[Note], bool] = lambda _note: True
        self.box = NoteBox(SystemClock(), self.work, lambda note: self.given_up.append(note.token))

    def work(self, note: Note) -> bool:
        """What the desk does."""
        try:
            fine = self.does(note)
            if fine:
                self.done.append(note.token)
            return fine
        finally:
            self.tried.release()

    def put(self, *tokens: str, seconds: float = 0.0) -> None:
        """Hand over logins with these tokens."""
        for token in tokens:
            self.box.put(Note("login", "1", token), seconds)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    """A box whose thread has ended at the end; its patience is short."""
    monkeypatch.setattr(notes, "PATIENCE", 0.3)
    monkeypatch.setattr(notes, "STUBBORN", 0.0)
    made = Work()
    yield made
    made.box.close(5)
    assert not [
        one for one in threading.enumerate() if one.name == "neolith-desk" and one.is_alive() and made.box._busy
    ]


def test_notes_are_worked_off_in_order(work: Work) -> None:
    """What was said first happens first, whoever else says something meanwhile."""
    tokens = [str(number) for number in range(200)]
    work.put(*tokens)
    assert work.box.wait_idle(10)
    assert work.done == tokens


def test_a_note_that_is_not_ready_lets_others_pass(work: Work) -> None:
    """Somebody who is not committed yet is looked for again, and keeps nobody waiting."""
    committed = threading.Event()
    work.does = lambda note: note.token != "late" or committed.is_set()
    work.put("late", "other")
    for _ in range(4):
        assert work.tried.acquire(timeout=10)
    assert work.done == ["other"]
    committed.set()
    assert work.box.wait_idle(10)
    assert work.done == ["other", "late"]


def test_patience_has_an_end(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    """Who never comes is given up, with a warning."""
    work.does = lambda _note: False
    work.put("never")
    assert work.box.wait_idle(10)
    assert (work.done, work.given_up) == ([], ["never"])
    assert "no orchestrator row" in caplog.text


def test_a_failure_is_tried_again(
    work: Work, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A database that cannot be used just now costs no note; it is logged once."""
    monkeypatch.setattr(notes, "STUBBORN", 60.0)
    failures = [OSError("away")]

    def failing(_note: Note) -> bool:
        if failures:
            raise failures.pop()
        return True

    work.does = failing
    work.put("one")
    assert work.box.wait_idle(10)
    assert work.done == ["one"]
    assert caplog.text.count("could not be recorded yet") == 1


def test_a_failure_that_stays_is_given_up(work: Work) -> None:
    """After a while a note is let go, so that the box does not fill up."""

    def failing(_note: Note) -> bool:
        raise OSError("gone")

    work.does = failing
    work.put("one")
    assert work.box.wait_idle(10)
    assert work.given_up == ["one"]


def test_missing_tables_are_named_without_a_traceback(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    """A sentence of ours says what to do; trying again would not help."""

    def failing(_note: Note) -> bool:
        raise SchemaMissing

    work.does = failing
    work.put("one")
    assert work.box.wait_idle(10)
    assert work.given_up == ["one"]
    assert "flask neolith create-tables" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_note_for_later_waits_and_does_not_count_as_busy(work: Work) -> None:
    """The grace of a socket keeps nobody waiting who waits for the desk."""
    work.put("later", seconds=60.0)
    work.put("now")
    assert work.box.wait_idle(10)
    assert work.done == ["now"]


def test_closing_works_off_what_is_there(work: Work) -> None:
    """Also what was for later: the process ends, and with it the reason to wait."""
    work.put("later", seconds=60.0)
    work.put("now")
    work.box.close(10)
    assert work.done == ["now", "later"]
    work.put("too late")
    assert work.box.wait_idle(10)
    assert work.done == ["now", "later"]


def test_closing_has_a_bound(work: Work) -> None:
    """A note that hangs does not keep the process from ending."""
    release = threading.Event()
    work.does = lambda _note: release.wait(20)
    work.put("hangs", "behind it")
    closing = threading.Thread(target=work.box.close, args=(0.1,))
    closing.start()
    closing.join(5)
    assert not closing.is_alive()
    release.set()


def test_a_login_that_has_ended_is_dropped(work: Work) -> None:
    """A logout that is worked off first takes the login along that could not be recorded yet."""
    work.does = lambda note: note.token != "late"
    work.put("late")
    assert work.tried.acquire(timeout=10)
    work.box.forget_login("late")
    work.does = lambda _note: True
    work.put("other")
    assert work.box.wait_idle(10)
    assert work.done == ["other"]
