"""Budgets: what is left of them is asked and taken by one statement each, so that no two calls take the same.

A row per budget and period, only where somebody set a limit. It is made at the first call of a period from what the
ledger says, and made up to date again where its limit is new to this process: who had no limit wrote none.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, delete, select, update

from ...core.money import EXHAUSTED, Closed, Holdings, Period, Purse, Scope, Want, mark, percent
from ..sql.database import Database
from ..sql.inserts import insert_into
from ..tables.models import Models
from .ledger import Entry, Ledger

MANY: int = 2**31 - 1
"""Instead of no limit for a number of answers."""

PLENTY: int = 2**62
"""The same for tokens."""

FORTUNE: float = 1e300
"""The same for dollars."""

KNOWN = 10_000
"""Rows that one process remembers as up to date at the most."""

_COUNTS = ("tokens", "cost", "reserved_tokens", "reserved_cost", "unpriced", "replies")


class Short(Exception):
    """Does not fit. A control signal: the transaction is rolled back, and nothing has been taken from any budget."""

    def __init__(self, purse: Purse, holdings: Holdings, want: Want) -> None:
        super().__init__()
        self.purse = purse
        self.holdings = holdings
        self.want = want

    @property
    def for_replies(self) -> bool:
        """Whether it is the number of answers that is used up."""
        most = self.purse.ceiling.replies
        return most is not None and self.holdings.replies + self.want.replies > most

    @property
    def passing(self) -> bool:
        """Whether only what is reserved for calls that go on stands in the way."""
        ceiling, gone = self.purse.ceiling, self.holdings
        tokens = ceiling.tokens is None or gone.tokens + self.want.tokens <= ceiling.tokens
        cost = ceiling.cost is None or gone.cost + self.want.cost <= ceiling.cost
        return tokens and cost and not self.for_replies


@dataclass(frozen=True, slots=True)
class Mark:
    """A budget that has reached a share of itself for the first time in its period."""

    purse: Purse
    percent: int
    until: float


class Budgets:
    """Keeps budgets. Lifetime: app, in one process; safe for all threads (each brings its transaction)."""

    def __init__(self, models: Models, database: Database) -> None:
        self._ledger = Ledger(models, database)
        self._dialect = database.dialect
        self._b = b = models.table("Budget")
        self._lock = threading.Lock()
        self._known: set[tuple[Purse, float]] = set()
        wanted: dict[str, Any] = {
            "tokens": bindparam("b_tokens"),
            "cost": bindparam("b_cost"),
            "replies": bindparam("b_replies"),
        }
        self._reserve = database.prepare(
            update(b)
            .where(*self._bound(), b.c.tokens + b.c.reserved_tokens + wanted["tokens"] <= bindparam("b_most_tokens"))
            .where(b.c.cost + b.c.reserved_cost + wanted["cost"] <= bindparam("b_most_cost"))
            .where(b.c.replies + wanted["replies"] <= bindparam("b_most_replies"))
            .values(
                reserved_tokens=b.c.reserved_tokens + wanted["tokens"],
                reserved_cost=b.c.reserved_cost + wanted["cost"],
                replies=b.c.replies + wanted["replies"],
                paused_until=None,
                paused_for=None,
            )
        )
        self._settle = database.prepare(
            update(b)
            .where(*self._bound())
            .values(
                tokens=b.c.tokens + bindparam("b_tokens"),
                cost=b.c.cost + bindparam("b_cost"),
                unpriced=b.c.unpriced + bindparam("b_unpriced"),
                reserved_tokens=b.c.reserved_tokens - bindparam("b_reserved_tokens"),
                reserved_cost=b.c.reserved_cost - bindparam("b_reserved_cost"),
            )
            .returning(b.c.tokens, b.c.cost, b.c.replies, b.c.told)
        )
        told = update(b).where(*self._bound(), b.c.told < bindparam("b_told")).values(told=bindparam("b_told"))
        self._tell = database.prepare(told)

    def _bound(self) -> list[ColumnElement[bool]]:
        names = ("scope", "scope_id", "period", "starts_at")
        return [self._b.c[name] == bindparam(f"b_{name}") for name in names]

    def reserve(self, tx: Connection, purses: Sequence[Purse], want: Want, at: float) -> None:
        """Take what one call may need from every purse, in one order for all. Raises Short (roll back)."""
        for purse in purses:
            self._open(tx, purse, at)
            ceiling = purse.ceiling
            taken = self._reserve.run(
                tx,
                **_key(purse, at),
                b_tokens=want.tokens,
                b_cost=want.cost,
                b_replies=want.replies,
                b_most_tokens=PLENTY if ceiling.tokens is None else ceiling.tokens,
                b_most_cost=FORTUNE if ceiling.cost is None else ceiling.cost,
                b_most_replies=MANY if ceiling.replies is None else ceiling.replies,
            )
            if not taken.rowcount:
                raise Short(purse, self.look(tx, purse, at)[0], want)

    def _open(self, tx: Connection, purse: Purse, at: float) -> None:
        """Have the row, and have it right where this process meets the purse with this limit for the first time."""
        began = purse.period.begins(at)
        with self._lock:
            if (purse, began) in self._known:
                return
        b = self._b
        values = {**_columns(purse, at), **dict.fromkeys(_COUNTS, 0), "told": 0}
        tx.execute(insert_into(b, self._dialect).values(values).on_conflict_do_nothing())
        mine = [b.c[name] == value for name, value in _columns(purse, at).items()]
        # whoever settles a call changes this row in the same transaction: what is not in the ledger yet comes after us
        told = tx.execute(select(b.c.told).where(*mine).with_for_update()).scalar_one()
        found = self._ledger.holdings(tx, purse.scope, purse.scope_id, purse.period, at)
        counts = {name: getattr(found, name) for name in _COUNTS}
        # of a limit that was raised people are told anew, from the share on that is gone of it
        tx.execute(update(b).where(*mine).values({**counts, "told": min(told, mark(percent(purse.ceiling, found)))}))

    def remember(self, purses: Sequence[Purse], at: float) -> None:
        """After the commit of a reservation: the rows of these are up to date from now on."""
        with self._lock:
            if len(self._known) > KNOWN:
                self._known.clear()
            self._known.update((purse, purse.period.begins(at)) for purse in purses)

    def look(self, tx: Connection, purse: Purse, at: float) -> tuple[Holdings, Closed | None]:
        """What is gone of a purse in the period of `at`, and whether calls are refused; also without any limit."""
        if not purse.ceiling:  # there may be a row, of a limit that was taken away: nobody counts on in it
            return self._ledger.holdings(tx, purse.scope, purse.scope_id, purse.period, at), None
        b = self._b
        where = [b.c[name] == value for name, value in _columns(purse, at).items()]
        row = tx.execute(select(b).where(*where)).mappings().first()
        if row is None:
            return self._ledger.holdings(tx, purse.scope, purse.scope_id, purse.period, at), None
        until = row["paused_until"]
        pause = None if until is None else Closed(row["paused_for"] or "budget", until)
        return Holdings(**{name: row[name] for name in _COUNTS}), pause

    def settle(self, tx: Connection, purses: Sequence[Purse], reserved: Entry, spent: Entry) -> list[Mark]:
        """Give back what was reserved and count what it came to: the shares that were reached for the first time."""
        marks = []
        for purse in purses:
            row = self._settle.run(
                tx,
                **_key(purse, reserved.at),
                b_tokens=spent.tokens,
                b_cost=spent.cost or 0.0,
                b_unpriced=int(spent.cost is None),
                b_reserved_tokens=reserved.tokens,
                b_reserved_cost=reserved.cost or 0.0,
            ).fetchone()
            if row is not None:
                reached = mark(percent(purse.ceiling, Holdings(row[0], row[1], replies=row[2])))
                marks += self.told(tx, purse, reached, reserved.at) if reached > row[3] else []
        return marks

    def told(self, tx: Connection, purse: Purse, share: int, at: float) -> list[Mark]:
        """The share as a mark to be told, for whoever is the first of all processes to see it."""
        first = self._tell.run(tx, **_key(purse, at), b_told=share).rowcount
        return [Mark(purse, share, purse.period.ends(at))] if first else []

    def shut(self, tx: Connection, purse: Purse, reason: str, at: float) -> tuple[bool, list[Mark]]:
        """Calls are refused until the period ends, or until one fits again.

        Whether that is news, and the mark where it is the first time in this period.
        """
        b = self._b
        self._open(tx, purse, at)
        mine = [b.c[name] == value for name, value in _columns(purse, at).items()]
        values = {"paused_until": purse.period.ends(at), "paused_for": reason}
        news = tx.execute(update(b).where(*mine, b.c.paused_until.is_(None)).values(values)).rowcount
        return bool(news), self.told(tx, purse, EXHAUSTED, at)

    def reopen(self, tx: Connection, scope: Scope, scope_id: str) -> bool:
        """A limit has changed: nothing is said to be closed until a call does not fit again. True if anything was."""
        b = self._b
        shut = update(b).where(b.c.scope == str(scope), b.c.scope_id == scope_id, b.c.paused_until.is_not(None))
        values = {"paused_until": None, "paused_for": None}
        # one after the other, in the order in which calls take from them: or on Postgres the two could wait for ever
        counts = [tx.execute(shut.where(b.c.period == str(one)).values(values)).rowcount for one in Period]
        return any(counts)

    def closed(self, tx: Connection, now: float) -> Mapping[tuple[Scope, str], Closed]:
        """Who is paused now, with the pause that ends last."""
        b = self._b
        statement = select(b.c.scope, b.c.scope_id, b.c.paused_for, b.c.paused_until)
        rows = tx.execute(statement.where(b.c.paused_until > now).order_by(b.c.paused_until)).all()
        return {(Scope(row[0]), row[1]): Closed(row[2] or "budget", row[3]) for row in rows}

    def forget(self, tx: Connection, before: float) -> int:
        """Forget periods that began before that; how many."""
        return tx.execute(delete(self._b).where(self._b.c.starts_at < before)).rowcount


def _columns(purse: Purse, at: float) -> dict[str, Any]:
    return {
        "scope": str(purse.scope),
        "scope_id": purse.scope_id,
        "period": str(purse.period),
        "starts_at": purse.period.begins(at),
    }


def _key(purse: Purse, at: float) -> dict[str, Any]:
    return {f"b_{name}": value for name, value in _columns(purse, at).items()}
