"""The inbox on Postgres with 1,000, 100,000 and 1,000,000 deliveries waiting: does what a turn costs grow with them?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, event, text

from flask_neolith_orchestrator.store.stores import Stores
from flask_neolith_orchestrator.store.turns.endings import Fate, Outcome

from .app import World, db, neolith, want_running, world
from .rows import Faults, Row, median, milliseconds
from .servers import postgres_server
from .witness import watch

ORCHESTRATORS = 1_000
DEPTH = 4
"""Deliveries of one conversation, where there are enough for all orchestrators."""

SIZES = (1_000, 100_000, 1_000_000)
FLAT = 1.3
"""The dearest size may cost so many times what the cheapest does."""

LIMIT = 10
ANSWER = Outcome(Fate.ANSWERED, text="An answer of some length. " * 8, seq=3, model="none", calls=1)


@dataclass(slots=True)
class Size:
    """What was measured with so many deliveries waiting; times in seconds. Lifetime: one measurement."""

    waiting: int
    made: World
    stores: Stores
    claims: list[float] = field(default_factory=list)
    finishes: list[float] = field(default_factory=list)
    accepts: list[float] = field(default_factory=list)
    looks: list[float] = field(default_factory=list)
    statements: float = 0.0
    loaded: float = 0.0
    turn: int = 0

    @property
    def rate(self) -> float:
        """Claims a second of one thread."""
        return 1 / median(self.claims)


def measure(*, quick: bool = False) -> Sequence[Row]:
    """Each size in a database of its own; they take turns often, so that a slow moment of the machine meets all."""
    sizes, rounds, turns = (SIZES[:2], 4, 25) if quick else (SIZES, 24, 25)
    faults = Faults()
    with postgres_server() as server, ExitStack() as stack:
        found = [_filled(stack, server.database(), size) for size in sizes]
        with watch() as witness:
            for number in range(rounds + 1):
                for one in found:
                    faults += _round(one, turns, warm=not number)
        faults += witness.faults
    return _rows(found, faults)


def _rows(sizes: Sequence[Size], faults: Faults) -> Sequence[Row]:
    def shown(tell: Callable[[Size], str]) -> str:
        return ", ".join(f"{one.waiting:,}: {tell(one)}" for one in sizes)

    def spread(of: Callable[[Size], float]) -> float:
        return max(map(of, sizes)) / min(map(of, sizes))

    claims, statements = spread(lambda one: one.rate), spread(lambda one: one.statements)
    biggest = sizes[-1]
    return [
        Row(
            "claims a second on Postgres, one thread, by deliveries waiting",
            f"{biggest.rate:,.0f}/s",
            f"the sizes within {FLAT - 1:.0%}",
            claims <= FLAT,
            shown(lambda one: f"{one.rate:,.0f}/s"),
            f"{claims:.2f}",
            faults,
            (
                f"to finish a turn: {shown(lambda one: milliseconds(median(one.finishes)))}",
                f"to accept a message: {shown(lambda one: milliseconds(median(one.accepts)))}",
                f"one look of the sweep: {shown(lambda one: milliseconds(median(one.looks)))}",
                f"loaded in {shown(lambda one: f'{one.loaded:.0f} s')}; {ORCHESTRATORS:,} orchestrators",
            ),
        ),
        Row(
            "statements a message on Postgres: accept, claim and finish, by deliveries waiting",
            f"{biggest.statements:.1f}",
            f"the sizes within {FLAT - 1:.0%}",
            statements <= FLAT,
            shown(lambda one: f"{one.statements:.1f}"),
            f"{statements:.2f}",
            faults,
        ),
    ]


def _filled(stack: ExitStack, url: str, waiting: int) -> Size:
    """A database with so many deliveries waiting, of orchestrators that are wanted, in a process that runs none."""
    began = time.monotonic()
    made = stack.enter_context(world(ORCHESTRATORS, SQLALCHEMY_DATABASE_URI=url, ORCHESTRATOR_MODE=False))
    want_running(made)
    with made.app.app_context(), db.engine.connect() as tx:
        load(tx, made, waiting)
    return Size(waiting, made, made.app.extensions["neolith"].house.stores, loaded=time.monotonic() - began)


def load(tx: Connection, made: World, waiting: int) -> None:
    """Deliveries as accept writes them, by few statements: threads of the channel with `DEPTH` questions each.

    Two persons take turns, since neighbours by one author would be one turn.
    """
    tx.execute(text("SET synchronous_commit = off"))
    tx.execute(text("SET session_replication_role = replica"))  # foreign keys are not looked up one by one
    first = int(made.orchestrators[0])
    given = {
        "threads": max(-(-waiting // DEPTH), len(made.orchestrators)),  # so many have work in each size
        "waiting": waiting,
        "first": first,
        "orchestrators": len(made.orchestrators),
        "channel": int(made.channel),
        "person": int(made.person),
        "other": int(made.other),
        "now": time.time() - 60.0,
    }
    for statement in _LOAD:
        tx.execute(text(statement), given)
    for table in ("message", "conversation", "delivery"):
        name = f"neolith_{table}"
        tx.execute(text(f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), (SELECT max(id) FROM {name}))"))
    tx.execute(text("RESET session_replication_role"))
    tx.commit()
    tx.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM ANALYZE"))


_LOAD = (
    """
    INSERT INTO neolith_message (id, channel_id, author_id, content, state, epoch, seq, created_at, versions)
    SELECT g, :channel, :person, 'Thread ' || g, 'final', 0, 0, :now, 0 FROM generate_series(1, :threads) g
    """,
    """
    INSERT INTO neolith_message (id, channel_id, parent_id, author_id, content, state, epoch, seq, created_at, versions)
    SELECT :threads + n, :channel, 1 + (n - 1) % :threads,
        CASE WHEN ((n - 1) / :threads) % 2 = 0 THEN :person ELSE :other END, '@agent and ' || n, 'final', 0, 0, :now, 0
    FROM generate_series(1, :waiting) n
    """,
    """
    INSERT INTO neolith_conversation (id, orchestrator_id, key, channel_id, thread_id, is_dm, epoch)
    SELECT g, :first + (g - 1) % :orchestrators, CAST(:channel AS int) || '/' || g, CAST(:channel AS int)::text,
        g::text, false, 0
    FROM generate_series(1, :threads) g
    """,
    """
    INSERT INTO neolith_delivery (id, orchestrator_id, conversation_id, kind, dedupe_key, message_id, author_id,
        reason, state, attempts, ready_at, accepted_at, by_machine)
    SELECT n, :first + ((n - 1) % :threads) % :orchestrators, 1 + (n - 1) % :threads, 'message',
        'msg:' || CAST(:channel AS int) || ':' || (:threads + n), (:threads + n)::text,
        CASE WHEN ((n - 1) / :threads) % 2 = 0 THEN CAST(:person AS int)::text ELSE CAST(:other AS int)::text END,
        'mentioned', 'waiting', 0, :now, :now, 0
    FROM generate_series(1, :waiting) n
    """,
    """
    INSERT INTO neolith_slot (orchestrator_id, n)
    SELECT :first + o, n FROM generate_series(0, :orchestrators - 1) o, generate_series(0, 9) n
    """,
    """
    INSERT INTO neolith_channel_member (channel_id, user_id)
    SELECT :channel, user_id FROM neolith_orchestrator
    WHERE user_id NOT IN (SELECT user_id FROM neolith_channel_member)
    """,
    "UPDATE neolith_daemon SET state = 'running', slots = 10",
)


def _round(size: Size, turns: int, *, warm: bool) -> Faults:
    """Claim, finish and accept for one orchestrator after the other; `warm` is the round that does not count."""
    stores, missing = size.stores, 0
    with size.made.app.app_context(), _counted(db.engine) if warm else nullcontext() as count:
        for _ in range(turns):
            size.turn += 1
            missing += not _turn(size, size.turn * 7 % ORCHESTRATORS)
        if count is not None:  # what is heard is run another way than what is timed
            size.statements = count[0] / turns
        began = time.perf_counter()
        stores.leases.ready()
        stores.leases.overdue(86_400.0)
        size.looks.append(time.perf_counter() - began)
    if warm:
        for times in (size.claims, size.finishes, size.accepts, size.looks):
            times.clear()
    return Faults(violations=missing, details=(f"{missing} claims found nothing",) if missing else ())


def _turn(size: Size, agent: int) -> bool:
    stores, made = size.stores, size.made
    began = time.perf_counter()
    with stores.database.write() as tx:
        claim = stores.claims.claim(tx, made.orchestrators[agent], limit=LIMIT)
    claimed = time.perf_counter()
    if claim is None:
        return False
    with stores.database.write() as tx:
        stores.settle.settle(tx, claim, ANSWER)
    finished = time.perf_counter()
    # what was answered is asked again, so that as much waits at the end as at the beginning
    author = str(claim.requester_id)
    neolith.chat.post(author, made.channel, f"@agent{agent} and more", thread_id=claim.place.thread_id)
    db.session.commit()
    size.claims.append(claimed - began)
    size.finishes.append(finished - claimed)
    size.accepts.append(time.perf_counter() - finished)
    return True


@contextmanager
def _counted(engine: Engine) -> Iterator[list[int]]:
    """Statements of the block, commits not counted."""
    count = [0]

    def one(*_: Any) -> None:
        count[0] += 1

    event.listen(engine, "before_cursor_execute", one)
    try:
        yield count
    finally:
        event.remove(engine, "before_cursor_execute", one)
