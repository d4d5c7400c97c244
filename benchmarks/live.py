"""A real server on a real port, and real Socket.IO clients in a process of their own."""

from __future__ import annotations

import json
import logging
import queue
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from flask import Flask
from werkzeug.serving import make_server

from .procs import stop

ROOT = Path(__file__).parent.parent
PATIENCE = 15.0


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    """Werkzeug's threaded server, as under `flask run`; the address of it."""
    # a WebSocket that ends looks to the server's parser like a bad request, and it says so at ERROR
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def log_in(url: str, user_id: str) -> str:
    """A login over HTTP; returns its cookie."""
    request = urllib.request.Request(f"{url}/login/{user_id}", method="POST")
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        cookie: str = answer.headers["Set-Cookie"].split(";")[0]
        return cookie


class Crowd:
    """Socket.IO clients of one login in a process of their own. Lifetime: the `crowd` block."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._heard: queue.Queue[tuple[str, str, float]] = queue.Queue()
        self._reader = threading.Thread(target=self._read, name="crowd", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            event, key, at = json.loads(line)
            self._heard.put((event, key, at))

    def heard(self, event: str, timeout: float = PATIENCE) -> float:
        """When all of them had the next `event` (time.monotonic); others before it are dropped.

        Raises TimeoutError.
        """
        while True:
            try:
                name, _, at = self._heard.get(timeout=timeout)
            except queue.Empty:
                msg = f"Not everybody heard {event}."
                raise TimeoutError(msg) from None
            if name == event:
                return at


@contextmanager
def crowd(url: str, cookie: str, events: Sequence[str], *, clients: int = 1, channel: str = "-") -> Iterator[Crowd]:
    """Connect `clients` clients, all listening to `events`, in a channel's room if one is given."""
    command = [sys.executable, "-m", "benchmarks.browser", url, cookie, str(clients), channel, ",".join(events)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        made = Crowd(process)
        made.heard("ready", timeout=60.0)
        yield made
    finally:
        stop(process)
