"""Starts daemons again that died or hang: after growing delays, within a budget, and never on too many threads."""

from __future__ import annotations

import heapq
import itertools
import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ...core.errors import StartFailed
from ...settings import Settings
from ...store.stores import Stores
from .daemon import OrchestratorDaemon
from .manager import OrchestratorDaemonManager

log = logging.getLogger("flask_neolith_orchestrator")

MOST = 8
"""Restarts that are tried at one time in a process; one that is known to hang does not count."""

LOOK = 1.0
"""Seconds after which a restart that waits for a daemon's lock looks whether its holder hangs."""


@dataclass(eq=False, slots=True)
class _Restart:
    """What is to be done about one dead daemon. `started_at` is the life that ended."""

    daemon: OrchestratorDaemon
    error: Exception
    started_at: float | None
    counted: bool = False
    thread: int | None = None

    def hangs(self) -> bool:
        """Whether it is this restart that holds the daemon's lock, and no other that is still to lose it."""
        return self.thread is not None and self.daemon.life.holder == self.thread


def delay_before(restart: int, first: float, jitter: float) -> float:
    """Seconds before the restart with this number (from 0) in the window: doubling, spread by `jitter` in 0..1."""
    return float(first * 2.0**restart * (0.75 + 0.5 * jitter))


class Restarts:
    """Who is to be started again, and when. Lifetime: app, in one process. No thread while nobody is."""

    def __init__(
        self,
        stores: Stores,
        settings: Settings,
        manager: OrchestratorDaemonManager,
        hangs: Callable[[OrchestratorDaemon], bool],
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._stores = stores
        self._settings = settings
        self._manager = manager
        self._lives = manager.lives
        self._hangs = hangs
        self._jitter = jitter
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, _Restart]] = []
        self._numbers = itertools.count()
        self._pending: dict[str, _Restart] = {}
        self._threads = 0
        self._idle = 0
        self._closed = False

    def died(self, daemon: OrchestratorDaemon, error: Exception, *, hangs: bool = False) -> None:
        """A daemon died, hangs, or could not start for a passing cause: start it again later, or give up."""
        with self._changed:
            found = self._pending.get(daemon.id)
            if self._closed or (found is not None and not (hangs and found.hangs())):
                return
            if found is not None:  # it is the restart itself that hangs: its thread is given up
                self._threads -= 1
            restart = self._pending[daemon.id] = _Restart(daemon, error, daemon.started_at)
            daemon.note_error(self._stores.database.clock.wall(), error)
            self._put(restart, 0.0)

    def will_restart(self, orchestrator_id: str) -> bool:
        """Whether a restart waits for its delay: nobody else should start the daemon meanwhile."""
        with self._changed:
            return orchestrator_id in self._pending

    def look(self) -> None:
        """Have a thread for what is due, if there could be none before."""
        with self._changed:
            if self._due:
                self._staff()

    def _put(self, restart: _Restart, delay: float) -> None:
        restart.thread = None
        heapq.heappush(self._due, (time.monotonic() + delay, next(self._numbers), restart))
        self._changed.notify()
        self._staff()

    def _staff(self) -> None:
        if self._idle or self._threads >= MOST:
            return
        try:
            threading.Thread(target=self._work, name="neolith-restart", daemon=True).start()
        except RuntimeError:  # no more threads: `look` tries again
            log.exception("Restarts have no thread", extra={"action": "restart-failed"})
        else:
            self._threads += 1

    def _work(self) -> None:
        while (restart := self._next()) is not None:
            delay = None
            try:
                delay = self._act(restart)
            except Exception:
                # the loop's border: what is wanted and does not run is looked at by the sweep again
                log.exception("A restart failed", extra={"action": "restart-failed", "orchestrator": restart.daemon.id})
            if not self._acted(restart, delay):
                return

    def _next(self) -> _Restart | None:
        with self._changed:
            while self._due and not self._closed:
                wait = self._due[0][0] - time.monotonic()
                if wait <= 0:
                    restart = heapq.heappop(self._due)[2]
                    restart.thread = threading.get_ident()
                    if self._due:
                        self._staff()
                    return restart
                self._idle += 1
                self._changed.wait(wait)
                self._idle -= 1
            self._threads -= 1
            self._changed.notify_all()
            return None

    def _acted(self, restart: _Restart, delay: float | None) -> bool:
        """Note what came of it; False if this thread was given up meanwhile."""
        with self._changed:
            if self._pending.get(restart.daemon.id) is not restart:
                return False
            if delay is None or self._closed:
                del self._pending[restart.daemon.id]
            else:
                self._put(restart, delay)
            return True

    def _act(self, restart: _Restart) -> float | None:
        """Count the restart, or do it. Seconds until the next step; None if there is none."""
        if not restart.counted:
            restart.counted = True
            return self._next_delay(restart.daemon, restart.error, restart.started_at)
        found = self._try(restart)
        if found is None:
            return None
        restart.daemon.note_error(self._stores.database.clock.wall(), found)
        restart.error, restart.counted, restart.started_at = found, False, restart.daemon.started_at
        return 0.0

    def _next_delay(self, daemon: OrchestratorDaemon, error: Exception, started_at: float | None) -> float | None:
        """Seconds until the next restart, which is counted; None if there were too many: then it has failed."""
        now = self._stores.database.clock.wall()
        span = self._settings.restart_window / 1000
        with self._stores.database.write() as tx:
            row = self._stores.daemons.rows(tx, [daemon.id]).get(daemon.id)
            window = [at for at in (row.window if row is not None else ()) if at > now - span]
            allowed = self._settings.auto_restart and len(window) < self._settings.max_restart_attempts
            if allowed:
                self._stores.daemons.record_restart(tx, daemon.id, [*window, now], count=True)
                why = str(error)[:1000] or type(error).__name__
                self._stores.records.history.add(tx, [daemon.id], "died", error=why, restarts=len(window) + 1)
        if not allowed:
            self._take(daemon)
            try:
                if daemon.is_running() and daemon.started_at != started_at:
                    return None  # somebody has started it afresh meanwhile
                self._lives.give_up(daemon, error)
            finally:
                daemon.life.release()
            self._manager.emit("daemon:failed", orchestrator_id=daemon.id, error=error)
            return None
        delay = delay_before(len(window), self._settings.restart_delay / 1000, self._jitter())
        log.warning(
            "Daemon of @%s died (%s); started again in %.1f s",
            daemon.orchestrator.handle,
            type(error).__name__,
            delay,
            extra={"action": "daemon-died", "orchestrator": daemon.id},
        )
        return delay

    def _take(self, daemon: OrchestratorDaemon) -> None:
        """Hold the daemon's lock: given by whoever holds it, or taken from one who hangs."""
        # one that is known to hang is not waited for: the next check would take this for a restart that hangs as well
        while not daemon.life.acquire(timeout=0.0 if (hangs := self._hangs(daemon)) else LOOK):
            if hangs:
                log.error(
                    "A start or stop of @%s hangs and was given up",
                    daemon.orchestrator.handle,
                    extra={"action": "daemon-superseded", "orchestrator": daemon.id},
                )
                daemon.life.seize()
                return

    def _try(self, restart: _Restart) -> Exception | None:
        """Start it; None if it runs or shall not run, else why it does not."""
        daemon = restart.daemon
        self._take(daemon)
        try:
            if self._closed or (daemon.is_running() and daemon.started_at != restart.started_at):
                return None  # somebody has started it afresh meanwhile
            wanted = self._lives.is_wanted(daemon)
            self._lives.halt(daemon, "restart" if wanted else "not-wanted", keep_row=wanted)
            if not wanted:
                return None
            self._lives.run(daemon)
        except StartFailed:
            return None
        except Exception as error:  # noqa: BLE001 -- whatever it died of counts as a death, and is logged as one
            return error
        finally:
            daemon.life.release()
        count = self._manager.restarts(daemon.id)
        with self._stores.database.write() as tx:
            self._stores.records.history.add(tx, [daemon.id], "restarted", reason="died", restarts=count)
        self._manager.emit("daemon:restarted", orchestrator_id=daemon.id, restart_count=count)
        return None

    def close(self, seconds: float = 1.0) -> None:
        """No more restarts; those under way are waited for, at most `seconds`. Safe twice."""
        with self._changed:
            self._closed = True
            self._due.clear()
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._threads, seconds)
            self._pending.clear()
