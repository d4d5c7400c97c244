"""Looks whether daemons really live, starts the dead again within bounds, and ends turns that are stuck."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from typing import Any

from ...core.cancel import StopReason
from ...core.errors import DaemonStuck
from ...core.types import DaemonState, DaemonStatus
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

MOST_WATCHED = 200
"""Daemons whose changes are told at once at the most; the others' are told by the next sweep."""

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
        self._lively: set[str] = set()
        self._last_told: dict[str, dict[str, Any]] = {}

    def heartbeat(self) -> None:
        """Write the beats of all daemons that are due and prove to live, by one statement.

        A process that runs no turns writes none: those of the others would be no evidence any more.
        """
        now = self._clock.monotonic()
        stuck = {attempt.claim.orchestrator_id for attempt in self._worker.past_deadline()}
        due = [daemon for daemon in self._manager.all() if daemon.next_beat <= now and daemon.is_running()]
        # evidence of life: its lock is free
        beating = [daemon for daemon in due if not daemon.life.held_for and daemon.id not in stuck]
        if not beating:
            return
        if self._stores.nodes.capacity:
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
                self._manager.emit("daemon:health", orchestrator_id=state.orchestrator.id, health=state.health)
                self._news.daemon("daemon:health", some[state.orchestrator.id].orchestrator, _shown(state))

    def tell_watchers(self) -> None:
        """Tell who looks at a dashboard of daemons whose answers begin, go on or end; if nobody does, read nothing."""
        running = {attempt.claim.orchestrator_id for attempt in self._worker.running()}
        stirred = self._news.take_stirred() | self._lively | running
        daemons = {one.id: one for one in map(self._manager.get_daemon, stirred) if one is not None}
        watched = [one for one in daemons.values() if self._news.is_watched(one.orchestrator)]
        self._lively = {one.id for one in watched[MOST_WATCHED:]}
        told = {}
        for state in self._manager.get_daemon_statuses([one.id for one in watched[:MOST_WATCHED]]) if watched else ():
            snapshot, shown = state.orchestrator, _shown(state)
            if state.health.active_conversations or (state.health.queued and state.status is DaemonStatus.RUNNING):
                self._lively.add(snapshot.id)  # until it rests
                told[snapshot.id] = {**shown, "uptime": None}
            if self._last_told.get(snapshot.id) != {**shown, "uptime": None}:
                self._news.daemon("daemon:health", snapshot, shown, watched=True)
        self._last_told = told

    def _watched(self) -> list[OrchestratorDaemon]:
        """Daemons whose health somebody may hear: of thousands that nobody watches nothing is read."""
        running = self._manager.get_running_daemons()
        if self._manager.hears("daemon:health"):
            return running
        circles = {daemon.orchestrator.organization_id: daemon.orchestrator for daemon in running}
        heard = {key for key, one in circles.items() if self._news.is_heard(one)}
        return [daemon for daemon in running if daemon.orchestrator.organization_id in heard]

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


def _shown(state: DaemonState) -> dict[str, Any]:
    health = state.health
    return {
        "status": str(health.status),
        "uptime": health.uptime,
        "activeConversations": health.active_conversations,
        "totalMessagesProcessed": health.total_messages_processed,
        "queued": health.queued,
        "failed": health.failed,
        "deadLetters": state.dead_letters,
        "restarts": health.restarts,
    }
