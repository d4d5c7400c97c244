"""The oldest few rows of somebody, found where they are: Postgres would rather walk through everybody's from the first.

`WHERE owner = 7 AND state = 'waiting' ORDER BY id LIMIT 1` has two indexes: the one made for it (owner, id, of what
waits), and the primary key, which has the order too. Where an owner has a good share of the table, as with few
orchestrators, the planner takes the latter, since it expects to meet a row soon. But what waits is at the end, behind
all that has ever been answered. Asked for in an order that the primary key does not have, it takes the right one; and
an equality would make it see that both orders are the same.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Integer, cast

from .database import Database


def among(database: Database, owner: ColumnElement[Any], which: ColumnElement[Any]) -> tuple[ColumnElement[bool], ...]:
    """The conditions that rows are those of one owner."""
    if database.dialect.name == "postgresql":
        return (owner >= which, owner <= which)
    return (owner == which,)


def oldest(database: Database, owner: ColumnElement[Any], key: ColumnElement[Any]) -> tuple[ColumnElement[Any], ...]:
    """The order of such rows, the oldest first; turned round, the newest."""
    return (owner, key) if database.dialect.name == "postgresql" else (key,)


def mostly(database: Database, condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """A condition that nearly all rows fulfil, where Postgres would think of a third: so it does with any comparison
    of a column and the time, and then expects to read many rows for one."""
    if database.dialect.name == "postgresql":
        return cast(condition, Integer) != 0
    return condition
