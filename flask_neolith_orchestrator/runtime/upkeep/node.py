"""This process among the others: it joins, it leaves, and where nobody is left, everybody is told."""

from __future__ import annotations

import logging
from typing import Any

from ...core.availability import NO_NODE
from ...core.ports import Channel, Dispatcher
from ...core.types import OrchestratorStatus
from ...store.stores import Stores
from ..broadcast.news import News
from ..daemons.lives import BATCH, MANY
from ..daemons.manager import OrchestratorDaemonManager

log = logging.getLogger("flask_neolith_orchestrator")


class NodeLife:
    """Joins and leaves. Lifetime: app, in one process."""

    def __init__(self, stores: Stores, manager: OrchestratorDaemonManager, news: News, dispatcher: Dispatcher):
        self._stores = stores
        self._manager = manager
        self._news = news
        self._dispatcher = dispatcher
        self._warned = False

    def join(self) -> None:
        """Become a node. If no other is alive, what the rows say of running daemons is not true any more."""
        nodes = self._stores.nodes
        if not nodes.lock():
            log.warning(
                "NEOLITH_STATE_DIR cannot be written: a killed process is noticed by its leases only",
                extra={"action": "no-lock-file"},
            )
        with self._stores.database.write() as tx:
            # those who were killed could not say so: they were there when they were seen last
            changed = self._unbacked(tx, nodes.last_seen(tx)) if nodes.join(tx, self._dispatcher.threads) else []
        self._tell(changed)

    def warn_if_apart(self, channel: Channel) -> None:
        """Say once that browsers of other processes hear nothing of this one, where nothing carries it there."""
        if self._warned or channel.health().get("queue") is not False or not self._stores.nodes.others():
            return
        self._warned = True
        log.warning(
            "Several processes run on this database. For live updates between them give SocketIO a message_queue.",
            extra={"action": "no-message-queue"},
        )

    def leave(self) -> None:
        """Be a node no more; the last one leaves the rows truthful. What is wanted stays wanted."""
        nodes = self._stores.nodes
        with self._stores.database.write() as tx:
            changed = self._unbacked(tx) if nodes.leave(tx) else []
        nodes.close()
        self._tell(changed)

    def _unbacked(self, tx: Any, since: float | None = None) -> list[str]:
        """Nobody is alive, so nobody runs. Decided in the transaction in which nodes come and go, one by one."""
        changed = self._stores.daemons.unbacked(tx)
        self._stores.records.history.add(tx, changed, "stopped", reason=NO_NODE, at=since)
        for start in range(0, len(changed), BATCH):
            some = changed[start : start + BATCH]
            self._stores.people.set_statuses(tx, some, OrchestratorStatus.OFFLINE)
        return changed

    def _tell(self, changed: list[str]) -> None:
        """Everybody is told, so that a later resume is a change that is told too."""
        daemons = self._manager.daemons_for(changed)
        if len(daemons) > MANY:
            self._news.presences([daemon.orchestrator for daemon in daemons], OrchestratorStatus.OFFLINE)
        for daemon in daemons:
            if len(daemons) <= MANY:
                self._news.presence(daemon.orchestrator, OrchestratorStatus.OFFLINE)
                self._news.daemon("daemon:status", daemon.orchestrator, {"status": "stopped", "reason": "no-node"})
            daemon.emit("stopped", reason="no-node")
            self._manager.emit("daemon:stopped", orchestrator_id=daemon.id, reason="no-node")
