"""What processes tell each other by Redis: hints that there is work, and that all should look at once.

Neither carries data: what is lost costs a second, until the next sweep. Both have a thread of their own, with short
time-outs, so that nobody waits for a Redis that is away.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import redis

log = logging.getLogger("flask_neolith_orchestrator")

NEWS = "neolith:look"
"""The channel on which a process tells all others to look."""

ENOUGH = 200
"""Hints in the queue at which no more are added: where so many wait every worker is busy, and sweeps ring again."""

LOOK_AT_QUEUE = 0.2
"""Seconds between two looks at the length of the queue."""

CHECK = 2.0
"""Seconds without anything to send after which Redis is asked whether it is there."""

PATIENCE = 2.0
"""Seconds that one question to Redis may take."""

PAUSE = 0.05
"""Seconds for which news is gathered before one look."""


def connect(url: str) -> Any:
    """A client that never waits for long. Connects at its first question."""
    return redis.Redis.from_url(url, socket_timeout=PATIENCE, socket_connect_timeout=1.0, health_check_interval=0)


class Bell:
    """Sends hints and news on a thread of its own. Lifetime: app, in one process, from `start` to `close`.

    `send(orchestrator_id)` puts one hint into `queue` and raises where it cannot; `unsent` is given the hints, counted
    by orchestrator, that could not be sent.
    """

    def __init__(
        self, url: str, queue: str, send: Callable[[str], None], unsent: Callable[[Mapping[str, int]], None]
    ) -> None:
        self._url = url
        self._redis = connect(url)
        self._queue = queue
        self._send = send
        self._unsent = unsent
        self._changed = threading.Condition()
        self._hints: dict[str, int] = {}
        self._news = False
        self._closed = False
        self._thread: threading.Thread | None = None
        self._length = 0
        self._looked_at = float("-inf")
        self._empty_at = time.monotonic()
        self._round_trip: float | None = None
        self.problem: str | None = None

    def start(self) -> None:
        """Begin to send; what was rung for before is sent now. Harmless while it runs."""
        with self._changed:
            if self._thread is None and not self._closed:
                self._empty_at = time.monotonic()
                self._thread = threading.Thread(target=self._work, name="neolith-bell", daemon=True)
                self._thread.start()

    def ring(self, orchestrator_id: str, count: int, most: int) -> None:
        """Send up to `count` hints soon, where no more than `most` wait to be sent."""
        with self._changed:
            if not self._closed:
                self._hints[orchestrator_id] = min(most, self._hints.get(orchestrator_id, 0) + count)
                self._changed.notify()

    def tell(self) -> None:
        """Have every process look soon."""
        with self._changed:
            self._news = True
            self._changed.notify()

    def _work(self) -> None:
        while (todo := self._next()) is not None:
            hints, news = todo
            try:
                self._deliver(hints, news=news)
            except Exception as error:  # noqa: BLE001 -- the thread's border: of Redis, of Celery's transport, of sockets
                self._failed(error, hints)
            else:
                if self.problem is not None:
                    log.info("The bell works again", extra={"action": "bell-mended"})
                self.problem = None

    def _next(self) -> tuple[dict[str, int], bool] | None:
        with self._changed:
            if not self._hints and not self._news and not self._closed:
                self._changed.wait(CHECK)
            if self._closed:
                return None
            found = self._hints, self._news
            self._hints, self._news = {}, False
            return found

    def _deliver(self, hints: dict[str, int], *, news: bool) -> None:
        if news:
            self._redis.publish(NEWS, b"")
        if not hints and not news:
            began = time.monotonic()
            self._redis.ping()
            self._round_trip = time.monotonic() - began
        if time.monotonic() - self._looked_at >= LOOK_AT_QUEUE:
            self._length = int(self._redis.llen(self._queue))
            self._looked_at = time.monotonic()
            if not self._length:
                self._empty_at = self._looked_at
        for orchestrator_id in _in_turn(hints):
            if self._length >= ENOUGH:
                break
            self._send(orchestrator_id)
            hints[orchestrator_id] -= 1
            self._length += 1

    def _failed(self, error: Exception, hints: dict[str, int]) -> None:
        if self.problem is None:
            log.warning(
                "The bell is out of order: %s. The sweep finds the work", error, extra={"action": "bell-broken"}
            )
        self.problem = f"Redis cannot be reached ({type(error).__name__}); the sweep finds the work"
        self._unsent({orchestrator_id: count for orchestrator_id, count in hints.items() if count})
        with self._changed:
            self._changed.wait(0.2)  # not at once again

    def close(self) -> None:
        """Send nothing more. Safe twice."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(PATIENCE + 1.0)
        self._redis.close()

    def waits(self) -> float:
        """Seconds for which hints have been waiting at each look; 0 where the last look found none."""
        return time.monotonic() - self._empty_at if self._length else 0.0

    def check(self) -> str | None:
        """What is wrong with Redis, with the remedy: asked now, on the caller's thread."""
        client = connect(self._url)
        try:
            client.ping()
        except redis.RedisError as error:
            return f"Redis cannot be reached ({type(error).__name__}). Look at NEOLITH_BROKER_URL."
        finally:
            client.close()
        return None

    def health(self) -> dict[str, Any]:
        """The hints in the queue, and how long Redis takes to answer, in milliseconds."""
        trip = None if self._round_trip is None else round(self._round_trip * 1000, 2)
        return {"queued": self._length, "roundTripMs": trip}


def _in_turn(hints: Mapping[str, int]) -> Iterator[str]:
    """One hint for each, then the second ones, and so on; who comes first is left to chance, as not all may be sent."""
    wanted = {one: hints[one] for one in random.sample(list(hints), len(hints))}
    for number in range(max(wanted.values(), default=0)):
        yield from (one for one, count in wanted.items() if count > number)


class Ear:
    """Looks when any process says so. Lifetime: app, in one process, from `start` to `close`."""

    def __init__(self, url: str, look: Callable[[], None]) -> None:
        self._url = url
        self._look = look
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="neolith-ear", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def _work(self) -> None:
        while not self._closed.is_set():
            client = connect(self._url)
            try:
                with client.pubsub(ignore_subscribe_messages=True) as heard:
                    heard.subscribe(NEWS)
                    self._look()  # what was told before is seen now
                    self._listen(heard)
            except Exception as error:  # noqa: BLE001 -- the thread's border: of Redis, of sockets, of the look itself
                log.debug("Nothing is heard of other processes: %s", error, extra={"action": "ear-broken"})
                self._closed.wait(1.0)
            finally:
                client.close()

    def _listen(self, heard: Any) -> None:
        while not self._closed.is_set():
            if heard.get_message(timeout=1.0) is None:
                continue
            self._closed.wait(PAUSE)
            while heard.get_message(timeout=0.0) is not None:
                pass
            self._look()

    def close(self) -> None:
        """Listen no more. Safe twice."""
        self._closed.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(3.0)
