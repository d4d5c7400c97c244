"""What a new charter changes at once: what its orchestrator listens for, and until when its work is held."""

from __future__ import annotations

from typing import Any

from ...chat.charter import Charter
from ...chat.ears import cues_of
from ...core.types import OrchestratorSnapshot
from ...store.stores import Stores
from .manners import Manners


class Listening:
    """Called whenever a charter becomes active. Lifetime: app, in one process; safe for all threads."""

    def __init__(self, stores: Stores, manners: Manners) -> None:
        self._triggers = stores.triggers
        self._manners = manners

    def heard(self, tx: Any, snapshot: OrchestratorSnapshot, charter: Charter) -> None:
        """As `write`, for who tells of a change."""
        self.write(tx, snapshot.id, charter)

    def write(self, tx: Any, orchestrator_id: str, charter: Charter) -> None:
        """Let messages find the orchestrator by what `charter`, the one in force now, listens for; in `tx`."""
        self._triggers.write(tx, orchestrator_id, [(str(cue.kind), cue.value) for cue in cues_of(charter)])
        self._manners.charter_changed(tx, orchestrator_id, charter)
