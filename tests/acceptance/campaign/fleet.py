"""The processes of a campaign: server programs by name, spare ones that have imported everything, and the model's."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from .app import PLACES
from .backing import Backing, SqliteFile
from .exchange import Exchange
from .model import ADDRESS
from .nursery import ROOT, Nursery, Process

PATIENCE = 30.0
"""Seconds that something may take before the campaign gives up."""


def until(true: Callable[[], Any], what: str, timeout: float = PATIENCE, pause: float = 0.02) -> Any:
    """What `true` gives, once it is true."""
    deadline, never = time.monotonic() + timeout, threading.Event()
    while not (found := true()):
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        never.wait(pause)
    return found


@dataclass(slots=True)
class Life:
    """One process, from when it can work to its death. Times are on the monotonic clock of the machine.

    `threads` are those of a worker; a server has 0.
    """

    name: str
    who: str
    process: Process
    up: float = float("inf")
    died: float | None = None
    pauses: list[tuple[float, float]] = field(default_factory=list)
    threads: int = 0


class Fleet:
    """Starts, kills and pauses. Lifetime: until `close`. One thread drives it; others read `urls` and rows."""

    def __init__(
        self,
        nursery: Nursery,
        folder: Path,
        *,
        settings: Mapping[str, str],
        fault: str = "",
        backing: Backing | None = None,
    ) -> None:
        self.folder = folder
        self.backing: Backing = SqliteFile(folder) if backing is None else backing
        self.lives: list[Life] = []
        self.urls: dict[str, str] = {}
        self._nursery = nursery
        self._fault = fault
        self._exchange = Exchange()
        self._environment = {**settings, **self.backing.environment, "CAMPAIGN_FOLDER": str(folder)}
        self._processes = [self._bear(kind) for kind in ("model", "seed")]
        until((folder / ADDRESS).exists, "the model's server")
        self._environment["CAMPAIGN_MODEL"] = (folder / ADDRESS).read_text()
        if not self._processes[1].is_gone(PATIENCE) or not (folder / PLACES).exists():
            raise RuntimeError(self.log())

    def _bear(self, kind: str, name: str = "", order: Mapping[str, Any] | None = None) -> Process:
        log = self.folder / f"log-{name or kind}"
        apart = {"NEOLITH_STATE_DIR": str(self.folder / f"machine-{name}")} if (order or {}).get("threads") else {}
        return self._nursery.bear(kind, log, {**self._environment, **apart}, order or {})

    def start(self, name: str) -> Life:
        """Start the server of this name, and wait until it answers."""
        if name not in self.urls:
            self.urls[name] = f"http://127.0.0.1:{_free_port()}"
        port = int(self.urls[name].rpartition(":")[2])
        life = self._begin(name, port=port, exchange=self._exchange.port, threads=0)
        until(lambda: life.process.is_gone() or _listens(port), f"{life.who} listens")
        until(lambda: life.process.is_gone() or self._answers(life), f"{life.who} answers")
        life.up = time.monotonic()
        return life

    def work(self, name: str, threads: int) -> Life:
        """Start the worker of this name, on a machine of its own, and wait until it is a node."""
        life = self._begin(name, threads=threads)
        node = f"SELECT 1 FROM neolith_node WHERE name LIKE '%:{life.process.pid}'"
        until(lambda: life.process.is_gone() or self.rows(node), f"{life.who} is a node")
        life.up = time.monotonic()
        return life

    def _begin(self, name: str, *, threads: int, **order: Any) -> Life:
        who = f"{name}.{sum(one.name == name for one in self.lives)}"
        process = self._bear(
            "server", name, {"name": name, "who": who, "fault": self._fault, "threads": threads, **order}
        )
        self._processes.append(process)
        life = Life(name, who, process, threads=threads)
        self.lives.append(life)
        return life

    def _answers(self, life: Life) -> bool:
        try:
            return bool(requests.get(self.urls[life.name], timeout=2).json()["who"] == life.who)
        except requests.RequestException:
            return False

    def alive(self) -> list[Life]:
        """Those that have not died."""
        return [life for life in self.lives if life.died is None]

    def life(self, name: str) -> Life:
        """The latest process of this name."""
        return [life for life in self.lives if life.name == name][-1]

    def kill(self, life: Life) -> None:
        """SIGKILL, unless it has killed itself; waits until it is gone."""
        before = time.monotonic()
        life.process.kill()
        life.died = before

    def drain(self, life: Life, timeout: float) -> float:
        """SIGTERM, and wait until it has ended in order; how long that took."""
        before = time.monotonic()
        life.process.signal(signal.SIGTERM)
        if not life.process.is_gone(timeout):
            raise TimeoutError(f"{life.who} does not end:\n{self.log()[-5_000:]}")
        life.died = time.monotonic()
        return life.died - before

    def pause(self, life: Life) -> float:
        """SIGSTOP; when it was."""
        life.process.signal(signal.SIGSTOP)
        return time.monotonic()

    def resume(self, life: Life, since: float) -> None:
        """SIGCONT."""
        life.pauses.append((since, time.monotonic()))
        life.process.signal(signal.SIGCONT)

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """What is committed."""
        return self.backing.rows(statement, *values)

    def held(self, life: Life) -> int:
        """Turns that the rows say a process is working on."""
        mine = f"n.name LIKE '%:{life.process.pid}'"
        return int(
            self.rows(f"SELECT count(*) FROM neolith_slot s JOIN neolith_node n ON n.id = s.node_id WHERE {mine}")[0][0]
        )

    def log(self) -> str:
        """What all processes said."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("log-*")))

    def flask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the app to its end."""
        command = [sys.executable, "-m", "flask", "--app", "tests.acceptance.campaign.app:create_app", *arguments]
        environment = {**self._nursery.environment, **self._environment}
        return subprocess.run(
            command, cwd=ROOT, env=environment, text=True, capture_output=True, timeout=60, check=False
        )

    def close(self) -> None:
        """End every process. Safe twice."""
        for process in self._processes:
            process.close()
        self._exchange.close()
        self.backing.close()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
