"""Messages and reactions in the store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Connection, String, insert, make_url, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_neolith_orchestrator.store.chat.messages import Draft, Messages
from flask_neolith_orchestrator.store.chat.views import Views
from flask_neolith_orchestrator.store.people.people import People
from flask_neolith_orchestrator.store.sql.sqlite import SqliteDatabase
from flask_neolith_orchestrator.store.tables.mixins import OrchestratorUserMixin
from flask_neolith_orchestrator.store.tables.models import Models, make_models


class Base(DeclarativeBase):
    """A host's declarative base."""


class User(OrchestratorUserMixin, Base):
    """A host's user."""

    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))


class RealClock:
    """The machine's clock."""

    database = False

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since the epoch."""
        return time.time()


@dataclass
class Ground:
    """A store with two channels (ids 1 and 2) and two users (ids 1 and 2)."""

    models: Models
    messages: Messages
    tx: Connection

    def add(self, content: str, *, thread: str | None = None, client: str | None = None, channel: str = "1") -> str:
        """Store a message of user 1."""
        draft = Draft(channel, "1", content, 1.0, thread_id=thread, client_id=client)
        return self.messages.add(self.tx, draft)[0]


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    """A store on a SQLite file, in one open transaction."""
    models = make_models(User)
    database = SqliteDatabase(make_url(f"sqlite:///{tmp_path}/messages.db"), RealClock())
    views = Views(models, People(models), lambda text: f"<p>{text}</p>")
    with database.write() as tx:
        Base.metadata.create_all(tx)
        tx.execute(insert(User), [{"id": 1, "name": "Ann"}, {"id": 2, "name": "Bob"}])
        for _ in range(2):
            tx.execute(insert(models.table("Channel")).values(kind="channel", created_at=1.0))
        yield Ground(models, Messages(models, database, views), tx)
    database.close()


def test_one_client_id_is_one_message(ground: Ground) -> None:
    """The same author, channel and client id give the first message; any of them different, a new one."""
    add, tx = ground.messages.add, ground.tx
    first = add(tx, Draft("1", "1", "hello", 1.0, client_id="c"))
    assert first[1]
    assert add(tx, Draft("1", "1", "hello again", 2.0, client_id="c")) == (first[0], False)
    assert ground.messages.view(tx, first[0])["content"] == "hello"
    others = [
        add(tx, Draft("2", "1", "hello", 3.0, client_id="c")),
        add(tx, Draft("1", "2", "hello", 3.0, client_id="c")),
        add(tx, Draft("1", "1", "hello", 3.0, client_id="d")),
        add(tx, Draft("1", "1", "hello", 3.0)),
        add(tx, Draft("1", "1", "hello", 3.0)),
    ]
    assert all(fresh for _, fresh in others)
    assert len({first[0], *(one for one, _ in others)}) == 6


def test_a_deleted_message_keeps_no_text_and_no_reactions(ground: Ground) -> None:
    """The row stays, so that a thread has its root; what was said is gone from the database, not only hidden."""
    message = ground.add("a secret")
    ground.messages.react(ground.tx, message, "2", "👍", 1.0)
    assert ground.messages.delete(ground.tx, message, 5.0)
    assert not ground.messages.delete(ground.tx, message, 6.0)
    row = ground.tx.execute(select(ground.models.table("Message"))).one()
    assert (row.content, row.deleted_at) == ("", 5.0)
    shown = ground.messages.view(ground.tx, message)
    assert (shown["content"], shown["deleted"], shown["reactions"]) == ("", True, [])


def test_deleted_and_unfinished_messages_are_not_edited(ground: Ground) -> None:
    """The condition stands in the statement itself, whatever was seen before."""
    messages, tx = ground.messages, ground.tx
    gone, writing, fine = ground.add("a"), ground.add("b"), ground.add("c")
    messages.delete(tx, gone, 2.0)
    m = ground.models.table("Message")
    tx.execute(update(m).where(m.c.id == int(writing)).values(state="streaming"))
    assert not messages.edit(tx, gone, "x", 3.0)
    assert not messages.edit(tx, writing, "x", 3.0)
    assert messages.edit(tx, fine, "x", 3.0)
    contents = [one["content"] for one in messages.page(tx, "1", None, before=None, limit=10)[0]]
    assert contents == ["", "b", "x"]


def test_pages_go_back_in_time_without_gaps(ground: Ground) -> None:
    """Each page is oldest first; following the cursor shows every message of the main line exactly once."""
    ids = [ground.add(str(n)) for n in range(7)]
    ground.add("elsewhere", channel="2")
    ground.add("in a thread", thread=ids[0])
    seen: list[str] = []
    before = None
    sizes = []
    while True:
        page, before = ground.messages.page(ground.tx, "1", None, before=before, limit=3)
        sizes.append(len(page))
        seen = [one["id"] for one in page] + seen
        if before is None:
            break
    assert seen == ids
    assert sizes == [3, 3, 1]


def test_pages_go_on_from_a_message(ground: Ground) -> None:
    """With `after` the first that follow it come, oldest first, and the cursor leads on to the newest."""
    ids = [ground.add(str(n)) for n in range(6)]
    first, after = ground.messages.page(ground.tx, "1", None, before=None, after=ids[0], limit=3)
    assert ([one["id"] for one in first], after) == (ids[1:4], ids[3])
    last, after = ground.messages.page(ground.tx, "1", None, before=None, after=after, limit=2)
    assert ([one["id"] for one in last], after) == (ids[4:], None)


def test_an_exact_last_page_has_no_cursor(ground: Ground) -> None:
    """Nobody is sent to fetch an empty page."""
    for n in range(4):
        ground.add(str(n))
    _, before = ground.messages.page(ground.tx, "1", None, before=None, limit=2)
    assert before is not None
    assert ground.messages.page(ground.tx, "1", None, before=before, limit=2)[1] is None


def test_a_thread_is_its_root_and_its_replies(ground: Ground) -> None:
    """Nothing of the main line or of other threads is in it; the root tells how many replies there are."""
    root, other = ground.add("root"), ground.add("other")
    replies = [ground.add(f"re {n}", thread=root) for n in range(3)]
    ground.add("re other", thread=other)
    page, before = ground.messages.page(ground.tx, "1", root, before=None, limit=10)
    assert [one["id"] for one in page] == [root, *replies]
    assert before is None
    assert page[0]["replyCount"] == 3
    assert page[0]["lastReply"]["id"] == replies[-1]
    older, before = ground.messages.page(ground.tx, "1", root, before=replies[1], limit=1)
    assert ([one["id"] for one in older], before) == ([replies[0]], replies[0])


def test_a_reaction_is_there_once_per_person(ground: Ground) -> None:
    """Adding and taking away twice change nothing the second time."""
    messages, tx = ground.messages, ground.tx
    message = ground.add("hi")
    assert messages.react(tx, message, "1", "👍", 1.0)
    assert not messages.react(tx, message, "1", "👍", 2.0)
    assert messages.react(tx, message, "2", "👍", 3.0)
    assert messages.react(tx, message, "2", "🎉", 4.0)
    assert messages.view(tx, message)["reactions"] == [
        {"emoji": "🎉", "userIds": ["2"]},
        {"emoji": "👍", "userIds": ["1", "2"]},
    ]
    assert messages.other_emoji(tx, message, "👍") == 1
    assert messages.unreact(tx, message, "1", "👍")
    assert not messages.unreact(tx, message, "1", "👍")
    assert not messages.unreact(tx, message, "1", "🎉")
    assert messages.view(tx, message)["reactions"][1] == {"emoji": "👍", "userIds": ["2"]}
