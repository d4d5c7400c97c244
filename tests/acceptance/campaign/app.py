"""The campaign's server program: a small chat with three orchestrators, made to be killed.

`CAMPAIGN_FOLDER` says where everything is, `CAMPAIGN_MODEL` where the fake Claude is, `CAMPAIGN_DATABASE` which
database holds it where that is not a SQLite file.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flask import Flask, jsonify, request
from flask_login import LoginManager, UserMixin, current_user, login_user
from flask_socketio import SocketIO
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

from flask_neolith_orchestrator import IncomingMessage, NeolithOrchestrator, OrchestratorUserMixin
from flask_neolith_orchestrator.backends.claude import ClaudeModel
from flask_neolith_orchestrator.core.cancel import Cancel
from flask_neolith_orchestrator.core.model import Model, ModelEvent, ModelRequest
from flask_neolith_orchestrator.core.types import Cause, Wanted
from flask_neolith_orchestrator.testing import Parts, ScriptedModel

from .ledger import write_down
from .questions import HANDLES, LIMIT, answer, asked

PEOPLE = ("maya", "noor", "otto")
LEDGER = "scripted-calls"
PLACES = "places.json"
db = SQLAlchemy()
login_manager = LoginManager()


class User(OrchestratorUserMixin, UserMixin, db.Model):  # type: ignore[name-defined,misc]  # made at run time
    """A user: 1 to 3 are people, 4 to 6 orchestrators."""

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


neolith = NeolithOrchestrator(db=db, user_model=User)


def folder() -> Path:
    """Where the database, the ledgers and the logs are."""
    return Path(os.environ["CAMPAIGN_FOLDER"])


@login_manager.user_loader  # type: ignore[untyped-decorator]  # flask_login has no types
def load_user(user_id: str) -> User | None:
    """For flask-login."""
    return db.session.get(User, int(user_id))


class LoggedScripted:
    """The offline model with a ledger. Lifetime: the process."""

    name = "scripted"

    def __init__(self, who: str) -> None:
        self._who = who
        self._numbers = itertools.count(1)

    def check(self) -> None:
        """Nothing is needed."""

    def stream(self, wanted: ModelRequest, cancel: Cancel) -> Iterator[ModelEvent]:
        """Answer what is asked, and write down when."""
        handle, last = HANDLES[wanted.model], wanted.messages[-1].text
        numbers, seconds = asked(handle, last)
        call = f"s{self._who}.{next(self._numbers)}"
        write_down(folder() / LEDGER, call=call, who=self._who, handle=handle, asked=numbers, begin=time.monotonic())
        said = answer(numbers, call)
        inner = ScriptedModel(delay=seconds / len(said.split()), replies=[said])
        try:
            yield from inner.stream(wanted, cancel)
        finally:
            write_down(folder() / LEDGER, call=call, end=time.monotonic(), cut=cancel.is_set())

    def close(self) -> None:
        """Nothing to close."""


def create_app(who: str = "seed", socketio: SocketIO | None = None) -> Flask:
    """Make the app; `who` names the process in every ledger."""
    app = Flask(__name__, instance_path=str(folder()))
    app.config.update(
        SECRET_KEY="x",
        SQLALCHEMY_DATABASE_URI=os.environ.get("CAMPAIGN_DATABASE", f"sqlite:///{folder() / 'app.db'}"),
        ORCHESTRATOR_MODE=True,
        NEOLITH_RATE_ORCHESTRATOR="",
        NEOLITH_RATE_PERSON="",
        NEOLITH_RATE_POSTS="",
        DAEMON_MAX_CONCURRENT_CONVERSATIONS=LIMIT,
        NEOLITH_HISTORY_LIMIT=12,
    )
    db.init_app(app)
    login_manager.init_app(app)
    if socketio is not None:
        socketio.init_app(app)
    claude = ClaudeModel(api_key=who, base_url=os.environ.get("CAMPAIGN_MODEL"))
    scripted = LoggedScripted(who)

    def model_for(name: str) -> Model:
        return scripted if name == "scripted" else claude

    neolith.init_app(app, socketio=socketio, parts=Parts(model_for=model_for))
    _add_routes(app, who)
    return app


def _add_routes(app: Flask, who: str) -> None:
    @app.get("/")
    def home() -> Any:
        return jsonify(who=who)

    @app.post("/login/<int:user_id>")
    def log_in(user_id: int) -> str:
        login_user(db.session.get(User, user_id))
        return "Welcome."

    @app.post("/again")
    def again() -> Any:
        """A host whose own code accepts a message that has been accepted already, as a second web hook would."""
        given = request.get_json()
        message = IncomingMessage(
            given["id"], given["content"], given["channelId"], str(current_user.id), time.time(), given["threadId"]
        )
        accepted = neolith.accept(message)
        db.session.commit()
        return jsonify([one.reason for one in accepted])


def seed() -> None:
    """Everybody, two channels with some threads each, a direct message per orchestrator; all are wanted."""
    app = create_app()
    with app.app_context():
        _fill(app)


def _fill(app: Flask) -> None:
    db.create_all()
    db.session.add_all([User(name=name) for name in PEOPLE])
    for model, handle in HANDLES.items():
        db.session.add(User(name=handle, is_orchestrator=True, orchestrator_config={"charter": {"model": model}}))
    db.session.flush()
    home = neolith.directory.create_organization("Home", "home")
    for n in range(len(PEOPLE)):
        neolith.directory.add_to_organization(home, str(n + 1), "owner")
    users = [str(len(PEOPLE) + n + 1) for n in range(len(HANDLES))]
    made = [
        neolith.directory.create_orchestrator(user, home, handle)
        for user, handle in zip(users, HANDLES.values(), strict=True)
    ]
    everybody = [str(n + 1) for n in range(1, len(PEOPLE))] + users
    places: list[dict[str, str | None]] = []
    for name in ("general", "random"):
        channel = neolith.chat.create_channel("1", organization_id=home, name=name, member_ids=everybody)["id"]
        roots = [neolith.chat.post("1", channel, f"Subject {n}").message["id"] for n in range(3)]
        places += [{"channel": channel, "thread": root, "dm": None} for root in [None, *roots]]
    for user, handle in zip(users, HANDLES.values(), strict=True):
        places.append({"channel": neolith.chat.open_dm("1", [user])["id"], "thread": None, "dm": handle})
    db.session.commit()
    state = app.extensions["neolith"]
    state.keep_quiet()
    with state.house.database.write() as tx:
        for orchestrator_id in made:
            state.house.daemons.want(tx, orchestrator_id, Wanted.RUNNING, Cause.PERSON)
    (folder() / PLACES).write_text(json.dumps(places))
