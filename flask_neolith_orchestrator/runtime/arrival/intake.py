"""`handle_message` and `neolith.accept`: messages of a host's own, stored if nobody else does, and accepted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...core.cancel import StopReason
from ...core.errors import Forbidden, NotFound, OpenTransaction
from ...core.types import ENDED_DELIVERY_STATES, DeliveryState, IncomingMessage
from ...store.inbox import inbox as boxes
from ...store.sql.sqlite_host import has_begun_to_write
from ...store.stores import Stores
from ...store.turns.endings import Ended
from ...store.turns.turns import Stopped, Target
from .hearing import Heard
from .host_input import usable
from .reception import Reception


@dataclass(frozen=True, slots=True)
class Delivery:
    """One accepted piece of work. `wait` tells how it ended."""

    id: str
    orchestrator_id: str
    _intake: Intake

    @property
    def state(self) -> DeliveryState:
        """Its state now."""
        return self._intake.state_of(self.id)

    def wait(self, timeout: float) -> DeliveryState:
        """Its state once it has ended, or after `timeout` seconds."""
        return self._intake.wait(self.id, timeout)


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a message for one orchestrator: a delivery, or None and the reason why not."""

    delivery: Delivery | None
    reason: str

    def __bool__(self) -> bool:
        return self.delivery is not None


class Intake:
    """Takes messages in from the host's code. Lifetime: app, in one process; safe for all threads."""

    def __init__(
        self,
        stores: Stores,
        reception: Reception,
        session: Callable[[], Any],
        *,
        ended: Callable[[Sequence[Ended]], None],
        cancel: Callable[[str, StopReason], object],
    ) -> None:
        self._stores = stores
        self._reception = reception
        self._external = stores.external
        self._session = session
        self._tell_ended = ended
        self._cancel = cancel
        self._longest = reception.longest
        self._ended = threading.Condition()

    def accept(self, message: IncomingMessage, to: Sequence[str] | None = None, session: Any = None) -> list[Accepted]:
        """Accept in the host's session, for all whom the message wakes; nothing is committed.

        Raises Invalid, before anything is written, for a message that cannot be used (see `host_input.usable`).
        """
        message = usable(message, self._longest)
        session = self._session() if session is None else session
        tx = session.connection()
        heard = self._heard(tx, message, to, session)
        return [self._shown(one) for one in self._reception.receive(session, heard)]

    def stop(
        self, message_id: str, user_id: str, channel_id: str | None, may_manage: Callable[[str, str], bool]
    ) -> Stopped:
        """Stop the answers to a message, or one answer by its own id, in a transaction of ours.

        With `channel_id`, both ids are the host's own, of a chat that is only mirrored here. Raises NotFound for a
        message nobody answers, and Forbidden unless the user is the one who asked, or manages the orchestrator.
        """
        turns = self._stores.turns

        def stop(tx: Any) -> list[Any]:
            targets = turns.targets(tx, self._our_id(tx, message_id, channel_id))
            if not targets:
                raise NotFound
            mine = [one for one in targets if self._steers(tx, user_id, one, may_manage)]
            if not mine:
                raise Forbidden("Only the person who asked, or who manages the orchestrator, may stop the answer.")
            return [turns.stop(tx, target, StopReason.PERSON) for target in mine]

        results = self._stores.database.run(stop)
        for result in results:
            self._tell_ended(result.ended)
            if result.found is Stopped.RUNNING and result.turn_id is not None:
                self._cancel(result.turn_id, StopReason.PERSON)
        order = (Stopped.RUNNING, Stopped.WAITING, Stopped.OVER)
        return next(state for state in order if any(result.found is state for result in results))

    def _steers(self, tx: Any, user_id: str, target: Target, may_manage: Callable[[str, str], bool]) -> bool:
        orchestrator = self._stores.people.snapshot(tx, target.orchestrator_id)
        if orchestrator is None or target.requester_id == user_id:
            return target.requester_id == user_id
        return orchestrator.user.id == user_id or may_manage(user_id, orchestrator.organization_id)

    def _our_id(self, tx: Any, message_id: str, channel_id: str | None) -> str:
        if channel_id is None or self._external is None:
            return message_id
        found = self._external.find(tx, channel_id, message_id)
        if found is None:
            raise NotFound
        return found

    def accept_own(self, message: IncomingMessage, orchestrator_id: str) -> Accepted:
        """Accept in a transaction of ours, for one orchestrator. Raises OpenTransaction instead of waiting for us."""
        message = usable(message, self._longest)
        database = self._stores.database
        if database.threads and database.dialect.name == "sqlite" and self._host_writes():
            raise OpenTransaction

        def accept(tx: Any) -> Any:
            return self._reception.receive_in(tx, self._heard(tx, message, None, None), only=orchestrator_id)

        wakes, accepted, announce = database.run(accept)
        announce()
        if not accepted:
            return Accepted(None, "not-mentioned" if not wakes else wakes[0].reason)
        return self._shown(accepted[0])

    def _host_writes(self) -> bool:
        try:
            return has_begun_to_write(self._session())
        except RuntimeError:  # no app context, so no session of the host's
            return False

    def _heard(self, tx: Any, message: IncomingMessage, to: Sequence[str] | None, session: Any) -> Heard:
        metadata = message.metadata or {}
        message_id, channel_id, thread_id = message.id, message.channel_id, message.thread_id
        if self._external is not None:
            stored = self._external.store(tx, message, session=session)
            message_id, channel_id, thread_id = stored.message_id, stored.channel_id, stored.thread_id
            by_orchestrator = stored.author_is_orchestrator
        else:
            by_orchestrator = self._stores.people.orchestrator_id(tx, message.author_id) is not None
        name = metadata.get("author_name")
        return Heard(
            message_id=message_id,
            channel_id=channel_id,
            thread_id=thread_id,
            content=message.content,
            author_id=message.author_id,
            author_is_orchestrator=by_orchestrator,
            is_dm=bool(metadata.get("is_dm")),
            reply_to_author_id=metadata.get("reply_to_author_id"),
            to=None if to is None else tuple(to),
            automated=bool(metadata.get("is_bot")),
            author_name=name if isinstance(name, str) else None,
        )

    def _shown(self, one: boxes.Accepted) -> Accepted:
        delivery = Delivery(one.delivery_id, one.orchestrator_id, self)
        if one.state is DeliveryState.REFUSED:
            return Accepted(None, one.outcome or "queue-full")
        return Accepted(delivery, "accepted" if one.fresh else "duplicate")

    def state_of(self, delivery_id: str) -> DeliveryState:
        """A delivery's state now."""
        with self._stores.database.read() as tx:
            row = self._stores.turns.delivery(tx, delivery_id)
        return DeliveryState.CANCELLED if row is None else DeliveryState(row["state"])

    def wait(self, delivery_id: str, timeout: float) -> DeliveryState:
        """A delivery's state once it has ended, or after `timeout` seconds; another process may be the one."""
        clock = self._stores.database.clock
        deadline = clock.monotonic() + timeout
        while True:
            state = self.state_of(delivery_id)
            left = deadline - clock.monotonic()
            if state in ENDED_DELIVERY_STATES or left <= 0:
                return state
            with self._ended:
                self._ended.wait(min(0.1, left))

    def ended(self) -> None:
        """Some delivery of this process has ended: whoever waits looks again."""
        with self._ended:
            self._ended.notify_all()
