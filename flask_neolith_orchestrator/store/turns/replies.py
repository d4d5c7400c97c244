"""An answer's messages: a long one has several, and one that is written anew stays as it was until it is complete."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlalchemy import Connection, update

from ...core.ports import ChatStore, Parts, ReplyWrite, Volumes
from ...core.types import Claim, MessageState, TurnState
from ..sql.database import Database
from ..tables.models import Models

KEPT = "The new version was stopped. This is the one before it."
UNWRITTEN = "A new version could not be written."
LONGEST_NOTICE = 300

Split = Callable[[str], Sequence[str]]
"""Cuts a text into the texts of several messages."""


def whole(text: str) -> Sequence[str]:
    """No cut at all: where nobody said how long a message may be."""
    return (text,)


class Replies:
    """Writes the messages of answers when an attempt ends. Lifetime: app, in one process; safe for all threads."""

    def __init__(self, models: Models, database: Database, chat: ChatStore, split: Split = whole) -> None:
        self._chat = chat
        self._volumes = chat if isinstance(chat, Volumes) else None
        self._clock = database.clock
        self._split = split
        self._t = models.table("Turn")

    def end(self, tx: Connection, claim: Claim, write: ReplyWrite, *, over: bool) -> Parts:
        """Write how an attempt has left the answer; `over` says that no other attempt follows.

        Only then a long one is cut: what is begun again is one message until it is complete.
        """
        if claim.regenerates is not None:
            return self._end_anew(tx, claim.regenerates, write, over=over)
        return self._write(tx, write, self._split(write.text) if over and write.text else ())

    def drop(self, tx: Connection, claim: Claim) -> None:
        """The question is gone, and its answer with it; but not what was answered before."""
        if claim.regenerates is None:
            self._chat.drop_reply(tx, claim.reply_id, self._clock.wall())
        else:
            self.touch(tx, claim.reply_id, claim.epoch, None)

    def touch(self, tx: Connection, reply_id: str, epoch: int, notice: str | None) -> None:
        """Leave an answer as it is, with a notice: see `core.ports.Volumes`."""
        if self._volumes is not None:
            self._volumes.touch_reply(tx, reply_id, epoch, None if notice is None else notice[:LONGEST_NOTICE])

    def says(self, tx: Connection, reply_id: str) -> bool:
        """Whether there is any text of an answer."""
        shown = self._chat.view(tx, reply_id) or {}
        return bool(str(shown.get("content") or "").strip())

    def single(self, tx: Connection, write: ReplyWrite) -> None:
        """An answer that had several messages begins again: it has one."""
        if self._volumes is not None:
            self._volumes.write_parts(tx, write, ())

    def _write(self, tx: Connection, write: ReplyWrite, texts: Sequence[str], *, anew: bool = False) -> Parts:
        if self._volumes is None or (len(texts) < 2 and not anew):
            self._chat.write_reply(tx, write)
            return Parts()
        first, *further = texts
        self._chat.write_reply(tx, replace(write, text=first))
        return self._volumes.write_parts(tx, write, further)

    def _end_anew(self, tx: Connection, before: str, write: ReplyWrite, *, over: bool) -> Parts:
        """Only a complete new version takes the place of the one before; `before` is the turn of that."""
        if write.state is not MessageState.FINAL or not write.text or self._volumes is None:
            self.touch(tx, write.reply_id, write.epoch, _why_kept(write) if over else write.notice)
            return Parts()
        self._volumes.keep_version(tx, write.reply_id, before, write.at)
        t = self._t
        tx.execute(update(t).where(t.c.id == int(before)).values(state=str(TurnState.SUPERSEDED)))
        return self._write(tx, write, self._split(write.text), anew=True)


def _why_kept(write: ReplyWrite) -> str:
    if write.state is not MessageState.FAILED:
        return KEPT
    return f"{UNWRITTEN} {write.notice or write.text or ''}".strip()
