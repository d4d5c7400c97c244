"""Routes of money: what may be spent, what is gone, and call by call what it was for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import Field

from ...chat.budgeting import shown_cost
from ...core.errors import Forbidden, NotFound
from ...core.money import Ceiling, Holdings, Period, Purse, Scope, percent
from ...runtime.broadcast.pauses import Pause
from ...store.chat.views import iso
from ..calls import Call, Route
from ..shapes import Limit, OwnId, Page, Query, Wire, own_id
from .orchestrators import PauseView, pause_view

TAG: Final = "budgets"


class TokensView(Wire):
    """Tokens of all kinds; `limit` is null where there is none."""

    limit: int | None
    used: int
    reserved: int


class CostView(Wire):
    """US dollars with six places, as text; `limit` is null where there is none."""

    limit: str | None = Field(examples=["5.000000"])
    used: str = Field(examples=["0.012345"])
    reserved: str


class RepliesView(Wire):
    """Answers; `limit` is null where there is none."""

    limit: int | None
    used: int


class PeriodView(Wire):
    """One budget in its present period. `percent` is of what is nearest to its end, null without any limit.

    `unpriced` calls are those whose cost nobody knows: their tokens are counted, and their dollars are not.
    """

    period: str = Field(examples=["day"])
    starts_at: str
    ends_at: str
    tokens: TokensView
    cost: CostView
    replies: RepliesView
    percent: float | None
    unpriced: int
    paused: PauseView | None


class BudgetView(Wire):
    """What somebody may spend and has spent, by the hour, the day and the month (UTC)."""

    scope: str = Field(examples=["orchestrator"])
    id: str
    periods: list[PeriodView]


class CallView(Wire):
    """One model call. `cost` is null where nobody knows it; `state` is reserved while it goes on.

    `error` says why it did not end well; after `process-died` tokens and cost are what had been reserved.
    """

    id: str
    at: str
    orchestrator_id: str
    requester_id: str
    turn_id: str | None
    purpose: str = Field(examples=["answer"])
    model: str
    request_id: str | None
    state: str
    error: str | None
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost: str | None


class LedgerQuery(Query):
    """Which calls: those before the one with this id, newest first."""

    before: OwnId | None = None
    limit: Limit = 50


def get_orchestrator_budget(call: Call) -> BudgetView:
    """An orchestrator's budget, for those who manage it."""
    one = call.rights.managed(call.path["id"])
    charter = call.house.study.charters.of(call.reading, one)
    found = call.house.treasury.purses(call.reading, one, charter, None)
    mine = [purse for purse in found if purse.scope is Scope.ORCHESTRATOR]
    return _budget(call, Scope.ORCHESTRATOR, one.id, mine)


def get_organization_budget(call: Call) -> BudgetView:
    """An organization's budget, for those who manage it."""
    organization_id = own_id(call.path["id"])
    if not call.rights.manages_organization(organization_id):
        raise Forbidden if call.rights.sees_organization(organization_id) else NotFound
    purses = call.house.treasury.of_organization(call.reading, organization_id)
    return _budget(call, Scope.ORGANIZATION, organization_id, purses)


def get_own_budget(call: Call) -> BudgetView:
    """What the asker's own questions have cost."""
    return _budget(call, Scope.PERSON, call.actor, call.house.treasury.of_person(call.actor))


def _budget(call: Call, scope: Scope, scope_id: str, purses: Sequence[Purse]) -> BudgetView:
    treasury, now = call.house.treasury, call.house.clock.wall()
    known = {purse.period: purse for purse in purses}
    wanted = [known.get(period) or Purse(scope, scope_id, period, Ceiling()) for period in Period]
    periods = [_period(purse, gone, pause, now) for purse, gone, pause in treasury.look(call.reading, wanted)]
    return BudgetView(scope=str(scope), id=scope_id, periods=periods)


def _period(purse: Purse, gone: Holdings, pause: Pause | None, now: float) -> PeriodView:
    ceiling = purse.ceiling
    return PeriodView(
        period=str(purse.period),
        starts_at=iso(purse.period.begins(now)) or "",
        ends_at=iso(purse.period.ends(now)) or "",
        tokens=TokensView(limit=ceiling.tokens, used=gone.tokens, reserved=gone.reserved_tokens),
        cost=CostView(
            limit=shown_cost(ceiling.cost),
            used=shown_cost(gone.cost) or "",
            reserved=shown_cost(max(0.0, gone.reserved_cost)) or "",
        ),
        replies=RepliesView(limit=ceiling.replies, used=gone.replies),
        percent=round(percent(ceiling, gone), 1) if ceiling else None,
        unpriced=gone.unpriced,
        paused=pause_view(pause),
    )


def list_calls(call: Call) -> Page[CallView]:
    """Model calls of an orchestrator: all of them for those who manage it, their own for everybody else."""
    one = call.rights.orchestrator(call.path["id"])
    asked = call.query(LedgerQuery)
    rows = call.house.stores.ledger.page(
        call.reading,
        one.id,
        requester_id=None if call.rights.manages(one) else call.actor,
        before=None if asked.before is None else int(asked.before),
        limit=asked.limit + 1,
    )
    items = [_call(row) for row in rows[: asked.limit]]
    return Page[CallView](items=items, next=items[-1].id if len(rows) > asked.limit else None)


def _call(row: Mapping[str, Any]) -> CallView:
    plain = ("requester_id", "purpose", "model", "request_id", "state", "error", "input_tokens", "output_tokens")
    return CallView(
        id=str(row["id"]),
        at=iso(row["at"]) or "",
        orchestrator_id=str(row["orchestrator_id"]),
        turn_id=None if row["turn_id"] is None else str(row["turn_id"]),
        cost=shown_cost(row["cost"]),
        cache_read_tokens=row["cache_read_tokens"],
        cache_write_tokens=row["cache_write_tokens"],
        **{name: row[name] for name in plain},
    )


_SCOPE: Final = "orchestrators:read"

ROUTES: Final = (
    Route("GET", "budget", get_own_budget, "Show one's own budget", TAG, _SCOPE, answer=BudgetView),
    Route(
        "GET",
        "orchestrators/{id}/budget",
        get_orchestrator_budget,
        "Show an orchestrator's budget",
        TAG,
        _SCOPE,
        answer=BudgetView,
    ),
    Route(
        "GET",
        "organizations/{id}/budget",
        get_organization_budget,
        "Show an organization's budget",
        TAG,
        _SCOPE,
        answer=BudgetView,
    ),
    Route(
        "GET",
        "orchestrators/{id}/ledger",
        list_calls,
        "List model calls",
        TAG,
        _SCOPE,
        query=LedgerQuery,
        answer=Page[CallView],
    ),
)
