"""What a turn can do besides writing, and by whose leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ...core.cancel import Cancel
from ...core.model import ToolCall, ToolSpec
from ...core.steps import Planned, Step, StepState


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a call, as the model is told."""

    result: str
    is_error: bool = False


class Toolbox(Protocol):
    """The tools of one turn. Lifetime: the attempt."""

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """What the model is told of. The same for the same charter, so that providers can cache it."""
        ...

    def plan(self, call: ToolCall) -> Planned:
        """What is to become of a call: run, asked about, or refused. Writes nothing."""
        ...

    def run(self, step: Step, cancel: Cancel, seconds: float) -> Done:
        """Run it within `seconds`. Raises Cancelled, and nothing else, once `cancel` is set."""
        ...

    def may_repeat(self, name: str) -> bool:
        """Whether a call that may have happened can be made again, with the same key, and does no harm."""
        ...


class NoTools:
    """The toolbox of those who have none. Lifetime: any."""

    specs: tuple[ToolSpec, ...] = ()

    def plan(self, call: ToolCall) -> Planned:
        """There is no such tool."""
        return Planned(call, StepState.FAILED, unknown(call.name))

    def run(self, step: Step, cancel: Cancel, seconds: float) -> Done:
        """There is no such tool."""
        return Done(unknown("" if step.call is None else step.call.name), is_error=True)

    def may_repeat(self, name: str) -> bool:
        """Never."""
        return False


def unknown(name: str) -> str:
    """What the model is told that calls a tool which it does not have."""
    return f"There is no tool {name[:64]!r} here."
