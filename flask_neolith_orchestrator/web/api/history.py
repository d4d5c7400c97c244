"""The route of a daemon's history: when it ran, when not, and why."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from ...core.availability import Availability, Change
from ...store.chat.views import iso
from ..calls import Call, Route
from ..shapes import Limit, OwnId, Page, Wire
from .span import SpanQuery, seconds

TAG: Final = "orchestrators"

DAY: Final = 86_400.0
WEEK: Final = 7 * DAY


class ChangeView(Wire):
    """One change. `state` is what the daemon is from then on; `restarts` how many there were in the window by then."""

    id: str
    at: str
    event: str = Field(examples=["started"], description="started, stopped, died, restarted or failed")
    state: str = Field(examples=["running"], description="running, stopped, restarting or error")
    reason: str | None
    error: str | None
    restarts: int | None


class AvailabilityView(Wire):
    """How long it ran, and how long it should have and did not. `percent` is null where it never should have."""

    percent: float | None
    up_ms: float
    down_ms: float


class AvailabilitiesView(Wire):
    """Of the last 24 hours and the last 7 days."""

    day: AvailabilityView
    week: AvailabilityView


class HistoryView(Page[ChangeView]):
    """Changes, newest first. `before` is the last one before `from`; nothing older than `since` is kept."""

    before: ChangeView | None
    since: str | None
    availability: AvailabilitiesView


class HistoryQuery(SpanQuery):
    """Which changes; the last seven days unless `from` and `to` say otherwise."""

    cursor: OwnId | None = None
    limit: Limit = 50


def list_history(call: Call) -> HistoryView:
    """What became of a daemon over time, for those who manage it."""
    one, asked = call.rights.managed(call.path["id"]), call.query(HistoryQuery)
    history, now = call.house.stores.records.history, call.house.clock.wall()
    end = now if asked.to is None else seconds(asked.to) or 0.0
    begin = end - WEEK if asked.from_ is None else seconds(asked.from_) or 0.0
    before = None if asked.cursor is None else int(asked.cursor)
    found = history.page(call.reading, one.id, begin, end, before=before, limit=asked.limit + 1)
    earlier = history.last(call.reading, one.id, begin)
    day, week = history.availabilities(call.reading, one.id, (DAY, WEEK))
    keep = call.state.settings.keep_history / 1000
    items = [_view(change) for change in found[: asked.limit]]
    return HistoryView(
        items=items,
        next=items[-1].id if len(found) > asked.limit else None,
        before=None if earlier is None else _view(earlier),
        since=iso(now - keep) if keep else None,
        availability=AvailabilitiesView(day=_availability(day), week=_availability(week)),
    )


def _view(change: Change) -> ChangeView:
    return ChangeView(
        id=change.id,
        at=iso(change.at) or "",
        event=change.event,
        state=change.state,
        reason=change.reason,
        error=change.error,
        restarts=change.restarts,
    )


def _availability(found: Availability) -> AvailabilityView:
    percent = None if found.percent is None else round(found.percent, 3)
    return AvailabilityView(percent=percent, up_ms=round(found.up * 1000), down_ms=round(found.down * 1000))


ROUTES: Final = (
    Route(
        "GET",
        "orchestrators/{id}/history",
        list_history,
        "Show a daemon's history",
        TAG,
        "orchestrators:read",
        query=HistoryQuery,
        answer=HistoryView,
    ),
)
