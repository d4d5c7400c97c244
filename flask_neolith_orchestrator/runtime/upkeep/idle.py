"""Work until nothing is ready: for tests of host apps, also in a database that lives in memory."""

from __future__ import annotations

import threading
import time

from ...core.types import Cause, Wanted
from ...store.stores import Stores
from ..daemons.desk import Desk
from ..daemons.duty import Duty
from ..turns.summaries import Summaries
from ..turns.worker import Worker
from .sweeper import Sweeper


class Idle:
    """Brings a process to rest. Lifetime: one call."""

    def __init__(
        self, stores: Stores, worker: Worker, duty: Duty, desk: Desk, sweeper: Sweeper, summaries: Summaries
    ) -> None:
        self._stores = stores
        self._worker = worker
        self._duty = duty
        self._desk = desk
        self._sweeper = sweeper
        self._summaries = summaries

    def run(self, timeout: float) -> None:
        """Wait for the threads, or, where there can be none, work here. Raises TimeoutError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        if self._stores.database.threads:
            self._wait(deadline)
        else:
            self._work(deadline)

    def _wait(self, deadline: float) -> None:
        pause = threading.Event()
        if not self._desk.wait_idle(deadline - time.monotonic()):
            raise TimeoutError("A login is still being recorded.")
        # first what is ready: what is just being claimed is neither that nor running, but the worker knows of it
        while self._stores.leases.ready() or not self._worker.wait_idle(None, 0.0):
            if time.monotonic() > deadline:
                raise TimeoutError("There is still work to do.")
            self._sweeper.ring_ready()
            pause.wait(0.01)
        if not self._summaries.wait_idle(deadline - time.monotonic()):
            raise TimeoutError("A session is still being summed up.")

    def _work(self, deadline: float) -> None:
        """Everybody for whom something waits works in the caller's thread and transaction."""
        stores = self._stores
        self._duty.everywhere = True
        with stores.database.read() as tx:
            waiting = stores.leases.waiting(tx)
        for daemon in self._duty.manager.daemons_for(waiting):
            with stores.database.write() as tx:
                stores.daemons.ensure(tx, daemon.id)
                stores.daemons.want(tx, daemon.id, Wanted.RUNNING, Cause.LOGIN)
                stores.leases.make_slots(tx, daemon.id, daemon.limit)
            while self._worker.drain(daemon.id):
                if time.monotonic() > deadline:
                    raise TimeoutError("There is still work to do.")
        self._summaries.work()
