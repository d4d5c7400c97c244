"""What a tool's function is given of the call that runs it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..core.cancel import Cancel
from ..core.types import Line, Member, OrchestratorSnapshot, Place


@dataclass(frozen=True, slots=True)
class Found:
    """A message that a search has found. `channel` is the channel's name, None for a direct message."""

    line: Line
    channel_id: str
    channel: str | None
    thread_id: str | None


class ChatAccess(Protocol):
    """The bundled chat for one call: it is read as the requester may read it, and written as the orchestrator.

    Everything raises ToolError with a sentence for the model where it cannot be done. What a requester may not see
    is as if it were not there. Channels are given by name or id. In a chat of the host's own there is only this
    conversation, to read.
    """

    def history(self, channel: str | None = None, limit: int = 50) -> Sequence[Line]:
        """The newest messages, oldest first: of this conversation, or of another channel's main line."""
        ...

    def search(self, words: str, limit: int = 20) -> Sequence[Found]:
        """Messages with all of these words, newest first."""
        ...

    def members(self, channel: str | None = None) -> Sequence[Member]:
        """Who is in this conversation's channel, or in another one."""
        ...

    def react(self, emoji: str, message_id: str | None = None) -> None:
        """Put an emoji on a message (None: on the one that is being answered), as the orchestrator."""
        ...

    def post(self, channel: str, text: str) -> str:
        """Post to another channel that both are in, as the orchestrator; the message's id. It wakes nobody.

        One call of a tool posts one message, however often it is tried.
        """
        ...


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a tool may want to know of the call that runs it. Lifetime: that call.

    `requester_id` is the user for whom it is done: what a tool reads or does must be what that person may read or do.
    `key` is the same for each try of the same call: give it to services that want an idempotency key. `cancel` is set
    when the turn is stopped: a long tool looks at it (`cancel.is_set()`, `cancel.wait(seconds)`).
    """

    requester_id: str
    orchestrator: OrchestratorSnapshot
    place: Place
    turn_id: str
    key: str
    timezone: str
    cancel: Cancel
    chat: ChatAccess
