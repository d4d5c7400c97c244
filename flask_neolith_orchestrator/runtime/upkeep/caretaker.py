"""The job `retention`: forgets what is older than it is to be kept, batch by batch, with room between them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from ...core.types import DeliveryState
from ...settings import Settings
from ...store.stores import Stores

log = logging.getLogger("flask_neolith_orchestrator")

BUDGET = 1.0
"""Seconds of one run for each kind of rows at the most; the next one goes on."""

PAGES = 10
"""Pages of conversations that one run looks at."""

MONTHS = 62 * 86_400.0
"""Seconds for which calls and budgets are kept at the least: budgets of this month are counted from them."""

ROOM = 0.01
"""Seconds between two batches at the least, in which others write; else as long as the batch has taken."""

DONE = (DeliveryState.ANSWERED, DeliveryState.CANCELLED, DeliveryState.REFUSED)
RETRYABLE = (DeliveryState.FAILED, DeliveryState.EXPIRED)


class Caretaker:
    """One process's retention. Lifetime: app, in one process. `run` is not called twice at once."""

    def __init__(self, stores: Stores, settings: Settings) -> None:
        self._retention = stores.retention
        self._stores = stores
        self._keep_ledger = settings.keep_ledger and max(settings.keep_ledger / 1000, MONTHS)
        self._keep_audit, self._keep_history = settings.keep_audit / 1000, settings.keep_history / 1000
        self._keep = settings.keep_deliveries / 1000
        self._keep_failed = settings.keep_failed and max(settings.keep_deliveries, settings.keep_failed) / 1000
        self._after = 0
        self._closing = threading.Event()

    def run(self) -> None:
        """Forget what is due, as far as the time goes."""
        self._all(self._money)
        self._all(self._looked_up)
        if not self._keep:
            return
        retention = self._retention
        deliveries = sum(self._all(partial(retention.deliveries, state, self._keep)) for state in DONE)
        if self._keep_failed:
            deliveries += sum(self._all(partial(retention.deliveries, one, self._keep_failed)) for one in RETRYABLE)
        counts = {
            "deliveries": deliveries,
            "letters": self._all(partial(retention.letters, self._keep)),
            "conversations": self._walk(),
        }
        if any(counts.values()):
            log.info("Old work was forgotten", extra={"action": "pruned", **counts})

    def _money(self) -> int:
        """A batch of old calls, and all budgets of old periods."""
        now = self._stores.database.clock.wall()
        with self._stores.database.write() as tx:
            calls = self._stores.ledger.forget(tx, now - self._keep_ledger) if self._keep_ledger else 0
            return calls + self._stores.budgets.forget(tx, now - MONTHS)

    def _looked_up(self) -> int:
        """A batch of old deeds, and one of old changes of daemons."""
        now, stores = self._stores.database.clock.wall(), self._stores
        with stores.database.write() as tx:
            deeds = stores.records.audit.forget(tx, now - self._keep_audit) if self._keep_audit else 0
            return deeds + (stores.records.history.forget(tx, now - self._keep_history) if self._keep_history else 0)

    def _all(self, batch: Callable[[], int]) -> int:
        """Batch after batch until nothing is left, or it is time to stop."""
        total, deadline = 0, time.monotonic() + BUDGET
        while self._may_go_on(deadline):
            began = time.monotonic()
            count = batch()
            total += count
            if not count:
                break
            self._give_way(began)
        return total

    def _walk(self) -> int:
        """Some pages of conversations, from where the last run stopped."""
        total, deadline = 0, time.monotonic() + BUDGET
        for _ in range(PAGES):
            if not self._may_go_on(deadline):
                break
            began = time.monotonic()
            step = self._retention.conversations(self._after)
            total += step.forgotten
            self._after = step.after or 0
            if step.after is None or step.kept_out:
                break
            self._give_way(began)
        return total

    def _may_go_on(self, deadline: float) -> bool:
        return not self._closing.is_set() and time.monotonic() < deadline

    def _give_way(self, began: float) -> None:
        self._closing.wait(max(ROOM, time.monotonic() - began))

    def close(self) -> None:
        """End a run that goes on, after its batch. Safe twice."""
        self._closing.set()
