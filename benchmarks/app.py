"""A small host app to measure in: its own users, the extension through its front door, a SQLite file."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask
from flask_login import LoginManager, UserMixin, current_user, login_user
from flask_socketio import SocketIO
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_neolith_orchestrator import NeolithOrchestrator, OrchestratorUserMixin
from flask_neolith_orchestrator.testing import Parts

DATABASE = "benchmark.db"
VISIBLE = 10
"""Orchestrators in the channel; the others only belong to the organization."""


class Base(DeclarativeBase):
    """The host's own classes."""


db = SQLAlchemy(model_class=Base)


class User(OrchestratorUserMixin, UserMixin, db.Model):  # type: ignore[name-defined,misc]  # made by Flask-SQLAlchemy
    """The host's own user."""

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Note(db.Model):  # type: ignore[name-defined,misc]  # made by Flask-SQLAlchemy
    """A row of the host's own, which is none of our business."""

    id: Mapped[int] = mapped_column(primary_key=True)
    author: Mapped[str]
    text: Mapped[str]


neolith = NeolithOrchestrator(db=db, user_model=User)


@dataclass(frozen=True, slots=True)
class World:
    """An app with one organization, one channel, two persons and some orchestrators."""

    app: Flask
    folder: Path
    person: str
    other: str
    channel: str
    orchestrators: tuple[str, ...]
    users: tuple[str, ...]
    socketio: SocketIO | None = None


def make_app(
    folder: str | Path,
    socketio: SocketIO | None = None,
    *,
    with_us: bool = True,
    parts: Parts | None = None,
    **settings: Any,
) -> Flask:
    """The host's application factory. Settings of ours stay at their defaults unless given; but one may ask a lot."""
    app = Flask("benchmarks", instance_path=str(folder))
    app.config.update(
        SECRET_KEY="benchmark",
        NEOLITH_RATE_ORCHESTRATOR="",
        NEOLITH_RATE_PERSON="",
        NEOLITH_RATE_POSTS="",
        **{
            "ORCHESTRATOR_MODE": True,
            "NEOLITH_MODEL": "scripted",
            "SQLALCHEMY_DATABASE_URI": f"sqlite:///{folder}/{DATABASE}",
            **settings,
        },
    )
    db.init_app(app)
    manager = LoginManager(app)

    @manager.user_loader  # type: ignore[untyped-decorator]  # Flask-Login has no types
    def load(user_id: str) -> User | None:
        return db.session.get(User, int(user_id))

    @app.post("/login/<int:user_id>")
    def login(user_id: int) -> str:
        login_user(db.session.get(User, user_id))
        return "ok"

    @app.post("/note")
    def note() -> str:
        db.session.add(Note(author=current_user.get_id(), text="hello"))
        db.session.commit()
        return "ok"

    if socketio is not None:
        socketio.init_app(app)
    if with_us:
        neolith.init_app(app, socketio=socketio, parts=parts)
    return app


@contextmanager
def world(orchestrators: int = 1, *, sockets: bool = False, **settings: Any) -> Iterator[World]:
    """An app in a folder of its own, with demo data; its runtime is stopped at the end."""
    with tempfile.TemporaryDirectory() as folder:
        socketio = SocketIO(async_mode="threading") if sockets else None
        app = make_app(folder, socketio, **settings)
        try:
            with app.app_context():
                made = _fill(app, Path(folder), orchestrators, socketio)
            yield made
        finally:
            close(app)


@contextmanager
def plain_app(folder: str | Path) -> Iterator[Flask]:
    """The same host without us, for comparison; its SQLite is as quick as we make it (WAL, synchronous=NORMAL)."""
    app = make_app(folder, with_us=False)
    with app.app_context():
        event.listen(db.engine, "connect", _quick_pragmas)
        db.create_all()
    try:
        yield app
    finally:
        close(app)


def _quick_pragmas(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


@contextmanager
def copy_of(made: World, **settings: Any) -> Iterator[World]:
    """Another app on a copy of a closed app's database, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(made.folder / DATABASE, folder)
        app = make_app(folder, **settings)
        try:
            yield World(app, Path(folder), made.person, made.other, made.channel, made.orchestrators, made.users, None)
        finally:
            close(app)


def close(app: Flask) -> None:
    """Stop the app's runtime and give its database back, so that everything is in the one file."""
    if "neolith" in app.extensions:
        neolith.shutdown(app)
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


def _fill(app: Flask, folder: Path, orchestrators: int, socketio: SocketIO | None) -> World:
    db.create_all()
    person, other = User(name="Maya"), User(name="Noah")
    agents = [User(name=f"Agent {number}", is_orchestrator=True) for number in range(orchestrators)]
    db.session.add_all([person, other, *agents])
    db.session.flush()
    organization = neolith.directory.create_organization("Benchmarks", "benchmarks")
    neolith.directory.add_to_organization(organization, str(person.id), "owner")
    neolith.directory.add_to_organization(organization, str(other.id))
    # by the row, as a host's own seed would: through the directory ten thousand take half a minute
    rows = [
        {"user_id": agent.id, "organization_id": int(organization), "handle": f"agent{number}"}
        for number, agent in enumerate(agents)
    ]
    db.session.execute(insert(neolith.models.Orchestrator), rows)
    ids = db.session.scalars(select(neolith.models.Orchestrator.id).order_by(neolith.models.Orchestrator.id)).all()
    members = [str(other.id), *(str(one.id) for one in agents[:VISIBLE])]
    channel = neolith.chat.create_channel(
        str(person.id), organization_id=organization, name="general", member_ids=members
    )
    db.session.commit()
    users = tuple(str(one.id) for one in agents)
    return World(app, folder, str(person.id), str(other.id), channel["id"], tuple(map(str, ids)), users, socketio)


def want_running(made: World) -> None:
    """Leave the database as a process leaves it in which everybody ran by a person's wish."""
    with made.app.app_context():
        rows = [{"orchestrator_id": int(one), "wanted": "running", "cause": "person"} for one in made.orchestrators]
        db.session.execute(insert(neolith.models.Daemon), rows)
        db.session.commit()
