"""Real processes: who starts a runtime and who does not, how they end, and what the others see of it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
import socketio

pytestmark = pytest.mark.process

APP = "tests.acceptance.process_app:create_app"
ROOT = Path(__file__).parents[2]
GUNICORN = ("--threads", "4", "--no-control-socket")  # that one has a thread of its own in the master
STOP = 4.0 + 4.0
"""DAEMON_STOP_TIMEOUT of the app, and what a busy machine needs besides."""


def until(true: Callable[[], Any], what: str, timeout: float = 30.0) -> Any:
    """What `true` gives, once it is true."""
    deadline, pause = time.monotonic() + timeout, threading.Event()
    while not (found := true()):
        assert time.monotonic() < deadline, f"Never happened: {what}"
        pause.wait(0.02)
    return found


class Site:
    """One database and the processes on it. Lifetime: a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []
        self.browsers: list[requests.Session] = []
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("WERKZEUG_", "COV_"))},
            "NEOLITH_TEST_FOLDER": str(folder),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        assert self.flask("seed").returncode == 0
        (folder / "ends").unlink()

    def flask(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        command = [sys.executable, "-m", "flask", "--app", APP, *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, text=True, capture_output=True, timeout=60, check=False, **more
        )

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a process in a group of its own."""
        log = (self.folder / f"log-{len(self.processes)}").open("w")
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=self.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        log.close()
        self.processes.append(process)
        return process

    def server(self, *options: str, debug: bool = False) -> Server:
        """A server on a free port: gunicorn with options, or `flask run` without any."""
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        if options:
            command = ["gunicorn", "-b", f"127.0.0.1:{port}", *GUNICORN, *options, f"{APP}()"]
        else:
            command = ["flask", "--app", APP, "run", "-p", str(port), *(["--debug"] if debug else [])]
        return Server(self, self.start(*command), f"http://127.0.0.1:{port}")

    def log(self) -> str:
        """What all processes said."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("log-*")))

    def close(self) -> None:
        """End everything."""
        for browser in self.browsers:
            browser.close()
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What is committed."""
        database = sqlite3.connect(f"file:{self.folder / 'app.db'}?mode=ro", uri=True, timeout=10)
        try:
            return database.execute(statement).fetchall()
        finally:
            database.close()

    def states(self) -> dict[str, tuple[str, str, str]]:
        """(wanted, state, presence) by handle, of those who have ever been wanted."""
        found = self.rows(
            "SELECT o.handle, d.wanted, d.state, o.status FROM neolith_daemon d"
            " JOIN neolith_orchestrator o ON o.id = d.orchestrator_id"
        )
        return {row[0]: row[1:] for row in found}

    def nodes(self) -> set[int]:
        """Process ids of the nodes that are registered."""
        return {int(row[0].rpartition(":")[2]) for row in self.rows("SELECT name FROM neolith_node")}

    def lines(self, name: str) -> list[dict[str, Any]]:
        """What the processes wrote down."""
        path = self.folder / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def told(self, handle: str) -> list[str]:
        """What browsers heard of somebody's presence."""
        return [line["status"] for line in self.lines("told") if line["handle"] == handle]


class Server:
    """A server process. Lifetime: until it is ended, or the test is over."""

    def __init__(self, site: Site, process: subprocess.Popen[str], url: str) -> None:
        self.site = site
        self.process = process
        self.url = url
        port = int(url.rpartition(":")[2])
        until(lambda: listens(port), "the server listens")

    def pids(self, count: int) -> set[int]:
        """Processes that answer requests."""
        found: set[int] = set()

        def all_answered() -> bool:
            found.add(requests.get(self.url, timeout=10).json()["pid"])
            return len(found) == count

        until(all_answered, "all answer")
        return found

    def login(self, user_id: int) -> requests.Session:
        """A browser in which somebody has logged in."""
        browser = requests.Session()
        self.site.browsers.append(browser)
        assert browser.post(f"{self.url}/login/{user_id}", timeout=10).status_code == 200
        return browser

    def ask(self, text: str) -> None:
        """maya writes in the channel."""
        answer = self.login(1).post(
            f"{self.url}/neolith/api/v1/channels/1/messages",
            json={"content": text},
            headers={"Sec-Fetch-Site": "same-origin"},
            timeout=10,
        )
        assert answer.status_code == 201, answer.text

    def end(self, number: int) -> float:
        """Send a signal and wait; how long it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(STOP + 20)
        return time.monotonic() - began

    def kill(self) -> None:
        """Kill all its processes at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


def listens(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A seeded database."""
    made = Site(tmp_path)
    yield made
    made.close()


def tasks(pid: int) -> int:
    """How many threads a process has."""
    return len(os.listdir(f"/proc/{pid}/task"))


def test_commands_start_nothing(site: Site) -> None:
    """flask routes, flask shell and our own commands end without a thread of ours having been started."""
    assert "neolith.dashboard" in site.flask("routes").stdout
    assert "@ada" in site.flask("neolith", "start", "@ada").stdout
    assert "@ada" in site.flask("neolith", "status").stdout
    assert (
        "3" in site.flask("shell", input="from tests.acceptance.process_app import *\nprint(User.query.count())").stdout
    )
    assert "posted" in site.flask("neolith", "send", "1", "@ada hello", "--as", "1").stdout
    ends = site.lines("ends")
    assert len(ends) == 5
    assert [one for one in ends if one["threads"] or one["started"]] == []
    assert site.states()["ada"] == ("running", "stopped", "OFFLINE")
    assert site.lines("calls") == []


def test_a_preforking_master_starts_nothing(site: Site) -> None:
    """With --preload the app is made in the master; only workers become nodes, each with a runtime of its own."""
    server = site.server("-w", "2", "--preload")
    workers = server.pids(2)
    server.login(2)
    until(lambda: site.states().get("ada", ("", ""))[1] == "running", "ada runs")
    until(lambda: site.nodes() == workers, "both workers are nodes")
    assert server.process.pid not in workers
    assert tasks(server.process.pid) == 1
    assert server.end(signal.SIGTERM) < STOP
    assert [one["pid"] for one in site.lines("ends") if one["started"]] != []
    assert {one["pid"] for one in site.lines("ends") if one["started"]} == workers
    assert "Traceback" not in site.log()


def test_the_reloaders_parent_starts_nothing(site: Site) -> None:
    """`flask run --debug` makes the app in two processes; only the one that serves becomes a node."""
    server = site.server(debug=True)
    (child,) = server.pids(1)
    until(lambda: site.nodes() == {child}, "the child is a node")
    assert server.process.pid != child
    assert tasks(server.process.pid) == 1
    os.killpg(server.process.pid, signal.SIGINT)
    server.process.wait(STOP)
    until(lambda: site.nodes() == set(), "the child ends in order, a little after its parent")


def test_sigterm_under_gunicorn(site: Site) -> None:
    """Two workers end within the stop deadline, without a traceback; rows and presence are true, wishes stay."""
    server = site.server("-w", "2")
    server.pids(2)
    server.login(2)
    until(lambda: site.states().get("ada", ("", ""))[1] == "running", "ada runs")
    assert server.end(signal.SIGTERM) < STOP
    assert server.process.returncode == 0
    assert site.states()["ada"] == ("running", "stopped", "OFFLINE")
    assert site.nodes() == set()
    assert site.told("ada") == ["ONLINE", "OFFLINE"]
    assert "Traceback" not in site.log()
    assert list((site.folder / "neolith").glob("*.lock")) == []


def test_a_turn_that_uses_the_stop_time_is_called_once(site: Site) -> None:
    """A turn that is still going at SIGTERM is finished, in its process, by its one call."""
    server = site.server("-w", "2")
    server.pids(2)
    server.login(2)
    until(lambda: site.states().get("ada", ("", ""))[1] == "running", "ada runs")
    server.ask("@ada think for 2.0 s")
    until(lambda: len(site.lines("calls")) == 1, "the call")
    assert server.end(signal.SIGTERM) < STOP
    assert site.rows("SELECT state FROM neolith_delivery") == [("answered",)]
    assert len(site.lines("calls")) == 1
    assert site.rows("SELECT state, content FROM neolith_message WHERE author_id = 2")[0][0] == "final"
    assert site.states()["ada"] == ("running", "stopped", "OFFLINE")
    assert "Traceback" not in site.log()


def test_ctrl_c_under_flask_run(site: Site) -> None:
    """Ctrl-C ends `flask run` within the deadline, also with a turn that is too long; its work waits for the next."""
    server = site.server()
    server.login(2)
    until(lambda: site.states().get("ada", ("", ""))[1] == "running", "ada runs")
    server.ask("@ada think for 60 s")
    until(lambda: len(site.lines("calls")) == 1, "the call")
    assert server.end(signal.SIGINT) < STOP
    assert site.rows("SELECT state FROM neolith_delivery") == [("waiting",)]
    assert site.rows("SELECT node_id FROM neolith_slot WHERE node_id IS NOT NULL") == []
    assert site.states()["ada"] == ("running", "stopped", "OFFLINE")
    assert site.nodes() == set()
    assert "Traceback" not in site.log()


def test_a_logout_just_before_sigterm_is_not_lost(site: Site) -> None:
    """Whoever logged out in the last moment does not run again after the restart."""
    server = site.server("-w", "1")
    browser = server.login(2)
    until(lambda: site.states().get("ada", ("", ""))[1] == "running", "ada runs")
    assert browser.post(f"{server.url}/logout", timeout=10).status_code == 200
    assert server.end(signal.SIGTERM) < STOP
    assert site.states()["ada"] == ("stopped", "stopped", "OFFLINE")


def test_those_logged_in_run_again_after_a_crash(site: Site) -> None:
    """kill -9 of everything: the next process tells OFFLINE once, starts those logged in, and nobody else."""
    server = site.server("-w", "2")
    server.pids(2)
    server.login(2)
    server.login(3).post(f"{server.url}/logout", timeout=10)
    until(lambda: site.states().get("ada", ("", ""))[1] == "running", "ada runs")
    until(lambda: site.states().get("leo", ("", ""))[0] == "stopped", "leo has left")
    until(lambda: site.states()["leo"][1] == "stopped", "leo is stopped")
    server.ask("@ada think for 60 s")
    until(lambda: len(site.lines("calls")) == 1, "the call")
    server.kill()
    assert site.states()["ada"] == ("running", "running", "ONLINE")
    before = len(site.told("ada"))
    again = site.server("-w", "2")
    again.pids(2)
    until(lambda: site.states()["ada"][1:] == ("running", "ONLINE"), "ada runs again")
    until(lambda: site.told("ada")[before:] == ["OFFLINE", "ONLINE"], "both are told, once")
    assert site.states()["leo"] == ("stopped", "stopped", "OFFLINE")
    until(lambda: len(site.lines("calls")) == 2, "the question is taken up again")


def test_the_first_sign_of_life_may_be_a_socket(site: Site) -> None:
    """After a restart a Socket.IO connection alone brings everybody back who was logged in."""
    server = site.server("-w", "1")
    browser = server.login(2)
    until(lambda: site.states().get("ada", ("", ""))[1] == "running", "ada runs")
    server.kill()
    again = site.server("-w", "1")
    client = socketio.Client(reconnection=False)
    cookie = "; ".join(f"{one.name}={one.value}" for one in browser.cookies)
    client.connect(again.url, headers={"Cookie": cookie}, namespaces=["/neolith"], transports=["polling"])
    try:
        until(lambda: site.told("ada") == ["ONLINE", "OFFLINE", "ONLINE"], "ada is back")
    finally:
        client.disconnect()
    assert len(site.rows("SELECT token FROM neolith_login WHERE ended_at IS NULL")) == 1


def test_headless_beside_a_command(site: Site) -> None:
    """`flask neolith run` answers what `flask neolith send` posts; SIGTERM ends it in order."""
    runner = site.start("flask", "--app", APP, "neolith", "run")
    until(lambda: site.nodes() == {runner.pid}, "it runs")
    assert "within a second" in site.flask("neolith", "start", "@ada").stdout
    until(lambda: site.states()["ada"][1] == "running", "ada runs")
    assert site.flask("neolith", "send", "1", "@ada hello", "--as", "1").returncode == 0
    until(lambda: site.rows("SELECT state FROM neolith_delivery") == [("answered",)], "the answer")
    assert {line["pid"] for line in site.lines("calls")} == {runner.pid}
    runner.terminate()
    assert runner.wait(STOP) == 0
    assert site.states()["ada"] == ("running", "stopped", "OFFLINE")
    assert "Stopping." in site.log()
    assert "Traceback" not in site.log()


FORKING = """
import os, sys, threading
from tests.acceptance.process_app import create_app, neolith
app = create_app()
state = app.extensions["neolith"]
state.ensure_started(wait=True)
mine, began = state.house, threading.Event()
def write():
    with mine.database.write() as tx:
        tx.exec_driver_sql("UPDATE neolith_node SET started_at = started_at")
        began.set()
        threading.Event().wait(0.3)
threading.Thread(target=write).start()
began.wait()
if os.fork() == 0:
    assert state.house is not mine and state.house.pid == os.getpid()
    state.ensure_started(wait=True)
    with app.app_context():
        neolith.manager.start_daemon("1")
        assert neolith.manager.is_daemon_running("1")
    assert app.test_client().get("/").status_code == 200
    print("child", flush=True)
sys.stdin.read()
"""


def test_a_forked_child_has_a_runtime_of_its_own(site: Site) -> None:
    """Locks, connections and the lock file are the parent's; its death is noticed while the child lives."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING],
        cwd=ROOT,
        env=site.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    site.processes.append(process)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "child\n"
    locks = dict(site.rows("SELECT name, lock FROM neolith_node"))
    assert len(locks) == 2
    (mine,) = [lock for name, lock in locks.items() if name.endswith(f":{process.pid}")]
    log = site.folder / "app.db-wal"
    before = log.stat().st_ino
    process.kill()
    process.wait(10)
    with closing(sqlite3.connect(site.folder / "app.db")) as other:
        assert other.execute("SELECT count(*) FROM neolith_node").fetchone() == (2,)
    assert log.stat().st_ino == before  # who came and went did not take itself for the only one, and tidy up
    with Path(mine).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises if the child still held it
    until(lambda: process.pid not in site.nodes(), "the child's sweep forgets the parent")
    process.stdin.close()
    process.stdout.close()
    until(lambda: site.nodes() == set(), "the child ends in order")
