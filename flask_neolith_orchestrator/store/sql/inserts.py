"""INSERT that gives way to a row that is there already."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Dialect, Table
from sqlalchemy.dialects import sqlite


def insert_into(table: Table, dialect: Dialect) -> Any:
    """INSERT with ON CONFLICT, which SQLAlchemy has per dialect; its row count says whether a row was made."""
    if dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql  # imported by its engine by now, and slow where there is none

        # else SQLAlchemy says -1, which is as true as 1: an ended login would begin again
        return postgresql.insert(table).execution_options(preserve_rowcount=True)
    return sqlite.insert(table)
