"""Tells people of budgets: those who manage an organization, or the person whose own budget it is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from ...core.events import organization_room, user_room
from ...core.money import Scope
from ...core.ports import Channel
from ...store.chat.views import iso
from ...store.records.budgets import Mark
from ...store.stores import Stores
from ..broadcast.pauses import Pause

log = logging.getLogger("flask_neolith_orchestrator")


class Bursar:
    """Implements `tab.Teller`; `emit` is the manager's. Lifetime: app, in one process. Nothing here raises."""

    def __init__(self, stores: Stores, emit: Callable[..., object], channel: Channel) -> None:
        self._stores = stores
        self._emit = emit
        self._channel = channel

    def marks(self, marks: Sequence[Mark], orchestrator_id: str) -> None:
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
        self._emit(
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

    def paused(self, orchestrator_id: str, pause: Pause | None) -> None:
        """Everybody in the organization sees that its calls are refused, or are not any more."""
        try:
            with self._stores.database.read() as tx:
                snapshot = self._stores.people.snapshot(tx, orchestrator_id)
            if snapshot is not None:
                shown = None if pause is None else pause.shown()
                status = {"orchestratorId": snapshot.id, "status": "running", "reason": None, "paused": shown}
                self._channel.emit("daemon:status", status, organization_room(snapshot.organization_id))
        except Exception:
            # the border: a call must not fail for what nobody heard
            log.exception("A pause could not be told of", extra={"action": "budget-tell-failed"})
