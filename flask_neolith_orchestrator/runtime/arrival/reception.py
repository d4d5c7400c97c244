"""Where messages arrive: wake rules and durable acceptance in the message's own transaction, the bell after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from ...core.events import channel_room
from ...core.ports import Channel
from ...core.types import DeliveryState, Wake
from ...store.inbox.inbox import Accepted, Arrival, Inbox
from ...store.sql import effects
from ...store.turns.endings import Ended
from ..broadcast.activity import tell_activity
from .hearing import Decided, Heard, Hearing, tell_decisions
from .manners import Manners, Plan
from .notices import Notice

Ring = Callable[[str, float], None]
"""Rings for an orchestrator, after so many seconds."""


class Reception:
    """Decides whom a message wakes and accepts the work. Lifetime: app, in one process; safe for all threads."""

    def __init__(
        self,
        inbox: Inbox,
        hearing: Hearing,
        manners: Manners,
        channel: Channel,
        *,
        longest: int,
        ring: Ring,
        ended: Callable[[Sequence[Ended]], None],
    ) -> None:
        self._inbox = inbox
        self._hearing = hearing
        self._manners = manners
        self._channel = channel
        self._ring = ring
        self._ended = ended
        self._heard_session: Any = None
        self.noted: Callable[[Sequence[Accepted]], None] = lambda _accepted: None
        self.longest = longest
        """Characters of one message at the most."""

    def listen(self, scoped_session: Any) -> None:
        """Hear the host's own scoped session for commits and rollbacks, once for all its sessions."""
        effects.listen(scoped_session)
        self._heard_session = scoped_session

    def after_commit(self, session: Any, effect: Callable[[], None]) -> None:
        """Run `effect` after the session's outermost commit; it must not use the session."""
        effects.after_commit(session, effect, heard=self._is_heard(session))

    def _is_heard(self, session: Any) -> bool:
        return self._heard_session is not None and effects.made_by(self._heard_session, session)

    def receive(self, session: Any, heard: Heard) -> list[Accepted]:
        """Accept a stored message for everybody it wakes, in the session's transaction; nothing is committed."""
        return self._accept(session, heard, self._hearing.wakes(session.connection(), heard))

    def enqueue(self, session: Any, arrival: Arrival) -> Accepted:
        """Accept work that no message brings, in the session's transaction, and ring for it after the commit."""
        (accepted,) = self._inbox.accept(session, [arrival])
        if accepted.state is DeliveryState.WAITING:
            self.after_commit(session, lambda: self._ring(arrival.orchestrator_id, 0.0))
            self.after_commit(session, lambda: self.noted([accepted]))
        return accepted

    def ring_later(self, session: Any, orchestrator_ids: Iterable[str]) -> None:
        """Ring for orchestrators once the session's transaction is committed: something waits again."""
        for one in orchestrator_ids:
            self.after_commit(session, partial(self._ring, one, 0.0))

    def edited(self, session: Any, heard: Heard, before: str) -> list[Accepted]:
        """An edit wakes those whom it mentions, or whose keyword it says, for the first time, once."""
        return self._accept(session, heard, self._hearing.edited(session.connection(), heard, before))

    def _accept(self, session: Any, heard: Heard, decided: Decided) -> list[Accepted]:
        plan = self._manners.plan(session.connection(), heard, decided) if decided.wakes else Plan()
        tell_decisions(heard, plan.wakes)
        if not plan.arrivals:
            return []
        accepted = self._inbox.accept(session, plan.arrivals)
        notices = self._manners.tell(session.connection(), heard, plan, accepted, decided)
        self.after_commit(session, lambda: self.announce(plan, accepted, notices))
        return accepted

    def receive_in(
        self, tx: Any, heard: Heard, *, only: str | None = None
    ) -> tuple[Sequence[Wake], list[Accepted], Callable[[], None]]:
        """The same in a transaction of ours; with `only`, for one orchestrator, whether it wakes or not.

        The decisions, what became of them, and what is to be called after the commit.
        """
        decided = self._hearing.wakes(tx, heard) if only is None else self._hearing.explain(tx, heard, only=only)
        plan = self._manners.plan(tx, heard, decided)
        tell_decisions(heard, plan.wakes)
        accepted = self._inbox.accept_in(tx, plan.arrivals)
        notices = self._manners.tell(tx, heard, plan, accepted, decided)
        return plan.wakes, accepted, lambda: self.announce(plan, accepted, notices)

    def announce(self, plan: Plan, accepted: Sequence[Accepted], notices: Sequence[Notice] = ()) -> None:
        """After the commit: ring for what waits, tell what was refused."""
        delays: Mapping[str, float] = {one.orchestrator_id: one.delay for one in plan.arrivals if one.until is None}
        for message in notices:
            self._channel.emit("message", {"message": message}, channel_room(str(message["channelId"])))
            tell_activity(self._channel, message)
        self.noted(accepted)
        for one in accepted:
            if one.state is DeliveryState.WAITING and one.orchestrator_id in delays:
                self._ring(one.orchestrator_id, delays[one.orchestrator_id])
        refused = [
            Ended(one.delivery_id, one.orchestrator_id, one.state, one.outcome or "")
            for one in accepted
            if one.fresh and one.state is DeliveryState.REFUSED
        ]
        if refused:
            self._ended(refused)
