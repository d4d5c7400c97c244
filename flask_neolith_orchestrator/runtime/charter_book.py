"""The charters that hold now, as the rest of the engine room reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..chat.charter import Charter
from ..chat.charter_reading import EMPTY, in_force, load_charter
from ..core.errors import StartFailed
from ..core.types import OrchestratorSnapshot
from ..store.people import People


class CharterBook:
    """Gives the charter in force of an orchestrator. Lifetime: app, in one process; safe for all threads."""

    def __init__(self, people: People) -> None:
        self._people = people

    def of(self, tx: Any, snapshot: OrchestratorSnapshot) -> Charter:
        """What holds for a turn that begins now. Raises StartFailed, naming every bad field."""
        return load_charter(snapshot)

    def behaviours(self, tx: Any, orchestrator_ids: Sequence[str]) -> Mapping[str, Charter]:
        """What holds for messages that arrive now, by orchestrator; one that cannot be used is as if it were empty."""
        return {one.id: self._usable(tx, one) for one in self._people.snapshots(tx, orchestrator_ids)}

    def _usable(self, tx: Any, snapshot: OrchestratorSnapshot) -> Charter:
        try:
            return self.of(tx, snapshot)
        except StartFailed:
            return in_force(EMPTY, snapshot)
