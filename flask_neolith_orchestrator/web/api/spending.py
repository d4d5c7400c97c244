"""Routes of what was spent, day by day and model by model, for those who manage it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import Field

from ...chat.budgeting import shown_cost
from ...core.errors import Forbidden, NotFound
from ...core.money import Scope
from ...store.chat.views import iso
from ...store.records.spending import DAY
from ..calls import Call, Route
from ..shapes import Query, Wire, own_id

TAG: Final = "budgets"


class SpendQuery(Query):
    """How many days (UTC), today among them."""

    days: Annotated[int, Field(ge=1, le=366)] = 30


class SpentView(Wire):
    """What one model was paid on one day. `cost` is that of priced calls, null where none has a known price."""

    day: str = Field(examples=["2026-11-23"])
    model: str
    calls: int
    unpriced: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost: str | None = Field(examples=["0.012345"])


class SpendView(Wire):
    """The newest day first. Days and models without a call are left out."""

    since: str
    items: list[SpentView]


def get_orchestrator_spend(call: Call) -> SpendView:
    """What an orchestrator's calls have cost, for those who manage it."""
    return _spend(call, Scope.ORCHESTRATOR, call.rights.managed(call.path["id"]).id)


def get_organization_spend(call: Call) -> SpendView:
    """What the calls of an organization's orchestrators have cost, for those who manage it."""
    organization_id = own_id(call.path["id"])
    if not call.rights.manages_organization(organization_id):
        raise Forbidden if call.rights.sees_organization(organization_id) else NotFound
    return _spend(call, Scope.ORGANIZATION, organization_id)


def _spend(call: Call, scope: Scope, scope_id: str) -> SpendView:
    today = int(call.house.clock.wall() // DAY)
    begin = float((today - call.query(SpendQuery).days + 1) * DAY)
    rows = call.house.stores.records.spending.by_day(call.reading, scope, scope_id, begin)
    return SpendView(since=iso(begin) or "", items=[_spent(row) for row in rows])


def _spent(row: Mapping[str, Any]) -> SpentView:
    day = datetime.fromtimestamp(row["day"] * DAY, UTC).date().isoformat()
    return SpentView(**{**row, "day": day, "cost": shown_cost(row["cost"])})


_SCOPE: Final = "orchestrators:read"

ROUTES: Final = (
    Route(
        "GET",
        "orchestrators/{id}/spend",
        get_orchestrator_spend,
        "Show what an orchestrator has spent",
        TAG,
        _SCOPE,
        query=SpendQuery,
        answer=SpendView,
    ),
    Route(
        "GET",
        "organizations/{id}/spend",
        get_organization_spend,
        "Show what an organization has spent",
        TAG,
        _SCOPE,
        query=SpendQuery,
        answer=SpendView,
    ),
)
