"""Routes of the inbox: deliveries, for those who manage the orchestrators they belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from ...core.cancel import StopReason
from ...core.errors import Conflict, NotFound
from ...core.types import DeliveryState, OrchestratorSnapshot
from ...store.chat.views import iso
from ...store.turns.turns import Stopped, StopResult, Target
from ..calls import Call, Route
from ..shapes import Limit, OwnId, Page, Query, Wire, own_id
from .audit import record
from .turn_shapes import PlaceView, RequesterView

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


class NamedOrchestratorView(Wire):
    """An orchestrator, and how it is called."""

    id: str
    handle: str
    name: str


class CauseView(Wire):
    """What went wrong last: a word for programs, and a text for those who manage the orchestrator."""

    kind: str
    text: str | None


class DeliveryItemView(DeliveryView):
    """A delivery with what belongs to it. `channel` is null where the viewer may not read.

    `ageMs` counts from when it was accepted, to its end or to now. `held` is what a waiting one waits for.
    """

    orchestrator: NamedOrchestratorView
    author: RequesterView
    channel: PlaceView | None
    error: CauseView | None
    held: str | None
    age_ms: float
    retryable: bool


def _split(value: object) -> object:
    return value.split(",") if isinstance(value, str) else value


class DeliveryQuery(Query):
    """Which deliveries, newest first; `state` is one or several, separated by commas."""

    state: Annotated[list[DeliveryState], BeforeValidator(_split), Field(max_length=8)] = []
    orchestrator_id: OwnId | None = None
    cursor: OwnId | None = None
    limit: Limit = 50


def list_deliveries(call: Call) -> Page[DeliveryItemView]:
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
    items = _items(call, rows[: asked.limit])
    return Page[DeliveryItemView](items=items, next=items[-1].id if len(rows) > asked.limit else None)


def get_delivery(call: Call) -> DeliveryItemView:
    """One delivery of an orchestrator that the asker manages."""
    found = _items(call, [_managed(call, call.path["id"])])
    if not found:
        raise NotFound
    return found[0]


def _items(call: Call, rows: Sequence[Mapping[str, Any]]) -> list[DeliveryItemView]:
    """With what belongs to them, by a few statements however many they are."""
    told = call.house.stores.records.turn_list.deliveries(call.reading, rows, call.actor)
    ids = sorted({str(row["orchestrator_id"]) for row in rows})
    ones = {one.id: one for one in (call.house.people.snapshots(call.reading, ids) if ids else ())}
    now = call.house.clock.wall()
    return [_item(row, ones[str(row["orchestrator_id"])], now) for row in told if str(row["orchestrator_id"]) in ones]


def _item(row: Mapping[str, Any], one: OrchestratorSnapshot, now: float) -> DeliveryItemView:
    place, ended = row["channel"], row["ended_at"]
    return DeliveryItemView(
        orchestrator=NamedOrchestratorView(id=one.id, handle=one.handle, name=one.user.name),
        author=RequesterView(id=row["author_id"], name=row["author_name"]),
        channel=None if place is None else PlaceView(**place),
        error=None if row["error_kind"] is None else CauseView(kind=row["error_kind"], text=row["error"]),
        held=row["held"],
        age_ms=round(max(0.0, (now if ended is None else ended) - row["accepted_at"]) * 1000),
        retryable=row["retryable"],
        **delivery_view(row).model_dump(),
    )


def retry_delivery(call: Call) -> DeliveryView:
    """Give a delivery that has failed or expired its attempts back."""
    row = _managed(call, call.path["id"])
    turns, house = call.house.turns, call.house
    if not turns.retry(call.writing(), str(row["id"])):
        msg = f"Only a failed or expired delivery can be tried again; this one is {row['state']}."
        raise Conflict(msg)
    orchestrator_id = str(row["orchestrator_id"])
    _record(call, "delivery.retried", row)
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
    _record(call, "delivery.cancelled", row)
    _tell(call, result)
    return delivery_view(call.house.turns.delivery(call.reading, str(row["id"])) or row)


def _record(call: Call, action: str, row: Mapping[str, Any]) -> None:
    record(call, action, orchestrator_id=str(row["orchestrator_id"]), subject=("delivery", str(row["id"])))


def _tell(call: Call, result: StopResult) -> None:
    manager = call.house.manager

    def effect() -> None:
        if result.ended:
            manager.ended(result.ended)
        if result.found is Stopped.RUNNING and result.turn_id is not None:
            manager.cancel_turn(result.turn_id, StopReason.PERSON)

    call.house.reception.after_commit(call.session, effect)


def _managed(call: Call, delivery_id: str) -> dict[str, Any]:
    row = call.house.turns.delivery(call.reading, own_id(delivery_id))
    if row is None:
        raise NotFound
    require_managed(call, str(row["orchestrator_id"]))
    return row


def require_managed(call: Call, orchestrator_id: str) -> None:
    """Raise NotFound unless the asker manages the orchestrator."""
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
        answer=Page[DeliveryItemView],
    ),
    Route("GET", "deliveries/{id}", get_delivery, "Show a delivery", TAG, "deliveries:read", answer=DeliveryItemView),
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
)
