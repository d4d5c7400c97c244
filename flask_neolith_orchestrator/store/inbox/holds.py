"""Deliveries that wait although it is their turn: for a budget, and whatever else `held` names."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from ..sql.database import Database
from ..tables.columns import WAITING
from ..tables.models import Models


class Holds:
    """Looks at what is held, and lets it go. Lifetime: app, in one process; each caller brings its transaction."""

    def __init__(self, models: Models, database: Database) -> None:
        self._clock = database.clock
        self._d, self._t = models.table("Delivery"), models.table("Turn")

    def who(self, tx: Connection, held: str) -> list[str]:
        """Orchestrators that keep somebody waiting for this reason."""
        d = self._d
        statement = select(d.c.orchestrator_id).where(d.c.state == WAITING, d.c.held == held)
        return [str(row[0]) for row in tx.execute(statement.distinct().order_by(d.c.orchestrator_id))]

    def release(self, tx: Connection, orchestrator_id: str, held: str) -> int:
        """Nothing stands in the way any more: who waited for this is ready now. How many there were."""
        d = self._d
        mine = (d.c.orchestrator_id == int(orchestrator_id), d.c.state == WAITING, d.c.held == held)
        return tx.execute(update(d).where(*mine).values(ready_at=self._clock.wall(), held=None)).rowcount

    def was_told(self, tx: Connection, conversation_id: str, turn_id: str, kind: str, since: float) -> bool:
        """Whether an earlier turn of this conversation has ended since then with an error of this kind."""
        t = self._t
        mine = (t.c.conversation_id == int(conversation_id), t.c.id != int(turn_id))
        statement = select(t.c.id).where(*mine, t.c.error_kind == kind, t.c.ended_at >= since)
        return tx.execute(statement.limit(1)).first() is not None
