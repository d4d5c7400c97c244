"""The chat in the hands of a tool: read with the requester's rights, written as the orchestrator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from ...chat.tool_context import Found
from ...core.errors import RequestError, ToolError
from ...core.types import Claim, Line, Member, OrchestratorSnapshot, Place
from ...store.chat.reader import Hit, Reader, SeenRoom, Viewer
from ...store.stores import Stores
from ..chatting.chat import Chat

MOST_READ: Final = 200
MOST_FOUND: Final = 50
MOST_WORDS: Final = 8

NO_CHANNEL: Final = "There is no such channel, or it may not be read here."
HOSTS_OWN: Final = "This chat can only be read where you are. It cannot be searched or written to."


@dataclass(frozen=True, slots=True)
class ChatTools:
    """What access to the chat is made of. Lifetime: app, in one process. `scope` is a session, committed at its end."""

    stores: Stores
    reader: Reader
    chat: Chat
    scope: Callable[[], AbstractContextManager[Any]]

    def is_bundled(self, channel_id: str) -> bool:
        """Whether a channel is the bundled chat's own; asked once for each, as its finish does otherwise."""
        external = self.stores.external
        if external is None:
            return False
        known = external.known(channel_id)
        if known is None:
            with self.stores.database.read() as tx:
                known = external.is_external(tx, channel_id)
        return not known


class TurnChat:
    """Implements `chat.tool_context.ChatAccess` for one call. Lifetime: that call, on its thread."""

    def __init__(self, tools: ChatTools, claim: Claim, orchestrator: OrchestratorSnapshot, key: str) -> None:
        self._stores = tools.stores
        self._reader = tools.reader
        self._chat = tools.chat
        self._scope = tools.scope
        self._claim = claim
        self._orchestrator = orchestrator
        self._key = key
        self._bundled = tools.is_bundled(claim.place.channel_id)
        self._viewer = Viewer(claim.requester_id, orchestrator.user.id, claim.place)

    def history(self, channel: str | None = None, limit: int = 50) -> Sequence[Line]:
        """The newest messages, oldest first. Raises ToolError for a channel that may not be read here."""
        with self._stores.database.read() as tx:
            place = self._place(tx, channel)
            own, most = self._orchestrator.user.id, _within(limit, MOST_READ)
            return self._stores.chat.history(tx, place, until=None, own=own, limit=most)

    def search(self, words: str, limit: int = 20) -> Sequence[Found]:
        """Messages with all of these words, newest first."""
        self._require_bundled()
        with self._stores.database.read() as tx:
            wanted = words.split()[:MOST_WORDS]
            return [_found(hit) for hit in self._reader.search(tx, self._viewer, wanted, _within(limit, MOST_FOUND))]

    def members(self, channel: str | None = None) -> Sequence[Member]:
        """Who is in a channel. Raises ToolError for one that may not be read here."""
        with self._stores.database.read() as tx:
            return self._stores.chat.members(tx, self._place(tx, channel).channel_id)

    def react(self, emoji: str, message_id: str | None = None) -> None:
        """Put an emoji on a message. Raises ToolError where that cannot be done."""
        self._require_bundled()
        target = message_id if message_id is not None else next(reversed(self._claim.messages), None)
        with self._stores.database.read() as tx:
            if target is None or not self._reader.sees(tx, self._viewer, target.strip().removeprefix("#")):
                raise ToolError("There is no such message, or it may not be read here.")
        self._do(lambda: self._chat.react(self._orchestrator.user.id, target.strip().removeprefix("#"), emoji))

    def post(self, channel: str, text: str) -> str:
        """Post to another channel. Raises ToolError where the requester or the orchestrator may not."""
        self._require_bundled()
        with self._stores.database.read() as tx:
            room = self._room(tx, channel)
        if room.id == self._claim.place.channel_id:
            raise ToolError("You are in that channel: what you answer is posted here anyway.")
        posted = self._do(
            lambda: self._chat.post(
                self._orchestrator.user.id, room.id, text, client_id=f"tool:{self._key}", wakes=False
            )
        )
        return str(posted.message["id"])

    def _do(self, act: Callable[[], Any]) -> Any:
        try:
            with self._scope():
                return act()
        except RequestError as error:
            raise ToolError(str(error)) from error

    def _require_bundled(self) -> None:
        if not self._bundled:
            raise ToolError(HOSTS_OWN)

    def _place(self, tx: Any, channel: str | None) -> Place:
        if channel is None and not self._bundled:
            return self._claim.place  # the host has brought the requester here
        self._require_bundled()
        room = self._room(tx, channel)
        return self._claim.place if room.id == self._claim.place.channel_id else Place(room.id, None, room.kind == "dm")

    def _room(self, tx: Any, channel: str | None) -> SeenRoom:
        room = self._reader.room(tx, self._viewer, channel)
        if room is None:
            raise ToolError(NO_CHANNEL)
        return room


def _found(hit: Hit) -> Found:
    return Found(hit.line, hit.room.id, hit.room.name, hit.thread_id)


def _within(limit: int, most: int) -> int:
    return max(1, min(limit, most))
