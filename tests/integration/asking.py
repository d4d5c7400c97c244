"""A model that calls a tool which asks, and the tool: for tests of what waits for somebody's word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask_neolith_orchestrator.core.cancel import Cancel
from flask_neolith_orchestrator.core.model import (
    ModelEvent,
    ModelRequest,
    ModelStop,
    TextDelta,
    ToolCall,
    ToolResult,
    ToolSpec,
    UsageReport,
)
from flask_neolith_orchestrator.core.steps import Asks, Planned, Step, StepState
from flask_neolith_orchestrator.core.types import Usage
from flask_neolith_orchestrator.runtime.tools.toolbox import Done

from .stage import Stage
from .world import World

SECRET = "the launch is on friday"


class Caller(Stage):
    """Calls `announce` so many times at once, and then tells what came of it; `fails` of its last answers break."""

    def __init__(self, calls: int = 1) -> None:
        super().__init__()
        self.calls = calls
        self.fails = 0
        self.told: list[list[ToolResult]] = []

    def stream(self, request: ModelRequest, cancel: Cancel) -> Iterator[ModelEvent]:
        """One call of the model."""
        blocks = [block for one in request.messages if isinstance(one.content, tuple) for block in one.content]
        results = [block for block in blocks if isinstance(block, ToolResult)]
        if not results:
            calls = [ToolCall(f"call_{n}", "announce", {"text": SECRET}) for n in range(self.calls)]
            yield TextDelta("I would announce it.")
            yield from calls
            yield UsageReport(Usage(10, 5))
            yield ModelStop("tool_use", self.name, content=("I would announce it.", *calls))
            return
        self.told.append(results)
        if self.fails:
            self.fails -= 1
            raise RuntimeError("the process stumbles")
        yield TextDelta(f"Then: {results[0].content}")
        yield UsageReport(Usage(10, 5))
        yield ModelStop("end_turn", self.name)


class Box:
    """One tool, `announce`, which always asks. `runs` are the arguments of the calls that were run."""

    specs: tuple[ToolSpec, ...] = (ToolSpec("announce", "Tell everybody.", {"type": "object"}),)

    def __init__(self) -> None:
        self.runs: list[Any] = []
        self.asks: Asks = "requester"

    def plan(self, call: ToolCall) -> Planned:
        """It asks."""
        return Planned(call, StepState.WAITING, asks=self.asks)

    def run(self, step: Step, cancel: Cancel, seconds: float) -> Done:
        """It is done."""
        assert step.call is not None
        self.runs.append(step.call.arguments)
        return Done("announced")

    def may_repeat(self, name: str) -> bool:
        """No."""
        return False


def give(world: World, box: Box) -> World:
    """Let every turn of a world have this box."""
    object.__setattr__(world.house.study, "toolbox_for", lambda *_about: box)
    return world
