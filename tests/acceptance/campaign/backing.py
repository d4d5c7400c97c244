"""What a campaign's processes share: a SQLite file; or a Postgres, and a Redis that may be emptied and stopped."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import psycopg

from tests.integration.postgres_server import PostgresServer
from tests.integration.redis_server import RedisServer

SOCKETS = "flask-socketio"
"""The channel of Redis on which Flask-SocketIO's processes hear each other."""


class Backing(Protocol):
    """Where the rows are. Lifetime: a campaign."""

    environment: Mapping[str, str]
    """What processes must know of it."""

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """What is committed."""
        ...

    def broken(self) -> list[str]:
        """What is damaged."""
        ...

    def close(self) -> None:
        """Give everything back. Safe twice."""
        ...


class SqliteFile:
    """One file, on one machine."""

    def __init__(self, folder: Path) -> None:
        self.environment: Mapping[str, str] = {}
        self._file = folder / "app.db"

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """What is committed."""
        with closing(sqlite3.connect(f"file:{self._file}?mode=ro", uri=True, timeout=10)) as database:
            return database.execute(statement, values).fetchall()

    def broken(self) -> list[str]:
        """What SQLite's own checks find."""
        found = [str(row[0]) for row in self.rows("PRAGMA integrity_check") if row[0] != "ok"]
        return found + [f"a reference leads nowhere: {row}" for row in self.rows("PRAGMA foreign_key_check")]

    def close(self) -> None:
        """Nothing is open."""


class Servers:
    """Web processes and workers of the engine celery. `postgres` is the caller's; the Redis is ours."""

    def __init__(self, postgres: PostgresServer) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="campaign-redis-")
        self.redis = RedisServer(Path(self._folder.name))
        url = postgres.database()
        self._database = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
        self.environment: Mapping[str, str] = {
            "CAMPAIGN_DATABASE": url,
            "CAMPAIGN_QUEUE": self.redis.url,
            "NEOLITH_ENGINE": "celery",
            "NEOLITH_BROKER_URL": self.redis.url,
        }

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """What is committed."""
        return self._database.execute(statement, values or None).fetchall()

    def broken(self) -> list[str]:
        """Postgres refuses what would be damaged."""
        return []

    def listening(self) -> int:
        """Processes that hear on Redis what is to be told to browsers."""
        return int(self.redis.client.pubsub_numsub(SOCKETS)[0][1])

    def close(self) -> None:
        """Stop Redis. Safe twice."""
        self._database.close()
        self.redis.stop()
        self._folder.cleanup()
