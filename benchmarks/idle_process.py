"""One process with many idle daemons, ours or threads: `python -m benchmarks.idle_process ours FOLDER 10000 32`.

Prints an empty line once everybody has been started, and what it measured, as JSON, at the end.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import queue
import sqlite3
import sys
import threading
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from .app import close, make_app, neolith
from .rows import Meter, median
from .witness import SCHEDULER, skipped_renewals, watch

FIRST = 1
"""The user who owns the organization and may see its numbers."""

SETTLE = 1.0
"""Seconds between the start and the measurements, so that what the start left behind is done."""

PATIENCE = 120.0

PERIOD = 30.0
"""The default of DAEMON_HEARTBEAT_INTERVAL in seconds."""


class Rounds(logging.Handler):
    """How long each run of one job took, from the scheduler's own log lines. Lifetime: the measurement."""

    def __init__(self, job: str) -> None:
        super().__init__(logging.INFO)
        self.took: list[tuple[float, float, float]] = []
        """When each began, for how long it ran, and how much of that its thread was on a processor."""
        self._job = job
        self._began = self._busy = 0.0
        logger = logging.getLogger(SCHEDULER)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(self)

    def first(self, seconds: float) -> list[tuple[float, float]]:
        """How long those took that began within some seconds of the first, and their processor time."""
        return [(took, busy) for began, took, busy in self.took if began < self.took[0][0] + seconds - 0.5]

    def emit(self, record: logging.LogRecord) -> None:
        """A job begins or has ended. The job is the first thing that each line names."""
        name = getattr(record.args[0], "name", "") if isinstance(record.args, tuple) and record.args else ""
        if name != self._job:
            return
        if record.msg.startswith("Running"):
            self._began, self._busy = time.perf_counter(), time.thread_time()
        elif "successfully" in record.msg:
            took, busy = time.perf_counter() - self._began, time.thread_time() - self._busy
            self.took.append((self._began, took, busy))


def ours(folder: Path, count: int, quiet: float) -> dict[str, Any]:
    """A process of the app comes up: its first request starts everybody who is wanted."""
    app = make_app(folder)
    tick = threading.Event()
    with watch() as witness:
        meter = Meter()
        app.test_client().get("/neolith/api/v1/health/live")
        with app.app_context():
            manager = neolith.manager
            while (running := len(manager.get_running_daemons())) < count:
                if meter.read().seconds > PATIENCE:
                    witness.note(f"only {running} of {count} daemons run")
                    break
                tick.wait(0.01)
        start = meter.read()
        measured = _quietly("heartbeat", quiet)
        if quiet > 6.0 and not measured["beats"]:
            witness.note("no heartbeat was seen")
        client = app.test_client()
        client.post(f"/login/{FIRST}")
        page = client.get("/neolith/api/v1/metrics").get_data(as_text=True)
        faults = asdict(witness.faults + skipped_renewals(page))
    close(app)
    return {"start": start.seconds, "start_busy": start.processor, "faults": faults, **measured}


def naive(folder: Path, count: int, quiet: float) -> dict[str, Any]:
    """What one would write first: a thread for each daemon, and a job of its own that stores its heartbeat."""
    from apscheduler.schedulers.background import BackgroundScheduler

    before = resident()
    connection = sqlite3.connect(folder / "naive.db", check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("CREATE TABLE beat (id INTEGER PRIMARY KEY, at REAL)")
    connection.executemany("INSERT INTO beat VALUES (?, 0)", [(number,) for number in range(count)])
    connection.commit()
    one_at_a_time = threading.Lock()
    beats: list[float] = []

    def beat(number: int) -> None:
        began = time.perf_counter()
        with one_at_a_time:
            connection.execute("UPDATE beat SET at = ? WHERE id = ?", (time.time(), number))
            connection.commit()
        beats.append(time.perf_counter() - began)

    began = time.perf_counter()
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.start()
    inboxes: list[queue.SimpleQueue[None]] = [queue.SimpleQueue() for _ in range(count)]
    for number, inbox in enumerate(inboxes):
        threading.Thread(target=inbox.get, daemon=True).start()
        first = datetime.now(UTC) + timedelta(seconds=PERIOD * number / count)  # not all at one instant
        scheduler.add_job(beat, "interval", seconds=PERIOD, args=(number,), next_run_time=first)
    start = time.perf_counter() - began
    measured = _quietly("", quiet)
    scheduler.shutdown()
    connection.close()
    for inbox in inboxes:
        inbox.put(None)
    return {"start": start, "rss_before": before, "beat": median(beats), **measured}


def _quietly(job: str, seconds: float) -> dict[str, Any]:
    """Say that everybody runs, then do nothing for some seconds."""
    sys.stdout.write("\n")
    sys.stdout.flush()
    nothing = threading.Event()
    nothing.wait(SETTLE)
    rounds = Rounds(job)
    gc.collect()
    rss = resident()
    busy, began = time.process_time(), time.perf_counter()
    nothing.wait(seconds)
    cpu = (time.process_time() - busy) / (time.perf_counter() - began)
    return {"rss": rss, "cpu": cpu, "threads": threading.active_count(), "beats": rounds.first(PERIOD)}


def resident() -> int:
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Measure and print."""
    kind, folder, count, quiet = sys.argv[1:5]
    measure = ours if kind == "ours" else naive
    sys.stdout.write(json.dumps(measure(Path(folder), int(count), float(quiet))) + "\n")


if __name__ == "__main__":
    main()
