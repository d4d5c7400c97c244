"""Why an orchestrator does not answer now although it runs, in one shape for hours, budgets and whatever comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...store.chat.views import iso


@dataclass(frozen=True, slots=True)
class Pause:
    """It is away: `reason` is hours, budget ...; `until` in epoch seconds, or None where nobody knows."""

    reason: str
    until: float | None = None

    def shown(self) -> dict[str, Any]:
        """As the wire shows it."""
        return {"reason": self.reason, "until": iso(self.until)}


Source = Callable[[Any, Sequence[str]], Mapping[str, Pause]]
"""Says which of some orchestrators pause for one reason, in a transaction that the caller brings."""


class Pauses:
    """Asks every reason. Lifetime: app, in one process; sources are added while it is wired."""

    def __init__(self) -> None:
        self._sources: list[Source] = []

    def add(self, source: Source) -> None:
        """Ask this one, too."""
        self._sources.append(source)

    def of(self, tx: Any, orchestrator_ids: Sequence[str]) -> dict[str, Pause]:
        """Those that pause, each with the reason that lasts longest."""
        found: dict[str, Pause] = {}
        for source in self._sources:
            for orchestrator_id, pause in source(tx, orchestrator_ids).items():
                known = found.get(orchestrator_id)
                if known is None or _lasts(pause) > _lasts(known):
                    found[orchestrator_id] = pause
        return found


def _lasts(pause: Pause) -> float:
    return float("inf") if pause.until is None else pause.until
