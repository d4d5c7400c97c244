"""This process among the others: it joins, it leaves, and where nobody is left, everybody is told."""

from __future__ import annotations

import logging

from ..core.types import OrchestratorStatus
from ..store.stores import Stores
from .manager import OrchestratorDaemonManager
from .news import News

log = logging.getLogger("flask_neolith_orchestrator")


class NodeLife:
    """Joins and leaves. Lifetime: app, in one process."""

    def __init__(self, stores: Stores, manager: OrchestratorDaemonManager, news: News) -> None:
        self._stores = stores
        self._manager = manager
        self._news = news

    def join(self) -> None:
        """Become a node. If no other is alive, what the rows say of running daemons is not true any more."""
        nodes = self._stores.nodes
        if not nodes.lock():
            log.warning(
                "NEOLITH_STATE_DIR cannot be written: a killed process is noticed by its leases only",
                extra={"action": "no-lock-file"},
            )
        if not nodes.others():
            self.tell_unbacked()
        nodes.register()

    def tell_unbacked(self) -> None:
        """Nobody is alive, so nobody runs: everybody is told, so that a later resume is a change that is told too."""
        stores = self._stores
        with stores.database.write() as tx:
            changed = stores.daemons.unbacked(tx)
            for orchestrator_id in changed:
                stores.people.set_status(tx, orchestrator_id, OrchestratorStatus.OFFLINE)
        for daemon in self._manager.daemons_for(changed):
            self._news.presence(daemon.orchestrator, OrchestratorStatus.OFFLINE)

    def leave(self) -> None:
        """Be a node no more; the last one leaves the rows truthful. What is wanted stays wanted."""
        if not self._stores.nodes.others():
            self.tell_unbacked()
        self._stores.nodes.close()
