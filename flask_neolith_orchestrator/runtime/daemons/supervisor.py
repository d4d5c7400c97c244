"""Looks whether daemons really live, starts the dead again within bounds, and ends turns that are stuck."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence

from ...core.cancel import StopReason
from ...core.errors import DaemonStuck
from ...core.types import HealthStatus
from ...settings import Settings
from ...store.stores import Stores
from ..broadcast.news import News
from ..turns.attempt import Attempt
from ..turns.worker import Worker
from .daemon import OrchestratorDaemon
from .lives import BATCH
from .manager import OrchestratorDaemonManager
from .restarts import Restarts

log = logging.getLogger("flask_neolith_orchestrator")

GRACE = 1.0
"""Seconds that a cancelled turn has to end before its thread is given up."""


ANSWER = 10.0
"""Seconds for which something may hold the lock of a daemon that runs: nothing that does so waits for anybody."""

HANG = 60.0
"""Seconds that a start, or a stop after DAEMON_STOP_TIMEOUT, may take: the database may be busy for 30 of them."""


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
        self._worker = worker
        self._news = news
        self._restarts = Restarts(stores, settings, manager, self.hangs, jitter=jitter)
        self._clock = stores.database.clock
        self._overdue: dict[str, float] = {}

    def heartbeat(self) -> None:
        """Write the beats of all daemons that are due and prove to live, by one statement."""
        now = self._clock.monotonic()
        stuck = {attempt.claim.orchestrator_id for attempt in self._worker.past_deadline()}
        due = [daemon for daemon in self._manager.all() if daemon.next_beat <= now and daemon.is_running()]
        # evidence of life: its lock is free
        beating = [daemon for daemon in due if not daemon.life.held_for and daemon.id not in stuck]
        if not beating:
            return
        with self._stores.database.write() as tx:
            self._stores.daemons.beat(tx, [daemon.id for daemon in beating])
        at, heard = self._clock.wall(), self._manager.heard("heartbeat")
        for daemon in beating:
            daemon.next_beat = now + daemon.heartbeat_interval
            daemon.beat_at = at
            if (heard or daemon.has_listeners) and daemon.listens("heartbeat"):
                self._tell_beat(daemon)

    @staticmethod
    def _tell_beat(daemon: OrchestratorDaemon) -> None:
        try:
            daemon.emit("heartbeat", health=daemon.get_health_status())
        except Exception:
            # one whose row has just been deleted, say: the others' beats are told all the same
            log.exception("A beat could not be told", extra={"action": "tell-failed", "orchestrator": daemon.id})

    def check(self) -> None:
        """Look at each daemon of this process; one that does not answer is named, and begun afresh a little later."""
        for daemon in self._manager.all():
            if self.hangs(daemon):
                error = DaemonStuck()
                self._manager.emit("daemon:health-error", orchestrator_id=daemon.id, error=error)
                self._restarts.died(daemon, error, hangs=True)
        self._restarts.look()
        watched = [daemon for daemon in self._watched() if not self.hangs(daemon)]
        for start in range(0, len(watched), BATCH):
            some = {daemon.id: daemon for daemon in watched[start : start + BATCH]}
            for state in self._manager.get_daemon_statuses(list(some)):
                self._tell_health(some[state.orchestrator.id], state.health)

    def _watched(self) -> list[OrchestratorDaemon]:
        """Daemons whose health somebody may hear: of thousands that nobody watches nothing is read."""
        running = self._manager.get_running_daemons()
        if self._manager.hears("daemon:health"):
            return running
        circles = {daemon.orchestrator.organization_id: daemon.orchestrator for daemon in running}
        heard = {key for key, one in circles.items() if self._news.is_heard(one)}
        return [daemon for daemon in running if daemon.orchestrator.organization_id in heard]

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
                self._manager.lives.crew.hand_back(attempt.claim.turn_id)

    def died(self, daemon: OrchestratorDaemon, error: Exception) -> None:
        """A daemon died or could not start for a passing cause: start it again later, or give up."""
        self._restarts.died(daemon, error)

    def will_restart(self, orchestrator_id: str) -> bool:
        """Whether a restart waits for its delay: nobody else should start the daemon meanwhile."""
        return self._restarts.will_restart(orchestrator_id)

    def hangs(self, daemon: OrchestratorDaemon) -> bool:
        """Whether somebody has held the daemon's lock for longer than any start or stop may take."""
        patience = ANSWER if daemon.is_running() else self._settings.stop_timeout / 1000 + HANG
        return daemon.life.held_for > patience

    def hanging(self) -> int:
        """How many daemons of this process do not answer."""
        return sum(self.hangs(daemon) for daemon in self._manager.all())

    def close(self) -> None:
        """No more restarts. Safe twice."""
        self._restarts.close()
