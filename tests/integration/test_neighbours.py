"""Processes of one machine on one database tell each other by sockets: all of it, once and in order."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import stat
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from flask_neolith_orchestrator.backends import neighbours
from flask_neolith_orchestrator.backends.choice import make_neighbours
from flask_neolith_orchestrator.backends.embedded import EmbeddedDispatcher
from flask_neolith_orchestrator.backends.neighbours import Neighbours
from flask_neolith_orchestrator.cli import group

from .conftest import MakeWorld
from .world import until

Start = Callable[..., Neighbours]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Makes one process more: `start(name, heard)`."""
    made: list[Neighbours] = []

    def start(name: str, heard: list[Any] | None = None, folder: Path = tmp_path, key: str = "db") -> Neighbours:
        one = Neighbours(folder, key)
        if heard is not None:
            one.on("news", heard.append)
        made.append(one)
        assert one.start(name)
        return one

    yield start
    for one in made:
        one.close()
        one.close()  # harmless


def meet(*all_of_them: Neighbours) -> None:
    """Wait until each can be told something by each."""
    until(lambda: all(one.are_there for one in all_of_them), "they know each other")


def test_all_others_hear_everything_once_and_in_order(start: Start, tmp_path: Path) -> None:
    """Also what is large; who tells does not hear itself, and no other database hears anything."""
    heard: dict[str, list[Any]] = {name: [] for name in "abc"}
    one, two, three = (start(name, heard[name]) for name in "abc")
    elsewhere: list[Any] = []
    start("d", elsewhere, key="another")
    until(lambda: len(one._peers) == len(two._peers) == len(three._peers) == 2, "all know each other")
    assert one.names() == {"b", "c"}
    large = "ä" * 1_000_000
    for number in range(500):
        one.tell("news", number)
    one.tell("news", large)
    one.tell("nothing that anybody listens to", 1)
    two.tell("news", "mine")
    until(lambda: len(heard["b"]) == 501 and len(heard["c"]) == 502, "all is heard")
    assert heard["b"] == [*range(500), large]
    assert [one for one in heard["c"] if one != "mine"] == heard["b"]
    assert heard["a"] == ["mine"]
    assert elsewhere == []
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in tmp_path.glob("*.sock"))


def test_who_was_killed_is_forgotten_and_who_comes_is_told(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket that nobody listens to is removed; whoever comes later, or again, hears what is told from then on."""
    monkeypatch.setattr(neighbours, "LOOK", 0.0)
    one = start("a")
    dead = socket.socket(socket.AF_UNIX)
    path = tmp_path / next(iter(tmp_path.glob("*.sock"))).name.replace("a.", "dead.", 1)
    dead.bind(str(path))
    dead.close()
    one.tell("news", 1)
    until(lambda: not path.exists(), "it is removed")
    heard: list[Any] = []
    two = start("b", heard)
    meet(one, two)
    one.tell("news", 2)
    until(lambda: heard == [2], "it is heard")
    two.close()
    assert one.names() == set()
    again = start("c", heard)
    meet(again)
    meet(one)
    one.tell("news", 3)
    until(lambda: heard[-1] == 3, "it is heard again")


def test_who_is_just_coming_is_not_taken_for_dead(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may look between any two steps of its start: it is seen when it listens, and not before."""
    monkeypatch.setattr(neighbours, "LOOK", 0.0)
    one, looked = start("a"), threading.Semaphore(0)
    meet_all = one._meet

    def meeting() -> None:
        meet_all()
        looked.release()

    def after_a_look(step: Callable[..., None]) -> Callable[..., None]:
        def act(*what: Any) -> None:
            while looked.acquire(blocking=False):
                pass
            one.tell("news", 1)
            assert looked.acquire(timeout=5)
            step(*what)

        return act

    monkeypatch.setattr(one, "_meet", meeting)
    with monkeypatch.context() as slow:
        for step in ("chmod", "rename"):
            slow.setattr(os, step, after_a_look(getattr(os, step)))
        two = start("b")
    meet(one, two)
    assert {path.name[0] for path in tmp_path.glob("*.sock*")} == {"a", "b"}


def test_a_start_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that allows a socket and no more: no file and no open socket of it is left."""

    def denied(*_what: object) -> None:
        raise PermissionError("No.")

    monkeypatch.setattr(os, "rename", denied)
    before = set(os.listdir("/proc/self/fd"))
    assert not Neighbours(tmp_path, "db").start("a")
    assert (set(os.listdir("/proc/self/fd")), list(tmp_path.iterdir())) == (before, [])


def test_one_that_reads_nothing_holds_up_the_others_once(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was stopped is left alone for a while; telling never waits; what is too much is dropped."""
    monkeypatch.setattr(neighbours, "PATIENCE", 0.5)
    heard: list[Any] = []
    one, two = start("a"), start("b", heard)
    meet(one, two)
    end = next(iter(tmp_path.glob("a.*"))).name.removeprefix("a")
    with socket.socket(socket.AF_UNIX) as stopped:
        stopped.bind(str(tmp_path / f"stopped{end}"))
        stopped.listen(1)
        one._looked_at = float("-inf")
        for number in range(5):
            one.tell("news", f"{number}" + "x" * 1_000_000)
        until(lambda: len(heard) == 5, "the other hears all of it")
        until(lambda: "stopped" in one._shunned, "the silent one is given up")
        with monkeypatch.context() as small, one._changed:
            small.setattr(neighbours, "MOST", 1)
            one.tell("news", "kept")
            one.tell("news", "dropped")
    until(lambda: heard[-1] == "kept", "what there was room for")


def test_what_is_no_news_of_ours_harms_nobody(start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Broken text, a listener that raises and a length that cannot be: logged or dropped, and the next is heard."""
    heard: list[Any] = []
    one = start("a", heard)
    one.on("raises", lambda: [].pop())
    path = str(next(iter(tmp_path.glob("a.*"))))

    def frame(text: bytes) -> bytes:
        return struct.pack(">I", len(text)) + text

    with socket.socket(socket.AF_UNIX) as other:
        other.connect(path)
        other.sendall(frame(b"\xff{") + frame(b'["raises"]') + frame(json.dumps(["news", 1]).encode()))
        until(lambda: heard == [1], "the good one is heard")
        other.sendall(b"\xff\xff\xff\xff")
        assert other.recv(1) == b""
    said = [record for record in caplog.records if getattr(record, "action", "") == "neighbours-failed"]
    assert len(said) == 2
    caplog.clear()


def test_a_folder_far_down_will_do_and_one_that_cannot_be_is_said(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A socket's path has at most 108 characters; ours may have more. Where none can be made, a line says so."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    heard: list[Any] = []
    one, two = start("a", folder=deep), start("b", heard, folder=deep)
    meet(one, two)
    one.tell("news", 1)
    until(lambda: heard == [1], "it is heard")
    (tmp_path / "file").write_text("")
    broken = Neighbours(tmp_path / "file", "db")
    with caplog.at_level(logging.WARNING):
        assert broken.start("a") is False
    assert "NEOLITH_STATE_DIR" in caplog.text
    assert broken.names() == set()
    broken.tell("news", 1)
    broken.close()


def test_which_processes_belong_together(tmp_path: Path) -> None:
    """Those on one file, by whatever path, or on one database of one server, whoever logs in to it."""

    def end(url: str) -> str:
        one = make_neighbours(tmp_path, make_url(url))
        assert isinstance(one, Neighbours)
        return one._end

    here = os.path.relpath(tmp_path)
    assert end(f"sqlite:///{tmp_path}/a.db") == end(f"sqlite:///{here}/a.db") != end(f"sqlite:///{tmp_path}/b.db")
    one = end("postgresql+psycopg://ann:secret@db/app")
    assert one == end("postgresql+psycopg://bob@db/app") != end("postgresql+psycopg://ann:secret@db/other")


def test_a_process_without_threads_rings_beside(start: Start) -> None:
    """It calls nothing, and whoever can work for that orchestrator is rung for at once; a look reaches all."""
    one, two = start("a"), start("b")
    meet(one, two)
    called, looked = threading.Event(), threading.Event()
    web = EmbeddedDispatcher(max_threads=0, per_orchestrator=2, neighbours=one)
    daemons = EmbeddedDispatcher(max_threads=0, per_orchestrator=2, neighbours=two)
    daemons.serve(2)

    def handler(orchestrator_id: str) -> bool:
        assert orchestrator_id == "7"
        called.set()
        return False

    web.run(lambda _one: False, None, lambda: None)
    daemons.run(handler, lambda orchestrator_id: int(orchestrator_id == "7"), looked.set)
    web.ring("8")  # nobody works for that one there
    web.ring("7", 2)
    assert called.wait(5)
    web.tell()
    assert looked.wait(5)
    assert (web.threads, web.health()["ok"], web.health()["alive"], web.health()["queued"]) == (0, True, True, 0)
    for bell in (web, daemons):
        assert bell.close(5)


def test_the_log_says_that_nobody_runs_turns(make_world: MakeWorld, caplog: pytest.LogCaptureFixture) -> None:
    """Where no process has threads for turns, it is said once, and again after somebody had."""
    world = make_world(NEOLITH_MAX_THREADS=0)
    world.start("ada")
    make_world(like=world, NEOLITH_MAX_THREADS=0).start()

    def said() -> int:
        return sum(getattr(record, "action", "") == "no-turns" for record in caplog.records)

    for _ in range(2):
        world.house.node.look_around()
    assert said() == 1
    assert world.house.readiness()["daemons"] == {"ok": True, "detail": "no process runs turns: messages wait"}
    other = make_world(like=world, NEOLITH_MAX_THREADS=4)
    other.start()
    assert world.house.readiness()["daemons"] == {"ok": True, "detail": ""}
    world.house.node.look_around()
    other.close()
    world.house.node.look_around()
    assert said() == 2


def test_run_says_what_it_needs(make_world: MakeWorld) -> None:
    """Without threads, or beside Celery, there is nothing to run, and the remedy is named."""
    for settings, remedy in (
        ({"NEOLITH_MAX_THREADS": 0}, "NEOLITH_MAX_THREADS=0: say how many turns at one time, such as `-c 32`."),
        ({"NEOLITH_ENGINE": "celery"}, "With NEOLITH_ENGINE=celery use `flask neolith worker`."),
    ):
        world = make_world(orchestrators=(), **settings)
        refused = world.app.test_cli_runner().invoke(args=["neolith", "run"])
        assert (refused.exit_code, refused.output) == (1, f"Error: {remedy}\n")


def test_run_ends_where_only_a_new_process_helps(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks a process without web server whether it lives: it asks itself, and ends with 1."""
    monkeypatch.setattr(group, "LOOK", 0.01)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    world = make_world()
    house = world.house
    house.manager.liveness = iter([{"ok": True}, {"ok": False}]).__next__
    ended = world.app.test_cli_runner().invoke(args=["neolith", "run", "-c", "3"])
    assert ended.exit_code == 1
    assert "Stopping." in ended.output
    assert house.dispatcher.threads == 3
