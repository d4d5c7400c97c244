"""A world whose orchestrators talk to a fake Claude by the real SDK, with tools that tests direct."""

from __future__ import annotations

import threading
from typing import Any

from flask_neolith_orchestrator import ToolContext, ToolError
from flask_neolith_orchestrator.testing import FakeClaude

from .stage import Door
from .world import World


class Tools:
    """Tools of a test: what was called with which key, and doors at which calls wait. Lifetime: a test."""

    def __init__(self, world: World) -> None:
        self.calls: list[tuple[str, str]] = []
        self.threads: list[str] = []
        self.begun = threading.Semaphore(0)
        self.door = Door()
        self.saw_stop = threading.Event()
        self._register_quick(world)
        self._register_slow(world)

    def _register_quick(self, world: World) -> None:
        tool = world.neolith.tool

        @tool(scopes=["read"])
        def weather(city: str, context: ToolContext) -> str:
            """The weather in a city.

            Args:
                city: Its name.
            """
            self._note("weather", context)
            return f"18 °C in {city}"

        @tool(scopes=["read"])
        def fail(how: str) -> str:
            """Fail in one of several ways."""
            if how == "told":
                raise ToolError("The oven is cold.")
            raise RuntimeError("password=hunter2")

        @tool
        def announce(text: str) -> str:
            """Tell everybody. It asks before it does so."""
            return f"announced {text}"

    def _register_slow(self, world: World) -> None:
        tool = world.neolith.tool

        @tool(approval="auto")
        def order(thing: str, context: ToolContext) -> str:
            """Order something. It waits at the door."""
            self._note("order", context)
            self.begun.release()
            self.door.wait()
            return f"ordered {thing}"

        @tool(approval="auto", idempotent=True)
        def book(thing: str, context: ToolContext) -> str:
            """Book something, once for each key. It waits at the door."""
            self._note("book", context)
            self.begun.release()
            self.door.wait()
            return f"booked {thing}"

        @tool(approval="auto", timeout=0.05)
        def hang(context: ToolContext) -> str:
            """Wait until it is told to end."""
            self._note("hang", context)
            self.begun.release()
            if context.cancel.wait(10):
                self.saw_stop.set()
            return "too late"

    def _note(self, name: str, context: ToolContext) -> None:
        self.calls.append((name, context.key))
        self.threads.append(threading.current_thread().name)

    @property
    def names(self) -> list[str]:
        """What was called, in order."""
        return [name for name, _ in self.calls]


def results(api: FakeClaude, request: int = -1) -> list[dict[str, Any]]:
    """The results at the end of what the API was sent: (content, is_error)."""
    content = api.requests[request].body["messages"][-1]["content"]
    return [block for block in content if block["type"] == "tool_result"]


def told(api: FakeClaude, request: int = -1) -> list[str]:
    """The results' text, without the fence."""
    found = [one["content"] for one in results(api, request)]
    return [one.removeprefix("<tool-result>\n").removesuffix("\n</tool-result>") for one in found]


def steps(world: World) -> list[tuple[str, str]]:
    """(name, state) of all calls."""
    return [(row["name"], row["state"]) for row in world.rows("Step", kind="tool")]
