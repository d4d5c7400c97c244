"""Turns on the wire: what was asked where, how long it took, and what it cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from ...chat.budgeting import shown_cost
from ...store.chat.views import iso
from ..shapes import Wire


class PlaceView(Wire):
    """A channel that the viewer is in, and the thread. `name` is null for a direct message."""

    id: str
    name: str | None
    kind: str = Field(examples=["channel"])
    thread_id: str | None


class RequesterView(Wire):
    """Who asked."""

    id: str
    name: str


class TokensView(Wire):
    """Tokens of a turn, over all its attempts."""

    calls: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int


class TimesView(Wire):
    """How long a turn took, from when its first message was accepted. An approval's wait is in the total."""

    queued_at: str | None
    started_at: str
    first_text_at: str | None
    ended_at: str | None
    waiting_ms: float | None = Field(description="until its last attempt began")
    first_text_ms: float | None = Field(description="until the first text of its answer")
    total_ms: float | None = Field(description="until its end")


class ToldView(TimesView):
    """What a list of turns and one turn show alike."""

    conversation_id: str
    channel: PlaceView | None = Field(description="null if the viewer may not read there")
    requester: RequesterView
    reason: str | None
    kind: str = Field(examples=["message"])
    cost: str | None = Field(examples=["0.012345"], description="null where a call of it has no known price")
    unpriced: int
    notice: str | None


def told(row: Mapping[str, Any]) -> dict[str, Any]:
    """The members of ToldView, from a row of `TurnList.told`."""
    place, queued = row["channel"], row["queued_at"]
    return {
        "conversation_id": str(row["conversation_id"]),
        "channel": None if place is None else PlaceView(**place),
        "requester": RequesterView(id=row["requester_id"], name=row["requester_name"]),
        "reason": row["reason"],
        "kind": row["kind"],
        "cost": None if row["unpriced"] else shown_cost(row["cost"]),
        "unpriced": row["unpriced"],
        "notice": row["notice"],
        "queued_at": iso(queued),
        "started_at": iso(row["started_at"]) or "",
        "first_text_at": iso(row["first_text_at"]),
        "ended_at": iso(row["ended_at"]),
        "waiting_ms": _ms(queued, row["started_at"]),
        "first_text_ms": _ms(queued, row["first_text_at"]),
        "total_ms": _ms(queued, row["ended_at"]),
    }


def _ms(begin: float | None, end: float | None) -> float | None:
    return None if begin is None or end is None else round(max(0.0, end - begin) * 1000, 1)


def tried(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """Models that did not answer."""
    found: list[dict[str, str]] = json.loads(row["tried"] or "[]")
    return found
