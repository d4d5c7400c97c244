"""What the inbox should do, said once more and as simply as possible: plain objects, one thread, no database.

Written from the design, to be compared with what the rows say after each step.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

OPEN = ("waiting", "running", "parked")

NOTICE = "(a notice)"
"""Stands for whatever text says that no answer will come."""


ENDS = {
    "answered": "answered",
    "stopped": "cancelled",
    "deleted": "cancelled",
    "failed": "failed",
    "refused": "refused",
}
TURNS = {"answered": "done", "failed": "failed", "refused": "failed", "deleted": "cancelled", "parked": "parked"}


class Blocked(StrEnum):
    """Why a claim got nothing although something was ready, or a take-over changed nothing."""

    NO_SLOT = "no slot"
    LOST_RACE = "lost race"


@dataclass(eq=False)
class Question:
    """A person's message."""

    id: str
    author: str
    gone: bool = False


@dataclass(eq=False)
class Reply:
    """The row of an answer."""

    state: str
    text: str = ""
    epoch: int = 0
    gone: bool = False


@dataclass(eq=False)
class Turn:
    """One answer in the making."""

    requester: str
    epoch: int
    reply: Reply
    state: str = "running"
    attempt: int = 1
    asked: str | None = None


@dataclass(eq=False)
class Conversation:
    """The unit of order: `holder` is the turn that runs."""

    key: str
    epoch: int = 0
    holder: Turn | None = None


@dataclass(eq=False, repr=False)
class Delivery:
    """One piece of work."""

    number: int
    place: Conversation
    question: Question
    ready: float
    accepted: float
    state: str = "waiting"
    attempts: int = 0
    turn: Turn | None = None
    resumes: bool = False

    def __repr__(self) -> str:
        return f"<{self.number}: {self.question.author}, {self.state}>"

    @property
    def open(self) -> bool:
        """Whether it has not come to its end."""
        return self.state in OPEN

    @property
    def blocks(self) -> bool:
        """Whether those behind it in its conversation wait for it: not while its turn lies parked."""
        return self.state in ("waiting", "running")


@dataclass(eq=False)
class Slot:
    """The right to run a turn."""

    node: int | None = None
    turn: Turn | None = None
    lease: float | None = None

    def free(self) -> None:
        """Nobody's again."""
        self.node = self.turn = self.lease = None


@dataclass(frozen=True)
class Right:
    """What a claim gave: the fence is `epoch`."""

    node: int
    place: Conversation
    turn: Turn
    epoch: int
    slot: int
    members: tuple[Delivery, ...]
    failures: int
    attempt: int


@dataclass(frozen=True)
class Found:
    """A slot as a sweep saw it."""

    slot: int
    turn: Turn
    epoch: int
    lease: float | None


@dataclass
class InboxModel:
    """One orchestrator's inbox. `now` is the clock's time."""

    slots: list[Slot]
    now: float
    lease: float
    max_age: float
    max_queue: int
    max_attempts: int
    wanted: bool = True
    deliveries: list[Delivery] = field(default_factory=list)
    conversations: dict[str, Conversation] = field(default_factory=dict)
    turns: list[Turn] = field(default_factory=list)
    notices: int = 0

    def of(self, turn: Turn, *states: str) -> list[Delivery]:
        """Deliveries of a turn in these states, oldest first."""
        return [one for one in self.deliveries if one.turn is turn and one.state in states]

    def accept(self, number: int, key: str, question: Question, delay: float) -> Delivery:
        """A new message for the orchestrator; refused where too many wait."""
        place = self.conversations.setdefault(key, Conversation(key))
        waiting = sum(one.state == "waiting" for one in self.deliveries)
        made = Delivery(number, place, question, self.now + delay, self.now)
        if waiting >= self.max_queue:
            made.state = "refused"
        self.deliveries.append(made)
        return made

    def heads(self) -> list[Delivery]:
        """What may be begun now: the oldest open one of a conversation that nobody holds, ready and not too old."""
        found = []
        for place in self.conversations.values():
            mine = [one for one in self.deliveries if one.place is place and one.blocks]
            if place.holder is not None or not mine:
                continue
            head = mine[0]
            if head.ready <= self.now and head.accepted > self.now - self.max_age:
                found.append(head)
        return sorted(found, key=lambda one: one.number) if self.wanted else []

    def claim(self, node: int, limit: int, *, keep: int | None = None) -> Right | Blocked | None:
        """The oldest ready head and those directly behind it by the same author; for a turn begun before, its own."""
        heads = self.heads()
        if any(slot.node == node and slot.turn and self._is_suspect(slot.turn) for slot in self.slots):
            heads = [one for one in heads if one.attempts < self.suspect]
        if not heads:
            return None
        free = [n for n, slot in enumerate(self.slots[:limit]) if slot.node is None and keep in (None, n)]
        if not free:
            return Blocked.NO_SLOT
        head = heads[0]
        members = self._members(head)
        place = head.place
        place.epoch += 1
        turn = self._begin(head, place.epoch)
        place.holder = turn
        head.attempts += 1
        for one in members:
            one.state, one.turn = "running", turn
        slot = self.slots[free[0]]
        slot.node, slot.turn, slot.lease = node, turn, self.now + self.lease
        if head.resumes:
            members += self.of(turn, "parked")
        return Right(node, place, turn, place.epoch, free[0], tuple(members), head.attempts, turn.attempt)

    @property
    def suspect(self) -> int:
        """Attempts after which only the last two are left."""
        return max(1, self.max_attempts - 2)

    def _is_suspect(self, turn: Turn) -> bool:
        """Whether it is in its last attempts: a node works on one such turn at a time."""
        return any(one.attempts > self.suspect for one in self.of(turn, "running"))

    def _members(self, head: Delivery) -> list[Delivery]:
        members: list[Delivery] = []
        for one in self.deliveries:
            if one.place is not head.place or one.state != "waiting" or one.number < head.number:
                continue
            other = one.turn is not head.turn or one.question.author != head.question.author
            if members and (other or one.resumes or head.resumes):
                break
            members.append(one)
        return members

    def _begin(self, head: Delivery, epoch: int) -> Turn:
        turn = head.turn
        if turn is None:
            turn = Turn(head.question.author, epoch, Reply("streaming", epoch=epoch))
            self.turns.append(turn)
            return turn
        turn.state, turn.epoch, turn.attempt, turn.asked = "running", epoch, turn.attempt + 1, None
        self._write(turn, "streaming", epoch, "")
        return turn

    @staticmethod
    def _write(turn: Turn, state: str, epoch: int, text: str | None = None) -> None:
        if turn.reply.gone or epoch < turn.reply.epoch:
            return
        turn.reply.state, turn.reply.epoch = state, epoch
        if text is not None:
            turn.reply.text = text

    def holds(self, right: Right) -> bool:
        """Whether a claim's fence stands."""
        return right.place.epoch == right.epoch and right.place.holder is right.turn

    def renew(self, node: int) -> list[tuple[Turn, int, str | None]]:
        """Every lease of a node is extended; what it holds, and what was asked to end."""
        held = []
        for slot in self.slots:
            if slot.node == node and slot.turn is not None:
                slot.lease = self.now + self.lease
                held.append((slot.turn, slot.turn.epoch, slot.turn.asked))
        return held

    def checkpoint(self, right: Right, text: str) -> bool:
        """The partial text, kept behind the fence."""
        if not self.holds(right):
            return False
        self._write(right.turn, "streaming", right.epoch, text)
        return True

    def settle(self, right: Right, fate: str, text: str, delay: float, *, punished: bool) -> str | None:
        """The end of an attempt, or None behind a fence that has moved; the fate that was really written."""
        if not self.holds(right):
            return None
        self._release(right.place, right.turn)
        members, turn = list(right.members), right.turn
        fate, spared = self._verdict(turn, members, fate, punished=punished)
        if fate == "failed" and spared and not members[0].resumes:
            for one in members[1:]:
                one.state, one.turn = "waiting", None
            members = members[:1]
        asked = [one for one in members if not one.resumes]
        present = [one for one in asked if not one.question.gone]
        if not present:
            fate = "deleted"
        elif fate not in ("stopped", "failed", "refused") and (fate == "deleted" or len(present) < len(asked)):
            self._end([one for one in asked if one.question.gone], "cancelled")
            if fate in ("answered", "deleted"):
                fate, text, delay = "released", "", 0.0
        present = [one for one in members if one.open and (one.resumes or not one.question.gone)]
        self._conclude(right, present, members, fate, text, delay, punished=punished and fate == "retry")
        return fate

    def _verdict(self, turn: Turn, members: list[Delivery], fate: str, *, punished: bool) -> tuple[str, bool]:
        """Stop wins, then the last attempt is a failure: of the head alone."""
        if turn.asked == "person" and fate in ("answered", "retry", "released", "parked"):
            return "stopped", False
        if fate == "retry" and punished and members[0].attempts >= self.max_attempts:
            return "failed", True
        return fate, False

    def _conclude(
        self,
        right: Right,
        present: list[Delivery],
        members: list[Delivery],
        fate: str,
        text: str,
        delay: float,
        *,
        punished: bool,
    ) -> None:
        turn = right.turn
        if fate in ENDS:
            self._end(members, ENDS[fate])
        elif fate == "parked":
            self._end(present, "parked")
        else:
            for one in present[:1] if members[0].resumes else present:
                one.state, one.ready = "waiting", self.now + delay
            if punished:
                for one in present[1:]:
                    one.turn = turn if one.state == "parked" else None
            elif members[0].attempts:
                members[0].attempts -= 1
        turn.state = TURNS.get(fate, "interrupted")
        if fate == "deleted":
            self._drop(turn)
        else:
            shown = {"answered": "final", "failed": "failed", "refused": "failed"}.get(fate, "interrupted")
            self._write(turn, shown, right.epoch, text)

    @staticmethod
    def _end(deliveries: Iterable[Delivery], state: str) -> None:
        for one in deliveries:
            one.state = state

    @staticmethod
    def _drop(turn: Turn) -> None:
        turn.reply.gone, turn.reply.text, turn.reply.state = True, "", "interrupted"

    def _release(self, place: Conversation, turn: Turn) -> None:
        place.holder = None
        for slot in self.slots:
            if slot.turn is turn:
                slot.free()

    def found(self, *, node: int | None = None, expired_for: int | None = None) -> list[Found]:
        """Slots of a node that is dead, or slots of other nodes whose lease has run out."""
        seen = []
        for n, slot in enumerate(self.slots):
            late = slot.lease is not None and slot.lease < self.now and slot.node != expired_for
            if slot.turn is not None and (slot.node == node if node is not None else late):
                seen.append(Found(n, slot.turn, slot.turn.epoch, slot.lease))
        return seen

    def take_over(self, orphan: Found) -> Blocked | list[Delivery] | None:
        """What a dead process had is handed back: those that ended by it, None if its turn is over, or LOST_RACE."""
        turn = orphan.turn
        place = next((one for one in self.conversations.values() if one.holder is turn), None)
        if place is None or place.epoch != orphan.epoch:
            return None
        if self.slots[orphan.slot].lease != orphan.lease:
            return Blocked.LOST_RACE
        self._release(place, turn)
        place.epoch += 1
        running = self.of(turn, "running")
        ended: list[Delivery] = []
        lying = self.of(turn, "parked")
        if turn.asked == "person":
            ended = self.of(turn, "running", "parked")
            self._end(ended, "cancelled")
            turn.state = "interrupted"
        else:
            for one in running[1:]:
                one.turn = None
            self._end(running, "waiting")
            dead = running[0].attempts >= self.max_attempts
            turn.state = "failed" if dead else "interrupted"
            ended = sorted(running[:1] + lying, key=lambda one: one.number) if dead else []
            self._end(ended, "failed")
        dead = turn.state == "failed"
        self._write(turn, "failed" if dead else "interrupted", place.epoch, NOTICE if dead else None)
        return ended

    def stop(self, deliveries: list[Delivery]) -> str:
        """What is being worked on is asked to end; what waits is cancelled, with all of its turn."""
        mine = [one for one in deliveries if one.open]
        turns = {one.turn for one in mine if one.turn is not None}
        asked = [turn for turn in turns if turn.state == "running"]
        for turn in asked:
            turn.asked = "person"
        begun = turns - set(asked)
        waiting = [one for one in self.deliveries if one.state == "waiting" and (one in mine or one.turn in begun)]
        waiting += [one for one in self.deliveries if one.state == "parked" and one.turn in begun]
        self._end(waiting, "cancelled")
        for turn in begun:
            turn.state = "cancelled"
            self._write(turn, "interrupted", turn.epoch)
        return "running" if asked else "waiting" if waiting else "over"

    def delete(self, question: Question) -> None:
        """A question is gone: what waits for it is cancelled, a turn that holds it is asked to end."""
        question.gone = True
        for one in [one for one in self.deliveries if one.question is question and one.open]:
            turn = one.turn
            if one.state == "waiting" or (one.state == "parked" and turn is not None and turn.state != "running"):
                one.state = "cancelled"
                self._drop_if_alone(turn)
            elif turn is not None and turn.asked is None:
                turn.asked = "deleted"

    def _drop_if_alone(self, turn: Turn | None) -> None:
        if turn is None or turn.state not in ("interrupted", "parked"):
            return
        left = self.of(turn, *OPEN)
        if all(one.resumes for one in left):
            self._end(left, "cancelled")
            turn.state = "cancelled"
            self._drop(turn)

    def decide(self, turn: Turn, number: int) -> Delivery | None:
        """The last of a parked turn's calls is decided: it is taken up by a delivery at the tail."""
        if turn.state != "parked":
            return None
        lying = self.of(turn, "parked")
        turn.state = "interrupted"
        author = Question("", turn.requester)
        made = Delivery(number, lying[0].place, author, self.now, self.now, turn=turn, resumes=True)
        self.deliveries.append(made)
        return made

    def retry(self, delivery: Delivery) -> bool:
        """One that has failed or expired waits again with all its attempts.

        In the same turn, unless that has answered, or works for, somebody else meanwhile, or its row is gone.
        """
        if delivery.state not in ("failed", "expired"):
            return False
        turn = delivery.turn
        own = turn is not None and turn.state == "failed" and not turn.reply.gone
        last = [one for one in self.deliveries if one.resumes and one.turn is turn][-1:] if turn is not None else []
        if own and last and turn is not None:
            self._end(self.of(turn, "failed", "expired"), "parked")
            delivery = last[0]
        elif delivery.resumes:
            return False
        delivery.state, delivery.attempts = "waiting", 0
        delivery.ready = delivery.accepted = self.now
        delivery.turn = turn if own else None
        return True

    def overdue(self) -> list[Delivery]:
        """What has waited too long."""
        return [one for one in self.deliveries if one.state == "waiting" and one.accepted < self.now - self.max_age]

    def expire(self, delivery: Delivery) -> bool:
        """It ends with a notice: in its turn's row, or in one of its own where it was never begun."""
        if delivery.state != "waiting":
            return False
        delivery.state = "expired"
        turn = delivery.turn
        if delivery.resumes and turn is not None:
            self._end(self.of(turn, "parked", "waiting"), "expired")
        if turn is None:
            self.notices += not delivery.question.gone
        elif turn.state == "interrupted":
            turn.state = "failed"
            self._write(turn, "failed", delivery.place.epoch + 1, NOTICE)
        return True
