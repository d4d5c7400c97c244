"""What happens after a commit: only for what was really committed, whatever savepoints there were."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from flask_neolith_orchestrator.store.sql import effects
from flask_neolith_orchestrator.store.sql.sqlite_host import guard_savepoints


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A SQLite file with a table, guarded as a host's engine is."""
    made = create_engine(f"sqlite:///{tmp_path / 'host.db'}")
    guard_savepoints(made)
    with made.begin() as tx:
        tx.execute(text("CREATE TABLE note (text VARCHAR)"))
    yield made
    made.dispose()


@pytest.fixture
def scoped(engine: Engine) -> Iterator[scoped_session[Session]]:
    """A host's scoped session, heard as a whole."""
    made = scoped_session(sessionmaker(engine))
    effects.listen(made)
    effects.listen(made)  # twice is once
    yield made
    made.remove()


class Log:
    """Writes rows, each with its effect."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.told: list[str] = []

    def write(self, word: str) -> None:
        """A row, and an effect that tells of it."""
        self.session.execute(text("INSERT INTO note VALUES (:word)"), {"word": word})
        effects.after_commit(self.session, lambda: self.told.append(word), heard=True)

    def kept(self) -> list[str]:
        """What another connection sees."""
        engine = self.session.get_bind()
        assert isinstance(engine, Engine)
        with engine.connect() as other:
            return [row[0] for row in other.execute(text("SELECT text FROM note ORDER BY rowid"))]

    def assert_told_what_is_kept(self, *words: str) -> None:
        """Effects ran for exactly the rows that are there."""
        assert self.told == self.kept() == list(words)


@pytest.fixture
def log(scoped: scoped_session[Session]) -> Log:
    """A log in the scoped session."""
    return Log(scoped())


def test_an_effect_waits_for_the_commit(log: Log) -> None:
    """Nothing is told before the commit, and once after it."""
    log.write("one")
    assert log.told == []
    log.session.commit()
    log.session.commit()
    log.assert_told_what_is_kept("one")


def test_a_rollback_takes_all(log: Log) -> None:
    """After a rollback of the whole nothing is told, then or later."""
    log.write("one")
    log.session.rollback()
    log.write("two")
    log.session.commit()
    log.assert_told_what_is_kept("two")


def test_a_kept_savepoint_is_told_at_the_outer_commit(log: Log) -> None:
    """The release of a savepoint is no commit; the outer commit tells in order."""
    log.write("before")
    with log.session.begin_nested():
        log.write("inside")
    assert log.told == []
    log.write("after")
    log.session.commit()
    log.assert_told_what_is_kept("before", "inside", "after")


def test_a_savepoint_as_first_statement_goes_with_the_outer_rollback(log: Log) -> None:
    """A savepoint that begins everything is not really committed at its release (pysqlite would)."""
    with log.session.begin_nested():
        log.write("inside")
    assert log.told == []
    log.session.rollback()
    log.assert_told_what_is_kept()


def test_a_rolled_back_savepoint_takes_its_own_only(log: Log) -> None:
    """A savepoint's rollback takes its own effects and those of savepoints within it, and leaves the others."""
    log.write("before")
    savepoint = log.session.begin_nested()
    log.write("outer")
    with log.session.begin_nested():
        log.write("inner")
    savepoint.rollback()
    log.write("after")
    log.session.commit()
    log.assert_told_what_is_kept("before", "after")


def test_a_kept_savepoint_is_not_mistaken_for_a_later_one(log: Log) -> None:
    """Many savepoints one after another, kept and rolled back in turn: exactly the kept ones are told."""
    for number in range(50):
        savepoint = log.session.begin_nested()
        log.write(f"{number}")
        if number % 2:
            savepoint.rollback()
        else:
            savepoint.commit()
        del savepoint
    log.session.commit()
    log.assert_told_what_is_kept(*[f"{number}" for number in range(0, 50, 2)])


def test_a_closed_session_forgets(log: Log) -> None:
    """A session closed without a commit rolls back silently: nothing of it is told when it is used again."""
    log.write("lost")
    log.session.close()
    log.write("kept")
    log.session.commit()
    log.assert_told_what_is_kept("kept")


def test_a_close_inside_a_savepoint_forgets(log: Log) -> None:
    """The same with a savepoint open."""
    log.session.begin_nested()
    log.write("lost")
    log.session.close()
    log.write("kept")
    log.session.commit()
    log.assert_told_what_is_kept("kept")


def test_a_failing_effect_harms_nobody(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    """An effect that raises is logged; the commit stands and the others run."""
    log.write("one")
    effects.after_commit(log.session, lambda: [][0], heard=True)
    log.write("two")
    with caplog.at_level(logging.ERROR):
        log.session.commit()
    log.assert_told_what_is_kept("one", "two")
    assert [record.__dict__["action"] for record in caplog.records] == ["effect-failed"]


def test_a_foreign_session_is_heard_itself(engine: Engine) -> None:
    """A session that the scoped one did not make is heard at its first effect, once."""
    with Session(engine) as session:
        told: list[str] = []
        for word in ("one", "two"):
            effects.after_commit(session, lambda word=word: told.append(word), heard=False)  # type: ignore[misc]  # bound
        session.execute(text("SELECT 1"))
        session.commit()
        assert told == ["one", "two"]


def test_whose_session_it_is(scoped: scoped_session[Session], engine: Engine) -> None:
    """A session of the scoped one's maker is told from a foreign one."""
    assert effects.made_by(scoped, scoped())
    with Session(engine) as foreign:
        assert not effects.made_by(scoped, foreign)
