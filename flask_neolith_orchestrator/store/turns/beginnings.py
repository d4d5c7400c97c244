"""A turn at a claim: its own row and the row of its answer, written anew or taken up again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, insert, update

from ...core.ports import ChatStore, ReplyDraft, ReplyWrite
from ...core.sessions import Session
from ...core.types import MessageState, Place
from ..sql.database import Database
from ..tables.models import Models
from .sessions import Sessions


@dataclass(frozen=True, slots=True)
class Asked:
    """What a claim has picked: a conversation, in which `user_id` (the orchestrator's user) is to answer."""

    orchestrator: int
    user_id: str
    conversation: int
    place: Place
    epoch: int
    requester: str | None
    message_id: str | None


@dataclass(frozen=True, slots=True)
class Begun:
    """A turn whose row a claim has written. Lifetime: that claim."""

    id: int
    reply: str
    attempt: int
    session: Session | None
    regenerates: str | None = None


class Beginnings:
    """Writes how turns begin. Lifetime: app, in one process; safe for all threads."""

    def __init__(self, models: Models, database: Database, chat: ChatStore, sessions: Sessions) -> None:
        self._chat = chat
        self.sessions = sessions
        self._clock = database.clock
        t = models.table("Turn")
        now = database.now()
        counts: dict[str, Any] = dict.fromkeys(
            ("charter_version", "calls", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"), 0
        )
        self._begin = database.prepare(
            insert(t)
            .values(
                orchestrator_id=bindparam("b_orchestrator"),
                conversation_id=bindparam("b_conversation"),
                requester_id=bindparam("b_requester"),
                reply_id=bindparam("b_reply"),
                session_id=bindparam("b_session"),
                state="running",
                epoch=bindparam("b_epoch"),
                attempt=1,
                started_at=now,
                **counts,
            )
            .returning(t.c.id)
        )
        self._again = database.prepare(
            update(t)
            .where(t.c.id == bindparam("b_turn"))
            .values(
                state="running",
                epoch=bindparam("b_epoch"),
                attempt=t.c.attempt + 1,
                started_at=now,
                ended_at=None,
                error=None,
                error_kind=None,
                cancel_requested=None,
            )
            .returning(t.c.reply_id, t.c.attempt, t.c.session_id, t.c.regenerates)
        )

    def first(self, tx: Connection, asked: Asked) -> Begun:
        """The first attempt: a new turn with an empty `streaming` answer."""
        draft = ReplyDraft(
            str(asked.orchestrator), asked.user_id, asked.place, asked.message_id, asked.epoch, self._clock.wall()
        )
        reply = self._chat.open_reply(tx, draft)
        session = self.sessions.begin(tx, asked.conversation, asked.orchestrator, asked.place, first=asked.epoch == 1)
        turn = self._begin.run(
            tx,
            b_orchestrator=asked.orchestrator,
            b_conversation=asked.conversation,
            b_requester=asked.requester,
            b_reply=reply,
            b_session=int(session.id),
            b_epoch=asked.epoch,
        ).scalar_one()
        return Begun(turn, reply, 1, session)

    def again(self, tx: Connection, turn: int, asked: Asked) -> Begun:
        """Another attempt at a turn: the same rows, from the start; it may answer fewer lines than the one before.

        What is written anew keeps its row as it is until the new version is complete.
        """
        reply, attempt, session_id, regenerates = self._again.run(tx, b_turn=turn, b_epoch=asked.epoch).one()
        session = None if session_id is None else self.sessions.of(tx, session_id)
        if regenerates is not None:
            return Begun(turn, reply, attempt, session, str(regenerates))
        now, to = self._clock.wall(), asked.message_id
        write = ReplyWrite(reply, "", MessageState.STREAMING, asked.epoch, 0, now, reply_to_id=to)
        self._chat.write_reply(tx, write)
        return Begun(turn, reply, attempt, session)
