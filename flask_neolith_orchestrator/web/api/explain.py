"""The route that says why somebody did, or did not, answer."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from ..calls import Call, Route
from ..shapes import Wire, own_id


class DecisionView(Wire):
    """What became of the message for one orchestrator when it came: its delivery. `held` is what it waits for."""

    id: str
    reason: str
    state: str
    outcome: str | None
    held: str | None
    ready_at: str
    accepted_at: str
    ended_at: str | None
    turn_id: str | None


class ExplainedView(Wire):
    """Whether one orchestrator of the channel is meant, and why, decided anew; and what was decided then."""

    orchestrator_id: str
    handle: str
    name: str
    wakes: bool
    reason: str | None = Field(examples=["mentioned"])
    sentence: str
    delivery: DecisionView | None


class ExplanationView(Wire):
    """A message, and every orchestrator in its channel."""

    message_id: str
    orchestrators: list[ExplainedView]


def explain_message(call: Call) -> dict[str, Any]:
    """Why each orchestrator of the channel did or did not wake, for the channel's members."""
    message = call.house.chat.message(call.actor, own_id(call.path["id"]))
    found = call.house.front.explaining.of(call.reading, message)
    shown = [
        {
            "orchestratorId": one.orchestrator_id,
            "handle": one.handle,
            "name": one.name,
            "wakes": one.wakes,
            "reason": one.reason,
            "sentence": one.sentence,
            "delivery": one.delivery,
        }
        for one in found
    ]
    return {"messageId": message["id"], "orchestrators": shown}


ROUTES: Final = (
    Route(
        "GET",
        "messages/{id}/explain",
        explain_message,
        "Explain who answers",
        "messages",
        "messages:read",
        answer=ExplanationView,
    ),
)
