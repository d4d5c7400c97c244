"""Huey's side of the idle dispatch: imported by the one who enqueues and by Huey's own consumer."""

from __future__ import annotations

import os

from huey import SqliteHuey

from .ear import FOLDER, tell

huey = SqliteHuey("benchmarks", filename=f"{os.environ[FOLDER]}/huey.db", results=False)


@huey.task()  # type: ignore[untyped-decorator]  # Huey has no types
def begin() -> None:
    """Say that the task has begun."""
    tell()
