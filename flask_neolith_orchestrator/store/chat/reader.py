"""The bundled chat as one person may read it: the rights are part of the statements, so nothing else is ever fetched.

A requester sees the channels they are in. Where others listen, an orchestrator shows less: not the requester's direct
messages elsewhere, and only channels that it is in itself. In a direct message of these two alone it shows all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select

from ...core.handles import fold
from ...core.types import Line, Place
from ..people.people import People
from ..tables.models import Models

SCANNED: Final = 20_000
"""The newest messages of all that somebody sees, among which a search looks."""

_SHOWN: Final = ("final", "interrupted")


@dataclass(frozen=True, slots=True)
class Viewer:
    """For whom something is read, and where it will be told. `own_user_id` is the orchestrator's user."""

    requester_id: str
    own_user_id: str
    place: Place


@dataclass(frozen=True, slots=True)
class SeenRoom:
    """A channel that may be read. `name` is None for a direct message."""

    id: str
    name: str | None
    kind: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that was found, and where."""

    line: Line
    room: SeenRoom
    thread_id: str | None


class Reader:
    """Reads the bundled chat for somebody. Lifetime: app, in one process; safe for all threads."""

    def __init__(self, models: Models, people: People) -> None:
        self._models = models
        self._people = people
        self._c = models.table("Channel")
        self._cm = models.table("ChannelMember")
        self._m = models.table("Message")

    def room(self, tx: Connection, viewer: Viewer, named: str | None) -> SeenRoom | None:
        """The channel of this name or id (None: where the talk is), if it may be read."""
        seen = self._seen(tx, viewer)
        if seen is None:
            return None
        c = self._c
        if named is None:
            which = c.c.id == _key(viewer.place.channel_id)
        else:
            wanted = named.strip().removeprefix("#")
            which = or_(c.c.id == _key(wanted), c.c.name == fold(wanted))
        rows = tx.execute(select(c.c.id, c.c.name, c.c.kind).where(which, seen).order_by(c.c.id)).all()
        by_id = [row for row in rows if named is None or str(row.id) == named.strip().removeprefix("#")]
        row = next(iter(by_id or rows), None)
        return None if row is None else SeenRoom(str(row.id), row.name, row.kind)

    def sees(self, tx: Connection, viewer: Viewer, message_id: str) -> bool:
        """Whether a message is there and may be read."""
        seen, m, c = self._seen(tx, viewer), self._m, self._c
        if seen is None or _key(message_id) is None:
            return False
        found = select(m.c.id).join(c, c.c.id == m.c.channel_id).where(m.c.id == _key(message_id), self._there(), seen)
        return tx.execute(found).first() is not None

    def search(self, tx: Connection, viewer: Viewer, words: Sequence[str], limit: int) -> list[Hit]:
        """Messages with all these words, newest first, among the newest that may be read."""
        seen, m, c = self._seen(tx, viewer), self._m, self._c
        if seen is None or not words:
            return []
        rooms = select(c.c.id).where(seen)
        newest = (
            select(m.c.id)
            .where(m.c.channel_id.in_(rooms), self._there())
            .order_by(m.c.id.desc())
            .limit(SCANNED)
            .subquery()
        )
        columns = (m.c.id, m.c.author_id, m.c.author_name, m.c.content, m.c.created_at, m.c.parent_id)
        rows = tx.execute(
            select(*columns, c.c.id.label("room"), c.c.name, c.c.kind)
            .join(newest, newest.c.id == m.c.id)
            .join(c, c.c.id == m.c.channel_id)
            .where(*[m.c.content.icontains(word, autoescape=True) for word in words])
            .order_by(m.c.id.desc())
            .limit(limit)
        ).all()
        authors = self._people.authors(tx, {row.author_id for row in rows})
        return [self._hit(row, authors.get(row.author_id), viewer) for row in rows]

    def _hit(self, row: Any, author: tuple[str, str | None] | None, viewer: Viewer) -> Hit:
        name, handle = author if author is not None else (None, None)
        line = Line(
            message_id=str(row.id),
            author_id="" if row.author_id is None else str(row.author_id),
            author_name=name or row.author_name or "Somebody",
            author_handle=handle,
            content=row.content,
            at=row.created_at,
            by_self=str(row.author_id) == viewer.own_user_id,
            is_orchestrator=handle is not None,
        )
        thread = None if row.parent_id is None else str(row.parent_id)
        return Hit(line, SeenRoom(str(row.room), row.name, row.kind), thread)

    def _there(self) -> ColumnElement[bool]:
        m, root = self._m, self._m.alias("root")
        gone = exists().where(root.c.id == m.c.parent_id, root.c.deleted_at.is_not(None))
        return and_(m.c.deleted_at.is_(None), m.c.state.in_(_SHOWN), ~gone)

    def _seen(self, tx: Connection, viewer: Viewer) -> ColumnElement[bool] | None:
        """The channels that may be read, as a condition; None if there are none."""
        requester = self._models.parse_user_id(viewer.requester_id)
        own = self._models.parse_user_id(viewer.own_user_id)
        if requester is None or own is None:
            return None
        c, theirs = self._c, self._member(requester, "theirs")
        if self._alone(tx, viewer):
            return theirs
        here = c.c.id == _key(viewer.place.channel_id)
        return and_(theirs, or_(here, and_(c.c.kind != "dm", self._member(own, "ours"))))

    def _member(self, user: Any, name: str) -> ColumnElement[bool]:
        cm = self._cm.alias(name)
        return exists().where(cm.c.channel_id == self._c.c.id, cm.c.user_id == user)

    def _alone(self, tx: Connection, viewer: Viewer) -> bool:
        if not viewer.place.is_dm:
            return False
        cm = self._cm
        members = select(func.count()).where(cm.c.channel_id == _key(viewer.place.channel_id))
        return tx.execute(members).scalar_one() <= 2


def _key(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None
