"""Messages and reactions as people write them, on a transaction the caller brings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, String, and_, cast, delete, func, or_, select, update

from ...core.types import Place
from ..inbox.inbox import conversation_key
from ..sql.database import Database
from ..sql.inserts import insert_into
from ..tables.models import Models
from ..turns.sessions import source_changed
from ..turns.volumes import BundledVolumes
from .views import Views


@dataclass(frozen=True, slots=True)
class Draft:
    """A message to be stored. `author_id` is a user id, the other ids are ours; `at` is epoch seconds."""

    channel_id: str
    author_id: str
    content: str
    at: float
    thread_id: str | None = None
    reply_to_id: str | None = None
    client_id: str | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """What must be known of a message before somebody changes it or answers it."""

    id: str
    channel_id: str
    thread_id: str | None
    author_id: str | None
    content: str
    state: str
    deleted: bool
    created_at: float
    reply_to_id: str | None = None
    continuation_of: str | None = None


class Messages:
    """Reads and writes messages. Lifetime: app, in one process; safe for all threads."""

    def __init__(self, models: Models, database: Database, views: Views) -> None:
        self._models = models
        self._dialect = database.dialect
        self._views = views
        self._volumes = BundledVolumes(models)
        self._m = models.table("Message")
        self._r = models.table("Reaction")
        self._c, self._d = models.table("Conversation"), models.table("Delivery")

    def add(self, tx: Connection, draft: Draft) -> tuple[str, bool]:
        """Store a message; (id, True), or (id, False) if its author has sent this `client_id` here before."""
        m = self._m
        author = self._models.parse_user_id(draft.author_id)
        statement = insert_into(m, self._dialect).values(
            channel_id=int(draft.channel_id),
            author_id=author,
            parent_id=_key(draft.thread_id),
            reply_to_id=_key(draft.reply_to_id),
            content=draft.content,
            client_id=draft.client_id,
            created_at=draft.at,
        )
        made = tx.execute(statement.on_conflict_do_nothing().returning(m.c.id)).scalar()
        if made is not None:
            return str(made), True
        sent = select(m.c.id).where(
            m.c.channel_id == int(draft.channel_id), m.c.author_id == author, m.c.client_id == draft.client_id
        )
        return str(tx.execute(sent).scalar_one()), False

    def get(self, tx: Connection, message_id: str) -> Stored | None:
        """A message, deleted or not."""
        row = tx.execute(select(self._m).where(self._m.c.id == int(message_id))).first()
        return None if row is None else _stored(row)

    def edit(self, tx: Connection, message_id: str, content: str, at: float) -> bool:
        """Change the text; False if the message is deleted, or still being written."""
        m = self._m
        self._hold_place(tx, message_id)
        changed = tx.execute(
            update(m)
            .where(m.c.id == int(message_id), m.c.deleted_at.is_(None), m.c.state != "streaming")
            .values(content=content, edited_at=at)
        )
        if changed.rowcount:
            source_changed(tx, self._models, int(message_id))
        return bool(changed.rowcount)

    def delete(self, tx: Connection, message_id: str, at: float) -> list[str]:
        """Take the text and the reactions away and leave the empty row; what was deleted, nothing if it was before.

        With an answer go its further messages, whose ids follow its own, and its versions.
        """
        m, r = self._m, self._r
        self._hold_place(tx, message_id)
        changed = tx.execute(
            update(m)
            .where(m.c.id == int(message_id), m.c.deleted_at.is_(None))
            .values(content="", notice=None, state="final", deleted_at=at)
        )
        if not changed.rowcount:
            return []
        source_changed(tx, self._models, int(message_id))
        tx.execute(delete(r).where(r.c.message_id == int(message_id)))
        return [message_id, *self._volumes.forget(tx, message_id, at)]

    def _hold_place(self, tx: Connection, message_id: str) -> None:
        """Keep claims and finishes out of every conversation that a message is a line of, before it is changed.

        All lock conversations first, and in this order; answers and sessions, which they change too, come after.
        """
        m, c = self._m, self._c
        row = tx.execute(select(m.c.channel_id, m.c.parent_id).where(m.c.id == int(message_id))).first()
        if row is None:
            return
        # of the thread that it began it is a line, too
        places = [None, message_id] if row.parent_id is None else [str(row.parent_id)]
        keys = [conversation_key(Place(str(row.channel_id), thread)) for thread in places]
        tx.execute(select(c.c.id).where(c.c.key.in_(keys)).order_by(c.c.id).with_for_update(key_share=True))

    def open_questions(self, tx: Connection, root_id: str) -> list[str]:
        """The messages of a thread, its root left out, that somebody still has to answer."""
        m, d = self._m, self._d
        rows = tx.execute(
            select(m.c.id)
            .join(d, d.c.message_id == cast(m.c.id, String))
            .where(m.c.parent_id == int(root_id), d.c.state.in_(("waiting", "running", "parked")))
            .distinct()
        )
        return [str(row[0]) for row in rows]

    def parts(self, tx: Connection, message_id: str) -> list[str]:
        """What the further messages of an answer say, in order."""
        return self._volumes.texts(tx, message_id)

    def view(self, tx: Connection, message_id: str) -> dict[str, Any]:
        """A message that is known to exist, as the wire shows it."""
        return self._views.messages(tx, [message_id])[0]

    def page(
        self,
        tx: Connection,
        channel_id: str,
        root_id: str | None,
        *,
        before: str | None,
        limit: int,
        after: str | None = None,
    ) -> tuple[list[dict[str, Any]], str | None]:
        """The newest `limit` messages of a main line, or of a thread with its root, oldest first.

        Only those older than message `before`, where that is given. With them comes the next `before`, or None
        if there is nothing older. With `after` it is the other way round: the oldest that are newer than that message,
        and the next `after`.
        """
        m = self._m
        line = and_(m.c.channel_id == int(channel_id), m.c.parent_id == _key(root_id))
        line &= or_(m.c.continuation_of.is_(None), m.c.deleted_at.is_(None))
        statement = select(m).where(line if root_id is None else or_(line, m.c.id == int(root_id)))
        if before is not None:
            statement = statement.where(m.c.id < int(before))
        if after is not None:
            statement = statement.where(m.c.id > int(after))
        order = m.c.id.desc() if after is None else m.c.id
        rows = tx.execute(statement.order_by(order).limit(limit + 1)).all()
        shown: Sequence[Row[Any]] = rows[:limit] if after is not None else rows[:limit][::-1]
        edge = (0 if after is None else -1) if len(rows) > limit else None
        return self._views.show(tx, shown), None if edge is None else str(shown[edge].id)

    def react(self, tx: Connection, message_id: str, user_id: str, emoji: str, at: float) -> bool:
        """Add a reaction; False if it was there."""
        r = self._r
        statement = insert_into(r, self._dialect).values(
            message_id=int(message_id), user_id=self._models.parse_user_id(user_id), emoji=emoji, created_at=at
        )
        return tx.execute(statement.on_conflict_do_nothing().returning(r.c.id)).scalar() is not None

    def unreact(self, tx: Connection, message_id: str, user_id: str, emoji: str) -> bool:
        """Take a reaction away; False if it was not there."""
        r = self._r
        gone = tx.execute(
            delete(r).where(
                r.c.message_id == int(message_id),
                r.c.user_id == self._models.parse_user_id(user_id),
                r.c.emoji == emoji,
            )
        )
        return bool(gone.rowcount)

    def other_emoji(self, tx: Connection, message_id: str, emoji: str) -> int:
        """How many different emoji besides this one a message has."""
        r = self._r
        counted = select(func.count(r.c.emoji.distinct())).where(r.c.message_id == int(message_id), r.c.emoji != emoji)
        return tx.execute(counted).scalar_one()


def _key(text: str | None) -> int | None:
    return None if text is None else int(text)


def _stored(row: Row[Any]) -> Stored:
    return Stored(
        id=str(row.id),
        channel_id=str(row.channel_id),
        thread_id=None if row.parent_id is None else str(row.parent_id),
        author_id=None if row.author_id is None else str(row.author_id),
        content=row.content,
        state=row.state,
        deleted=row.deleted_at is not None,
        created_at=row.created_at,
        reply_to_id=None if row.reply_to_id is None else str(row.reply_to_id),
        continuation_of=None if row.continuation_of is None else str(row.continuation_of),
    )
