"""What a process of the campaign can be: a server that people use, or a worker of Celery."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from celery.apps import worker as _worker  # noqa: F401 -- takes a second, which a restart should not
from celery.concurrency import thread as _thread  # noqa: F401 -- the same
from flask import Flask
from flask.cli import ScriptInfo
from flask_socketio import SocketIO
from kombu.transport import redis as _redis  # noqa: F401 -- the same
from sqlalchemy.dialects.postgresql import psycopg as _psycopg  # noqa: F401 -- the same
from werkzeug.serving import make_server

from .app import create_app, neolith
from .exchange import ExchangeManager


def serve(who: str, port: int, exchange: int) -> None:
    """Serve until killed; SIGTERM ends it in order."""
    app = create_app(who, _sockets(exchange))
    server = make_server("127.0.0.1", port, app, threaded=True)
    setattr(server, "daemon_threads", True)  # noqa: B010 -- those of open sockets; mypy does not see the mixin
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
    neolith.shutdown(app)


def work(who: str, threads: int) -> None:
    """Be a worker until killed; SIGTERM ends it in order."""
    app = create_app(who, _sockets())
    _run(app, "worker", "-c", str(threads), "-l", "WARNING")


def _run(app: Flask, *command: str) -> None:
    info = ScriptInfo(create_app=lambda: app)
    try:
        app.cli.main(["neolith", *command], prog_name="flask", obj=info)
    except SystemExit as end:
        if end.code:
            raise


def _sockets(exchange: int | None = None) -> SocketIO:
    options: dict[str, Any] = {"async_mode": "threading", "ping_interval": 1, "ping_timeout": 60}
    if "CAMPAIGN_QUEUE" in os.environ:
        options["message_queue"] = os.environ["CAMPAIGN_QUEUE"]
    elif exchange is not None:
        options["client_manager"] = ExchangeManager(exchange)
    return SocketIO(**options)
