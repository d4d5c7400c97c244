"""What orchestrators listen for besides their names, one row each, and how a message finds those who listen.

Written whenever a charter becomes active. A message asks with its own few words, its channel and the roles it calls:
one indexed statement, whose cost does not grow with the number of orchestrators, and none at all while nobody in the
app listens for anything.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Select,
    String,
    bindparam,
    cast,
    delete,
    exists,
    func,
    insert,
    literal_column,
    null,
    select,
    union_all,
)

from ...core.types import Place
from ..sql.database import Database
from ..sql.prepared import Prepared
from ..tables.models import Models
from .inbox import conversation_key

FRESH: Final = 1.0
"""Seconds for which it is believed that nobody in the app listens for a kind of thing: another process may have
written the first such row. Where somebody does, every message asks."""

HOPE: Final = 5.0
"""Seconds for which this process believes in what it has itself written: its transaction may not be committed yet."""

KINDS: Final = ("bot", "channel", "escalate", "follow", "hours", "keyword", "role")
"""What is listened for."""

_HEARD: Final = ("channel", "keyword", "role")
_STATES: Final = ("answered", "running", "waiting")


@dataclass(frozen=True, slots=True)
class Listener:
    """An orchestrator that listens for something a message has: perhaps, its charter has the last word."""

    orchestrator_id: str
    handle: str


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who listens. `following` are those whom the author last spoke to in this thread, among all `found`."""

    found: tuple[Listener, ...] = ()
    following: frozenset[str] = frozenset()


class Triggers:
    """Reads and writes what is listened for. Lifetime: app, in one process; safe for all threads."""

    def __init__(self, models: Models, database: Database) -> None:
        self._clock = database.clock
        self._t = models.table("Trigger")
        self._c = models.table("Conversation")
        self._d = models.table("Delivery")
        self._o = models.table("Orchestrator")
        self._cm = models.table("ChannelMember")
        self._postgres = database.dialect.name == "postgresql"
        self._asked: tuple[float, frozenset[str]] = (float("-inf"), frozenset())
        self._hoped: dict[str, float] = {}
        t = self._t
        there = [exists().where(t.c.kind == literal_column(f"'{kind}'")).label(f"has_{kind}") for kind in KINDS]
        self._there = database.prepare(select(*there))
        self._main: dict[bool, Prepared] = {}
        self._thread: dict[bool, Prepared] = {}
        for bundled in (False, True):
            cued = self._cued(bundled=bundled)
            self._main[bundled] = database.prepare(cued)
            self._thread[bundled] = database.prepare(union_all(cued, self._followed(bundled=bundled)))
        self._having = database.prepare(select(t.c.orchestrator_id).where(t.c.kind == bindparam("b_kind")).distinct())
        self._of = database.prepare(select(t.c.kind, t.c.value).where(t.c.orchestrator_id == bindparam("b_id")))

    def write(self, tx: Connection, orchestrator_id: str, cues: Collection[tuple[str, str]]) -> bool:
        """Write down what an orchestrator listens for from now on, as (kind, value); False if that is there already."""
        t = self._t
        wanted = set(cues)
        if wanted == set(self.of(tx, orchestrator_id)):
            return False
        tx.execute(delete(t).where(t.c.orchestrator_id == int(orchestrator_id)))
        rows = [{"orchestrator_id": int(orchestrator_id), "kind": kind, "value": value} for kind, value in wanted]
        if rows:
            tx.execute(insert(t), sorted(rows, key=lambda row: (row["kind"], row["value"])))
        until = self._clock.monotonic() + HOPE
        self._hoped.update({kind: until for kind, _value in wanted})
        return True

    def of(self, tx: Connection, orchestrator_id: str) -> list[tuple[str, str]]:
        """What an orchestrator listens for, as it was last written."""
        return [(row[0], row[1]) for row in self._of.run(tx, b_id=int(orchestrator_id))]

    def having(self, tx: Connection, kind: str) -> list[str]:
        """Orchestrators that listen for, or have, something of a kind."""
        rows = self._having.run(tx, b_kind=kind)
        return [str(row[0]) for row in rows]

    def kinds(self, tx: Connection) -> frozenset[str]:
        """What is listened for by anybody in the app. Mostly known without a look."""
        now = self._clock.monotonic()
        at, found = self._asked
        if now - at >= FRESH:
            row = self._there.run(tx).one()
            found = frozenset(kind for kind, there in zip(KINDS, row, strict=True) if there)
            self._asked = (now, found)
        hoped = frozenset(kind for kind, until in list(self._hoped.items()) if until > now)
        return found | hoped if hoped else found

    def listeners(
        self, tx: Connection, values: Iterable[str], *, channel: int | None, thread: Place | None, author_id: str
    ) -> Listeners:
        """Who listens for one of the folded `values`, and, in a `thread`, who goes on talking with the author.

        `channel` is the key of a channel of the bundled chat, whose members alone are meant; None where others know
        who they are.
        """
        bundled = channel is not None
        given: dict[str, Any] = {"b_values": json.dumps(sorted(set(values)))}
        if bundled:
            given["b_channel"] = channel
        if thread is None:
            rows = self._main[bundled].run(tx, **given).fetchall()
        else:
            key = conversation_key(thread)
            rows = self._thread[bundled].run(tx, b_key=key, b_author=author_id, **given).fetchall()
        found = dict.fromkeys(Listener(str(row[0]), row[1]) for row in rows)
        talks = [row for row in rows if row[2] is not None]
        newest = max(talks, key=lambda row: row[2])[3] if talks else None
        return Listeners(tuple(found), frozenset(str(row[0]) for row in talks if row[3] == newest))

    def _cued(self, *, bundled: bool) -> Select[Any]:
        t, o = self._t, self._o
        kinds = [literal_column(f"'{kind}'", String) for kind in _HEARD]
        statement = (
            select(t.c.orchestrator_id, o.c.handle, cast(null(), self._d.c.id.type), cast(null(), String(255)))
            .select_from(t)
            .join(o, o.c.id == t.c.orchestrator_id)
            .where(t.c.kind.in_(kinds), t.c.value.in_(self._values()))
        )
        return statement.where(self._is_member()) if bundled else statement

    def _followed(self, *, bundled: bool) -> Select[Any]:
        c, d, o, t = self._c, self._d, self._o, self._t
        statement = (
            select(c.c.orchestrator_id, o.c.handle, d.c.id, d.c.message_id)
            .select_from(c)
            .join(d, d.c.id.in_([self._last(state) for state in _STATES]))
            .join(o, o.c.id == c.c.orchestrator_id)
            .where(c.c.key == bindparam("b_key"))
            .where(exists().where(t.c.orchestrator_id == c.c.orchestrator_id, t.c.kind == literal_column("'follow'")))
        )
        return statement.where(self._is_member()) if bundled else statement

    def _last(self, state: str) -> Any:
        """The author's last delivery of a conversation in one state: found from its end."""
        c, one = self._c, self._d.alias(state)
        statement = select(one.c.id).where(
            one.c.conversation_id == c.c.id,
            one.c.state == literal_column(f"'{state}'", String),
            one.c.author_id == bindparam("b_author"),
        )
        return statement.order_by(one.c.id.desc()).limit(1).correlate(c).scalar_subquery()

    def _values(self) -> Select[Any]:
        """The values, given as one JSON list: a statement of one text, however many words a message has."""
        if self._postgres:
            listed = cast(bindparam("b_values", type_=String()), JSON)
            return select(func.json_array_elements_text(listed).column_valued("value"))
        return select(func.json_each(bindparam("b_values", type_=String())).table_valued("value").c.value)

    def _is_member(self) -> ColumnElement[bool]:
        cm, o = self._cm, self._o
        return exists().where(cm.c.channel_id == bindparam("b_channel"), cm.c.user_id == o.c.user_id)
