"""Figures over time, counted from the rows when somebody asks: nothing is added up beforehand, so nothing can be off.

What was answered, and what was not, is counted by delivery (one message for one orchestrator) at the time it ended;
money and tokens by model call, at the time it was made. Each look is bounded: of more rows than `MOST` only the newest
are counted, and the answer says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Select,
    Subquery,
    and_,
    case,
    cast,
    func,
    literal,
    or_,
    select,
)

from ..sql.database import Database
from ..tables.models import Models

MOST: Final = 100_000
"""Rows of one kind that are looked at for one answer."""

USAGE: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
METRICS: Final = ("waiting", "first_text", "total")
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


class Figures:
    """Counts. Lifetime: app, in one process; safe for all threads (each brings its transaction)."""

    def __init__(self, models: Models, database: Database) -> None:
        self._server = database.dialect.name == "postgresql"
        self._d, self._t = models.table("Delivery"), models.table("Turn")
        self._o, self._l = models.table("Orchestrator"), models.table("Ledger")

    def endings(self, tx: Connection, whose: Whose, span: Span) -> Counted:
        """Per bucket: answered, failed, expired, refused, interrupted, cancelled."""
        return self._counted(tx, self.find_endings(whose, span), span)

    def find_endings(self, whose: Whose, span: Span) -> Select[Any]:
        """The look for them, by the index of what has ended."""
        rows = self._ended(whose, span, answered=False)
        stopped = and_(rows.c.state == "cancelled", rows.c.outcome.in_(_STOPPED))
        kinds = {
            "answered": rows.c.state == "answered",
            **{one: rows.c.state == one for one in ("failed", "expired", "refused")},
            "interrupted": stopped,
            "cancelled": and_(rows.c.state == "cancelled", or_(rows.c.outcome.is_(None), ~stopped)),
        }
        counts = [func.count().filter(kind).label(name) for name, kind in kinds.items()]
        return self._by_bucket(rows, rows.c.at, span, counts)

    def latencies(self, tx: Connection, whose: Whose, span: Span, *, whole: bool = False) -> Counted:
        """Per bucket, or over the whole span: p50 and p95, in seconds, of each of METRICS."""
        found = tx.execute(self.find_latencies(whose, span, whole=whole)).mappings()
        buckets: dict[int | None, Mapping[str, Any]] = {row["bucket"]: dict(row) for row in found}
        return Counted({None: buckets[0]} if whole and buckets else buckets, span.begin)

    def find_latencies(self, whose: Whose, span: Span, *, whole: bool = False) -> Select[Any]:
        """The look for them: answered deliveries by the index of what has ended, their turns by key.

        From acceptance: until the attempt that answered began, until its first text, until the end. The nearest rank.
        """
        rows, t = self._ended(whose, span, answered=True), self._t
        bucket = literal(0) if whole else self._bucket(rows.c.at, span)
        untils = dict(zip(METRICS, (t.c.started_at, t.c.first_text_at, rows.c.at), strict=True))
        values = (
            select(
                bucket.label("bucket"),
                *[self._least(until - rows.c.accepted_at).label(name) for name, until in untils.items()],
            )
            .select_from(rows.outerjoin(t, t.c.id == rows.c.turn_id))
            .subquery("measured")
        )
        columns: list[ColumnElement[Any]] = [values.c.bucket]
        for name in METRICS:
            value, each = values.c[name], values.c.bucket
            rank = func.row_number().over(partition_by=each, order_by=(value.is_(None), value))
            columns += [value, rank.label(f"{name}_rank"), func.count(value).over(partition_by=each).label(f"{name}_n")]
        ranked = select(*columns).subquery("ranked")
        shown = [self._at_rank(ranked, name, percent) for name in METRICS for percent in (50, 95)]
        return select(ranked.c.bucket, *shown).group_by(ranked.c.bucket)

    @staticmethod
    def _at_rank(ranked: Subquery, name: str, percent: int) -> ColumnElement[Any]:
        nearest = (ranked.c[f"{name}_n"] * percent + 99) // 100
        return func.max(case((ranked.c[f"{name}_rank"] == nearest, ranked.c[name]))).label(f"{name}_p{percent}")

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

    def _ended(self, whose: Whose, span: Span, *, answered: bool) -> Subquery:
        """Deliveries that ended in the span; those that take a turn up again are not counted once more."""
        d = self._d
        within = and_(d.c.ended_at.is_not(None), d.c.ended_at >= span.begin, d.c.ended_at < span.end)
        columns = [d.c.ended_at.label("at"), d.c.accepted_at, d.c.state, d.c.outcome, d.c.turn_id]
        statement = select(*columns).where(self._whose(d.c.orchestrator_id, whose), within, d.c.kind != "resume")
        newest = statement.order_by(d.c.ended_at.desc()).limit(MOST).subquery("newest")
        return select(newest).where(newest.c.state == "answered").subquery("ended") if answered else newest

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

    def _least(self, seconds: ColumnElement[Any]) -> ColumnElement[Any]:
        """Clocks differ a little: nothing takes less than no time."""
        return case((seconds < 0, 0.0), else_=seconds)

    def _whose(self, column: ColumnElement[Any], whose: Whose) -> ColumnElement[bool]:
        o = self._o
        if not whose.organizations and len(whose.orchestrators) == 1:
            return column == int(whose.orchestrators[0])
        theirs = or_(
            o.c.organization_id.in_([int(one) for one in whose.organizations]),
            o.c.id.in_([int(one) for one in whose.orchestrators]),
        )
        return column.in_(select(o.c.id).where(theirs))
