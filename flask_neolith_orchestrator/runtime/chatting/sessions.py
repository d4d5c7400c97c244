"""The sessions of conversations, host side: seen and closed by those who are in the place."""

from __future__ import annotations

from typing import Any

from ...core.errors import Conflict, NotFound
from . import checks
from .rights import ChatDoor


class ChatSessions(ChatDoor):
    """The sessions of `Chat`. Lifetime: app, in one process; safe for all threads."""

    def sessions(
        self,
        actor: str,
        *,
        channel_id: str | None = None,
        orchestrator_id: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Sessions of one channel, or of all that the actor is in, the newest first, at most 200.

        The second value is what to give as `before` for the page of older ones, or None.
        """
        before, limit = checks.cursor(before), checks.page_size(limit)
        tx = self._reading()
        if channel_id is not None:
            channels = [self._room(tx, actor, channel_id).id]
        else:
            channels = [room["id"] for room in self._parts.rooms.of(tx, actor)]
        if orchestrator_id is not None:
            orchestrator_id = checks.row_id(orchestrator_id, "orchestrator")
        return self._parts.sessions.page(tx, channels, orchestrator_id=orchestrator_id, before=before, limit=limit)

    def session(self, actor: str, session_id: str) -> dict[str, Any]:
        """One session with its turns, for members of its channel: state (open, idle, closed), summary, turns."""
        tx = self._reading()
        found = self._session(tx, actor, session_id)
        return {**found, "turns": self._parts.sessions.turns(tx, found["id"])}

    def sessions_of(self, actor: str, message_id: str) -> list[dict[str, Any]]:
        """The sessions that a message is a line of: one for each orchestrator that talks there, perhaps none."""
        tx = self._reading()
        found, room = self._message(tx, actor, message_id)
        return self._parts.sessions.of_message(tx, found.id, room.id, found.thread_id, found.created_at)

    def close_session(self, actor: str, session_id: str) -> dict[str, Any]:
        """End a session: what was said so far is in no later prompt, and no summary of it. Harmless twice.

        Any member of the place may: all that is lost is what an orchestrator remembers; the messages stay. Raises
        Conflict for a session that another one has followed.
        """
        tx = self._reading()
        found = self._session(tx, actor, session_id)
        if found["state"] != "closed":
            tx = self._writing()
            closed = self._parts.sessions.close(tx, found["id"], actor)
            found = self._session(tx, actor, session_id)
            if not closed and found["state"] != "closed":
                raise Conflict("Another session has followed this one; close that.")
        return {**found, "turns": self._parts.sessions.turns(tx, found["id"])}

    def _session(self, tx: Any, actor: str, session_id: str) -> dict[str, Any]:
        found = self._parts.sessions.get(tx, checks.row_id(session_id, "session"))
        channel = None if found is None else found["channelId"]
        if found is None or self._parts.rooms.room(tx, checks.row_id(channel, "session"), actor) is None:
            raise NotFound("There is no such session.")
        return found
