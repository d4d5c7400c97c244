"""Routes of figures over time: answers and failures, how long they took, tokens and money."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field

from ...chat.budgeting import shown_cost
from ...core.errors import Invalid, NotFound
from ...store.chat.views import iso
from ...store.records.figures import METRICS, USAGE, Span, Whose
from ..calls import Call, Route
from ..shapes import OwnId, Wire
from .span import SpanQuery, seconds

TAG: Final = "figures"

MOST_BUCKETS: Final = 400
WIDTHS: Final = {"minute": 60.0, "hour": 3_600.0, "day": 86_400.0}
USUAL: Final = {"minute": 60, "hour": 24, "day": 30}
"""Buckets that are shown where nobody says from when."""

_FAILURES: Final = ("failed", "expired", "refused", "interrupted", "cancelled")


class FailuresView(Wire):
    """Messages that were not answered, by what became of them. `interrupted`: somebody stopped it."""

    failed: int = 0
    expired: int = 0
    refused: int = 0
    interrupted: int = 0
    cancelled: int = 0


class PercentilesView(Wire):
    """Milliseconds by nearest rank, null where nothing was answered."""

    p50: float | None = None
    p95: float | None = None


class FigureView(Wire):
    """What ended in a time, and the calls that were made in it.

    Times are of what was answered, each from when the message was accepted: `waitingMs` until the attempt began that
    answered it, `firstTextMs` until its first text, `totalMs` until the end. Tokens and cost are of all model calls.
    `cost` leaves out the `unpriced` calls, whose price nobody knows.
    """

    answered: int = 0
    failures: FailuresView
    waiting_ms: PercentilesView
    first_text_ms: PercentilesView
    total_ms: PercentilesView
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost: str = Field(examples=["0.012345"])
    unpriced: int = 0


class BucketView(FigureView):
    """The same for the time from `at` on."""

    at: str


class FiguresView(Wire):
    """Every bucket of the span, empty ones too, oldest first; and the whole span.

    Nothing older than `since` is kept. `complete` is false where there were too many rows to look at: then only what
    is newer than `countedFrom` is counted.
    """

    from_: str = Field(serialization_alias="from")
    to: str
    bucket: str
    since: str | None
    complete: bool
    counted_from: str
    items: list[BucketView]
    totals: FigureView


class FiguresQuery(SpanQuery):
    """Which span; `from` is rounded down to its bucket, in UTC. At most 400 buckets."""

    bucket: Literal["minute", "hour", "day"] = "hour"


class AllFiguresQuery(FiguresQuery):
    """The same, of one organization or of all that the asker manages."""

    organization_id: OwnId | None = None


def get_figures(call: Call) -> FiguresView:
    """An orchestrator's figures, for those who manage it."""
    one = call.rights.managed(call.path["id"])
    return _figures(call, Whose([one.id]), call.query(FiguresQuery))


def get_all_figures(call: Call) -> FiguresView:
    """Figures of an organization, or of everything that the asker manages."""
    asked, rights = call.query(AllFiguresQuery), call.rights
    if asked.organization_id is not None:
        if not rights.manages_organization(asked.organization_id):
            raise NotFound
        return _figures(call, Whose(organizations=[asked.organization_id]), asked)
    if not rights.manages_anything():
        raise NotFound
    own = rights.own_orchestrator
    return _figures(call, Whose([] if own is None else [own], rights.managed_organizations), asked)


def _figures(call: Call, whose: Whose, asked: FiguresQuery) -> FiguresView:
    span, now = _span(asked, call.house.clock.wall()), call.house.clock.wall()
    figures, tx = call.house.stores.records.figures, call.reading
    work, spending = figures.work(tx, whose, span), figures.spending(tx, whose, span)
    keep = call.state.settings.keep_deliveries / 1000
    count = math.ceil((span.end - span.begin) / span.width)
    items = []
    for n in range(count):
        found = _figure(work.buckets.get(n, {}), spending.buckets.get(n, {}))
        items.append(BucketView(at=iso(span.begin + n * span.width) or "", **found))
    counted_from = max(work.counted_from, spending.counted_from)
    return FiguresView(
        from_=iso(span.begin) or "",
        to=iso(span.end) or "",
        bucket=asked.bucket,
        since=iso(now - keep) if keep else None,
        complete=counted_from == span.begin,
        counted_from=iso(counted_from) or "",
        items=items,
        totals=FigureView(**_figure(work.buckets[None], _added(spending.buckets))),
    )


def _span(asked: FiguresQuery, now: float) -> Span:
    width = WIDTHS[asked.bucket]
    end = seconds(asked.to)
    end = now if end is None else end
    begin = seconds(asked.from_)
    begin = end - width * (USUAL[asked.bucket] - 1) if begin is None else begin
    begin = math.floor(begin / width) * width
    if begin >= end or end - begin > MOST_BUCKETS * width:
        msg = f"from must be before to, and not more than {MOST_BUCKETS} buckets before it."
        raise Invalid(msg)
    if not 0 <= begin <= 253_000_000_000 or end > 253_000_000_000:
        raise Invalid("This time is too far away.")
    return Span(begin, end, width)


def _added(buckets: Mapping[int | None, Mapping[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {}
    for row in buckets.values():
        for name, value in row.items():
            if name not in ("bucket", "oldest", "seen"):
                total[name] = total.get(name, 0) + value
    return total


def _figure(work: Mapping[str, Any], spending: Mapping[str, Any]) -> dict[str, Any]:
    percentiles = {
        f"{name}_ms": PercentilesView(p50=_ms(work.get(f"{name}_p50")), p95=_ms(work.get(f"{name}_p95")))
        for name in METRICS
    }
    return {
        "answered": work.get("answered", 0),
        "failures": FailuresView(**{name: work.get(name, 0) for name in _FAILURES}),
        **percentiles,
        **{name: int(spending.get(name) or 0) for name in ("calls", "unpriced", *USAGE)},
        "cost": shown_cost(float(spending.get("cost") or 0.0)) or "",
    }


def _ms(value: float | None) -> float | None:
    return None if value is None else round(value * 1000, 1)


_SCOPE: Final = "orchestrators:read"

ROUTES: Final = (
    Route(
        "GET",
        "orchestrators/{id}/figures",
        get_figures,
        "Show an orchestrator's figures over time",
        TAG,
        _SCOPE,
        query=FiguresQuery,
        answer=FiguresView,
    ),
    Route(
        "GET",
        "figures",
        get_all_figures,
        "Show figures over time",
        TAG,
        _SCOPE,
        query=AllFiguresQuery,
        answer=FiguresView,
    ),
)
