"""How much of the time a daemon that should run did run, from the changes that were written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

State = Literal["running", "stopped", "restarting", "error"]

NO_NODE: Final = "no-node"
"""Why it stopped where no process lived any more that could run it: nobody wanted that."""

_STATES: Final[dict[str, State]] = {
    "started": "running",
    "restarted": "running",
    "stopped": "stopped",
    "died": "restarting",
    "failed": "error",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a daemon: `event` is started, stopped, died, restarted or failed; `at` is in epoch seconds."""

    id: str
    at: float
    event: str
    reason: str | None = None
    error: str | None = None
    restarts: int | None = None

    @property
    def state(self) -> State:
        """What the daemon is from then on."""
        return _STATES[self.event]


@dataclass(frozen=True, slots=True)
class Availability:
    """Seconds in which it ran (`up`) and in which it should have run and did not (`down`)."""

    up: float = 0.0
    down: float = 0.0

    @property
    def percent(self) -> float | None:
        """Of the time in which it should have run; None if that was never."""
        whole = self.up + self.down
        return None if whole <= 0 else 100 * self.up / whole


def availability(before: Change | None, changes: Sequence[Change], begin: float, end: float) -> Availability:
    """From the last change before `begin` and those up to `end`, oldest first.

    What a person or a logout stopped counts as neither. Nothing is known of the time before the first change.
    """
    up = down = 0.0
    now, since = before, begin
    for change in (*changes, None):
        until = end if change is None else min(max(change.at, since), end)
        if now is not None and now.state == "running":
            up += until - since
        elif now is not None and (now.state != "stopped" or now.reason == NO_NODE):
            down += until - since
        now, since = change, until
    return Availability(up, down)
