"""The example app: what a visitor gets, and the main job on each server it may run on."""

from __future__ import annotations

import ast
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
import socketio
from flask import Flask
from flask.testing import FlaskClient

import flask_neolith_orchestrator
from example_app import create_app
from example_app.models import User, db, hash_password, neolith
from flask_neolith_orchestrator.testing import FakeClaude, text
from tests.acceptance.example_server import PYTHON, ROOT, ExampleServer

PEOPLE = [f"{name}@neolith.test" for name in ("ada", "iris", "maya", "nils", "otto", "sam")]
SERVERS = {
    "python": PYTHON,
    "flask": (sys.executable, "-m", "flask", "--app", "example_app", "run", "--port", "{port}"),
    "gunicorn": (
        *(sys.executable, "-m", "gunicorn", "--config", "python:example_app.gunicorn_conf"),
        *("--bind", "127.0.0.1:{port}", "example_app:create_app()"),
    ),
}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Flask]]:
    """Starts the app in this process, as often as wanted, on one instance folder."""
    made: list[Flask] = []

    def start(**config: Any) -> Flask:
        app = create_app({"INSTANCE_PATH": str(tmp_path / "instance"), "TESTING": True, **config})
        made.append(app)
        return app

    yield start
    for app in made:
        neolith.shutdown(app)
        with app.app_context():
            db.engine.dispose()


def token(client: FlaskClient, path: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get(path).text)
    assert found
    return found[1]


def log_in(client: FlaskClient, email: str, password: str = "neolith", path: str = "/login") -> Any:
    form = {"email": email, "password": password, "csrf_token": token(client, "/login")}
    return client.post(path, data=form)


def people(app: Flask) -> list[str]:
    with app.app_context():
        return sorted(db.session.scalars(db.select(User.email)))


def test_the_first_start_makes_the_demo_and_the_second_finds_it(start: Callable[..., Flask], tmp_path: Path) -> None:
    """The database, its demo data and the secret key are made once and kept."""
    first = start()
    assert people(first) == PEOPLE
    key = tmp_path / "instance" / "secret_key"
    assert key.stat().st_mode & 0o077 == 0, "only its owner may read the key"
    assert len(first.secret_key or "") >= 32
    second = start()
    assert people(second) == PEOPLE
    assert second.secret_key == first.secret_key
    with second.app_context():
        maya = next(str(one.id) for one in db.session.scalars(db.select(User)) if one.name == "Maya")
        assert [one["name"] for one in neolith.chat.channels(maya)] == ["general", "research", "writing", "money"]
        there = {one.orchestrator.handle for one in neolith.manager.get_all_daemon_statuses()}
        assert there == {"ada", "iris", "nils", "otto"}


def test_two_instances_have_different_keys(start: Callable[..., Flask], tmp_path: Path) -> None:
    """No key is written into the source."""
    assert start().secret_key != start(INSTANCE_PATH=str(tmp_path / "other")).secret_key


def test_processes_that_start_at_once_make_the_demo_once(start: Callable[..., Flask], tmp_path: Path) -> None:
    """Several first starts at the same time do not disturb each other."""
    code = "import sys; from example_app import create_app; create_app({'INSTANCE_PATH': sys.argv[1]})"
    command = [sys.executable, "-c", code, str(tmp_path / "instance")]
    started = [subprocess.Popen(command, cwd=ROOT) for _ in range(4)]
    assert [one.wait(30) for one in started] == [0] * 4
    assert people(start()) == PEOPLE


def test_passwords_are_kept_as_hashes(start: Callable[..., Flask]) -> None:
    """Nobody can read a password in the database, and equal ones look different when they are set."""
    with start().app_context():
        hashes = set(db.session.scalars(db.select(User.password_hash)))
    assert all(one.startswith("scrypt:") and "neolith" not in one for one in hashes)
    assert hash_password("neolith") not in hashes


def test_the_mode_is_on_unless_the_environment_says_no(
    start: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ORCHESTRATOR_MODE is on in the demo by default only."""
    monkeypatch.delenv("ORCHESTRATOR_MODE", raising=False)
    with start().app_context():
        assert neolith.settings.mode is True
    monkeypatch.setenv("ORCHESTRATOR_MODE", "false")
    with start().app_context():
        assert neolith.settings.mode is False


def test_the_login_page_shows_who_can_log_in(start: Callable[..., Flask]) -> None:
    """Whoever opens the demo can use it without reading anything else."""
    page = start().test_client().get("/login").text
    assert all(email in page for email in PEOPLE)
    assert "password of all is <kbd>neolith</kbd>" in page


@pytest.mark.parametrize("email", ["maya@neolith.test", "nobody@neolith.test"])
def test_a_wrong_password_and_an_unknown_address_look_alike(start: Callable[..., Flask], email: str) -> None:
    """The answer does not say which addresses exist, and nobody is logged in."""
    client = start().test_client()
    answer = log_in(client, email, "wrong")
    assert answer.status_code == 401
    assert "This e-mail and password do not belong together." in answer.text
    assert client.get("/").status_code == 302


def test_logging_in_and_out(start: Callable[..., Flask]) -> None:
    """The address counts in any case; after logging out the pages are closed again."""
    client = start().test_client()
    assert log_in(client, " Maya@Neolith.test ").headers["Location"] == "/"
    assert "Hello Maya" in client.get("/").text
    assert client.post("/logout", data={"csrf_token": token(client, "/")}).headers["Location"] == "/login"
    assert client.get("/").headers["Location"].startswith("/login")


def test_login_and_logout_need_the_token(start: Callable[..., Flask]) -> None:
    """No foreign page can log a visitor in or out."""
    client = start().test_client()
    form = {"email": "maya@neolith.test", "password": "neolith"}
    assert client.post("/login", data=form).status_code == 400
    assert client.get("/").status_code == 302
    log_in(client, "maya@neolith.test")
    assert client.post("/logout").status_code == 400
    assert client.get("/").status_code == 200


@pytest.mark.parametrize(
    ("wanted", "given"),
    [("/people", "/people"), ("https://evil.test/", "/"), ("//evil.test", "/"), ("/\\evil.test", "/"), ("", "/")],
)
def test_a_login_leads_to_our_own_pages_only(start: Callable[..., Flask], wanted: str, given: str) -> None:
    """The address in `next` cannot lead away."""
    client = start().test_client()
    answer = log_in(client, "maya@neolith.test", path=f"/login?next={wanted}")
    assert answer.headers["Location"] == given


def test_a_channel_is_for_its_members(start: Callable[..., Flask]) -> None:
    """Otto is not in #research: for him it is not there."""
    app = start()
    maya, otto = app.test_client(), app.test_client()
    log_in(maya, "maya@neolith.test")
    log_in(otto, "otto@neolith.test")
    assert "# research" in maya.get("/channels/2").text
    assert otto.get("/channels/2").status_code == 404
    assert "# research" not in otto.get("/").text
    assert otto.get("/channels/99").status_code == otto.get("/channels/x").status_code == 404


def test_pages_carry_nothing_inline(start: Callable[..., Flask]) -> None:
    """Every page works under a policy without inline script and style, and says so to the browser."""
    client = start().test_client()
    pages = {"/login": client.get("/login")}
    log_in(client, "maya@neolith.test")
    pages |= {path: client.get(path) for path in ("/", "/channels/1")}
    for path, page in pages.items():
        assert page.status_code == 200, path
        policy = page.headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=|https?://", page.text), path


def test_the_app_uses_the_front_door_only() -> None:
    """The example shows what every host can do: it imports public names of the package, and nothing behind them."""
    used = set()
    for path in sorted((ROOT / "example_app").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not any(one.name.startswith("flask_neolith_orchestrator") for one in node.names), path
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("flask_neolith_orchestrator"):
                assert node.module == "flask_neolith_orchestrator", path
                used |= {one.name for one in node.names}
    assert used
    assert used <= set(flask_neolith_orchestrator.__all__)


class Watcher:
    """A real Socket.IO client of somebody who has logged in; remembers all events. Lifetime: until `close`."""

    def __init__(self, server: ExampleServer, session: requests.Session) -> None:
        self.events: list[tuple[str, Any]] = []
        self._changed = threading.Condition()
        self._client = socketio.Client(reconnection=False)
        self._client.on("*", self._hear, namespace="/neolith")
        cookies = "; ".join(f"{name}={value}" for name, value in session.cookies.items())
        self._client.connect(
            server.url, headers={"Cookie": cookies}, transports=["websocket"], namespaces=["/neolith"], wait_timeout=10
        )

    def ask(self, event: str, payload: Any) -> Any:
        """Emit and wait for the acknowledgement."""
        return self._client.call(event, payload, namespace="/neolith", timeout=10)

    def wait(self, event: str, fits: Callable[[Any], bool] = lambda _: True) -> Any:
        """The payload of the first event of this name that fits, heard already or within 10 s."""

        def found() -> list[Any]:
            return [payload for name, payload in self.events if name == event and fits(payload)]

        with self._changed:
            assert self._changed.wait_for(found, 10), f"No {event} among {[name for name, _ in self.events]}"
            return found()[0]

    def wait_until_there(self, handle: str) -> None:
        """Online, in the first list or by news."""
        there = self.wait("presence:snapshot")
        if not any(is_presence(handle, "ONLINE")(one) for one in there):
            self.wait("presence", is_presence(handle, "ONLINE"))

    def close(self) -> None:
        """Go away."""
        self._client.disconnect()

    def _hear(self, event: str, payload: Any) -> None:
        with self._changed:
            self.events.append((event, payload))
            self._changed.notify_all()


def is_presence(handle: str, status: str) -> Callable[[Any], bool]:
    return lambda news: (news["handle"], news["status"]) == (handle, status)


def ask_ada(server: ExampleServer) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Maya watches, Ada logs in, Maya asks her, Ada logs out; returns the answer and its deltas.

    The server is stopped in the end, while Maya is still connected: her client's own goodbye would take 3 s.
    """
    maya = server.log_in("maya")
    watcher = Watcher(server, maya)
    try:
        there = watcher.wait("presence:snapshot")
        assert {one["handle"]: one["status"] for one in there} == dict.fromkeys(
            ("ada", "otto", "iris", "nils"), "OFFLINE"
        )
        assert watcher.ask("channel:join", {"channelId": "1"})["ok"]
        ada = server.log_in("ada")
        watcher.wait("presence", is_presence("ada", "ONLINE"))
        asked = maya.post(f"{server.url}/neolith/api/v1/channels/1/messages", json={"content": "@ada hello"})
        assert asked.status_code == 201, asked.text
        question = asked.json()["id"]
        answer = watcher.wait("message:done", lambda news: news["message"]["replyToId"] == question)["message"]
        server.log_out(ada)
        watcher.wait("presence", is_presence("ada", "OFFLINE"))
        shown = maya.get(f"{server.url}/neolith/api/v1/channels/1/messages", params={"threadId": question}).json()
        assert [one["id"] for one in shown["items"]] == [question, answer["id"]]
    finally:
        server.stop()
        watcher.close()
        maya.close()
    deltas = [news for name, news in watcher.events if name == "message:delta" and news["messageId"] == answer["id"]]
    return answer, deltas


@pytest.mark.process
@pytest.mark.parametrize("command", SERVERS.values(), ids=SERVERS)
def test_the_main_job_offline(tmp_path: Path, command: Sequence[str]) -> None:
    """Ada logs in and is there, is asked, answers bit by bit, logs out and is gone; without a key, on every server."""
    with ExampleServer(tmp_path, command) as server:
        answer, deltas = ask_ada(server)
        assert answer["state"] == "final"
        assert "offline model" in answer["content"]
        assert len(deltas) > 1, "it was not streamed"
        assert [one["seq"] for one in deltas] == list(range(1, len(deltas) + 1))
        assert {one["epoch"] for one in deltas} == {answer["epoch"]}
        assert "".join(one["text"] for one in deltas) == answer["content"]
        assert "Traceback" not in server.log.read_text()


@pytest.mark.process
def test_the_main_job_with_claude(tmp_path: Path) -> None:
    """With a key and an address in the environment it is Claude who answers, in the voice of Ada's charter."""
    with FakeClaude() as claude:
        claude.script(text("Hello Maya, what shall we look into?"))
        environment = {"ANTHROPIC_API_KEY": "sk-test", "ANTHROPIC_BASE_URL": claude.url}
        with ExampleServer(tmp_path, **environment) as server:
            answer, _ = ask_ada(server)
        assert (answer["state"], answer["content"]) == ("final", "Hello Maya, what shall we look into?")
        request = claude.requests[0].body
    assert "Ada (@ada), Researcher, research" in str(request["system"])
    assert "@ada hello" in str(request["messages"])


@pytest.mark.process
@pytest.mark.parametrize("name", ["python", "gunicorn"])
def test_a_server_stops_with_browsers_connected(tmp_path: Path, name: str) -> None:
    """SIGTERM: it ends by itself, nobody is left as running, and who was logged in is back with the server."""
    with ExampleServer(tmp_path, SERVERS[name]) as server:
        maya, ada = server.log_in("maya"), server.log_in("ada")
        watcher = Watcher(server, maya)
        watcher.wait_until_there("ada")
        assert server.stop() == 0
        watcher.close()
        with closing(sqlite3.connect(tmp_path / "instance" / "neolith.db")) as database:
            assert set(database.execute("SELECT status FROM neolith_orchestrator")) == {("OFFLINE",)}
            assert set(database.execute("SELECT state FROM neolith_daemon")) == {("stopped",)}
        server.start()
        again = Watcher(server, maya)
        again.wait_until_there("ada")
        server.stop()
        for one in (again, maya, ada):
            one.close()
        assert "Traceback" not in server.log.read_text()


@pytest.mark.process
def test_it_says_what_to_do_and_stops_when_told(tmp_path: Path) -> None:
    """`python -m example_app` prints its address and the first steps, and SIGTERM ends it cleanly."""
    with ExampleServer(tmp_path) as server:
        requests.get(f"{server.url}/login", timeout=10)
        assert server.stop() == 0
        said = server.log.read_text()
    assert f"Neolith is at {server.url}" in said
    assert "ada@neolith.test" in said
    assert "offline model" in said
    assert "Traceback" not in said
