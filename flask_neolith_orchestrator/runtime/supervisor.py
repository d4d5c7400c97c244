"""Looks whether daemons really live, starts the dead again within bounds, and ends turns that are stuck."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Sequence

from ..core.cancel import StopReason
from ..core.errors import DaemonError, StartFailed
from ..core.types import DaemonStatus, HealthStatus
from ..settings import Settings
from ..store.stores import Stores
from .attempt import Attempt
from .daemon import OrchestratorDaemon
from .lives import Lives
from .manager import OrchestratorDaemonManager
from .news import News
from .worker import Worker

log = logging.getLogger("flask_neolith_orchestrator")

GRACE = 1.0
"""Seconds that a cancelled turn has to end before its thread is given up."""


class Stuck(DaemonError):
    """The daemon does not answer: its lock cannot be taken."""


class Supervisor:
    """Heartbeats, health checks and restarts of one process's daemons. Lifetime: app, in one process."""

    def __init__(
        self,
        stores: Stores,
        settings: Settings,
        manager: OrchestratorDaemonManager,
        worker: Worker,
        news: News,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._stores = stores
        self._settings = settings
        self._manager = manager
        self._lives: Lives = manager.lives
        self._worker = worker
        self._news = news
        self._jitter = jitter
        self._clock = stores.database.clock
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._pending: set[str] = set()
        self._overdue: dict[str, float] = {}

    def heartbeat(self) -> None:
        """Write the beats of all daemons that are due and prove to live, by one statement."""
        now = self._clock.monotonic()
        stuck = {attempt.claim.orchestrator_id for attempt in self._worker.past_deadline()}
        beating = []
        for daemon in self._manager.get_running_daemons():
            if daemon.next_beat <= now and daemon.id not in stuck and _answers(daemon):
                daemon.next_beat = now + daemon.heartbeat_interval
                beating.append(daemon)
        if not beating:
            return
        with self._stores.database.write() as tx:
            self._stores.daemons.beat(tx, [daemon.id for daemon in beating])
        at = self._clock.wall()
        for daemon in beating:
            daemon.beat_at = at
            if daemon.listens("heartbeat"):
                daemon.emit("heartbeat", health=daemon.get_health_status())

    def check(self) -> None:
        """Look at each daemon of this process; one that does not answer is restarted on a thread of its own."""
        running = [daemon for daemon in self._manager.all() if daemon.is_running()]
        suspects = [daemon for daemon in running if not _answers(daemon)]
        states = {state.orchestrator.id: state for state in self._manager.get_all_daemon_statuses()}
        for daemon in running:
            if daemon not in suspects and daemon.id in states:
                self._tell_health(daemon, states[daemon.id].health)
        # all that gave no answer get the same second: many of them do not add up
        until = self._clock.monotonic() + GRACE
        for daemon in suspects:
            if not _answers(daemon, patience=max(0.0, until - self._clock.monotonic())):
                error = Stuck()
                self._manager.emit("daemon:health-error", orchestrator_id=daemon.id, error=error)
                self.died(daemon, error)

    def _tell_health(self, daemon: OrchestratorDaemon, health: HealthStatus) -> None:
        self._manager.emit("daemon:health", orchestrator_id=daemon.id, health=health)
        payload = {
            "status": str(health.status),
            "uptime": health.uptime,
            "activeConversations": health.active_conversations,
            "totalMessagesProcessed": health.total_messages_processed,
            "queued": health.queued,
            "failed": health.failed,
            "restarts": health.restarts,
        }
        self._news.daemon("daemon:health", daemon.orchestrator, payload)

    def end_stuck_turns(self) -> None:
        """Cancel turns past their deadline; one that will not end loses its thread, and its work goes back."""
        now = self._clock.monotonic()
        late: Sequence[Attempt] = self._worker.past_deadline()
        self._overdue = {
            turn: since for turn, since in self._overdue.items() if turn in {one.claim.turn_id for one in late}
        }
        for attempt in late:
            since = self._overdue.setdefault(attempt.claim.turn_id, now)
            attempt.cancel.set(StopReason.DEADLINE)
            if now - since > GRACE:
                log.error("A turn's thread was given up", extra=attempt.fields("turn-abandoned"))
                self._worker.abandon(attempt)
                self._lives.crew.hand_back(attempt.claim.turn_id)

    def died(self, daemon: OrchestratorDaemon, error: Exception) -> None:
        """A daemon died or could not start for a passing cause: start it again later, or give up."""
        with self._lock:
            if daemon.id in self._pending or self._closed.is_set():
                return
            self._pending.add(daemon.id)
        daemon.note_error(self._clock.wall(), error)
        threading.Thread(
            target=self._restart, args=(daemon, error), name=f"neolith-restart-{daemon.id}", daemon=True
        ).start()

    def will_restart(self, orchestrator_id: str) -> bool:
        """Whether a restart waits for its delay: nobody else should start the daemon meanwhile."""
        with self._lock:
            return orchestrator_id in self._pending

    def _restart(self, daemon: OrchestratorDaemon, error: Exception) -> None:
        try:
            while (delay := self._next_delay(daemon, error)) is not None:
                log.warning(
                    "Daemon of @%s died (%s); started again in %.1f s",
                    daemon.orchestrator.handle,
                    type(error).__name__,
                    delay,
                    extra={"action": "daemon-died", "orchestrator": daemon.id},
                )
                if self._closed.wait(delay) or not self._is_wanted(daemon):
                    return
                found = self._try(daemon)
                if found is None:
                    return
                error = found
        except Exception:
            log.exception("A restart failed", extra={"action": "restart-failed", "orchestrator": daemon.id})
        finally:
            with self._lock:
                self._pending.discard(daemon.id)

    def _next_delay(self, daemon: OrchestratorDaemon, error: Exception) -> float | None:
        """Seconds until the next restart, which is counted; None if there were too many: then it has failed."""
        now = self._clock.wall()
        span = self._settings.restart_window / 1000
        with self._stores.database.write() as tx:
            row = self._stores.daemons.rows(tx, [daemon.id]).get(daemon.id)
            window = [at for at in (row.window if row is not None else ()) if at > now - span]
            allowed = self._settings.auto_restart and len(window) < self._settings.max_restart_attempts
            if allowed:
                self._stores.daemons.record_restart(tx, daemon.id, [*window, now], count=True)
        if allowed:
            base = self._settings.restart_delay / 1000 * 2.0 ** len(window)
            return float(base * (0.75 + 0.5 * self._jitter()))
        if daemon.life.acquire(timeout=GRACE):
            try:
                self._lives.give_up(daemon, error)
            finally:
                daemon.life.release()
        self._manager.emit("daemon:failed", orchestrator_id=daemon.id, error=error)
        return None

    def _is_wanted(self, daemon: OrchestratorDaemon) -> bool:
        with self._stores.database.read() as tx:
            return daemon.id in self._stores.daemons.wanted(tx)

    def _try(self, daemon: OrchestratorDaemon) -> Exception | None:
        """Start it; None if it runs or cannot run for good, else why it did not."""
        if not daemon.life.acquire(timeout=GRACE):
            return Stuck()
        try:
            if daemon.is_running():
                self._lives.halt(daemon, "restart", keep_row=True)
            if daemon.get_status() is DaemonStatus.ERROR:
                daemon.move(DaemonStatus.STOPPED)
            self._lives.run(daemon)
        except StartFailed:
            return None
        except Exception as error:  # noqa: BLE001 -- whatever it died of counts as a death, and the caller logs it
            return error
        finally:
            daemon.life.release()
        count = self._manager.restarts(daemon.id)
        self._manager.emit("daemon:restarted", orchestrator_id=daemon.id, restart_count=count)
        return None

    def close(self) -> None:
        """No more restarts. Safe twice."""
        self._closed.set()


def _answers(daemon: OrchestratorDaemon, patience: float = 0.0) -> bool:
    """Evidence of life: its lock can be taken. One that is just starting or stopping is busy, not dead."""
    if not daemon.is_running():
        return True
    if daemon.life.acquire(timeout=patience) if patience else daemon.life.acquire(blocking=False):
        daemon.life.release()
        return True
    return daemon.get_status() is not DaemonStatus.RUNNING
