"""What columns are made of: our key type, the foreign key to the host's users, and the constraint names."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    literal_column,
    text,
)
from sqlalchemy.orm import DeclarativeBase, MappedColumn, mapped_column

Key = BigInteger().with_variant(Integer(), "sqlite")
"""Our own keys: 64 bit, and SQLite's rowid."""

Instant = Double
"""Seconds since the epoch, UTC. A float needs no conversion on the hot path and knows no time zones."""


class Tables(DeclarativeBase):
    """Base of all our classes for one (db, user model); their user key waits in the metadata.

    It has a registry of its own, so that a host's own `Message` or `Channel` class does not clash, and shares
    the metadata of the user model, so that migrations and foreign keys work.
    """

    __abstract__ = True


def own_key() -> MappedColumn[int]:
    """The primary key of one of our tables."""
    return mapped_column(Key, primary_key=True, autoincrement=True)


def reference(table: str, name: str, *, nullable: bool = False, index: bool = False) -> MappedColumn[Any]:
    """A foreign key to another of our tables; `name` completes the constraint's name."""
    target = f"neolith_{table}.id"
    return mapped_column(
        Key, ForeignKey(target, name=f"fk_neolith_{name}", ondelete="CASCADE"), nullable=nullable, index=index
    )


def user_reference(
    cls: type[Tables], name: str, *, nullable: bool = False, unique: bool = False, index: bool = False
) -> MappedColumn[Any]:
    """A foreign key to the host's users; it has no type of its own and so takes the host's."""
    column: Column[Any] = cls.metadata.info["neolith_user_key"]
    return mapped_column(
        ForeignKey(column, name=f"fk_neolith_{name}", ondelete="CASCADE"),
        nullable=nullable,
        unique=unique,
        index=index,
    )


def stored(fillfactor: int, vacuum: float | None = None) -> dict[str, Any]:
    """Options of a table on Postgres, as its last argument: see docs/postgres.md for what was measured.

    `fillfactor` is how full (in percent) inserts make a page: in the room that is left, an update that changes no
    indexed column stays on its page and costs no index anything. `vacuum` is the share of dead rows at which the
    table is cleaned up; the server's own is 0.2.
    """
    options: dict[str, Any] = {"fillfactor": fillfactor}
    if vacuum is not None:
        options |= {"autovacuum_vacuum_scale_factor": vacuum, "autovacuum_analyze_scale_factor": vacuum}
    return {"postgresql_with": options}


def partial(name: str, *columns: str, where: str) -> Index:
    """An index of those rows alone for which `where` holds."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


def metadata_of(user_model: type[Any]) -> MetaData:
    """The metadata of the user model's bind."""
    metadata: MetaData = user_model.metadata
    return metadata


WAITING = literal_column("'waiting'", String)
"""A delivery's state in a statement's own text. SQLite uses a partial index only where it can read what is asked; and
it compiles a statement anew at each run whose parameter it would have to compare with what an index is for."""

RUNNING = literal_column("'running'", String)
"""As `WAITING`."""

PARKED = literal_column("'parked'", String)
"""As `WAITING`."""
