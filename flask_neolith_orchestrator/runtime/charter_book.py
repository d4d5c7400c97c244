"""The charters that hold now, as the rest of the engine room reads them."""

from __future__ import annotations

from typing import Any

from ..chat.charter import load_charter
from ..core.types import Charter, OrchestratorSnapshot


class CharterBook:
    """Gives the charter in force of an orchestrator. Lifetime: app, in one process; safe for all threads."""

    def of(self, tx: Any, snapshot: OrchestratorSnapshot) -> Charter:
        """What holds for a turn that begins now. Raises StartFailed, naming every bad field."""
        return load_charter(snapshot)
