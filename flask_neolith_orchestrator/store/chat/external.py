"""Chats of a host that has tables of its own and implements no ChatStore: we keep a copy, and an outbox.

The host's message is stored under a channel of kind `external`, which is the history that models read; answers go
into our tables and, by the outbox, to whoever listens to `message:send`, at least once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, or_, select

from ...core.ports import Parts, ReplyWrite
from ...core.types import IncomingMessage, Member
from ..people.people import People
from ..sql.database import Database
from ..sql.inserts import insert_into
from ..sql.sqlite_host import begin_immediate
from ..tables.models import Models
from .attachments import attached
from .bundled import BundledChat
from .views import Views


@dataclass(frozen=True, slots=True)
class Stored:
    """Where our copy of a host's message is. Ids are ours."""

    message_id: str
    channel_id: str
    thread_id: str | None
    author_is_orchestrator: bool


@dataclass(frozen=True, slots=True)
class _Page:
    reply_id: str
    answer_id: str
    part: int
    content: str


KNOWN_CHANNELS = 10_000
"""Channels of which a process remembers whether they are the host's."""


class External:
    """Keeps copies of a host's messages. Lifetime: app, in one process."""

    def __init__(self, models: Models, database: Database, people: People) -> None:
        self._models = models
        self._clock = database.clock
        self._dialect = database.dialect
        self._gate = getattr(database, "gate", None)
        self._people = people
        self._ch = models.table("Channel")
        self._m = models.table("Message")
        self._o = models.table("Orchestrator")
        self._out = models.table("Outbox")
        self._kinds: dict[str, bool] = {}

    def store(self, tx: Connection, message: IncomingMessage, *, session: Any) -> Stored:
        """Store a host's message once; a message that is there already is found again."""
        ours = self._bundled(tx, message)
        if ours is not None:
            return ours
        if session is not None and self._dialect.name == "sqlite":
            begin_immediate(tx, self._gate)
        channel = self._channel(tx, message)
        parent = None if message.thread_id is None else self._find(tx, channel, message.thread_id)
        author = self._models.parse_user_id(message.author_id)
        known = author is not None and bool(self._people.users(tx, [author]))
        metadata = message.metadata or {}
        row = {
            "channel_id": channel,
            "author_id": author if known else None,
            "author_name": None if known else str(metadata.get("author_name") or message.author_id)[:200],
            "parent_id": parent,
            "content": message.content,
            "state": "final",
            "epoch": 0,
            "seq": 0,
            "created_at": message.timestamp,
            "external_id": message.id,
            "attachments": "\n".join(attached(metadata)) or None,
        }
        tx.execute(insert_into(self._m, self._dialect).values(row).on_conflict_do_nothing())
        stored = self._find(tx, channel, message.id)
        by_orchestrator = known and self._people.orchestrator_id(tx, message.author_id) is not None
        return Stored(str(stored), str(channel), None if parent is None else str(parent), by_orchestrator)

    def find(self, tx: Connection, channel_id: str, message_id: str) -> str | None:
        """Our id of a host's message, by the host's ids; an answer of ours has no other id than ours."""
        m, ch = self._m, self._ch
        row = tx.execute(
            select(m.c.id)
            .join(ch, ch.c.id == m.c.channel_id)
            .where(ch.c.external_id == channel_id, m.c.external_id == message_id)
        ).first()
        return None if row is None else str(row[0])

    def known(self, channel_id: str) -> bool | None:
        """What `is_external` has said before; None if it was not asked yet."""
        return self._kinds.get(channel_id)

    def is_external(self, tx: Connection, channel_id: str) -> bool:
        """Whether a channel of ours stands for one of the host's."""
        known = self._kinds.get(channel_id)
        if known is not None:
            return known
        ch = self._ch
        found = tx.execute(select(ch.c.kind).where(ch.c.id == int(channel_id))).scalar() == "external"
        if len(self._kinds) >= KNOWN_CHANNELS:
            self._kinds.clear()
        self._kinds[channel_id] = found  # a channel's kind never changes
        return found

    def name_of(self, tx: Connection, channel_id: str) -> str:
        """What a channel is called: its name, the host's id of one of the host's, nothing for a direct message."""
        ch = self._ch
        row = tx.execute(select(ch.c.name, ch.c.external_id).where(ch.c.id == int(channel_id))).first()
        return "" if row is None else row[0] or row[1] or ""

    def is_dm(self, tx: Connection, channel_id: str) -> bool:
        """Whether a channel of ours is a direct message. Of the host's channels nobody knows it afterwards."""
        ch = self._ch
        return bool(tx.execute(select(ch.c.kind).where(ch.c.id == int(channel_id))).scalar() == "dm")

    def _bundled(self, tx: Connection, message: IncomingMessage) -> Stored | None:
        """The message itself, where it is one of the bundled chat's own: same channel, id and text."""
        if not (_is_key(message.id) and _is_key(message.channel_id)):
            return None
        m, ch = self._m, self._ch
        row = tx.execute(
            select(m.c.id, m.c.channel_id, m.c.parent_id)
            .join(ch, ch.c.id == m.c.channel_id)
            .where(m.c.id == int(message.id), ch.c.id == int(message.channel_id), ch.c.kind != "external")
            .where(m.c.content == message.content)
        ).first()
        if row is None:
            return None
        by_orchestrator = self._people.orchestrator_id(tx, message.author_id) is not None
        return Stored(str(row[0]), str(row[1]), None if row[2] is None else str(row[2]), by_orchestrator)

    def _channel(self, tx: Connection, message: IncomingMessage) -> int:
        row = {"kind": "external", "external_id": message.channel_id, "topic": "", "created_at": self._clock.wall()}
        find = select(self._ch.c.id).where(self._ch.c.external_id == message.channel_id)
        found = tx.execute(find).scalar()
        if found is None:
            organizations = [int(one) for one in self._people.organizations_of(tx, message.author_id)]
            if len(organizations) == 1:
                row["organization_id"] = organizations[0]
            tx.execute(insert_into(self._ch, self._dialect).values(row).on_conflict_do_nothing())
            found = tx.execute(find).scalar_one()
        return int(found)

    def _find(self, tx: Connection, channel: int, external_id: str) -> int | None:
        m = self._m
        found = tx.execute(select(m.c.id).where(m.c.channel_id == channel, m.c.external_id == external_id)).scalar()
        return None if found is None else int(found)


class ExternalChat(BundledChat):
    """The bundled ChatStore, with an outbox for channels that are the host's. Lifetime: app, in one process."""

    def __init__(self, models: Models, database: Database, people: People, views: Views, external: External) -> None:
        super().__init__(models, database, people, views)
        self._external = external
        self._models = models
        self._database = database
        self._channels = models.table("Channel")
        self._out = models.table("Outbox")
        self._om = models.table("OrganizationMember")
        m, ch, o = self._m, self._channels, self._o
        question = m.alias("question")
        self._addressee = database.prepare(
            select(o.c.id, ch.c.external_id, question.c.external_id)
            .select_from(m)
            .join(ch, ch.c.id == m.c.channel_id)
            .join(o, o.c.user_id == m.c.author_id)
            .outerjoin(question, question.c.id == m.c.reply_to_id)
            .where(m.c.id == bindparam("b_reply"), ch.c.kind == "external")
        )

    def members(self, tx: Connection, channel_id: str, handles: frozenset[str] | None = None) -> Sequence[Member]:
        """Members of the channel; in a host's channel without any, the orchestrators of its organizations."""
        found = super().members(tx, channel_id, handles)
        if found:
            return found
        kind = tx.execute(select(self._channels.c.kind).where(self._channels.c.id == int(channel_id))).scalar()
        return self._of_organizations(tx, int(channel_id), handles) if kind == "external" else found

    def _of_organizations(self, tx: Connection, channel: int, handles: frozenset[str] | None) -> list[Member]:
        """Orchestrators of the organizations of those who have written in this channel, never others."""
        o, m, om = self._o, self._m, self._om
        authors = select(m.c.author_id).where(m.c.channel_id == channel, m.c.author_id.is_not(None))
        organizations = select(om.c.organization_id).where(om.c.user_id.in_(authors))
        own = select(o.c.organization_id).where(o.c.user_id.in_(authors))
        statement = select(o.c.user_id, o.c.id, o.c.handle).where(
            or_(o.c.organization_id.in_(organizations), o.c.organization_id.in_(own))
        )
        if handles is not None:
            statement = statement.where(o.c.handle.in_(sorted(handles)))
        rows = tx.execute(statement.order_by(o.c.id)).all()
        names = self._people.names(tx, [row[0] for row in rows])
        return [Member(str(row[0]), names.get(row[0], ""), row[2], str(row[1])) for row in rows]

    def write_reply(self, tx: Connection, write: ReplyWrite) -> None:
        """As the bundled chat; an answer that is complete in a host's channel also goes into the outbox."""
        super().write_reply(tx, write)
        if write.state not in ("final", "failed") or not self._is_theirs(tx, write):
            return
        row = self._addressee.run(tx, b_reply=int(write.reply_id)).fetchone()
        if row is not None and (content := self._said(tx, write)):
            self._post(tx, row, _Page(write.reply_id, write.reply_id, 1, content), write)

    def write_parts(self, tx: Connection, write: ReplyWrite, texts: Sequence[str]) -> Parts:
        """As the bundled chat; each part is a letter of its own, behind the one before."""
        parts = super().write_parts(tx, write, texts)
        if parts.ids and write.state in ("final", "failed") and self._is_theirs(tx, write):
            row = self._addressee.run(tx, b_reply=int(write.reply_id)).fetchone()
            for place, (key, content) in enumerate(zip(parts.ids, texts, strict=True)) if row is not None else ():
                self._post(tx, row, _Page(key, write.reply_id, place + 2, content), write)
        return parts

    def _is_theirs(self, tx: Connection, write: ReplyWrite) -> bool:
        return write.channel_id is None or self._external.is_external(tx, write.channel_id)

    def _said(self, tx: Connection, write: ReplyWrite) -> str | None:
        """What the host is told: with a failure, what there is of the answer and what has happened."""
        if write.state == "final" or write.notice is None or " " not in write.notice:
            return write.text
        text = write.text or tx.execute(select(self._m.c.content).where(self._m.c.id == int(write.reply_id))).scalar()
        return f"{text}\n\n{write.notice}" if text else write.notice

    def _post(self, tx: Connection, addressee: Any, page: _Page, write: ReplyWrite) -> None:
        out = self._out
        again = {"content": page.content, "state": str(write.state), "sent_at": None, "claimed_until": 0.0}
        letter = again | {
            "orchestrator_id": addressee[0],
            "reply_id": page.reply_id,
            "answer_id": page.answer_id,
            "part": page.part,
            "channel_id": addressee[1],
            "reply_to_id": addressee[2],
            "created_at": write.at,
        }
        # an answer that failed and was tried again is told again, under the same key
        insert = insert_into(out, self._database.dialect).values(letter)
        tx.execute(insert.on_conflict_do_update(index_elements=[out.c.reply_id], set_=again))


def _is_key(text: str) -> bool:
    return text.isdecimal() and text.isascii() and len(text) < 19
