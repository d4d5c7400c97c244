"""A small host app to measure in: its own users, the extension through its front door, a SQLite file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from flask import Flask
from flask_login import LoginManager, UserMixin, login_user
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_neolith_orchestrator import NeolithOrchestrator, OrchestratorUserMixin


class Base(DeclarativeBase):
    """The host's own classes."""


db = SQLAlchemy(model_class=Base)


class User(OrchestratorUserMixin, UserMixin, db.Model):  # type: ignore[name-defined,misc]  # made by Flask-SQLAlchemy
    """The host's own user."""

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


neolith = NeolithOrchestrator(db=db, user_model=User)


@dataclass(frozen=True, slots=True)
class World:
    """An app with one organization, one channel, one person and some orchestrators."""

    app: Flask
    person: str
    channel: str
    orchestrators: tuple[str, ...]
    users: tuple[str, ...]


def make_app(folder: str, **settings: Any) -> Flask:
    """The host's application factory."""
    app = Flask("benchmarks", instance_path=folder)
    app.config.update(
        SECRET_KEY="benchmark",
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{folder}/benchmark.db",
        ORCHESTRATOR_MODE=True,
        NEOLITH_MODEL="scripted",
        **settings,
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

    neolith.init_app(app)
    return app


@contextmanager
def world(orchestrators: int = 1, **settings: Any) -> Iterator[World]:
    """An app in a folder of its own, with demo data; its runtime is stopped at the end."""
    with tempfile.TemporaryDirectory() as folder:
        app = make_app(folder, **settings)
        try:
            with app.app_context():
                made = _fill(app, orchestrators)
            yield made
        finally:
            app.extensions["neolith"].close()
            with app.app_context():
                db.engine.dispose()


def _fill(app: Flask, orchestrators: int) -> World:
    db.create_all()
    person = User(name="Maya")
    agents = [User(name=f"Agent {number}", is_orchestrator=True) for number in range(orchestrators)]
    db.session.add_all([person, *agents])
    db.session.flush()
    organization = neolith.directory.create_organization("Benchmarks", "benchmarks")
    neolith.directory.add_to_organization(organization, str(person.id), "owner")
    ids = [
        neolith.directory.create_orchestrator(str(agent.id), organization, f"agent{number}")
        for number, agent in enumerate(agents)
    ]
    channel = neolith.chat.create_channel(
        str(person.id), organization_id=organization, name="general", member_ids=[str(one.id) for one in agents[:50]]
    )
    db.session.commit()
    return World(app, str(person.id), channel["id"], tuple(ids), tuple(str(one.id) for one in agents))
