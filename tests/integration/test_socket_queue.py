"""Flask-SocketIO's message queue on a real Redis: nobody waits for it, and what was missed is looked at again."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from flask_socketio import SocketIO
from socketio import RedisManager

from flask_neolith_orchestrator.backends import socket_queue
from flask_neolith_orchestrator.backends.socket_queue import MISSED, ORDERS, MessageQueue
from flask_neolith_orchestrator.backends.socketio import SocketIOChannel

from .redis_server import RedisServer
from .world import until

CHANNEL = "flask-socketio"


class Sender:
    """A process that has no sockets, as a worker. Lifetime: a test."""

    def __init__(self, redis: RedisServer) -> None:
        self.socketio = SocketIO(message_queue=redis.url, async_mode="threading")
        self.channel = SocketIOChannel(self.socketio)

    @property
    def manager(self) -> Any:
        """The library's own."""
        return self.socketio.server.manager

    def tell(self, *numbers: int) -> None:
        """One event for each."""
        for number in numbers:
            self.channel.emit("presence", {"n": number}, "org:1")


@pytest.fixture
def sender(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sender]:
    """One. At its end it has said everything, and has no connection left."""
    monkeypatch.setattr(socket_queue, "IDLE", 0.1)
    made = Sender(redis)
    yield made
    until(lambda: made.channel.flush(5.0), "all is told")
    made.manager.redis.connection_pool.disconnect()
    redis.client.connection_pool.disconnect()


class Reader:
    """Hears what is published. Lifetime: a test."""

    def __init__(self, redis: RedisServer) -> None:
        self._heard = redis.client.pubsub(ignore_subscribe_messages=True)
        self._heard.subscribe(CHANNEL)
        self._heard.get_message(timeout=5.0)

    def next(self) -> tuple[str, Any]:
        """Name and payload of the next event."""
        found = json.loads(until(lambda: self._heard.get_message(timeout=1.0), "an event")["data"])
        return found["event"], found["data"][0]


def test_nobody_waits_for_a_redis_that_does_not_answer(redis: RedisServer, sender: Sender) -> None:
    """While it is paused events are told at once to those here, and go out in order, each once, when it goes on."""
    reader = Reader(redis)
    sender.tell(0)
    assert reader.next() == ("presence", {"n": 0})
    redis.signal(signal.SIGSTOP)
    try:
        sender.tell(*range(1, 51))
        assert not sender.channel.flush(0.05)
    finally:
        redis.signal(signal.SIGCONT)
    assert [reader.next() for _ in range(50)] == [("presence", {"n": n}) for n in range(1, 51)]
    assert sender.channel.flush(5.0)
    assert redis.client.pubsub_numsub(CHANNEL)[0][1] == 1, "who only tells does not listen"


def test_who_could_not_tell_says_so_later(redis: RedisServer, sender: Sender, caplog: pytest.LogCaptureFixture) -> None:
    """What happened while Redis was away is told to nobody; when it is back all browsers are made to look again."""
    sender.tell(0)
    assert sender.channel.flush(5.0)
    redis.stop()
    sender.tell(1, 2)
    until(lambda: sender.channel.health()["detail"], "it is noticed")
    assert sender.channel.health()["ok"]
    assert "the message queue is out of order" in caplog.text.lower()
    redis.start()
    reader = Reader(redis)
    assert reader.next() == (MISSED, "")
    until(lambda: not sender.channel.health()["detail"], "it works again")
    sender.tell(4)
    assert reader.next() == ("presence", {"n": 4})


@pytest.mark.parametrize("stale", [0.05, -1.0])
def test_what_is_too_old_is_told_to_nobody(
    redis: RedisServer, sender: Sender, monkeypatch: pytest.MonkeyPatch, stale: float
) -> None:
    """Of a process that was paused no late text appears: browsers look again instead, and nobody thinks it was told."""
    monkeypatch.setattr(socket_queue, "STALE", stale)
    reader = Reader(redis)
    redis.signal(signal.SIGSTOP)
    try:
        sender.tell(*range(1, 6))
        assert not sender.channel.flush(0.2), "not even where the first is too old already"
    finally:
        redis.signal(signal.SIGCONT)
    heard = [reader.next()]
    while heard[-1] != (MISSED, ""):
        heard.append(reader.next())
    assert len(heard) <= 2, "one at the most was on its way"


def test_too_many_are_told_to_nobody(redis: RedisServer, sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is bounded; what is dropped is looked at again."""
    monkeypatch.setattr(socket_queue, "MOST", 5)
    reader = Reader(redis)
    sender.tell(0)
    assert reader.next() == ("presence", {"n": 0})
    redis.signal(signal.SIGSTOP)
    sender.tell(*range(1, 30))
    redis.signal(signal.SIGCONT)
    heard = [reader.next()]
    while heard[-1] != ("presence", {"n": 29}):
        heard.append(reader.next())
    assert (MISSED, "") in heard
    assert len(heard) < 10


def test_siblings_of_one_master_hear_each_other() -> None:
    """A process forked after the app was made has a name of its own: each ignores what comes under its own name."""
    manager = RedisManager("redis://127.0.0.1:1/0")
    before = manager.host_id
    MessageQueue(manager, lambda *_: None, forked=False)
    assert manager.host_id == before
    orders: list[str] = []
    MessageQueue(manager, lambda what, _room, _target: orders.append(what), forked=True)
    assert manager.host_id != before
    for host in (before, manager.host_id):
        order = {"method": "emit", "namespace": ORDERS, "event": "cut", "room": "", "data": [""], "host_id": host}
        manager._handle_emit(order)
    assert orders == ["cut"]


def test_who_listens_comes_back_when_redis_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's thread waits in the connection until Redis answers; what it has missed is looked at again."""
    monkeypatch.setattr(socket_queue, "AGAIN", 0.01)
    manager, orders, asked = RedisManager("redis://127.0.0.1:1/0"), list[str](), list[int]()

    class Away:
        def ping(self) -> bool:
            asked.append(1)
            if len(asked) % 4:
                raise ConnectionError
            return True

    monkeypatch.setattr(RedisManager, "_redis_connect", lambda self: setattr(self, "redis", Away()))
    MessageQueue(manager, lambda what, _room, _target: orders.append(what), forked=False)
    manager._redis_connect()
    assert (len(asked), orders) == (4, [])
    manager._redis_connect()
    assert (len(asked), orders) == (8, [MISSED])
