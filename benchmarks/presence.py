"""A presence change to a hundred browsers, beside Flask-SocketIO's bare `emit` to the same ones."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from flask_neolith_orchestrator import OrchestratorAction

from .app import World, neolith, world
from .live import Crowd, crowd, log_in, serving
from .rows import Row, median, milliseconds
from .witness import inspect, listen_for_skipped_jobs, watch

CLIENTS = 100
NAMESPACE = "/neolith"


def measure(*, quick: bool = False) -> Sequence[Row]:
    """In turn, on one server: until the last client has it, from the call to the moment at which it is heard."""
    clients, rounds = (10, 5) if quick else (CLIENTS, 60)
    ours: list[float] = []
    bare: list[float] = []
    with watch() as witness, world(sockets=True) as made, serving(made.app) as url, made.app.app_context():
        daemon = neolith.manager.start_daemon(made.orchestrators[0])
        listen_for_skipped_jobs()
        with crowd(url, log_in(url, made.person), ("presence", "bare"), clients=clients) as browsers:
            for number in range(rounds + 3):
                status = "BUSY" if number % 2 else "ONLINE"
                change = OrchestratorAction("update_status", {"status": status})
                took = _change(daemon, change, browsers) if number else 0.0  # it is ONLINE already
                bare_took = _emit(made, status, browsers)
                if number >= 3:
                    ours.append(took)
                    bare.append(bare_took)
        faults = inspect(made) + witness.faults
    ratio = median(ours) / median(bare)
    return [
        Row(
            f"presence change to {clients} Socket.IO clients, until the last one has it",
            milliseconds(median(ours)),
            "<= 1.2 of the bare emit",
            ratio <= 1.2,
            f"{milliseconds(median(bare))}: bare socketio.emit",
            f"{ratio:.2f}",
            faults,
            (f"{rounds} pairs; ours is the whole action update_status, its transaction included",),
        )
    ]


def _change(daemon: Any, change: OrchestratorAction, browsers: Crowd) -> float:
    began = time.monotonic()
    daemon.execute_action(change)
    return browsers.heard("presence") - began


def _emit(made: World, status: str, browsers: Crowd) -> float:
    """The same payload, without anything of ours around it."""
    payload = {
        "orchestratorId": made.orchestrators[0],
        "userId": made.users[0],
        "name": "Agent 0",
        "handle": "agent0",
        "status": status,
        "at": datetime.now(UTC).isoformat(),
    }
    assert made.socketio is not None
    began = time.monotonic()
    made.socketio.emit("bare", payload, namespace=NAMESPACE)
    return browsers.heard("bare") - began
