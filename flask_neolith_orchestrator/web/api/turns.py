"""Routes of turns: what one has done so far, and the decisions on calls that wait for approval."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import Field

from ...core.errors import NotFound, RequestError
from ...core.steps import Step
from ...runtime.chatting.approvals import MOST_REASON, Decision
from ...store.chat.views import iso
from ..calls import Call, Route
from ..shapes import Body, OwnId, Text, Wire, own_id
from .deliveries import DeliveryView, delivery_view, require_managed
from .messages import AskedView
from .turn_shapes import ToldView, told

TAG: Final = "turns"

Reason = Annotated[Text, Field(max_length=MOST_REASON)]
"""Why somebody decided so."""


class UsageView(Wire):
    """Tokens of a turn, over all its attempts."""

    calls: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int


class StepView(Wire):
    """What the model said once (kind model), or one of its calls (kind tool).

    `result` is what was said, which only those see who may read the answer, or what came of the call: that is for the
    requester only. `decidedBy` is a user's id, null where the charter or the clock decided.
    """

    id: str
    n: int
    kind: str = Field(examples=["tool"])
    name: str | None
    state: str = Field(examples=["waiting"])
    arguments: dict[str, Any] | None
    result: str | None
    created_at: str
    expires_at: str | None
    decided_at: str | None
    decided_by: str | None
    ended_at: str | None


class TriedView(Wire):
    """A model that did not answer, and the class of its error."""

    model: str
    error: str


class TurnView(ToldView):
    """One answer in the making, or made. `steps` are there where it used tools."""

    id: str
    orchestrator_id: str
    requester_id: str
    reply_id: str | None
    state: str = Field(examples=["done"])
    attempt: int
    charter_version: int
    error_kind: str | None
    error: str | None
    model: str | None
    tried: list[TriedView] = Field(description="models that were asked before and did not answer")
    regenerates: str | None = Field(description="the turn whose answer it writes anew")
    stop_reason: str | None
    usage: UsageView
    deliveries: list[DeliveryView]
    steps: list[StepView]


class DecisionBody(Body):
    """A decision on one call, or on all that wait. `reason` is told to the model with a denial."""

    step_id: OwnId | None = None
    reason: Reason = ""


class DecisionView(Wire):
    """What is now: the turn's state, its calls that were asked about, and whether this decision lets it go on."""

    turn_id: str
    state: str = Field(examples=["interrupted"])
    resumed: bool
    calls: list[AskedView]


def get_turn(call: Call) -> TurnView:
    """A turn, for who asked for it and for those who manage the orchestrator."""
    row = call.house.turns.view(call.reading, own_id(call.path["id"]))
    if row is None:
        raise NotFound
    if row["requester_id"] != call.actor:
        require_managed(call, str(row["orchestrator_id"]))
    (more,) = call.house.stores.records.turn_list.told(call.reading, [row], call.actor)
    row = {**more, "reply_id": row["reply_id"]}
    steps = call.house.stores.steps.of(call.reading, str(row["id"]))
    mine = row["requester_id"] == call.actor
    return turn_view(row, steps, with_results=mine, with_words=mine or _reads(call, row["reply_id"]))


def _reads(call: Call, message_id: str | None) -> bool:
    """Whether the asker may read a message; in a host's own chat nobody but its host knows."""
    try:
        return message_id is not None and not call.house.chat.message(call.actor, message_id)["deleted"]
    except RequestError:
        return False


def approve_turn(call: Call) -> dict[str, Any]:
    """Let calls be run; only who asked may. The first decision on a call stands."""
    return _decide(call, "approve")


def deny_turn(call: Call) -> dict[str, Any]:
    """Have calls not run; who asked may, and who manages the organization. The first decision on a call stands."""
    return _decide(call, "deny")


def _decide(call: Call, decision: Decision) -> dict[str, Any]:
    body = call.body(DecisionBody)
    return call.house.chat.decide(
        call.actor,
        own_id(call.path["id"]),
        decision,
        step_id=body.step_id,
        reason=body.reason,
        key_id=call.identity.key_id,
    )


def turn_view(row: Mapping[str, Any], steps: Sequence[Step], *, with_results: bool, with_words: bool) -> TurnView:
    """A turn's row, with its deliveries and steps, as the wire shows it."""
    plain = ("requester_id", "state", "attempt", "charter_version", "error_kind", "error", "model", "stop_reason")
    return TurnView(
        id=str(row["id"]),
        orchestrator_id=str(row["orchestrator_id"]),
        reply_id=None if row["reply_id"] is None else str(row["reply_id"]),
        tried=[TriedView(**one) for one in json.loads(row["tried"] or "[]")],
        regenerates=None if row["regenerates"] is None else str(row["regenerates"]),
        usage=UsageView(**{name: row[name] for name in UsageView.model_fields}),
        deliveries=[delivery_view(one) for one in row["deliveries"]],
        steps=[step_view(one, with_result=with_words if one.kind == "model" else with_results) for one in steps],
        **told(row),
        **{name: row[name] for name in plain},
    )


def step_view(step: Step, *, with_result: bool) -> StepView:
    """A step as the wire shows it, with or without its result."""
    return StepView(
        id=step.id,
        n=step.n,
        kind=step.kind,
        name=None if step.call is None else step.call.name,
        state=str(step.state),
        arguments=None if step.call is None else dict(step.call.arguments),
        result=step.result if with_result else None,
        created_at=iso(step.created_at) or "",
        expires_at=iso(step.expires_at),
        decided_at=iso(step.decided_at),
        decided_by=step.decided_by,
        ended_at=iso(step.ended_at),
    )


ROUTES: Final = (
    Route("GET", "turns/{id}", get_turn, "Show a turn", TAG, "deliveries:read", answer=TurnView),
    Route(
        "POST",
        "turns/{id}/approve",
        approve_turn,
        "Approve calls",
        TAG,
        "messages:write",
        body=DecisionBody,
        answer=DecisionView,
        writes=True,
    ),
    Route(
        "POST",
        "turns/{id}/deny",
        deny_turn,
        "Deny calls",
        TAG,
        "messages:write",
        body=DecisionBody,
        answer=DecisionView,
        writes=True,
    ),
)
