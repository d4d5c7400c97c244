"""Users, organizations and orchestrators as the other rooms see them: names, handles, snapshots."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import BindParameter, Column, Connection, FromClause, Select, bindparam, inspect, null, select, update
from sqlalchemy.orm import Session

from ...core.types import OrchestratorSnapshot, OrchestratorStatus, UserRef
from ..sql.prepared import Prepared
from ..tables.models import Models

DisplayName = Callable[[Any], str]
"""Says how a user row of the host is called."""

_NAMED_BY: Final = ("display_name", "name", "username", "email")


def default_display_name(user: Any) -> str:
    """The first of display_name, name, username and the e-mail's local part that is there."""
    return _first_name(getattr(user, attribute, None) for attribute in _NAMED_BY)


def _first_name(values: Iterable[object]) -> str:
    """`values` in the order of _NAMED_BY."""
    for attribute, value in zip(_NAMED_BY, values, strict=True):
        if isinstance(value, str) and value.strip():
            return value if attribute != "email" else value.partition("@")[0]
    return "Somebody"


class People:
    """Reads who is who. Lifetime: app, in one process; safe for all threads (each brings its transaction)."""

    def __init__(self, models: Models, display_name: DisplayName = default_display_name) -> None:
        self.models = models
        self._display_name = display_name
        self._o = models.table("Orchestrator")
        self._m = models.table("OrganizationMember")
        keys: BindParameter[Any] = bindparam("keys", expanding=True)
        self._users = select(models.user).where(models.user_key.in_(keys))
        mapper = inspect(models.user)
        config = mapper.columns["orchestrator_config"]
        joined = self._o.join(models.user_table, models.user_key == self._o.c.user_id)
        self._configs = Prepared(select(self._o.c.id, config).select_from(joined).where(self._o.c.id.in_(keys)))
        self._orchestrator = select(self._o).where(self._o.c.id == bindparam("b_id"))
        named_by = name_columns(models) if display_name is default_display_name else None
        self._named: Select[Any] | None = None
        shown = select(*[self._o.c[name] for name in _SHOWN], *_versions(models)).order_by(self._o.c.id)
        if named_by is not None:
            self._named = select(models.user_key, *named_by).where(models.user_key.in_(keys))
            flag = mapper.columns["is_orchestrator"]
            shown = shown.select_from(joined).add_columns(flag, config, *named_by)
        self._shown, self._shown_some = shown, shown.where(self._o.c.id.in_(keys))
        self._shown_one = Prepared(shown.where(self._o.c.id == bindparam("b_id")))
        handles = select(self._o.c.user_id, self._o.c.handle).where(self._o.c.user_id.in_(keys))
        if named_by is not None:
            both = models.user_table.outerjoin(self._o, models.user_key == self._o.c.user_id)
            handles = select(models.user_key, self._o.c.handle, *named_by).select_from(both)
            handles = handles.where(models.user_key.in_(keys))
        self._authors = Prepared(handles)
        self._named_by = named_by

    @property
    def reads_columns(self) -> bool:
        """Whether names are columns of the users' table, and need no object of the host's."""
        return self._named is not None

    def with_authors(self, messages: FromClause) -> tuple[FromClause, list[Any]] | None:
        """Messages joined with their authors, and the columns for `author_of`; None where names need objects."""
        if self._named_by is None:
            return None
        key = self.models.user_key
        joined = messages.outerjoin(self.models.user_table, key == messages.c.author_id)
        joined = joined.outerjoin(self._o, self._o.c.user_id == messages.c.author_id)
        return joined, [self._o.c.handle, *self._named_by]

    @staticmethod
    def author_of(values: Sequence[Any]) -> tuple[str, str | None]:
        """Name and handle, from the columns of `with_authors`."""
        return _first_name(values[1:]), values[0]

    def name_of(self, user: Any) -> str:
        """How a user object of the host is called."""
        return self._display_name(user)

    def users(self, tx: Connection, keys: Iterable[Any]) -> dict[Any, Any]:
        """The host's user objects by primary key, detached."""
        wanted = list({key for key in keys if key is not None})
        if not wanted:
            return {}
        with Session(bind=tx, join_transaction_mode="rollback_only") as session:
            found = session.scalars(self._users, {"keys": wanted}).all()
            return {session.identity_key(instance=user)[1][0]: user for user in found}

    def names(self, tx: Connection, keys: Iterable[Any]) -> dict[Any, str]:
        """How users are called, by primary key."""
        if self._named is None:
            return {key: self.name_of(user) for key, user in self.users(tx, keys).items()}
        wanted = list({key for key in keys if key is not None})
        if not wanted:
            return {}
        return {row[0]: _first_name(row[1:]) for row in tx.execute(self._named, {"keys": wanted})}

    def authors(self, tx: Connection, keys: Iterable[Any]) -> dict[Any, tuple[str, str | None]]:
        """How users are called, and their handle if they are orchestrators, by primary key."""
        wanted = list({key for key in keys if key is not None})
        if not wanted:
            return {}
        rows = self._authors.run(tx, keys=wanted)
        if self._named is not None:
            return {row[0]: (_first_name(row[2:]), row[1]) for row in rows}
        handles = {row[0]: row[1] for row in rows}
        return {key: (name, handles.get(key)) for key, name in self.names(tx, wanted).items()}

    def snapshots(self, tx: Connection, orchestrator_ids: Sequence[str] | None = None) -> list[OrchestratorSnapshot]:
        """Orchestrators (all of them, or those with these ids) as they are now."""
        rows = self._rows(tx, orchestrator_ids)
        same: dict[Any, Any] = {}  # thousands of rows share a few texts: each is kept once
        if self._named is not None:
            return [_snapshot(row[:-6], row[-6], row[-5], _first_name(row[-4:]), same) for row in rows]
        users = self.users(tx, [row[_USER] for row in rows])
        return [
            _snapshot(row, user.is_orchestrator, user.orchestrator_config, self.name_of(user), same)
            for row in rows
            if (user := users.get(row[_USER])) is not None
        ]

    def _rows(self, tx: Connection, orchestrator_ids: Sequence[str] | None) -> Sequence[Any]:
        if orchestrator_ids is None:
            return tx.execute(self._shown).all()
        keys = [int(one) for one in orchestrator_ids if one.isdecimal() and len(one) < 19]
        if len(keys) == 1:  # the hot path
            return self._shown_one.run(tx, b_id=keys[0]).fetchall()
        return tx.execute(self._shown_some, {"keys": keys}).all()

    def snapshot(self, tx: Connection, orchestrator_id: str) -> OrchestratorSnapshot | None:
        """One orchestrator, or None."""
        found = self.snapshots(tx, [orchestrator_id])
        return found[0] if found else None

    def user_id(self, tx: Connection, orchestrator_id: str) -> str:
        """The id of the user that an orchestrator is."""
        row = tx.execute(self._orchestrator, {"b_id": int(orchestrator_id)}).one()
        return str(row.user_id)

    def daemon_values(self, tx: Connection, orchestrator_ids: Sequence[str], name: str) -> dict[str, Any]:
        """One value of `orchestrator_config["daemon"]`, for those orchestrators that have it."""
        rows = self._configs.run(tx, keys=[int(one) for one in orchestrator_ids])
        found = {str(row[0]): _mapping(_mapping(row[1]).get("daemon")) for row in rows}
        return {key: values[name] for key, values in found.items() if values.get(name) is not None}

    def orchestrator_id(self, tx: Connection, user_id: str) -> str | None:
        """The orchestrator that a user is, or None."""
        key = self.models.parse_user_id(user_id)
        if key is None:
            return None
        found = tx.execute(select(self._o.c.id).where(self._o.c.user_id == key)).scalar()
        return None if found is None else str(found)

    def organizations_of(self, tx: Connection, user_id: str) -> dict[str, str]:
        """The organizations a user belongs to, with the role in each; an orchestrator belongs to its own."""
        key = self.models.parse_user_id(user_id)
        if key is None:
            return {}
        m, o = self._m, self._o
        rows = tx.execute(select(m.c.organization_id, m.c.role).where(m.c.user_id == key)).all()
        roles = {str(row[0]): row[1] for row in rows}
        own = tx.execute(select(o.c.organization_id).where(o.c.user_id == key)).scalar()
        if own is not None:
            roles.setdefault(str(own), "member")
        return roles

    def managers_of(self, tx: Connection, organization_id: str) -> list[str]:
        """Users who are owners or admins of an organization."""
        m = self._m
        mine = (m.c.organization_id == int(organization_id), m.c.role.in_(("owner", "admin")))
        return [str(row[0]) for row in tx.execute(select(m.c.user_id).where(*mine).order_by(m.c.user_id))]

    def set_status(self, tx: Connection, orchestrator_id: str, status: OrchestratorStatus) -> bool:
        """Write presence; True if that changed it (whoever changed it tells everybody)."""
        o = self._o
        changed = tx.execute(
            update(o).where(o.c.id == int(orchestrator_id), o.c.status != str(status)).values(status=str(status))
        )
        return bool(changed.rowcount)

    def set_statuses(self, tx: Connection, orchestrator_ids: Sequence[str], status: OrchestratorStatus) -> None:
        """Write the presence of many whose daemon rows this transaction has changed."""
        o = self._o
        mine = o.c.id.in_([int(one) for one in orchestrator_ids])
        tx.execute(update(o).where(mine, o.c.status != str(status)).values(status=str(status)))


_SHOWN: Final = ("id", "handle", "role", "discipline", "status", "user_id", "organization_id", "capabilities")
_USER: Final = _SHOWN.index("user_id")


def _versions(models: Models) -> list[Any]:
    """The versions of the charters in force, each found by its index: a turn needs to know them without asking."""
    o = models.table("Orchestrator")
    own, parent = models.table("CharterVersion"), models.table("OrganizationCharter")
    mine = select(own.c.version).where(own.c.orchestrator_id == o.c.id, own.c.active)
    is_theirs = (parent.c.organization_id == o.c.organization_id, parent.c.active)
    theirs = [select(column).where(*is_theirs) for column in (parent.c.version, parent.c.created_at)]
    return [one.correlate(o).scalar_subquery() for one in (mine, *theirs)]


def name_columns(models: Models) -> list[Any] | None:
    """What users are called by, as columns in the order of `default_display_name`; None where that needs the object.

    An attribute that is no plain column of the users' table (a property, a hybrid, a subclass's own) does.
    """
    user, mapper = models.user, inspect(models.user)
    if len(list(mapper.self_and_descendants)) > 1 or hasattr(user, "__getattr__"):
        return None
    columns: list[Any] = []
    for name in _NAMED_BY:
        if name in mapper.column_attrs:
            column = mapper.column_attrs[name].columns[0]
            if not isinstance(column, Column) or column.table is not models.user_table:
                return None
            columns.append(column.label(f"named_by_{name}"))
        elif hasattr(user, name):
            return None
        else:
            columns.append(null().label(f"named_by_{name}"))
    return columns


def _snapshot(
    row: Sequence[Any], flag: object, config: object, name: str, same: dict[Any, Any]
) -> OrchestratorSnapshot:
    """From a row of _SHOWN and _versions, and what the user's own row says."""
    key, handle, role, discipline, status, user_id, organization, capabilities, *versions = row
    return OrchestratorSnapshot(
        id=str(key),
        handle=handle,
        role=same.setdefault(role, role),
        discipline=same.setdefault(discipline, discipline),
        status=OrchestratorStatus(status),
        user=UserRef(str(user_id), name),
        organization_id=same.setdefault((organization,), str(organization)),
        capabilities=tuple(capabilities or ()),
        config=(_mapping(config) if flag else None) or same.setdefault((), {}),  # most are empty
        charter_version=versions[0] or 0,
        parent_version=versions[1] or 0,
        parent_at=versions[2],
    )


def _mapping(value: object) -> Mapping[str, Any]:
    if isinstance(value, str):  # a host may keep JSON as text
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, Mapping) else {}
