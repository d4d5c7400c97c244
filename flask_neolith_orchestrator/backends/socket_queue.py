"""Flask-SocketIO's message queue without its waits: what processes tell each other's browsers goes out by a thread.

The library publishes on the caller's thread, which waits for seconds where Redis does not answer, and listens again
only after up to a minute. Here nobody waits; and where something may have been missed, browsers look again.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from socketio.pubsub_manager import PubSubManager
from socketio.redis_manager import RedisManager

log = logging.getLogger("flask_neolith_orchestrator")

ORDERS: Final = "/neolith/orders"
"""Carries orders between processes over Flask-SocketIO's message queue; no client can ever be in it."""

MISSED: Final = "missed"
"""The order to have every browser look again: somebody could not tell what happened."""

IDLE = 2.0
"""Seconds after which the thread ends that has nothing to send."""

MOST = 10_000
"""Events that may wait to be sent; more are told to nobody."""

STALE = 1.0
"""Seconds after which what waits is told to nobody: its process may have been paused, and another have gone on."""

AGAIN = 0.5
"""Seconds between two looks at a Redis that is away."""


def is_queue(manager: Any) -> bool:
    """Whether a client manager hears of other processes."""
    return isinstance(manager, PubSubManager)


class MessageQueue:
    """The queue of one client manager. Lifetime: app, in one process. Owns no thread while there is nothing to send.

    `obey(what, room, target)` carries out orders of other processes; MISSED comes from this one too. `forked` says that
    the manager was made in a parent process, which has its name.
    """

    def __init__(self, manager: Any, obey: Callable[[str, str, str], None], *, forked: bool) -> None:
        kind = type(manager)
        self._manager = manager
        self._obey = obey
        self._handle: Callable[[Any], None] = kind._handle_emit.__get__(manager)  # noqa: SLF001 -- no public way to hear or say
        self._publish: Callable[[Any], Any] = kind._publish.__get__(manager)  # noqa: SLF001 -- see above
        self._is_redis = isinstance(manager, RedisManager)
        self._changed = threading.Condition()
        self._waiting: deque[tuple[float, Any]] = deque()
        self._sending = False
        self._missed = False
        self._thread: threading.Thread | None = None
        self._listens = self._is_redis and hasattr(manager, "thread") and manager.connected
        if forked:
            manager.host_id = uuid.uuid4().hex  # else siblings would take each other's events for their own
        manager._handle_emit, manager._publish = self._heard, self._put  # noqa: SLF001 -- see above
        if self._is_redis:
            manager._redis_connect = self._connect  # noqa: SLF001 -- see above

    @property
    def problem(self) -> str:
        """Why browsers of other processes hear nothing; empty where they hear all."""
        return "Redis cannot be reached: browsers of other processes hear nothing" if self._missed else ""

    def order(self, what: str, room: str, target: str) -> None:
        """Tell all other processes to do something with their sockets."""
        self._manager.emit(what, target, namespace=ORDERS, room=room)

    def _heard(self, message: dict[str, Any]) -> None:
        if message.get("namespace") != ORDERS:
            self._handle(message)
        elif message.get("host_id") != self._manager.host_id:  # our own order has been obeyed already
            self._obey(message["event"], message["room"], message["data"][0])

    def _put(self, message: Any) -> None:
        with self._changed:
            if len(self._waiting) >= MOST:
                self._waiting.clear()
                self._missed = True
            self._waiting.append((time.monotonic(), message))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="neolith-post", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _work(self) -> None:
        while self._next_is_there():
            asks = self._missed
            try:
                fine = self._is_back() if asks else self._send()
            except Exception:
                # the thread's border: a queue of another kind, or something that cannot be written as JSON
                log.exception("Other processes were not told", extra={"action": "queue-failed"})
                fine = not self._is_redis
            if not fine:
                self._note_failure()
            elif asks:
                self._note_return()

    def _next_is_there(self) -> bool:
        with self._changed:
            self._sending = False
            self._changed.notify_all()
            if self._missed:
                self._changed.wait_for(lambda: False, AGAIN)
            elif not self._waiting:
                self._changed.wait_for(lambda: self._waiting, IDLE)
            self._sending = bool(self._waiting or self._missed)
            if not self._sending:
                self._thread = None
            return self._sending

    def _send(self) -> bool:
        with self._changed:
            if not self._waiting:
                return True
            at, message = self._waiting.popleft()
        if time.monotonic() - at > STALE:
            return False
        return self._publish(message) is not None or not self._is_redis

    def _is_back(self) -> bool:
        if self._is_redis:
            try:
                self._ask()
            except Exception as error:  # noqa: BLE001 -- whatever keeps Redis from answering
                log.debug("Redis is still away: %s", error, extra={"action": "queue-broken"})
                return False
        lost = {"event": MISSED, "data": [""], "namespace": ORDERS, "room": "", "host_id": self._manager.host_id}
        return self._publish({"method": "emit", **lost}) is not None or not self._is_redis

    def _ask(self) -> None:
        if not self._manager.connected:
            self._manager._redis_connect()  # noqa: SLF001 -- as the library does before it publishes
        self._manager.redis.ping()

    def _note_failure(self) -> None:
        with self._changed:
            before, self._missed = self._missed, True
            self._waiting.clear()  # who would hear it hears nothing now, and looks again later
        if not before:
            log.warning(
                "The message queue is out of order: browsers of other processes hear nothing until it is back",
                extra={"action": "queue-broken"},
            )

    def _note_return(self) -> None:
        with self._changed:
            self._missed = False
        log.info("Other processes are told again", extra={"action": "queue-mended"})
        self._obey(MISSED, "", "")

    def _connect(self) -> None:
        """Connect as the library does; its listening thread comes back from here only when Redis answers."""
        connect = type(self._manager)._redis_connect.__get__(self._manager)  # noqa: SLF001 -- see above
        connect()
        if threading.current_thread() is self._thread:
            return
        again, self._listens = self._listens, True
        never = threading.Event()
        while not self._answers():
            never.wait(AGAIN)
            connect()
        if again:
            self._obey(MISSED, "", "")

    def _answers(self) -> bool:
        try:
            return bool(self._manager.redis.ping())
        except Exception:  # noqa: BLE001 -- whatever keeps Redis from answering
            return False

    def flush(self, seconds: float) -> bool:
        """Wait until all is sent; False if that takes too long, or cannot be done."""
        with self._changed:
            over = self._changed.wait_for(
                lambda: self._missed or not (self._waiting or self._sending),
                seconds,
            )
            return over and not self._missed
