"""A real server on a real port for one test: `with LiveServer(app) as server: requests.get(server.url)`."""

from __future__ import annotations

import logging
import threading
from types import TracebackType

from flask import Flask
from werkzeug.serving import make_server


class LiveServer:
    """Werkzeug's threaded server on 127.0.0.1, any free port. Lifetime: the with block; `close` is safe twice.

    Socket.IO works on it over WebSockets as under `flask run`. The app's own runtime is not touched: call
    `neolith.shutdown(app)` before, so that no thread of ours outlives the test.
    """

    def __init__(self, app: Flask) -> None:
        # a WebSocket that ends looks to the server's parser like a bad request, and it says so at ERROR
        logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
        self._server = make_server("127.0.0.1", 0, app, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="live-server", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Take no more connections and give the port back."""
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()

    def __enter__(self) -> LiveServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
