"""Sessions: stretches of a conversation that belong together, and what is kept of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SessionState(StrEnum):
    """Life of a session: open until it has been quiet for NEOLITH_SESSION_IDLE or somebody closes it."""

    OPEN = "open"
    IDLE = "idle"  # quiet for so long that the next turn begins another one, which carries its summary on
    CLOSED = "closed"  # by a person: what was said in it is in no later prompt


@dataclass(frozen=True, slots=True)
class Session:
    """The session of a turn as it was when this was read. Times are epoch seconds.

    Its lines are those after `since`; up to `carried_until` they are of the session before it, which went idle.
    `summary` tells what the messages `sources` said and stands in for them. `is_stale` says that there was a summary,
    which was thrown away because one of its sources had changed. `revision` counts changes and is the fence of
    whoever writes a summary.
    """

    id: str
    since: float = 0.0
    carried_until: float | None = None
    summary: str | None = None
    sources: frozenset[str] = frozenset()
    is_stale: bool = False
    revision: int = 0
