"""Idle dispatch over Celery: from the commit in a web process to the model's request in a worker, one at a time."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from flask import Flask

from .app import close, db, make_app, neolith, world
from .dispatch import BLOCK, PATIENCE, SPACING, Round, spaced, theirs
from .ear import Ear
from .engines import celery
from .fleet import Fleet, fleet, until
from .rows import Faults, Row, median, milliseconds, quantile
from .servers import Postgres, postgres_server, redis_server
from .witness import inspect, watch

WARM_UP = 20
THREADS = 4
"""Of a worker, ours and the bare one."""

AIM = 0.012


def measure(*, quick: bool = False) -> Sequence[Row]:
    """Ours and bare Celery in turn: one worker each, on one Redis and one Postgres."""
    rounds = BLOCK if quick else 400
    with ExitStack() as stack:
        witness = stack.enter_context(watch())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(postgres_server())
        broker = stack.enter_context(redis_server(folder))
        url = server.database()
        made = stack.enter_context(world(1, SQLALCHEMY_DATABASE_URI=url))
        close(made.app)
        here = stack.enter_context(fleet(made, url, broker))
        ear = stack.enter_context(Ear(here.folder))
        here.start(THREADS)
        host = stack.enter_context(_plain_host(folder, server))
        enqueue = stack.enter_context(celery(here.folder, ear, broker))
        ours, bare, done = _measured(_ours(here, ear, stack), theirs(host, enqueue, ear), rounds)
        faults = _missing(here, done) + inspect(here.world) + here.faults() + witness.faults
    return [_row(ours, bare, faults)]


def _measured(ours: Round, bare: Round, rounds: int) -> tuple[list[float], list[float], int]:
    for _ in range(WARM_UP):
        ours()
    pauses = random.Random(1)
    took: dict[Round, list[float]] = {ours: [], bare: []}
    for _ in range(rounds // BLOCK):
        for one_round, times in took.items():
            times += [spaced(one_round, pauses.uniform(*SPACING)) for _ in range(BLOCK)]
    return took[ours], took[bare], WARM_UP + rounds


def _row(ours: list[float], bare: list[float], faults: Faults) -> Row:
    p50, its = median(ours), median(bare)
    return Row(
        "idle dispatch over Celery on Postgres, commit to model request in a worker, p50",
        milliseconds(p50),
        f"<= {AIM * 1000:g} ms",
        p50 <= AIM,
        f"{milliseconds(its)}: bare Celery, commit to task",
        f"{p50 / its:.2f}",
        faults,
        (f"{len(ours)} rounds of each; ours {_tail(ours)}; bare Celery {_tail(bare)}",),
    )


def _tail(times: list[float]) -> str:
    return f"p95 {milliseconds(quantile(times, 0.95))}, p99 {milliseconds(quantile(times, 0.99))}"


def _ours(here: Fleet, ear: Ear, stack: ExitStack) -> Round:
    made = here.world
    stack.enter_context(made.app.app_context())
    neolith.manager.start_daemon(made.orchestrators[0])
    asked = 0

    def one_round() -> float:
        nonlocal asked
        neolith.chat.post(made.person, made.channel, f"@agent0 job 0.{asked}")
        began = time.monotonic()
        db.session.commit()
        took = ear.hear(PATIENCE) - began
        asked += 1
        until(lambda: here.answered() == asked, "the answer", pause=0.003)
        return took

    return one_round


@contextmanager
def _plain_host(folder: Path, server: Postgres) -> Iterator[Flask]:
    """The host without us, on a database of its own."""
    app = make_app(folder, with_us=False, SQLALCHEMY_DATABASE_URI=server.database())
    with app.app_context():
        db.create_all()
    try:
        yield app
    finally:
        close(app)


def _missing(here: Fleet, expected: int) -> Faults:
    """Every message has been answered once."""
    if (answered := here.answered()) == expected == len(here.calls()):
        return Faults()
    return Faults(violations=1, details=(f"{answered} of {expected} answered, by {len(here.calls())} calls",))
