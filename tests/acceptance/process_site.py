"""Real processes on one database: servers, commands and workers of the host app in process_app."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

APP = "tests.acceptance.process_app:create_app"
ROOT = Path(__file__).parents[2]
GUNICORN = ("--threads", "4", "--no-control-socket")  # that one has a thread of its own in the master
STOP = 4.0 + 4.0
"""DAEMON_STOP_TIMEOUT of the app, and what a busy machine needs besides."""


def until(true: Callable[[], Any], what: str, timeout: float = 30.0) -> Any:
    """What `true` gives, once it is true."""
    deadline, pause = time.monotonic() + timeout, threading.Event()
    while not (found := true()):
        assert time.monotonic() < deadline, f"Never happened: {what}"
        pause.wait(0.02)
    return found


class Site:
    """One database and the processes on it, with more in their environment. Lifetime: a test."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []
        self.browsers: list[requests.Session] = []
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("WERKZEUG_", "COV_"))},
            "NEOLITH_TEST_FOLDER": str(folder),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
        assert self.flask("seed").returncode == 0
        (folder / "ends").unlink()

    def flask(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a command of the app to its end."""
        return self.run("flask", "--app", APP, *arguments, **more)

    def run(self, *command: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a module to its end."""
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=self.environment,
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
            **more,
        )

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a process in a group of its own."""
        log = (self.folder / f"log-{len(self.processes)}").open("w")
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=self.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        log.close()
        self.processes.append(process)
        return process

    def server(self, *options: str, debug: bool = False) -> Server:
        """A server on a free port: gunicorn with options, or `flask run` without any."""
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        if options:
            command = ["gunicorn", "-b", f"127.0.0.1:{port}", *GUNICORN, *options, f"{APP}()"]
        else:
            command = ["flask", "--app", APP, "run", "-p", str(port), *(["--debug"] if debug else [])]
        return Server(self, self.start(*command), f"http://127.0.0.1:{port}")

    def log(self) -> str:
        """What all processes said."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("log-*")))

    def close(self) -> None:
        """End everything."""
        for browser in self.browsers:
            browser.close()
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What is committed."""
        database = sqlite3.connect(f"file:{self.folder / 'app.db'}?mode=ro", uri=True, timeout=10)
        try:
            return database.execute(statement).fetchall()
        finally:
            database.close()

    def states(self) -> dict[str, tuple[str, str, str]]:
        """(wanted, state, presence) by handle, of those who have ever been wanted."""
        found = self.rows(
            "SELECT o.handle, d.wanted, d.state, o.status FROM neolith_daemon d"
            " JOIN neolith_orchestrator o ON o.id = d.orchestrator_id"
        )
        return {row[0]: row[1:] for row in found}

    def nodes(self) -> set[int]:
        """Process ids of the nodes that are registered."""
        return {int(row[0].rpartition(":")[2]) for row in self.rows("SELECT name FROM neolith_node")}

    def lines(self, name: str) -> list[dict[str, Any]]:
        """What the processes wrote down."""
        path = self.folder / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def told(self, handle: str) -> list[str]:
        """What browsers heard of somebody's presence."""
        return [line["status"] for line in self.lines("told") if line["handle"] == handle]


class Server:
    """A server process. Lifetime: until it is ended, or the test is over."""

    def __init__(self, site: Site, process: subprocess.Popen[str], url: str) -> None:
        self.site = site
        self.process = process
        self.url = url
        port = int(url.rpartition(":")[2])
        until(lambda: listens(port), "the server listens")

    def pids(self, count: int) -> set[int]:
        """Processes that answer requests."""
        found: set[int] = set()

        def all_answered() -> bool:
            found.add(requests.get(self.url, timeout=10).json()["pid"])
            return len(found) == count

        until(all_answered, "all answer")
        return found

    def login(self, user_id: int) -> requests.Session:
        """A browser in which somebody has logged in."""
        browser = requests.Session()
        self.site.browsers.append(browser)
        assert browser.post(f"{self.url}/login/{user_id}", timeout=10).status_code == 200
        return browser

    def ask(self, text: str, channel: int = 1) -> str:
        """maya writes in a channel; the message's id."""
        answer = self.call(self.login(1), "POST", f"channels/{channel}/messages", {"content": text})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def call(self, browser: requests.Session, method: str, path: str, body: Any = None) -> requests.Response:
        """Call a route of the API from a page of ours."""
        where = f"{self.url}/neolith/api/v1/{path}"
        return browser.request(method, where, json=body, headers={"Sec-Fetch-Site": "same-origin"}, timeout=10)

    def end(self, number: int) -> float:
        """Send a signal and wait; how long it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(STOP + 20)
        return time.monotonic() - began

    def kill(self) -> None:
        """Kill all its processes at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


def listens(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
