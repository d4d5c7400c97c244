"""What one attempt has called for: asked before each call, written down after it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from ...chat import budgeting
from ...chat.metering import Charge, Spent, billed, estimate_input
from ...core.errors import ModelUnpriced, OverBudget
from ...core.model import ModelRequest
from ...core.money import Prices, Purse, Scope, Want
from ...core.types import Claim, Usage
from ...store.records.budgets import Mark, Short
from ...store.records.ledger import SUMMARY, Entry, Payer
from ...store.stores import Stores
from ..broadcast.pauses import Pause

log = logging.getLogger("flask_neolith_orchestrator")

HELD: Final = "budget"
"""What a delivery waits for that a budget keeps from being answered."""

BREATH: Final = 2.0
"""Seconds until the next try where only calls that go on stand in the way."""


class Teller(Protocol):
    """Tells people of budgets. Lifetime: app, in one process. Nothing here raises."""

    def marks(self, marks: Sequence[Mark], orchestrator_id: str) -> None:
        """Shares that were reached by a call of this orchestrator."""
        ...

    def paused(self, orchestrator_id: str, pause: Pause | None) -> None:
        """Its calls are refused from now on, or (None) are not any more."""
        ...


@dataclass(frozen=True, slots=True)
class Till:
    """Where all calls are paid. Lifetime: app, in one process; safe for all threads."""

    stores: Stores
    prices: Prices
    teller: Teller
    counted: Callable[[Entry], None]
    refused: Callable[[str, Sequence[Purse]], None]

    def ended(self, begun: Entry, spent: Spent, request: ModelRequest) -> Entry:
        """A call as it ended, with what it costs."""
        usage = billed(spent, lambda: estimate_input(request))
        cost = self.prices.cost(spent.model, usage)
        entry = Entry(begun.payer, begun.at, spent.model, usage, cost, spent.request_id, spent.error)
        self.counted(entry)
        return entry

    def reserve(self, begun: Entry, request: ModelRequest, purses: Sequence[Purse], replies: int) -> _Reserved:
        """Take from every purse what the call may need. Raises OverBudget or ModelUnpriced."""
        begun = self._estimated(begun, request, purses)
        want = Want(begun.tokens, begun.cost or 0.0, replies)

        def reserve(tx: Any) -> int:
            self.stores.budgets.reserve(tx, purses, want, begun.at)
            return self.stores.ledger.open(tx, begun, purses)

        try:
            call_id = self.stores.database.run(reserve)
        except Short as short:
            self.refused(begun.payer.orchestrator_id, purses)
            raise self._refusal(short, begun, purses) from None
        self.stores.budgets.remember(purses, begun.at)
        return _Reserved(self, begun, request, purses, call_id)

    def _estimated(self, begun: Entry, request: ModelRequest, purses: Sequence[Purse]) -> Entry:
        tokens = estimate_input(request)
        usage = Usage(tokens, request.max_tokens)
        plain = self.prices.cost(begun.model, usage)
        # whether the provider keeps a part of it in its cache, and asks more for that, is not known before
        cached = self.prices.cost(begun.model, Usage(0, request.max_tokens, cache_write_tokens=tokens))
        cost = None if plain is None or cached is None else max(plain, cached)
        if cost is None and any(purse.ceiling.cost is not None for purse in purses):
            raise ModelUnpriced
        return replace(begun, usage=usage, cost=cost)

    def _refusal(self, short: Short, begun: Entry, purses: Sequence[Purse]) -> OverBudget:
        purse, at = short.purse, begun.at
        scope = budgeting.origin(purse, purses)
        if short.passing:
            until = at + BREATH
            return OverBudget(budgeting.BREATH, scope=scope, period=purse.period, until=until, passing=True)
        reason = "replies" if short.for_replies else "budget"
        closed, marks = self.stores.database.run(lambda tx: self.stores.budgets.shut(tx, purse, reason, at))
        until = purse.period.ends(at)
        self.tell(marks, begun.payer.orchestrator_id)
        if closed and purse.scope is not Scope.PERSON:
            self.teller.paused(begun.payer.orchestrator_id, Pause(reason, until))
        return OverBudget(scope=scope, period=purse.period, until=until, reason=reason)

    def tell(self, marks: Sequence[Mark], orchestrator_id: str) -> None:
        """After the commit: shares that were reached."""
        if marks:
            self.teller.marks(marks, orchestrator_id)


@dataclass(frozen=True, slots=True)
class _Reserved:
    """A call that was reserved for. Lifetime: that call."""

    till: Till
    begun: Entry
    request: ModelRequest
    purses: Sequence[Purse]
    call_id: int

    def settle(self, spent: Spent) -> None:
        """Count what it came to, at once: others wait for what is left."""
        till, entry = self.till, self.till.ended(self.begun, spent, self.request)
        marks: Sequence[Mark] = ()

        def settle(tx: Any) -> Sequence[Mark]:
            if not till.stores.ledger.close(tx, self.call_id, entry):
                return ()
            return till.stores.budgets.settle(tx, self.purses, self.begun, entry)

        try:
            marks = till.stores.database.run(settle)
        except Exception:
            # the border of a call: its answer must not be lost for it, and the sweep settles what was reserved
            log.exception("A model call could not be settled", extra={"action": "settle-failed"})
        till.tell(marks, entry.payer.orchestrator_id)


@dataclass(frozen=True, slots=True)
class _Noted:
    """A call that nobody had to be asked about. Lifetime: that call."""

    tab: Tab
    begun: Entry
    request: ModelRequest

    def settle(self, spent: Spent) -> None:
        """Keep it for the transaction that ends the turn."""
        self.tab.pending.append(self.tab.till.ended(self.begun, spent, self.request))


class Tab:
    """The calls of one attempt. Implements `chat.metering.Meter`. Lifetime: the attempt, on its thread."""

    def __init__(self, till: Till) -> None:
        self.till = till
        self.pending: list[Entry] = []
        self._payer: Payer
        self._purses: Sequence[Purse] = ()
        self._counted = True
        self._is_first = True

    def open(self, claim: Claim, organization_id: str, purses: Sequence[Purse]) -> None:
        """Say on whose behalf calls will be made, and what they are paid from."""
        self._payer = Payer(
            turn_id=claim.turn_id,
            epoch=claim.epoch,
            orchestrator_id=claim.orchestrator_id,
            organization_id=organization_id,
            requester_id=claim.requester_id,
        )
        self._purses = purses
        self._counted = not any(purse.ceiling.replies is not None for purse in purses)
        self._is_first = claim.attempt == 1

    def reserve(self, request: ModelRequest) -> Charge:
        """Ask leave for a call that answers. Raises OverBudget or ModelUnpriced."""
        return self._reserve(request, self._payer)

    def summaries(self) -> Summaries:
        """The meter for calls that sum up what was said."""
        return Summaries(self, replace(self._payer, purpose=SUMMARY))

    def _reserve(self, request: ModelRequest, payer: Payer) -> Charge:
        stores = self.till.stores
        begun = Entry(payer, stores.database.clock.wall(), request.model)
        if not self._purses:
            return _Noted(self, begun, request)
        replies = 1 if payer.purpose == "answer" and not self._was_counted() else 0
        charge = self.till.reserve(begun, request, self._purses, replies)
        self._counted = self._counted or bool(replies)
        return charge

    def _was_counted(self) -> bool:
        """Whether this answer is among the answers of its period already."""
        if not self._counted and not self._is_first:
            with self.till.stores.database.read() as tx:
                self._counted = self.till.stores.ledger.has_calls(tx, self._payer.turn_id)
        return self._counted

    def write(self, tx: Any) -> None:
        """Write what has not been written, in the transaction that ends the attempt."""
        for entry in self.pending:
            self.till.stores.ledger.add(tx, entry)

    def written(self) -> None:
        """That transaction was committed."""
        self.pending.clear()


@dataclass(frozen=True, slots=True)
class Summaries:
    """Counts calls for summaries on the same tab. Implements `chat.metering.Meter`. Lifetime: the attempt."""

    tab: Tab
    payer: Payer

    def reserve(self, request: ModelRequest) -> Charge:
        """Ask leave. Raises OverBudget or ModelUnpriced."""
        return self.tab._reserve(request, self.payer)  # noqa: SLF001 -- the other half of the tab
