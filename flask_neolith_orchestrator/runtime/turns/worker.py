"""Runs turns: claim, think, finish, again, until a bound is reached or nothing is ready."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from ...core.cancel import StopReason
from ...core.errors import StoreClosed
from ...core.ports import Channel
from ...core.types import Claim, OrchestratorStatus
from ...store.turns.claims import LostRace, NoSlot
from ...store.turns.endings import Ended, Kept, Outcome, tally
from ...store.turns.leases import Held
from ..broadcast.live import LiveText, Pacer
from ..broadcast.news import News
from .attempt import Attempt
from .owner import Owner
from .study import Study

log = logging.getLogger("flask_neolith_orchestrator")

Settled = tuple[Outcome, list[Ended]]


class Worker:
    """Runs one process's turns on the dispatcher's threads. Lifetime: app, in one process."""

    def __init__(self, study: Study, channel: Channel, news: News, owner: Owner) -> None:
        self._study, self._stores = study, study.stores
        self._settings, self._clock = study.settings, study.clock
        self._channel, self._news, self._owner = channel, news, owner
        self._changed = threading.Condition()
        self._attempts: dict[str, Attempt] = {}
        self._claiming: Counter[str] = Counter()
        self._renewed_at = float("-inf")
        self._unknown: dict[str, int] = {}
        self.late_finishes = self.abandoned = 0
        self.let_go: Callable[[int], None] = lambda _thread: None  # the dispatcher's `abandon`
        self._pacer = Pacer(
            self._stores.turns.checkpoint,
            self._clock,
            interval=self._settings.delta_interval / 1000,
            keep_interval=self._settings.checkpoint_interval / 1000,
        )

    def drain(self, orchestrator_id: str) -> bool:
        """Work for one orchestrator for a while; True if a bound ended it and work may be left."""
        until = self._clock.monotonic() + self._settings.drain_time / 1000
        attempt, turns, gone = self._claim(orchestrator_id), 0, False
        while attempt is not None:
            turns += 1
            chain = not gone and turns < self._settings.drain_turns and self._clock.monotonic() < until
            done, (attempt, looked) = attempt, self._perform(attempt, chain=chain)
            gone = gone or done.abandoned  # others have this thread's place: it takes nothing new
            if not chain or (gone and attempt is None):
                return True
            if not looked:
                attempt = self._claim(orchestrator_id)
        return False

    def _claim(self, orchestrator_id: str) -> Attempt | None:
        with self._changed:
            self._claiming[orchestrator_id] += 1  # a stop must not miss a turn between its claim and its start
        try:
            while (limit := self._owner.limit_of(orchestrator_id)) > 0:
                try:
                    return self._register(self._try_claim(orchestrator_id, limit))
                except LostRace:
                    continue
                except NoSlot:
                    return None
            return None
        finally:
            with self._changed:
                self._claiming -= Counter([orchestrator_id])  # drops what is zero
                self._changed.notify_all()

    def _try_claim(self, orchestrator_id: str, limit: int) -> Attempt | None:
        def claim(tx: Any) -> Attempt | None:
            return self._attempt(self._stores.claims.claim(tx, orchestrator_id, limit=limit))

        return self._stores.database.run(claim, then=lambda tx, one: one.look(tx) if one else None)

    def _attempt(self, claim: Claim | None) -> Attempt | None:
        if claim is None:
            return None
        live = LiveText(
            claim,
            self._channel,
            self._clock,
            interval=self._settings.delta_interval / 1000,
            may_speak=self._may_speak,
            announce=lambda: self._news.reply_began(claim),
        )
        # where there can be no second thread, the text is told at the attempt's end
        pace = self._pacer.add if self._stores.database.threads else lambda _live: None
        return Attempt(claim, self._study, live, pace)

    def _register(self, attempt: Attempt | None) -> Attempt | None:
        if attempt is not None:
            with self._changed:
                if not self._attempts:
                    self._renewed_at = self._clock.monotonic()  # its own claim is as good as a renewal
                before, self._attempts[attempt.claim.turn_id] = self._attempts.get(attempt.claim.turn_id), attempt
            if before is not None:
                before.cancel.set(StopReason.REVOKED)  # lost and taken again: renewals see the new attempt only
        return attempt

    def _may_speak(self) -> bool:
        return self._clock.monotonic() - self._renewed_at < self._settings.lease / 2000

    def _perform(self, attempt: Attempt, *, chain: bool) -> tuple[Attempt | None, bool]:
        """Do one attempt. The next one, claimed in the same commit, and whether there was a look for one."""
        try:
            self._contained(attempt, self._began, attempt.claim)
            try:
                outcome = attempt.run()
            finally:
                self._pacer.remove(attempt.live)
            if outcome is None:
                return None, False
            return self._finish(attempt, outcome, chain=chain)
        finally:
            self._study.treasury.close(attempt.tab)
            self._forget(attempt)

    @staticmethod
    def _contained(attempt: Attempt, tell: Callable[..., None], *arguments: Any) -> None:
        try:
            tell(*arguments)
        except Exception:
            # telling of a turn must neither end it nor keep the next one, which is claimed already, from being run
            log.exception("A turn could not be told of", extra=attempt.fields("tell-failed"))

    def _forget(self, attempt: Attempt) -> None:
        with self._changed:
            if self._attempts.get(attempt.claim.turn_id) is attempt:
                del self._attempts[attempt.claim.turn_id]
                self._unknown.setdefault(attempt.claim.turn_id, 0)  # until a renewal has seen that its slot is free
            self._changed.notify_all()

    def _began(self, claim: Claim) -> None:
        if claim.slot >= self._owner.limit_of(claim.orchestrator_id) - 1:
            self._owner.slots_changed(claim.orchestrator_id, OrchestratorStatus.BUSY)

    def _finish(self, attempt: Attempt, outcome: Outcome, *, chain: bool) -> tuple[Attempt | None, bool]:
        """Settle, and claim the next conversation in the same commit; tried again for some seconds."""
        claim, pause = attempt.claim, 0.05
        while True:
            try:
                settled, coming = self._settle(attempt, outcome, chain=chain)
                break
            except (LostRace, NoSlot):
                chain = False
            except StoreClosed:  # the process has ended without this thread: the next one hands the turn back
                return None, True
            except Exception:  # a full disk or a database that is away: the answer is kept and written when it can be
                fields = attempt.fields("finish-failed")
                log.error("An answer could not be written yet", exc_info=pause < 0.1, extra=fields)
                if attempt.cancel.reason is StopReason.REVOKED or pause > 4.0:
                    return None, True  # the slot is found without a thread, and the turn is handed back
                threading.Event().wait(pause)
                pause = min(pause * 2, 5.0)
        self._register(coming)
        if settled is None:
            self.late_finishes += 1
            log.warning("A late answer was dropped: the turn has a newer owner", extra=attempt.fields("fenced"))
            return None, False
        self._contained(attempt, self._told, claim, *settled)
        return coming, coming is not None  # if nothing: who was rung meanwhile found the conversation still held

    def _settle(self, attempt: Attempt, outcome: Outcome, *, chain: bool) -> tuple[Settled | None, Attempt | None]:
        claim, tab = attempt.claim, attempt.tab
        limit = self._owner.limit_of(claim.orchestrator_id) if chain else 0
        keep = claim.slot < limit  # a slot that is kept is two statements less

        def settle(tx: Any) -> tuple[Settled | None, Attempt | None]:
            settled, following = self._stores.settle.settle(tx, claim, outcome, free=not keep), None
            self._owner.settled(tx, claim, settled)
            if keep and settled is not None:
                kept = Kept(claim, tally(claim, *settled))
                following = self._attempt(self._stores.claims.claim(tx, claim.orchestrator_id, limit=limit, over=kept))
                if following is None:
                    self._stores.settle.free(tx, claim, kept.done)
            tab.write(tx)  # also where the turn is somebody else's by now: the calls are billed
            return settled, following

        found = self._stores.database.run(settle, then=lambda tx, found: found[1].look(tx) if found[1] else None)
        tab.written()
        return found

    def _told(self, claim: Claim, outcome: Outcome, ended: list[Ended]) -> None:
        if claim.slot >= self._owner.limit_of(claim.orchestrator_id) - 1:
            self._owner.slots_changed(claim.orchestrator_id, OrchestratorStatus.ONLINE)
        self._news.reply_ended(claim, outcome)
        self._owner.turn_ended(claim, outcome, ended)

    def renew(self) -> None:
        """Extend this process's leases; end what was revoked or asked to end elsewhere."""
        before = self._clock.monotonic()
        with self._changed:
            attempts = dict(self._attempts)
        if not attempts and not self._unknown and not self._claiming:
            return
        held = self._stores.leases.renew()
        epochs = {one.turn_id: one for one in held}
        for turn_id, attempt in attempts.items():
            found = epochs.get(turn_id)
            if found is None or found.epoch != attempt.claim.epoch:
                if self._is_running(attempt):
                    attempt.cancel.set(StopReason.REVOKED)
            elif found.cancel is not None:
                attempt.cancel.set(StopReason(found.cancel))
        self._renewed_at = before  # only now: what was revoked must not speak again
        self._look_for_lost(held)

    def _is_running(self, attempt: Attempt) -> bool:
        with self._changed:
            return self._attempts.get(attempt.claim.turn_id) is attempt

    def _look_for_lost(self, held: Sequence[Held]) -> None:
        """Slots of this process that no thread works on: a thread died between claim and finish."""
        with self._changed:
            lost = [one.turn_id for one in held if one.turn_id not in self._attempts]
            self._unknown = {turn_id: self._unknown.get(turn_id, 0) + 1 for turn_id in lost}

    def lost(self) -> list[str]:
        """Turns whose slot this process holds without a thread, seen at three renewals in a row."""
        return [turn_id for turn_id, count in self._unknown.items() if count >= 3]

    def past_deadline(self) -> list[Attempt]:
        """Attempts that take too long."""
        now = self._clock.monotonic()
        with self._changed:
            return [attempt for attempt in self._attempts.values() if now > attempt.deadline]

    def abandon(self, attempt: Attempt) -> None:
        """Count a stuck attempt as gone: its thread may go on, but its fence will be moved."""
        attempt.cancel.set(StopReason.REVOKED)
        with self._changed:
            if self._is_running(attempt):  # else its thread does something else by now
                self.abandoned += 1
                attempt.abandoned = True
                self.let_go(attempt.thread)
                self._forget(attempt)

    def cancel(self, turn_id: str, reason: StopReason) -> bool:
        """End a turn that runs in this process; False if it does not."""
        attempt = self._attempts.get(turn_id)
        return attempt is not None and attempt.cancel.set(reason)

    def running(self, orchestrator_id: str | None = None) -> list[Attempt]:
        """Attempts of one orchestrator, or all, in this process."""
        with self._changed:
            return [
                one
                for one in self._attempts.values()
                if orchestrator_id is None or one.claim.orchestrator_id == orchestrator_id
            ]

    def wait_idle(
        self, orchestrator_id: str | None, seconds: float, meanwhile: Callable[[], Any] | None = None
    ) -> bool:
        """Wait until nothing of one orchestrator, or of all, runs here; `meanwhile` is called once a second."""
        deadline = self._clock.monotonic() + seconds
        while True:
            with self._changed:
                idle = self._changed.wait_for(
                    lambda: not self._of(orchestrator_id),
                    min(1.0, max(0.0, deadline - self._clock.monotonic())),
                )
            if idle or self._clock.monotonic() >= deadline:
                return idle
            if meanwhile is not None:
                try:
                    meanwhile()
                except Exception:
                    log.exception("A renewal during the stop failed", extra={"action": "renew-failed"})

    def _of(self, orchestrator_id: str | None) -> bool:
        if orchestrator_id is None:
            return bool(self._attempts or self._claiming)
        return orchestrator_id in self._claiming or any(
            one.claim.orchestrator_id == orchestrator_id for one in self._attempts.values()
        )

    def close(self) -> None:
        """The process ends: keep no thread for turns to come. Safe twice."""
        self._pacer.close()

    def health(self) -> dict[str, Any]:
        """How the leases are."""
        ok = not (running := len(self._attempts)) or self._may_speak()
        counts = {"running": running, "lateFinishes": self.late_finishes, "abandoned": self.abandoned}
        return {"ok": ok, "detail": "" if ok else "they are not renewed", **counts}
