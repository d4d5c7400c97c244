"""Every model call and what it cost, one row each: what the provider's bill can be checked against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    String,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from ...core.money import Holdings, Period, Purse, Scope
from ...core.types import Usage
from ..sql.database import Database
from ..tables.columns import RUNNING
from ..tables.models import Models


@dataclass(frozen=True, slots=True)
class Payer:
    """On whose behalf calls are made. Lifetime: an attempt, whose fence is `epoch`."""

    turn_id: str
    epoch: int
    orchestrator_id: str
    organization_id: str
    requester_id: str
    purpose: str = "answer"


@dataclass(frozen=True, slots=True)
class Entry:
    """One call. `cost` is None where nobody knows it, `error` the class of what went wrong.

    For one that goes on, `usage` and `cost` are what it may come to at the most.
    """

    payer: Payer
    at: float
    model: str
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    request_id: str | None = None
    error: str | None = None

    @property
    def tokens(self) -> int:
        """Of all kinds."""
        return sum(getattr(self.usage, name) for name in _USAGE)


@dataclass(frozen=True, slots=True)
class Reserved:
    """A call that goes on, or did when its process died; `purses` are the budgets that it was reserved from."""

    id: int
    entry: Entry
    purses: tuple[tuple[Scope, Period], ...]


_USAGE = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")

SUMMARY = "summary"
"""The purpose of calls that are made when their turn is over."""

RESERVED: Final[ColumnElement[str]] = literal_column("'reserved'", String)
"""In SQL, as the condition of the index says it."""

DIED = "process-died"
"""The error of a call whose end nobody saw. It is billed all the same: what was reserved for it counts as spent."""


class Ledger:
    """Writes and reads the ledger. Lifetime: app, in one process; safe for all threads (each brings its tx)."""

    def __init__(self, models: Models, database: Database) -> None:
        self._clock = database.clock
        self._l = ledger = models.table("Ledger")
        self._o, self._t = models.table("Orchestrator"), models.table("Turn")
        who = ("at", "turn_id", "epoch", "orchestrator_id", "organization_id", "requester_id", "purpose")
        call = ("model", "request_id", "state", "error", *_USAGE, "cost", "settled_at")
        self._add = database.prepare(insert(ledger).values(_bound(*who, *call)))
        self._open = database.prepare(insert(ledger).values(_bound(*who, *call, "purses")).returning(ledger.c.id))
        mine = (ledger.c.id == bindparam("b_id"), ledger.c.state == "reserved")
        self._close = database.prepare(update(ledger).where(*mine).values(_bound(*call)))
        self._give_up = database.prepare(
            update(ledger).where(*mine).values({"state": "settled", **_bound("error", "settled_at")})
        )

    def add(self, tx: Connection, entry: Entry) -> None:
        """Write a call that has ended, and was not reserved for."""
        self._add.run(tx, **_who(entry), **self._settled(entry))

    def open(self, tx: Connection, entry: Entry, purses: Sequence[Purse]) -> int:
        """Write a call that is about to be made; its id."""
        text = " ".join(f"{one.scope}/{one.period}" for one in purses)
        values = {**self._settled(entry), "b_state": "reserved", "b_settled_at": None, "b_purses": text}
        return int(self._open.run(tx, **_who(entry), **values).scalar_one())

    def close(self, tx: Connection, call_id: int, entry: Entry) -> bool:
        """Write how a reserved call ended; False where it was given up before."""
        return bool(self._close.run(tx, b_id=call_id, **self._settled(entry)).rowcount)

    def give_up(self, tx: Connection, call_id: int) -> bool:
        """Count a reserved call whose end nobody saw as it was reserved; False where it has ended meanwhile."""
        return bool(self._give_up.run(tx, b_id=call_id, b_error=DIED, b_settled_at=self._clock.wall()).rowcount)

    def _settled(self, entry: Entry) -> dict[str, Any]:
        return {
            "b_model": entry.model[:100],
            "b_request_id": None if entry.request_id is None else entry.request_id[:255],
            "b_state": "settled",
            "b_error": None if entry.error is None else entry.error[:40],
            **{f"b_{name}": getattr(entry.usage, name) for name in _USAGE},
            "b_cost": entry.cost,
            "b_settled_at": self._clock.wall(),
        }

    def orphans(self, tx: Connection, patience: float) -> list[Reserved]:
        """Reserved calls of attempts that are over: their process died, or their thread was given up.

        A summary is made after its turn: of that it is known where it began more than `patience` seconds ago.
        """
        found = tx.execute(self.find_orphans(self._clock.wall() - patience)).mappings()
        return [_reserved(dict(row)) for row in found]

    def find_orphans(self, before: float) -> Select[Any]:
        """The look for them, by the index of those that are reserved."""
        led, t = self._l, self._t
        over = or_(t.c.id.is_(None), t.c.epoch != led.c.epoch, t.c.state != RUNNING)
        late = or_(led.c.purpose != SUMMARY, led.c.at < before)
        statement = select(led).outerjoin(t, t.c.id == led.c.turn_id).where(led.c.state == RESERVED, over, late)
        return statement.order_by(led.c.id).limit(100)

    def has_calls(self, tx: Connection, turn_id: str) -> bool:
        """Whether a call was made for this turn before."""
        led = self._l
        return tx.execute(select(led.c.id).where(led.c.turn_id == int(turn_id)).limit(1)).first() is not None

    def holdings(self, tx: Connection, scope: Scope, scope_id: str, period: Period, at: float) -> Holdings:
        """What somebody has spent, and reserved of this budget, in the period of `at`, added up call by call."""
        led = self._l
        reserved = and_(led.c.state == "reserved", led.c.purses.contains(f"{scope}/{period}", autoescape=True))
        tokens = sum((led.c[name] for name in _USAGE[1:]), start=led.c[_USAGE[0]])
        settled = led.c.state == "settled"
        unpriced = and_(settled, led.c.cost.is_(None), tokens > 0)
        answered = led.c.purpose == "answer"
        row = tx.execute(
            select(
                func.coalesce(func.sum(tokens).filter(settled), 0),
                func.coalesce(func.sum(led.c.cost).filter(settled), 0.0),
                func.coalesce(func.sum(tokens).filter(reserved), 0),
                func.coalesce(func.sum(led.c.cost).filter(reserved), 0.0),
                func.count().filter(unpriced),
                func.count(led.c.turn_id.distinct()).filter(answered),
            ).where(self._of(scope, scope_id), led.c.at >= period.begins(at), led.c.at < period.ends(at))
        ).one()
        return Holdings(int(row[0]), float(row[1]), int(row[2]), float(row[3]), row[4], row[5])

    def _of(self, scope: Scope, scope_id: str) -> ColumnElement[bool]:
        led, o = self._l, self._o
        if scope is Scope.PERSON:
            return led.c.requester_id == scope_id
        if scope is Scope.ORCHESTRATOR:
            return led.c.orchestrator_id == int(scope_id)
        members = select(o.c.id).where(o.c.organization_id == int(scope_id))  # whose rows are found by an index
        return and_(led.c.orchestrator_id.in_(members), led.c.organization_id == int(scope_id))

    def forget(self, tx: Connection, before: float, limit: int = 500) -> int:
        """Forget the oldest calls that were settled before that; how many. The newest one stays, for its key."""
        led = self._l
        newest = select(func.max(led.c.id)).scalar_subquery()
        oldest = select(led.c.id, led.c.at, led.c.state).where(led.c.id < newest).order_by(led.c.id).limit(limit)
        gone = [row.id for row in tx.execute(oldest) if row.at < before and row.state == "settled"]
        return tx.execute(delete(led).where(led.c.id.in_(gone))).rowcount if gone else 0

    def page(
        self, tx: Connection, orchestrator_id: str, *, requester_id: str | None, before: int | None, limit: int
    ) -> Sequence[Mapping[str, Any]]:
        """Calls of one orchestrator (for one person, if given), newest first, as their rows."""
        led = self._l
        statement = select(led).where(led.c.orchestrator_id == int(orchestrator_id)).order_by(led.c.id.desc())
        if requester_id is not None:
            statement = statement.where(led.c.requester_id == requester_id)
        if before is not None:
            statement = statement.where(led.c.id < before)
        return [dict(row) for row in tx.execute(statement.limit(limit)).mappings()]


def _bound(*names: str) -> dict[str, Any]:
    return {name: bindparam(f"b_{name}") for name in names}


def _who(entry: Entry) -> dict[str, Any]:
    payer = entry.payer
    return {
        "b_at": entry.at,
        "b_turn_id": int(payer.turn_id),
        "b_epoch": payer.epoch,
        "b_orchestrator_id": int(payer.orchestrator_id),
        "b_organization_id": int(payer.organization_id) if payer.organization_id else None,
        "b_requester_id": payer.requester_id,
        "b_purpose": payer.purpose,
    }


def _reserved(row: Mapping[str, Any]) -> Reserved:
    organization = row["organization_id"]
    payer = Payer(
        turn_id=str(row["turn_id"]),
        epoch=row["epoch"],
        orchestrator_id=str(row["orchestrator_id"]),
        organization_id="" if organization is None else str(organization),
        requester_id=row["requester_id"],
        purpose=row["purpose"],
    )
    entry = Entry(payer, row["at"], row["model"], Usage(*(row[name] for name in _USAGE)), row["cost"])
    pairs = [one.split("/") for one in (row["purses"] or "").split()]
    return Reserved(row["id"], entry, tuple((Scope(scope), Period(period)) for scope, period in pairs))
