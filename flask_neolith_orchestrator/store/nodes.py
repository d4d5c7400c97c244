"""Processes that run turns: who is alive. On one host a file lock tells at once, elsewhere the lease does."""

from __future__ import annotations

import fcntl
import os
import socket
import uuid
from pathlib import Path
from typing import IO

from sqlalchemy import delete, insert, select, update

from .database import Database
from .models import Models


class Nodes:
    """This process as a node, and the others. Lifetime: app, in one process."""

    def __init__(self, models: Models, database: Database, *, state_dir: Path | None, lease: float) -> None:
        self._database = database
        self._n = models.table("Node")
        self._state_dir = state_dir
        self._lease = lease
        self._file: IO[bytes] | None = None
        self.id = uuid.uuid4().hex
        self.host = socket.gethostname()
        self.name = f"{self.host}:{os.getpid()}"

    def lock(self) -> bool:
        """Hold this node's lock file while the process lives; False where no folder can be written."""
        if self._state_dir is None:
            return False
        try:
            self._state_dir.mkdir(parents=True, exist_ok=True)
            self._file = (self._state_dir / f"{self.id}.lock").open("wb")
        except OSError:
            return False
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True

    def register(self) -> None:
        """Write this node's row."""
        now = self._database.clock.wall()
        lock = None if self._file is None else str(self._path(self.id))
        row = {"id": self.id, "name": self.name, "host": self.host, "lock": lock, "started_at": now, "seen_at": now}
        with self._database.write() as tx:
            tx.execute(insert(self._n).values(row))

    def seen(self) -> None:
        """Write that this node lives."""
        with self._database.write() as tx:
            tx.execute(update(self._n).where(self._n.c.id == self.id).values(seen_at=self._database.clock.wall()))

    def dead(self) -> list[str]:
        """Ids of other nodes that are certainly dead: their lock is free, or they were not seen for long."""
        with self._database.read() as tx:
            rows = tx.execute(select(self._n).where(self._n.c.id != self.id)).all()
        now = self._database.clock.wall()
        # a node without a lock may only be slow: its claims end by their leases, its row after a while
        return [
            row.id
            for row in rows
            if (row.lock is not None and row.host == self.host and self._is_free(Path(row.lock)))
            or row.seen_at < now - max(60.0, 12 * self._lease)
        ]

    def others(self) -> list[str]:
        """Ids of other nodes that may be alive."""
        dead = set(self.dead())
        limit = self._database.clock.wall() - self._lease - 1.0
        with self._database.read() as tx:
            rows = tx.execute(select(self._n).where(self._n.c.id != self.id)).all()
        return [
            row.id
            for row in rows
            if row.id not in dead and ((row.lock is not None and row.host == self.host) or row.seen_at >= limit)
        ]

    def forget(self, node_ids: list[str]) -> None:
        """Remove dead nodes' rows and lock files."""
        if not node_ids:
            return
        with self._database.write() as tx:
            tx.execute(delete(self._n).where(self._n.c.id.in_(node_ids)))
        for node_id in node_ids:
            self._remove(node_id)

    def close(self) -> None:
        """Give the lock back and remove this node's row. Safe twice."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self.forget([self.id])

    def _path(self, node_id: str) -> Path:
        return (self._state_dir or Path()) / f"{node_id}.lock"

    def _remove(self, node_id: str) -> None:
        if self._state_dir is not None:
            self._path(node_id).unlink(missing_ok=True)

    @staticmethod
    def _is_free(path: Path) -> bool:
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True
