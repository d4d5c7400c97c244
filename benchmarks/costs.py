"""What the extension costs a host that does not use it at the moment: an import, a login."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

from .app import neolith, world
from .rows import Row, median, milliseconds
from .witness import inspect, watch

HOST = "import flask, flask_sqlalchemy, flask_socketio"


def measure(*, quick: bool = False) -> Sequence[Row]:
    """Both."""
    return [login_cost(50 if quick else 200), import_cost(3 if quick else 9)]


def login_cost(rounds: int) -> Row:
    """A login request of an orchestrator beside one of a person, in turn, as a client sees them."""
    plain: list[float] = []
    agent: list[float] = []
    with watch() as witness, world() as made:
        client = made.app.test_client()
        with made.app.app_context():
            neolith.manager.start_daemon(made.orchestrators[0])
        for _ in range(rounds):
            for user, times in ((made.person, plain), (made.users[0], agent)):
                client.delete_cookie("session")
                began = time.perf_counter()
                client.post(f"/login/{user}")
                times.append(time.perf_counter() - began)
        faults = inspect(made) + witness.faults
    slower = median(agent) - median(plain)
    return Row(
        "login request of an orchestrator",
        milliseconds(median(agent)),
        "at most 5 ms slower",
        slower <= 0.005,
        f"{milliseconds(median(plain))}: login request of a person",
        f"{median(agent) / median(plain):.2f}",
        faults,
    )


def import_cost(rounds: int) -> Row:
    """What importing us costs over what every host of ours imports anyway, in processor time of fresh interpreters."""
    base = median(_import_time(HOST) for _ in range(rounds))
    extra = median(_import_time(f"{HOST}; import flask_neolith_orchestrator") for _ in range(rounds)) - base
    return Row(
        "import of this package on top",
        f"{extra:.2f} s",
        "<= 0.3 s",
        extra <= 0.3,
        f"{base:.2f} s: Flask, Flask-SQLAlchemy and Flask-SocketIO",
        f"{extra / base:.2f}",
    )


def _import_time(statement: str) -> float:
    program = f"import time; began = time.process_time(); {statement}; print(time.process_time() - began)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return float(done.stdout)
