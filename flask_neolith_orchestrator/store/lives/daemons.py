"""One row per orchestrator, on which all processes agree: wanted, by whom, and what became of it.

Every change is a conditional update. Whoever changed the row tells everybody, so each thing is told once.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    BindParameter,
    Connection,
    Double,
    bindparam,
    case,
    cast,
    exists,
    extract,
    func,
    literal,
    null,
    or_,
    select,
    update,
)

from ...core.types import Cause, DaemonStatus, Wanted
from ..sql.database import Database
from ..sql.inserts import insert_into
from ..tables.columns import WAITING
from ..tables.models import Models


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


@dataclass(frozen=True, slots=True)
class Counts:
    """Deliveries that wait, turns that run now, and deliveries that were answered and failed (since version 5)."""

    waiting: int = 0
    active: int = 0
    answered: int = 0
    failed: int = 0


_BLANK: Final = {
    "wanted": "stopped",
    "cause": "login",
    "state": "stopped",
    "restarts": 0,
    "window": "[]",
    "processed": 0,
    "failed": 0,
    "slots": 0,
}
"""A row that nobody has written yet."""


LOST: Final = 2
"""The wish for one that should be running while its row says that it is stopped."""


class Daemons:
    """Reads and changes daemon rows. Lifetime: app, in one process."""

    def __init__(self, models: Models, database: Database) -> None:
        self._clock = database.clock
        self._dialect = database.dialect
        self._w = models.table("Daemon")
        self._d = models.table("Delivery")
        self._s = models.table("Slot")
        self._o = models.table("Orchestrator")
        self._server_time = database.clock.database and database.dialect.name == "postgresql"
        wanted, state = self._w.c.wanted, self._w.c.state
        wish = case((wanted != "running", 0), (state == "error", null()), (state == "stopped", LOST), else_=1)
        wishes = select(self._w.c.orchestrator_id, wish)
        self._wishes = database.prepare(wishes)
        self._changes = database.prepare(wishes.where(self._w.c.changed_at > self._ago(database)))
        self._beats = database.prepare(self._beat_statement())

    def _ago(self, database: Database) -> Any:
        span: BindParameter[float] = bindparam("b_span", type_=Double)
        if self._server_time:  # unlike clock_timestamp() this is one value for a statement, so the index serves
            return cast(extract("epoch", func.statement_timestamp()), Double) - span
        return database.now() - span

    def _beat_statement(self) -> Any:
        w, at = self._w, bindparam("b_at", type_=Double)
        # one parameter for all keys: a list of ten thousand costs more than the update itself
        if self._dialect.name == "postgresql":
            mine = w.c.orchestrator_id == func.any(bindparam("b_keys", type_=ARRAY(BigInteger)))
        else:
            mine = w.c.orchestrator_id.in_(select(func.json_each(bindparam("b_keys")).table_valued("value").c.value))
        return update(w).where(mine).values(beat_at=at)

    def _now(self) -> Any:
        """For `changed_at`: every change of what is wanted or of a state carries it, so that others find the row."""
        return cast(extract("epoch", func.clock_timestamp()), Double) if self._server_time else self._clock.wall()

    def ensure(self, tx: Connection, orchestrator_id: str) -> None:
        """Have a row."""
        row = {"orchestrator_id": int(orchestrator_id), **_BLANK}
        tx.execute(insert_into(self._w, self._dialect).values(row).on_conflict_do_nothing())

    def start(self, tx: Connection, orchestrator_ids: Sequence[str]) -> list[str]:
        """Write that many run, by three statements; returns those whose row that changed.

        The rows are locked in the order of their ids, so that two processes that start the same ones do not block
        each other for ever.
        """
        self.have(tx, orchestrator_ids)
        w, keys = self._w, [int(one) for one in orchestrator_ids]
        idle = (w.c.orchestrator_id.in_(keys), w.c.state != "running")
        locked = select(w.c.orchestrator_id).where(*idle).order_by(w.c.orchestrator_id).with_for_update()
        rows = tx.execute(
            update(w)
            .where(w.c.orchestrator_id.in_(locked), w.c.state != "running")
            .values(self._state(DaemonStatus.RUNNING, None, None))
            .returning(w.c.orchestrator_id)
        )
        return [str(row[0]) for row in rows]

    def have(self, tx: Connection, orchestrator_ids: Sequence[str]) -> None:
        """As `ensure`, for many by one statement."""
        w, o = self._w, self._o
        keys = [int(one) for one in orchestrator_ids]
        blank = select(o.c.id, *[literal(value) for value in _BLANK.values()])
        missing = blank.where(o.c.id.in_(keys), ~exists().where(w.c.orchestrator_id == o.c.id)).order_by(o.c.id)
        names = ["orchestrator_id", *_BLANK]
        tx.execute(insert_into(w, self._dialect).from_select(names, missing).on_conflict_do_nothing())

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
            update(w)
            .where(same, w.c.wanted != str(wanted))
            .values(wanted=str(wanted), cause=str(cause), changed_at=self._now())
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
        values = self._state(state, reason, error)
        refused = [str(state), *(str(one) for one in unless)]
        changed = tx.execute(
            update(w).where(w.c.orchestrator_id == int(orchestrator_id), w.c.state.not_in(refused)).values(**values)
        )
        return bool(changed.rowcount)

    def _state(self, state: DaemonStatus, reason: str | None, error: str | None) -> dict[str, Any]:
        values: dict[str, Any] = {"state": str(state), "reason": reason, "error": error, "changed_at": self._now()}
        if state is DaemonStatus.RUNNING:
            values["started_at"] = self._clock.wall()
            values["beat_at"] = None  # the last beat of an earlier life is no sign of this one
        if state in (DaemonStatus.STOPPED, DaemonStatus.ERROR):
            values["started_at"] = None
        return values

    def record_restart(self, tx: Connection, orchestrator_id: str, window: Sequence[float], *, count: bool) -> None:
        """Write the restart window; `count` counts one more restart."""
        w = self._w
        tx.execute(
            update(w)
            .where(w.c.orchestrator_id == int(orchestrator_id))
            .values(window=json.dumps(list(window)), restarts=w.c.restarts + (1 if count else 0))
        )

    def beat(self, tx: Connection, orchestrator_ids: Sequence[str]) -> None:
        """Write the heartbeats of many daemons by one statement."""
        keys: Any = [int(one) for one in orchestrator_ids]
        if self._dialect.name != "postgresql":
            keys = json.dumps(keys)
        self._beats.run(tx, b_keys=keys, b_at=self._clock.wall())

    def rows(self, tx: Connection, orchestrator_ids: Sequence[str] | None = None) -> dict[str, DaemonRow]:
        """Rows by orchestrator id: all, or those asked for."""
        statement = select(self._w)
        if orchestrator_ids is not None:
            statement = statement.where(self._w.c.orchestrator_id.in_([int(one) for one in orchestrator_ids]))
        return {str(row.orchestrator_id): _row(row) for row in tx.execute(statement)}

    def wishes(
        self, tx: Connection, *, within: float | None = None, also: Collection[str] = ()
    ) -> dict[str, int | None]:
        """Who should be running (1, or LOST) and who not (0), by orchestrator id; None for one that has given up.

        Of all, or where that changed `within` so many seconds; `also` are ids that are read whether they changed or
        not. Rows that were written by hand have no time of their change: they are among all only.
        """
        if within is None:
            return {str(row[0]): row[1] for row in self._wishes.run(tx)}
        found = {str(row[0]): row[1] for row in self._changes.run(tx, b_span=within)}
        for key, row in self.rows(tx, list(also)).items() if also else ():
            wish = {DaemonStatus.ERROR: None, DaemonStatus.STOPPED: LOST}.get(row.state, 1)
            found[key] = wish if row.wanted is Wanted.RUNNING else 0
        return found

    def wanted(self, tx: Connection) -> dict[str, DaemonStatus]:
        """Orchestrators that should be running, with their state over all processes."""
        w = self._w
        rows = tx.execute(select(w.c.orchestrator_id, w.c.state).where(w.c.wanted == "running"))
        return {str(row[0]): DaemonStatus(row[1]) for row in rows}

    def counts(self, tx: Connection, orchestrator_ids: Sequence[str] | None = None) -> dict[str, Counts]:
        """Over all nodes: of those that have any, by orchestrator id."""
        d, s = self._d, self._s
        waiting = select(d.c.orchestrator_id, func.count()).where(d.c.state == WAITING)
        used = select(s.c.orchestrator_id, func.count(s.c.node_id), func.sum(s.c.answered), func.sum(s.c.failed)).where(
            or_(s.c.node_id.is_not(None), s.c.answered > 0, s.c.failed > 0)
        )
        if orchestrator_ids is not None:
            keys = [int(one) for one in orchestrator_ids]
            waiting, used = waiting.where(d.c.orchestrator_id.in_(keys)), used.where(s.c.orchestrator_id.in_(keys))
        queued = {row[0]: row[1] for row in tx.execute(waiting.group_by(d.c.orchestrator_id))}
        found = {
            str(row[0]): Counts(queued.pop(row[0], 0), *row[1:])
            for row in tx.execute(used.group_by(s.c.orchestrator_id))
        }
        return found | {str(key): Counts(waiting=count) for key, count in queued.items()}

    def forget_error(self, tx: Connection, orchestrator_id: str) -> None:
        """A person begins afresh: the error and the restart window are forgotten."""
        w = self._w
        tx.execute(
            update(w)
            .where(w.c.orchestrator_id == int(orchestrator_id), or_(w.c.state == "error", w.c.window != "[]"))
            .values(window="[]", error=None, state=_after_error(w), changed_at=self._now())
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
