"""Which Flask-SocketIO we work with, and what is said about one that is open to the world."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from flask import Flask
from flask_socketio import SocketIO

from flask_neolith_orchestrator.backends.socketio import SocketIOChannel, check_async_mode, warn_of_open_origins
from flask_neolith_orchestrator.core.errors import UnsupportedServer


@pytest.mark.parametrize("mode", ["gevent", "gevent_uwsgi", "eventlet"])
def test_greenlets_are_refused_before_anything_starts(mode: str) -> None:
    """The sentence names the mode and the remedy."""
    with pytest.raises(UnsupportedServer, match=f'"{mode}".*threading'):
        check_async_mode(SocketIO(async_mode=mode))


def test_threads_are_fine_and_so_is_one_without_an_app_yet() -> None:
    """In threading mode, or not yet decided, nothing is said."""
    check_async_mode(SocketIO())
    check_async_mode(SocketIO(async_mode="threading"))
    check_async_mode(SocketIO(Flask(__name__), async_mode="threading"))


@pytest.mark.parametrize(
    ("origins", "is_open"),
    [("*", True), ([], True), (["*"], True), (None, False), ("https://a.test", False), (["https://a.test"], False)],
)
@pytest.mark.parametrize("early", [True, False])
def test_open_origins_are_warned_of_once(
    origins: Any, is_open: bool, early: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """'*' and the empty list switch the check off: one WARNING each, before or after the app is known."""
    app = None if early else Flask(__name__)
    socketio = SocketIO(app, cors_allowed_origins=origins, async_mode="threading")
    with caplog.at_level(logging.WARNING):
        assert warn_of_open_origins(socketio) is is_open
    assert [record.__dict__["action"] for record in caplog.records] == ["open-origins"] * is_open


def test_a_channel_warns_when_it_first_sees_its_server(caplog: pytest.LogCaptureFixture) -> None:
    """However late the server comes; and not with every message."""
    socketio = SocketIO(cors_allowed_origins="*")
    channel = SocketIOChannel(socketio)
    channel.hear()
    assert not channel.health()["ok"]
    socketio.init_app(Flask(__name__), async_mode="threading")
    for _ in range(3):
        channel.emit("message", {}, "channel:1")
    assert [record.__dict__["action"] for record in caplog.records] == ["open-origins"]
    assert channel.health()["ok"]


def test_a_channel_never_raises(caplog: pytest.LogCaptureFixture) -> None:
    """Before there is a server, and when the library fails: one log record, and the caller goes on."""
    channel = SocketIOChannel(SocketIO())
    channel.emit("message", {}, "channel:1")
    channel.cut("login:x")
    channel.leave_channel("1", "1")
    broken: Any = SocketIO(Flask(__name__), async_mode="threading")
    broken.server.manager = None
    channel = SocketIOChannel(broken)
    channel.emit("message", {}, "channel:1")
    channel.cut("login:x")
    actions = [record.__dict__["action"] for record in caplog.records]
    assert actions == ["emit-failed", "emit-failed", "cut-failed"]
