"""The inbox as those see it who wait: what is before them, and why it does not begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, case, func, select

from ...core.types import DeliveryState, OrchestratorStatus
from ..sql.database import Database
from ..tables.columns import WAITING
from ..tables.models import Models


@dataclass(frozen=True, slots=True)
class Work:
    """One delivery for whoever asked. `position` counts what waits before it at its orchestrator; None unless it waits.

    `reason` of one that waits: what it is held for (hours, budget), offline, again (it is tried again), busy, queue,
    or None where it begins any moment; of one that has ended: why it ended so.
    """

    delivery_id: str
    message_id: str | None
    author_id: str
    orchestrator_id: str
    state: DeliveryState
    position: int | None
    reason: str | None

    def payload(self) -> dict[str, Any]:
        """As the wire shows it."""
        return {
            "deliveryId": self.delivery_id,
            "messageId": self.message_id,
            "orchestratorId": self.orchestrator_id,
            "state": str(self.state),
            "position": self.position,
            "reason": self.reason,
        }


class Queue:
    """Looks at deliveries. Lifetime: app, in one process; safe for all threads (each brings its transaction)."""

    def __init__(self, models: Models, database: Database) -> None:
        d, o = models.table("Delivery"), models.table("Orchestrator")
        before = d.alias("before")
        ahead = (
            select(func.count())
            .where(before.c.orchestrator_id == d.c.orchestrator_id, before.c.state == WAITING, before.c.id < d.c.id)
            .scalar_subquery()
        )
        looked = select(
            d.c.id,
            d.c.message_id,
            d.c.author_id,
            d.c.orchestrator_id,
            d.c.state,
            d.c.held,
            d.c.outcome,
            d.c.attempts,
            o.c.status,
            case((d.c.state == WAITING, ahead), else_=None),  # counted only where it means something
        ).join(o, o.c.id == d.c.orchestrator_id)
        keys: BindParameter[Any] = bindparam("keys", expanding=True)
        self._by_id = database.prepare(looked.where(d.c.id.in_(keys)).order_by(d.c.id))
        self._by_message = database.prepare(
            looked.where(d.c.message_id == bindparam("b_message")).order_by(d.c.id.desc()).limit(bindparam("b_limit"))
        )

    def of(self, tx: Connection, delivery_ids: Sequence[str]) -> list[Work]:
        """Deliveries by id; those that are not there are left out."""
        return [_work(row) for row in self._by_id.run(tx, keys=[int(one) for one in delivery_ids])]

    def of_message(self, tx: Connection, message_id: str, *, limit: int = 50) -> list[Work]:
        """What was accepted for a message, in order: the last `limit`."""
        rows = self._by_message.run(tx, b_message=message_id, b_limit=limit).fetchall()
        return [_work(row) for row in rows[::-1]]


def _work(row: Sequence[Any]) -> Work:
    key, message, author, orchestrator, state, held, outcome, attempts, status, position = row
    waits = state == DeliveryState.WAITING
    reason = _why(held, status, attempts, position) if waits else outcome
    return Work(str(key), message, author, str(orchestrator), DeliveryState(state), position, reason)


def _why(held: str | None, status: str, attempts: int, position: int) -> str | None:
    if held is not None:
        return held
    if status in (OrchestratorStatus.OFFLINE, OrchestratorStatus.ERROR):
        return "offline"
    if attempts:
        return "again"
    if status == OrchestratorStatus.BUSY:
        return "busy"
    return "queue" if position else None
