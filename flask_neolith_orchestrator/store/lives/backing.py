"""Rows that say that a daemon runs are true only while a process lives that can run its turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, update

from ...core.availability import NO_NODE
from ...core.types import DaemonStatus, Wanted
from .daemons import Daemons

CLAIMS_TO_RUN = tuple(str(one) for one in (DaemonStatus.RUNNING, DaemonStatus.INITIALIZING, DaemonStatus.STOPPING))
"""States that only a process with threads for turns can back."""


class BackedDaemons(Daemons):
    """Moves daemons' rows with the processes that come and go, too. Lifetime: app, in one process."""

    def unbacked(self, tx: Connection) -> list[str]:
        """Set every row that claims to run to stopped (reason no-node); returns whose row that changed.

        For a process that has made sure that no node that runs turns is alive.
        """
        running = (self._w.c.state.in_(CLAIMS_TO_RUN),)
        return self._move(tx, running, self._state(DaemonStatus.STOPPED, NO_NODE, None))

    def wait(self, tx: Connection, orchestrator_ids: Sequence[str]) -> list[str]:
        """Write of daemons that are to run that nobody can run them; returns whose row did not say so."""
        self.have(tx, orchestrator_ids)
        w = self._w
        stopped = w.c.state == str(DaemonStatus.STOPPED)
        silent = (self._mine(orchestrator_ids), stopped, func.coalesce(w.c.reason, "") != NO_NODE)
        return self._move(tx, silent, self._state(DaemonStatus.STOPPED, NO_NODE, None))

    def again(self, tx: Connection, orchestrator_ids: Sequence[str]) -> list[str]:
        """Write that daemons which never ceased to run do run, where others thought that nobody could run them.

        Returns whose row that changed: no row of one that is not wanted any more, or has failed.
        """
        w = self._w
        lost = (self._mine(orchestrator_ids), w.c.state == str(DaemonStatus.STOPPED), w.c.wanted == str(Wanted.RUNNING))
        return self._move(tx, lost, self._state(DaemonStatus.RUNNING, None, None))

    def _mine(self, orchestrator_ids: Sequence[str]) -> ColumnElement[bool]:
        return self._w.c.orchestrator_id.in_([int(one) for one in orchestrator_ids])

    def _move(self, tx: Connection, where: Sequence[ColumnElement[bool]], values: Mapping[str, Any]) -> list[str]:
        w = self._w
        # locked in the order of their ids, as by `Daemons.start`: two processes do not block each other for ever
        locked = select(w.c.orchestrator_id).where(*where).order_by(w.c.orchestrator_id).with_for_update()
        moved = update(w).where(w.c.orchestrator_id.in_(locked), *where).values(**values)
        return [str(key) for key in sorted(row[0] for row in tx.execute(moved.returning(w.c.orchestrator_id)))]
