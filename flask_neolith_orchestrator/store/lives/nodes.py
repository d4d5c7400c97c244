"""Processes that run turns: who is alive. On one host a file lock tells at once, elsewhere the lease does."""

from __future__ import annotations

import fcntl
import os
import socket
import uuid
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from ..sql.database import Database
from ..tables.models import Models


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One process that runs turns, and how many it runs now."""

    alive: bool
    running: int
    id: str
    name: str
    host: str
    lock: str | None
    started_at: float
    seen_at: float
    version: str | None
    engine: str | None
    threads: int | None


class Nodes:
    """This process as a node, and the others. Lifetime: app, in one process."""

    def __init__(
        self, models: Models, database: Database, engine: str, *, state_dir: Path | None, lease: float
    ) -> None:
        self._database = database
        self._n = models.table("Node")
        self._slots = models.table("Slot")
        # seen and judged by one clock, the database's: the machines' own may differ
        looked = select(self._n, database.now().label("now"))
        self._look = database.prepare(looked.where(self._n.c.id != bindparam("b_self")))
        self._engine = engine
        self.capacity = 0
        self._state_dir = state_dir
        self.lease = lease
        self._kept_at = float("-inf")
        self._file: IO[bytes] | None = None
        self._joined = False
        self.id = uuid.uuid4().hex
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.host = self._place()

    def _place(self) -> str:
        """Where these differ, a lock that cannot be found says nothing: another machine, or another container."""
        try:
            folder = None if self._state_dir is None else self._state_dir.stat()
        except OSError:
            folder = None
        name = socket.gethostname()
        return name if folder is None else f"{name}/{_boot_id()}/{folder.st_dev}-{folder.st_ino}"[-200:]

    def lock(self) -> bool:
        """Hold this node's lock file while the process lives; False where no folder can be written."""
        if self._state_dir is None or self._file is not None:  # or held since a start that failed half-way
            return self._file is not None
        try:
            self._state_dir.mkdir(parents=True, exist_ok=True)
            self._file = (self._state_dir / f"{self.id}.lock").open("wb")
        except OSError:
            return False
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.host = self._place()
        return True

    def join(self, tx: Connection, threads: int) -> bool:
        """Write this node's row, with the turns it runs at one time; True if no other that is alive runs any.

        Those who join or leave wait for each other.
        """
        self.capacity = threads
        self._one_by_one(tx)
        alone = not self._others_run(tx)
        tx.execute(delete(self._n).where(self._n.c.id == self.id))  # of a start that failed half-way
        tx.execute(insert(self._n).values(self._row()))
        self._joined = True
        return alone

    def leave(self, tx: Connection) -> bool:
        """Remove this node's row; True if no other that is alive runs turns."""
        self._joined, self.capacity = False, 0
        self._one_by_one(tx)
        tx.execute(delete(self._n).where(self._n.c.id == self.id))
        return not self._others_run(tx)

    def deserted(self, tx: Connection) -> bool:
        """Whether no process that is alive runs turns, while none of them comes or goes."""
        self._one_by_one(tx)
        return not self.backed(tx)

    def _one_by_one(self, tx: Connection) -> None:
        # on SQLite the transaction has the whole database for itself
        if self._database.dialect.name == "postgresql":
            tx.exec_driver_sql(f"LOCK TABLE {self._n.fullname} IN SHARE ROW EXCLUSIVE MODE")

    def _now(self) -> Any:
        """The same clock, for a row that is written."""
        clock, server = self._database.clock, self._database.dialect.name == "postgresql"
        return self._database.now() if clock.database and server else clock.wall()

    def _row(self) -> dict[str, object]:
        now = self._now()
        lock = None if self._file is None else str(self._path(self.id))
        which = {"id": self.id, "name": self.name, "host": self.host, "lock": lock}
        able = {"version": release()[:40], "engine": self._engine, "threads": self.capacity}
        return {**which, **able, "started_at": now, "seen_at": now}

    def keep_alive(self) -> None:
        """Write that this node lives, twice per lease; called more often than that."""
        now = self._database.clock.monotonic()
        if now - self._kept_at >= self.lease / 2:
            self.seen()
            self._kept_at = now  # only now: what failed is tried again by the next run, and shown until it works

    def seen(self) -> None:
        """Write that this node lives, if it does."""
        if not self._joined:
            return
        with self._database.write() as tx:
            alive = update(self._n).where(self._n.c.id == self.id).values(seen_at=self._now())
            if not tx.execute(alive).rowcount:
                tx.execute(insert(self._n).values(self._row()))  # it was paused for so long that others forgot it

    def dead(self) -> list[str]:
        """Ids of other nodes that are certainly dead: their lock is free, or they were not seen for long."""
        with self._database.read() as tx:
            return self._dead(tx)

    def _rest(self, tx: Connection) -> list[Any]:
        """The rows of the other nodes. Looked at each second, so it is a prepared statement."""
        names = [*self._n.columns.keys(), "now"]
        rows = self._look.run(tx, b_self=self.id)
        return [SimpleNamespace(**dict(zip(names, row, strict=True))) for row in rows]

    def _dead(self, tx: Connection) -> list[str]:
        # a node without a lock may only be slow: its claims end by their leases, its row after a while
        return [
            row.id
            for row in self._rest(tx)
            if (row.lock is not None and row.host == self.host and self._is_free(Path(row.lock)))
            or row.seen_at < row.now - max(60.0, 12 * self.lease)
        ]

    def others(self) -> list[str]:
        """Ids of other nodes that may be alive."""
        with self._database.read() as tx:
            return self._others(tx)

    def threads(self) -> int:
        """Turns that the other processes can run at one time, taken together."""
        with self._database.read() as tx:
            return sum(row.threads or 0 for row in self._living(tx))

    def backed(self, tx: Connection) -> bool:
        """Whether a process that is alive runs turns, this one or another: else no daemon runs, whoever wants it."""
        return self.capacity > 0 or self._others_run(tx)

    def _others_run(self, tx: Connection) -> bool:
        return any(_runs_turns(row) for row in self._living(tx))

    def backing(self) -> tuple[bool, set[str]]:
        """As `backed`, and those that run turns and were not seen for a while, but may only be slow."""
        with self._database.read() as tx:
            known = {*self._dead(tx), *self._others(tx)}
            return self.backed(tx), {row.id for row in self._rest(tx) if _runs_turns(row) and row.id not in known}

    def _others(self, tx: Connection) -> list[str]:
        return [row.id for row in self._living(tx)]

    def _living(self, tx: Connection) -> list[Any]:
        dead = set(self._dead(tx))
        return [
            row
            for row in self._rest(tx)
            if row.id not in dead
            and ((row.lock is not None and row.host == self.host) or row.seen_at >= row.now - self.lease - 1.0)
        ]

    def last_seen(self, tx: Connection) -> float | None:
        """When another node that ran turns was seen last, as far as it has left a row behind."""
        ran = func.coalesce(self._n.c.threads, 1) > 0
        found: float | None = tx.execute(
            select(func.max(self._n.c.seen_at)).where(self._n.c.id != self.id, ran)
        ).scalar()
        return found

    def survey(self, tx: Connection) -> list[NodeRow]:
        """All nodes, this one too, in the order they started."""
        n, s = self._n, self._slots
        held = select(s.c.node_id, func.count()).where(s.c.node_id.is_not(None)).group_by(s.c.node_id)
        running: dict[str, int] = {row[0]: row[1] for row in tx.execute(held)}
        alive = {self.id, *self._others(tx)}
        return [
            NodeRow(row.id in alive, running.get(row.id, 0), **row._mapping)  # noqa: SLF001 -- SQLAlchemy's public name
            for row in tx.execute(select(n).order_by(n.c.started_at, n.c.id))
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
        """Give the lock back. Safe twice."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._remove(self.id)

    def forked(self) -> None:
        """In a forked child: the lock is the parent's alone, or its death would go unnoticed while the child lives."""
        if self._file is not None:
            self._file.close()
            self._file = None

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


def _runs_turns(row: Any) -> bool:
    return bool(row.threads != 0)  # a row without a number is of a release in which all did


def release() -> str:
    """The version of this package that runs."""
    try:
        return version("flask_neolith_orchestrator")
    except PackageNotFoundError:  # run from a folder that was never installed
        return ""


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
