"""A host app with two organizations, for tests of what it shows to the web. Made anew for each test.

Acme: ann (owner), bob, ada (orchestrator). Evil: eve (owner), zoe (orchestrator). mallory is in none of them.
The channel `general` of Acme has ann, bob and ada in it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flask import Flask, redirect
from flask_login import LoginManager, UserMixin, login_required, login_user, logout_user
from flask_socketio import SocketIO
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import MetaData
from sqlalchemy.orm import Mapped, mapped_column
from werkzeug.wrappers import Response

from flask_neolith_orchestrator import NeolithOrchestrator, OrchestratorUserMixin

SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}
DATABASE = "site.db"
NAMES = ("ann", "bob", "ada", "eve", "zoe", "mallory")


@dataclass
class Site:
    """One app, its parts, and the ids of what is in it."""

    app: Flask
    db: SQLAlchemy
    neolith: NeolithOrchestrator
    socketio: SocketIO
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Any:
        """The extension's state."""
        return self.app.extensions["neolith"]

    def as_(self, name: str | None) -> Visitor:
        """A browser in which somebody has logged in; None is a stranger."""
        visitor = Visitor(self)
        if name is not None:
            assert visitor.client.post(f"/login/{name}").status_code == 302
        return visitor

    def with_key(self, name: str, *scopes: str, **more: Any) -> Visitor:
        """A program with a new API key of somebody, and no cookie."""
        body = {"label": "test", "scopes": list(scopes), **more}
        made = self.as_(name).call("POST", "keys", json=body)
        assert made.status_code == 201, made.text
        return Visitor(self, {"Authorization": f"Bearer {made.json['key']}"})

    def close(self) -> None:
        """Stop everything."""
        self.neolith.shutdown(self.app)
        with self.app.app_context():
            self.db.engine.dispose()


class Visitor:
    """One client of the API. Lifetime: a test."""

    def __init__(self, site: Site, headers: Mapping[str, str] = SAME_ORIGIN) -> None:
        self.client = site.app.test_client()
        self.headers = dict(headers)

    def call(self, method: str, path: str, **more: Any) -> Any:
        """Call the API; a POST without a body is JSON all the same. A werkzeug TestResponse."""
        headers = {**self.headers, **more.pop("headers", {})}
        if method == "POST" and not {"json", "data"} & set(more):
            more["json"] = {}
        return self.client.open(f"/neolith/api/v1/{path}", method=method, headers=headers, **more)

    def get(self, path: str) -> Any:
        """What a GET that must work answers."""
        answer = self.call("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json


def make_site(
    folder: Path, *, mode: bool = False, socketio: SocketIO | None = None, filled: bool = True, **config: Any
) -> Site:
    """Make the app, its database and everybody in it; not `filled`: a second app on the database of the first."""
    folder.mkdir(exist_ok=True)
    if not filled:
        return _wire(folder, mode=mode, socketio=socketio, **config)
    content, ids = _filled()
    (folder / DATABASE).write_bytes(content)
    site = _wire(folder, mode=mode, socketio=socketio, **config)
    site.ids.update(ids)
    return site


@cache
def _filled() -> tuple[bytes, dict[str, str]]:
    """A database with everybody in it, and their ids. Made once: making tables costs more than most tests."""
    with TemporaryDirectory() as folder:
        site = _wire(Path(folder))
        with site.app.app_context():
            site.db.create_all()
            site.neolith.create_tables()
            _fill(site, site.neolith.models.user)
            with closing(sqlite3.connect(Path(folder) / DATABASE)) as connection:
                content = connection.serialize()
        site.close()
    return content, site.ids


@cache
def _mapped() -> tuple[MetaData, type[Any]]:
    """The host's user class, and the metadata with all tables. Made once: mapping them costs more than most tests."""
    db = SQLAlchemy()

    class User(UserMixin, OrchestratorUserMixin, db.Model):  # type: ignore[name-defined,misc]  # made at run time
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(unique=True)
        email: Mapped[str] = mapped_column(default="")

    return db.metadata, User


def _wire(folder: Path, *, mode: bool = False, socketio: SocketIO | None = None, **config: Any) -> Site:
    metadata, user_model = _mapped()
    db = SQLAlchemy(metadata=metadata)
    app = Flask(__name__, instance_path=str(folder))
    app.config.update(
        SECRET_KEY="only for tests",
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{folder / DATABASE}",
        ORCHESTRATOR_MODE=mode,
        NEOLITH_MODEL="scripted",
        NEOLITH_SCRIPTED_DELAY=0,
        **config,
    )
    neolith = NeolithOrchestrator(db=db, user_model=user_model)
    db.init_app(app)
    _add_logins(app, db, user_model)
    sockets = SocketIO() if socketio is None else socketio
    sockets.init_app(app, async_mode="threading")
    neolith.init_app(app, socketio=sockets)
    return Site(app, db, neolith, sockets)


def _add_logins(app: Flask, db: SQLAlchemy, user_model: Any) -> None:
    manager = LoginManager(app)
    manager.login_view = "login_page"

    @manager.user_loader  # type: ignore[untyped-decorator]  # flask_login has no types
    def load(user_id: str) -> Any:
        return db.session.get(user_model, int(user_id))

    @app.get("/login")
    def login_page() -> str:
        return "log in"

    @app.post("/login/<name>")
    def login(name: str) -> Response:
        login_user(db.session.scalars(db.select(user_model).filter_by(name=name)).one())
        return redirect("/login")

    @app.post("/logout")
    @login_required  # type: ignore[untyped-decorator]  # flask_login has no types
    def logout() -> str:
        logout_user()
        return "bye"


def _fill(site: Site, user_model: Any) -> None:
    db, neolith, ids = site.db, site.neolith, site.ids
    for name in NAMES:
        user = user_model(name=name, is_orchestrator=name in ("ada", "zoe"))
        db.session.add(user)
        db.session.flush()
        ids[name] = str(user.id)
    for slug, owner, bot in (("acme", "ann", "ada"), ("evil", "eve", "zoe")):
        ids[slug] = neolith.directory.create_organization(slug.title(), slug)
        neolith.directory.add_to_organization(ids[slug], ids[owner], "owner")
        ids[f"{bot}-orchestrator"] = neolith.directory.create_orchestrator(ids[bot], ids[slug], bot, role="Engineer")
    neolith.directory.add_to_organization(ids["acme"], ids["bob"])
    made = neolith.chat.create_channel(
        ids["ann"], organization_id=ids["acme"], name="general", member_ids=[ids["bob"], ids["ada"]]
    )
    ids["general"] = made["id"]
    db.session.commit()
