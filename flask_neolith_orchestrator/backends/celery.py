"""The dispatcher of many processes: Celery on Redis carries hints to its workers, which run the turns.

Web processes and commands only ring. A worker's task waits for one call of the handler on a thread of ours, so that a
turn that hangs gives Celery's thread back. Hints may be lost: the sweep rings again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from celery import Celery
from celery.bootsteps import StartStopStep

from .bell import PATIENCE, Bell, Ear
from .embedded import EmbeddedDispatcher

log = logging.getLogger("flask_neolith_orchestrator")

QUEUE = "neolith"
TASK = "neolith.drain"

SPARE = 8
"""Threads of a worker for what the sweep finds while the bell is out of order."""

DEAF = 5.0
"""Seconds for which hints wait, and a worker with free threads is given none, until it does what its sweep finds."""

STALE = 30.0
"""Seconds after which a hint that nobody took is dropped: the sweep has rung again since."""


class _Call:
    """One call of the handler, until it ends or is given up."""

    def __init__(self, orchestrator_id: str) -> None:
        self.orchestrator_id = orchestrator_id
        self.began = time.monotonic()
        self.over = threading.Event()
        self.abandoned = False


class CeleryDispatcher:
    """Implements `core.ports.Dispatcher`. Lifetime: app, in one process.

    `threads` are those of a worker, where `serve` was called before `run`; elsewhere the handler is never called.
    """

    def __init__(self, url: str, *, threads: int, per_orchestrator: int, patience: float = 3_600.0) -> None:
        self.celery = make_celery(url, self.take)
        self._threads = threads
        self._url = url
        self._per_orchestrator = per_orchestrator
        self._patience = patience
        self._limit_of: Callable[[str], int] = lambda _orchestrator_id: 0
        self._handler: Callable[[str], bool] | None = None
        self._serves = False
        self._bell = Bell(url, QUEUE, self._send, self._unsent)
        self._ear: Ear | None = None
        self._local = EmbeddedDispatcher(
            max_threads=min(threads or SPARE, SPARE), per_orchestrator=per_orchestrator, patience=patience
        )
        self._changed = threading.Condition()
        self._calls: dict[int, _Call] = {}
        self._hung = 0
        self._names = 0
        self._closed = False
        self._waited: float | None = None
        self._taken_at = self._ended_at = 0.0
        self._deaf = False

    @property
    def threads(self) -> int:
        """Those of a worker; none elsewhere."""
        return self._threads if self._serves else 0

    def attend(self, begin: Callable[[], None], end: Callable[[], None]) -> Celery:
        """Celery's app; a worker of it runs turns between `begin` and `end`."""
        dispatcher = self

        class Runtime(StartStopStep):  # type: ignore[misc]  # Celery has no types
            """Our runtime in Celery's worker: begun before the first hint, ended when no more are taken."""

            requires = ("celery.worker.components:Pool",)

            def start(self, worker: Any) -> None:
                dispatcher.serve(worker.concurrency)
                begin()

            def stop(self, _worker: Any) -> None:
                end()

            terminate = stop

        self.celery.steps["worker"] = {Runtime}
        return self.celery

    def serve(self, threads: int) -> None:
        """This process is a worker: it runs so many turns at one time."""
        self._serves, self._threads = True, threads
        self._taken_at = time.monotonic()

    def run(
        self,
        handler: Callable[[str], bool],
        limit_of: Callable[[str], int] | None = None,
        look: Callable[[], None] | None = None,
    ) -> None:
        """Begin to ring, to hear news, and in a worker to call `handler`."""
        if limit_of is not None:
            self._limit_of = limit_of
        self._bell.start()
        if self._serves:
            self._handler = handler
            self._local.run(handler, limit_of)
        if look is not None and self._ear is None:
            self._ear = Ear(self._url, look)
            self._ear.start()

    def ring(self, orchestrator_id: str, count: int = 1) -> None:
        """Send up to `count` hints; where the bell is out of order, or unheard, a worker does the work itself."""
        if self._serves and (self._bell.problem is not None or self._is_deaf()):
            self._local.ring(orchestrator_id, count)
            return
        self._bell.ring(orchestrator_id, count, self._limit_of(orchestrator_id) or self._per_orchestrator)

    def _is_deaf(self) -> bool:
        """Whether Celery gives no hints to this worker though they wait: its consumer has stopped, or was told to."""
        with self._changed:
            free = len(self._calls) < self._threads
            latest = max(self._taken_at, self._ended_at)  # a thread that has just become free was not left out
        deaf = free and min(self._bell.waits(), time.monotonic() - latest) > DEAF
        if deaf and not self._deaf:
            log.warning("Celery gives no hints though some wait. The sweep finds the work", extra={"action": "deaf"})
        self._deaf = deaf
        return deaf

    def tell(self) -> None:
        """Have every process look at once."""
        self._bell.tell()

    def _send(self, orchestrator_id: str) -> None:
        task = self.celery.tasks[TASK]
        task.apply_async((orchestrator_id, time.time()), expires=STALE, retry=False)

    def _unsent(self, hints: Mapping[str, int]) -> None:
        if self._serves:
            for orchestrator_id, count in hints.items():
                self._local.ring(orchestrator_id, count)

    def take(self, orchestrator_id: str, sent_at: float) -> None:
        """Work for one hint, on a thread of Celery's: wait for the handler, which may be given up."""
        self._waited, self._taken_at = max(0.0, time.time() - sent_at), time.monotonic()
        call = _Call(orchestrator_id)
        with self._changed:
            if self._handler is None or self._closed:
                return
            self._names += 1
            threading.Thread(
                target=self._work, args=(call, self._handler), name=f"neolith-turn-c{self._names}", daemon=True
            ).start()
        call.over.wait()

    def _work(self, call: _Call, handler: Callable[[str], bool]) -> None:
        more = False
        with self._changed:
            self._calls[threading.get_ident()] = call
        try:
            more = handler(call.orchestrator_id)
        except Exception:
            # the thread's border: the sweep rings again for what is left
            log.exception("A dispatched call failed", extra={"action": "dispatch-failed"})
        finally:
            with self._changed:
                self._calls.pop(threading.get_ident(), None)
                self._ended_at = time.monotonic()
                self._hung -= call.abandoned
                self._changed.notify_all()
            call.over.set()
        if more:
            self.ring(call.orchestrator_id)

    def abandon(self, thread: int) -> None:
        """Give Celery's thread back that waits for this call; without effect where that thread has none."""
        with self._changed:
            call = self._calls.pop(thread, None)
            if call is not None:
                call.abandoned = True
                self._hung += 1
                call.over.set()
        self._local.abandon(thread)

    def close(self, seconds: float) -> bool:
        """Take no more hints and wait for running calls."""
        deadline = time.monotonic() + seconds
        with self._changed:
            self._closed = True
        self._bell.close()
        if self._ear is not None:
            self._ear.close()
        ended = self._local.close(max(0.0, deadline - time.monotonic()))
        with self._changed:
            return self._changed.wait_for(lambda: not self._calls, max(0.0, deadline - time.monotonic())) and ended

    def check(self) -> str | None:
        """Whether Redis answers."""
        return self._bell.check()

    def health(self) -> Mapping[str, Any]:
        """How the bell is, and in a worker what its threads do."""
        bell, local = self._bell.health(), self._local.health()
        with self._changed:
            long_ago = time.monotonic() - self._patience
            stuck = sum(call.began < long_ago for call in self._calls.values())
            active, hung = len(self._calls), self._hung
        problem = (f"{stuck} calls hang" if stuck else None) or local["detail"]
        return {
            "ok": not problem and not self._closed,  # without the bell work goes on: no reason to send nobody here
            "alive": stuck + hung < 2 * self._threads and local["alive"],
            "detail": problem or self._bell.problem or self._figures(bell),
            "roundTripMs": bell["roundTripMs"],
            "threads": self.threads,
            "active": active + local["active"],
            "queued": bell["queued"] + local["queued"],
            "abandoned": hung + local["abandoned"],
        }

    def _figures(self, bell: Mapping[str, Any]) -> str:
        told = [f"{bell['queued']} hints wait"]
        if bell["roundTripMs"] is not None:
            told.append(f"Redis answers in {bell['roundTripMs']} ms")
        if self._serves and self._is_deaf():
            told.append("none comes from Celery, the sweep finds the work")
        elif self._waited is not None:
            told.append(f"the last hint was {self._waited * 1000:.1f} ms on its way")
        return ", ".join(told)


def make_celery(url: str, take: Callable[[str, float], None]) -> Celery:
    """Celery's app with our task and the settings that hints need. Connects at its first use."""
    app = Celery("neolith", broker=url, set_as_current=False)
    app.conf.update(
        task_default_queue=QUEUE,
        task_ignore_result=True,
        task_acks_late=False,  # a hint that is lost costs a second
        worker_prefetch_multiplier=1,
        worker_pool="threads",
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={"socket_connect_timeout": 1.0, "socket_timeout": PATIENCE, "max_retries": 0},
    )
    app.task(name=TASK, shared=False)(take_of(take))  # else every app in this process would have it
    return app


def take_of(take: Callable[[str, float], None]) -> Callable[[str, float], None]:
    """The task's body as a function of its own: Celery names tasks by their functions."""

    def drain(orchestrator_id: str, sent_at: float) -> None:
        take(orchestrator_id, sent_at)

    return drain
