"""What somebody has read: a mark per channel, and what is newer than it, in bounded looks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Integer, Select, and_, bindparam, case, func, literal_column, or_, select, update

from ..people.people import People
from ..sql.database import Database
from ..tables.models import Models
from .views import iso

LOOKED_AT: Final = 200
"""Messages of one channel behind the mark that are looked at, the newest."""

QUOTES: Final = ("<@", '@"', "@“", "@”", "@„", "@«")
"""What a text has that names a person: `<@id>` or `@"Name"`."""

_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Fresh:
    """A message that somebody has not read. `here`: on the main line, or in a thread that they take part in.

    `text` is there where it may name them.
    """

    id: str
    here: bool
    answers: bool
    text: str | None


@dataclass(frozen=True, slots=True)
class Marked:
    """One channel of somebody: up to where it is read, the last message as the wire shows it, and what is new."""

    read_id: str | None
    last: Mapping[str, Any] | None
    fresh: Sequence[Fresh]


class _Line(NamedTuple):
    """A message that may be new."""

    id: int
    parent_id: int | None
    author_id: Any
    reply_to_id: int | None
    text: str | None


class Marks:
    """Reads and moves marks. Lifetime: app, in one process; safe for all threads (each brings its transaction)."""

    def __init__(self, models: Models, database: Database, people: People) -> None:
        self._models = models
        self._people = people
        self._m, self._cm = models.table("Message"), models.table("ChannelMember")
        self._o = models.table("Orchestrator")
        self._server = database.dialect.name == "postgresql"
        self._look = [database.prepare(self._newer_statement(signs)) for signs in (QUOTES, ("@",))]

    def advance(self, tx: Connection, channel_id: str, user_id: str, message_id: str) -> bool:
        """Move a member's mark forward; False where it is there or further already."""
        cm, new = self._cm, int(message_id)
        mine = (cm.c.channel_id == int(channel_id), cm.c.user_id == self._models.parse_user_id(user_id))
        older = or_(cm.c.read_id.is_(None), cm.c.read_id < new)
        return bool(tx.execute(update(cm).where(*mine, older).values(read_id=new)).rowcount)

    def handle_of(self, tx: Connection, user_id: str) -> str | None:
        """The handle of a user that is an orchestrator."""
        o = self._o
        found: str | None = tx.execute(
            select(o.c.handle).where(o.c.user_id == self._models.parse_user_id(user_id))
        ).scalar()
        return found

    def of(
        self, tx: Connection, user_id: str, channel_id: str | None = None, *, any_mention: bool = False
    ) -> dict[str, Marked]:
        """The channels somebody is in, or one of them, by id. With `any_mention` each text with an @ may name them."""
        cm, m = self._cm, self._m
        me = self._models.parse_user_id(user_id)
        newest = select(m.c.id).where(m.c.channel_id == cm.c.channel_id, m.c.deleted_at.is_(None))
        last = newest.order_by(m.c.id.desc()).limit(1).correlate(cm).scalar_subquery()
        statement = select(cm.c.channel_id, cm.c.read_id, last).where(cm.c.user_id == me)
        if channel_id is not None:
            statement = statement.where(cm.c.channel_id == int(channel_id))
        rows = tx.execute(statement).all()
        fresh = self._fresh(tx, [row for row in rows if row[2] is not None and row[2] > (row[1] or 0)], me, any_mention)
        shown = self._last(tx, [row[2] for row in rows if row[2] is not None])
        return {
            str(row[0]): Marked(None if row[1] is None else str(row[1]), shown.get(row[2]), fresh.get(row[0], ()))
            for row in rows
        }

    def _last(self, tx: Connection, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
        m = self._m
        columns = (m.c.id, m.c.parent_id, m.c.author_id, m.c.author_name, m.c.created_at)
        rows = [row for some in _batches(ids) for row in tx.execute(select(*columns).where(m.c.id.in_(some)))]
        authors: dict[Any, tuple[str, str | None]] = {}
        for some in _batches(list({row.author_id for row in rows} - {None})):
            authors |= self._people.authors(tx, some)
        found = {}
        for row in rows:
            name, handle = authors.get(row.author_id, (row.author_name or "Somebody", None))
            key = None if row.author_id is None else str(row.author_id)
            author = {"id": key, "name": name, "handle": handle, "isOrchestrator": handle is not None}
            thread = None if row.parent_id is None else str(row.parent_id)
            found[row.id] = {"id": str(row.id), "threadId": thread, "author": author, "at": iso(row.created_at)}
        return found

    def _fresh(self, tx: Connection, channels: Sequence[Any], me: Any, any_mention: bool) -> dict[int, list[Fresh]]:
        """One bounded look for each channel that has something new, and two for all of them together."""
        rows = {row[0]: self._newer(tx, row[0], row[1] or 0, any_mention) for row in channels}
        every = [one for some in rows.values() for one in some]
        roots = {one.parent_id for one in every if one.parent_id is not None}
        mine = self._mine(tx, roots | {one.reply_to_id for one in every if one.reply_to_id is not None}, me)
        joined = mine | self._wrote_in(tx, roots, me)
        found: dict[int, list[Fresh]] = {}
        for channel, some in rows.items():
            others = [one for one in some if one.author_id != me]
            found[channel] = [
                Fresh(str(one.id), one.parent_id is None or one.parent_id in joined, one.reply_to_id in mine, one.text)
                for one in others
            ]
        return found

    def _newer(self, tx: Connection, channel: int, read: int, any_mention: bool) -> list[_Line]:
        rows = self._look[any_mention].run(tx, b_channel=channel, b_read=read, b_most=LOOKED_AT)
        # what is being written is not there yet, and the parts of a long answer are one message
        return [_Line(*row[:5]) for row in rows if row[5] is None and row[6] is None and row[7] != "streaming"]

    def _newer_statement(self, signs: Sequence[str]) -> Select[Any]:
        m = self._m
        find = func.strpos if self._server else func.instr
        names = or_(*[find(m.c.content, literal_column(f"'{sign}'")) > 0 for sign in signs])
        who = (m.c.id, m.c.parent_id, m.c.author_id, m.c.reply_to_id, case((names, m.c.content)))
        return (
            select(*who, m.c.deleted_at, m.c.continuation_of, m.c.state)
            .where(m.c.channel_id == bindparam("b_channel"), m.c.id > bindparam("b_read"))
            .order_by(m.c.id.desc())
            .limit(bindparam("b_most", type_=Integer))
        )

    def _mine(self, tx: Connection, ids: Iterable[int], me: Any) -> set[int]:
        m = self._m
        some = [select(m.c.id).where(m.c.id.in_(part), m.c.author_id == me) for part in _batches(sorted(ids))]
        return {row[0] for one in some for row in tx.execute(one)}

    def _wrote_in(self, tx: Connection, roots: Iterable[int], me: Any) -> set[int]:
        m = self._m
        mine = [
            select(m.c.parent_id).where(and_(m.c.parent_id.in_(part), m.c.author_id == me)).distinct()
            for part in _batches(sorted(roots))
        ]
        return {row[0] for one in mine for row in tx.execute(one)}


def _batches(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]
