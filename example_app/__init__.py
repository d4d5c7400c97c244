"""A small real chat with AI colleagues: what a host app of flask_neolith_orchestrator looks like.

python -m example_app
flask --app example_app run
gunicorn --config python:example_app.gunicorn_conf 'example_app:create_app()'
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from flask import Flask, Response
from flask_login import LoginManager
from flask_socketio import SocketIO
from flask_wtf import CSRFProtect

from . import accounts, modules, offline, pages
from . import tools as _tools  # noqa: F401 -- says what orchestrators may do
from .first_start import prepare, secret_key
from .models import db, load_user, neolith

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "worker-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing inline, nothing from elsewhere, in nobody's frame."""


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Make the app; at the first start also its database with demo data.

    `config` wins over everything. `INSTANCE_PATH` in it, or NEOLITH_EXAMPLE_INSTANCE in the environment, is the
    folder (absolute) of the SQLite file and the secret key; the default is Flask's `instance/`. From the environment
    come also SQLALCHEMY_DATABASE_URI, SECRET_KEY (the same on every machine) and SOCKETIO_MESSAGE_QUEUE, a Redis.
    """
    given = dict(config or {})
    folder = given.pop("INSTANCE_PATH", None) or os.environ.get("NEOLITH_EXAMPLE_INSTANCE")
    app = Flask(__name__, instance_path=folder)
    app.config.update(
        SESSION_COOKIE_NAME="neolith_example",
        SESSION_COOKIE_SAMESITE="Lax",
        WTF_CSRF_TIME_LIMIT=None,  # a page may stay open for longer than an hour and still log out
        SECRET_KEY=os.environ.get("SECRET_KEY"),
        SQLALCHEMY_DATABASE_URI=os.environ.get("SQLALCHEMY_DATABASE_URI", f"sqlite:///{app.instance_path}/neolith.db"),
        SOCKETIO_MESSAGE_QUEUE=os.environ.get("SOCKETIO_MESSAGE_QUEUE"),
        ORCHESTRATOR_MODE=os.environ.get("ORCHESTRATOR_MODE", "true"),
    )
    app.config.update(given)
    if not app.config["SECRET_KEY"]:
        app.config["SECRET_KEY"] = secret_key(app.instance_path)
    _add_extensions(app)
    app.register_blueprint(accounts.blueprint)
    app.register_blueprint(pages.blueprint)
    app.register_blueprint(modules.blueprint)
    app.register_blueprint(offline.blueprint)
    app.after_request(_protect)
    prepare(app)
    return app


def _add_extensions(app: Flask) -> None:
    login = LoginManager(app)
    login.login_view = "accounts.login"
    login.login_message = None
    login.user_loader(load_user)
    CSRFProtect(app)
    socketio = SocketIO(app, async_mode="threading", message_queue=app.config["SOCKETIO_MESSAGE_QUEUE"])
    db.init_app(app)
    neolith.init_app(app, socketio=socketio)


def _protect(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    return response
