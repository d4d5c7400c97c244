"""The bundled chat inside a real Flask app: rights, the host's transaction, and what is told after its commit."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String, event, func, select, update
from sqlalchemy.orm import Mapped, mapped_column

from flask_neolith_orchestrator.chat.markdown import to_html
from flask_neolith_orchestrator.core.cancel import StopReason
from flask_neolith_orchestrator.core.errors import Conflict, Forbidden, Invalid, NotFound
from flask_neolith_orchestrator.core.types import Cause, Claim, Wanted
from flask_neolith_orchestrator.runtime.arrival.front import Front
from flask_neolith_orchestrator.runtime.charters.book import CharterBook
from flask_neolith_orchestrator.runtime.charters.keeper import CharterKeeper
from flask_neolith_orchestrator.runtime.chatting.chat import MOST_EMOJI, Chat
from flask_neolith_orchestrator.runtime.chatting.directory import Directory
from flask_neolith_orchestrator.runtime.chatting.rights import ChatParts
from flask_neolith_orchestrator.settings import load_settings
from flask_neolith_orchestrator.store.chat.bundled import BundledChat
from flask_neolith_orchestrator.store.chat.messages import Messages
from flask_neolith_orchestrator.store.chat.rooms import Rooms
from flask_neolith_orchestrator.store.chat.session_views import SessionViews
from flask_neolith_orchestrator.store.chat.views import Views
from flask_neolith_orchestrator.store.inbox.inbox import Inbox
from flask_neolith_orchestrator.store.lives.daemons import Daemons
from flask_neolith_orchestrator.store.people.organizations import Organizations
from flask_neolith_orchestrator.store.people.people import People
from flask_neolith_orchestrator.store.sql.sqlite import SqliteDatabase
from flask_neolith_orchestrator.store.stores import Texts, make_stores
from flask_neolith_orchestrator.store.tables.mixins import OrchestratorUserMixin
from flask_neolith_orchestrator.store.tables.models import Models, make_models
from flask_neolith_orchestrator.store.turns.beginnings import Beginnings
from flask_neolith_orchestrator.store.turns.claims import Claims
from flask_neolith_orchestrator.store.turns.endings import Ended, Fate, Outcome
from flask_neolith_orchestrator.store.turns.leases import Leases
from flask_neolith_orchestrator.store.turns.parking import Decided, Parking
from flask_neolith_orchestrator.store.turns.replies import whole
from flask_neolith_orchestrator.store.turns.sessions import Sessions
from flask_neolith_orchestrator.store.turns.settle import Settle
from flask_neolith_orchestrator.store.turns.turns import Turns

db = SQLAlchemy()
ANN, BOB, ADA, EVE, ZOE = "1", "2", "3", "4", "5"


class User(OrchestratorUserMixin, db.Model):  # type: ignore[name-defined,misc]  # Flask-SQLAlchemy makes Model at run time
    """The host's users: ann (owner), bob and ada (orchestrator) of Acme; eve and zoe (orchestrator) of Evil."""

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


class Wire:
    """A channel port that remembers what was told: (event, payload, room)."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Mapping[str, Any], str]] = []

    def emit(self, event: str, payload: Mapping[str, Any], room: str) -> None:
        """Remember it."""
        self.told.append((event, payload, room))

    def cut(self, room: str) -> None:
        """Nobody is connected."""

    def health(self) -> Mapping[str, Any]:
        """Always well."""
        return {"ok": True}

    def take(self) -> list[tuple[str, Mapping[str, Any], str]]:
        """What was told since the last look."""
        told, self.told = self.told, []
        return told

    def events(self) -> list[str]:
        """The names of what was told since the last look."""
        return [one[0] for one in self.take()]


class Untold:
    """Tells nobody of decisions: no turn is parked here."""

    def decided(self, done: Decided, by: str | None) -> None:
        """Never called."""
        raise AssertionError(done, by)


@dataclass
class Site:
    """One app with the bundled chat, wired by hand, and what it has done."""

    app: Flask
    models: Models
    database: SqliteDatabase
    chat: Chat
    directory: Directory
    wire: Wire
    turns: Turns
    bundled: BundledChat
    rung: list[str] = field(default_factory=list)
    told_before_ring: list[int] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    cancelled: list[tuple[str, StopReason]] = field(default_factory=list)
    moved: list[tuple[str, str, bool]] = field(default_factory=list)
    acme: str = ""
    ada: str = ""
    general: str = ""

    def deliveries(self) -> list[tuple[str, str]]:
        """(message id, state) of every delivery there is, committed or not."""
        table = self.models.table("Delivery")
        rows = db.session.execute(select(table.c.message_id, table.c.state).order_by(table.c.id))
        return [(row[0], row[1]) for row in rows]

    def post(self, author: str, content: str, **where: Any) -> dict[str, Any]:
        """Post into #general and commit."""
        posted = self.chat.post(author, self.general, content, **where)
        db.session.commit()
        return posted.message

    def claim(self) -> Claim:
        """Begin ada's next turn, as a worker does."""
        leases = Leases(self.models, self.database, node_id="node", lease=5.0, renew=1.0)
        daemons = Daemons(self.models, self.database)
        sessions = Sessions(self.models, self.database, 60.0)
        beginnings = Beginnings(self.models, self.database, self.bundled, sessions)
        claims = Claims(self.models, self.database, beginnings, node_id="node", lease=5.0)
        with self.database.write() as tx:
            daemons.want(tx, self.ada, Wanted.RUNNING, Cause.PERSON)
            leases.make_slots(tx, self.ada, 2)
            claim = claims.claim(tx, self.ada, limit=2)
        assert claim is not None
        return claim


def host(folder: Path) -> Flask:
    """An app with a database in a folder."""
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{folder}/host.db"
    db.init_app(app)
    return app


@cache
def empty() -> bytes:
    """A database with all tables and nothing in them. Made once: that costs more than most tests."""
    make_models(User)
    with TemporaryDirectory() as folder, host(Path(folder)).app_context():
        db.create_all()
        with closing(sqlite3.connect(Path(folder) / "host.db")) as connection:
            content = connection.serialize()
        db.engine.dispose()
    return content


def build(app: Flask) -> Site:
    """Wire the chat's parts on the app's database."""
    models = make_models(User)
    database = SqliteDatabase(db.engine.url, RealClock())
    settings = load_settings({"NEOLITH_MAX_MESSAGE_LENGTH": 100}, {})
    people = People(models)
    views = Views(models, people, lambda text: f"<p>{text}</p>")
    bundled = BundledChat(models, database, people, views)
    parking = Parking(models, database, bundled, timeout=60.0)
    turns = Turns(models, database, bundled, parking)
    rooms = Rooms(models, database, people)
    wire, keeper = Wire(), CharterKeeper.__new__(CharterKeeper)
    site = Site(
        app=app,
        models=models,
        database=database,
        chat=Chat.__new__(Chat),
        directory=Directory(db.session, database, people, rooms, Organizations(models, database), keeper),
        wire=wire,
        turns=turns,
        bundled=bundled,
    )

    def ended(some: Sequence[Ended]) -> None:
        site.ended.extend(some)

    def ring(orchestrator_id: str, _delay: float) -> None:
        site.rung.append(orchestrator_id)
        site.told_before_ring.append(len(wire.told))

    inbox = Inbox(models, database, max_queue=50)
    stores = replace(
        make_stores(models, database, settings, people, texts=Texts(to_html, whole), state_dir=None),
        inbox=inbox,
        chat=bundled,
    )
    reception = Front(settings, stores, CharterBook(stores), wire, ring=ring, ended=ended).reception
    reception.listen(db.session)
    parts = ChatParts(
        session=db.session,
        settings=settings,
        database=database,
        people=people,
        rooms=rooms,
        messages=Messages(models, database, views),
        sessions=SessionViews(models, database, Sessions(models, database, 60.0)),
        turns=turns,
        reception=reception,
        channel=wire,
        parking=parking,
        approvals=Untold(),
        cancel_turn=lambda turn, reason: site.cancelled.append((turn, reason)),
        ended=ended,
        on_membership=lambda channel, user, joined: site.moved.append((channel, user, joined)),
    )
    site.chat = Chat(parts)
    return site


def populate(site: Site) -> None:
    """Two organizations that know nothing of each other, and #general of the first with ann, bob and ada."""
    names = {ANN: "Ann", BOB: "Bob", ADA: "Ada", EVE: "Eve", ZOE: "Zoe"}
    for key, name in names.items():
        db.session.add(User(id=int(key), name=name, is_orchestrator=key in (ADA, ZOE)))
    make = site.directory
    site.acme = make.create_organization("Acme", "acme")
    evil = make.create_organization("Evil", "evil")
    make.add_to_organization(site.acme, ANN, "owner")
    make.add_to_organization(site.acme, BOB)
    make.add_to_organization(evil, EVE, "owner")
    site.ada = make.create_orchestrator(ADA, site.acme, "Ada", role="Engineer", capabilities=["code"])
    make.create_orchestrator(ZOE, evil, "zoe")
    made = site.chat.create_channel(ANN, organization_id=site.acme, name="General", member_ids=[BOB, ADA])
    site.general = made["id"]
    db.session.commit()
    site.wire.take()
    site.moved.clear()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """An app with people in it, inside its app context."""
    (tmp_path / "host.db").write_bytes(empty())
    app = host(tmp_path)
    with app.app_context():
        site = build(app)
        populate(site)
        yield site
        db.session.remove()
        site.database.close()
        db.engine.dispose()


def test_a_post_is_told_after_the_hosts_commit_and_not_before(site: Site) -> None:
    """Message, delivery and news stand and fall with the host's transaction; the question is told before the bell."""
    posted = site.chat.post(BOB, site.general, "@ada help")
    assert posted.fresh
    assert site.deliveries() == [(posted.message["id"], "waiting")]
    assert site.wire.told == []
    assert site.rung == []
    db.session.commit()
    said, activity = site.wire.take()
    assert said == ("message", {"message": posted.message}, f"channel:{site.general}")
    assert (activity[0], activity[2]) == ("channel:activity", f"activity:{site.general}")
    assert (site.rung, site.told_before_ring) == ([site.ada], [2])
    assert posted.message["author"] == {"id": BOB, "name": "Bob", "handle": None, "isOrchestrator": False}


def test_a_rolled_back_post_never_happened(site: Site) -> None:
    """Nothing is stored, nothing is told, nobody is woken."""
    site.chat.post(BOB, site.general, "@ada help")
    db.session.rollback()
    assert site.chat.messages(BOB, site.general) == ([], None)
    assert site.deliveries() == []
    db.session.commit()
    assert (site.wire.told, site.rung) == ([], [])


def test_what_the_host_wrote_commits_with_the_message(site: Site) -> None:
    """A row the host has added but not flushed is part of the same transaction, and seen by the chat."""
    db.session.add(User(id=6, name="Fay"))
    site.directory.add_to_organization(site.acme, "6")
    site.chat.add_member(ANN, site.general, "6")
    assert site.chat.post("6", site.general, "I am new").message["author"]["name"] == "Fay"
    db.session.rollback()
    assert db.session.get(User, 6) is None
    assert len(site.chat.members(ANN, site.general)) == 3


def test_the_same_client_id_is_the_same_message(site: Site) -> None:
    """A browser that sends again after a lost answer gets the first message; nobody is told or woken again."""
    first = site.chat.post(BOB, site.general, "@ada help", client_id="c1")
    db.session.commit()
    site.wire.take()
    site.rung.clear()
    second = site.chat.post(BOB, site.general, "@ada help, please", client_id="c1")
    db.session.commit()
    assert (second.fresh, second.message) == (False, first.message)
    assert (site.wire.told, site.rung, len(site.deliveries())) == ([], [], 1)


def test_the_same_client_id_from_two_threads_at_once_is_one_message(site: Site) -> None:
    """Whichever request is first, both get the one message and one delivery exists."""
    start = threading.Barrier(4)
    found: list[tuple[str, bool]] = []

    def send() -> None:
        with site.app.app_context():
            start.wait(10)
            posted = site.chat.post(BOB, site.general, "@ada help", client_id="c1")
            db.session.commit()
            found.append((posted.message["id"], posted.fresh))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 4
    assert len({one for one, _ in found}) == 1
    assert sorted(fresh for _, fresh in found) == [False, False, False, True]
    assert len(site.deliveries()) == 1


def test_a_post_in_a_thread_tells_the_root_too(site: Site) -> None:
    """The message goes to the channel's room, and its root with the new count; a reply's id means its thread."""
    root = site.post(BOB, "root")
    first = site.post(BOB, "one", thread_id=root["id"])
    site.wire.take()
    second = site.post(ANN, "two", thread_id=first["id"])
    assert second["threadId"] == root["id"]
    told = site.wire.take()
    assert [(one[0], one[2]) for one in told] == [
        ("message", f"channel:{site.general}"),
        ("message:updated", f"channel:{site.general}"),
        ("channel:activity", f"activity:{site.general}"),
    ]
    shown = told[1][1]["message"]
    assert (shown["id"], shown["replyCount"], shown["lastReply"]["id"]) == (root["id"], 2, second["id"])
    assert [one["content"] for one in site.chat.messages(BOB, site.general)[0]] == ["root"]
    thread, _ = site.chat.messages(BOB, site.general, thread_id=second["id"])
    assert [one["content"] for one in thread] == ["root", "one", "two"]


def test_threads_and_replies_stay_in_their_channel(site: Site) -> None:
    """A thread or a message to reply to that is elsewhere is not there, and a deleted one takes no answers."""
    other = site.chat.create_channel(BOB, organization_id=site.acme, name="other")["id"]
    elsewhere = site.chat.post(BOB, other, "elsewhere").message["id"]
    gone = site.chat.post(BOB, site.general, "gone").message["id"]
    inside = site.chat.post(BOB, site.general, "inside", thread_id=gone).message["id"]
    site.chat.delete(BOB, gone)
    for bad in (elsewhere, "999", "x", ""):
        with pytest.raises(NotFound):
            site.chat.post(BOB, site.general, "hi", thread_id=bad)
        with pytest.raises(NotFound):
            site.chat.post(BOB, site.general, "hi", reply_to_id=bad)
        with pytest.raises(NotFound):
            site.chat.messages(BOB, site.general, thread_id=bad)
    for thread in (gone, inside):
        with pytest.raises(Conflict, match="deleted"):
            site.chat.post(BOB, site.general, "hi", thread_id=thread)
    with pytest.raises(Conflict, match="deleted"):
        site.chat.post(BOB, site.general, "hi", reply_to_id=gone)


def test_a_reply_to_an_orchestrator_wakes_it_and_one_to_a_person_does_not(site: Site) -> None:
    """A reply counts as a mention of whoever wrote the message that is replied to."""
    by_ada = site.post(ADA, "I am here")
    by_ann = site.post(ANN, "me too")
    site.post(BOB, "nice", reply_to_id=by_ann["id"])
    assert site.deliveries() == []
    asked = site.post(BOB, "tell me more", reply_to_id=by_ada["id"])
    assert site.deliveries() == [(asked["id"], "waiting")]


def test_an_orchestrator_posts_like_anybody_and_wakes_nobody(site: Site) -> None:
    """That the author is an orchestrator is looked up, not believed."""
    dm = site.chat.open_dm(BOB, [ADA])["id"]
    posted = site.chat.post(ADA, dm, "@ada hello")
    assert posted.message["author"]["isOrchestrator"]
    assert site.deliveries() == []
    asked = site.chat.post(BOB, dm, "hello")
    assert site.deliveries() == [(asked.message["id"], "waiting")]


@pytest.mark.parametrize("content", ["", " \n", "a\0b", "\ud800", "x" * 101, None, 5, {"a": 1}])
def test_bad_content_is_refused_and_nothing_is_stored(site: Site, content: Any) -> None:
    """Too long, invisible, control and half characters and wrong types: Invalid, in posts and edits."""
    mine = site.post(BOB, "fine")
    with pytest.raises(Invalid):
        site.chat.post(BOB, site.general, content)
    with pytest.raises(Invalid):
        site.chat.edit(BOB, mine["id"], content)
    db.session.commit()
    assert [one["content"] for one in site.chat.messages(BOB, site.general)[0]] == ["fine"]


def test_a_refusal_does_not_hold_the_databases_write_lock(site: Site) -> None:
    """Whoever is refused in the middle of a request has not made everybody else wait."""
    with pytest.raises(NotFound):
        site.chat.post(EVE, site.general, "hi")
    with pytest.raises(Invalid):
        site.chat.post(BOB, site.general, "")
    with site.database.write() as tx:
        assert tx.execute(select(func.count()).select_from(site.models.table("Message"))).scalar_one() == 0


def test_a_post_waits_for_whoever_writes_in_another_process(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy SQLite file is waited for before the first write, even where the host's own connection would give up."""
    db.session.connection().exec_driver_sql("PRAGMA busy_timeout=0")
    gate, waiting = site.database.gate, threading.Event()
    busy = gate.busy

    def noticed(*, urgent: bool) -> None:
        waiting.set()
        busy(urgent=urgent)

    monkeypatch.setattr(gate, "busy", noticed)
    other = sqlite3.connect(str(db.engine.url.database), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")

    def let_go() -> None:
        waiting.wait(10)
        other.execute("ROLLBACK")

    thread = threading.Thread(target=let_go)
    thread.start()
    try:
        assert site.chat.post(BOB, site.general, "patience").fresh
        db.session.commit()
    finally:
        waiting.set()
        thread.join(10)
        other.close()
    assert db.session.connection().exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 0


def test_the_hosts_own_channels_take_no_posts(site: Site) -> None:
    """A channel that mirrors one of the host's chat is read here and written there."""
    channel = site.models.table("Channel")
    db.session.execute(update(channel).where(channel.c.id == int(site.general)).values(kind="external"))
    with pytest.raises(Conflict, match="app's own chat"):
        site.chat.post(BOB, site.general, "hi")
    assert site.chat.messages(BOB, site.general) == ([], None)


def test_the_cost_of_a_post_does_not_grow_with_the_channel(site: Site) -> None:
    """The same number of statements, and no member list, whether three or three hundred people are there."""
    statements: list[str] = []

    def heard(_c: Any, _u: Any, statement: str, _p: Any, _x: Any, _many: bool) -> None:
        statements.append(statement)

    event.listen(db.engine, "before_cursor_execute", heard)
    site.post(BOB, "@ada one")
    few, rows = list(statements), 300
    db.session.add_all([User(id=100 + n, name=f"u{n}") for n in range(rows)])
    db.session.commit()
    for n in range(rows):
        site.directory.add_to_organization(site.acme, str(100 + n))
        site.chat.add_member(ANN, site.general, str(100 + n))
    db.session.commit()
    statements.clear()
    site.post(BOB, "@ada two")
    event.remove(db.engine, "before_cursor_execute", heard)
    assert statements == few


def test_outsiders_find_nothing(site: Site) -> None:
    """Every way to a channel or message that one is not in ends in the same NotFound, its manager's included."""
    secret = site.post(BOB, "secret")["id"]
    chat, general = site.chat, site.general
    site.chat.remove_member(ANN, general, ANN)  # the owner has left: she is an outsider too
    db.session.commit()
    for outsider in (EVE, ZOE, ANN, "999", "x", "", "1\0"):
        ways: list[Callable[[str], object]] = [
            lambda who: chat.require_member(who, general),
            lambda who: chat.post(who, general, "hi"),
            lambda who: chat.post(who, general, "hi", thread_id=secret),
            lambda who: chat.messages(who, general),
            lambda who: chat.messages(who, general, thread_id=secret),
            lambda who: chat.message(who, secret),
            lambda who: chat.edit(who, secret, "mine now"),
            lambda who: chat.delete(who, secret),
            lambda who: chat.react(who, secret, "👍"),
            lambda who: chat.unreact(who, secret, "👍"),
            lambda who: chat.stop(who, secret),
            lambda who: chat.members(who, general),
            lambda who: chat.add_member(who, general, who),
            lambda who: chat.remove_member(who, general, BOB),
        ]
        for way in ways:
            with pytest.raises(NotFound):
                way(outsider)
        assert chat.channels(outsider) == []
    assert chat.message(BOB, secret)["content"] == "secret"


@pytest.mark.parametrize("bad", ["", "x", "0", "-1", "1.5", "9" * 30, "1\0", None, 1])
def test_ids_that_are_no_ids_are_not_found(site: Site, bad: Any) -> None:
    """Wrong types and huge numbers are answered like any unknown id."""
    ways: list[Callable[[], object]] = [
        lambda: site.chat.require_member(BOB, bad),
        lambda: site.chat.post(BOB, bad, "hi"),
        lambda: site.chat.message(BOB, bad),
        lambda: site.chat.create_channel(BOB, organization_id=bad, name="x"),
    ]
    for way in ways:
        with pytest.raises(NotFound):
            way()


def test_only_the_author_edits(site: Site) -> None:
    """Not even the organization's owner puts words into somebody's mouth."""
    theirs = site.post(BOB, "mine")
    with pytest.raises(Forbidden):
        site.chat.edit(ANN, theirs["id"], "yours")


def test_authors_and_managers_delete(site: Site) -> None:
    """The owner may delete what a member wrote; a member may not delete what the owner wrote."""
    by_ann, by_bob = site.post(ANN, "a"), site.post(BOB, "b")
    with pytest.raises(Forbidden):
        site.chat.delete(BOB, by_ann["id"])
    shown = site.chat.delete(ANN, by_bob["id"])
    assert (shown["deleted"], shown["content"]) == (True, "")
    dm = site.chat.open_dm(BOB, [ANN])["id"]
    private = site.chat.post(BOB, dm, "private").message["id"]
    with pytest.raises(Forbidden):
        site.chat.delete(ANN, private)


def test_the_host_may_decide_who_manages(site: Site) -> None:
    """With a callable of the host's own, roles do not count."""
    assert site.chat.can_manage(ANN, site.acme)
    assert not site.chat.can_manage(BOB, site.acme)
    assert not site.chat.can_manage(EVE, site.acme)
    assert not site.chat.can_manage("\0", site.acme)
    parts = site.chat._parts
    decided = Chat(type(parts)(**{name: getattr(parts, name) for name in parts.__slots__} | {"can_manage": may_bob}))
    assert decided.can_manage(BOB, site.acme)
    assert not decided.can_manage(ANN, site.acme)


def may_bob(user_id: str, organization_id: str) -> bool:
    """A host where bob manages everything."""
    return user_id == BOB


def test_an_edit_that_adds_a_mention_wakes_once(site: Site) -> None:
    """Other edits wake nobody; the added mention wakes; editing on wakes no more."""
    message = site.post(BOB, "help")["id"]
    site.wire.take()
    assert site.chat.edit(BOB, message, "help me")["editedAt"] is not None
    db.session.commit()
    assert site.deliveries() == []
    for text in ("@ada help me", "help me", "@ada help me now"):
        site.chat.edit(BOB, message, text)
        db.session.commit()
    assert site.deliveries() == [(message, "waiting")]
    told = site.wire.take()
    assert [one[0] for one in told] == ["message:updated"] * 4
    assert told[-1][1]["message"]["content"] == "@ada help me now"
    assert told[-1][2] == f"channel:{site.general}"


def test_an_edit_that_changes_nothing_is_none(site: Site) -> None:
    """No mark of an edit, and nothing told."""
    message = site.post(BOB, "help")["id"]
    site.wire.take()
    assert site.chat.edit(BOB, message, "help")["editedAt"] is None
    db.session.commit()
    assert site.wire.events() == []


def test_a_deleted_message_is_not_edited_and_deleting_twice_is_harmless(site: Site) -> None:
    """What is gone stays gone, and is told once."""
    message = site.post(BOB, "oops")["id"]
    site.wire.take()
    for _ in range(2):
        assert site.chat.delete(BOB, message)["deleted"]
        db.session.commit()
    assert site.wire.take() == [
        ("message:deleted", {"messageId": message, "channelId": site.general}, f"channel:{site.general}")
    ]
    for text in ("oops", "again"):
        with pytest.raises(Conflict):
            site.chat.edit(BOB, message, text)
    with pytest.raises(Conflict):
        site.chat.react(BOB, message, "👍")


def test_deleting_a_reply_tells_its_root(site: Site) -> None:
    """The root's count goes down on every screen."""
    root = site.post(BOB, "root")["id"]
    reply = site.post(BOB, "reply", thread_id=root)["id"]
    site.wire.take()
    site.chat.delete(BOB, reply)
    db.session.commit()
    told = site.wire.take()
    assert [one[0] for one in told] == ["message:deleted", "message:updated"]
    assert told[1][1]["message"]["replyCount"] == 0


def test_deleting_a_question_cancels_what_waits_for_it(site: Site) -> None:
    """The delivery ends, after the commit that is told; a rollback leaves it waiting."""
    message = site.post(BOB, "@ada help")["id"]
    site.chat.delete(BOB, message)
    db.session.rollback()
    assert (site.deliveries(), site.ended) == ([(message, "waiting")], [])
    site.chat.delete(BOB, message)
    assert site.ended == []
    db.session.commit()
    assert site.deliveries() == [(message, "cancelled")]
    assert [(one.orchestrator_id, one.reason) for one in site.ended] == [(site.ada, "deleted")]


def test_deleting_a_root_cancels_the_work_of_its_whole_thread(site: Site) -> None:
    """Questions asked in the thread are gone with it; those elsewhere stay."""
    root = site.post(BOB, "root")["id"]
    inside = site.post(ANN, "@ada in here", thread_id=root)["id"]
    outside = site.post(ANN, "@ada out here")["id"]
    site.chat.delete(BOB, root)
    db.session.commit()
    assert site.deliveries() == [(inside, "cancelled"), (outside, "waiting")]
    with site.database.read() as tx:
        assert site.bundled.present(tx, [root, inside, outside]) == {outside}


def test_deleting_a_question_ends_the_turn_that_answers_it(site: Site) -> None:
    """The running turn is asked to end after the commit, by its reason."""
    message = site.post(BOB, "@ada help")["id"]
    claim = site.claim()
    site.chat.delete(BOB, message)
    assert site.cancelled == []
    db.session.commit()
    assert site.cancelled == [(claim.turn_id, StopReason.DELETED)]


def test_deleting_an_answer_that_is_being_written_stops_it(site: Site) -> None:
    """Its question is still there, so this is a stop: nothing writes it again."""
    site.post(BOB, "@ada help")
    claim = site.claim()
    site.chat.delete(ANN, claim.reply_id)
    db.session.commit()
    assert site.cancelled == [(claim.turn_id, StopReason.PERSON)]
    site.turns.checkpoint(claim, "late", 2)
    assert site.chat.message(ANN, claim.reply_id)["content"] == ""
    with pytest.raises(Conflict):
        site.chat.edit(ADA, claim.reply_id, "rewritten")


def test_reactions_are_told_once(site: Site) -> None:
    """Each change is told with all reactions; doing it twice is harmless and silent."""
    message = site.post(BOB, "hi")["id"]
    site.wire.take()
    for _ in range(2):
        shown = site.chat.react(ANN, message, "👍")
        db.session.commit()
    assert shown["reactions"] == [{"emoji": "👍", "userIds": [ANN]}]
    payload = {"messageId": message, "channelId": site.general, "reactions": shown["reactions"]}
    assert site.wire.take() == [("reaction", payload, f"channel:{site.general}")]
    for _ in range(2):
        assert site.chat.unreact(ANN, message, "👍")["reactions"] == []
        db.session.commit()
    assert site.wire.events() == ["reaction"]


def test_a_message_has_a_bounded_number_of_emoji(site: Site) -> None:
    """Nobody makes a message too heavy to send around; emoji that are there can still be joined."""
    message = site.post(BOB, "hi")["id"]
    for n in range(MOST_EMOJI):
        site.chat.react(BOB, message, f"e{n}")
    with pytest.raises(Conflict, match="different emoji"):
        site.chat.react(BOB, message, "one more")
    assert len(site.chat.react(ANN, message, "e0")["reactions"]) == MOST_EMOJI


def test_only_who_asked_stops_and_a_second_stop_is_harmless(site: Site) -> None:
    """By the question's id or the answer's; a stranger finds nothing to stop; what is over is over."""
    message = site.post(BOB, "@ada help")["id"]
    claim = site.claim()
    for target in (message, claim.reply_id):
        with pytest.raises(NotFound):
            site.chat.stop(ZOE, target)
        stopped = site.chat.stop(BOB, target)
        assert (stopped["state"], stopped["message"]["id"]) == ("stopping", claim.reply_id)
        db.session.commit()
    assert site.cancelled == [(claim.turn_id, StopReason.PERSON)] * 2


def test_a_question_that_waits_is_stopped_at_once(site: Site) -> None:
    """Its delivery ends as cancelled, which is told after the commit; a second stop finds it over."""
    message = site.post(BOB, "@ada help")["id"]
    assert site.chat.stop(BOB, message) == {"state": "stopped", "message": None}
    db.session.commit()
    assert site.deliveries() == [(message, "cancelled")]
    assert [one.reason for one in site.ended] == ["person"]
    assert site.chat.stop(BOB, message) == {"state": "over", "message": None}


def test_a_question_claimed_in_the_instant_of_its_stop_is_stopped(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that takes the question between the look and the stop does not make the stop miss."""
    message = site.post(BOB, "@ada help")["id"]
    with site.database.read() as tx:
        seen = site.turns.targets(tx, message)
    claim = site.claim()
    look, stale = site.turns.targets, [seen]
    monkeypatch.setattr(site.turns, "targets", lambda tx, one: stale.pop() if stale else look(tx, one))
    assert site.chat.stop(BOB, message)["state"] == "stopping"
    db.session.commit()
    assert site.cancelled == [(claim.turn_id, StopReason.PERSON)]


def test_an_answer_that_waits_to_be_tried_again_is_stopped_on_screen(site: Site) -> None:
    """Nobody works on it, so the stop itself tells browsers that its row is final, after the commit."""
    message = site.post(BOB, "@ada help")["id"]
    claim = site.claim()
    parking = Parking(site.models, site.database, site.bundled, timeout=60.0)
    settle = Settle(site.models, site.database, site.bundled, parking, max_attempts=5)
    with site.database.write() as tx:
        assert settle.settle(tx, claim, Outcome(Fate.RETRY, text="so far", delay=60.0)) is not None
    site.wire.take()
    stopped = site.chat.stop(BOB, message)
    assert (stopped["state"], stopped["message"]["state"]) == ("stopped", "interrupted")
    assert site.wire.told == []
    db.session.commit()
    assert site.wire.take() == [("message:done", {"message": stopped["message"]}, f"channel:{site.general}")]
    assert (site.cancelled, site.deliveries()) == ([], [(message, "cancelled")])


def test_nothing_to_stop_is_over(site: Site) -> None:
    """A message that nobody answers can be stopped in vain."""
    message = site.post(BOB, "just talking")["id"]
    assert site.chat.stop(BOB, message) == {"state": "over", "message": None}


def test_a_channel_is_made_of_people_of_its_organization(site: Site) -> None:
    """Names are folded and unique; strangers are not found, neither as makers nor as members."""
    make = site.chat.create_channel
    made = make(BOB, organization_id=site.acme, name="Dev.Ops", topic=" ship it ", member_ids=[ANN, BOB])
    assert {key: made[key] for key in ("name", "topic", "kind", "organizationId", "memberCount")} == {
        "name": "dev.ops",
        "topic": "ship it",
        "kind": "channel",
        "organizationId": site.acme,
        "memberCount": 2,
    }
    assert sorted(site.moved) == []
    db.session.commit()
    assert sorted(site.moved) == [(made["id"], ANN, True), (made["id"], BOB, True)]
    with pytest.raises(Conflict, match=r"dev\.ops"):
        make(ANN, organization_id=site.acme, name="DEV.OPS")
    with pytest.raises(NotFound, match="organization"):
        make(EVE, organization_id=site.acme, name="spy")
    for stranger in (EVE, ZOE, "999", "x", "\0"):
        with pytest.raises(NotFound):
            make(BOB, organization_id=site.acme, name="mixed", member_ids=[stranger])
        with pytest.raises(NotFound):
            site.chat.add_member(BOB, site.general, stranger)
    bad: list[dict[str, Any]] = [
        {"name": ""},
        {"name": "a b"},
        {"topic": "x" * 501},
        {"member_ids": "12"},
        {"topic": 5},
    ]
    for wrong in bad:
        with pytest.raises(Invalid):
            make(BOB, **{"organization_id": site.acme, "name": "x"} | wrong)
    assert [one["name"] for one in site.chat.channels(BOB)] == ["general", "dev.ops"]


def test_members_come_and_go(site: Site) -> None:
    """Anybody may leave, owners take others out, and each change is said once after its commit."""
    chat, general = site.chat, site.general
    with pytest.raises(Forbidden):
        chat.remove_member(BOB, general, ANN)
    chat.remove_member(ANN, general, BOB)
    assert site.moved == []
    db.session.commit()
    with pytest.raises(NotFound):
        chat.messages(BOB, general)
    with pytest.raises(NotFound, match="member"):
        chat.remove_member(ANN, general, BOB)
    for _ in range(2):
        chat.add_member(ADA, general, BOB)
        db.session.commit()
    chat.remove_member(BOB, general, BOB)
    db.session.commit()
    assert site.moved == [(general, BOB, False), (general, BOB, True), (general, BOB, False)]
    assert [one["userId"] for one in chat.members(ANN, general)] == [ANN, ADA]
    assert site.wire.events() == []


def test_a_direct_message_is_one_per_people_and_stays_theirs(site: Site) -> None:
    """Whoever opens it and in whatever order; its people do not change; strangers are not found."""
    chat = site.chat
    dm = chat.open_dm(BOB, [ADA, ANN, BOB])
    db.session.commit()
    assert len(site.moved) == 3
    assert chat.open_dm(ANN, [BOB, ADA]) == dm
    assert chat.open_dm(ADA, [BOB])["id"] != dm["id"]
    db.session.commit()
    assert (dm["kind"], dm["memberCount"], dm["organizationId"]) == ("dm", 3, None)
    assert sorted(one["userId"] for one in dm["members"]) == [ANN, BOB, ADA]
    for stranger in (EVE, ZOE, "999", "x"):
        with pytest.raises(NotFound):
            chat.open_dm(BOB, [ADA, stranger])
    with pytest.raises(NotFound):
        chat.open_dm("\0", [BOB])
    with pytest.raises(Conflict):
        chat.remove_member(ANN, dm["id"], ANN)
    with pytest.raises(Conflict):
        chat.add_member(ANN, dm["id"], BOB)
    bad: list[Any] = [[], [BOB], "12", None, [1], [str(n) for n in range(20, 40)]]
    for wrong in bad:
        with pytest.raises(Invalid):
            chat.open_dm(BOB, wrong)


def test_a_direct_message_opened_by_all_at_once_is_one(site: Site) -> None:
    """Two people who write to each other in the same moment are in the same place."""
    start = threading.Barrier(4)
    found: list[str] = []

    def open_it(one: str, other: str) -> None:
        with site.app.app_context():
            start.wait(10)
            opened = site.chat.open_dm(one, [other])
            db.session.commit()
            found.append(opened["id"])

    pairs = [(BOB, ANN), (ANN, BOB)] * 2
    threads = [threading.Thread(target=open_it, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 4
    assert len(set(found)) == 1
    assert len(site.chat.members(BOB, found[0])) == 2


def test_organizations_and_orchestrators_are_made_with_care(site: Site) -> None:
    """Taken slugs and handles, unknown people and users who are not flagged are refused with their sentence."""
    make = site.directory
    with pytest.raises(Conflict, match="acme"):
        make.create_organization("Acme again", "acme")
    with pytest.raises(Invalid, match="name"):
        make.create_organization(" ", "x")
    with pytest.raises(Invalid, match="role"):
        make.add_to_organization(site.acme, BOB, "king")
    with pytest.raises(NotFound, match="user"):
        make.add_to_organization(site.acme, "999")
    with pytest.raises(NotFound, match="organization"):
        make.add_to_organization("999", BOB)
    with pytest.raises(Invalid, match="is_orchestrator"):
        make.create_orchestrator(BOB, site.acme, "bob")
    with pytest.raises(Conflict, match="already"):
        make.create_orchestrator(ADA, site.acme, "ada2")
    db.session.add(User(id=7, name="Max", is_orchestrator=True))
    with pytest.raises(Conflict, match="ada"):
        make.create_orchestrator("7", site.acme, "ＡＤＡ")  # noqa: RUF001 -- full-width letters are the same handle
    bad: list[dict[str, Any]] = [
        {"handle": "a b"},
        {"role": "x" * 201},
        {"capabilities": "code"},
        {"capabilities": [""]},
        {"daemon_endpoint": "x" * 501},
    ]
    for wrong in bad:
        with pytest.raises(Invalid):
            make.create_orchestrator("7", site.acme, **{"handle": "max"} | wrong)
    made = make.create_orchestrator("7", site.acme, "Max", discipline="ops", daemon_endpoint="https://x.example")
    db.session.commit()
    row = db.session.get(site.models.Orchestrator, int(made))
    assert row is not None
    assert (row.handle, row.discipline, row.capabilities, row.daemon_endpoint) == (
        "max",
        "ops",
        [],
        "https://x.example",
    )


def test_a_member_can_be_given_another_role(site: Site) -> None:
    """Adding somebody again changes what they are, not how often they are there."""
    site.directory.add_to_organization(site.acme, BOB, "admin")
    assert site.chat.can_manage(BOB, site.acme)
    site.directory.add_to_organization(site.acme, BOB, "member")
    assert not site.chat.can_manage(BOB, site.acme)
