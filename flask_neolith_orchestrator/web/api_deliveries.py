"""Routes of the inbox: deliveries and turns, for those who manage the orchestrators they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from ..core.cancel import StopReason
from ..core.errors import Conflict, NotFound
from ..core.types import DeliveryState
from ..store.turns import Stopped, StopResult, Target
from ..store.views import iso
from .calls import Call, Route
from .shapes import Limit, OwnId, Page, Query, Wire, own_id

TAG: Final = "deliveries"


class DeliveryView(Wire):
    """One piece of work for one orchestrator. `outcome` says why it ended; `messageId` is null for other kinds."""

    id: str
    orchestrator_id: str
    kind: str = Field(examples=["message"])
    message_id: str | None
    author_id: str
    reason: str
    state: str = Field(examples=["waiting"])
    attempts: int
    ready_at: str
    accepted_at: str
    ended_at: str | None
    outcome: str | None
    turn_id: str | None


class UsageView(Wire):
    """Tokens of a turn, over all its attempts."""

    calls: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int


class TurnView(Wire):
    """One answer in the making, or made."""

    id: str
    orchestrator_id: str
    requester_id: str
    reply_id: str | None
    state: str = Field(examples=["done"])
    attempt: int
    charter_version: int
    started_at: str
    first_text_at: str | None
    ended_at: str | None
    error_kind: str | None
    error: str | None
    model: str | None
    stop_reason: str | None
    usage: UsageView
    deliveries: list[DeliveryView]


def _split(value: object) -> object:
    return value.split(",") if isinstance(value, str) else value


class DeliveryQuery(Query):
    """Which deliveries, newest first; `state` is one or several, separated by commas."""

    state: Annotated[list[DeliveryState], BeforeValidator(_split), Field(max_length=8)] = []
    orchestrator_id: OwnId | None = None
    cursor: OwnId | None = None
    limit: Limit = 50


def list_deliveries(call: Call) -> Page[DeliveryView]:
    """Deliveries of the orchestrators that the asker manages."""
    asked = call.query(DeliveryQuery)
    if asked.orchestrator_id is None:
        ids = call.rights.managed_ids()
    else:
        ids = [call.rights.managed(asked.orchestrator_id).id]
    rows = call.house.turns.deliveries(
        call.reading,
        states=[str(one) for one in asked.state],
        orchestrator_ids=ids,
        before=None if asked.cursor is None else int(asked.cursor),
        limit=asked.limit + 1,
    )
    items = [delivery_view(row) for row in rows[: asked.limit]]
    return Page[DeliveryView](items=items, next=items[-1].id if len(rows) > asked.limit else None)


def retry_delivery(call: Call) -> DeliveryView:
    """Give a delivery that has failed or expired its attempts back."""
    row = _managed(call, call.path["id"])
    turns, house = call.house.turns, call.house
    if not turns.retry(call.writing(), str(row["id"])):
        msg = f"Only a failed or expired delivery can be tried again; this one is {row['state']}."
        raise Conflict(msg)
    orchestrator_id = str(row["orchestrator_id"])
    house.reception.after_commit(call.session, lambda: house.manager.ring(orchestrator_id))
    return delivery_view(turns.delivery(call.reading, str(row["id"])) or row)


def cancel_delivery(call: Call) -> DeliveryView:
    """Cancel a delivery that waits, or ask the turn that works on it to end; 409 for one that has ended."""
    row = _managed(call, call.path["id"])
    target = Target(str(row["orchestrator_id"]), row["author_id"], row["turn_id"], (row["id"],))
    result = call.house.turns.stop(call.writing(), target, StopReason.PERSON)
    if result.found is Stopped.OVER:
        msg = f"This delivery has ended already: {row['state']}."
        raise Conflict(msg)
    _tell(call, result)
    return delivery_view(call.house.turns.delivery(call.reading, str(row["id"])) or row)


def _tell(call: Call, result: StopResult) -> None:
    manager = call.house.manager

    def effect() -> None:
        if result.ended:
            manager.ended(result.ended)
        if result.found is Stopped.RUNNING and result.turn_id is not None:
            manager.cancel_turn(result.turn_id, StopReason.PERSON)

    call.house.reception.after_commit(call.session, effect)


def get_turn(call: Call) -> TurnView:
    """A turn, for who asked for it and for those who manage the orchestrator."""
    row = call.house.turns.view(call.reading, own_id(call.path["id"]))
    if row is None:
        raise NotFound
    if row["requester_id"] != call.actor:
        _require_managed(call, str(row["orchestrator_id"]))
    return turn_view(row)


def _managed(call: Call, delivery_id: str) -> dict[str, Any]:
    row = call.house.turns.delivery(call.reading, own_id(delivery_id))
    if row is None:
        raise NotFound
    _require_managed(call, str(row["orchestrator_id"]))
    return row


def _require_managed(call: Call, orchestrator_id: str) -> None:
    # who does not manage the orchestrator does not see its inbox at all, and so learns nothing from the answer
    if not call.rights.manages(call.rights.orchestrator(orchestrator_id)):
        raise NotFound


def delivery_view(row: Mapping[str, Any]) -> DeliveryView:
    """A delivery's row as the wire shows it."""
    return DeliveryView(
        id=str(row["id"]),
        orchestrator_id=str(row["orchestrator_id"]),
        kind=row["kind"],
        message_id=row["message_id"],
        author_id=row["author_id"],
        reason=row["reason"],
        state=row["state"],
        attempts=row["attempts"],
        ready_at=iso(row["ready_at"]) or "",
        accepted_at=iso(row["accepted_at"]) or "",
        ended_at=iso(row["ended_at"]),
        outcome=row["outcome"],
        turn_id=_id(row["turn_id"]),
    )


def turn_view(row: Mapping[str, Any]) -> TurnView:
    """A turn's row, with its deliveries, as the wire shows it."""
    plain = ("requester_id", "state", "attempt", "charter_version", "error_kind", "error", "model", "stop_reason")
    return TurnView(
        id=str(row["id"]),
        orchestrator_id=str(row["orchestrator_id"]),
        reply_id=_id(row["reply_id"]),
        started_at=iso(row["started_at"]) or "",
        first_text_at=iso(row["first_text_at"]),
        ended_at=iso(row["ended_at"]),
        usage=UsageView(**{name: row[name] for name in UsageView.model_fields}),
        deliveries=[delivery_view(one) for one in row["deliveries"]],
        **{name: row[name] for name in plain},
    )


def _id(key: object) -> str | None:
    return None if key is None else str(key)


ROUTES: Final = (
    Route(
        "GET",
        "deliveries",
        list_deliveries,
        "List deliveries",
        TAG,
        "deliveries:read",
        query=DeliveryQuery,
        answer=Page[DeliveryView],
    ),
    Route(
        "POST",
        "deliveries/{id}/retry",
        retry_delivery,
        "Try a failed delivery again",
        TAG,
        "deliveries:manage",
        answer=DeliveryView,
        writes=True,
    ),
    Route(
        "POST",
        "deliveries/{id}/cancel",
        cancel_delivery,
        "Cancel a delivery",
        TAG,
        "deliveries:manage",
        answer=DeliveryView,
        writes=True,
    ),
    Route("GET", "turns/{id}", get_turn, "Show a turn", TAG, "deliveries:read", answer=TurnView),
)
