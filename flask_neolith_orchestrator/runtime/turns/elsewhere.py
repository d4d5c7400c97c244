"""Turns of other processes: their own renewal sees what was asked of them; telling makes it see at once."""

from __future__ import annotations

from ...core.cancel import StopReason
from ...core.ports import Dispatcher
from .worker import Worker


class Anywhere:
    """Ends turns in whichever process they run. Lifetime: app, in one process."""

    def __init__(self, worker: Worker, dispatcher: Dispatcher) -> None:
        self._worker = worker
        self._dispatcher = dispatcher

    def cancel(self, turn_id: str, reason: StopReason) -> bool:
        """End a turn; False if it does not run here: its row says what is wanted, and its process is told to look."""
        if self._worker.cancel(turn_id, reason):
            return True
        self._dispatcher.tell()
        return False
