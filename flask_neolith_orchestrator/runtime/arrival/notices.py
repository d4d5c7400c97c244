"""Short messages that the house posts in an orchestrator's name: they wake nobody, and no model reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...core.ports import ChatStore, ReplyDraft, ReplyWrite
from ...core.types import MessageState, Place
from ...store.people.people import People
from ...store.sql.database import Database

Notice = Mapping[str, Any]
"""A message as the wire shows it."""


@dataclass(frozen=True, slots=True)
class _Draft:
    orchestrator_id: str
    place: Place
    text: str
    remark: str
    reply_to: str | None
    state: MessageState


class Notices:
    """Posts notices. Lifetime: app, in one process; safe for all threads (each brings its transaction)."""

    def __init__(self, database: Database, chat: ChatStore, people: People) -> None:
        self._clock = database.clock
        self._chat = chat
        self._people = people

    def post(
        self,
        tx: Any,
        orchestrator_id: str,
        place: Place,
        text: str,
        remark: str,
        *,
        reply_to: str | None = None,
    ) -> list[Notice]:
        """Write a notice into `tx`; what it returns is to be emitted as `message` after the commit.

        `remark` says in a few words that, and why, nobody wrote it. By it the row is known as a notice.
        """
        return self._write(tx, _Draft(orchestrator_id, place, text, remark, reply_to, MessageState.FINAL))

    def refuse(
        self, tx: Any, orchestrator_id: str, place: Place, text: str, remark: str, *, reply_to: str | None = None
    ) -> list[Notice]:
        """The same for a question that will not be answered."""
        return self._write(tx, _Draft(orchestrator_id, place, text, remark, reply_to, MessageState.FAILED))

    def _write(self, tx: Any, draft: _Draft) -> list[Notice]:
        now = self._clock.wall()
        user_id = self._people.user_id(tx, draft.orchestrator_id)
        opened = ReplyDraft(draft.orchestrator_id, user_id, draft.place, draft.reply_to, 0, now)
        reply = self._chat.open_reply(tx, opened)
        channel = draft.place.channel_id
        write = ReplyWrite(reply, draft.text, draft.state, 0, 0, now, draft.remark, channel_id=channel)
        self._chat.write_reply(tx, write)
        message = self._chat.view(tx, reply)
        return [] if message is None else [message]
