"""From SQLite to Postgres with real rows, and from one release's tables to the next with Alembic: as the docs say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import inspect, make_url, select, text

from flask_neolith_orchestrator.core.cancel import Cancel
from flask_neolith_orchestrator.core.model import ModelEvent, ModelRequest
from flask_neolith_orchestrator.store.tables.models import SCHEMA_VERSION
from flask_neolith_orchestrator.testing import ManualClock
from tests.hosts import migrated
from tests.hosts.test_hosts import running, voices

from .asking import Box, Caller
from .asking import give as give_box
from .charters import give
from .conftest import MakeWorld
from .postgres_server import PostgresServer
from .stage import Door, Scene, Stage
from .test_cli import run
from .test_manners import MONDAY, SUNDAY
from .test_stop_and_notices import host_message
from .world import World, until

__all__ = ["voices"]

WAITING = [("parked", None), ("waiting", "hours"), ("waiting", "budget"), ("answered", None)]
"""State of each delivery, and what it is held for, where nothing can go on by itself."""

pytestmark = pytest.mark.postgres


def contents(world: World) -> list[tuple[str, str, str]]:
    """What was said, in order, with its thread."""
    return [(str(row["parent_id"]), row["state"], row["content"]) for row in world.rows("Message")]


@pytest.fixture
def old(make_world: MakeWorld) -> World:
    """A chat on a SQLite file: one thread that was answered, one question that waits, and a turn that was cut off."""
    world = make_world(orchestrators=("ada", "bee"))
    thread = world.thread()
    world.post("ann", "@ada one", thread=thread)
    world.start("ada")
    world.rest()
    with world.context():
        world.neolith.manager.stop_daemon(world.ada)
        ann: Any = world.db.session.get(world.user, int(world.ids["ann"]))
        ann.orchestrator_config = {"note": {"é": [1, None]}}
        world.db.session.commit()
    world.post("bob", "@ada two, please", thread=thread)
    world.neolith.shutdown(world.app, 2.0)
    return world


def moved(make_world: MakeWorld, old: World, url: str, *, tables: bool = True) -> World:
    """The same app, configured for an empty database with its tables."""

    def empty(people: tuple[str, ...], orchestrators: tuple[str, ...]) -> tuple[str, World]:
        return url, old

    world = make_world(on=empty)
    if tables:
        with world.context():
            world.db.create_all()
            world.neolith.create_tables()
    return world


def file_of(world: World) -> str:
    """The URL of its database."""
    return str(world.app.config["SQLALCHEMY_DATABASE_URI"])


def test_a_chat_moves_to_postgres_and_goes_on(make_world: MakeWorld, old: World, postgres: PostgresServer) -> None:
    """Every row is there with its type; what waited is answered, the old conversation continues, new keys are new."""
    new = moved(make_world, old, postgres.database())
    said = run(new, "copy", "--from", file_of(old))
    assert re.search(r"^ +4  user$", said, re.MULTILINE)
    assert contents(new) == contents(old)
    tables = [table for table in new.neolith.models.tables() if table.name not in ("neolith_node", "neolith_schema")]
    for table in [new.user.__table__, *tables]:
        order = list(table.primary_key.columns)
        with old.stores.database.read() as before, new.stores.database.read() as after:
            statement = select(table).order_by(*order)
            assert [tuple(row) for row in after.execute(statement)] == [tuple(row) for row in before.execute(statement)]
    nulls = text('SELECT name FROM "user" WHERE vp_config IS NULL AND NOT is_vp ORDER BY name')
    with new.stores.database.read() as tx:  # NULL is not JSON's null
        assert [row[0] for row in tx.execute(nulls)] == ["bob"]
    new = make_world(like=new, model=new.model)  # a command's process runs nothing
    asked: list[str] = []

    def note(scene: Scene) -> list[str]:
        asked.append("\n".join(str(one.content) for one in scene.request.messages))
        return ["Here."]

    new.model.script = note
    new.start("ada")
    new.rest()
    assert new.deliveries() == ["answered", "answered"]
    assert "@ada two, please" in asked[0]
    assert "@ada one" in asked[0]  # what was said before the move
    new.post("ann", "@bee hello")
    new.start("bee")
    new.rest()
    assert new.deliveries() == ["answered"] * 3


def test_what_was_running_when_its_process_was_killed_moves_too(
    make_world: MakeWorld, old: World, postgres: PostgresServer
) -> None:
    """The old database as a crash leaves it: its turn is taken over after the move, and answered once."""
    door = Door()

    def hold(scene: Scene) -> list[str]:
        door.wait(scene.cancel)
        return ["Late."]

    copy = make_world(like=old)
    copy.model.script = hold
    copy.start("ada")
    copy.model.wait_running(1)
    new = moved(make_world, old, postgres.database())
    assert "stop the app first" in run(new, "copy", "--from", file_of(old), fails=True)
    assert new.rows("Message") == []
    with copy.stores.database.write() as tx:
        tx.execute(text("UPDATE neolith_node SET seen_at = seen_at - 100"))
    said = run(new, "copy", "--from", file_of(old))
    assert "neolith_delivery" in said
    copy.model.script = lambda _scene: ["Anew."]
    door.open()
    copy.neolith.shutdown(copy.app, 2.0)
    new = make_world(like=new, model=new.model)
    new.model.script = lambda _scene: ["After the move."]
    new.start("ada")
    until(lambda: set(new.deliveries()) == {"answered"}, "its lease is over, and another attempt is made")
    assert [row["content"] for row in new.answers()][-1] == "After the move."


class Announcer(Caller):
    """Calls its tool where somebody wants everybody told, and else answers at once."""

    def stream(self, request: ModelRequest, cancel: Cancel) -> Iterator[ModelEvent]:
        """One call of the model."""
        asked = "tell everybody" in str([one.content for one in request.messages])
        return super().stream(request, cancel) if asked else Stage.stream(self, request, cancel)


def test_what_waits_for_something_still_waits_after_the_move(make_world: MakeWorld, postgres: PostgresServer) -> None:
    """A call for a person's word, messages for the hours and for the budget, a letter for its listener: each is as it
    was, and goes on once."""
    clock, box, model = ManualClock(SUNDAY), Box(), Announcer()
    more: dict[str, Any] = {"model": model, "clock": clock}
    old = give_box(make_world(orchestrators=("ada", "bee", "cal", "dee"), **more), box)
    give(old, "bee", {"availability": {"hours": {"mon": ["09:00-17:00"]}, "offline_message": "Closed."}})
    give(old, "cal", {"limits": {"tokens_per_hour": 10}})
    old.start()
    for question in ("@ada tell everybody", "@bee one", "@cal two"):
        old.post("bob", question)
        old.rest()
    with old.context():
        old.neolith.accept(host_message(old, "q1", "@dee four"), to=[old.orchestrators["dee"]])
        old.db.session.commit()
    old.rest()
    old.neolith.shutdown(old.app, 2.0)
    assert [(row["state"], row["held"]) for row in old.rows("Delivery")] == WAITING
    new = moved(make_world, old, postgres.database())
    run(new, "copy", "--from", file_of(old))
    new = give_box(make_world(like=new, **more), box)
    told: list[str] = []
    with new.context():
        new.neolith.manager.on("daemon:message-send", lambda response, **_: told.append(response.content))
    new.start()
    until(lambda: told, "the letter is told")
    new.rest()  # meanwhile a new process asks the budget once: it cannot know whether it was raised
    until(lambda: [(row["state"], row["held"]) for row in new.rows("Delivery")] == WAITING, "all wait as before")
    assert (len(model.scenes), box.runs) == (1, [])  # of them dee alone was answered, before the move
    turn = str(new.rows("Turn", state="parked")[0]["id"])
    with new.context():
        decided = [new.neolith.chat.decide(new.ids["bob"], turn, "approve")["resumed"] for _ in range(2)]
        new.db.session.commit()
    assert decided == [True, False]
    new.rest()
    assert len(box.runs) == 1
    assert [row["content"].split("\n")[0] for row in new.answers()] == ["I would announce it."]
    assert new.answers()[0]["state"] == "final"
    give(new, "cal", {"limits": {"tokens_per_hour": 10_000}})
    clock.advance(MONDAY - SUNDAY)
    new.house.sweeper.ring_ready()
    until(lambda: set(new.deliveries()) == {"answered"}, "the office is open, and another hour has begun")
    new.rest()
    assert len(model.scenes) == 3
    assert (told[0], len(told)) == ("You said: [ann]: @dee four", 4)
    assert all(row["sent_at"] for row in new.rows("Outbox"))


def test_nothing_is_copied_where_it_does_not_fit(make_world: MakeWorld, old: World, postgres: PostgresServer) -> None:
    """A target that has rows, one without tables, a source of another release, no source at all: each is named, and
    the target stays as it was."""
    bare = moved(make_world, old, postgres.database(), tables=False)
    assert "create the app's own tables first" in run(bare, "copy", "--from", file_of(old), fails=True)
    new = moved(make_world, old, postgres.database())
    assert "no database of this app" in run(new, "copy", "--from", "sqlite:///:memory:", fails=True)
    for url in (file_of(new), file_of(new).replace("/data&", "/data/.&")):
        assert "very database, postgresql+psycopg://postgres:***@" in run(new, "copy", "--from", url, fails=True)
    with old.stores.database.write() as tx:
        tx.execute(text("UPDATE neolith_schema SET version = 3"))
    assert "of version 3" in run(new, "copy", "--from", file_of(old), fails=True)
    with old.stores.database.write() as tx:
        tx.execute(text(f"UPDATE neolith_schema SET version = {SCHEMA_VERSION}"))
        tx.execute(text("UPDATE neolith_message SET content = 'a' || char(0) WHERE id = 2"))
    assert "neolith_message cannot be copied" in run(new, "copy", "--from", file_of(old), fails=True)
    assert new.rows("Message") == []
    with old.stores.database.write() as tx:
        tx.execute(text("UPDATE neolith_message SET content = 'a' WHERE id = 2"))
    run(new, "copy", "--from", file_of(old))
    again = run(new, "copy", "--from", file_of(old), fails=True)
    assert "not empty" in again
    assert "neolith_message" in again
    assert len(new.rows("Message")) == len(old.rows("Message"))


def test_a_mistyped_path_is_named_and_makes_no_file(make_world: MakeWorld, tmp_path: Path) -> None:
    """Relative ones are in the instance folder, as in the configuration; a folder, a text and the app's own database by
    another name are refused by name too."""
    world = make_world()
    (tmp_path / "text.db").write_text("no database, however long it is " * 100)
    (tmp_path / "empty.db").touch()
    (tmp_path / "own.db").hardlink_to(str(make_url(file_of(world)).database))
    before = sorted(tmp_path.rglob("*"))
    for url, said in (
        ("sqlite:///none.db", f"There is no file {tmp_path}/none.db. (A relative"),
        (f"sqlite:///{tmp_path}/typo/app.db", f"There is no file {tmp_path}/typo/app.db."),
        ("sqlite:///file:none.db?uri=true", f"There is no file {tmp_path}/none.db."),
        (f"sqlite:///{tmp_path}", f"There is no file {tmp_path}."),
        ("sqlite:///text.db", f"no database of this app at sqlite:///{tmp_path}/text.db"),
        ("sqlite:///empty.db", f"no database of this app at sqlite:///{tmp_path}/empty.db"),
        ("sqlite:///own.db", f"this very database, {file_of(world)}: set SQLALCHEMY_DATABASE_URI"),
        ("sqlite:///file:own.db?uri=true", "this very database"),
        ("no url", "Could not parse"),
    ):
        assert said in run(world, "copy", "--from", url, fails=True), url
    assert sorted(tmp_path.rglob("*")) == before


def flask(app: Flask, *arguments: str) -> str:
    """What a command of the host's says."""
    result = app.test_cli_runner().invoke(args=list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


def options(tx: Any, table: str) -> set[str]:
    """A table's options."""
    return set(
        tx.execute(text("SELECT reloptions FROM pg_class WHERE relname = :name"), {"name": table}).scalar() or []
    )


@pytest.mark.usefixtures("voices")
@pytest.mark.filterwarnings("ignore:'get_engine' is deprecated:DeprecationWarning")  # its env.py
def test_alembic_makes_our_tables_and_brings_them_up_to_date(tmp_path: Path, postgres: PostgresServer) -> None:
    """`db migrate` and `db upgrade` make them with their options; a later release's indexes come the same way, and
    create-tables does what Alembic does not compare; a host with UUID keys moves there from SQLite."""
    db, neolith, user, message = migrated.db, migrated.neolith, migrated.User, migrated.Message
    with running(migrated.create_app(tmp_path), neolith, db) as app:
        for command in (("db", "init"), ("db", "migrate", "-m", "all"), ("db", "upgrade")):
            flask(app, *command)
        maya, ada = user(full_name="Maya"), user(full_name="Ada", is_orchestrator=True)
        db.session.add_all([maya, ada])
        db.session.flush()
        home = neolith.directory.create_organization("Home", "home")
        neolith.directory.add_to_organization(home, str(maya.id), "owner")
        made = neolith.directory.create_orchestrator(str(ada.id), home, "ada")
        db.session.commit()
        person = app.test_client()
        person.post(f"/login/{maya.id}")
        root = person.post("/rooms/lobby", json={"text": "@ada what is new?"}).text
        ids = {"maya": maya.id, "ada": ada.id}
    url = postgres.database()
    with running(migrated.create_app(tmp_path, SQLALCHEMY_DATABASE_URI=url), neolith, db) as app:
        flask(app, "db", "upgrade")
        flask(app, "neolith", "copy", "--from", f"sqlite:///{tmp_path / 'host.db'}")
        with db.engine.begin() as tx:
            assert "fillfactor=80" in options(tx, "neolith_message")
            assert neolith.create_tables() == []
            # as the release before left it
            for index in ("ix_neolith_delivery_age", "ix_neolith_delivery_held"):
                tx.execute(text(f"DROP INDEX {index}"))
            tx.execute(text("ALTER TABLE neolith_message RESET (fillfactor)"))
            tx.execute(text(f"UPDATE neolith_schema SET version = {SCHEMA_VERSION - 1}"))
        flask(app, "db", "migrate", "-m", "neolith")
        flask(app, "db", "upgrade")
        indexes = {one["name"] for one in inspect(db.engine).get_indexes("neolith_delivery")}
        assert {"ix_neolith_delivery_age", "ix_neolith_delivery_held"} <= indexes
        said = flask(app, "neolith", "create-tables")
        assert said.split("\n")[:2] == ["neolith_message (fillfactor = 80)", f"version {SCHEMA_VERSION}"]
        flask(app, "db", "check")
    with running(migrated.create_app(tmp_path, SQLALCHEMY_DATABASE_URI=url), neolith, db):
        neolith.manager.start_daemon(made)
        neolith.run_until_idle()
        answers = db.session.scalars(db.select(message).filter_by(author_id=ids["ada"])).all()
        assert [(str(one.root_id), one.state) for one in answers] == [(root, "final")]
