"""A host app for tests with real processes. It writes down what happens in which process, in files of its folder.

`NEOLITH_TEST_FOLDER` says where: `app.db` (`NEOLITH_TEST_DATABASE` may name another database), `calls` (one line per
model call), `told` (what browsers would hear; with `NEOLITH_TEST_SOCKETS` they really hear it) and `ends` (one line per
process that ended in order: what it was, and its threads of ours). `NEOLITH_TEST_QUEUE` is Flask-SocketIO's message
queue, `NEOLITH_TEST_MORE` how many further orchestrators there are: one1, one2, ...; they are wanted from the start.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flask import Flask, current_app
from flask_login import LoginManager, UserMixin, login_user, logout_user
from flask_socketio import SocketIO
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

from flask_neolith_orchestrator import NeolithOrchestrator, OrchestratorUserMixin
from flask_neolith_orchestrator.core.cancel import Cancel
from flask_neolith_orchestrator.core.model import ModelEvent, ModelRequest, ModelStop, TextDelta
from flask_neolith_orchestrator.core.types import Cause, Wanted
from flask_neolith_orchestrator.testing import Parts

FOLDER = Path(os.environ["NEOLITH_TEST_FOLDER"])
db = SQLAlchemy()
login_manager = LoginManager()


class User(OrchestratorUserMixin, UserMixin, db.Model):  # type: ignore[name-defined,misc]  # made at run time
    """A user: 1 is maya, 2 is ada and 3 is leo, both orchestrators."""

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


neolith = NeolithOrchestrator(db=db, user_model=User)


def write_down(name: str, **what: Any) -> None:
    """Append a line that no other process can tear."""
    line = json.dumps({"pid": os.getpid(), **what}) + "\n"
    file = os.open(FOLDER / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, line.encode())
    os.close(file)


class SlowModel:
    """Says what it was asked; takes as long as the question says: "for 1.5 s". Lifetime: the process."""

    name = "slow"

    def check(self) -> None:
        """Nothing is needed."""

    def stream(self, request: ModelRequest, cancel: Cancel) -> Iterator[ModelEvent]:
        """Think for a while."""
        asked = request.messages[-1].text
        write_down("calls", asked=asked)
        yield TextDelta("Well, ")
        if " for " in asked:
            cancel.wait(float(asked.rpartition(" for ")[2].split()[0]))
        cancel.check()
        yield TextDelta(asked)
        yield ModelStop("end_turn", self.name)

    def close(self) -> None:
        """Nothing to close."""


class ToldChannel:
    """A channel that writes presence down. Lifetime: the process."""

    def emit(self, event: str, payload: Mapping[str, Any], room: str) -> None:
        """Write presence down."""
        if event == "presence":
            write_down("told", handle=payload["handle"], status=payload["status"])

    def cut(self, room: str) -> None:
        """Nobody to cut."""

    def health(self) -> Mapping[str, Any]:
        """Always well."""
        return {"ok": True}


@login_manager.user_loader  # type: ignore[untyped-decorator]  # flask_login has no types
def load_user(user_id: str) -> User | None:
    """For flask-login."""
    return db.session.get(User, int(user_id))


def create_app() -> Flask:
    """Make the app."""
    app = Flask(__name__, instance_path=str(FOLDER))
    url = os.environ.get("NEOLITH_TEST_DATABASE", f"sqlite:///{FOLDER / 'app.db'}")
    app.config.update(SECRET_KEY="x", SQLALCHEMY_DATABASE_URI=url, ORCHESTRATOR_MODE=True)
    app.config.update(NEOLITH_RATE_ORCHESTRATOR="", NEOLITH_RATE_PERSON="", NEOLITH_RATE_POSTS="")  # these hurry
    hurry = {"DAEMON_STOP_TIMEOUT": 4_000, "DAEMON_SWEEP_INTERVAL": 200}
    app.config.update({key: value for key, value in hurry.items() if key not in os.environ})
    db.init_app(app)
    login_manager.init_app(app)
    socketio = SocketIO(app, async_mode="threading", message_queue=os.environ.get("NEOLITH_TEST_QUEUE"))
    model = SlowModel()
    channel = None if "NEOLITH_TEST_SOCKETS" in os.environ else ToldChannel()
    neolith.init_app(app, socketio=socketio, parts=Parts(channel=channel, model_for=lambda _name: model))
    atexit.register(note_end, app)

    @app.get("/")
    def home() -> dict[str, int]:
        return {"pid": os.getpid()}

    @app.post("/login/<int:user_id>")
    def log_in(user_id: int) -> str:
        login_user(db.session.get(User, user_id))
        return "Welcome."

    @app.post("/logout")
    def log_out() -> str:
        logout_user()
        return "Goodbye."

    app.cli.command("seed")(seed)
    return app


def seed() -> None:
    """Everybody, and one channel."""
    db.create_all()
    more = [f"one{number + 1}" for number in range(int(os.environ.get("NEOLITH_TEST_MORE", "0")))]
    db.session.add_all([User(name="maya"), *(User(name=name, is_orchestrator=True) for name in ("ada", "leo", *more))])
    db.session.flush()
    home = neolith.directory.create_organization("Home", "home")
    neolith.directory.add_to_organization(home, "1", "owner")
    ids = [str(number + 2) for number in range(2 + len(more))]
    handles = zip(ids, ("ada", "leo", *more), strict=True)
    made = [neolith.directory.create_orchestrator(user_id, home, handle) for user_id, handle in handles]
    neolith.chat.create_channel("1", organization_id=home, name="general", member_ids=["2", "3"])
    if more:
        neolith.chat.create_channel("1", organization_id=home, name="crowd", member_ids=ids[2:])
    db.session.commit()
    state = current_app.extensions["neolith"]
    state.keep_quiet()
    with state.house.database.write() as tx:
        for orchestrator_id in made[2:]:
            state.house.daemons.want(tx, orchestrator_id, Wanted.RUNNING, Cause.PERSON)


def note_end(app: Flask) -> None:
    """How this process was just before its end: the extension's own exit handler runs after this one."""
    ours = [thread.name for thread in threading.enumerate() if thread.name.startswith("neolith-")]
    house = app.extensions["neolith"]._house
    write_down("ends", argv=sys.argv, threads=ours, started=house is not None and house._started.done)
