"""The measurements. Each returns rows of (what, figure, aim); figures are medians unless their name says otherwise."""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

from flask_neolith_orchestrator.core.cancel import Cancel
from flask_neolith_orchestrator.core.ports import ModelEvent, ModelRequest, ModelStop, TextDelta
from flask_neolith_orchestrator.testing import use_model

from .app import World, db, neolith, world

Row = tuple[str, str, str]


class Stopwatch:
    """A model that notes when it was asked, and answers at once."""

    name = "stopwatch"

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.at = 0.0

    def stream(self, request: ModelRequest, cancel: Cancel) -> Iterator[ModelEvent]:
        """Note the time."""
        self.at = time.perf_counter()
        self.asked.set()
        yield TextDelta("ok")
        yield ModelStop("end_turn", "stopwatch")

    def check(self) -> str | None:
        """Always ready."""
        return None

    def close(self) -> None:
        """Nothing to close."""


def quantile(values: list[float], share: float) -> float:
    """The value below which `share` of the values lie."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def idle_dispatch(rounds: int = 300) -> list[Row]:
    """From the commit of a mention to the model's request, one at a time on an idle app, SQLite."""
    with world() as made, made.app.app_context():
        model = Stopwatch()
        with use_model(made.app, model):
            neolith.manager.start_daemon(made.orchestrators[0])
            waits = [_one_dispatch(made, model) for _ in range(rounds)][20:]
        errors = sum(one.health.failed for one in neolith.manager.get_all_daemon_statuses())
    return [
        ("idle dispatch, commit to model request, p50", f"{statistics.median(waits) * 1000:.2f} ms", "<= 3 ms"),
        ("idle dispatch, commit to model request, p99", f"{quantile(waits, 0.99) * 1000:.2f} ms", "<= 15 ms"),
        ("idle dispatch, failed turns", str(errors), "0"),
    ]


def _one_dispatch(made: World, model: Stopwatch) -> float:
    model.asked.clear()
    neolith.chat.post(made.person, made.channel, "@agent0 hello")
    db.session.commit()
    began = time.perf_counter()
    if not model.asked.wait(10):
        raise TimeoutError("The model was not asked.")
    neolith.run_until_idle()
    return max(0.0, model.at - began)


def login_cost(rounds: int = 200) -> list[Row]:
    """A login request of an orchestrator beside one of a person, in turn, as a client sees them."""
    with world() as made:
        client = made.app.test_client()
        with made.app.app_context():
            neolith.manager.start_daemon(made.orchestrators[0])
        plain: list[float] = []
        agent: list[float] = []
        for _ in range(rounds):
            for user, times in ((made.person, plain), (made.users[0], agent)):
                client.delete_cookie("session")
                began = time.perf_counter()
                client.post(f"/login/{user}")
                times.append(time.perf_counter() - began)
        slower = (statistics.median(agent) - statistics.median(plain)) * 1000
    return [
        ("login request of a person", f"{statistics.median(plain) * 1000:.2f} ms", "-"),
        ("login request of an orchestrator, slower by", f"{slower:.2f} ms", "<= 5 ms"),
    ]


def idle_daemons(count: int = 1000) -> list[Row]:
    """Many daemons that do nothing: threads, memory, start and heartbeat."""
    with world(orchestrators=count) as made, made.app.app_context():
        house = made.app.extensions["neolith"].house
        house.ensure_started()
        gc.collect()
        before = _resident()
        with house.database.write() as tx:
            for one in made.orchestrators:
                house.daemons.want(tx, one, "running", "person")
        began = time.perf_counter()
        house.sweeper.reconcile()
        took = time.perf_counter() - began
        running = len(neolith.manager.get_running_daemons())
        gc.collect()
        each = (_resident() - before) / count
        for daemon in neolith.manager.get_running_daemons():
            daemon.next_beat = 0.0
        began = time.perf_counter()
        house.supervisor.heartbeat()
        beat = time.perf_counter() - began
        extra = [one.name for one in threading.enumerate() if not _constant(one.name)]
    return [
        (f"{count:,} idle daemons, running", f"{running:,}", f"{count:,}"),
        (f"{count:,} idle daemons, start", f"{took:.2f} s", "-"),
        (f"{count:,} idle daemons, threads of theirs", str(len(extra)), "0"),
        (f"{count:,} idle daemons, resident memory each", f"{each / 1000:.1f} kB", "<= 5 kB"),
        (f"{count:,} idle daemons, one round of heartbeats", f"{beat * 1000:.1f} ms", "-"),
    ]


HOST = "import flask, flask_sqlalchemy, flask_socketio"


def import_cost(rounds: int = 9) -> list[Row]:
    """What importing us costs over what every host of ours imports anyway, in processor time of fresh interpreters."""
    base = [_import_time(HOST) for _ in range(rounds)]
    ours = [_import_time(f"{HOST}; import flask_neolith_orchestrator") for _ in range(rounds)]
    extra = statistics.median(ours) - statistics.median(base)
    return [
        ("import of Flask, Flask-SQLAlchemy and Flask-SocketIO", f"{statistics.median(base):.2f} s", "-"),
        ("import of this package on top", f"{extra:.2f} s", "<= 0.3 s"),
    ]


def _import_time(statement: str) -> float:
    program = f"import time; began = time.process_time(); {statement}; print(time.process_time() - began)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return float(done.stdout)


def _constant(name: str) -> bool:
    """Whether a thread is one of the few that a process has however many daemons there are."""
    return name in ("MainThread", "APScheduler") or name.startswith(("neolith-job", "neolith-renew"))


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
