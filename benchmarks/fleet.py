"""Workers as real processes on Postgres and Redis. The measuring process is the web process: it only accepts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flask_socketio import SocketIO
from sqlalchemy import func, select

from .app import World, close, db, make_app, neolith
from .backlog import Call
from .ear import FOLDER
from .fleet_app import CALLS, COMPLAINTS, DATABASE, SECONDS
from .procs import stop
from .rows import Faults
from .witness import KEPT

ROOT = Path(__file__).parent.parent
READY = 60.0
"""Seconds that processes have to come up."""


@dataclass(slots=True)
class Fleet:
    """One database, its workers, and this process beside them. Lifetime: the `fleet` block."""

    world: World
    folder: Path
    environment: dict[str, str]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, threads: int, count: int = 1, environment: Mapping[str, str] | None = None) -> None:
        """Start workers, and wait until they are nodes."""
        made = [self._worker(threads, environment or {}) for _ in range(count)]
        until(lambda: {one.pid for one in made} <= self.nodes(), "the workers are nodes", READY)

    def _worker(self, threads: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        command = ("-m", "flask", "--app", "benchmarks.fleet_app", "neolith", "worker", "-c", str(threads))
        with (self.folder / f"worker-{len(self.workers)}.log").open("wb") as log:
            made = subprocess.Popen(
                [sys.executable, *command, "-l", "WARNING"],
                cwd=ROOT,
                env={**os.environ, **self.environment, **environment},
                stdout=log,
                stderr=log,
            )
        self.workers.append(made)
        return made

    def nodes(self) -> set[int]:
        """Process ids of everybody who is registered."""
        node = neolith.models.Node
        with self.world.app.app_context():
            names = db.session.scalars(select(node.name)).all()
            db.session.rollback()
        return {int(name.rpartition(":")[2]) for name in names}

    def answered(self) -> int:
        """Questions that have an answer in their row."""
        delivery = neolith.models.Delivery
        with self.world.app.app_context():
            count = db.session.scalar(select(func.count()).where(delivery.state == "answered"))
            db.session.rollback()
        return int(count or 0)

    def lines(self, name: str) -> list[list[Any]]:
        """What the workers wrote down."""
        file = self.folder / name
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def begun(self) -> list[list[Any]]:
        """[process, orchestrator, conversation, number, when] of each call of the model that has begun."""
        return sorted((one[:5] for one in self.lines(CALLS) if one[5] is None), key=lambda one: one[4])

    def calls(self) -> list[Call]:
        """Calls of the model that came to their end."""
        return [Call(*one[1:]) for one in self.lines(CALLS) if one[5] is not None]

    def processor(self) -> float:
        """Seconds of processor time that the workers have had."""
        return sum(_processor(one.pid) for one in self.workers if one.poll() is None)

    def faults(self, expected: str = "\0") -> Faults:
        """What the workers complained of, but for what is `expected`."""
        told = [f"{name}: {words}" for _, name, words in self.lines(COMPLAINTS) if expected not in words]
        skipped = sum("renew" in one for one in told)
        died = [f"a worker ended with {one.returncode}" for one in self.workers if one.poll() not in (None, 0, -9)]
        errors = [one for one in told if "skipped: maximum" not in one] + died
        return Faults(0, len(errors), skipped, tuple(dict.fromkeys(errors + told))[:KEPT])


@contextmanager
def fleet(made: World, url: str, broker: str, seconds: float = 0.0, **settings: str) -> Iterator[Fleet]:
    """An app with the engine celery on the database at `url`, which holds what `made` made; nobody works yet.

    Workers ask a model that takes `seconds`. `settings` are given to all processes by their environment.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {
            FOLDER: name,
            DATABASE: url,
            SECONDS: str(seconds),
            "NEOLITH_ENGINE": "celery",
            "NEOLITH_BROKER_URL": broker,
            **settings,
        }
        socketio = SocketIO(async_mode="threading", message_queue=broker)
        mine = ("NEOLITH_", "DAEMON_")
        ours: dict[str, Any] = {key: value for key, value in environment.items() if key.startswith(mine)}
        app = make_app(folder, socketio, SQLALCHEMY_DATABASE_URI=url, **ours)
        here = Fleet(replace(made, app=app, folder=folder, socketio=socketio), folder, environment)
        try:
            yield here
        finally:
            for worker in here.workers:
                worker.terminate()
            for worker in here.workers:
                stop(worker, 15.0)
            close(app)


def _processor(pid: int) -> float:
    values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


def until(true: Callable[[], Any], what: str, timeout: float = 30.0, pause: float = 0.02) -> Any:
    """What `true` gives, once it is true. Raises TimeoutError."""
    deadline = time.monotonic() + timeout
    while not (found := true()):
        if time.monotonic() > deadline:
            msg = f"Never happened: {what}."
            raise TimeoutError(msg)
        threading.Event().wait(pause)
    return found
