"""The inbox's rows as two processes see them, for tests that look at what is written and not at who is told."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from flask_neolith_orchestrator.core.types import Cause, Place, Wanted
from flask_neolith_orchestrator.testing import ManualClock

from .inbox_model import OPEN
from .world import World

EPOCH = 1_700_000_000.0
"""When each example begins."""


class Rows:
    """The inbox as two processes on one database see it, emptied for each example."""

    def __init__(self, worlds: tuple[World, World], clock: ManualClock, *, slots: int) -> None:
        first = worlds[0]
        self.worlds = worlds
        self.clock = clock
        self.ada = first.ada
        self.table = first.neolith.models.table
        self.database = first.stores.database
        self.threads = [first.thread() for _ in range(2)]
        with self.database.write() as tx:
            first.stores.daemons.want(tx, self.ada, Wanted.RUNNING, Cause.PERSON)
            first.stores.leases.make_slots(tx, self.ada, slots)

    def clear(self) -> None:
        """As it was at first."""
        self.clock.advance(EPOCH - self.clock.wall())
        message, slot = self.table("Message"), self.table("Slot")
        with self.database.write() as tx:
            for name in ("Step", "Delivery", "Turn", "Conversation"):
                tx.execute(delete(self.table(name)))
            tx.execute(delete(message).where(message.c.id.not_in([int(one) for one in self.threads])))
            tx.execute(
                update(slot).values(node_id=None, conversation_id=None, turn_id=None, epoch=None, lease_until=None)
            )
        self.want(wanted=True)

    def want(self, *, wanted: bool) -> None:
        """Whether anybody may work for the orchestrator."""
        with self.database.write() as tx:
            tx.execute(update(self.table("Daemon")).values(wanted="running" if wanted else "stopped"))

    def place(self, key: str) -> Place:
        """A thread by its number, or the main line."""
        return Place(self.worlds[0].general, None if key == "main" else self.threads[int(key)])

    def say(self, who: str, key: str) -> str:
        """Store a person's message, and nothing else."""
        with self.database.write() as tx:
            return self.said(tx, who, key)

    def said(self, tx: Connection, who: str, key: str) -> str:
        """The same within a transaction."""
        world, message = self.worlds[0], self.table("Message")
        thread = self.place(key).thread_id
        values = {
            "channel_id": int(world.general),
            "author_id": int(world.ids[who]),
            "parent_id": None if thread is None else int(thread),
            "content": "hello",
            "created_at": self.clock.wall(),
        }
        return str(tx.execute(insert(message).values(**values).returning(message.c.id)).scalar_one())

    def ask(self, turn_id: str) -> None:
        """A turn makes a call that somebody must be asked about: two steps."""
        step = self.table("Step")
        with self.database.write() as tx:
            n = tx.execute(select(func.count()).where(step.c.turn_id == int(turn_id))).scalar_one()
            for kind, state in (("model", "done"), ("tool", "waiting")):
                n += 1
                row = {"turn_id": int(turn_id), "n": n, "kind": kind, "key": f"{turn_id}:{n}", "state": state}
                more = {"call_id": "c", "name": "post", "arguments": {"text": "secret"}} if kind == "tool" else {}
                tx.execute(insert(step).values({**row, **more, "created_at": self.clock.wall()}))

    def all(self, name: str) -> list[Any]:
        """Rows of a table in order."""
        table = self.table(name)
        with self.database.read() as tx:
            return list(tx.execute(select(table).order_by(*table.primary_key.columns)))

    def keep_the_promises(self) -> None:
        """What must hold of the rows whatever has happened: one turn at a time, the limit, no row left over."""
        deliveries, turns = self.all("Delivery"), {row.id: row for row in self.all("Turn")}
        running = {key for key, row in turns.items() if row.state == "running"}
        held = [row.turn_id for row in self.all("Slot") if row.node_id is not None]
        assert sorted(held) == sorted(running)
        assert len({turns[one].conversation_id for one in running}) == len(running)
        assert {row.turn_id for row in deliveries if row.state == "running"} == running
        messages = {str(row.id): row for row in self.all("Message")}
        streaming = {key for key, row in messages.items() if row.state == "streaming"}
        seen = {turns[one].reply_id for one in running if messages[turns[one].reply_id].deleted_at is None}
        assert streaming == seen
        for row in deliveries:
            assert row.state != "answered" or turns[row.turn_id].state == "done"
            assert row.state in OPEN or row.ended_at is not None
