"""The host app of the soak. Everything about it comes from the environment; see `run.Site`.

`SOAK_LEAK` plants faults, so that a test can see the verdict turn red: any of `fd`, `thread`, `memory`, at each answer.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from flask import Flask, request
from flask_login import LoginManager, UserMixin, login_user, logout_user
from flask_socketio import SocketIO
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

from flask_neolith_orchestrator import NeolithOrchestrator, OrchestratorUserMixin

from .cast import ORCHESTRATORS, PEOPLE

FOLDER = Path(os.environ["SOAK_FOLDER"])
db = SQLAlchemy()
login_manager = LoginManager()


class User(OrchestratorUserMixin, UserMixin, db.Model):  # type: ignore[name-defined,misc]  # made at run time
    """A user: first the people, then the orchestrators."""

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


neolith = NeolithOrchestrator(db=db, user_model=User)


@login_manager.user_loader  # type: ignore[untyped-decorator]  # flask_login has no types
def load_user(user_id: str) -> User | None:
    """For flask-login."""
    return db.session.get(User, int(user_id))


def create_app() -> Flask:
    """Make the app."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s [%(action)s] %(message)s", defaults={"action": "-"}))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for noisy in ("httpx", "httpx2", "anthropic", "engineio", "socketio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    app = Flask(__name__, instance_path=str(FOLDER))
    app.config.update(SECRET_KEY="x", SQLALCHEMY_DATABASE_URI=f"sqlite:///{FOLDER / 'app.db'}", ORCHESTRATOR_MODE=True)
    app.config.update(NEOLITH_RATE_ORCHESTRATOR="", NEOLITH_RATE_PERSON="", NEOLITH_RATE_POSTS="")  # these hurry
    db.init_app(app)
    login_manager.init_app(app)
    # a WebSocket that has ended keeps a thread of engineio's for one ping interval (25 s, if nobody says otherwise)
    neolith.init_app(app, socketio=SocketIO(app, async_mode="threading", ping_interval=2))

    @app.post("/login/<int:user_id>")
    def log_in(user_id: int) -> str:
        login_user(db.session.get(User, user_id))
        return "Welcome."

    @app.post("/logout")
    def log_out() -> str:
        logout_user()
        return "Goodbye."

    @app.get("/threads")
    def threads() -> dict[str, Any]:
        threading.Event().wait(float(request.args.get("after", 0)))
        names = (re.sub(r"[-_]?[0-9][-_0-9]*", "", thread.name) for thread in threading.enumerate())
        return {"pid": os.getpid(), "threads": Counter(names)}

    app.cli.command("seed")(seed)
    plant(os.environ.get("SOAK_LEAK", ""), app)
    return app


def seed() -> None:
    """Everybody in one organization with two channels."""
    db.create_all()
    db.session.add_all([User(name=name, is_orchestrator=name in ORCHESTRATORS) for name in (*PEOPLE, *ORCHESTRATORS)])
    db.session.flush()
    home = neolith.directory.create_organization("Home", "home")
    ids = [str(number) for number in range(1, len(PEOPLE) + len(ORCHESTRATORS) + 1)]
    for user_id in ids[: len(PEOPLE)]:
        neolith.directory.add_to_organization(home, user_id, "owner")
    for user_id, handle in zip(ids[len(PEOPLE) :], ORCHESTRATORS, strict=True):
        neolith.directory.create_orchestrator(user_id, home, handle)
    for name in ("general", "random"):
        neolith.chat.create_channel("1", organization_id=home, name=name, member_ids=ids[1:])
    db.session.commit()


def plant(leak: str, app: Flask) -> None:
    """Leak something at each answer."""
    kept: list[Any] = []

    def lose(**_told: Any) -> None:
        for _ in range(3):  # a few seconds on a busy machine are few answers
            if "fd" in leak:
                kept.append((FOLDER / "app.db").open("rb"))
            if "thread" in leak:
                threading.Thread(target=threading.Event().wait, name="planted", daemon=True).start()
        if "memory" in leak:
            kept.append(bytearray(os.urandom(400_000)))

    if leak:
        app.extensions["neolith"].house.manager.on("daemon:message-processed", lose)
