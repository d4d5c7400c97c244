"""Other people's queues with their own workers, as real processes: Huey on SQLite, Celery on Redis."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path

from .ear import FOLDER, Ear
from .procs import stop
from .servers import redis_server

READY = 60.0
"""Seconds that a worker has to do its first task."""

HUEY_WORKER = ("-m", "huey.bin.huey_consumer", "benchmarks.huey_tasks.huey", "-w", "1", "-k", "thread")
HUEY_POLLS = ("-d", "0.005", "-m", "0.005", "-b", "1", "-q")
CELERY_WORKER = ("-m", "celery", "-A", "benchmarks.celery_tasks", "worker", "-P", "threads", "-c", "4", "-l", "ERROR")

ROOT = Path(__file__).parent.parent


@contextmanager
def huey(folder: Path, ear: Ear) -> Iterator[Callable[[], object]]:
    """Enqueues a task for Huey's consumer: SQLite, one thread, a look every 5 ms."""
    with _environment({FOLDER: str(folder)}):
        begin: Callable[[], object] = import_module(".huey_tasks", __package__).begin
        with _worker([*HUEY_WORKER, *HUEY_POLLS], folder / "huey.log"):
            _warm_up(begin, ear)
            yield begin


@contextmanager
def celery(folder: Path, ear: Ear, broker: str | None = None) -> Iterator[Callable[[], object]]:
    """Enqueues a task for Celery's worker: Redis (one of its own, unless `broker` names one), a pool of threads."""
    with ExitStack() as stack:
        address = broker or stack.enter_context(redis_server(folder))
        stack.enter_context(_environment({FOLDER: str(folder), "NEOLITH_BENCHMARK_BROKER": address}))
        tasks = import_module(".celery_tasks", __package__)
        stack.callback(tasks.app.close)
        begin: Callable[[], object] = tasks.begin.delay
        stack.enter_context(_worker([*CELERY_WORKER], folder / "celery.log"))
        _warm_up(begin, ear)
        yield begin


@contextmanager
def _worker(arguments: list[str], file: Path) -> Iterator[None]:
    with file.open("w") as log:
        worker = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=log, stderr=log)
    try:
        yield
    finally:
        stop(worker)


def _warm_up(begin: Callable[[], object], ear: Ear) -> None:
    begin()
    ear.hear(READY)
    for _ in range(20):
        began = time.monotonic()
        begin()
        ear.hear(READY)
        threading.Event().wait(max(0.0, 0.01 - (time.monotonic() - began)))


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    os.environ.update(values)  # for our own import of the tasks and for the workers
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(name, None)
