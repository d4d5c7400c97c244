"""The route of an orchestrator's turns: how each went, for those who manage it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from ...core.types import TurnState
from ..calls import Call, Route
from ..shapes import Limit, OwnId, Page, Query, Wire
from .turn_shapes import TokensView, ToldView, told, tried

TAG: Final = "turns"


class TriedModelView(Wire):
    """A model that did not answer, and the class of its error."""

    model: str
    error: str


class TurnItemView(ToldView):
    """One turn. `replyId` and `channel` are null where the viewer may not read the answer."""

    id: str
    orchestrator_id: str
    state: str = Field(examples=["done"])
    attempt: int
    charter_version: int
    model: str | None
    tried: list[TriedModelView]
    usage: TokensView
    error_kind: str | None
    error: str | None
    stop_reason: str | None
    reply_id: str | None


def _split(value: object) -> object:
    return value.split(",") if isinstance(value, str) else value


class TurnQuery(Query):
    """Which turns, newest first; `state` is one or several, separated by commas."""

    state: Annotated[list[TurnState], BeforeValidator(_split), Field(max_length=7)] = []
    cursor: OwnId | None = None
    limit: Limit = 50


def list_turns(call: Call) -> Page[TurnItemView]:
    """An orchestrator's turns, for those who manage it."""
    one, asked = call.rights.managed(call.path["id"]), call.query(TurnQuery)
    turns = call.house.stores.records.turn_list
    rows = turns.page(
        call.reading,
        one.id,
        states=[str(state) for state in asked.state],
        before=None if asked.cursor is None else int(asked.cursor),
        limit=asked.limit + 1,
    )
    items = [_item(row) for row in turns.told(call.reading, rows[: asked.limit], call.actor)]
    return Page[TurnItemView](items=items, next=items[-1].id if len(rows) > asked.limit else None)


def _item(row: Mapping[str, Any]) -> TurnItemView:
    plain = ("state", "attempt", "charter_version", "model", "error_kind", "error", "stop_reason", "reply_id")
    return TurnItemView(
        id=str(row["id"]),
        orchestrator_id=str(row["orchestrator_id"]),
        tried=[TriedModelView(**one) for one in tried(row)],
        usage=TokensView(**{name: row[name] for name in TokensView.model_fields}),
        **told(row),
        **{name: row[name] for name in plain},
    )


ROUTES: Final = (
    Route(
        "GET",
        "orchestrators/{id}/turns",
        list_turns,
        "List an orchestrator's turns",
        TAG,
        "deliveries:read",
        query=TurnQuery,
        answer=Page[TurnItemView],
    ),
)
