"""How daemons are, read from the database that all processes share, and from this process where it knows better."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ...core.types import Cause, DaemonState, DaemonStatus, HealthStatus, OrchestratorSnapshot, Wanted
from ...store.lives.daemons import Counts, DaemonRow
from ...store.stores import Stores
from .daemon import OrchestratorDaemon


class Statuses:
    """Reads how daemons are. Lifetime: app, in one process."""

    def __init__(self, stores: Stores, check_schema: Callable[[], None]) -> None:
        self._stores = stores
        self.check_schema = check_schema

    def states(
        self, orchestrator_ids: Sequence[str] | None, local: Mapping[str, OrchestratorDaemon]
    ) -> list[DaemonState]:
        """States of all orchestrators, or of those asked for; unknown ids are left out."""
        stores = self._stores
        with stores.database.read() as tx:
            snapshots = stores.people.snapshots(tx, orchestrator_ids)
            ids = None if orchestrator_ids is None else [snapshot.id for snapshot in snapshots]
            rows, counts = stores.daemons.rows(tx, ids), stores.daemons.counts(tx, ids)
            dead = stores.records.turn_list.dead(tx, ids)
        found = [
            self._state(snapshot, rows.get(snapshot.id), counts.get(snapshot.id, Counts()), local.get(snapshot.id))
            for snapshot in snapshots
        ]
        return [replace(one, dead_letters=dead.get(one.orchestrator.id, 0)) for one in found] if dead else found

    def restarts(self, orchestrator_id: str) -> int:
        """How often it was restarted."""
        with self._stores.database.read() as tx:
            row = self._stores.daemons.rows(tx, [orchestrator_id]).get(orchestrator_id)
        return 0 if row is None else row.restarts

    def _state(
        self,
        snapshot: OrchestratorSnapshot,
        row: DaemonRow | None,
        counts: Counts,
        daemon: OrchestratorDaemon | None,
    ) -> DaemonState:
        errors = daemon.errors if daemon is not None else ()
        if row is None:
            status = DaemonStatus.STOPPED if daemon is None else daemon.get_status()
            health = HealthStatus(status, None, counts.active, counts.answered, None, errors, counts.waiting)
            return DaemonState(snapshot, status, Wanted.STOPPED, Cause.LOGIN, health)
        status = _status(row, daemon)
        uptime = None
        if status is DaemonStatus.RUNNING and row.started_at is not None:
            uptime = max(0.0, (self._stores.database.clock.wall() - row.started_at) * 1000)
        health = HealthStatus(
            status=status,
            uptime=uptime,
            active_conversations=counts.active,
            total_messages_processed=row.processed + counts.answered,
            last_heartbeat=row.beat_at,
            errors=errors,
            queued=counts.waiting,
            failed=row.failed + counts.failed,
            restarts=row.restarts,
        )
        return DaemonState(
            orchestrator=snapshot,
            status=status,
            wanted=row.wanted,
            cause=row.cause,
            health=health,
            started_at=row.started_at,
            restart_count=row.restarts,
            last_error=row.error,
        )


def _status(row: DaemonRow, daemon: OrchestratorDaemon | None) -> DaemonStatus:
    """The shared row, except for the moves that only this process sees."""
    passing = (DaemonStatus.INITIALIZING, DaemonStatus.STOPPING)
    if daemon is not None and daemon.get_status() in passing:
        return daemon.get_status()
    return row.state
