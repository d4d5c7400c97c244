"""What runs turns does not know daemons: it asks whoever owns them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ...core.types import Claim, OrchestratorStatus
from ...store.turns.endings import Ended, Outcome


class Owner(Protocol):
    """What the worker asks of whoever owns the daemons."""

    def limit_of(self, orchestrator_id: str) -> int:
        """Slots of this orchestrator if its daemon takes work in this process, else 0."""
        ...

    def settled(self, tx: Any, claim: Claim, settled: tuple[Outcome, list[Ended]] | None) -> None:
        """An attempt is being settled in `tx`, which may still be rolled back; None if the fence has moved."""
        ...

    def turn_ended(self, claim: Claim, outcome: Outcome, ended: Sequence[Ended]) -> None:
        """An attempt has been settled."""
        ...

    def slots_changed(self, orchestrator_id: str, status: OrchestratorStatus) -> None:
        """All slots became taken (BUSY), or one is free again (ONLINE)."""
        ...
