"""Web processes that run no turns, and daemons in processes without a web server: one database, no Redis."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.socket_ear import Ear

from .process_site import APP, STOP, Server, Site, until

pytestmark = pytest.mark.process


class Apart(Site):
    """Web processes with no threads for turns, and daemons beside them. Lifetime: a test."""

    def __init__(self, folder: Path) -> None:
        self.ears: list[Ear] = []
        quick = {"DAEMON_LEASE": "2000", "DAEMON_RENEW_INTERVAL": "500", "DAEMON_SWEEP_INTERVAL": "1000"}
        super().__init__(folder, NEOLITH_MAX_THREADS="0", NEOLITH_TEST_SOCKETS="1", **quick)

    def daemons(self) -> subprocess.Popen[str]:
        """A process without a web server."""
        before = self.nodes()
        made = self.start("flask", "--app", APP, "neolith", "run", "-c", "4")
        until(lambda: made.pid in self.nodes() - before, "it is a node")
        return made

    def ear(self, web: Server) -> Ear:
        """maya's browser, which looks at the channel."""
        ear = Ear(web.url, "; ".join(f"{one.name}={one.value}" for one in web.login(1).cookies))
        self.ears.append(ear)
        ear.next("presence:snapshot")
        assert ear.ask("channel:join", {"channelId": "1"})["ok"]
        return ear

    def thinks(self, about: str) -> dict[str, Any]:
        """The call that is asked about this."""
        found: list[dict[str, Any]] = until(
            lambda: [one for one in self.lines("calls") if about in one["asked"]], "somebody thinks"
        )
        return found[-1]

    def waits(self, state: str) -> None:
        """Until every delivery is in this state."""
        until(lambda: set(self.rows("SELECT state FROM neolith_delivery")) == {(state,)}, f"all are {state}")

    def close(self) -> None:
        """End everything."""
        for ear in self.ears:
            ear.close()
        super().close()


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Apart]:
    """A seeded database."""
    made = Apart(tmp_path)
    yield made
    made.close()


def stop(web: Server) -> None:
    """maya stops the answer that is being written."""
    (message,) = web.site.rows("SELECT message_id FROM neolith_delivery WHERE state = 'running'")
    url = f"{web.url}/neolith/api/v1/messages/{message[0]}/stop"
    answer = web.login(1).post(url, headers={"Sec-Fetch-Site": "same-origin"}, json={}, timeout=10)
    assert answer.status_code == 200, answer.text


def test_browsers_of_every_web_process_see_what_a_process_without_web_does(apart: Apart) -> None:
    """Login, answer, stop and logout at different web processes: each is heard once, in order, at both, and soon."""
    webs = [apart.server("-w", "1"), apart.server("-w", "1")]
    runner = apart.daemons()
    ears = [apart.ear(web) for web in webs]
    ada = webs[0].login(2)
    for ear in ears:
        assert ear.next("presence")["status"] == "ONLINE"
    until(lambda: apart.states()["ada"][1] == "running", "ada runs")
    webs[1].ask("@ada hello for 0.5 s")
    for ear in ears:
        first, second = ear.next("message")["message"], ear.next("message")["message"]
        assert (first["content"], second["state"]) == ("@ada hello for 0.5 s", "streaming")
        seqs, text = [], ""
        while "hello" not in text:
            delta = ear.next("message:delta")
            seqs.append(delta["seq"])
            text += delta["text"]
        assert (seqs, text) == (list(range(1, len(seqs) + 1)), "Well, [maya]: @ada hello for 0.5 s")
        assert ear.next("message:done")["message"]["content"] == text
        assert not {"message", "message:delta", "message:done"} & set(ear.names())
    assert {line["pid"] for line in apart.lines("calls")} == {runner.pid}
    webs[0].ask("@ada think for 30 s")
    apart.thinks("30 s")
    stop(webs[1])
    for ear in ears:
        assert ear.next("message:done")["message"]["state"] == "interrupted"
    assert ada.post(f"{webs[1].url}/logout", timeout=10).status_code == 200
    for ear in ears:
        assert ear.next("presence")["status"] == "OFFLINE"
    until(lambda: apart.states()["ada"] == ("stopped", "stopped", "OFFLINE"), "ada has stopped everywhere")
    assert "no-message-queue" not in apart.log()
    assert "cannot hear each other" not in apart.log()


def test_processes_without_web_come_and_go(apart: Apart) -> None:
    """One that is killed or ends leaves nothing undone; while there is none, work waits, and doctor says so."""
    web = apart.server("-w", "1")
    killed, other = apart.daemons(), apart.daemons()
    web.login(2)
    until(lambda: apart.states().get("ada", ("", ""))[1] == "running", "ada runs")
    web.ask("@ada think for 1.5 s")
    first = apart.thinks("1.5 s")["pid"]
    dies, stays = (killed, other) if first == killed.pid else (other, killed)
    os.killpg(dies.pid, signal.SIGKILL)
    until(lambda: len(apart.lines("calls")) == 2, "the other takes it up")
    assert apart.lines("calls")[1]["pid"] == stays.pid
    stays.send_signal(signal.SIGTERM)  # in the middle of it: it is finished first
    assert stays.wait(STOP) == 0
    apart.waits("answered")
    assert len(apart.lines("calls")) == 2
    assert apart.states()["ada"] == ("running", "stopped", "OFFLINE"), "nobody can answer"
    web.ask("@ada are you there")
    found = apart.flask("neolith", "doctor")
    assert found.returncode == 1
    assert "none of 1 process(es) runs turns. Start `flask neolith run`." in found.stdout
    assert apart.rows("SELECT state FROM neolith_delivery WHERE state != 'answered'") == [("waiting",)]
    last = apart.daemons()
    apart.waits("answered")
    assert apart.lines("calls")[-1]["pid"] == last.pid
    assert web.end(signal.SIGTERM) < STOP
    assert apart.states()["ada"] == ("running", "running", "ONLINE"), "who is backed by any process is there"
    last.terminate()
    assert last.wait(STOP) == 0
    assert apart.states()["ada"] == ("running", "stopped", "OFFLINE")
    assert list((apart.folder / "neolith").iterdir()) == []
    assert "Traceback" not in apart.log()
