"""What an orchestrator answers may be for another one, whose charter lets it answer that one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ...chat.scan import may_mention
from ...core.types import Claim
from ...store.stores import Stores
from ...store.turns.endings import Fate, Outcome
from .hearing import Heard
from .reception import Reception

log = logging.getLogger("flask_neolith_orchestrator")


class Overhearing:
    """Hears answers in the transaction that finishes them. Lifetime: app, in one process; safe for all threads.

    Costs nothing while no charter in the app has `answers_bots`, and for an answer that mentions nobody.
    """

    def __init__(self, stores: Stores, reception: Reception) -> None:
        self._stores = stores
        self._reception = reception
        self._pending: dict[str, Callable[[], None]] = {}

    def settled(self, tx: Any, claim: Claim, outcome: Outcome) -> None:
        """Accept an answer for those whom it mentions; `told` is to be called after the commit."""
        self._pending.pop(claim.turn_id, None)  # of a transaction that was rolled back
        if outcome.fate is not Fate.ANSWERED or not may_mention(outcome.text):
            return
        if "bot" not in self._stores.triggers.kinds(tx):
            return
        heard = Heard(
            message_id=claim.reply_id,
            channel_id=claim.place.channel_id,
            thread_id=claim.place.thread_id,
            content=outcome.text,
            author_id=self._stores.people.user_id(tx, claim.orchestrator_id),
            author_is_orchestrator=True,
            is_dm=claim.place.is_dm,
        )
        try:
            with tx.begin_nested():  # the answer stands, whatever becomes of this
                _wakes, accepted, announce = self._reception.receive_in(tx, heard)
        except Exception:
            # the border to a host's ChatStore: what it raises must not keep the answer from being written
            log.exception("An answer could not be heard by others", extra={"action": "overhear-failed"})
            return
        if accepted:
            self._pending[claim.turn_id] = announce

    def told(self, claim: Claim) -> None:
        """The answer is committed: ring for whom it woke."""
        announce = self._pending.pop(claim.turn_id, None)
        if announce is not None:
            announce()
