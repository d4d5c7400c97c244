"""The example app as a real process on a real port: started, killed and started again like somebody's server."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import requests

ROOT = Path(__file__).parents[2]
START_TIMEOUT = 30.0  # seconds; a first start hashes four passwords, on a machine that may be busy
STOP_TIMEOUT = 15.0
PASSWORD = "neolith"
PYTHON = (sys.executable, "-m", "example_app")


class ExampleServer:
    """One server of the example app. Lifetime: the with block; its folder may outlive it and be served again.

    `command` is what starts it, with {port} in it where that is not taken from the environment; further keywords
    are environment variables. What the process prints is in `log`.
    """

    def __init__(self, folder: Path, command: Sequence[str] = PYTHON, **environment: str) -> None:
        folder.mkdir(exist_ok=True)
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "server.log"
        self._command = [part.format(port=self.port) for part in command]
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ANTHROPIC_", "NEOLITH_"))},
            "PORT": str(self.port),
            "NEOLITH_EXAMPLE_INSTANCE": str(folder / "instance"),
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not _listens(self.port):
            assert self._process.poll() is None, f"It ended at once:\n{self.log.read_text()}"
            assert time.monotonic() < deadline, f"It does not answer:\n{self.log.read_text()}"
            threading.Event().wait(0.05)

    def kill(self) -> None:
        """End it in the middle of whatever it does."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """End it as a service manager does; returns its exit code. Safe twice."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        try:
            return process.wait(STOP_TIMEOUT)
        finally:
            # with its workers, should it not have ended in time
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def log_in(self, name: str) -> requests.Session:
        """A browser-like client in which somebody has logged in."""
        session = requests.Session()
        session.headers["Origin"] = self.url
        form = {"email": f"{name}@neolith.test", "password": PASSWORD, "csrf_token": self.token(session, "/login")}
        answer = session.post(f"{self.url}/login", data=form, allow_redirects=False)
        assert answer.status_code == 302, answer.text
        return session

    def log_out(self, session: requests.Session) -> None:
        """Press the button."""
        form = {"csrf_token": self.token(session, "/")}
        assert session.post(f"{self.url}/logout", data=form, allow_redirects=False).status_code == 302
        session.close()

    def token(self, session: requests.Session, path: str) -> str:
        """The CSRF token in a page's form."""
        found = re.search(r'name="csrf_token" value="([^"]+)"', session.get(f"{self.url}{path}").text)
        assert found
        return found[1]

    def __enter__(self) -> ExampleServer:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
