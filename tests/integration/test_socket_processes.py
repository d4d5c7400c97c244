"""Rooms over several processes: two servers on one message queue, as two workers with Redis between them."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from flask_socketio import SocketIO
from socketio.pubsub_manager import PubSubManager

from flask_neolith_orchestrator.backends.socket_queue import MISSED
from flask_neolith_orchestrator.backends.socketio import SocketIOChannel
from flask_neolith_orchestrator.core.events import activity_room, channel_room, user_room
from tests.integration.live import LiveServer
from tests.integration.socket_ear import Ear, Refused
from tests.integration.web_site import SAME_ORIGIN, Site, Visitor, make_site


class Exchange:
    """What Redis is between processes: everybody hears everything. Lifetime: a test."""

    def __init__(self) -> None:
        self.ends: list[queue.Queue[Any]] = []

    def publish(self, message: Any) -> None:
        """Give a message to every end."""
        for end in self.ends:
            end.put(message)


class QueueManager(PubSubManager):  # type: ignore[misc]  # python-socketio has no types
    """A client manager on an exchange, for one server."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__()
        self._exchange = exchange
        self._end: queue.Queue[Any] = queue.Queue()
        exchange.ends.append(self._end)

    def _publish(self, data: Any) -> None:
        self._exchange.publish(data)

    def _listen(self) -> Iterator[Any]:
        while (message := self._end.get()) is not None:
            yield message
        raise SystemExit  # the library's loop ends in no other way

    def _thread(self) -> None:
        with suppress(SystemExit):
            super()._thread()

    def end(self) -> None:
        """Let the listening thread end."""
        self._end.put(None)


class Two:
    """One site, and the same site again as another process would have it. Lifetime: a test."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        exchange = Exchange()
        self.sites: list[Site] = []
        self.urls: list[str] = []
        self.stack = stack
        for n in range(2):
            manager = QueueManager(exchange)
            stack.callback(manager.end)
            sockets = SocketIO(client_manager=manager)
            site = make_site(folder, socketio=sockets, filled=n == 0)
            site.ids = self.sites[0].ids if n else site.ids
            stack.callback(site.close)
            self.sites.append(site)
            self.urls.append(stack.enter_context(LiveServer(site.app)).url)

    def connect(self, n: int, visitor: Visitor) -> Ear:
        """A socket of a browser on one of the two."""
        cookie = visitor.client.get_cookie("session")
        assert cookie is not None
        ear = Ear(self.urls[n], f"session={cookie.value}")
        self.stack.callback(ear.close)
        ear.next("presence:snapshot")
        return ear


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    with ExitStack() as stack:
        yield Two(tmp_path, stack)


def test_a_message_is_heard_once_on_every_process(two: Two) -> None:
    """Posted on one, heard by the sockets of both, each once."""
    ann, general = two.sites[0].as_("ann"), two.sites[0].ids["general"]
    ears = [two.connect(n, ann) for n in range(2)]
    for ear in ears:
        assert ear.ask("channel:join", {"channelId": general})["ok"]
    ann.call("POST", f"channels/{general}/messages", json={"content": "hi"})
    for ear in ears:
        assert ear.next("message")["message"]["content"] == "hi"
        assert "message" not in ear.names()


def test_who_is_taken_out_on_one_process_hears_no_more_on_the_other(two: Two) -> None:
    """The order to leave a room reaches every process."""
    general, ids = two.sites[0].ids["general"], two.sites[0].ids
    bob = two.sites[0].as_("bob")
    ears = [two.connect(n, bob) for n in range(2)]
    for ear in ears:
        assert ear.ask("channel:join", {"channelId": general})["ok"]
    ann = two.sites[0].as_("ann")
    assert ann.call("DELETE", f"channels/{general}/members?userId={ids['bob']}").status_code == 204

    def there(n: int) -> list[list[int]]:
        # behind the order, on the same way: whoever hears this has obeyed it
        two.sites[0].state.house.channel.emit("presence", {"n": n}, user_room(ids["bob"]))
        for ear in ears:
            assert ear.next("presence") == {"n": n}
        managers = [site.socketio.server.manager for site in two.sites]
        rooms = (channel_room(general), activity_room(general))
        return [[len(list(one.get_participants("/neolith", room))) for room in rooms] for one in managers]

    assert there(1) == [[0, 0], [0, 0]]
    assert ann.call("POST", f"channels/{general}/members", json={"userId": ids["bob"]}).status_code == 200
    assert there(2) == [[0, 1], [0, 1]], "a member hears of the channel again on both, and has to join it anew"
    ann.call("POST", f"channels/{general}/messages", json={"content": "now we can talk"})
    for ear in ears:
        assert "message" not in ear.names()


def test_a_logout_on_one_process_cuts_sockets_on_the_other(two: Two) -> None:
    """A login has sockets anywhere; the logout ends them everywhere, and those of other logins nowhere."""
    ada, other = two.sites[0].as_("ada"), two.sites[1].as_("ada")
    here, there = two.connect(0, ada), two.connect(1, ada)
    stays = two.connect(1, other)
    ada.client.post("/logout", headers=SAME_ORIGIN)
    here.next("disconnect")
    there.next("disconnect")
    assert stays.ask("channel:join", {"channelId": two.sites[0].ids["general"]})["ok"]


def test_who_may_have_missed_something_comes_back(two: Two) -> None:
    """Where one process could not tell what happened, the sockets of all others break, as by a network."""
    ann = two.sites[0].as_("ann")
    ears = [two.connect(n, ann) for n in range(2)]
    channel = two.sites[0].state.house.channel
    assert isinstance(channel, SocketIOChannel)
    channel._order(MISSED, "", "")
    for ear in ears:
        ear.next("disconnect")
    assert two.connect(1, ann).ask("channel:join", {"channelId": two.sites[0].ids["general"]})["ok"]


def test_no_client_can_give_or_hear_orders(two: Two) -> None:
    """The namespace of orders lets nobody in."""
    ann = two.sites[0].as_("ann")
    cookie = ann.client.get_cookie("session")
    assert cookie is not None
    with pytest.raises(Refused):
        Ear(two.urls[0], f"session={cookie.value}", namespace="/neolith/orders")
    assert isinstance(two.sites[0].state.house.channel, SocketIOChannel)
