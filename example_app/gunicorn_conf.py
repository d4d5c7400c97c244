"""gunicorn --config python:example_app.gunicorn_conf 'example_app:create_app()'

One process each: a browser must come back to the same one. A browser's WebSocket occupies a thread.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from flask import Flask

from .models import neolith

worker_class = "gthread"
workers = 1
threads = 100
control_socket_disable = True  # several of us would want the same file in somebody's home
graceful_timeout = 15  # seconds; DAEMON_STOP_TIMEOUT is 10


def post_worker_init(worker: Any) -> None:
    """At SIGTERM first the daemons end, then the open WebSockets: gunicorn would wait for those until it kills."""
    stop = worker.handle_exit

    def begin_to_stop(number: int, frame: FrameType | None) -> None:
        threading.Thread(target=_leave, args=(worker.wsgi,), name="leave").start()
        stop(number, frame)

    signal.signal(signal.SIGTERM, begin_to_stop)


def _leave(app: Flask) -> None:
    neolith.shutdown(app)
    for browser in list(app.extensions["socketio"].server.eio.sockets.values()):
        browser.close(wait=False)  # a goodbye that is never read must not hold up the others
