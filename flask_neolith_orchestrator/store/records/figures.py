"""Figures over time, counted from the rows when somebody asks: nothing is added up beforehand, so nothing can be off.

What was answered, and what was not, is counted by delivery (one message for one orchestrator) at the time it ended;
money and tokens by model call, at the time it was made. Each look is bounded: of more rows than `MOST` only the newest
are counted, and the answer says so.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Select,
    and_,
    cast,
    func,
    or_,
    select,
)

from ..sql.database import Database
from ..tables.models import Models

MOST: Final = 50_000
"""Rows of one kind that are looked at for one answer."""

USAGE: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
METRICS: Final = ("waiting", "first_text", "total")
"""What is measured of an answer, from when it was accepted: until the attempt that made it, its first text, its end."""

KINDS: Final = ("answered", "failed", "expired", "refused", "interrupted", "cancelled")
_STOPPED: Final = ("stopped", "person")


@dataclass(frozen=True, slots=True)
class Span:
    """Buckets of `width` seconds from `begin`; `end` (in the last one) is not in it."""

    begin: float
    end: float
    width: float


@dataclass(frozen=True, slots=True)
class Whose:
    """Of which orchestrators: these, and all of these organizations."""

    orchestrators: Sequence[str] = ()
    organizations: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Counted:
    """Rows by bucket (None: over the whole span), and from when on they are all of them."""

    buckets: Mapping[int | None, Mapping[str, Any]]
    counted_from: float


class Tally:
    """Deliveries of one bucket. Lifetime: one look."""

    def __init__(self) -> None:
        self._states: Counter[str] = Counter()
        self._times: dict[str, list[float]] = {name: [] for name in METRICS}

    def add(
        self, at: float, accepted: float, state: str, outcome: str | None, began: float | None, text: float | None
    ) -> None:
        """Count one. Clocks differ a little: nothing takes less than no time."""
        self._states["interrupted" if state == "cancelled" and outcome in _STOPPED else state] += 1
        if state != "answered":
            return
        waiting, first_text, total = self._times.values()
        total.append(at - accepted if at > accepted else 0.0)
        if began is not None:
            waiting.append(began - accepted if began > accepted else 0.0)
        if text is not None:
            first_text.append(text - accepted if text > accepted else 0.0)

    def merge(self, other: Tally) -> None:
        """Count all of another one too."""
        self._states.update(other._states)
        for name, times in other._times.items():
            self._times[name] += times

    def counts(self) -> dict[str, Any]:
        """Each of KINDS, and p50 and p95 in seconds of each of METRICS, by the nearest rank."""
        found: dict[str, Any] = {kind: self._states[kind] for kind in KINDS}
        for name, times in self._times.items():
            ranked = sorted(times)
            for percent in (50, 95):
                nearest = -(-len(ranked) * percent // 100) - 1
                found[f"{name}_p{percent}"] = ranked[nearest] if ranked else None
        return found


class Figures:
    """Counts. Lifetime: app, in one process; safe for all threads (each brings its transaction)."""

    def __init__(self, models: Models, database: Database) -> None:
        self._database = database
        self._server = database.dialect.name == "postgresql"
        self._d, self._t = models.table("Delivery"), models.table("Turn")
        self._o, self._l = models.table("Orchestrator"), models.table("Ledger")

    def work(self, tx: Connection, whose: Whose, span: Span) -> Counted:
        """What ended, and how long it took: `Tally.counts` per bucket, and over the whole span."""
        rows = tx.execute(self.find_work(whose, span)).all()
        buckets: defaultdict[int | None, Tally] = defaultdict(Tally)
        for row in rows:
            buckets[int((row[0] - span.begin) // span.width)].add(*row)
        whole = Tally()
        for tally in buckets.values():
            whole.merge(tally)
        buckets[None] = whole
        oldest = rows[-1][0] if len(rows) >= MOST else span.begin
        return Counted({key: tally.counts() for key, tally in buckets.items()}, oldest)

    def find_work(self, whose: Whose, span: Span) -> Select[Any]:
        """The look for it, newest first, by the index of what has ended; turns by their key.

        Deliveries that take a turn up again are not counted once more.
        """
        d, t = self._d, self._t
        within = and_(d.c.ended_at.is_not(None), d.c.ended_at >= span.begin, d.c.ended_at < span.end)
        mine = and_(self._whose(d.c.orchestrator_id, whose), within, d.c.kind != "resume")
        columns = (d.c.ended_at, d.c.accepted_at, d.c.state, d.c.outcome, t.c.started_at, t.c.first_text_at)
        joined = d.outerjoin(t, t.c.id == d.c.turn_id)
        return select(*columns).select_from(joined).where(mine).order_by(d.c.ended_at.desc()).limit(MOST)

    def spending(self, tx: Connection, whose: Whose, span: Span) -> Counted:
        """Per bucket: calls, tokens of each kind, cost of the calls whose price is known, and how many others."""
        return self._counted(tx, self.find_spending(whose, span), span)

    def find_spending(self, whose: Whose, span: Span) -> Select[Any]:
        """The look for them, by the index of an orchestrator's calls."""
        led = self._l
        within = and_(led.c.at >= span.begin, led.c.at < span.end, led.c.state == "settled")
        rows = (
            select(led.c.at, led.c.cost, *[led.c[name] for name in USAGE])
            .where(self._whose(led.c.orchestrator_id, whose), within)
            .order_by(led.c.at.desc())
            .limit(MOST)
            .subquery("calls")
        )
        tokens = sum((rows.c[name] for name in USAGE[1:]), start=rows.c[USAGE[0]])
        counts = [
            func.count().label("calls"),
            *[func.sum(rows.c[name]).label(name) for name in USAGE],
            func.coalesce(func.sum(rows.c.cost), 0.0).label("cost"),
            func.count().filter(rows.c.cost.is_(None), tokens > 0).label("unpriced"),
        ]
        return self._by_bucket(rows, rows.c.at, span, counts)

    def _by_bucket(
        self, rows: FromClause, at: ColumnElement[Any], span: Span, counts: Iterable[ColumnElement[Any]]
    ) -> Select[Any]:
        bucket = self._bucket(at, span).label("bucket")
        seen = [func.count().label("seen"), func.min(at).label("oldest")]
        return select(bucket, *counts, *seen).select_from(rows).group_by(bucket)

    def _counted(self, tx: Connection, statement: Select[Any], span: Span) -> Counted:
        rows = [dict(row) for row in tx.execute(statement).mappings()]
        is_full = sum(row["seen"] for row in rows) >= MOST
        oldest = min(row["oldest"] for row in rows) if is_full else span.begin
        return Counted({row["bucket"]: row for row in rows}, oldest)

    def _bucket(self, at: ColumnElement[Any], span: Span) -> ColumnElement[int]:
        share = (at - span.begin) / span.width
        return cast(func.floor(share) if self._server else share, Integer)  # a cast rounds on a server

    def _whose(self, column: ColumnElement[Any], whose: Whose) -> ColumnElement[bool]:
        o = self._o
        if not whose.organizations and len(whose.orchestrators) == 1:
            return column == int(whose.orchestrators[0])
        theirs = or_(
            o.c.organization_id.in_([int(one) for one in whose.organizations]),
            o.c.id.in_([int(one) for one in whose.orchestrators]),
        )
        return column.in_(select(o.c.id).where(theirs))
