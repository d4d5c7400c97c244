"""Whether one process can work, and whether only a new process could: what a load balancer or a supervisor asks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from ...core.errors import NeolithError
from ...store.stores import Stores
from .once import Once

log = logging.getLogger("flask_neolith_orchestrator")

PATIENCE = 2.0
"""Seconds that the database has to answer."""

Part = Mapping[str, Any]
"""How one part is: {"ok": bool, "detail": what is wrong, ...}."""


class Probe:
    """Asks a question that may hang, on a thread of its own, one at a time. Lifetime: app, in one process."""

    def __init__(self, ask: Callable[[], object]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._answered: threading.Event | None = None
        self._problem: str | None = None

    def problem(self, seconds: float) -> str | None:
        """None if the answer is well, else what is wrong."""
        with self._lock:
            if self._answered is None:
                answered = threading.Event()
                try:
                    threading.Thread(target=self._run, args=(answered,), name="neolith-probe", daemon=True).start()
                except RuntimeError:
                    return "no thread can be started to ask it"
                self._answered = answered
            answered = self._answered
        return self._problem if answered.wait(seconds) else f"no answer for {seconds:.0f} s"

    def _run(self, answered: threading.Event) -> None:
        self._problem = problem_of(self._ask)
        with self._lock:
            self._answered = None
        answered.set()


def problem_of(ask: Callable[[], object]) -> str | None:
    """What is wrong, in words that tell no secrets."""
    try:
        ask()
    except Exception as error:  # noqa: BLE001 -- whatever it is, this is the place that says so
        return str(error) if isinstance(error, NeolithError) else type(error).__name__
    return None


class Health:
    """Looks at the parts of one process. Lifetime: app, in one process. Never waits long, never raises.

    `parts` are asked by their names; `scheduler` and `dispatcher` are those that only a new process may help.
    `hanging` counts daemons that do not answer.
    """

    def __init__(
        self,
        stores: Stores,
        check_schema: Callable[[], None],
        started: Once,
        parts: Mapping[str, Callable[[], Part]],
        hanging: Callable[[], int],
    ) -> None:
        self._stores = stores
        self._check_schema = check_schema
        self._started = started
        self._parts = parts
        self._hanging = hanging
        self._probe = Probe(self._ask_database)
        self._lives = True
        self._idle = False

    def readiness(self) -> dict[str, Part]:
        """Per part whether it works, and details. What is not well comes back by itself, and is then shown as well."""
        found = {"database": self._database()}
        for name, part in self._parts.items():
            found[name] = self._scheduler() if name == "scheduler" else part()
        return {**found, "daemons": self._daemons()}

    def liveness(self) -> Part:
        """Not well only where a new process would help: never for the database's sake, or for one daemon's."""
        parts = {"dispatcher": self._parts["dispatcher"](), "scheduler": self._scheduler()}
        bad = [f"{name}: {part.get('detail')}" for name, part in parts.items() if not part.get("alive", True)]
        # where the database is away everything waits for it, and goes on by itself when it is back
        ok = not bad or not self._database()["ok"]
        if not ok and self._lives:
            log.error("This process must be restarted: %s", "; ".join(bad), extra={"action": "process-stuck"})
        self._lives = ok
        return {"ok": ok, "detail": "" if ok else "; ".join(bad)}

    def _database(self) -> Part:
        # in memory there is one connection, which is the caller's
        shared = self._stores.database.threads
        problem = self._probe.problem(PATIENCE) if shared else problem_of(self._check_schema)
        return {"ok": problem is None, "detail": problem or ""}

    def _ask_database(self) -> None:
        self._check_schema()
        nodes = self._stores.nodes
        nodes.others()  # the look at the tables is remembered; this one asks each time
        self._idle = self._started.done and not nodes.capacity and not nodes.threads()
        self._stores.nodes.seen()  # and whether anything can be written: a full disk still reads

    def _scheduler(self) -> Part:
        if self._started.done:
            return self._parts["scheduler"]()
        error = self._started.error
        detail = ""
        if error is not None:
            detail = f"it could not be started: {error if isinstance(error, NeolithError) else type(error).__name__}"
        elif self._started.is_under_way:
            detail = "it is being started"
        return {"ok": not detail, "running": False, "detail": detail}

    def _daemons(self) -> Part:
        """One that hangs is begun afresh, and keeps nobody else from working."""
        hanging = self._hanging()
        if self._idle:
            return {"ok": True, "detail": "no process runs turns: messages wait"}
        return {"ok": True, "detail": f"{hanging} do not answer" if hanging else ""}
