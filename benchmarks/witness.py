"""Watches a measurement from outside: what is logged, which threads die, which lease renewals are left out."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask

from .app import World, neolith
from .rows import Faults

SCHEDULER = "flask_neolith_orchestrator.scheduler"
"""APScheduler's own log lines in this package; a job that is left out is told only there."""

KEPT = 5


class Witness(logging.Handler):
    """Counts what must not happen. Lifetime: its `watch` block."""

    def __init__(self, expected: str = "\0") -> None:
        super().__init__(logging.WARNING)
        self._expected = expected
        self._seen = threading.Lock()
        self._errors: list[str] = []
        self._skipped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """A warning, or worse, from anybody in this process."""
        words = record.getMessage()
        if self._expected in words or (record.name == SCHEDULER and "renew" not in words):
            return  # a sweep that is left out is done by the next one
        with self._seen:
            if record.name == SCHEDULER:
                self._skipped += 1
            else:
                cause = f" ({record.exc_info[1]!r})" if record.exc_info else ""
                self._errors.append(f"{record.name}: {words}{cause}")

    def died(self, about: threading.ExceptHookArgs) -> None:
        """A thread ended by an exception that nobody caught."""
        with self._seen:
            self._errors.append(f"thread {about.thread.name if about.thread else '?'} died: {about.exc_value!r}")

    def note(self, error: str) -> None:
        """Something that the measurement itself found."""
        with self._seen:
            self._errors.append(error)

    @property
    def faults(self) -> Faults:
        """What has been seen so far."""
        with self._seen:
            skipped = (f"{self._skipped} renewals of the leases were skipped",) if self._skipped else ()
            return Faults(0, len(self._errors), self._skipped, (*self._errors[:KEPT], *skipped))


@contextmanager
def watch(expected: str = "\0") -> Iterator[Witness]:
    """Hear every warning of this process, but what is `expected`, and every thread that dies while the block runs."""
    witness = Witness(expected)
    root = logging.getLogger()
    hook, threading.excepthook = threading.excepthook, witness.died
    root.addHandler(witness)
    try:
        yield witness
    finally:
        root.removeHandler(witness)
        threading.excepthook = hook


def listen_for_skipped_jobs() -> None:
    """Call once the runtime is up: starting it turns the scheduler's lines off."""
    logging.getLogger(SCHEDULER).setLevel(logging.WARNING)


def inspect(made: World) -> Faults:
    """How the app says it is after a measurement: its readiness over HTTP, and each daemon's own figures."""
    problems = [f"health/ready says of {name}: {said}" for name, said in _unready(made.app, made.person)]
    with made.app.app_context():
        states = neolith.manager.get_all_daemon_statuses()
    problems += [f"@{one.orchestrator.handle} failed {one.health.failed}" for one in states if one.health.failed]
    problems += [f"@{one.orchestrator.handle}: {one.health.errors[-1]}" for one in states if one.health.errors]
    return Faults(errors=len(problems), details=tuple(problems[:KEPT]))


def skipped_renewals(metrics: str) -> Faults:
    """What the page for Prometheus says of renewals that were left out, where a process's log cannot be heard."""
    (count,) = re.findall(r'^neolith_job_runs_skipped_total\{job="renew"\} (\d+)$', metrics, re.MULTILINE)
    told = (f"{count} renewals of the leases were skipped",) if int(count) else ()
    return Faults(skipped_renewals=int(count), details=told)


def _unready(app: Flask, manager: str) -> list[tuple[str, Any]]:
    client = app.test_client()
    client.post(f"/login/{manager}")
    answer = client.get("/neolith/api/v1/health/ready").get_json()
    checks = answer.get("checks")
    if checks is None:
        return [("everything", answer)]
    return [(name, said["detail"] or "not ok") for name, said in checks.items() if not said["ok"]]
