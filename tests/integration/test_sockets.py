"""The Socket.IO namespace over real WebSockets: who gets in, what they hear, and what they cannot do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
import socketio

from flask_neolith_orchestrator.core.events import channel_room
from flask_neolith_orchestrator.core.types import DeliveryState
from flask_neolith_orchestrator.store.turns.endings import Ended
from tests.integration.live import LiveServer
from tests.integration.socket_ear import SOON, Ear, Refused
from tests.integration.web_site import SAME_ORIGIN, Site, Visitor, make_site

NS = "/neolith"


class Scene:
    """A site behind a real server, and everybody who connects. Lifetime: a test."""

    def __init__(self, site: Site, stack: ExitStack) -> None:
        self.site = site
        self.server = stack.enter_context(LiveServer(site.app))
        self._stack = stack

    def cookie(self, name: str) -> str:
        """Log in; the cookie header of that browser."""
        with requests.Session() as browser:
            browser.post(f"{self.server.url}/login/{name}", timeout=SOON)
            return "; ".join(f"{one.name}={one.value}" for one in browser.cookies)

    def connect(self, cookie: str | None = None, auth: Any = None) -> Ear:
        """A socket, closed at the end."""
        ear = Ear(self.server.url, cookie, auth)
        self._stack.callback(ear.close)
        return ear

    def refused(self, cookie: str | None = None, auth: Any = None) -> None:
        """Try to connect, and fail."""
        with pytest.raises(Refused) as caught:
            Ear(self.server.url, cookie, auth)
        assert caught.value.args[0]["data"]["code"] == "unauthenticated"

    def as_(self, name: str) -> Ear:
        """A socket of somebody who has just logged in, past its snapshot."""
        ear = self.connect(self.cookie(name))
        ear.next("presence:snapshot")
        return ear


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    site = make_site(tmp_path)
    with ExitStack() as stack:
        stack.callback(site.close)
        yield Scene(site, stack)


def test_a_stranger_is_refused(scene: Scene) -> None:
    """Without a login there is no connection, and the reason is told."""
    shown: list[Any] = [None, {"token": "nlk_nothing"}, {"token": 5}, {"token": ["x"]}, {"token": "\x00"}, {"x": 1}, []]
    for auth in shown:
        scene.refused(auth=auth)


def test_a_wrong_token_is_not_made_good_by_a_cookie(scene: Scene) -> None:
    """Whoever shows a key is judged by the key."""
    scene.refused(scene.cookie("ann"), {"token": "nlk_0123456789abcdef_" + "A" * 43})


def test_the_snapshot_shows_ones_own_organizations_only(scene: Scene) -> None:
    """bob hears of ada, eve of zoe, mallory of nobody."""
    for name, expected in (("bob", ["ada"]), ("eve", ["zoe"]), ("mallory", [])):
        shown = scene.connect(scene.cookie(name)).next("presence:snapshot")
        assert [one["handle"] for one in shown] == expected
        assert all(set(one) >= {"orchestratorId", "userId", "name", "status", "at"} for one in shown)


def test_a_message_reaches_the_members_that_joined_and_nobody_else(scene: Scene) -> None:
    """Sent over a socket, acknowledged, heard by bob; not by eve, who could not join."""
    general = scene.site.ids["general"]
    ann, bob, eve = scene.as_("ann"), scene.as_("bob"), scene.as_("eve")
    joined = bob.ask("channel:join", {"channelId": general})
    assert joined["ok"] is True
    assert {one["name"] for one in joined["members"]} == {"ann", "bob", "ada"}
    refused = eve.ask("channel:join", {"channelId": general})
    assert (refused["ok"], refused["error"]["status"]) == (False, 404)
    sent = ann.ask("message:send", {"channelId": general, "content": "hello", "clientId": "c1"})
    assert (sent["ok"], sent["message"]["content"], sent["fresh"]) == (True, "hello", True)
    assert bob.next("message")["message"] == sent["message"]
    again = ann.ask("message:send", {"channelId": general, "content": "hello", "clientId": "c1"})
    assert (again["fresh"], again["message"]["id"]) == (False, sent["message"]["id"])
    assert "message" not in eve.names()
    bob.ask("channel:leave", {"channelId": general})
    ann.ask("message:send", {"channelId": general, "content": "more"})
    assert "message" not in bob.names()


def test_members_hear_of_channels_they_do_not_look_at(scene: Scene) -> None:
    """Who did not join hears that something was said, and not what; who is taken out hears no more of it."""
    ids = scene.site.ids
    ann, bob, eve = scene.as_("ann"), scene.as_("bob"), scene.as_("eve")
    web = scene.site.as_("ann")
    sent = ann.ask("message:send", {"channelId": ids["general"], "content": 'for @"bob"'})["message"]
    heard = bob.next("channel:activity")
    assert (heard["messageId"], heard["mentions"], heard["authorName"]) == (sent["id"], [ids["bob"]], "ann")
    made = web.call("POST", "channels", json={"organizationId": ids["acme"], "name": "new", "memberIds": [ids["bob"]]})
    room = made.json["id"]
    assert bob.next("channel:added")["channel"]["id"] == room
    ann.ask("message:send", {"channelId": room, "content": "first"})
    assert bob.next("channel:activity")["channelId"] == room
    other = scene.connect(scene.cookie("bob"))
    read = scene.site.as_("bob").call("PUT", f"channels/{ids['general']}/read", json={"messageId": sent["id"]})
    assert read.json["unread"] == 0
    assert other.next("channel:read") == bob.next("channel:read") == read.json
    web.call("DELETE", f"channels/{room}/members?userId={ids['bob']}")
    assert bob.next("channel:removed") == {"channelId": room}
    ann.ask("message:send", {"channelId": room, "content": "second"})
    assert "channel:activity" not in bob.names()
    assert not {"message", "channel:activity", "channel:added", "channel:read"} & set(eve.names())


def test_an_outsider_can_do_nothing_on_a_socket(scene: Scene) -> None:
    """Joining, sending and stopping what is not one's own: 404, and nothing is stored."""
    general, ann = scene.site.ids["general"], scene.as_("ann")
    message = ann.ask("message:send", {"channelId": general, "content": "@ada hi"})["message"]["id"]
    for name, status in (("eve", 404), ("zoe", 404), ("mallory", 404)):
        ear = scene.as_(name)
        for event, payload in (
            ("channel:join", {"channelId": general}),
            ("message:send", {"channelId": general, "content": "hi"}),
            ("message:stop", {"messageId": message}),
        ):
            answer = ear.ask(event, payload)
            assert (answer["ok"], answer["error"]["status"]) == (False, status)
    stopped = scene.as_("bob").ask("message:stop", {"messageId": message})
    assert stopped["error"]["status"] == 403, "only who asked may stop"
    assert ann.ask("message:stop", {"messageId": message})["state"] == "stopped"
    assert [one["content"] for one in scene.site.as_("ann").get(f"channels/{general}/messages")["items"]] == ["@ada hi"]


@pytest.mark.parametrize(
    "payload",
    [
        (),
        (None,),
        ("general",),
        ([{"channelId": "1"}],),
        ({"channelId": "1"}, {"channelId": "1"}),
        ({"channelId": 1},),
        ({"channelId": "channel:1"},),
        ({"channelId": "1", "room": "org:1"},),
        ({"channelId": "9" * 40},),
        ({"channelId": None},),
        ({},),
        ({"channelId": {"$ne": None}},),
        (json.loads("[" * 300 + "]" * 300),),
    ],
)
def test_a_payload_of_any_other_form_is_answered_with_what_is_wrong(scene: Scene, payload: tuple[Any, ...]) -> None:
    """Every event says why; nobody gets into a room by it; the socket lives on."""
    ear = scene.as_("ann")
    for event in ("channel:join", "channel:leave", "message:send", "message:stop"):
        answer = ear.ask(event, *payload)
        assert (answer["ok"], answer["error"]["code"]) in ((False, "invalid"), (False, "not-found")), answer
    server = scene.site.socketio.server
    (sid,) = [sid for sid, _ in server.manager.get_participants(NS, None)]
    ids = scene.site.ids
    rooms = {room for room in server.rooms(sid, NS) if not room.startswith("login:p-")}
    assert rooms == {sid, f"user:{ids['ann']}", f"org:{ids['acme']}", f"activity:{ids['general']}"}
    assert ear.ask("channel:join", {"channelId": ids["general"]})["ok"]


@pytest.mark.parametrize("content", ["", "a\x00b", "\ud800", "x" * 40_001, 5, None, ["x"], "x" * 1_000_001])
def test_a_bad_message_is_refused_and_not_stored(scene: Scene, content: Any) -> None:
    """The same bounds as over HTTP; one beyond the transport's own bound only loses its connection."""
    general, ear = scene.site.ids["general"], scene.as_("ann")
    if isinstance(content, str) and len(content) > 1_000_000:
        ear.send('42/neolith,1["message:send",' + json.dumps({"channelId": general, "content": content}) + "]")
        ear.next("disconnect")
    else:
        answer = ear.ask("message:send", {"channelId": general, "content": content})
        assert (answer["ok"], answer["error"]["status"]) == (False, 422)
    assert scene.site.as_("ann").get(f"channels/{general}/messages")["items"] == []


def test_a_failure_inside_is_an_answer_without_details(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """A bug in a handler is logged here and tells the client nothing; the next event works."""
    chat, general, ear = scene.site.state.house.chat, scene.site.ids["general"], scene.as_("ann")
    post: Callable[..., Any] = chat.post

    def failing(*arguments: Any, **more: Any) -> Any:
        post(*arguments, **more)
        raise RuntimeError("the secret of the house")

    chat.post = failing
    answer = ear.ask("message:send", {"channelId": general, "content": "hi"})
    assert (answer["ok"], answer["error"]["status"]) == (False, 500)
    assert "secret" not in json.dumps(answer)
    assert "socket-message:send" in [record.__dict__.get("action") for record in caplog.records]
    chat.post = post
    assert ear.ask("message:send", {"channelId": general, "content": "hi"})["ok"]
    assert len(scene.site.as_("ann").get(f"channels/{general}/messages")["items"]) == 1, "the first was rolled back"


def test_who_is_taken_out_of_a_channel_hears_no_more(scene: Scene) -> None:
    """Losing membership leaves the room at once, in every window."""
    general, site = scene.site.ids["general"], scene.site
    cookie = scene.cookie("bob")
    windows = [scene.connect(cookie), scene.connect(cookie)]
    for window in windows:
        assert window.ask("channel:join", {"channelId": general})["ok"]
    ann = site.as_("ann")
    assert ann.call("DELETE", f"channels/{general}/members?userId={site.ids['bob']}").status_code == 204
    assert ann.call("POST", f"channels/{general}/messages", json={"content": "now we can talk"}).status_code == 201
    for window in windows:
        assert "message" not in window.names()
        assert window.ask("channel:join", {"channelId": general})["error"]["status"] == 404


def test_logging_out_cuts_the_sockets_of_that_login(scene: Scene) -> None:
    """An orchestrator's socket is gone after its logout; the one of its other browser stays."""
    here, there = scene.cookie("ada"), scene.cookie("ada")
    first, second = scene.connect(here), scene.connect(there)
    requests.post(f"{scene.server.url}/logout", headers={"Cookie": here}, timeout=SOON)
    first.next("disconnect")
    assert second.ask("channel:join", {"channelId": scene.site.ids["general"]})["ok"]
    scene.refused(here)


def test_a_key_opens_a_socket_within_its_scopes_until_it_is_revoked(scene: Scene) -> None:
    """A program connects with {"token": key}; reading is not writing; revoking cuts it."""
    ids, site = scene.site.ids, scene.site
    ann = site.as_("ann")
    made = ann.call("POST", "keys", json={"label": "x", "scopes": ["messages:read"]}).json
    program = scene.connect(auth={"token": made["key"]})
    assert program.next("presence:snapshot") == [], "orchestrators:read was not granted"
    assert program.ask("channel:join", {"channelId": ids["general"]})["ok"]
    refused = program.ask("message:send", {"channelId": ids["general"], "content": "hi"})
    assert refused["error"]["status"] == 403
    assert ann.call("DELETE", f"keys/{made['id']}").status_code == 204
    program.next("disconnect")


def test_a_socket_whose_login_ended_elsewhere_can_do_nothing(scene: Scene) -> None:
    """Each event looks again: a session that the host no longer accepts is refused though the socket is open."""
    ear = scene.as_("bob")
    models = scene.site.neolith.models
    with scene.site.app.app_context():
        session = scene.site.db.session
        general = models.ChannelMember
        session.query(general).filter_by(user_id=int(scene.site.ids["bob"])).delete()
        session.query(models.OrganizationMember).filter_by(user_id=int(scene.site.ids["bob"])).delete()
        session.delete(session.get(models.user, int(scene.site.ids["bob"])))
        session.commit()
    answer = ear.ask("message:send", {"channelId": scene.site.ids["general"], "content": "hi"})
    assert answer["error"]["code"] == "unauthenticated"


def test_the_real_client_is_understood(scene: Scene) -> None:
    """python-socketio's client connects with a key and gets its acknowledgement."""
    ann = scene.site.as_("ann")
    key = ann.call("POST", "keys", json={"label": "x", "scopes": ["messages:write"]}).json["key"]
    client = socketio.Client(reconnection=False)
    client.connect(scene.server.url, auth={"token": key}, namespaces=[NS], transports=["websocket"], wait_timeout=5)
    body = {"channelId": scene.site.ids["general"], "content": "hi"}
    assert client.call("message:send", body, namespace=NS, timeout=SOON)["message"]["content"] == "hi"
    client.disconnect()


def test_a_page_from_elsewhere_cannot_connect(scene: Scene) -> None:
    """A foreign origin is refused before anything of ours is asked."""
    headers = {"Cookie": scene.cookie("ann"), "Origin": "https://evil.test"}
    answer = requests.get(f"{scene.server.url}/socket.io/?EIO=4&transport=polling", headers=headers, timeout=SOON)
    assert answer.status_code == 400


def test_nested_json_beyond_any_parser_harms_no_other_socket(scene: Scene) -> None:
    """100,000 brackets: that socket may end, the server and the others go on."""
    bad, good = scene.as_("eve"), scene.as_("ann")
    bad.send('42/neolith,1["message:send",' + "[" * 100_000 + "]" * 100_000 + "]")
    assert good.ask("message:send", {"channelId": scene.site.ids["general"], "content": "still here"})["ok"]


def test_the_state_is_the_apps_own(scene: Scene, tmp_path: Path) -> None:
    """Two apps in one process with a SocketIO each: what is said in one is not heard in the other."""
    other = make_site(tmp_path / "other")
    with ExitStack() as stack:
        stack.callback(other.close)
        second = Scene(other, stack)
        here, there = scene.as_("ann"), second.as_("ann")
        for ear in (here, there):
            assert ear.ask("channel:join", {"channelId": "1"})["ok"]
        there.ask("message:send", {"channelId": "1", "content": "only there"})
        assert there.next("message")["message"]["content"] == "only there"
        assert "message" not in here.names()


def test_a_socketio_that_serves_a_second_app_serves_it_whole(tmp_path: Path) -> None:
    """create_app called twice on one module-level SocketIO: the second app has its namespace."""
    shared = __import__("flask_socketio").SocketIO()
    first = make_site(tmp_path / "first", socketio=shared)
    first.close()
    second = make_site(tmp_path / "second", socketio=shared)
    with ExitStack() as stack:
        stack.callback(second.close)
        ear = Scene(second, stack).as_("ann")
        assert ear.ask("channel:join", {"channelId": "1"})["ok"]


def test_presence_and_rooms_are_named_by_the_server(scene: Scene) -> None:
    """The room of a channel holds exactly those who may hear it."""
    general, bob = scene.site.ids["general"], scene.as_("bob")
    scene.as_("mallory").ask("channel:join", {"channelId": general})
    bob.ask("channel:join", {"channelId": general})
    manager = scene.site.socketio.server.manager
    assert len(list(manager.get_participants(NS, channel_room(general)))) == 1


def test_the_api_tells_the_sockets(scene: Scene) -> None:
    """What is posted over HTTP is heard on sockets, after the commit."""
    general, bob = scene.site.ids["general"], scene.as_("bob")
    bob.ask("channel:join", {"channelId": general})
    visitor = Visitor(scene.site, SAME_ORIGIN)
    visitor.client.post("/login/ann")
    posted = visitor.call("POST", f"channels/{general}/messages", json={"content": "hi"}).json
    assert bob.next("message")["message"]["id"] == posted["id"]
    visitor.call("PUT", f"messages/{posted['id']}/reactions/👍")
    assert bob.next("reaction")["messageId"] == posted["id"]
    visitor.call("DELETE", f"messages/{posted['id']}")
    assert bob.next("message:deleted") == {"messageId": posted["id"], "channelId": general}


def test_who_sends_too_much_is_told_when_to_come_back(tmp_path: Path) -> None:
    """Posts on a socket and over HTTP count together; what is too much is not stored."""
    site = make_site(tmp_path / "limited", NEOLITH_RATE_POSTS="2/minute")
    with ExitStack() as stack:
        stack.callback(site.close)
        ann, general = Scene(site, stack).as_("ann"), site.ids["general"]
        for text, fine in (("one", True), ("two", True), ("three", False)):
            answer = ann.ask("message:send", {"channelId": general, "content": text})
            assert answer["ok"] is fine
        assert (answer["error"]["status"], answer["error"]["code"]) == (429, "too-many-requests")
        assert 0 < answer["error"]["retryAfter"] <= 60
        path = f"channels/{general}/messages"
        assert site.as_("ann").call("POST", path, json={"content": "four"}).status_code == 429
        assert [one["content"] for one in site.as_("ann").get(path)["items"]] == ["one", "two"]


def test_a_person_who_logs_out_hears_and_says_no_more(scene: Scene) -> None:
    """A person's sockets are gone after the logout too, and the old cookie opens none; another browser's stay."""
    here, there = scene.cookie("bob"), scene.cookie("bob")
    first, second = scene.connect(here), scene.connect(there)
    requests.post(f"{scene.server.url}/logout", headers={"Cookie": here}, timeout=SOON)
    first.next("disconnect")
    assert second.ask("channel:join", {"channelId": scene.site.ids["general"]})["ok"]
    scene.refused(here)


def test_who_watches_the_dashboard_hears_how_busy_daemons_are(tmp_path: Path) -> None:
    """From an answer's begin to its end, within a sweep each; a plain member may not, and hears nothing."""
    site = make_site(tmp_path, mode=True)
    with ExitStack() as stack:
        stack.callback(site.close)
        scene = Scene(site, stack)
        ann, bob = scene.as_("ann"), scene.as_("bob")
        assert ann.ask("dashboard:watch", {})["organizations"] == [site.ids["acme"]]
        assert bob.ask("dashboard:watch", {})["error"]["status"] == 403
        assert ann.ask("dashboard:watch", {"organizationId": "1"})["error"]["code"] == "invalid"
        with site.app.app_context():
            site.neolith.manager.start_daemon(site.ids["ada-orchestrator"])
        bob.ask("message:send", {"channelId": site.ids["general"], "content": "@ada hi"})
        while (told := ann.next("daemon:health"))["totalMessagesProcessed"] == 0:
            assert told["activeConversations"] == 1
        assert told["orchestratorId"] == site.ids["ada-orchestrator"]
        assert (told["status"], told["activeConversations"], told["queued"]) == ("running", 0, 0)
        assert "daemon:health" not in bob.names()


def test_those_who_manage_hear_of_deeds_and_of_dead_letters(scene: Scene) -> None:
    """They are told that there is something to read, and the orchestrator itself; a member is told nothing of it."""
    site = scene.site
    ann, ada, bob, one = scene.as_("ann"), scene.as_("ada"), scene.as_("bob"), site.ids["ada-orchestrator"]
    patched = site.as_("ann").call("PATCH", f"orchestrators/{one}", json={"role": "Analyst"})
    assert patched.status_code == 200
    ends = [("answered", "1"), ("failed", "2")]
    site.state.house.news.dead_letters([Ended(key, one, DeliveryState(state), "x") for state, key in ends])
    for ear in (ann, ada):
        assert ear.next("audit:added") == {"orchestratorId": one, "organizationId": None}
        assert ear.next("delivery:dead") == {"deliveryId": "2", "orchestratorId": one, "state": "failed"}
    parent = f"organizations/{site.ids['acme']}/charter"
    assert site.as_("ann").call("PUT", parent, json={"charter": {}, "version": 0}).status_code == 200
    assert ann.next("audit:added") == {"orchestratorId": None, "organizationId": site.ids["acme"]}
    assert not {"audit:added", "delivery:dead"} & set(bob.names())
