"""A host's user ids may be numbers, text or UUIDs, on SQLite and on Postgres."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_login import LoginManager, UserMixin, login_user
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String, Uuid
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import TypeEngine

from flask_neolith_orchestrator import NeolithOrchestrator, OrchestratorUserMixin
from flask_neolith_orchestrator.testing import ScriptedModel, run_until_idle, use_model

KEYS: dict[str, tuple[TypeEngine[Any], Any, Any]] = {
    "uuid": (Uuid(), uuid.UUID(int=1), uuid.UUID(int=2)),
    "text": (String(40), "maya/1", "ada/1"),
}


def make(url: str, kind: TypeEngine[Any], folder: Path) -> tuple[Flask, SQLAlchemy, Any, NeolithOrchestrator]:
    db = SQLAlchemy()

    class User(OrchestratorUserMixin, UserMixin, db.Model):  # type: ignore[name-defined,misc]  # made at run time
        id: Mapped[Any] = mapped_column(kind, primary_key=True)
        name: Mapped[str]

        def get_id(self) -> str:
            """Not the primary key, which is allowed."""
            return f"session-of-{self.name}"

    neolith = NeolithOrchestrator(db=db, user_model=User)
    app = Flask(__name__, instance_path=str(folder))
    app.config.update(SECRET_KEY="test", SQLALCHEMY_DATABASE_URI=url, ORCHESTRATOR_MODE=True)
    db.init_app(app)
    login = LoginManager(app)
    login.user_loader(lambda text: db.session.scalar(db.select(User).filter_by(name=text.removeprefix("session-of-"))))

    @app.post("/login/<name>")
    def log_in(name: str) -> str:
        login_user(db.session.scalar(db.select(User).filter_by(name=name)))
        return "ok"

    neolith.init_app(app)
    return app, db, User, neolith


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_a_mention_is_answered_whatever_the_ids_are(
    database: str, key: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """An orchestrator with a text or UUID id logs in, is mentioned, and answers; its user id is `str(primary key)`."""
    url = f"sqlite:///{tmp_path}/app.db"
    if database == "postgres":
        url = request.getfixturevalue("postgres").database()
    kind, maya, ada = KEYS[key]
    app, db, user, neolith = make(url, kind, tmp_path)
    with app.app_context(), use_model(app, ScriptedModel(replies=["Here."])):
        db.create_all()
        db.session.add_all([user(id=maya, name="maya"), user(id=ada, name="ada", is_orchestrator=True)])
        db.session.flush()
        organization = neolith.directory.create_organization("Acme", "acme")
        neolith.directory.add_to_organization(organization, str(maya), "owner")
        neolith.directory.create_orchestrator(str(ada), organization, "ada")
        channel = neolith.chat.create_channel(
            str(maya), organization_id=organization, name="general", member_ids=[str(ada)]
        )
        db.session.commit()
        app.test_client().post("/login/ada")
        asked = neolith.chat.post(str(maya), channel["id"], "@ada are you there?")
        db.session.commit()
        run_until_idle(app)
        thread, _ = neolith.chat.messages(str(maya), channel["id"], thread_id=asked.message["id"])
        neolith.shutdown(app)
        db.session.remove()
        db.engine.dispose()
    assert [(one["author"]["id"], one["content"]) for one in thread[1:]] == [(str(ada), "Here.")]
