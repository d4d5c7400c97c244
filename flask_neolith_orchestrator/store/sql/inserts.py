"""INSERT that gives way to a row that is there already."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Dialect, Table
from sqlalchemy.dialects import sqlite


def insert_into(table: Table, dialect: Dialect) -> Any:
    """INSERT with ON CONFLICT, which SQLAlchemy has per dialect."""
    if dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql  # imported by its engine by now, and slow where there is none

        return postgresql.insert(table)
    return sqlite.insert(table)
