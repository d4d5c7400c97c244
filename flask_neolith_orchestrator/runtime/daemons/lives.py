"""Starts and stops of daemons in this process: in which order, under which lock, and who hears of it."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from ...core.errors import DaemonError, OrchestratorModeOff, StartFailed, Superseded, UnsupportedDatabase
from ...core.types import Cause, DaemonStatus, OrchestratorSnapshot, OrchestratorStatus, Wanted
from ...settings import Settings
from ...store.stores import Stores
from .crew import Crew
from .daemon import OrchestratorDaemon

log = logging.getLogger("flask_neolith_orchestrator")

BATCH = 500
"""Daemons that are started by one transaction when a process resumes."""

MANY = 20
"""Of more than so many that start at once, browsers and the log are told in one piece."""


class Lives:
    """Moves daemons between their states. Lifetime: app, in one process; safe for all threads.

    Each move holds the daemon's own lock: starts and stops of one daemon wait for each other, never for another's.
    """

    def __init__(
        self,
        stores: Stores,
        settings: Settings,
        crew: Crew,
        *,
        tell: Callable[..., Any],
        ring: Callable[[str, int], None],
    ) -> None:
        self.crew = crew
        self._stores = stores
        self._settings = settings
        self._tell = tell
        self._ring = ring
        self.closed = False
        self.wished: Callable[[], None] = lambda: None
        self.died: Callable[[OrchestratorDaemon, Exception], None] = self.give_up

    def check_allowed(self) -> None:
        """Raise what keeps daemons from running here at all."""
        if self.closed:
            raise DaemonError("This process is ending, so no daemon starts in it.")
        if not self._settings.mode:
            raise OrchestratorModeOff
        if not self._stores.database.threads:
            raise UnsupportedDatabase

    def wish_start(self, daemon: OrchestratorDaemon) -> None:
        """A person wants it to run: errors of the past are forgotten."""

        def want(tx: Any) -> None:
            self._stores.daemons.want(tx, daemon.id, Wanted.RUNNING, Cause.PERSON)
            self._stores.daemons.forget_error(tx, daemon.id)

        self._stores.database.run(want)
        with daemon.life:
            if self.is_wanted(daemon):  # else somebody has stopped it since
                self.run(daemon)
        self.wished()

    def wish_stop(self, daemon: OrchestratorDaemon) -> None:
        """A person wants it stopped."""
        stores = self._stores
        stores.database.run(lambda tx: stores.daemons.want(tx, daemon.id, Wanted.STOPPED, Cause.PERSON))
        self.wished()
        with daemon.life:
            if not self.is_wanted(daemon):  # else somebody has started it since
                self.halt(daemon, "person")

    def is_wanted(self, daemon: OrchestratorDaemon) -> bool:
        """The last wish, whoever uttered it: under `life` it decides, so that the end state is what was asked last."""
        with self._stores.database.read() as tx:
            row = self._stores.daemons.rows(tx, [daemon.id]).get(daemon.id)
        return row is not None and row.wanted is Wanted.RUNNING

    def bounce(self, daemon: OrchestratorDaemon) -> None:
        """Stop and start in this process."""
        with daemon.life:
            ran = daemon.is_running()
            if ran:
                self.halt(daemon, "restart", keep_row=True)
            elif daemon.get_status() is DaemonStatus.ERROR:
                with self._stores.database.write() as tx:
                    self._stores.daemons.forget_error(tx, daemon.id)
            self._calm(daemon)
            self.run(daemon)
        if ran:
            with self._stores.database.write() as tx:
                self._stores.records.history.add(tx, [daemon.id], "restarted", reason="person")

    @staticmethod
    def _calm(daemon: OrchestratorDaemon) -> None:
        if daemon.get_status() is DaemonStatus.ERROR:
            daemon.move(DaemonStatus.STOPPED)

    def run(self, daemon: OrchestratorDaemon) -> None:
        """Make it run in this process, whoever wished it.

        Raises StartFailed, after which its state is `error`; any other exception is a death, tried again later.
        A start that hung raises Superseded once somebody else has begun afresh, and changes nothing then.
        """
        with daemon.life:
            if daemon.is_running():
                return
            self._calm(daemon)
            daemon.move(DaemonStatus.INITIALIZING)
            try:
                self.crew.prepare(daemon, self.crew.snapshot(daemon.id))
                daemon.check_held()
                changed = bool(self.crew.enlist([daemon]))
                daemon.check_held()
            except Superseded:
                raise
            except Exception as error:
                self._not_started(daemon, error)
                raise
            self._set_running(daemon, self._stores.database.clock.monotonic())
            self._tell_started([daemon], [daemon] if changed else [])
        self._wake({daemon.id})

    def run_many(
        self, daemons: Sequence[OrchestratorDaemon], known: Mapping[str, OrchestratorSnapshot] | None = None
    ) -> None:
        """Make many run, by one transaction per batch; one that cannot start does not keep the others from it.

        `known` are snapshots that have just been read.
        """
        for start in range(0, len(daemons), BATCH):
            with ExitStack() as stack:
                held = []
                for daemon in daemons[start : start + BATCH]:
                    # one that is just being started or stopped by somebody else is looked at by the next sweep
                    if daemon.life.acquire(blocking=False):
                        stack.callback(daemon.life.release)
                        held.append(daemon)
                self._run_batch([daemon for daemon in held if not daemon.is_running()], known or {})
        started = {daemon.id for daemon in daemons if daemon.is_running()}
        self._wake(started)

    def _wake(self, started: set[str]) -> None:
        """Ring for what waits, once for each conversation: one ring would have one thread work until the next sweep.

        Those who run turns do, as they start it too.
        """
        if not self._stores.nodes.capacity:
            return
        try:
            ready = self._stores.leases.ready()
        except Exception:
            log.exception("What waits was not rung for", extra={"action": "ring-failed"})  # the sweep does it again
            return
        for orchestrator_id in started & ready.keys():
            self._ring(orchestrator_id, ready[orchestrator_id])

    def _run_batch(self, daemons: Sequence[OrchestratorDaemon], known: Mapping[str, OrchestratorSnapshot]) -> None:
        ready, snapshots = [], dict(known)
        if unknown := [daemon.id for daemon in daemons if daemon.id not in known]:
            with self._stores.database.read() as tx:
                snapshots |= {one.id: one for one in self._stores.people.snapshots(tx, unknown)}
        for daemon in daemons:
            if daemon.id not in snapshots or not daemon.life.held:
                continue
            self._calm(daemon)
            daemon.move(DaemonStatus.INITIALIZING)
            try:
                self.crew.prepare(daemon, snapshots[daemon.id])
            except Exception as error:  # noqa: BLE001 -- whatever it is, `died` logs it and the others start
                self._not_started(daemon, error)
                self._tell("auto-start-error", orchestrator_id=daemon.id, error=error)
            else:
                ready.append(daemon)
        self._enlist([daemon for daemon in ready if daemon.life.held])

    def _enlist(self, ready: Sequence[OrchestratorDaemon]) -> None:
        try:
            changed = set(self.crew.enlist(ready))
        except Exception as error:
            for daemon in ready:
                self._not_started(daemon, error)
            raise
        # one that is not held took so long that somebody began it afresh
        began = [daemon for daemon in ready if daemon.life.held]
        now = self._stores.database.clock.monotonic()
        for daemon in began:
            self._set_running(daemon, now)
        self._tell_started(began, changed)

    def reclaim(self, daemons: Sequence[OrchestratorDaemon]) -> None:
        """They run here, and others, who thought this process gone, have written that nobody runs them."""
        for start in range(0, len(daemons), BATCH):
            changed = self.crew.reclaim(daemons[start : start + BATCH])
            self._tell_started(changed, set(changed))

    def _tell_started(self, began: Sequence[OrchestratorDaemon], changed: Collection[OrchestratorDaemon]) -> None:
        few = len(began) <= MANY
        if not few:
            self.crew.tell_many([daemon for daemon in began if daemon in changed], OrchestratorStatus.ONLINE)
            log.info("%d daemons started", len(began), extra={"action": "daemons-started"})
        for daemon in began:
            if few and daemon in changed:
                self.crew.tell(daemon, OrchestratorStatus.ONLINE)
            self._started(daemon, logging.INFO if few else logging.DEBUG, changed=daemon in changed)

    def _not_started(self, daemon: OrchestratorDaemon, error: Exception) -> None:
        if not daemon.life.held:
            return  # it hung for so long that somebody began it afresh
        if isinstance(error, StartFailed):
            daemon.note_error(self._stores.database.clock.wall(), error)
            self.give_up(daemon, error)  # trying again would not help
        else:
            daemon.move(DaemonStatus.STOPPED)
            self.died(daemon, error)
        self._tell("daemon:start-error", orchestrator_id=daemon.id, error=error)

    def _set_running(self, daemon: OrchestratorDaemon, now: float) -> None:
        daemon.move(DaemonStatus.RUNNING)
        daemon.started_at = now
        # the first beat comes somewhere within the interval, so that many do not beat at one instant
        share = zlib.crc32(daemon.id.encode()) % 997 / 997
        daemon.next_beat = now + daemon.heartbeat_interval * share

    def _started(self, daemon: OrchestratorDaemon, level: int, *, changed: bool) -> None:
        if changed:
            daemon.emit("started")
            self._tell("daemon:started", orchestrator_id=daemon.id, orchestrator=daemon.orchestrator)
            daemon.emit("status:changed", status=DaemonStatus.RUNNING)
        if log.isEnabledFor(level):
            log.log(level, "Daemon of @%s started", daemon.orchestrator.handle, extra=_fields("daemon-started", daemon))

    def halt(self, daemon: OrchestratorDaemon, reason: str, *, keep_row: bool = False) -> None:
        """Stop it in this process: no new work, running turns get their time, what is left goes back."""
        with daemon.life:
            if daemon.get_status() in (DaemonStatus.RUNNING, DaemonStatus.STOPPING):  # stopping: that stop hung
                daemon.move(DaemonStatus.STOPPING)
                try:
                    self.crew.wind_down(daemon.id, timeout=self._settings.stop_timeout / 1000)
                except Exception as error:
                    log.exception("A daemon's turns could not be handed back", extra=_fields("stop-error", daemon))
                    self._tell("daemon:stop-error", orchestrator_id=daemon.id, error=error)
            daemon.move(DaemonStatus.STOPPED)
            daemon.started_at = None
            daemon.busy = False
            if keep_row or not self.crew.discharge(daemon, reason):
                return
            self.crew.tell(daemon, OrchestratorStatus.OFFLINE, reason)
            daemon.emit("stopped", reason=reason)
            self._tell("daemon:stopped", orchestrator_id=daemon.id, reason=reason)
            daemon.emit("status:changed", status=DaemonStatus.STOPPED)
        log.info(
            "Daemon of @%s stopped: %s", daemon.orchestrator.handle, reason, extra=_fields("daemon-stopped", daemon)
        )

    def give_up(self, daemon: OrchestratorDaemon, error: Exception) -> None:
        """It is in `error`, with the cause, until somebody starts it."""
        with daemon.life:
            worked = daemon.get_status() in (DaemonStatus.RUNNING, DaemonStatus.STOPPING)
            daemon.move(DaemonStatus.ERROR)
            daemon.started_at = None
            daemon.busy = False
            if self.crew.fail(daemon, error):
                self.crew.tell(daemon, OrchestratorStatus.ERROR, "error")
            daemon.emit("error", error=error)
            daemon.emit("status:changed", status=DaemonStatus.ERROR)
            if worked:  # last: it may be just this that hangs
                self.crew.wind_down(daemon.id, timeout=0.0)
        log.error("Daemon of @%s: %s", daemon.orchestrator.handle, error, extra=_fields("daemon-error", daemon))


def _fields(action: str, daemon: OrchestratorDaemon) -> dict[str, str]:
    return {"action": action, "orchestrator": daemon.id}
