"""Turns that lie parked until a person has decided on their calls: laid aside, decided, taken up again.

A parked turn holds neither slot nor conversation: the talk goes on beside it. Its deliveries are `parked` with it. Once
the last of its calls is decided, a delivery of kind `resume` at the conversation's tail takes it up again. Every
decision locks the conversation first, as claims and finishes do, and changes only what still waits: one wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import Connection, and_, func, or_, select, update

from ...core.ports import ChatStore, ReplyWrite
from ...core.types import Claim, MessageState, Place, TurnState
from ..inbox.inbox import conversation_key
from ..sql.database import Database
from ..sql.inserts import insert_into
from ..tables.columns import RUNNING
from ..tables.models import Models
from .endings import Ended, ended_rows
from .replies import Replies

WAITS: Final = "It waits for approval."
"""The notice of an answer that is parked."""

GOES_ON: Final = "It has been decided, and goes on in a moment."
"""The notice of an answer whose calls are decided, until it is taken up again."""

BATCH: Final = 100
"""Turns whose time is over that one look finds at the most."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of calls that wait: of those in `step_ids`, None: of all. `by` is a user's id, None for the clock.

    `told` is what the model hears of it, None for the usual words.
    """

    state: Literal["approved", "denied", "expired"]
    by: str | None = None
    step_ids: tuple[str, ...] | None = None
    told: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that somebody was, or is, asked about. `arguments` are for the requester and those who manage only."""

    id: str
    name: str
    state: str
    arguments: dict[str, Any]
    asks: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A turn and those of its calls that somebody was asked about. `expires_at` is epoch seconds."""

    turn_id: str
    orchestrator_id: str
    requester_id: str
    reply_id: str
    channel_id: str
    thread_id: str | None
    state: str
    expires_at: float | None
    calls: tuple[Asked, ...]

    @property
    def is_open(self) -> bool:
        """Whether a call still waits for somebody's word."""
        return self.state == TurnState.PARKED and any(one.state == "waiting" for one in self.calls)


@dataclass(frozen=True, slots=True)
class Decided:
    """What a decision changed: which calls (none, where all were decided before), and whether the turn goes on."""

    turn: Waiting
    changed: tuple[str, ...]
    expired: tuple[str, ...]
    resumed: bool


class Parking:
    """Lays turns aside and takes them up. Lifetime: app, in one process. `timeout` is in seconds."""

    def __init__(self, models: Models, database: Database, chat: ChatStore, *, timeout: float) -> None:
        self._database = database
        self._chat = chat
        self._replies = Replies(models, database, chat)
        self._timeout = timeout
        self._c, self._t = models.table("Conversation"), models.table("Turn")
        self._d, self._s = models.table("Delivery"), models.table("Step")
        t, s = self._t, self._s
        self._due = database.prepare(
            select(t.c.id)
            .join(s, s.c.turn_id == t.c.id)
            .where(s.c.state == "waiting", s.c.expires_at <= database.now(), t.c.state == "parked")
            .distinct()
            .limit(BATCH)
        )

    def park(self, tx: Connection, claim: Claim) -> None:
        """Lay a turn's deliveries aside, in the transaction of its finish; from now on the time runs."""
        d, s, turn = self._d, self._s, int(claim.turn_id)
        tx.execute(update(d).where(d.c.turn_id == turn, d.c.state == RUNNING).values(state="parked"))
        until = self._database.clock.wall() + self._timeout
        tx.execute(update(s).where(s.c.turn_id == turn, s.c.state == "waiting").values(expires_at=until))

    def withdraw(self, tx: Connection, turn_ids: Iterable[int]) -> None:
        """Nobody need decide any more: the turns have ended."""
        s, now = self._s, self._database.clock.wall()
        mine = (s.c.turn_id.in_(sorted(turn_ids)), s.c.state == "waiting")
        tx.execute(update(s).where(*mine).values(state="cancelled", ended_at=now))

    def abandon(self, tx: Connection, turn_ids: Sequence[int], state: str, outcome: str) -> list[Ended]:
        """What lies with turns that have ended, or would take them up again, ends with them."""
        if not turn_ids:
            return []
        d = self._d
        lying = or_(d.c.state == "parked", and_(d.c.state == "waiting", d.c.kind == "resume"))
        rows = tx.execute(
            update(d)
            .where(d.c.turn_id.in_(turn_ids), lying)
            .values(state=state, ended_at=self._database.clock.wall(), outcome=outcome)
            .returning(d.c.id, d.c.orchestrator_id, d.c.state, d.c.outcome)
        )
        ended = ended_rows(rows)
        self.withdraw(tx, turn_ids)
        return ended

    def lay_again(self, tx: Connection, turn: int) -> bool:
        """A turn that had lain parked and has failed is to be tried again; False for any other.

        What it had to answer lies with it once more, and the last `resume` takes it up.
        """
        d, now = self._d, self._database.clock.wall()
        last = tx.execute(select(func.max(d.c.id)).where(d.c.turn_id == turn, d.c.kind == "resume")).scalar()
        if last is None:
            return False
        failed = (d.c.turn_id == turn, d.c.state.in_(("failed", "expired")))
        tx.execute(update(d).where(*failed).values(state="parked", ended_at=None, outcome=None))
        tx.execute(update(d).where(d.c.id == last).values(state="waiting", attempts=0, ready_at=now, accepted_at=now))
        return True

    def look(self, tx: Connection, turn_id: str) -> Waiting | None:
        """A turn that somebody is or was asked about; None if there is none, or nobody ever was."""
        if not turn_id.isdecimal() or len(turn_id) > 18:
            return None
        t, c = self._t, self._c
        row = tx.execute(
            select(t, c.c.channel_id, c.c.thread_id)
            .join(c, c.c.id == t.c.conversation_id)
            .where(t.c.id == int(turn_id))
        ).first()
        calls = [] if row is None else self._calls(tx, row.id)
        return None if row is None or not calls else _waiting(row, calls)

    def _calls(self, tx: Connection, turn: int) -> Sequence[Any]:
        s = self._s
        mine = (s.c.turn_id == turn, s.c.kind == "tool", s.c.expires_at.is_not(None))
        return tx.execute(select(s).where(*mine).order_by(s.c.n)).all()

    def of_place(self, tx: Connection, orchestrator_id: str, requester_id: str, place: tuple[str, str | None]) -> str:
        """The newest turn that waits for this person's word in this channel and thread, or ""."""
        c, d, t = self._c, self._d, self._t
        key = conversation_key(Place(*place))
        found = tx.execute(
            select(t.c.id)
            .join(d, d.c.turn_id == t.c.id)
            .join(c, c.c.id == d.c.conversation_id)
            .where(c.c.orchestrator_id == int(orchestrator_id), c.c.key == key, d.c.state == "parked")
            .where(t.c.state == "parked", t.c.requester_id == requester_id)
            .order_by(t.c.id.desc())
            .limit(1)
        ).scalar()
        return "" if found is None else str(found)

    def decide(self, tx: Connection, turn_id: str, verdict: Verdict) -> Decided | None:
        """Decide on calls of a parked turn; None if nobody was ever asked about it. Harmless twice.

        What had its time is expired first, whatever the verdict is: nobody decides too late.
        """
        c, t = self._c, self._t
        mine = select(t.c.conversation_id).where(t.c.id == int(turn_id)).scalar_subquery()
        tx.execute(select(c.c.id).where(c.c.id == mine).with_for_update(key_share=True))
        found = self.look(tx, turn_id)
        if found is None or found.state != TurnState.PARKED:
            return None if found is None else Decided(found, (), (), resumed=False)
        expired = self._change(tx, int(turn_id), Verdict("expired"), due=True)
        changed = self._change(tx, int(turn_id), verdict) if verdict.state != "expired" else ()
        left = any(row.state == "waiting" for row in self._calls(tx, int(turn_id)))
        resumed = bool(expired or changed) and not left
        if resumed:
            self._resume(tx, int(turn_id))
        now = self.look(tx, turn_id)
        return None if now is None else Decided(now, changed, expired, resumed)

    def _change(self, tx: Connection, turn: int, verdict: Verdict, *, due: bool = False) -> tuple[str, ...]:
        s, now = self._s, self._database.clock.wall()
        which = [s.c.turn_id == turn, s.c.state == "waiting"]
        which += [s.c.expires_at <= now] if due else []
        which += [] if verdict.step_ids is None else [s.c.id.in_([int(one) for one in verdict.step_ids])]
        values: dict[str, Any] = {"state": verdict.state, "decided_at": now, "decided_by": verdict.by}
        if verdict.state != "approved":
            values |= {"ended_at": now, "result": verdict.told}
        rows = tx.execute(update(s).where(*which).values(values).returning(s.c.id))
        return tuple(sorted((str(row[0]) for row in rows), key=int))

    def _resume(self, tx: Connection, turn: int) -> None:
        """Everything is decided: the turn waits for its next attempt, at the tail of its conversation."""
        d, t, now = self._d, self._t, self._database.clock.wall()
        row = tx.execute(update(t).where(t.c.id == turn).values(state="interrupted").returning(t)).one()
        delivery = {
            "orchestrator_id": row.orchestrator_id,
            "conversation_id": row.conversation_id,
            "kind": "resume",
            "dedupe_key": f"resume:{turn}:{row.attempt}",
            "author_id": row.requester_id,
            "reason": "decided",
            "state": "waiting",
            "attempts": 0,
            "ready_at": now,
            "accepted_at": now,
            "turn_id": turn,
        }
        tx.execute(insert_into(d, self._database.dialect).values(delivery).on_conflict_do_nothing())
        if row.regenerates is not None:  # the version before stays what it is
            self._replies.touch(tx, row.reply_id, row.epoch, GOES_ON)
            return
        self._chat.write_reply(tx, ReplyWrite(row.reply_id, None, MessageState.INTERRUPTED, row.epoch, 0, now, GOES_ON))

    def due(self) -> list[str]:
        """Turns with calls on which nobody has decided in time."""
        with self._database.read() as tx:
            return [str(row[0]) for row in self._due.run(tx)]

    def expire(self, turn_id: str) -> Decided | None:
        """End what had its time, in a transaction of its own."""
        with self._database.write() as tx:
            return self.decide(tx, turn_id, Verdict("expired"))


def _waiting(row: Any, calls: Sequence[Any]) -> Waiting:
    times = [one.expires_at for one in calls if one.state == "waiting"]
    return Waiting(
        turn_id=str(row.id),
        orchestrator_id=str(row.orchestrator_id),
        requester_id=row.requester_id,
        reply_id=row.reply_id,
        channel_id=row.channel_id,
        thread_id=row.thread_id,
        state=row.state,
        expires_at=min(times, default=None),
        calls=tuple(Asked(str(one.id), one.name, one.state, dict(one.arguments or {}), one.asks) for one in calls),
    )
