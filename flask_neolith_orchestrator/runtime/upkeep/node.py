"""This process among the others: it joins, it leaves, and where nobody is left, everybody is told."""

from __future__ import annotations

import logging
from typing import Any

from ...core.availability import NO_NODE
from ...core.ports import Channel, Dispatcher, Neighbourly, Neighbours
from ...core.types import OrchestratorStatus
from ...store.stores import Stores
from ..broadcast.news import News
from ..daemons.lives import BATCH, MANY
from ..daemons.manager import OrchestratorDaemonManager

log = logging.getLogger("flask_neolith_orchestrator")

LOOK = 30.0
"""Seconds between two looks at the rows, while nobody runs turns."""


class NodeLife:
    """Joins and leaves. Lifetime: app, in one process."""

    def __init__(
        self,
        stores: Stores,
        manager: OrchestratorDaemonManager,
        news: News,
        dispatcher: Dispatcher,
        neighbours: Neighbours,
        channel: Channel,
    ) -> None:
        self._stores = stores
        self._manager = manager
        self._news = news
        self._dispatcher = dispatcher
        self._neighbours = neighbours
        self._channel = channel
        self._warned: set[str] = set()
        self._unseen: dict[str, float] = {}  # since when, by the id of one that may only be slow
        self._settled_at = float("-inf")

    def join(self) -> None:
        """Become a node. If no other that runs turns is alive, what the rows say of running daemons is not true."""
        nodes = self._stores.nodes
        if not nodes.lock():
            log.warning(
                "NEOLITH_STATE_DIR cannot be written: a killed process is noticed by its leases only",
                extra={"action": "no-lock-file"},
            )
        elif isinstance(self._channel, Neighbourly):
            self._channel.live_beside(self._neighbours)
            self._neighbours.start(nodes.id)  # before the row: whoever is in it can be told something

        def join(tx: Any) -> list[str]:
            # those who were killed could not say so: they were there when they were seen last
            return self._unbacked(tx, nodes.last_seen(tx)) if nodes.join(tx, self._dispatcher.threads) else []

        self._tell(self._stores.database.run(join))
        self._look_for_others()

    def watch(self) -> None:
        """Say of the daemons that nobody runs them, where the last process that could was killed: looked at each sweep.

        One that has only not been seen has a lease more to be seen, from when that was noticed: writing may take long,
        and a look that failed begins anew. One that is wrongly thought gone writes that its daemons run (`reclaim`).
        """
        nodes, before, self._unseen = self._stores.nodes, self._unseen, {}
        if nodes.capacity:
            return
        (backed, slow), now = nodes.backing(), self._stores.database.clock.monotonic()
        self._unseen = {one: before.get(one, now) for one in slow}
        if backed:
            self._settled_at = float("-inf")
        if backed or any(now - since < nodes.lease for since in self._unseen.values()):
            return
        if now - self._settled_at >= LOOK:  # again once in a while: a start may have been written at the same time
            self._tell(self._stores.database.run(self._deserted))
            self._settled_at = now

    def _deserted(self, tx: Any) -> list[str]:
        nodes = self._stores.nodes
        return self._unbacked(tx, nodes.last_seen(tx)) if nodes.deserted(tx) else []

    def look_around(self) -> None:
        """Say once each that browsers of other processes hear nothing of this one, and that nobody runs turns."""
        self._look_for_others()
        if not self._dispatcher.threads and not self._stores.nodes.threads():
            self._warn(
                "no-turns", "No process runs turns. Start `flask neolith run`, or with NEOLITH_ENGINE=celery a worker."
            )
        else:
            self._warned.discard("no-turns")

    def _look_for_others(self) -> None:
        if self._channel.health().get("queue") is False and set(self._stores.nodes.others()) - self._neighbours.names():
            self._warn(
                "no-message-queue",
                "Processes that cannot hear each other run on this database. For live updates between machines give "
                "SocketIO a message_queue.",
            )

    def _warn(self, action: str, what: str) -> None:
        if action not in self._warned:
            self._warned.add(action)
            log.warning(what, extra={"action": action})

    def leave(self) -> None:
        """Be a node no more; the last that ran turns leaves the rows truthful. What is wanted stays wanted."""
        nodes = self._stores.nodes
        changed = self._stores.database.run(lambda tx: self._unbacked(tx) if nodes.leave(tx) else [])
        nodes.close()
        self._tell(changed)

    def _unbacked(self, tx: Any, since: float | None = None) -> list[str]:
        """Nobody who runs turns is alive, so no daemon runs. Decided where nodes come and go, one by one."""
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
