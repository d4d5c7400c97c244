"""Runs tools: each call on a thread of its own, so that a stop is heard at once and a time limit holds."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final

from ...core.cancel import Cancel, Cancelled, StopReason
from ...core.errors import ToolError

log = logging.getLogger("flask_neolith_orchestrator")

Work = Callable[[Cancel], str]
"""A call: it gets a stop flag and gives its result."""

MOST_HANGING: Final = 20
"""Threads of a process that may be lost to tools which do not end; then no more are run."""

FAILED: Final = "The tool failed. It may or may not have done its work. Those who run this chat can see why in its log."
HANGS: Final = "Too many tools of this chat hang. This one was not run."


class Failed(Exception):
    """Raised with what the model is told of a call that brought no result. A control signal."""


class ToolRuns:
    """Lifetime: app, in one process; safe for all threads. Without `threads` calls run on the caller's, to their end.

    `context` is the app context in which the functions run.
    """

    def __init__(self, context: Callable[[], AbstractContextManager[Any]], *, threads: bool) -> None:
        self._context = context
        self._threads = threads
        self._lock = threading.Lock()
        self._hanging: set[threading.Thread] = set()

    @property
    def hanging(self) -> int:
        """Threads that were given up and still run."""
        with self._lock:
            self._hanging = {thread for thread in self._hanging if thread.is_alive()}
            return len(self._hanging)

    def run(self, work: Work, cancel: Cancel, seconds: float, fields: Mapping[str, str]) -> str:
        """What `work` gives; it gets a stop flag of its own, which is set with `cancel` and when its time is up.

        Raises Failed, or Cancelled as soon as `cancel` is set; the thread may then go on for a while.
        """
        run = _Run(work, self._context if self._threads else None, fields)
        if not self._threads:
            run.go()
            return run.outcome()
        if self.hanging >= MOST_HANGING:
            raise Failed(HANGS)
        forget = cancel.on_set(lambda: run.give_up(cancel.reason or StopReason.REVOKED))
        thread = threading.Thread(target=run.go, name=f"neolith-tool-{fields['tool']}", daemon=True)
        thread.start()
        run.over.wait(seconds)
        forget()
        if run.ended:
            return run.outcome()
        run.give_up(StopReason.DEADLINE)
        with self._lock:
            self._hanging.add(thread)
        cancel.check()
        log.error("A tool took too long and was given up", extra={"action": "tool-abandoned", **fields})
        msg = f"The tool took longer than {seconds:g} s and was given up. It may or may not have done its work."
        raise Failed(msg)


class _Run:
    """One call. Lifetime: until its function ends, which may be after everybody has stopped waiting."""

    def __init__(
        self,
        work: Work,
        context: Callable[[], AbstractContextManager[Any]] | None,
        fields: Mapping[str, str],
    ) -> None:
        self.over = threading.Event()
        self.ended = False
        self._work = work
        self._context = context
        self._fields = fields
        self._cancel = Cancel()
        self._result: str | None = None
        self._told: str | None = None

    def go(self) -> None:
        """Call it, and keep what came of it."""
        try:
            if self._context is None:
                self._result = self._work(self._cancel)
            else:
                with self._context():
                    self._result = self._work(self._cancel)
        except ToolError as error:
            self._told = str(error)
        except Cancelled:
            self._told = FAILED
        except Exception:
            # the border to a host's code: its exception is for the log, not for the model
            log.exception("A tool failed", extra={"action": "tool-failed", **self._fields})
            self._told = FAILED
        finally:
            self.ended = True
            self.over.set()

    def give_up(self, reason: StopReason) -> None:
        """Tell the function to end, and whoever waits for it not to wait any longer."""
        self._cancel.set(reason)
        self.over.set()

    def outcome(self) -> str:
        """What it gave. Raises Failed."""
        if self._result is None:
            raise Failed(self._told or FAILED)
        return self._result
