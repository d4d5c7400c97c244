"""The fake Claude as a process that is never killed: it answers what is asked and writes down who called and when.

Each line of its ledger is the begin or the end of a call; the caller's API key says which server process it was.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask_neolith_orchestrator.testing import FakeClaude, Step, text
from flask_neolith_orchestrator.testing.fake_claude_wire import Handler

from .ledger import write_down
from .questions import HANDLES, answer, asked

LEDGER = "claude-calls"
ADDRESS = "claude-url"

MINUTES = "Now write the new summary"
"""What somebody is asked who sums a long talk up, apart from all turns: that answers nobody."""


class LoggedHandler(Handler):
    """A connection that tells its server when an answer is complete, before the client can know it."""

    def _event(self, name: str, data: Mapping[str, Any]) -> None:
        if name == "message_delta" and isinstance(self.host, LoggedClaude):
            self.host.complete()
        super()._event(name, data)


class LoggedClaude(FakeClaude):
    """A FakeClaude that keeps a ledger. Lifetime: its `with` block."""

    def __init__(self, ledger: Path) -> None:
        super().__init__()
        self._ledger = ledger
        self._numbers = itertools.count(1)
        self._mine = threading.local()
        self._server.RequestHandlerClass = type("_Handler", (LoggedHandler,), {"host": self})

    def received(self, path: str, headers: Mapping[str, str], body: object) -> None:
        """Remember who calls on this thread; the bodies need not be kept."""
        self._mine.who = headers.get("x-api-key") or headers["authorization"].partition(" ")[2]

    def next_step(self, body: Mapping[str, Any]) -> Step:
        """The answer to what is asked, after writing down that the call began."""
        handle, last = HANDLES[body["model"]], _last(body)
        if MINUTES in last:
            self._mine.call, self._mine.complete = "", True
            return text("They asked, and were answered.")
        numbers, seconds = asked(handle, last)
        call = f"c{next(self._numbers)}"
        self._mine.call, self._mine.complete = call, False
        write_down(self._ledger, call=call, who=self._mine.who, handle=handle, asked=numbers, begin=time.monotonic())
        said = answer(numbers, call)
        return text(said, gap=seconds / (len(said) / 6 + 5))

    def complete(self) -> None:
        """The last text has been sent, and the stop reason comes now."""
        self._mine.complete = True
        if self._mine.call:
            write_down(self._ledger, call=self._mine.call, end=time.monotonic(), cut=False)

    def closed(self, cut: bool) -> None:
        """Write down that the caller went away before the end."""
        if not self._mine.complete:
            write_down(self._ledger, call=self._mine.call, end=time.monotonic(), cut=True)
        super().closed(cut)


def _last(body: Mapping[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    if isinstance(content, str):
        return content
    return " ".join(block["text"] for block in content if block["type"] == "text")


def serve(folder: Path) -> None:
    """Serve until killed, at the address in the file ADDRESS."""
    with LoggedClaude(folder / LEDGER) as api:
        unfinished = folder / f"{ADDRESS}-"
        unfinished.write_text(api.url)
        unfinished.rename(folder / ADDRESS)
        threading.Event().wait()
