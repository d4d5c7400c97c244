"""Opens and closes daemons: what it takes to run one, what must be true in the database, and who is told."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...chat.charter import Charter
from ...core.availability import NO_NODE
from ...core.cancel import StopReason
from ...core.errors import NotAnOrchestrator, StartFailed
from ...core.model import Warmable
from ...core.types import DaemonStatus, OrchestratorDaemonConfig, OrchestratorSnapshot, OrchestratorStatus
from ...settings import Settings
from ...store.stores import Stores
from ...store.turns.claims import LostRace
from ...store.turns.leases import Orphan
from ..broadcast.news import News
from ..charters.book import UNWRITTEN
from ..turns.study import Study
from ..turns.worker import Worker
from .daemon import OrchestratorDaemon

log = logging.getLogger("flask_neolith_orchestrator")

LAST_WORDS = 1.0
"""Seconds that cancelled turns have to end before their fence is moved."""


@dataclass(frozen=True, slots=True)
class DaemonSettings:
    """What one daemon is made from, after the orchestrator's own values have won. `heartbeat` is in seconds."""

    limit: int
    heartbeat: float
    auto_respond: bool
    verbose: bool


class Crew:
    """Starts and stops daemons in this process. Lifetime: app, in one process; safe for all threads."""

    def __init__(
        self,
        stores: Stores,
        settings: Settings,
        study: Study,
        news: News,
        worker: Callable[[], Worker],
        here: Callable[[str], OrchestratorDaemon | None],
    ) -> None:
        self._stores = stores
        self._settings = settings
        self._study = study
        self._news = news
        self._worker = worker
        self._here = here
        self._default = DaemonSettings(
            limit=settings.max_concurrent_conversations,
            heartbeat=settings.heartbeat_interval / 1000,
            auto_respond=settings.auto_respond,
            verbose=settings.verbose,
        )

    def settings_of(self, snapshot: OrchestratorSnapshot, charter: Charter) -> DaemonSettings:
        """The app's settings, what the charter says instead, and what `orchestrator_config["daemon"]` says instead.

        Raises StartFailed naming each value that cannot be used.
        """
        own = snapshot.config.get("daemon")
        limit, reply = charter.limits.concurrent_conversations, charter.behaviour.auto_reply
        if not own and limit is None and reply is None:
            return self._default
        own = own or {}
        if not isinstance(own, dict):
            msg = f"@{snapshot.handle}: orchestrator_config['daemon'] should be a mapping."
            raise StartFailed(msg)
        app = self._settings
        values: dict[str, Any] = {
            "max_concurrent_conversations": limit or app.max_concurrent_conversations,
            "heartbeat_interval": app.heartbeat_interval,
            "auto_respond": app.auto_respond if reply is None else reply,
            "verbose": app.verbose,
        }
        bad = [key for key in own if key not in values]
        for key, default in values.items():
            given = own.get(key)
            if given is None:
                continue
            numeric = not isinstance(default, bool)
            if isinstance(given, bool) is numeric or not isinstance(given, int) or (numeric and given < 1):
                bad.append(key)
            values[key] = given
        if bad:
            msg = f"@{snapshot.handle}: orchestrator_config['daemon'] has values that cannot be used: {', '.join(bad)}."
            raise StartFailed(msg)
        return DaemonSettings(
            limit=values["max_concurrent_conversations"],
            heartbeat=values["heartbeat_interval"] / 1000,
            auto_respond=values["auto_respond"],
            verbose=values["verbose"],
        )

    def snapshot(self, orchestrator_id: str) -> OrchestratorSnapshot:
        """The orchestrator as it is now. Raises NotAnOrchestrator."""
        with self._stores.database.read() as tx:
            found = self._stores.people.snapshot(tx, orchestrator_id)
        if found is None:
            raise NotAnOrchestrator
        return found

    def prepare(self, daemon: OrchestratorDaemon, snapshot: OrchestratorSnapshot) -> None:
        """Check everything a start needs. Raises StartFailed with the cause: trying again would not help."""
        charter = self._study.charters.terms(snapshot)
        if charter.version == UNWRITTEN:
            self._study.charters.adopt(snapshot.id)
        model = self._study.model_for(charter.model.name or self._settings.model)
        missing = model.check()
        if missing:
            raise StartFailed(missing)
        if isinstance(model, Warmable):
            model.warm()
        self.renew(daemon, snapshot, charter)

    def renew(self, daemon: OrchestratorDaemon, snapshot: OrchestratorSnapshot, charter: Charter) -> None:
        """Let a daemon go by what its orchestrator's configuration and charter say now. Raises StartFailed."""
        own = self.settings_of(snapshot, charter)
        daemon.orchestrator = snapshot
        given = daemon.overrides or OrchestratorDaemonConfig(snapshot)
        daemon.limit = given.max_concurrent_conversations or own.limit
        beat = given.heartbeat_interval
        daemon.heartbeat_interval = own.heartbeat if beat is None else beat / 1000
        daemon.auto_respond = own.auto_respond if given.auto_respond is None else given.auto_respond
        daemon.verbose = own.verbose if given.verbose is None else given.verbose

    def make_room(self, tx: Any, snapshot: OrchestratorSnapshot, charter: Charter) -> None:
        """Have as many slots as a changed charter allows, fewer too, in the transaction that changes it.

        What a daemon of this process was told by `configure` stands above it.
        """
        daemon = self._here(snapshot.id)
        given = daemon.overrides if daemon is not None else None
        try:
            limit = self.settings_of(snapshot, charter).limit
            limit = (given.max_concurrent_conversations if given is not None else None) or limit
        except StartFailed:  # it cannot start so, and needs no slots
            return
        self._stores.leases.make_slots(tx, snapshot.id, limit)

    def reread(self, orchestrator_ids: Sequence[str]) -> None:
        """Have those that run here go by charters that were changed in another process."""
        self._study.charters.refresh(*orchestrator_ids)

    def follow(self, snapshot: OrchestratorSnapshot, charter: Charter) -> None:
        """Let one that runs here go by a charter that has changed meanwhile."""
        daemon = self._here(snapshot.id)
        if daemon is None or not daemon.is_running():
            return
        try:
            self.renew(daemon, snapshot, charter)
        except StartFailed as error:  # it began with values that could be used, and goes on with them
            log.warning("%s", error, extra={"action": "charter-changed", "orchestrator": snapshot.id})

    def enlist(self, daemons: Sequence[OrchestratorDaemon]) -> list[OrchestratorDaemon]:
        """Write that they run, in one transaction of a few statements; returns those whose row that changed.

        Where no process lives that could run their turns, what is written is that they wait for one.
        """
        stores, by_limit = self._stores, defaultdict[int, list[str]](list)
        for daemon in daemons:
            by_limit[daemon.limit].append(daemon.id)

        def start(tx: Any) -> list[str]:
            # where others run them, the last of those may be leaving: it is waited for
            backed = stores.nodes.capacity > 0 or not stores.nodes.deserted(tx)
            ids = [daemon.id for daemon in daemons]
            # the daemons' rows are locked first: two processes that start the same ones wait for each other here
            changed = (stores.daemons.start if backed else stores.daemons.wait)(tx, ids)
            for limit, some in by_limit.items():
                stores.leases.make_slots_of(tx, some, limit)
            if backed:
                return self._online(tx, changed)
            stores.records.history.add(tx, sorted(changed), "stopped", reason=NO_NODE)
            return []

        changed = set(stores.database.run(start))
        return [daemon for daemon in daemons if daemon.id in changed]

    def reclaim(self, daemons: Sequence[OrchestratorDaemon]) -> list[OrchestratorDaemon]:
        """Write that they run, of those that others thought nobody could run; returns those whose row that changed."""
        stores = self._stores
        ids = [daemon.id for daemon in daemons]
        changed = stores.database.run(lambda tx: self._online(tx, stores.daemons.again(tx, ids)))
        return [daemon for daemon in daemons if daemon.id in changed]

    def _online(self, tx: Any, changed: Sequence[str]) -> list[str]:
        started = sorted(changed)
        if started:
            self._stores.records.history.add(tx, started, "started")
            self._stores.people.set_statuses(tx, started, OrchestratorStatus.ONLINE)
        return started

    def discharge(self, daemon: OrchestratorDaemon, reason: str) -> bool:
        """Write that it is stopped; True if that changed the row."""

        def stop(tx: Any) -> bool:
            changed = self._stores.daemons.move(
                tx, daemon.id, DaemonStatus.STOPPED, unless=[DaemonStatus.ERROR], reason=reason
            )
            if changed:
                self._stores.records.history.add(tx, [daemon.id], "stopped", reason=reason)
                self._stores.people.set_status(tx, daemon.id, OrchestratorStatus.OFFLINE)
            return changed

        return self._stores.database.run(stop)

    def fail(self, daemon: OrchestratorDaemon, error: BaseException) -> bool:
        """Write that it gave up, with the cause; True if that changed the row."""

        def end(tx: Any) -> bool:
            self._stores.daemons.ensure(tx, daemon.id)
            changed = self._stores.daemons.move(tx, daemon.id, DaemonStatus.ERROR, error=str(error)[:1000])
            if changed:
                self._stores.records.history.add(tx, [daemon.id], "failed", error=str(error)[:1000])
            self._stores.people.set_status(tx, daemon.id, OrchestratorStatus.ERROR)
            return changed

        return self._stores.database.run(end)

    def tell(self, daemon: OrchestratorDaemon, presence: OrchestratorStatus, reason: str | None = None) -> None:
        """Everybody sees the change."""
        self._news.presence(daemon.orchestrator, presence)
        status = {"status": str(daemon.get_status()), "reason": reason}
        self._news.daemon("daemon:status", daemon.orchestrator, status)

    def tell_many(self, daemons: Sequence[OrchestratorDaemon], presence: OrchestratorStatus) -> None:
        """As `tell`, for so many that browsers do better to read the daemons' states than to hear of each."""
        self._news.presences([daemon.orchestrator for daemon in daemons], presence)

    def wind_down(
        self, orchestrator_id: str | None, *, timeout: float, meanwhile: Callable[[], Any] | None = None
    ) -> None:
        """Let running turns of one orchestrator (None: all) end, then cut them, then hand back what will not end."""
        worker = self._worker()
        if worker.wait_idle(orchestrator_id, timeout, meanwhile):
            return
        for attempt in worker.running(orchestrator_id):
            attempt.cancel.set(StopReason.SHUTDOWN)
        if worker.wait_idle(orchestrator_id, LAST_WORDS, meanwhile):
            return
        failures: list[Exception] = []
        for attempt in worker.running(orchestrator_id):
            worker.abandon(attempt)
            try:
                self.hand_back(attempt.claim.turn_id, punished=False)
                log.error("A turn would not end and was handed back", extra=attempt.fields("turn-abandoned"))
            except Exception as error:
                # the others must not stay for it; its slot is found without a thread by the sweep
                log.exception("A turn could not be handed back", extra=attempt.fields("stop-error"))
                failures.append(error)
        if failures:
            raise failures[0]

    def hand_back(self, turn_id: str, *, punished: bool = True) -> None:
        """Move a turn's fence and let its deliveries wait again; a stop is nothing that they are `punished` for."""
        for _ in range(3):  # a renewal of our own may come between the look and the write
            orphan = self._stores.leases.find(turn_id)
            if orphan is None or self.take_over(orphan, punished=punished) is not None:
                return

    def take_over(self, orphan: Orphan, *, punished: bool = True) -> Any:
        """Recover one orphan; None where its owner came back or somebody else did."""
        try:
            recovered = self._stores.recovery.take_over(orphan, punished=punished)
        except LostRace:
            return None
        if recovered is not None and recovered.reply_id is not None:
            self._news.reply_changed(recovered.reply_id)
        return recovered
