"""Python listeners: each has its own bounded queue, so that one that raises or hangs harms nobody else."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

log = logging.getLogger("flask_neolith_orchestrator")

Handler = Callable[..., None]
Context = Callable[[], AbstractContextManager[Any]]
Done = Callable[[bool], None]

BOUND = 25_000
"""Events that may wait for one listener; more are dropped, with a log line. Ten thousand daemons may start at once."""

SLOW = 10.0
"""Seconds after which a listener that is still busy with one event is taken to hang."""


class _Listener:
    """One handler of one event. A thread exists only while events wait, so an idle one costs nothing."""

    def __init__(self, event: str, handler: Handler, context: Context, *, once: bool) -> None:
        self.event = event
        self.handler = handler
        self.once = once
        self._context = context
        self._queue: deque[tuple[dict[str, Any], Done | None]] = deque()
        self._lock = threading.Lock()
        self._busy = False
        self._began: float | None = None
        self._failed: str | None = None

    @property
    def problem(self) -> str | None:
        """What is wrong with it now: it hangs, or its last call failed."""
        began = self._began
        hangs = began is not None and time.monotonic() - began > SLOW
        what = "hangs" if hangs else self._failed
        name = getattr(self.handler, "__qualname__", type(self.handler).__name__)
        return None if what is None else f"{name} ({self.event}) {what}"

    def put(self, arguments: dict[str, Any], done: Done | None) -> None:
        with self._lock:
            if len(self._queue) >= BOUND:
                log.warning(
                    "A listener of %s is too slow: an event was dropped", self.event, extra={"action": "event-dropped"}
                )
                return
            self._queue.append((arguments, done))
            if self._busy:
                return
            self._busy = True
        try:
            threading.Thread(target=self._run, name=f"neolith-listener-{self.event}", daemon=True).start()
        except RuntimeError:  # no more threads, or the interpreter ends: the next event tries again
            log.exception("A listener of %s has no thread", self.event, extra={"action": "listener-failed"})
            self._busy = False

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._busy = False
                    return
                arguments, done = self._queue.popleft()
            self._told(self._call(arguments), done)

    def _call(self, arguments: dict[str, Any]) -> bool:
        self._began = time.monotonic()
        try:
            with self._context():
                self.handler(**arguments)
        except Exception as error:
            log.exception("A listener of %s failed", self.event, extra={"action": "listener-failed"})
            self._failed = f"failed: {type(error).__name__}"
        else:
            self._failed = None
        finally:
            self._began = None
        return self._failed is None

    def _told(self, fine: bool, done: Done | None) -> None:
        try:
            if done is not None:
                done(fine)
        except Exception:
            # a border: whoever wanted to know must not end this listener's thread
            log.exception("The end of a listener's call was not noted", extra={"action": "listener-failed"})

    def drop(self) -> None:
        with self._lock:
            self._queue.clear()


class Emitter:
    """Who listens to what. Lifetime: as its owner (a daemon, or the manager). Safe for all threads."""

    __slots__ = ("_context", "_listeners", "_lock", "_names")

    def __init__(self, names: Sequence[str], context: Context) -> None:
        self._names = names
        self._context = context
        self._lock = threading.Lock()
        self._listeners: tuple[_Listener, ...] = ()

    def on(self, event: str, handler: Handler) -> Handler:
        """Call `handler` with keyword arguments at each `event`, in order, on a thread of its own, in the app context.

        Raises ValueError for a name that is no event. Returns the handler.
        """
        return self._add(event, handler, once=False)

    def once(self, event: str, handler: Handler) -> Handler:
        """As `on`, for the next event only."""
        return self._add(event, handler, once=True)

    def off(self, event: str, handler: Handler) -> None:
        """Call `handler` no more. Harmless if it does not listen."""
        with self._lock:
            gone = [one for one in self._listeners if one.event == event and one.handler == handler]
            self._listeners = tuple(one for one in self._listeners if one not in gone)
        for listener in gone:
            listener.drop()

    def _add(self, event: str, handler: Handler, *, once: bool) -> Handler:
        if event not in self._names:
            msg = f"There is no event {event!r}. There are: {', '.join(self._names)}."
            raise ValueError(msg)
        with self._lock:
            self._listeners = (*self._listeners, _Listener(event, handler, self._context, once=once))
        return handler

    @property
    def handlers(self) -> tuple[tuple[str, Handler, bool], ...]:
        """Who listens now: event, handler, and whether only for the next one."""
        return tuple((one.event, one.handler, one.once) for one in self._listeners)

    @property
    def problems(self) -> list[str]:
        """Which listeners hang or failed at their last event, and how."""
        return [problem for one in self._listeners if (problem := one.problem) is not None]

    def heard(self, event: str) -> bool:
        """Whether anybody listens to `event`."""
        return bool(self._listeners) and any(one.event == event for one in self._listeners)

    def emit(self, event: str, /, *, done: Done | None = None, **arguments: Any) -> int:
        """Tell the listeners of `event`; returns how many there are. Never raises, never waits.

        `done` is called after each listener with whether it ended without an exception.
        """
        if not self._listeners:  # so most events cost nothing
            return 0
        listeners = [one for one in self._listeners if one.event == event]
        if any(one.once for one in listeners):
            with self._lock:  # of two simultaneous events only one may take a `once`
                listeners = [one for one in listeners if one in self._listeners]
                self._listeners = tuple(one for one in self._listeners if not (one.once and one in listeners))
        for listener in listeners:
            listener.put(arguments, done)
        return len(listeners)

    def close(self) -> None:
        """Forget all listeners and what waits for them. Safe twice."""
        with self._lock:
            gone, self._listeners = self._listeners, ()
        for listener in gone:
            listener.drop()
