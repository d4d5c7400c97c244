"""Who may spend what: the purses of a turn, and the money side of the sweep. `tab` counts one attempt's calls."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ...chat import budgeting
from ...chat.charter import Charter, CharterDocument
from ...chat.charter_reading import read_parent
from ...core.money import Ceiling, Closed, Holdings, Period, Prices, Purse, Scope
from ...core.remembered import Remembered
from ...core.types import OrchestratorSnapshot, Usage
from ...settings import Settings
from ...store.records.ledger import Entry, Reserved
from ...store.stores import Stores
from ..broadcast.pauses import Pause
from ..charters.book import CharterBook
from .tab import HELD, Tab, Teller, Till

log = logging.getLogger("flask_neolith_orchestrator")

SWEEP: Final = 2.0
"""Seconds between two looks for what a dead process left reserved, and for budgets that were raised."""

REMEMBERED: Final = 10_000
"""Orchestrators of which this process remembers by which limits it held their work, at the most."""


Limits = Mapping[Period, Ceiling]


@dataclass(slots=True)
class Tally:
    """What one orchestrator's calls came to in this process since its start."""

    tokens: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    cost: float = 0.0
    unpriced: int = 0
    calls: int = 0


class Treasury:
    """Counts what turns cost. Lifetime: app, in one process; safe for all threads.

    `teller` tells people, after a commit.
    """

    def __init__(
        self,
        stores: Stores,
        settings: Settings,
        prices: Prices,
        charters: CharterBook,
        teller: Teller,
    ) -> None:
        self._stores = stores
        self._clock = stores.database.clock
        self._charters = charters
        self.till = Till(stores, prices, teller, self._count, self._refused)
        self._teller = teller
        self._patience = 2 * settings.turn_timeout / 1000
        self._person = budgeting.ceilings(settings.person_budget)
        self._own: Remembered[Charter, Limits] = Remembered(lambda one: budgeting.ceilings(one.limits, one.behaviour))
        self._parents: Remembered[CharterDocument, Limits] = Remembered(lambda one: budgeting.ceilings(one.limits))
        self._lock = threading.Lock()
        self._tallies: dict[str, Tally] = defaultdict(Tally)
        self._looked_at = float("-inf")
        self._held_by: dict[str, Sequence[Purse]] = {}

    def purses(
        self, tx: Any, snapshot: OrchestratorSnapshot, charter: Charter, requester_id: str | None
    ) -> tuple[Purse, ...]:
        """What a call of this orchestrator for this person is paid from, in the order in which all take from them."""
        own = self._own.of(charter)
        found = budgeting.purses(Scope.ORCHESTRATOR, snapshot.id, own, charter.version) if own else ()
        if charter.parent_version:
            limits = self._parents.of(self._charters.parent(tx, snapshot))
            key = snapshot.organization_id
            found += budgeting.purses(Scope.ORGANIZATION, key, limits, charter.parent_version)
        if self._person and requester_id is not None:
            found += self.of_person(requester_id)
        return found

    def of_person(self, user_id: str) -> tuple[Purse, ...]:
        """The purses of a person: everybody's are the same."""
        return budgeting.purses(Scope.PERSON, user_id, self._person)

    def of_organization(self, tx: Any, organization_id: str) -> tuple[Purse, ...]:
        """The purses of an organization by the charter that is active now."""
        found = self._charters.parents.current(tx, organization_id)
        limits = budgeting.ceilings(read_parent(found.charter).limits)
        return budgeting.purses(Scope.ORGANIZATION, organization_id, limits, found.version)

    def look(self, tx: Any, purses: Sequence[Purse]) -> list[tuple[Purse, Holdings, Pause | None]]:
        """What is gone of each in its present period, and whether it is closed."""
        now = self._clock.wall()
        found = [(purse, *self._stores.budgets.look(tx, purse, now)) for purse in purses]
        return [(one, gone, None if shut is None else Pause(shut.reason, shut.until)) for one, gone, shut in found]

    def survey(self, tx: Any, snapshot: OrchestratorSnapshot) -> list[tuple[Purse, Holdings, Pause | None]]:
        """All periods of an orchestrator, with or without a limit, and its organization's budgets."""
        found = self.purses(tx, snapshot, self._charters.of(tx, snapshot), None)
        own = {purse.period: purse for purse in found if purse.scope is Scope.ORCHESTRATOR}
        mine = [own.get(one) or Purse(Scope.ORCHESTRATOR, snapshot.id, one, Ceiling()) for one in Period]
        return self.look(tx, [*mine, *self.of_organization(tx, snapshot.organization_id)])

    def pauses(self, tx: Any, orchestrator_ids: Sequence[str]) -> Mapping[str, Pause]:
        """Those whose calls are refused now, for their own budget or their organization's."""
        closed = self._stores.budgets.closed(tx, self._clock.wall())
        if not closed:
            return {}
        found = {}
        for one in self._stores.people.snapshots(tx, orchestrator_ids):
            keys = ((Scope.ORCHESTRATOR, one.id), (Scope.ORGANIZATION, one.organization_id))
            shut = [closed[key] for key in keys if key in closed]
            if shut:
                last = max(shut, key=lambda each: each.until)
                found[one.id] = Pause(last.reason, last.until)
        return found

    def close(self, tab: Tab) -> None:
        """An attempt is over: write down what its end did not."""
        if not tab.pending:
            return
        try:
            with self._stores.database.write() as tx:
                tab.write(tx)
            tab.written()
        except Exception:
            # the border of a turn's end: nobody is helped where a lost line of the ledger ends the next turn, too
            log.exception("Calls could not be written into the ledger", extra={"action": "ledger-failed"})

    def _count(self, entry: Entry) -> None:
        with self._lock:
            tally = self._tallies[entry.payer.orchestrator_id]
            tally.calls += 1
            tally.cost += entry.cost or 0.0
            tally.unpriced += entry.cost is None
            for kind in Usage.__slots__:
                tally.tokens[kind] += getattr(entry.usage, kind)

    def _refused(self, orchestrator_id: str, purses: Sequence[Purse]) -> None:
        with self._lock:
            if len(self._held_by) >= REMEMBERED:
                self._held_by.clear()
            self._held_by[orchestrator_id] = tuple(one for one in purses if one.scope is not Scope.PERSON)

    def tallies(self) -> dict[str, Tally]:
        """What this process has counted, by orchestrator."""
        with self._lock:
            return dict(self._tallies)

    def sweep(self, ring: Callable[[str], None]) -> None:
        """Give back what dead attempts had reserved; let those go whose budget was raised."""
        now = self._clock.monotonic()
        if now - self._looked_at < SWEEP:
            return
        self._looked_at = now
        with self._stores.database.read() as tx:
            orphans = self._stores.ledger.orphans(tx, self._patience)
            held = self._stores.holds.who(tx, HELD)
            closed = self._stores.budgets.closed(tx, self._clock.wall())
        for orphan in orphans:
            self._give_up(orphan)
        self._open_unlimited(closed, now=self._clock.wall())
        waiting = dict.fromkeys([*held, *(key for scope, key in closed if scope is Scope.ORCHESTRATOR)])
        if any(scope is Scope.ORGANIZATION for scope, _ in closed):
            with self._lock:
                waiting |= dict.fromkeys(self._held_by)
        for one in waiting:
            if self._release(one):
                ring(one)

    def _give_up(self, orphan: Reserved) -> None:
        payer = orphan.entry.payer
        ids = {
            Scope.ORCHESTRATOR: payer.orchestrator_id,
            Scope.ORGANIZATION: payer.organization_id,
            Scope.PERSON: payer.requester_id,
        }
        purses = [Purse(scope, ids[scope], period, Ceiling()) for scope, period in orphan.purses]
        with self._stores.database.write() as tx:
            if self._stores.ledger.give_up(tx, orphan.id):
                self._stores.budgets.settle(tx, purses, orphan.entry, orphan.entry)
        log.warning(
            "Nobody saw the end of a model call: it counts as it was reserved",
            extra={"action": "call-given-up", "orchestrator": payer.orchestrator_id, "turn": payer.turn_id},
        )

    def _open_unlimited(self, closed: Mapping[tuple[Scope, str], Closed], now: float) -> None:
        """No pause outlives its limit, also where that went while no process ran that had refused a call."""
        for (scope, key), shut in closed.items():
            with self._stores.database.read() as tx:
                limits = self._limits(tx, scope, key)
            if scope is Scope.PERSON or any(shut.until == one.period.ends(now) for one in limits):
                continue
            with self._stores.database.write() as tx:
                opened = self._stores.budgets.reopen(tx, scope, key)
            if opened and scope is Scope.ORCHESTRATOR:
                self._teller.paused(key, None)

    def _limits(self, tx: Any, scope: Scope, key: str) -> Sequence[Purse]:
        if scope is not Scope.ORCHESTRATOR:
            return self.of_organization(tx, key) if scope is Scope.ORGANIZATION else ()
        one = self._stores.people.snapshot(tx, key)
        found = () if one is None else self.purses(tx, one, self._charters.of(tx, one), None)
        return [purse for purse in found if purse.scope is scope]

    def _release(self, orchestrator_id: str) -> bool:
        """Ready again, where the limits are others than those it was held by, as far as this process knows."""
        with self._stores.database.read() as tx:
            snapshot = self._stores.people.snapshot(tx, orchestrator_id)
            if snapshot is None:
                return False
            purses = self.purses(tx, snapshot, self._charters.of(tx, snapshot), None)
        with self._lock:
            before = self._held_by.get(orchestrator_id)
            self._held_by[orchestrator_id] = purses
        if before == purses:
            return False
        opened = False
        with self._stores.database.write() as tx:
            if before is not None:  # else nobody knows whether anything has changed: the next call will tell
                opened = self._stores.budgets.reopen(tx, Scope.ORCHESTRATOR, snapshot.id)
                opened |= self._stores.budgets.reopen(tx, Scope.ORGANIZATION, snapshot.organization_id)
            released = bool(self._stores.holds.release(tx, orchestrator_id, HELD))
        if opened:
            self._teller.paused(orchestrator_id, None)
        return released
