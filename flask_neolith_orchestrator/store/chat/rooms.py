"""Channels, direct messages and who is in them, on a transaction the caller brings."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, select, union

from ..people.people import People
from ..sql.database import Database
from ..sql.inserts import insert_into
from ..tables.models import Models
from .marks import Marks

LONGEST_KEY = 255
"""Characters of a `dm_key`, and of a user id that can be one."""

_BATCH = 500  # keys in one IN (...): databases bound the parameters of a statement
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # Postgres refuses NUL, every driver lone surrogates


@dataclass(frozen=True, slots=True)
class Room:
    """A channel as its member sees it. `organization_id` is None for a direct message."""

    id: str
    kind: str
    organization_id: str | None

    @property
    def is_dm(self) -> bool:
        """Whether it is a direct message."""
        return self.kind == "dm"


def dm_key(user_ids: Iterable[str]) -> str:
    """What names the direct message of a set of people. No two sets share one, whatever their ids look like."""
    key = json.dumps(sorted(set(user_ids)), separators=(",", ":"), ensure_ascii=False)
    return key if len(key) <= LONGEST_KEY else "sha256:" + hashlib.sha256(key.encode()).hexdigest()


class Rooms:
    """Reads and changes channels. Lifetime: app, in one process; safe for all threads."""

    def __init__(self, models: Models, database: Database, people: People) -> None:
        self._models = models
        self._dialect = database.dialect
        self._people = people
        self.marks = Marks(models, database, people)
        self._m = models.table("Message")
        self._c = models.table("Channel")
        self._cm = models.table("ChannelMember")
        self._o = models.table("Orchestrator")
        self._om = models.table("OrganizationMember")

    def key(self, user_id: object) -> Any:
        """The primary key that a user id from outside stands for, or None if it can be nobody's."""
        if not isinstance(user_id, str) or not 1 <= len(user_id) <= LONGEST_KEY or _UNSTORABLE.search(user_id):
            return None
        return self._models.parse_user_id(user_id)

    def room(self, tx: Connection, channel_id: str, user_id: str) -> Room | None:
        """The channel, if the user is in it."""
        key = self.key(user_id)
        if key is None:
            return None
        c, cm = self._c, self._cm
        row = tx.execute(
            select(c.c.id, c.c.kind, c.c.organization_id)
            .join(cm, cm.c.channel_id == c.c.id)
            .where(c.c.id == int(channel_id), cm.c.user_id == key)
        ).first()
        return None if row is None else Room(str(row.id), row.kind, _text(row.organization_id))

    def any_room(self, tx: Connection, channel_id: str) -> Room | None:
        """The channel, whoever is in it."""
        c = self._c
        row = tx.execute(select(c.c.id, c.c.kind, c.c.organization_id).where(c.c.id == int(channel_id))).first()
        return None if row is None else Room(str(row.id), row.kind, _text(row.organization_id))

    def create(self, tx: Connection, organization_id: str, name: str, topic: str, at: float) -> str | None:
        """A new channel's id; None if the organization has one of that name already."""
        c = self._c
        statement = insert_into(c, self._dialect).values(
            organization_id=int(organization_id), name=name, topic=topic, kind="channel", created_at=at
        )
        made = tx.execute(statement.on_conflict_do_nothing().returning(c.c.id)).scalar()
        return _text(made)

    def find_dm(self, tx: Connection, key: str) -> str | None:
        """The direct message with this `dm_key`."""
        return _text(tx.execute(select(self._c.c.id).where(self._c.c.dm_key == key)).scalar())

    def open_dm(self, tx: Connection, key: str, at: float) -> str:
        """The direct message with this `dm_key`, made if there is none; the same one for all who ask at once."""
        c = self._c
        statement = insert_into(c, self._dialect).values(kind="dm", dm_key=key, created_at=at)
        made = tx.execute(statement.on_conflict_do_nothing().returning(c.c.id)).scalar()
        if made is None:
            made = tx.execute(select(c.c.id).where(c.c.dm_key == key)).scalar_one()
        return str(made)

    def join(self, tx: Connection, channel_id: str, user_ids: Iterable[str]) -> list[str]:
        """Add people; returns those who were not in the channel before. What was said before counts as read."""
        cm, m, key = self._cm, self._m, int(channel_id)
        newest = tx.execute(select(func.max(m.c.id)).where(m.c.channel_id == key)).scalar()
        rows = [{"channel_id": key, "user_id": self.key(one), "read_id": newest} for one in sorted(set(user_ids))]
        joined: list[str] = []
        for batch in _batches(rows):
            statement = insert_into(cm, self._dialect).values(batch)
            found = tx.execute(statement.on_conflict_do_nothing().returning(cm.c.user_id))
            joined += [str(row[0]) for row in found]
        return joined

    def leave(self, tx: Connection, channel_id: str, user_id: str) -> bool:
        """Take somebody out; False if they were not in."""
        cm = self._cm
        gone = tx.execute(delete(cm).where(cm.c.channel_id == int(channel_id), cm.c.user_id == self.key(user_id)))
        return bool(gone.rowcount)

    def belonging(self, tx: Connection, organization_id: str, user_ids: Iterable[str]) -> frozenset[str]:
        """Those of `user_ids` who belong to the organization; an orchestrator belongs to its own."""
        keys = [key for key in map(self.key, sorted(set(user_ids))) if key is not None]
        found: set[str] = set()
        for batch in _batches(keys):
            parts = [
                select(table.c.user_id).where(
                    table.c.organization_id == int(organization_id), table.c.user_id.in_(batch)
                )
                for table in (self._om, self._o)
            ]
            found |= {str(row[0]) for row in tx.execute(union(*parts))}
        return frozenset(found)

    def ids_of(self, tx: Connection, user_id: str) -> set[str]:
        """The ids of the channels somebody is in."""
        cm, key = self._cm, self.key(user_id)
        rows = () if key is None else tx.execute(select(cm.c.channel_id).where(cm.c.user_id == key))
        return {str(row[0]) for row in rows}

    def of(self, tx: Connection, user_id: str) -> list[dict[str, Any]]:
        """The channels somebody is in, as the wire shows them, in the order they were made."""
        key = self.key(user_id)
        if key is None:
            return []
        mine = select(self._cm.c.channel_id).where(self._cm.c.user_id == key)
        return self._show(tx, mine)

    def view(self, tx: Connection, channel_id: str) -> dict[str, Any]:
        """One channel as the wire shows it."""
        return self._show(tx, select(self._c.c.id).where(self._c.c.id == int(channel_id)))[0]

    def _show(self, tx: Connection, ids: Select[Any]) -> list[dict[str, Any]]:
        c, cm = self._c, self._cm
        rows = tx.execute(select(c).where(c.c.id.in_(ids)).order_by(c.c.id)).all()
        counted = select(cm.c.channel_id, func.count()).where(cm.c.channel_id.in_(ids)).group_by(cm.c.channel_id)
        counts: dict[int, int] = {row[0]: row[1] for row in tx.execute(counted)}
        direct = self._members(tx, [row.id for row in rows if row.kind == "dm"])
        return [_channel(row, counts.get(row.id, 0), direct.get(row.id)) for row in rows]

    def members(self, tx: Connection, channel_id: str) -> list[dict[str, Any]]:
        """Who is in a channel, in the order they came."""
        return self._members(tx, [int(channel_id)]).get(int(channel_id), [])

    def _members(self, tx: Connection, ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
        cm, o = self._cm, self._o
        statement = (
            select(cm.c.channel_id, cm.c.user_id, o.c.id, o.c.handle, o.c.status)
            .select_from(cm.outerjoin(o, o.c.user_id == cm.c.user_id))
            .order_by(cm.c.id)
        )
        rows = [row for batch in _batches(ids) for row in tx.execute(statement.where(cm.c.channel_id.in_(batch)))]
        names: dict[Any, str] = {}
        for batch in _batches(list({row.user_id for row in rows})):
            names |= self._people.names(tx, batch)
        found: dict[int, list[dict[str, Any]]] = {}
        for row in rows:
            found.setdefault(row.channel_id, []).append(_member(row, names.get(row.user_id, "Somebody")))
        return found


def _channel(row: Row[*tuple[Any, ...]], count: int, members: list[dict[str, Any]] | None) -> dict[str, Any]:
    shown = {
        "id": str(row.id),
        "name": row.name,
        "topic": row.topic,
        "kind": row.kind,
        "organizationId": _text(row.organization_id),
        "memberCount": count,
    }
    return shown if row.kind != "dm" else {**shown, "members": members or []}


def _member(row: Row[*tuple[Any, ...]], name: str) -> dict[str, Any]:
    return {
        "userId": str(row.user_id),
        "name": name,
        "handle": row.handle,
        "isOrchestrator": row.id is not None,
        "orchestratorId": _text(row.id),
        "status": row.status,
    }


def _text(key: Any) -> str | None:
    return None if key is None else str(key)


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]
