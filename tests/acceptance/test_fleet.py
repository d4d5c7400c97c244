"""Two servers of gunicorn and workers of Celery, each a process of its own, and browsers at both servers."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests
import socketio
import websocket
from sqlalchemy import create_engine, make_url, text

from tests.integration.postgres_server import PostgresServer
from tests.integration.redis_server import RedisServer

from .campaign.backing import SOCKETS
from .process_site import APP, STOP, Server, Site, until

pytestmark = [pytest.mark.process, pytest.mark.postgres]

CELERY = "tests.acceptance.process_celery:celery"
CROWD = 20
ROUNDS = 10
TURNS = 2
"""Turns that a drain takes before it lets others go first."""

SLOW = 4.0
"""Seconds between two renewals and between two sweeps: what is quicker was told."""

SOON = 3.0
"""Seconds within which a decision has ended a turn elsewhere. Quiet, it takes 0.1 to 0.4 s (see CONTRIBUTING.md); here
other tests keep both processors busy."""

SETTINGS = {
    "NEOLITH_ENGINE": "celery",
    "NEOLITH_TEST_SOCKETS": "yes",
    "NEOLITH_TEST_MORE": str(CROWD),
    "DAEMON_MAX_CONCURRENT_CONVERSATIONS": "1",
    "DAEMON_DRAIN_TURNS": str(TURNS),
    "DAEMON_LEASE": f"{SLOW * 4000:.0f}",
    "DAEMON_RENEW_INTERVAL": f"{SLOW * 1000:.0f}",
    "DAEMON_SWEEP_INTERVAL": f"{SLOW * 1000:.0f}",
    "DAEMON_STOP_TIMEOUT": "500",
}


class Browser:
    """A real python-socketio client at one server. Lifetime: until `close`."""

    def __init__(self, server: Server, login: requests.Session, transport: str, *, returns: bool = False) -> None:
        self.heard: list[tuple[str, Any]] = []
        self._sockets: list[Any] = []
        self.client = socketio.Client(
            reconnection=returns, reconnection_delay=0.1, websocket_extra_options={"class_": self._socket}
        )
        self.client.on("*", lambda name, *data: self.heard.append((name, *data)), namespace="/neolith")
        self.client.on("disconnect", lambda *_: self.heard.append(("disconnect", None)), namespace="/neolith")
        cookie = "; ".join(f"{one.name}={one.value}" for one in login.cookies)
        options: dict[str, Any] = {"namespaces": ["/neolith"], "transports": [transport], "wait_timeout": 10}
        self.client.connect(server.url, headers={"Cookie": cookie}, **options)

    def _socket(self, **options: Any) -> Any:
        self._sockets.append(websocket.WebSocket(**options))
        return self._sockets[-1]

    def join(self, channel: str) -> None:
        """Hear what is said in a channel."""
        assert self.client.call("channel:join", {"channelId": channel}, namespace="/neolith", timeout=10)["ok"]

    def of(self, name: str) -> list[Any]:
        """Payloads of one kind of event."""
        return [data for one, data in list(self.heard) if one == name]

    def presence(self, name: str) -> list[str]:
        """What was told of somebody's presence, in the order of its instants: this client has a thread per event."""
        told = [(one["at"], one["status"]) for one in self.of("presence") if one["name"] == name]
        return [status for _, status in sorted(told)]

    def daemon(self, orchestrator: str) -> list[str]:
        """What was told of somebody's daemon."""
        return [one["status"] for one in self.of("daemon:status") if one["orchestratorId"] == orchestrator]

    def text(self, message: str) -> str:
        """An answer's text as it came, each piece once."""
        pieces: dict[int, list[str]] = defaultdict(list)
        for one in self.of("message:delta"):
            if one["messageId"] == message:
                pieces[one["seq"]].append(one["text"])
        assert all(len(found) == 1 for found in pieces.values()), pieces
        assert sorted(pieces) == list(range(1, len(pieces) + 1))
        return "".join(pieces[seq][0] for seq in sorted(pieces))

    def close(self) -> None:
        """Go away; the library does not close connections that were lost."""
        self.client.disconnect()
        for one in self._sockets:
            one.shutdown()


class Fleet(Site):
    """Servers and workers on one Postgres and one Redis. Lifetime: the module."""

    def __init__(self, folder: Path, url: str, redis: RedisServer) -> None:
        self._engine = create_engine(make_url(url))
        self.redis = redis
        self.clients: list[Browser] = []
        self.ada: requests.Session | None = None
        queues = {"NEOLITH_BROKER_URL": redis.url, "NEOLITH_TEST_QUEUE": redis.url}
        super().__init__(folder, NEOLITH_TEST_DATABASE=url, **queues, **SETTINGS)
        self.workers = {process.pid: process for process in (self._worker() for _ in range(3))}
        self.webs = [self.server("-w", "1", "--graceful-timeout", "1") for _ in range(2)]
        until(lambda: set(self.workers) <= self.nodes(), "all workers are nodes")

    def _worker(self) -> subprocess.Popen[str]:
        if self.processes:
            return self.start("flask", "--app", APP, "neolith", "worker", "-c", "4")
        return self.start("celery", "-A", CELERY, "worker", "-P", "threads", "-c", "4")  # Celery's own command

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What is committed."""
        with self._engine.connect() as tx:
            return [tuple(row) for row in tx.execute(text(statement))]

    def count(self, table: str, state: str) -> int:
        """Rows in a state."""
        return int(self.rows(f"SELECT count(*) FROM neolith_{table} WHERE state = '{state}'")[0][0])

    def browser(self, web: int, login: requests.Session, transport: str = "websocket", **more: bool) -> Browser:
        """A browser at one of the servers."""
        self.clients.append(Browser(self.webs[web], login, transport, **more))
        return self.clients[-1]

    def log_in(self) -> None:
        """Have ada logged in at the first server, once."""
        self.ada = self.ada or self.webs[0].login(2)
        until(lambda: self.states().get("ada", ("", ""))[1] == "running", "ada runs")

    def thinking(self, what: str, who: str = "ada") -> tuple[str, int]:
        """Ask something that takes long, in a thread of its own; the message's id and who thinks."""
        asked = f"{what} for 60 s"
        message = self.webs[0].ask(f"@{who} {asked}")
        (call,) = until(lambda: [one for one in self.lines("calls") if asked in one["asked"]], f"{what}: a worker")
        return message, call["pid"]

    def close(self) -> None:
        """End everything."""
        for client in self.clients:
            client.close()
        super().close()
        self._engine.dispose()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[Fleet]:
    """Two servers, three workers; ada and leo are logged in at the first."""
    redis = RedisServer(tmp_path_factory.mktemp("redis"))
    made = Fleet(tmp_path_factory.mktemp("fleet"), postgres.database(), redis)
    yield made
    made.close()
    redis.stop()


def took(true: Callable[[], Any], what: str) -> float:
    """Seconds until it is true."""
    began = time.monotonic()
    until(true, what)
    return time.monotonic() - began


def test_browsers_of_every_server_hear_everything_once(fleet: Fleet) -> None:
    """Presence, pieces of text and ends of answers, told by workers: by WebSocket and polling, each once, in order."""
    maya = fleet.webs[0].login(1)
    ears = [fleet.browser(0, maya), fleet.browser(1, maya, "polling")]
    for ear in ears:
        ear.join("1")
    fleet.log_in()
    leo = fleet.webs[0].login(3)
    sockets = [fleet.browser(web, leo) for web in (0, 1)]
    until(lambda: all(fleet.states().get(one, ("", ""))[1] == "running" for one in ("ada", "leo")), "both run")
    for number in range(3):
        fleet.webs[number % 2].ask(f"@ada number {number} for 0.3 s")
    until(lambda: all(len(ear.of("message:done")) == 3 for ear in ears), "all are answered")
    until(lambda: all(ear.presence("ada")[-1] == "ONLINE" for ear in ears), "ada is free again")
    for ear in ears:
        for done in ear.of("message:done"):
            assert ear.text(done["message"]["id"]) == done["message"]["content"]
        assert len({one["message"]["id"] for one in ear.of("message:done")}) == 3
        assert len(ear.of("message")) == 6
        told = ear.presence("ada")
        assert told[:2] == ["ONLINE", "BUSY"]
        assert all(one != other for one, other in pairwise(told)), told
    assert {one["pid"] for one in fleet.lines("calls")} <= set(fleet.workers)
    told = json.loads(fleet.run("celery", "-A", CELERY, "inspect", "ping", "--json").stdout)
    assert [one["ok"] for one in told.values()] == ["pong"] * 3, told
    assert {f"neolith-{pid}@{socket.gethostname()}" for pid in list(fleet.workers)[1:]} < set(told)
    assert fleet.redis.client.pubsub_numsub(SOCKETS)[0][1] == 2, "workers do not listen"
    assert leo.post(f"{fleet.webs[0].url}/logout", timeout=10).status_code == 200
    until(lambda: all(one.of("disconnect") for one in sockets), "the login's sockets are cut at both servers")
    until(lambda: all(ear.presence("leo") == ["ONLINE", "OFFLINE"] for ear in ears), "and everybody is told")
    until(lambda: all(ear.daemon("2") == ["running", "stopped"] for ear in ears), "of his daemon too, each once")
    assert fleet.states()["leo"][0] == "stopped", "his sockets' end brings him back nowhere"
    assert not any(ear.of("disconnect") for ear in ears)


def test_decisions_reach_turns_elsewhere_at_once(fleet: Fleet) -> None:
    """Stop, cancel, a new charter and a logout: within a second by Redis, and without it by the next renewal."""
    web, maya = fleet.webs[1], fleet.webs[1].login(1)
    fleet.log_in()
    seconds = {}

    def is_idle() -> bool:
        return fleet.count("turn", "running") == 0

    message, _ = fleet.thinking("one")
    assert web.call(maya, "POST", f"messages/{message}/stop", {}).status_code == 200
    seconds["stop"] = took(is_idle, "the turn ends")

    fleet.thinking("two")
    (delivery,) = fleet.rows("SELECT id FROM neolith_delivery WHERE state = 'running'")
    assert web.call(maya, "POST", f"deliveries/{delivery[0]}/cancel", {}).status_code == 200
    seconds["cancel"] = took(is_idle, "the turn ends")

    first, _ = fleet.thinking("three")
    second = fleet.webs[0].ask("@ada four for 60 s")
    charter = web.call(maya, "GET", "orchestrators/1/charter").json()
    body = {"charter": {"limits": {"concurrent_conversations": 2}}, "version": charter["version"]}
    answer = web.call(maya, "PUT", "orchestrators/1/charter", body)
    assert answer.status_code == 200, answer.text
    seconds["charter"] = took(lambda: fleet.count("turn", "running") == 2, "there are two slots")

    assert web.call(maya, "POST", f"messages/{second}/stop", {}).status_code == 200
    until(lambda: fleet.count("turn", "running") == 1, "one goes on")
    ada, fleet.ada = fleet.ada, None
    assert ada is not None
    assert ada.post(f"{fleet.webs[0].url}/logout", timeout=10).status_code == 200
    seconds["logout"] = took(is_idle, "the turn is handed back") - 0.5  # DAEMON_STOP_TIMEOUT
    assert fleet.count("delivery", "waiting") == 1
    assert web.call(maya, "POST", f"messages/{first}/stop", {}).status_code == 200
    assert max(seconds.values()) < SOON, seconds

    fleet.log_in()
    message, _ = fleet.thinking("five")
    ears = [fleet.browser(web, maya, returns=True) for web in (0, 1)]
    fleet.redis.stop()
    try:
        assert web.call(maya, "POST", f"messages/{message}/stop", {}).status_code == 200
        assert took(is_idle, "the turn ends") < SLOW + SOON
        fleet.webs[0].ask("@ada six")
        until(lambda: fleet.lines("calls")[-1]["asked"].endswith("six"), "a worker looks by itself")
        until(lambda: "The bell is out of order" in fleet.log(), "it is said")
    finally:
        fleet.redis.start()
    until(lambda: "The bell works again" in fleet.log(), "it is noticed")
    until(lambda: fleet.redis.client.pubsub_numsub(SOCKETS)[0][1] == 2, "servers hear each other again")
    until(lambda: all(len(ear.of("presence:snapshot")) > 1 for ear in ears), "browsers look again")
    until(lambda: fleet.count("delivery", "answered") > 3, "six is answered")


def test_twenty_orchestrators_are_served_in_turn(fleet: Fleet) -> None:
    """Flooded at once, nobody is done with all before everybody has begun: drains of two turns, hints in turn.

    Hints keep the order of the messages; a drain that leaves work rings once more; a worker that is slow holds some.
    """
    names = [f"one{number + 1}" for number in range(CROWD)]
    until(lambda: all(fleet.states()[name][1] == "running" for name in names), "all run")
    for number in range(ROUNDS):
        fleet.webs[number % 2].ask(" ".join(f"@{name}" for name in names) + f" round {number} for 0.05 s", channel=2)
    of_crowd = (
        "FROM neolith_delivery d JOIN neolith_orchestrator o ON o.id = d.orchestrator_id"
        " JOIN neolith_turn t ON t.id = d.turn_id WHERE o.handle LIKE 'one%' AND t.state = 'done'"
    )
    until(lambda: fleet.rows(f"SELECT count(*) {of_crowd}") == [(CROWD * ROUNDS,)], "all are answered")
    served, ahead = dict.fromkeys(names, 0), 0
    for (name,) in fleet.rows(f"SELECT o.handle {of_crowd} ORDER BY t.started_at"):
        served[name] += 1
        ahead = max(ahead, served[name] - min(served.values()))
    assert set(served.values()) == {ROUNDS}
    assert ahead < ROUNDS
    assert len({one["pid"] for one in fleet.lines("calls")}) == 3, "every worker took a part"


def test_a_killed_worker_leaves_nothing_behind(fleet: Fleet) -> None:
    """Its node vanishes and its turn goes on elsewhere; one that is asked to end hands its turn back and leaves."""
    fleet.log_in()
    _, pid = fleet.thinking("seven")
    fleet.workers[pid].send_signal(signal.SIGKILL)
    calls = until(lambda: [one["pid"] for one in fleet.lines("calls") if "seven" in one["asked"]][1:], "another")
    until(lambda: pid not in fleet.nodes(), "its node is forgotten")
    assert fleet.states()["ada"][1:] == ("running", "ONLINE")
    (second,) = calls
    assert second in set(fleet.workers) - {pid}
    fleet.workers[second].terminate()
    assert fleet.workers[second].wait(STOP) == 0
    until(lambda: [one["pid"] for one in fleet.lines("calls") if "seven" in one["asked"]][2:], "the third")
    assert second not in fleet.nodes()
    assert fleet.count("delivery", "running") == 1
    assert "flask_neolith_orchestrator/runtime" not in fleet.log(), "Celery tells of Redis by tracebacks, we do not"
