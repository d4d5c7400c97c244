"""Four faults that the auditor must find. They are planted in the server program, never in the package.

| fault            | what is taken away                                                              |
|------------------|---------------------------------------------------------------------------------|
| `no-fence`       | a finish whose conversation has a newer owner is written and told nevertheless   |
| `no-dedupe`      | the delivery's unique key: a message accepted again is a second delivery         |
| `no-sweep`       | what dead processes left is never handed back, and nobody rings for ready work   |
| `early-effects`  | the answer is told as done before the transaction that writes it is committed    |
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import text

from flask_neolith_orchestrator.backends.socketio import SocketIOChannel
from flask_neolith_orchestrator.core.events import channel_room
from flask_neolith_orchestrator.core.types import Claim
from flask_neolith_orchestrator.runtime.upkeep.sweeper import Sweeper
from flask_neolith_orchestrator.store.inbox.inbox import Accepted, Arrival, Inbox
from flask_neolith_orchestrator.store.turns.endings import Fate, Outcome
from flask_neolith_orchestrator.store.turns.settle import Settle


def plant(fault: str) -> None:
    """Plant a fault in this process; none for the empty name."""
    if fault:
        FAULTS[fault]()


def _no_fence() -> None:
    fenced = Settle.settle

    def settle(self: Settle, tx: Any, claim: Claim, outcome: Outcome, **more: Any) -> Any:
        written = fenced(self, tx, claim, outcome, **more)
        if written is not None:
            return written
        where = {"id": int(claim.conversation_id), "turn": int(claim.turn_id)}
        tx.execute(text("UPDATE neolith_conversation SET turn_id = :turn WHERE id = :id"), where)
        epoch = tx.execute(text("SELECT epoch FROM neolith_conversation WHERE id = :id"), where).scalar_one()
        return fenced(self, tx, replace(claim, epoch=epoch), outcome, **more)

    Settle.settle = settle  # type: ignore[method-assign]  # a planted fault


def _no_dedupe() -> None:
    deduped = Inbox.accept_in

    def accept_in(self: Inbox, tx: Any, arrivals: Sequence[Arrival]) -> list[Accepted]:
        fresh = [replace(one, dedupe_key=f"{one.dedupe_key}:{uuid.uuid4().hex}") for one in arrivals]
        return deduped(self, tx, fresh)

    Inbox.accept_in = accept_in  # type: ignore[method-assign]  # a planted fault


def _no_sweep() -> None:
    Sweeper.recover = lambda self: None  # type: ignore[method-assign]  # a planted fault
    Sweeper.ring_ready = lambda self: None  # type: ignore[method-assign]  # a planted fault


def _early_effects() -> None:
    channels: list[SocketIOChannel] = []
    made = SocketIOChannel.__init__

    def init(self: SocketIOChannel, socketio: Any) -> None:
        made(self, socketio)
        channels.append(self)

    quiet = Settle.settle

    def settle(self: Settle, tx: Any, claim: Claim, outcome: Outcome, **more: Any) -> Any:
        written = quiet(self, tx, claim, outcome, **more)
        if written is not None and outcome.fate is Fate.ANSWERED:
            message = self._chat.view(tx, claim.reply_id)
            channels[0].emit("message:done", {"message": message}, channel_room(claim.place.channel_id))
        return written

    SocketIOChannel.__init__ = init  # type: ignore[method-assign]  # a planted fault
    Settle.settle = settle  # type: ignore[method-assign]  # a planted fault


FAULTS: Mapping[str, Callable[[], None]] = {
    "no-fence": _no_fence,
    "no-dedupe": _no_dedupe,
    "no-sweep": _no_sweep,
    "early-effects": _early_effects,
}
