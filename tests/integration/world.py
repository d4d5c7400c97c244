"""A host app with people, orchestrators and a channel, on any database. Made anew for each test."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import MetaData, select
from sqlalchemy.orm import Mapped, mapped_column

from flask_neolith_orchestrator import NeolithOrchestrator, OrchestratorUserMixin
from flask_neolith_orchestrator.core.ports import ChatStore, Clock
from flask_neolith_orchestrator.runtime.house import House
from flask_neolith_orchestrator.runtime.wiring import Parts, SystemClock
from flask_neolith_orchestrator.store.stores import Stores
from flask_neolith_orchestrator.testing import RecordingChannel

from .stage import PATIENCE, Stage

QUICK = {
    "DAEMON_LEASE": 1_000,
    "DAEMON_RENEW_INTERVAL": 200,
    "DAEMON_SWEEP_INTERVAL": 200,
    "DAEMON_STOP_TIMEOUT": 2_000,
    "NEOLITH_DELTA_INTERVAL": 20,
    "NEOLITH_CHECKPOINT_INTERVAL": 100,
    "NEOLITH_RATE_ORCHESTRATOR": "",
    "NEOLITH_RATE_PERSON": "",
    "NEOLITH_RATE_POSTS": "",
    "NEOLITH_SUMMARY_MODEL": "",
}
"""Settings that make waiting short, let one person ask as much as a test likes, and nothing sum up what was said."""


def until(true: Callable[[], Any], what: str, timeout: float = PATIENCE) -> Any:
    """What `true` gives, once it is true: for what has no event of its own. Raises TimeoutError."""
    deadline, pause = time.monotonic() + timeout, threading.Event()
    while True:
        found = true()
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"Never happened: {what}")
        pause.wait(0.005)


@dataclass
class World:
    """One app in one "process", and who is in it. `ids` are user ids by name."""

    app: Flask
    db: SQLAlchemy
    neolith: NeolithOrchestrator
    user: type[Any]
    channel: RecordingChannel
    model: Stage
    ids: dict[str, str] = field(default_factory=dict)
    orchestrators: dict[str, str] = field(default_factory=dict)
    organization: str = ""
    general: str = ""
    pools: set[Any] = field(default_factory=set)

    def know(self, other: World) -> None:
        """The same people on a copy of the same database, or on the same one."""
        self.ids, self.orchestrators = dict(other.ids), dict(other.orchestrators)
        self.organization, self.general = other.organization, other.general

    @property
    def house(self) -> House:
        """The parts of this process."""
        house: House = self.app.extensions["neolith"].house
        return house

    @property
    def stores(self) -> Stores:
        """The store of this process."""
        return self.house.stores

    @property
    def ada(self) -> str:
        """The first orchestrator's id."""
        return self.orchestrators["ada"]

    def context(self) -> AbstractContextManager[Any]:
        """The app context."""
        return self.app.app_context()

    def start(self, *names: str) -> None:
        """Start orchestrators' daemons."""
        with self.context():
            for name in names or self.orchestrators:
                self.neolith.manager.start_daemon(self.orchestrators[name])

    def post(self, who: str, text: str, *, channel: str | None = None, thread: str | None = None) -> dict[str, Any]:
        """Post a message and commit."""
        with self.context():
            posted = self.neolith.chat.post(self.ids[who], channel or self.general, text, thread_id=thread)
            self.db.session.commit()
            return posted.message

    def thread(self, who: str = "ann") -> str:
        """The id of a new thread in the channel, to which nobody is called yet."""
        return str(self.post(who, "Let us talk here.")["id"])

    def stop(self, who: str, message_id: str) -> dict[str, Any]:
        """Press Stop."""
        with self.context():
            found: dict[str, Any] = self.neolith.chat.stop(self.ids[who], message_id)
            self.db.session.commit()
            return found

    def delete(self, who: str, message_id: str) -> None:
        """Delete a message."""
        with self.context():
            self.neolith.chat.delete(self.ids[who], message_id)
            self.db.session.commit()

    def rest(self, timeout: float = PATIENCE) -> None:
        """Wait until all work is done."""
        with self.context():
            self.neolith.run_until_idle(timeout)

    def rows(self, name: str, **where: Any) -> list[Mapping[str, Any]]:
        """Committed rows of one of our tables, by their columns, in order of their key."""
        table = self.neolith.models.table(name)
        statement = select(table).order_by(*table.primary_key.columns)
        for key, value in where.items():
            statement = statement.where(table.c[key] == value)
        with self.stores.database.read() as tx:
            return [dict(row) for row in tx.execute(statement).mappings()]

    def deliveries(self) -> list[str]:
        """States of all deliveries, oldest first."""
        return [row["state"] for row in self.rows("Delivery")]

    def answers(self, name: str = "ada") -> list[Mapping[str, Any]]:
        """Rows of what an orchestrator said, oldest first."""
        return [row for row in self.rows("Message") if str(row["author_id"]) == self.ids[name]]

    def close(self) -> None:
        """Stop the process's runtime and give the host's connections back."""
        self.neolith.shutdown(self.app, 2.0)
        with self.context():
            self.db.session.remove()
            self.pools |= {engine.pool for engine in self.db.engines.values()}
            for engine in self.db.engines.values():
                engine.dispose()

    def close_late(self) -> None:
        """Close what a thread gave back that outlived `close` by a moment; that it has ended is looked at before."""
        with self.context():
            for pool in self.pools | {engine.pool for engine in self.db.engines.values()}:
                pool.dispose()


@cache
def _mapped() -> tuple[MetaData, type[Any]]:
    """The host's user class, and the metadata with all tables. Made once: mapping them costs more than most tests."""
    db = SQLAlchemy()

    class User(OrchestratorUserMixin, db.Model):  # type: ignore[name-defined,misc]  # made at run time
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]
        visits: Mapped[int] = mapped_column(default=0)

    return db.metadata, User


def build(
    url: str,
    folder: Path,
    *,
    clock: Clock | None = None,
    model: Stage | None = None,
    chat_store: ChatStore | None = None,
    channel: RecordingChannel | None = None,
    pages: bool = False,
    **config: Any,
) -> World:
    """An app on the database `url`. Our routes are there where a test asks for `pages`: Flask takes long for them."""
    metadata, user_model = _mapped()
    db = SQLAlchemy(metadata=metadata)
    app = Flask("world", instance_path=str(folder))
    app.config.update(SECRET_KEY="tests", SQLALCHEMY_DATABASE_URI=url, ORCHESTRATOR_MODE=True, **QUICK)
    app.config.update(config)
    neolith = NeolithOrchestrator(db=db, user_model=user_model)
    db.init_app(app)
    heard = channel or RecordingChannel()
    stage = model or Stage()
    parts = Parts(clock=clock or SystemClock(), model_for=lambda _name: stage, channel=heard)
    neolith.init_app(app, chat_store=chat_store, parts=parts, register_blueprint=pages)
    return World(app, db, neolith, user_model, heard, stage)


def settle_down(world: World, people: Sequence[str], orchestrators: Sequence[str]) -> None:
    """Make the tables, and put people and orchestrators into an organization and a channel."""
    neolith, db = world.neolith, world.db
    with world.context():
        db.create_all()
        neolith.create_tables()
        for name in (*people, *orchestrators):
            user = world.user(name=name, is_orchestrator=name in orchestrators)
            db.session.add(user)
            db.session.flush()
            world.ids[name] = str(user.id)
        world.organization = neolith.directory.create_organization("Acme", "acme")
        neolith.directory.add_to_organization(world.organization, world.ids[people[0]], "owner")
        for name in people[1:]:
            neolith.directory.add_to_organization(world.organization, world.ids[name])
        for name in orchestrators:
            made = neolith.directory.create_orchestrator(world.ids[name], world.organization, name)
            world.orchestrators[name] = made
        everybody = [world.ids[name] for name in (*people[1:], *orchestrators)]
        channel = neolith.chat.create_channel(
            world.ids[people[0]], organization_id=world.organization, name="general", member_ids=everybody
        )
        world.general = channel["id"]
        db.session.commit()


def open_files() -> set[str]:
    """Sockets and database files that this process has open."""
    found = set()
    for entry in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{entry}")
        except OSError:
            continue
        if target.startswith("socket:") or ".db" in target or target.endswith(".lock"):
            found.add(target)
    return found


def our_threads() -> list[str]:
    """Names of our threads that live."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("neolith-")]
