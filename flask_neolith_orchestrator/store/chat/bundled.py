"""The bundled chat as the runtime uses it: the ChatStore of those who bring no chat tables of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Select,
    bindparam,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    union_all,
    update,
)

from ...core.ports import ReplyDraft, ReplyWrite
from ...core.types import Line, Member, Place
from ..people.people import People
from ..sql.database import Database
from ..sql.oldest import among, oldest
from ..sql.prepared import Prepared
from ..tables.models import Models
from ..turns.volumes import BundledVolumes
from .views import Views

SHOWN_TO_MODELS = ("final", "interrupted")

LAST = 2**62
"""A key that no message reaches."""


class _Said(NamedTuple):
    """What a conversation's history needs of a message."""

    id: int
    author_id: Any
    author_name: str | None
    content: str
    created_at: float
    state: str
    continuation_of: int | None
    attachments: str | None
    reacted: str | None


_WIDTH = len(_Said._fields)


def _line(said: _Said, author: tuple[str, str | None] | None, own: str) -> Line:
    name, handle = author if author is not None and said.author_id is not None else (None, None)
    author_id = "" if said.author_id is None else str(said.author_id)
    return Line(
        message_id=str(said.id),
        author_id=author_id,
        author_name=name or said.author_name or "Somebody",
        author_handle=handle,
        content=said.content,
        at=said.created_at,
        by_self=author_id == own,
        is_orchestrator=handle is not None,
        attachments=tuple(said.attachments.split("\n")) if said.attachments else (),
        reactions=tuple(_counted(said.reacted)) if said.reacted else (),
    )


def _counted(emoji: str) -> Iterable[str]:
    """From a list with commas, each as often as people have put it."""
    for one, count in Counter(emoji.split(",")).most_common():
        yield f"{one} {count}"


class BundledChat(BundledVolumes):
    """Implements `core.ports.ChatStore` on our own tables. Lifetime: app, in one process."""

    def __init__(self, models: Models, database: Database, people: People, views: Views) -> None:
        super().__init__(models)
        self._people = people
        self._views = views
        self._cm = models.table("ChannelMember")
        self._o = models.table("Orchestrator")
        self._prepare_reads(models, database)
        self._prepare_writes(database)

    def _prepare_reads(self, models: Models, database: Database) -> None:
        m = self._m
        # these are made once: to build such a statement costs several times what running it does
        root = m.alias("root")
        keys: BindParameter[Any] = bindparam("keys", expanding=True)
        self._present = Prepared(
            select(m.c.id).where(
                m.c.id.in_(keys),
                m.c.deleted_at.is_(None),
                ~exists().where(root.c.id == m.c.parent_id, root.c.deleted_at.is_not(None)),
            )
        )
        joined = self._people.with_authors(m)
        r = models.table("Reaction")
        reacted = select(func.aggregate_strings(r.c.emoji, ",")).where(r.c.message_id == m.c.id).scalar_subquery()
        said = select(*[m.c[name] for name in _Said._fields[:-1]], reacted.label(_Said._fields[-1]))
        if joined is not None:
            said = said.select_from(joined[0]).add_columns(*joined[1])
        line = said.where(
            m.c.deleted_at.is_(None),
            m.c.state.in_(SHOWN_TO_MODELS),
            or_(m.c.notice.is_(None), m.c.state != "final"),  # a notice of the house's own
        ).where(or_(m.c.id <= bindparam("b_until"), m.c.author_id == bindparam("b_own")))
        channel: BindParameter[Any] = bindparam("b_channel", type_=m.c.channel_id.type)
        root_key: BindParameter[Any] = bindparam("b_root")
        here, newest = line.where(m.c.channel_id == channel), oldest(database, m.c.parent_id, m.c.id)
        self._main_line = Prepared(_newest(here.where(m.c.parent_id.is_(None)), newest))
        # apart, as one condition for both would be looked for in the whole channel
        replies = _newest(here.where(*among(database, m.c.parent_id, root_key)), newest).subquery()
        # the root by its own key alone: a server that has no statistics yet takes any index for as good as that
        first = line.where(m.c.id == root_key, m.c.channel_id + literal_column("0") == channel)
        self._thread = Prepared(union_all(select(*replies.c), first))

    def _prepare_writes(self, database: Database) -> None:
        m = self._m
        self._open = database.prepare(self._opening())
        # the epoch fences the row itself as well: an older writer finds nothing
        fence = [m.c.id == bindparam("b_id"), m.c.epoch <= bindparam("b_epoch"), m.c.deleted_at.is_(None)]
        fields: dict[str, Any] = {
            "state": bindparam("b_state"),
            "epoch": bindparam("b_epoch"),
            "seq": bindparam("b_seq"),
            "notice": bindparam("b_notice"),
        }
        self._write = database.prepare(update(m).where(*fence).values(content=bindparam("b_content"), **fields))
        self._touch = database.prepare(update(m).where(*fence).values(**fields))
        self._point = database.prepare(update(m).where(*fence).values(reply_to_id=bindparam("b_to")))

    def _opening(self) -> Any:
        m, o = self._m, self._o
        values = {
            "channel_id": bindparam("b_channel", type_=m.c.channel_id.type),
            "author_id": o.c.user_id,
            "parent_id": bindparam("b_parent", type_=m.c.parent_id.type),
            "reply_to_id": bindparam("b_to", type_=m.c.reply_to_id.type),
            "content": bindparam("b_content", "", type_=m.c.content.type),
            "state": bindparam("b_state", "streaming", type_=m.c.state.type),
            "epoch": bindparam("b_epoch", type_=m.c.epoch.type),
            "seq": bindparam("b_seq", 0, type_=m.c.seq.type),
            "created_at": bindparam("b_at", type_=m.c.created_at.type),
        }
        source = select(*values.values()).where(o.c.id == bindparam("b_orchestrator"))
        return insert(m).from_select(list(values), source).returning(m.c.id)

    def members(self, tx: Connection, channel_id: str, handles: frozenset[str] | None = None) -> Sequence[Member]:
        """Who is in a channel, or only those orchestrators that have one of `handles`."""
        cm, o = self._cm, self._o
        statement = (
            select(cm.c.user_id, o.c.id, o.c.handle)
            .select_from(cm.outerjoin(o, o.c.user_id == cm.c.user_id))
            .where(cm.c.channel_id == int(channel_id))
            .order_by(cm.c.id)
        )
        if handles is not None:
            if not handles:
                return []
            statement = statement.where(o.c.handle.in_(sorted(handles)))
        rows = tx.execute(statement).all()
        names = self._people.names(tx, [row[0] for row in rows])
        return [
            Member(str(row[0]), names.get(row[0], ""), row[2], None if row[1] is None else str(row[1])) for row in rows
        ]

    def may_read(self, tx: Connection, user_id: str, channel_id: str) -> bool:
        """Whether a user is in a channel."""
        cm, user = self._cm, self._people.models.parse_user_id(user_id)
        if user is None or not channel_id.isdecimal():
            return False
        member = select(cm.c.id).where(cm.c.channel_id == int(channel_id), cm.c.user_id == user)
        return tx.execute(member).first() is not None

    def history(self, tx: Connection, place: Place, *, until: str | None, own: str, limit: int) -> Sequence[Line]:
        """A thread with its root, or a main line; oldest first."""
        values = {
            "b_channel": int(place.channel_id),
            "b_until": LAST if until is None else int(until),
            "b_own": self._people.models.parse_user_id(own),
            "b_limit": limit,
        }
        if place.thread_id is None:
            found = self._main_line.run(tx, **values).fetchall()[::-1]
        else:  # sorted here, as a database would first copy all of it
            both = self._thread.run(tx, b_root=int(place.thread_id), **values).fetchall()
            found = sorted(both, key=itemgetter(0))[-limit:]
        rows = [(_Said(*row[:_WIDTH]), row[_WIDTH:]) for row in found]
        return self._lines(tx, [row for row in rows if row[0].state == "final" or row[0].content], own)

    def _lines(self, tx: Connection, rows: Sequence[tuple[_Said, Sequence[Any]]], own: str) -> list[Line]:
        named = {said.author_id: author for said, author in rows if author}
        authors = {key: self._people.author_of(author) for key, author in named.items()}
        if not authors:
            authors = self._people.authors(tx, {said.author_id for said, _ in rows})
        return [_line(said, authors.get(said.author_id), own) for said in _as_one(said for said, _ in rows)]

    def present(self, tx: Connection, message_ids: Sequence[str]) -> frozenset[str]:
        """Those that are still there; a message in a thread whose root was deleted is gone too."""
        rows = self._present.run(tx, keys=[int(one) for one in message_ids])
        return frozenset(str(row[0]) for row in rows)

    def open_reply(self, tx: Connection, draft: ReplyDraft) -> str:
        """Write the empty `streaming` row of an answer."""
        place = draft.place
        reply = self._open.run(
            tx,
            b_channel=int(place.channel_id),
            b_parent=None if place.thread_id is None else int(place.thread_id),
            b_to=None if draft.reply_to_id is None else int(draft.reply_to_id),
            b_epoch=draft.epoch,
            b_at=draft.at,
            b_orchestrator=int(draft.orchestrator_id),
        )
        return str(reply.scalar_one())

    def write_reply(self, tx: Connection, write: ReplyWrite) -> None:
        """Set text, state, epoch, seq and notice, unless a newer epoch has written."""
        values = {
            "b_id": int(write.reply_id),
            "b_state": str(write.state),
            "b_epoch": write.epoch,
            "b_seq": write.seq,
            "b_notice": write.notice,
        }
        if write.reply_to_id is not None:
            self._point.run(tx, b_id=int(write.reply_id), b_epoch=write.epoch, b_to=int(write.reply_to_id))
        if write.text is None:
            self._touch.run(tx, **values)
        else:
            self._write.run(tx, b_content=write.text, **values)

    def drop_reply(self, tx: Connection, reply_id: str, at: float) -> None:
        """Take an answer's row off the screen."""
        m = self._m
        tx.execute(
            update(m).where(m.c.id == int(reply_id)).values(deleted_at=at, content="", state="interrupted", notice=None)
        )

    def view(self, tx: Connection, message_id: str) -> Mapping[str, Any] | None:
        """The message as the wire shows it."""
        found = self._views.messages(tx, [message_id])
        return found[0] if found else None


def _as_one(rows: Iterable[_Said]) -> list[_Said]:
    """An answer of several messages is one again, at the place of its first, as far as that is among them."""
    whole: dict[int, _Said] = {}
    for said in rows:
        first = None if said.continuation_of is None else whole.get(said.continuation_of)
        if first is None:
            whole[said.id] = said
        else:
            whole[first.id] = first._replace(content=f"{first.content}\n{said.content}")
    return list(whole.values())


def _newest(lines: Select[Any], order: Sequence[ColumnElement[Any]]) -> Select[Any]:
    return lines.order_by(*(one.desc() for one in order)).limit(bindparam("b_limit"))
