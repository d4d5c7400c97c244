"""Real processes: who starts a runtime and who does not, how they end, and what the others see of it."""

from __future__ import annotations

import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import socketio

from .process_site import APP, ROOT, STOP, Site, until

pytestmark = pytest.mark.process


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
