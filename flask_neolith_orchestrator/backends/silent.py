"""The channel of an app without Flask-SocketIO: nobody listens, and nothing breaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class SilentChannel:
    """Implements `core.ports.Channel` and `Crowd`. Lifetime: app."""

    def emit(self, event: str, payload: Mapping[str, Any], room: str) -> None:
        """Nobody hears it."""

    def emit_list(self, event: str, payloads: Sequence[Mapping[str, Any]], room: str) -> None:
        """Nobody hears it."""

    def is_heard(self, room: str) -> bool:
        """No."""
        return False

    def cut(self, room: str) -> None:
        """There is nobody to cut off."""

    def health(self) -> Mapping[str, Any]:
        """Silence is no failure."""
        return {"ok": True, "silent": True}
