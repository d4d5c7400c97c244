"""How an orchestrator answers: where, after how long, in its working hours, and when it is better silent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ...chat.charter import Charter
from ...chat.hours import hours_of, shown
from ...chat.keywords import listen
from ...chat.reasons import Reason
from ...core.types import DeliveryState, Place, Wake
from ...settings import Settings
from ...store.inbox.exchanges import LOOP, Exchange
from ...store.inbox.inbox import Accepted, Arrival
from ...store.stores import Stores
from ...store.turns.claims import HOURS
from ..broadcast.pauses import Pause
from ..charters.book import CharterBook
from ..money.rates import LIMITED, Rates
from .hearing import Decided, Heard
from .notices import Notice, Notices

FULL = "I have too many messages waiting and cannot take this one. Please ask me again later."
AWAY = "I am not here at the moment. I will answer as soon as I am back."
ENOUGH = "{other} and I have answered each other several times in a row, so I stop here. Ask me if I should go on."
SLOWLY = "That is more than I may take from you in so short a time. Please ask me again after {when} UTC."
AUTOMATIC = "This is an automatic message."


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of a message: the arrivals, and the decisions as they stand in the end."""

    arrivals: tuple[Arrival, ...] = ()
    wakes: tuple[Wake, ...] = ()


class Manners:
    """Says how a wake is answered. Lifetime: app, in one process; safe for all threads (each brings its tx)."""

    def __init__(
        self, settings: Settings, stores: Stores, charters: CharterBook, notices: Notices, rates: Rates
    ) -> None:
        self._settings = settings
        self._stores = stores
        self._charters = charters
        self._notices = notices
        self._rates = rates

    def plan(self, tx: Any, heard: Heard, decided: Decided) -> Plan:
        """One arrival for each that wakes, in the conversation where it will be answered."""
        arrivals, wakes = [], []
        for one in decided.wakes:
            if one.wakes:
                arrival = self._arrival(heard, one, decided.charter(one.orchestrator_id))
                if heard.by_machine and self._is_loop(tx, heard, one.orchestrator_id):
                    arrival = replace(arrival, refusal=LOOP)
                    one = replace(one, wakes=False, reason=Reason.LOOP)
                elif (wait := self._rates.wait(heard.author_id, one.orchestrator_id)) is not None:
                    arrival = replace(arrival, refusal=LIMITED, delay=wait)
                    one = replace(one, wakes=False, reason=Reason.LIMITED)
                arrivals.append(arrival)
            wakes.append(one)
        return Plan(tuple(arrivals), tuple(wakes))

    def _arrival(self, heard: Heard, one: Wake, charter: Charter | None) -> Arrival:
        until = None if charter is None else self._opens_at(charter)
        return Arrival(
            orchestrator_id=one.orchestrator_id,
            place=self._place(heard, charter),
            dedupe_key=f"msg:{heard.channel_id}:{heard.message_id}",
            author_id=heard.author_id,
            reason=one.reason,
            message_id=heard.message_id,
            delay=self._delay(charter),
            held=None if until is None else HOURS,
            until=until,
            by_machine=heard.by_machine,
        )

    def _place(self, heard: Heard, charter: Charter | None) -> Place:
        wished = None if charter is None else charter.behaviour.reply_in
        where = wished or self._settings.reply_in
        if heard.is_dm or heard.thread_id is not None or where == "channel":
            return heard.place
        return Place(heard.channel_id, heard.message_id)

    def _delay(self, charter: Charter | None) -> float:
        """Seconds until it may answer: for further lines of the same person, and because it is to take its time."""
        debounce = self._settings.debounce / 1000
        if charter is None:
            return debounce
        own = charter.behaviour.debounce
        return max(debounce if own is None else own, charter.behaviour.reply_delay)

    def _opens_at(self, charter: Charter) -> float | None:
        """When its working hours begin; None while they go on."""
        hours = hours_of(charter.availability.timezone, charter.availability.hours)
        return None if hours is None else hours.opens_at(self._stores.inbox.clock.wall())

    def _is_loop(self, tx: Any, heard: Heard, orchestrator_id: str) -> bool:
        """Whether these two have asked each other often enough for now."""
        return self._exchange(tx, heard, orchestrator_id).count >= self._settings.loop_exchanges

    def _exchange(self, tx: Any, heard: Heard, orchestrator_id: str) -> Exchange:
        people = self._stores.people
        one = (orchestrator_id, people.user_id(tx, orchestrator_id))
        other = (people.orchestrator_id(tx, heard.author_id), heard.author_id)
        return self._stores.exchanges.between(tx, one, other, self._settings.loop_window / 1000)

    def tell(self, tx: Any, heard: Heard, plan: Plan, accepted: Sequence[Accepted], decided: Decided) -> list[Notice]:
        """Write what people are told at once, and note whom else to tell; emit what is returned after the commit."""
        arrivals = {one.orchestrator_id: one for one in plan.arrivals}
        shown = []
        for one in accepted:
            if one.fresh:
                arrival, charter = arrivals[one.orchestrator_id], decided.charter(one.orchestrator_id)
                shown += self._notice(tx, heard, arrival, one, charter)
                if charter is not None and one.state is DeliveryState.WAITING:
                    self._escalate(tx, heard, arrival, charter)
        return shown

    def _notice(self, tx: Any, heard: Heard, arrival: Arrival, one: Accepted, charter: Charter | None) -> list[Notice]:
        if one.state is DeliveryState.REFUSED:
            return self._refused(tx, heard, arrival, one)
        if arrival.until is None or charter is None or self._stores.exchanges.said_before(tx, one.delivery_id):
            return []
        text = charter.availability.offline_message or AWAY
        remark = f"{AUTOMATIC} Back {shown(arrival.until, charter.availability.timezone)}."
        return self._notices.post(tx, one.orchestrator_id, arrival.place, text, remark, reply_to=heard.message_id)

    def _refused(self, tx: Any, heard: Heard, arrival: Arrival, one: Accepted) -> list[Notice]:
        """A refusal is visible: a short answer that says so; of a loop people are told once."""
        place, to = arrival.place, heard.message_id
        if one.outcome == LIMITED:
            return self._limited(tx, heard, arrival)
        if one.outcome != LOOP:
            return self._notices.refuse(tx, one.orchestrator_id, place, FULL, one.outcome or "", reply_to=to)
        if self._exchange(tx, heard, one.orchestrator_id).refused > 1:
            return []
        text = ENOUGH.format(other=self._called(tx, heard))
        return self._notices.post(tx, one.orchestrator_id, place, text, AUTOMATIC, reply_to=to)

    def _limited(self, tx: Any, heard: Heard, arrival: Arrival) -> list[Notice]:
        """Told once in a window: who sends too much is not sent as much again."""
        if not self._rates.may_tell(heard.author_id):
            return []
        at = datetime.fromtimestamp(self._stores.inbox.clock.wall() + arrival.delay + 1.0, UTC)
        text = SLOWLY.format(when=f"{at:%H:%M:%S}")
        return self._notices.refuse(
            tx, arrival.orchestrator_id, arrival.place, text, LIMITED, reply_to=heard.message_id
        )

    def _called(self, tx: Any, heard: Heard) -> str:
        key = self._stores.models.parse_user_id(heard.author_id)
        name = self._stores.people.names(tx, [key]).get(key) if key is not None else None
        return heard.author_name or name or "Somebody"

    def _escalate(self, tx: Any, heard: Heard, arrival: Arrival, charter: Charter) -> None:
        """Whom else to tell: that it is away, or that a certain word was said."""
        rules = charter.availability.escalation
        words = [word for rule in rules if rule.on == "keyword" for word in rule.keywords]
        note = self._stores.escalations.note
        if words and (said := listen(heard.content).says(words)) is not None:
            note(tx, arrival.orchestrator_id, "keyword", heard.message_id, message_id=heard.message_id, detail=said)
        if arrival.held == HOURS and any(rule.on == "hours" for rule in rules):
            key = f"{arrival.place.channel_id}/{arrival.place.thread_id or ''}:{arrival.until:.0f}"
            note(tx, arrival.orchestrator_id, "hours", key, message_id=heard.message_id)

    def with_hours(self, tx: Any) -> list[str]:
        """Those that have working hours at all."""
        triggers = self._stores.triggers
        return triggers.having(tx, HOURS) if HOURS in triggers.kinds(tx) else []

    def pauses(self, tx: Any, orchestrator_ids: Sequence[str]) -> Mapping[str, Pause]:
        """Those that are outside of their working hours, and until when."""
        some = set(orchestrator_ids).intersection(self.with_hours(tx))
        found = {}
        for key, charter in self._charters.behaviours(tx, sorted(some)).items() if some else ():
            until = self._opens_at(charter)
            if until is not None:
                found[key] = Pause(HOURS, until)
        return found

    def charter_changed(self, tx: Any, orchestrator_id: str, charter: Charter) -> int:
        """What waits for working hours waits for the new ones; how many deliveries that concerns."""
        return self._stores.exchanges.hold_until(tx, orchestrator_id, HOURS, self._opens_at(charter))
