"""What the scheduler runs in one process: a constant number of jobs, however many daemons there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...settings import Settings
from ...store.lives.nodes import Nodes
from ..daemons.desk import Desk
from ..daemons.supervisor import Supervisor
from ..turns.worker import Worker
from .caretaker import Caretaker
from .node import NodeLife
from .sweeper import Sweeper

Table = dict[str, tuple[Callable[[], None], float]]
"""Name -> (function, period in seconds)."""


@dataclass(frozen=True, slots=True)
class Jobs:
    """The jobs of one process. Lifetime: app, in one process. `login_ttl` is in seconds."""

    settings: Settings
    supervisor: Supervisor
    sweeper: Sweeper
    worker: Worker
    nodes: Nodes
    node: NodeLife
    desk: Desk
    caretaker: Caretaker
    socket_seen: Callable[[], None]
    login_ttl: float

    def table(self) -> Table:
        """Every job: with the mode off those alone that let nothing pile up."""
        settings = self.settings
        jobs: Table = {
            "sweep": (self._sweep, settings.sweep_interval / 1000),
            "logins": (self._logins, 30.0 if self.login_ttl > 120 else self.login_ttl / 4),
            "retention": (self.caretaker.run, settings.prune_interval / 1000),
        }
        if settings.mode:
            jobs |= {
                "renew": (self._renew, settings.renew_interval / 1000),
                "heartbeat": (self.supervisor.heartbeat, min(settings.heartbeat_interval / 2000, 5.0)),
                "health-check": (self.supervisor.check, settings.health_check_interval / 1000),
            }
        return jobs

    def _sweep(self) -> None:
        if self.settings.mode:
            self.supervisor.end_stuck_turns()
            try:
                self.node.watch()  # before those who died are forgotten, and with them when they were seen
            finally:
                self.sweeper.sweep()
            self.supervisor.tell_watchers()
        else:
            self.sweeper.expire()

    def _logins(self) -> None:
        self.node.look_around()
        self.socket_seen()
        self.desk.sweep()

    def _renew(self) -> None:
        self.sweeper.tick()
        self.worker.renew()
        self.nodes.keep_alive()
