"""Work that waits, done by Celery workers on Postgres: how fast it is drained, and whether more workers do more."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .app import World, neolith
from .backlog import LIMIT, ORCHESTRATORS, Plan, filled, judge
from .fleet import fleet, until
from .rows import Faults, Row, median, milliseconds
from .servers import Postgres, postgres_server, redis_server
from .witness import inspect, watch

WORKERS, THREADS = 2, 25
JOB = 0.020
AIM = 8.0
QUICK = Plan(conversations=20, depth=2)

MANY = (1, 2, 4)
"""Workers that are compared."""

FEW_THREADS = 4
LONG_JOB = 0.200
EACH = 40
"""Jobs for each thread: so the ideal time is the same, however many workers there are."""

LINEAR = 0.9


@dataclass(frozen=True, slots=True)
class Drained:
    """One round. Seconds from the start of the orchestrators, and from the first call of the model, to the end."""

    seconds: float
    working: float
    processor: float
    shares: tuple[int, ...]


def measure(*, quick: bool = False) -> Sequence[Row]:
    """2,000 jobs of 20 ms wait before their orchestrators start; 2 workers of 25 threads."""
    plan, rounds = (QUICK, 1) if quick else (Plan(), 3)
    faults, found = Faults(), []
    with _backlog(plan) as stock:
        for _ in range(rounds):
            one, wrong = _drained(stock, plan, JOB, WORKERS, THREADS)
            found.append(one)
            faults += wrong
    took, aim = median(one.seconds for one in found), AIM * plan.jobs / Plan().jobs
    ideal = plan.jobs * JOB / min(ORCHESTRATORS * LIMIT, plan.conversations, WORKERS * THREADS)
    processor = median(one.processor for one in found) / plan.jobs
    return [
        Row(
            f"{plan.jobs:,} jobs of 20 ms that wait, {WORKERS} Celery workers of {THREADS} threads, Postgres, "
            f"{plan.conversations} conversations, {ORCHESTRATORS} orchestrators, limit {LIMIT}",
            f"{took:.2f} s",
            f"<= {aim:g} s, no violation of order, overlap or limit",
            took <= aim,
            f"{ideal:.2f} s: ideal",
            f"{took / ideal:.2f}",
            faults,
            (
                f"{plan.jobs / took:,.0f} turns/s; rounds: {', '.join(f'{one.seconds:.2f} s' for one in found)}",
                f"of that after the first call of the model: {', '.join(f'{one.working:.2f} s' for one in found)}",
                f"turns of each worker: {', '.join(' + '.join(map(str, one.shares)) for one in found)}",
                f"processor time of the workers a turn: {milliseconds(processor)}",
            ),
        )
    ]


def scaling(*, quick: bool = False) -> Sequence[Row]:
    """Jobs of 200 ms on 1, 2 and 4 workers of 4 threads; as much work for each thread."""
    many, each = ((1, 2), 2) if quick else (MANY, EACH)
    faults, took = Faults(), {}
    for workers in many:
        jobs = workers * FEW_THREADS * each
        plan = Plan(conversations=jobs // 2, depth=2)
        with _backlog(plan) as stock:
            one, wrong = _drained(stock, plan, LONG_JOB, workers, FEW_THREADS)
        took[workers] = one
        faults += wrong
    rates = {workers: workers * FEW_THREADS * each / one.seconds for workers, one in took.items()}
    shares = {workers: rate / rates[1] / workers for workers, rate in rates.items()}
    worst = min(shares.values())
    return [
        Row(
            f"jobs of 200 ms on {', '.join(map(str, many))} workers of {FEW_THREADS} threads, Postgres: turns/s",
            " / ".join(f"{rate:.1f}" for rate in rates.values()),
            f">= {LINEAR:g} of linear",
            worst >= LINEAR,
            " / ".join(f"{workers * FEW_THREADS / LONG_JOB:.0f}" for workers in many) + ": ideal",
            " / ".join(f"{share:.2f}" for share in shares.values()) + " of linear",
            faults,
            (
                f"{each} jobs for each thread: " + ", ".join(f"{one.seconds:.2f} s" for one in took.values()),
                "processor time of the workers a turn: "
                + ", ".join(
                    milliseconds(one.processor / (workers * FEW_THREADS * each)) for workers, one in took.items()
                ),
            ),
        )
    ]


@dataclass(frozen=True, slots=True)
class Stock:
    """Servers, and a database with a plan's questions: to be copied."""

    server: Postgres
    broker: str
    made: World
    url: str


@contextmanager
def _backlog(plan: Plan) -> Iterator[Stock]:
    """What is drained."""
    with tempfile.TemporaryDirectory() as folder, postgres_server() as server, redis_server(Path(folder)) as broker:
        url = server.database()
        with filled(plan, SQLALCHEMY_DATABASE_URI=url) as made:
            yield Stock(server, broker, made, url)


def _drained(stock: Stock, plan: Plan, seconds: float, workers: int, threads: int) -> tuple[Drained, Faults]:
    """Workers are up and idle; then the orchestrators start, by the web process."""
    with watch() as witness, fleet(stock.made, stock.server.database(stock.url), stock.broker, seconds) as here:
        here.start(threads, workers)
        before, began = here.processor(), time.monotonic()
        with here.world.app.app_context():
            for orchestrator in stock.made.orchestrators:
                neolith.manager.start_daemon(orchestrator)
        until(lambda: here.answered() == plan.jobs, "all are answered", 120.0, 0.05)
        took, processor = time.monotonic() - began, here.processor() - before
        calls = here.calls()
        first = min(one.began for one in calls) - began
        shares = sorted(Counter(line[0] for line in here.begun()).values())
        faults = judge(here.world, plan, calls) + inspect(here.world) + here.faults()
    return Drained(took, took - first, processor, tuple(shares)), faults + witness.faults
