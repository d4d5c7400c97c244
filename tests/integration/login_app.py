"""Logins for a world: the routes that hosts have, and browsers that keep their cookies."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from flask import Response, session, stream_with_context
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from sqlalchemy import insert
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from flask_neolith_orchestrator import DaemonState

from .world import World, until


class Gate:
    """Closed until opened, for a request that must wait in the middle. Lifetime: a test."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()

    def wait(self) -> None:
        """Stand here until it is opened."""
        self.reached.set()
        if not self.open.wait(10):
            raise TimeoutError("Nobody opened the gate.")


class LoginWorld:
    """A world with flask-login. Lifetime: a test."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.gate = Gate()
        world.app.config["REMEMBER_COOKIE_NAME"] = "remember"
        add_routes(self)

    def browser(self, *, agent: str = "the one kind of browser") -> Browser:
        """A new browser; all are of the same kind, unless said otherwise."""
        return Browser(self, agent)

    def settle(self) -> None:
        """Wait until what requests left behind has been worked off."""
        assert self.world.house.desk.wait_idle(10), "the desk is still busy"

    def live(self) -> list[str]:
        """Tokens of logins that go on."""
        return [row["token"] for row in self.world.rows("Login") if row["ended_at"] is None]

    def ended(self) -> dict[str, str]:
        """Why the ended logins ended, by token."""
        return {row["token"]: row["reason"] for row in self.world.rows("Login") if row["ended_at"] is not None}

    def state(self, name: str = "ada") -> DaemonState:
        """How an orchestrator's daemon is."""
        with self.world.context():
            found = self.world.neolith.manager.get_daemon_status(self.world.orchestrators[name])
        assert found is not None
        return found

    def await_running(self, name: str = "ada") -> None:
        """Wait until its daemon runs, for everybody."""
        until(lambda: self.state(name).status == "running", f"{name} runs")

    def await_stopped(self, name: str = "ada") -> None:
        """Wait until its daemon is stopped, for everybody."""
        until(lambda: self.state(name).status == "stopped", f"{name} is stopped")


class Browser:
    """A test client with cookies. Lifetime: a test."""

    def __init__(self, logins: LoginWorld, agent: str) -> None:
        self.logins = logins
        self.client = logins.world.app.test_client()
        self.client.environ_base["HTTP_USER_AGENT"] = agent

    def post(self, path: str, *, expect: int = 200) -> TestResponse:
        """Send a POST, and wait for what it leaves behind."""
        answer = self.client.post(path)
        assert answer.status_code == expect, answer.text
        self.logins.settle()
        return answer

    def me(self) -> str:
        """Whom the host takes this browser for."""
        found = self.client.get("/me").text
        self.logins.settle()
        return found

    def token(self) -> str | None:
        """Our token in this browser's session."""
        with self.client.session_transaction() as kept:
            found: str | None = kept.get("_neolith_login")
        return found


def find(world: World, name: str) -> Any:
    """The host's user of this name."""
    return world.db.session.scalars(world.db.select(world.user).filter_by(name=name)).one()


def add_routes(logins: LoginWorld) -> None:
    """What a host has: logins and logouts of every kind."""
    world = logins.world
    app, db = world.app, world.db
    manager = LoginManager(app)
    for name in ("is_authenticated", "is_anonymous", "get_id"):
        setattr(world.user, name, getattr(UserMixin, name))
    world.user.is_active = property(lambda user: user.visits >= 0)

    @manager.user_loader  # type: ignore[untyped-decorator]  # flask_login has no types
    def load(user_id: str) -> Any:
        return db.session.get(world.user, int(user_id))

    @app.post("/login/<name>")
    def login(name: str) -> str:
        return str(login_user(find(world, name)))

    @app.post("/remember/<name>")
    def remember(name: str) -> str:
        return str(login_user(find(world, name), remember=True))

    @app.post("/logout")
    def logout() -> str:
        return str(logout_user())

    @app.get("/me")
    def me() -> str:
        return str(current_user.name) if current_user.is_authenticated else "nobody"

    _add_clearing_routes(world)
    _add_odd_routes(logins)


def _add_clearing_routes(world: World) -> None:
    app = world.app

    @app.post("/clear")
    def clear() -> str:
        session.clear()
        return "cleared"

    @app.post("/clear-logout")
    def clear_logout() -> str:
        session.clear()
        return str(logout_user())

    @app.post("/swap/<name>")
    def swap(name: str) -> str:
        session.clear()
        return str(login_user(find(world, name)))


def _add_odd_routes(logins: LoginWorld) -> None:
    world = logins.world
    app, db = world.app, world.db

    @app.post("/login-stream/<name>")
    def login_stream(name: str) -> Response:
        login_user(find(world, name))

        def parts() -> Iterator[str]:
            yield "first, "
            yield name

        return Response(stream_with_context(parts()))

    @app.post("/login-500/<name>")
    def login_500(name: str) -> str:
        login_user(find(world, name))
        raise ValueError(name)

    @app.post("/login-inactive/<name>")
    def login_inactive(name: str) -> str:
        user = find(world, name)
        user.visits = -1
        return str(login_user(user))

    @app.post("/login-late/<name>")
    def login_late(name: str) -> Response:
        """A sign-up whose rows are committed only when the answer is over."""
        late = Session(db.engine, expire_on_commit=False)
        user = world.user(name=name, is_orchestrator=True)
        late.add(user)
        late.flush()
        row = {"user_id": user.id, "organization_id": int(world.organization), "handle": name, "capabilities": []}
        table = world.neolith.models.table("Orchestrator")
        made = late.execute(insert(table).values(**row).returning(table.c.id)).scalar_one()
        world.ids[name], world.orchestrators[name] = str(user.id), str(made)
        login_user(user)

        def parts() -> Iterator[str]:
            yield "late"
            logins.gate.wait()
            late.commit()
            late.close()

        return Response(parts())
