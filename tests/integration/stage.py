"""A model for tests that are about who runs when: every call is a scene that the test directs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from flask_neolith_orchestrator.core.cancel import Cancel
from flask_neolith_orchestrator.core.model import ModelEvent, ModelRequest, ModelStop, TextDelta, UsageReport
from flask_neolith_orchestrator.core.types import Usage

PATIENCE = 10.0
"""Seconds after which a scene that nobody continues fails its test."""


class Door:
    """Closed until opened, for scenes and for tests. A scene that is cancelled comes through at once."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open = False

    def open(self) -> None:
        """Let everybody through, now and later."""
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def wait(self, cancel: Cancel | None = None, timeout: float = PATIENCE) -> None:
        """Wait until it is open. Raises Cancelled for a cancelled scene, TimeoutError if nobody opens it."""
        forget = cancel.on_set(self._knock) if cancel is not None else lambda: None
        try:
            with self._changed:
                came = self._changed.wait_for(lambda: self._open or (cancel is not None and cancel.is_set()), timeout)
        finally:
            forget()
        if cancel is not None:
            cancel.check()
        if not came:
            raise TimeoutError("Nobody opened the door.")

    def _knock(self) -> None:
        with self._changed:
            self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class Scene:
    """One call of the model. `asked` is the last thing a person said, `number` counts calls from 1."""

    number: int
    request: ModelRequest
    cancel: Cancel

    @property
    def asked(self) -> str:
        """The last message of the request."""
        return self.request.messages[-1].text


Script = Callable[[Scene], Iterable[str]]


def echo(scene: Scene) -> Iterable[str]:
    """Without direction: say what was asked."""
    yield f"You said: {scene.asked}"


class Stage:
    """A model port. Lifetime: a test; used by many threads. `script` says what happens in a call."""

    name = "stage"

    def __init__(self, script: Script = echo) -> None:
        self.script = script
        self._changed = threading.Condition()
        self._scenes: list[Scene] = []
        self.running = 0
        self.most = 0

    @property
    def scenes(self) -> list[Scene]:
        """All calls so far."""
        with self._changed:
            return list(self._scenes)

    def wait_for(self, calls: int = 1, timeout: float = PATIENCE) -> list[Scene]:
        """The calls, once there are so many. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._scenes) >= calls, timeout):
                raise TimeoutError(f"{len(self._scenes)} of {calls} calls came.")
            return list(self._scenes)

    def wait_running(self, count: int, timeout: float = PATIENCE) -> None:
        """Wait until exactly so many calls go on. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.running == count, timeout):
                raise TimeoutError(f"{self.running} calls go on, not {count}.")

    def check(self) -> str | None:
        """Nothing is needed."""
        return None

    def stream(self, request: ModelRequest, cancel: Cancel) -> Iterator[ModelEvent]:
        """Play the scene."""
        with self._changed:
            scene = Scene(len(self._scenes) + 1, request, cancel)
            self._scenes.append(scene)
            self.running += 1
            self.most = max(self.most, self.running)
            self._changed.notify_all()
        try:
            for text in self.script(scene):
                cancel.check()
                yield TextDelta(text)
        finally:
            with self._changed:
                self.running -= 1
                self._changed.notify_all()
        cancel.check()
        yield UsageReport(Usage(10, 5))
        yield ModelStop("end_turn", self.name)

    def close(self) -> None:
        """Nothing to close."""
