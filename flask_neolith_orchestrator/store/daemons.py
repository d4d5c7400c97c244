"""One row per orchestrator, on which all processes agree: wanted, by whom, and what became of it.

Every change is a conditional update. Whoever changed the row tells everybody, so each thing is told once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, or_, select, update

from ..core.types import Cause, DaemonStatus, Wanted
from .database import Database
from .inbox import insert_into
from .models import Models


@dataclass(frozen=True, slots=True)
class DaemonRow:
    """The row as it was when it was read."""

    orchestrator_id: str
    wanted: Wanted
    cause: Cause
    state: DaemonStatus
    reason: str | None
    error: str | None
    started_at: float | None
    beat_at: float | None
    restarts: int
    window: tuple[float, ...]
    processed: int
    failed: int


class Daemons:
    """Reads and changes daemon rows. Lifetime: app, in one process."""

    def __init__(self, models: Models, database: Database) -> None:
        self._clock = database.clock
        self._dialect = database.dialect
        self._w = models.table("Daemon")
        self._d = models.table("Delivery")
        self._s = models.table("Slot")

    def ensure(self, tx: Connection, orchestrator_id: str) -> None:
        """Have a row."""
        row = {
            "orchestrator_id": int(orchestrator_id),
            "wanted": "stopped",
            "cause": "login",
            "state": "stopped",
            "restarts": 0,
            "window": "[]",
            "processed": 0,
            "failed": 0,
            "slots": 0,
        }
        tx.execute(insert_into(self._w, self._dialect).values(row).on_conflict_do_nothing())

    def lock(self, tx: Connection, orchestrator_id: str) -> None:
        """Make others who decide about this daemon wait for this transaction."""
        w = self._w
        tx.execute(select(w.c.orchestrator_id).where(w.c.orchestrator_id == int(orchestrator_id)).with_for_update())

    def want(self, tx: Connection, orchestrator_id: str, wanted: Wanted, cause: Cause) -> bool:
        """Write the wish; True if that changed whether it is wanted."""
        self.ensure(tx, orchestrator_id)
        w = self._w
        same = w.c.orchestrator_id == int(orchestrator_id)
        changed = tx.execute(
            update(w).where(same, w.c.wanted != str(wanted)).values(wanted=str(wanted), cause=str(cause))
        )
        if not changed.rowcount:
            tx.execute(update(w).where(same, w.c.cause != str(cause)).values(cause=str(cause)))
        return bool(changed.rowcount)

    def move(
        self,
        tx: Connection,
        orchestrator_id: str,
        state: DaemonStatus,
        *,
        unless: Sequence[DaemonStatus] = (),
        reason: str | None = None,
        error: str | None = None,
    ) -> bool:
        """Write the state, unless it is that already or one of `unless`; True if the row changed."""
        w = self._w
        values: dict[str, Any] = {"state": str(state), "reason": reason, "error": error}
        if state is DaemonStatus.RUNNING:
            values["started_at"] = self._clock.wall()
            values["beat_at"] = None  # the last beat of an earlier life is no sign of this one
        if state in (DaemonStatus.STOPPED, DaemonStatus.ERROR):
            values["started_at"] = None
        refused = [str(state), *(str(one) for one in unless)]
        changed = tx.execute(
            update(w).where(w.c.orchestrator_id == int(orchestrator_id), w.c.state.not_in(refused)).values(**values)
        )
        return bool(changed.rowcount)

    def record_restart(self, tx: Connection, orchestrator_id: str, window: Sequence[float], *, count: bool) -> None:
        """Write the restart window; `count` counts one more restart."""
        w = self._w
        tx.execute(
            update(w)
            .where(w.c.orchestrator_id == int(orchestrator_id))
            .values(window=json.dumps(list(window)), restarts=w.c.restarts + (1 if count else 0))
        )

    def beat(self, tx: Connection, orchestrator_ids: Sequence[str]) -> None:
        """Write the heartbeats of many daemons by one statement (per 10,000)."""
        w = self._w
        keys = [int(one) for one in orchestrator_ids]
        for start in range(0, len(keys), 10_000):
            tx.execute(
                update(w)
                .where(w.c.orchestrator_id.in_(keys[start : start + 10_000]))
                .values(beat_at=self._clock.wall())
            )

    def rows(self, tx: Connection, orchestrator_ids: Sequence[str] | None = None) -> dict[str, DaemonRow]:
        """Rows by orchestrator id: all, or those asked for."""
        statement = select(self._w)
        if orchestrator_ids is not None:
            statement = statement.where(self._w.c.orchestrator_id.in_([int(one) for one in orchestrator_ids]))
        return {str(row.orchestrator_id): _row(row) for row in tx.execute(statement)}

    def wanted(self, tx: Connection) -> dict[str, DaemonStatus]:
        """Orchestrators that should be running, with their state over all processes."""
        w = self._w
        rows = tx.execute(select(w.c.orchestrator_id, w.c.state).where(w.c.wanted == "running"))
        return {str(row[0]): DaemonStatus(row[1]) for row in rows}

    def unbacked(self, tx: Connection) -> list[str]:
        """Set every row that claims to run to stopped (reason no-node); returns whose row that changed.

        For a process that has made sure that no node is alive.
        """
        w = self._w
        alive = [str(one) for one in (DaemonStatus.RUNNING, DaemonStatus.INITIALIZING, DaemonStatus.STOPPING)]
        rows = tx.execute(
            update(w)
            .where(w.c.state.in_(alive))
            .values(state="stopped", reason="no-node", started_at=None)
            .returning(w.c.orchestrator_id)
        )
        return [str(row[0]) for row in rows]

    def counts(self, tx: Connection, orchestrator_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Per orchestrator: waiting deliveries, and turns running now, over all nodes."""
        keys = [int(one) for one in orchestrator_ids]
        d, s = self._d, self._s
        waiting = self._by_orchestrator(tx, d, d.c.orchestrator_id.in_(keys), d.c.state == "waiting")
        active = self._by_orchestrator(tx, s, s.c.orchestrator_id.in_(keys), s.c.node_id.is_not(None))
        return {str(key): (waiting.get(key, 0), active.get(key, 0)) for key in keys}

    @staticmethod
    def _by_orchestrator(tx: Connection, table: Table, *which: ColumnElement[bool]) -> dict[int, int]:
        key = table.c.orchestrator_id
        return {row[0]: row[1] for row in tx.execute(select(key, func.count()).where(*which).group_by(key))}

    def forget_error(self, tx: Connection, orchestrator_id: str) -> None:
        """A person begins afresh: the error and the restart window are forgotten."""
        w = self._w
        tx.execute(
            update(w)
            .where(w.c.orchestrator_id == int(orchestrator_id), or_(w.c.state == "error", w.c.window != "[]"))
            .values(window="[]", error=None, state=_after_error(w))
        )


def _after_error(w: Any) -> Any:
    return func.replace(w.c.state, "error", "stopped")


def _row(row: Any) -> DaemonRow:
    return DaemonRow(
        orchestrator_id=str(row.orchestrator_id),
        wanted=Wanted(row.wanted),
        cause=Cause(row.cause),
        state=DaemonStatus(row.state),
        reason=row.reason,
        error=row.error,
        started_at=row.started_at,
        beat_at=row.beat_at,
        restarts=row.restarts,
        window=tuple(json.loads(row.window)),
        processed=row.processed,
        failed=row.failed,
    )
