"""Between the worker and the daemons: who takes work, what a finished turn means, and letters to the host."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from ...core.errors import DaemonError
from ...core.types import Claim, DaemonStatus, OrchestratorStatus, OutgoingMessage
from ...store.inbox.outbox import Letter
from ...store.stores import Stores
from ...store.turns.endings import Ended, Fate, Outcome
from ..arrival.overhearing import Overhearing
from ..broadcast.news import News
from .daemon import OrchestratorDaemon
from .lives import BATCH
from .manager import OrchestratorDaemonManager

log = logging.getLogger("flask_neolith_orchestrator")


HURRY = 2.0
"""Seconds that the start of one batch of daemons may take until others do not leave the rest to it."""

_STARTABLE: Final = (DaemonStatus.STOPPED, DaemonStatus.ERROR)

RESUME = 10.0
"""Seconds for which a start in bulk is waited for; it goes on by itself after that."""


class Duty:
    """Implements `owner.Owner` with the manager's daemons. Lifetime: app, in one process."""

    def __init__(self, stores: Stores, manager: OrchestratorDaemonManager, news: News) -> None:
        self._stores = stores
        self.manager = manager
        self._news = news
        self._moved = threading.Condition()
        self._moving: set[str] = set()
        self._busy: set[str] = set()
        self._resumed_at = float("-inf")
        self.everywhere = False
        self.overheard: Overhearing | None = None
        self.parked: Callable[[str], None] = lambda _turn_id: None
        self.will_restart: Callable[[str], bool] = lambda _orchestrator_id: False

    def limit_of(self, orchestrator_id: str) -> int:
        """Slots of this orchestrator if its daemon takes work in this process, else 0."""
        daemon = self.manager.get_daemon(orchestrator_id)
        return daemon.limit if daemon is not None and (daemon.is_running() or self.everywhere) else 0

    def settled(self, tx: Any, claim: Claim, settled: tuple[Outcome, list[Ended]] | None) -> None:
        """Let others hear an answer, in the transaction that finishes it."""
        if self.overheard is not None and settled is not None:
            self.overheard.settled(tx, claim, settled[0])

    def turn_ended(self, claim: Claim, outcome: Outcome, ended: Sequence[Ended]) -> None:
        """Tell the daemon's listeners, and those who wait for deliveries."""
        self.manager.ended(ended)
        self._news.dead_letters(ended)
        if self.overheard is not None:
            self.overheard.told(claim)
        daemon = self.manager.get_daemon(claim.orchestrator_id)
        if daemon is None:
            return
        log.log(
            logging.INFO if daemon.verbose else logging.DEBUG,
            "@%s: a turn ended as %s",
            daemon.orchestrator.handle,
            outcome.fate,
            extra={"action": "turn-ended", "orchestrator": daemon.id, "turn": claim.turn_id, "attempt": claim.attempt},
        )
        message = {"id": claim.messages[-1] if claim.messages else None, "channel_id": claim.place.channel_id}
        external = self._is_external(claim)
        if outcome.fate is Fate.PARKED:
            self.parked(claim.turn_id)
        elif outcome.fate is Fate.ANSWERED:
            daemon.emit("message:processed", message=message)
            if not external:
                daemon.emit("message:send", response=self._response(claim, outcome))
        elif outcome.error_kind is not None:
            error = DaemonError(f"{outcome.error_kind}: {outcome.error}")
            daemon.note_error(self._stores.database.clock.wall(), error)
            daemon.emit("message:error", message=message, error=error)
        if external and outcome.fate in (Fate.ANSWERED, Fate.FAILED):
            self.post_letters()

    def _is_external(self, claim: Claim) -> bool:
        external, channel = self._stores.external, claim.place.channel_id
        if external is None:
            return False
        known = external.known(channel)
        if known is not None:
            return known
        with self._stores.database.read() as tx:
            return external.is_external(tx, channel)

    @staticmethod
    def _response(claim: Claim, outcome: Outcome) -> OutgoingMessage:
        metadata = {"orchestratorId": claim.orchestrator_id, "messageId": claim.reply_id, "turnId": claim.turn_id}
        reply_to = claim.messages[-1] if claim.messages else None
        return OutgoingMessage(outcome.text, claim.place.channel_id, reply_to, metadata)

    def slots_changed(self, orchestrator_id: str, status: OrchestratorStatus) -> None:
        """All slots became taken, or one is free again: presence tells, once."""
        daemon = self.manager.get_daemon(orchestrator_id)
        if daemon is None or not daemon.is_running():
            return
        busy = status is OrchestratorStatus.BUSY
        if busy == daemon.busy:
            return
        if not busy and self._stores.leases.slots_of(orchestrator_id) >= daemon.limit:
            return
        daemon.busy = busy
        (self._busy.add if busy else self._busy.discard)(orchestrator_id)
        changed = self._stores.database.run(lambda tx: self._stores.people.set_status(tx, orchestrator_id, status))
        if changed:
            self._news.presence(daemon.orchestrator, status)

    def free_busy(self) -> None:
        """A slot of one that is busy here may have been freed by another process, or its daemon stopped."""
        for orchestrator_id in list(self._busy):
            daemon = self.manager.get_daemon(orchestrator_id)
            if daemon is None or not daemon.busy:
                self._busy.discard(orchestrator_id)
            else:
                self.slots_changed(orchestrator_id, OrchestratorStatus.ONLINE)

    def fill_busy(self, orchestrator_ids: Sequence[str]) -> None:
        """All slots of one that works here may be taken, though no claim of this process took the last."""
        for orchestrator_id, taken in self._stores.leases.slots_taken(orchestrator_ids).items():
            daemon = self.manager.get_daemon(orchestrator_id)
            if daemon is not None and taken >= daemon.limit:
                self.slots_changed(orchestrator_id, OrchestratorStatus.BUSY)

    def post_letters(self) -> None:
        """Tell listeners of `message:send` of answers in the host's own chat; one that fails gets it again."""
        if self._stores.external is None or not self._stores.outbox.waiting():
            return
        if not self.manager.heard("message:send") and not any(
            daemon.listens("message:send") for daemon in self.manager.all()
        ):
            return  # the letters keep until somebody listens
        for letter in self._stores.outbox.take():
            self._post(letter)

    def _post(self, letter: Letter) -> None:
        daemon = self.manager.daemon_for(letter.orchestrator_id)
        metadata = {
            "orchestratorId": letter.orchestrator_id,
            "idempotencyKey": letter.reply_id,
            "messageId": letter.reply_id,
            "answerId": letter.answer_id,
            "part": letter.part,
            "state": letter.state,
        }
        response = OutgoingMessage(letter.content, letter.channel_id, letter.reply_to_id, metadata)
        told = daemon.emit(
            "message:send", done=lambda fine: self._stores.outbox.sent(letter, fine=fine), response=response
        )
        if not told:
            self._stores.outbox.sent(letter, fine=False)

    def resume(self, orchestrator_ids: Sequence[str]) -> None:
        """Run those who are wanted, in bulk, whether or not somebody logs in again; first those who have work.

        On a thread of its own, waited for only so long: what one of them waits for may hang, and neither the start of
        the process nor its sweep may.
        """
        due = [one for one in orchestrator_ids if not self.will_restart(one)]
        failures: list[Exception] = []

        def run() -> None:
            try:
                self._resume(due)
            except Exception as error:  # noqa: BLE001 -- raised below; later on it is for the next sweep to see
                failures.append(error)

        thread = threading.Thread(target=run, name="neolith-resume", daemon=True)
        thread.start()
        thread.join(RESUME)
        if failures:
            raise failures[0]

    def _resume(self, due: list[str]) -> None:
        ready = self._stores.leases.ready()
        due.sort(key=lambda one: one not in ready)
        for start in range(0, len(due), BATCH):
            self._resumed_at = self._stores.database.clock.monotonic()
            with self._stores.database.read() as tx:
                found = self._stores.people.snapshots(tx, due[start : start + BATCH])
            self.manager.lives.run_many(
                [one for one in self.manager.daemons_of(found) if one.get_status() in _STARTABLE],
                {snapshot.id: snapshot for snapshot in found},
            )
        self._resumed_at = float("-inf")

    @property
    def is_resuming(self) -> bool:
        """Whether another thread starts those who are wanted, and gets on with it."""
        return self._stores.database.clock.monotonic() - self._resumed_at < HURRY

    def apart(self, daemon: OrchestratorDaemon, move: Callable[[OrchestratorDaemon], None]) -> None:
        """Move a daemon on a thread of its own, once at a time: a stop may take its time."""
        with self._moved:
            if daemon.id in self._moving:
                return
            self._moving.add(daemon.id)

        def run() -> None:
            try:
                move(daemon)
            except Exception:
                log.exception("A daemon could not be moved", extra={"action": "move-failed", "orchestrator": daemon.id})
            finally:
                with self._moved:
                    self._moving.discard(daemon.id)
                    self._moved.notify_all()

        threading.Thread(target=run, name=f"neolith-move-{daemon.id}", daemon=True).start()

    def settle(self, seconds: float) -> bool:
        """Wait until no daemon is being moved on a thread of its own; False if that takes too long."""
        with self._moved:
            return self._moved.wait_for(lambda: not self._moving, seconds)
