"""Places in the server's work at which the campaign lets a process die, or holds it, exactly there.

The campaign writes "kill POINT" or "hold POINT" into FOLDER/arm-NAME; whichever thread of that process comes to the
point first obeys. A held thread goes on when FOLDER/held-NAME is gone. Nothing of this is in the package: the
server program wraps its methods.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flask_neolith_orchestrator.runtime.arrival.reception import Reception
from flask_neolith_orchestrator.runtime.turns.attempt import Attempt
from flask_neolith_orchestrator.store.inbox.inbox import Inbox
from flask_neolith_orchestrator.store.sql.database import Database, PooledDatabase
from flask_neolith_orchestrator.store.sql.sqlite import SqliteDatabase
from flask_neolith_orchestrator.store.turns.claims import Claims
from flask_neolith_orchestrator.store.turns.settle import Settle

from .ledger import write_down

POINTS = (
    "in-accept",  # the message and its delivery are written, not committed
    "after-accept",  # committed; nobody has been rung for, nothing acknowledged
    "before-claim",  # in the claim's transaction, nothing is written
    "in-claim",  # all is written, not committed
    "after-claim",  # committed; the model has not been asked
    "before-finish",  # the answer is complete, nothing of it is written
    "in-finish",  # all is written, not committed
    "after-finish",  # committed; nobody has been told
)
DEATHS = "deaths"
POISONED = "poisoned"


class Points:
    """The points of one server process. Lifetime: the process."""

    def __init__(self, folder: Path, name: str, who: str) -> None:
        self._folder = folder
        self._arm = folder / f"arm-{name}"
        self._held = folder / f"held-{name}"
        self._who = who
        self._local = threading.local()

    def reach(self, point: str) -> None:
        """This thread is at a point: die or wait, if that is wanted."""
        try:
            order, _, wanted = self._arm.read_text().partition(" ")
        except FileNotFoundError:
            return
        if wanted != point:
            return
        if order == "kill":
            write_down(self._folder / DEATHS, who=self._who, point=point, at=time.monotonic())
            os.kill(os.getpid(), signal.SIGKILL)
        with suppress(FileNotFoundError):  # another thread was quicker
            self._arm.rename(self._held)
            while self._held.exists():
                threading.Event().wait(0.01)

    def _swallow(self, attempt: Attempt) -> None:
        """Die of a poison message: one for whose id there is a file."""
        if any((self._folder / f"poison-{message}").exists() for message in attempt.claim.messages):
            write_down(self._folder / POISONED, messages=attempt.claim.messages)
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Wrap what the points are in."""
        self._around(Inbox, "accept_in", (), ("in-accept",))
        self._around(Reception, "announce", ("after-accept",), ())
        self._around(Claims, "claim", ("before-claim",), ("in-claim",))
        self._around(Attempt, "run", ("after-claim",), ("before-finish",))
        self._around(Settle, "settle", (), ("in-finish",))
        self._around_writes(SqliteDatabase)
        self._around_writes(PooledDatabase)

    def _around(self, owner: type, name: str, before: Sequence[str], after: Sequence[str]) -> None:
        inner: Callable[..., Any] = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            for point in before:
                self.reach(point)
            if isinstance(args[0], Attempt):
                self._swallow(args[0])
            result = inner(*args, **kwargs)
            if result is not None:
                for point in after:
                    self.reach(point)
                self._local.settled = owner is Settle or getattr(self._local, "settled", False)
            return result

        setattr(owner, name, wrapped)

    def _around_writes(self, owner: type[Database]) -> None:
        inner = owner.write

        @contextmanager
        def write(database: Database, **kwargs: Any) -> Iterator[Any]:
            self._local.settled = False
            with inner(database, **kwargs) as tx:
                yield tx
            if self._local.settled:
                self._local.settled = False
                self.reach("after-finish")

        setattr(owner, "write", write)  # noqa: B010 -- the wrapper takes the same arguments, which mypy cannot see
