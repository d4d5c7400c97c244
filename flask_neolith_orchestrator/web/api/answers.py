"""Routes of answers: having one written anew or tried again, and its versions."""

from __future__ import annotations

from typing import Any, Final

from ...core.errors import NotFound
from ..calls import Call, Route
from ..shapes import Page, Wire, own_id
from .messages import TAG, MessageView, WorkView


class RegenerateView(Wire):
    """A new version that waits to be written; `message` is the answer as it still is."""

    work: WorkView
    message: MessageView


class RetryView(Wire):
    """What is tried again."""

    work: list[WorkView]
    message: MessageView


class VersionView(Wire):
    """A version of an answer. `at` is when it was written or, of a former one, put aside."""

    n: int
    content: str
    html: str
    state: str
    turn_id: str | None
    at: str
    current: bool


def regenerate_message(call: Call) -> dict[str, Any]:
    """Have an answer written anew; 409 while one is being written or waits for it."""
    call.house.front.rates.post(call.actor)
    return call.house.chat.regenerate(call.actor, own_id(call.path["id"]))


def retry_message(call: Call) -> dict[str, Any]:
    """Try a failed answer again, in its own row; 409 where nothing has failed."""
    call.house.front.rates.post(call.actor)
    return call.house.chat.retry(call.actor, own_id(call.path["id"]))


def list_versions(call: Call) -> dict[str, Any]:
    """All versions of an answer, the current one last."""
    return {"items": call.house.chat.versions(call.actor, own_id(call.path["id"])), "next": None}


def restore_version(call: Call) -> dict[str, Any]:
    """Let a former version be the answer again."""
    n = call.path["n"]
    if not n.isdecimal() or not n.isascii() or len(n) > 9:
        raise NotFound("There is no such version.")
    return call.house.chat.restore(call.actor, own_id(call.path["id"]), int(n))


def _steering(path: str, handler: Any, summary: str, answer: type[Wire]) -> Route:
    return Route("POST", path, handler, summary, TAG, "messages:write", answer=answer, writes=True)


ROUTES: Final = (
    _steering("messages/{id}/regenerate", regenerate_message, "Write an answer anew", RegenerateView),
    _steering("messages/{id}/retry", retry_message, "Try a failed answer again", RetryView),
    Route(
        "GET",
        "messages/{id}/versions",
        list_versions,
        "List an answer's versions",
        TAG,
        "messages:read",
        answer=Page[VersionView],
    ),
    _steering("messages/{id}/versions/{n}/restore", restore_version, "Restore a version", MessageView),
)
