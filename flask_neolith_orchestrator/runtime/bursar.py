"""Tells people of budgets: those who manage an organization, or the person whose own budget it is."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ..core.events import organization_room, user_room
from ..core.money import EXHAUSTED, Scope
from ..core.ports import Channel
from ..store.budgets import Mark
from ..store.stores import Stores
from ..store.views import iso
from .manager import OrchestratorDaemonManager

log = logging.getLogger("flask_neolith_orchestrator")


class Bursar:
    """Tells of marks, each once over all processes. Lifetime: app, in one process. Nothing here raises."""

    def __init__(self, stores: Stores, manager: OrchestratorDaemonManager, channel: Channel) -> None:
        self._stores = stores
        self._manager = manager
        self._channel = channel

    def told(self, marks: Sequence[Mark], orchestrator_id: str) -> None:
        """Shares of budgets that were reached by a call of this orchestrator."""
        for one in marks:
            try:
                self._tell(one, orchestrator_id)
            except Exception:
                # the border: a call must not fail for what nobody heard
                log.exception("A budget could not be told of", extra={"action": "budget-tell-failed"})

    def _tell(self, one: Mark, orchestrator_id: str) -> None:
        purse = one.purse
        log.warning(
            "%d %% of the budget of %s %s for this %s are spent",
            one.percent,
            purse.scope,
            purse.scope_id,
            purse.period,
            extra={"action": "budget-threshold", "orchestrator": orchestrator_id},
        )
        self._manager.emit(
            "budget:threshold",
            orchestrator_id=orchestrator_id,
            scope=str(purse.scope),
            scope_id=purse.scope_id,
            period=str(purse.period),
            percent=one.percent,
            until=one.until,
        )
        payload = {
            "orchestratorId": orchestrator_id,
            "scope": str(purse.scope),
            "scopeId": purse.scope_id,
            "period": str(purse.period),
            "percent": one.percent,
            "until": iso(one.until),
        }
        with self._stores.database.read() as tx:
            snapshot = self._stores.people.snapshot(tx, orchestrator_id)
            organization = "" if snapshot is None else snapshot.organization_id
            managers = self._stores.people.managers_of(tx, organization) if organization else []
        for user_id in [purse.scope_id] if purse.scope is Scope.PERSON else managers:
            self._channel.emit("budget:threshold", payload, user_room(user_id))
        if one.percent == EXHAUSTED and purse.scope is not Scope.PERSON and snapshot is not None:
            paused = {"reason": "budget", "until": iso(one.until)}
            status = {"orchestratorId": snapshot.id, "status": "running", "reason": "budget", "paused": paused}
            self._channel.emit("daemon:status", status, organization_room(organization))
