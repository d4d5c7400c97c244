"""Lets two processes meet at a chosen instant: one is held between two of its statements while the other goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event, text

from .stage import PATIENCE, Door
from .world import World, until

WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


class Holdup:
    """Holds one thread before its n-th statement or commit on an engine; `reached` says whether it came so far."""

    def __init__(self, engine: Engine, at: int) -> None:
        self._engine = engine
        self._at = at
        self._count = 0
        self._thread: int | None = None
        self.reached = False
        self.moved = threading.Event()
        self._go_on = Door()

    def go_on(self) -> None:
        """Let it pass."""
        self._go_on.open()

    def _pass(self, *_: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        self._count += 1
        if self._count == self._at:
            self.reached = True
            self.moved.set()
            self._go_on.wait()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While the calling thread does what is watched."""
        self._thread = threading.get_ident()
        for name in ("before_cursor_execute", "commit"):
            event.listen(self._engine, name, self._pass)
        try:
            yield
        finally:
            self._thread = None
            for name in ("before_cursor_execute", "commit"):
                event.remove(self._engine, name, self._pass)


def waits_for_a_lock(world: World) -> bool:
    """Whether some session of this Postgres database waits for another's lock."""
    with world.stores.database.read() as tx:
        return int(tx.execute(WAITING).scalar_one()) > 0


def interleaved(
    pool: ThreadPoolExecutor, world: World, at: int, first: Callable[[], Any], second: Callable[[], Any]
) -> tuple[Any, Any] | None:
    """`first` (on `world`) until its n-th statement, then `second` until it ends or waits for a lock, then the rest.

    What both gave; None if `first` has no such statement: then `second` has not run.
    """
    with world.context():
        holdup = Holdup(world.db.engine, at)

    def held() -> Any:
        with holdup.watching():
            return first()

    one, moved = pool.submit(held), holdup.moved
    one.add_done_callback(lambda _: moved.set())
    if not moved.wait(PATIENCE):
        raise TimeoutError("It came neither to its statement nor to its end.")
    if not holdup.reached:
        one.result(PATIENCE)
        return None
    other: Future[Any] = pool.submit(second)
    try:
        if not wait([other], timeout=0.03).done:  # most end at once: only then is it worth asking
            until(lambda: other.done() or waits_for_a_lock(world), "the other one ends or waits")
    finally:
        holdup.go_on()
    return one.result(PATIENCE), other.result(PATIENCE)
