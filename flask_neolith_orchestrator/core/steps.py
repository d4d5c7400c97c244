"""What a turn that uses tools has done so far: its steps, and the control signal that lays it aside.

A turn's steps are, in order of `n`: what the model said (kind model), then each of the calls that it made (kind tool),
then what it said to their results, and so on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from .model import Block, ToolCall

Asks = Literal["requester", "managers"]
"""Whose word a call waits for: of the person who asked, or of those who manage the orchestrator."""


class StepState(StrEnum):
    """A call waits for somebody's word, may be run, is being run, or has ended in one of five ways."""

    WAITING = "waiting"  # for an approval
    APPROVED = "approved"  # by a person or by the charter: it may be run, and nobody has begun
    RUNNING = "running"  # begun; where nobody works on the turn, nobody knows whether it has happened
    DENIED = "denied"
    EXPIRED = "expired"  # nobody decided in time
    CANCELLED = "cancelled"  # the turn ended before anybody decided
    DONE = "done"
    FAILED = "failed"  # its result says why


@dataclass(frozen=True, slots=True)
class Planned:
    """What is to become of a call: approved, waiting (until `expires_at`, epoch seconds), or failed with a `result`.

    `asks` says whose word a waiting one needs.
    A failed one is never run: nobody knows the tool, its arguments cannot be used, or it is refused.
    """

    call: ToolCall
    state: StepState
    result: str | None = None
    expires_at: float | None = None
    asks: Asks = "requester"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a turn, as it was when this was read. `key` is a call's idempotency key; it never changes.

    A model's step has its `content` in blocks, and in `result` its text as people saw it. Times are epoch seconds.
    """

    id: str
    turn_id: str
    n: int
    kind: Literal["model", "tool"]
    key: str
    state: StepState
    call: ToolCall | None = None
    content: tuple[Block, ...] = field(default=())
    result: str | None = None
    created_at: float = 0.0
    expires_at: float | None = None
    decided_at: float | None = None
    decided_by: str | None = None
    ended_at: float | None = None


class Parked(Exception):
    """Raised inside a turn that cannot go on before somebody has decided about `steps`. Never shown to anybody.

    As with `Cancelled`, nothing went wrong.
    """

    def __init__(self, steps: tuple[Step, ...]) -> None:
        super().__init__()
        self.steps = steps
