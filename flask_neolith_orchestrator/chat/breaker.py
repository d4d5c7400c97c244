"""A breaker per model: when a provider is down, not every turn has to find out for itself."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

FAILURES_TO_OPEN: Final = 5
"""So many failed calls in a row open the breaker."""

FIRST_HOLD: Final = 1.0
"""Seconds of the first pause; each further one is twice as long."""

LONGEST_HOLD: Final = 30.0
"""Seconds that a pause lasts at most."""

PROBE_SECONDS: Final = 90.0
"""After so long a probe that told nothing is forgotten and another call may try."""

_LOOK_AGAIN: Final = 1.0  # seconds; while a probe is on its way the answer may come any moment


@dataclass(slots=True)
class _Line:
    """What is known of one model. Times are monotonic."""

    failures: int = 0
    holds: int = 0
    open_until: float | None = None  # None: closed
    probe_until: float | None = None  # None: no probe is on its way
    answered_at: float | None = None


class Breaker:
    """Holds calls off while a model is unavailable. Lifetime: app, in one process. Safe to use from any thread.

    Closed: calls pass. Open, after FAILURES_TO_OPEN failures in a row: they wait. Half-open, after the pause: one
    call may try; if it fails the next pause is longer. Any sign of life closes it at once. `jitter` gives a number
    from 0 to 1: pauses are between half and all of their length, so that processes do not come back in step.
    """

    def __init__(
        self, *, monotonic: Callable[[], float] = time.monotonic, jitter: Callable[[], float] = random.random
    ) -> None:
        self._monotonic = monotonic
        self._jitter = jitter
        self._lock = threading.Lock()
        self._lines: dict[str, _Line] = {}

    def wait_seconds(self, model: str) -> float:
        """How long new calls should hold off; 0 if one may be made. Changes nothing."""
        with self._lock:
            return self._wait(self._line(model))

    def admit(self, model: str) -> float:
        """As `wait_seconds`, but 0 here is leave to call now: in the half-open state only one caller gets it.

        Whoever gets 0 ends with `answered`, `failed` or `released`.
        """
        with self._lock:
            line = self._line(model)
            wait = self._wait(line)
            if line.open_until is not None and not wait:
                line.probe_until = self._monotonic() + PROBE_SECONDS
            return wait

    def reached(self, model: str) -> None:
        """The provider said something: it is alive."""
        with self._lock:
            line = self._line(model)
            self._lines[model] = _Line(answered_at=line.answered_at)

    def answered(self, model: str) -> None:
        """A call was answered completely."""
        with self._lock:
            self._lines[model] = _Line(answered_at=self._monotonic())

    def failed(self, model: str) -> None:
        """A call found the provider unavailable."""
        with self._lock:
            line = self._line(model)
            line.failures += 1
            line.probe_until = None
            half_open = line.open_until is not None and line.open_until <= self._monotonic()
            # A failure while it is open is of a call that began before: it tells nothing new.
            if half_open or (line.open_until is None and line.failures >= FAILURES_TO_OPEN):
                self._open(line)

    def released(self, model: str) -> None:
        """A call ended without telling anything of the provider: it was stopped."""
        with self._lock:
            self._line(model).probe_until = None

    def answered_since(self, model: str, moment: float) -> bool:
        """Whether any call was answered completely after `moment` (monotonic seconds).

        If a stream was cut at `moment` and the provider has answered others since, the fault may be the turn's own.
        """
        with self._lock:
            answered_at = self._line(model).answered_at
            return answered_at is not None and answered_at > moment

    def _line(self, model: str) -> _Line:
        line = self._lines.get(model)
        if line is None:
            line = self._lines[model] = _Line()
        return line

    def _wait(self, line: _Line) -> float:
        if line.open_until is None:
            return 0.0
        now = self._monotonic()
        if line.probe_until is not None and line.probe_until > now:
            return min(line.probe_until - now, _LOOK_AGAIN)
        return max(line.open_until - now, 0.0)

    def _open(self, line: _Line) -> None:
        hold = min(FIRST_HOLD * 2**line.holds, LONGEST_HOLD)
        line.holds = min(line.holds + 1, 10)
        line.open_until = self._monotonic() + hold * (0.5 + self._jitter() / 2)
