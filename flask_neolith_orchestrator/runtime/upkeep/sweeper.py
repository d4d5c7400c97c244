"""The sweep: what the dead left, what nobody was rung for, what is too old, and what another process decided."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from ...settings import Settings
from ...store.lives.daemons import LOST
from ...store.stores import Stores
from ...store.turns.leases import Orphan
from ..broadcast.news import News
from ..daemons.daemon import OrchestratorDaemon
from ..daemons.duty import Duty
from ..turns.worker import Worker
from .complaints import Complaints

log = logging.getLogger("flask_neolith_orchestrator")

T = TypeVar("T")

LOOK = 30.0
"""Seconds between two looks at every daemon's row: for those that were written by hand."""

LATE = 2.0
"""Seconds by which a change may be seen later than its time: its transaction took so long, or a clock is behind."""

EXPIRY_INTERVAL = 5.0
"""Seconds between two looks for deliveries that are too old."""


class Sweeper:
    """One process's sweep. Lifetime: app, in one process. Reads only, unless something is due."""

    def __init__(
        self,
        stores: Stores,
        settings: Settings,
        duty: Duty,
        worker: Worker,
        news: News,
        *,
        ring: Callable[[str, int], None],
        money: Callable[[], None],
    ) -> None:
        self._stores = stores
        self._settings = settings
        self._duty = duty
        self._manager = duty.manager
        self._lives = duty.manager.lives
        self._worker = worker
        self._news = news
        self._ring = ring
        self._money = money
        self.escalate: Callable[[], None] = lambda: None
        self.openings: Callable[[], None] = lambda: None
        self._clock = stores.database.clock
        self._complaints = Complaints(self._clock)
        self._expired_at = float("-inf")
        self._ticked_at: float | None = None
        self._awake_since = float("-inf")
        self._looked_at = self._swept_at = float("-inf")
        self._unsettled: set[str] = set()
        self.taken_over = 0
        self.waiting: Callable[[], None] = lambda: None
        self.late: Callable[[str], None] = lambda _turn_id: None  # a turn on which nobody has decided in time

    def sweep(self) -> None:
        """Do each part; one that fails does not keep the others from being done, but the job shows it."""
        failures: list[Exception] = []
        parts = (
            self.recover,
            self.ring_ready,
            self.expire,
            self.reconcile,
            self.post,
            self.free_busy,
            self.count_money,
            self.tell_people,
            self.tell_openings,
            self.tell_waiting,
        )
        for part in parts:
            what = f"A part of the sweep failed: {getattr(part, '__name__', part)}"
            try:
                part()
            except Exception as error:  # noqa: BLE001 -- it is logged, once a minute
                self._complaints.say(what, "sweep-failed", error)
                failures.append(error)
            else:
                self._complaints.over(what)
        if failures:
            raise failures[0]

    def recover(self) -> None:
        """Take over what dead nodes and expired leases hold, and slots of ours that no thread works on."""
        stores = self._stores
        dead = stores.nodes.dead()
        orphans = stores.leases.held_by(dead)
        if self._is_awake():
            orphans += stores.leases.expired()
        failures = self._each(orphans, self._take_over)
        if not failures:
            stores.nodes.forget(dead)
        failures += self._each(self._worker.lost(), self._lives.crew.hand_back)
        if failures:
            raise failures[0]

    def _is_awake(self) -> bool:
        """Whether this process has been running for one interval of renewals.

        While it was stopped it may have kept the others from renewing: it then gives them the time to do so.
        """
        self.tick()
        return self._clock.monotonic() - self._awake_since >= self._settings.renew_interval / 1000

    def tick(self) -> None:
        """This process runs: told with each renewal too, as sweeps may be rarer than any pause that matters."""
        now, settings = self._clock.monotonic(), self._settings
        # or rare renewals alone would look like being stopped
        asleep = max(settings.lease / 2, settings.renew_interval * 1.5) / 1000
        if self._ticked_at is not None and now - self._ticked_at > asleep:
            self._awake_since = now
        self._ticked_at = now

    @staticmethod
    def _each(things: Iterable[T], do: Callable[[T], Any]) -> list[Exception]:
        """Do something with each; one that fails keeps none of the others from being done."""
        failures: list[Exception] = []
        for thing in things:
            try:
                do(thing)
            except Exception as error:
                log.exception("Could not be swept: %r", thing, extra={"action": "sweep-failed"})
                failures.append(error)
        return failures

    def _take_over(self, orphan: Orphan) -> None:
        recovered = self._lives.crew.take_over(orphan)
        if recovered is None:
            return
        self.taken_over += 1
        log.warning(
            "A turn was taken over from a process that is gone",
            extra={"action": "turn-recovered", "turn": recovered.turn_id},
        )
        self._manager.ended(recovered.ended)
        self._news.dead_letters(recovered.ended)
        self._ring(recovered.orchestrator_id, 1)

    def ring_ready(self) -> None:
        """Ring for work that nobody was rung for, as often as there are free slots: hints may be lost.

        Where turns are others' work, so is this: each of many processes would ring for the same.
        """
        ready = self._stores.leases.ready() if self._runs_turns else {}
        taken = self._stores.leases.slots_taken(list(ready)) if ready else {}
        full = [daemon.id for daemon in self._running(ready) if daemon.limit <= taken.get(daemon.id, 0)]
        if full:  # another process may have been told of a charter that allows more
            self._lives.crew.reread(full)
        for daemon in self._running(ready):
            free = daemon.limit - taken.get(daemon.id, 0)
            if free > 0:  # who has none looks for more at each turn's end
                self._ring(daemon.id, min(free, ready[daemon.id]))

    def expire(self) -> None:
        """End deliveries that have waited too long, each with a notice and an event."""
        now = self._clock.monotonic()
        if now - self._expired_at < EXPIRY_INTERVAL:
            return
        self._expired_at = now
        failures = self._each(self._stores.parking.due(), self.late)
        failures += self._each(self._stores.leases.overdue(self._settings.max_age / 1000), self._expire)
        if failures:
            raise failures[0]

    def _expire(self, delivery_id: str) -> None:
        recovered = self._stores.recovery.expire(delivery_id)
        if recovered is not None:
            self._manager.ended(recovered.ended)
            self._news.dead_letters(recovered.ended)
            if recovered.reply_id is not None and recovered.turn_id is not None:
                self._news.reply_changed(recovered.reply_id)
            elif recovered.reply_id is not None:
                self._news.notice_posted(recovered.reply_id)

    def reconcile(self) -> None:
        """Run what is wanted and stop what is not: another process may have heard of it first."""
        if not self._settings.mode:
            return
        wishes, everybody = self._wishes()
        running = self._manager.get_running_daemons() if everybody else self._running(wishes)
        here = {daemon.id: daemon for daemon in running}
        # who is not among everybody has no row any more
        unwanted = [daemon for key, daemon in here.items() if wishes.get(key, 0) == 0]
        for daemon in unwanted:
            # on a thread of its own: a stop may take its time, and must not delay anybody else's sweep
            self._duty.apart(daemon, self._halt)
        if lost := [here[key] for key, wish in wishes.items() if wish == LOST and key in here and self._runs_turns]:
            self._lives.reclaim(lost)
        missing = [key for key, wish in wishes.items() if wish and key not in here]
        self._unsettled = {daemon.id for daemon in unwanted}.union(missing)
        if missing and not self._duty.is_resuming:
            self._duty.resume(missing)
            self._unsettled -= {daemon.id for daemon in self._running(missing)}

    def _wishes(self) -> tuple[dict[str, int | None], bool]:
        """Who is wanted, and whether that is of everybody: each second only what has changed is read."""
        now = self._clock.monotonic()
        everybody = now - self._looked_at >= LOOK
        within = None if everybody else now - self._swept_at + LATE
        with self._stores.database.read() as tx:
            wishes = self._stores.daemons.wishes(tx, within=within, also=self._unsettled)
        self._swept_at = now
        if everybody:
            self._looked_at = now
        return wishes, everybody

    def _running(self, orchestrator_ids: Iterable[str]) -> list[OrchestratorDaemon]:
        found = [self._manager.get_daemon(one) for one in orchestrator_ids]
        return [daemon for daemon in found if daemon is not None and daemon.is_running()]

    @property
    def _runs_turns(self) -> bool:
        return self._stores.nodes.capacity > 0

    def _halt(self, daemon: OrchestratorDaemon) -> None:
        with daemon.life:  # it may have been wanted again meanwhile
            with self._stores.database.read() as tx:
                row = self._stores.daemons.rows(tx, [daemon.id]).get(daemon.id)
            if row is None or row.wanted != "running":
                self._lives.halt(daemon, "not-wanted")

    def post(self) -> None:
        """Tell the host of answers in its own chat, at least once."""
        self._duty.post_letters()

    def free_busy(self) -> None:
        """A slot may have been freed by another process, or the last free one taken."""
        self._duty.free_busy()
        at_work = {one.claim.orchestrator_id for one in self._worker.running()}
        if at_work:
            self._duty.fill_busy(sorted(at_work))

    def tell_waiting(self) -> None:
        """Those whose question has not begun within a second hear so."""
        self.waiting()

    def count_money(self) -> None:
        """What dead processes had reserved is counted, and who waited for a budget that was raised waits no more."""
        self._money()

    def tell_people(self) -> None:
        """What somebody is to be told of is looked for, and told."""
        self.escalate()

    def tell_openings(self) -> None:
        """Whose working hours have begun or ended."""
        self.openings()
