"""Celery's side of the idle dispatch: imported by the one who enqueues and by Celery's own worker."""

from __future__ import annotations

import os

from celery import Celery

from .ear import tell

BROKER = "NEOLITH_BENCHMARK_BROKER"
"""The environment variable with the broker's address."""

app = Celery("benchmarks", broker=os.environ[BROKER])
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)


@app.task(name="benchmarks.begin")  # type: ignore[untyped-decorator]  # Celery has no types
def begin() -> None:
    """Say that the task has begun."""
    tell()
