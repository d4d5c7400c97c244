"""Approvals over real HTTP and real sockets: who hears the arguments, who is answered how, and what a key may."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.integration.socket_ear import Ear
from tests.integration.test_sockets import Scene
from tests.integration.web_site import SAME_ORIGIN, Visitor, make_site

SECRET = "the launch is on friday"


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """ada runs, offline, and has a tool that asks."""
    site = make_site(tmp_path, mode=True)

    def pin(text: str) -> str:
        """Pin a notice."""
        return f"Pinned {len(text)} characters."

    site.neolith.tool(approval="ask")(pin)
    with ExitStack() as stack:
        stack.callback(site.close)
        yield Scene(site, stack)


def visitor(scene: Scene, name: str) -> Visitor:
    """Somebody's browser."""
    return scene.site.as_(name)


def ask(scene: Scene, who: Ear) -> Any:
    """Ask for the tool; what the requester is then asked."""
    with scene.site.app.app_context():
        scene.site.neolith.manager.start_daemon(scene.site.ids["ada-orchestrator"])
    general = scene.site.ids["general"]
    who.ask("channel:join", {"channelId": general})
    assert who.ask("message:send", {"channelId": general, "content": f"@ada use pin {SECRET}"})["ok"]
    while True:
        asked = who.next("approval:requested")
        if "arguments" in asked["calls"][0]:
            return asked


def left(ear: Ear) -> str:
    """All that a socket has heard and nobody has taken."""
    heard = []
    while True:
        try:
            heard.append(ear._events.get(timeout=0.3))
        except queue.Empty:
            return json.dumps(heard)


def test_arguments_go_to_the_requester_only(scene: Scene) -> None:
    """Not to others in the channel, nor to a key of the requester's that may not read messages."""
    bob, ann = scene.as_("bob"), scene.as_("ann")
    key = scene.site.with_key("bob", "orchestrators:read")
    weak = scene.connect(auth={"token": key.headers["Authorization"].split()[1]})
    ann.ask("channel:join", {"channelId": scene.site.ids["general"]})
    asked = ask(scene, bob)
    assert asked["calls"][0]["arguments"] == {"text": SECRET}
    told = ann.next("approval:requested")
    assert set(told["calls"][0]) == {"id", "name", "state", "asks"}
    assert "approval:requested" not in left(weak)
    heard = json.loads(left(ann))
    assert SECRET not in json.dumps([one for one in heard if one[0].startswith("approval")])
    turn = visitor(scene, "bob").get(f"turns/{asked['turnId']}")
    call = next(one for one in turn["steps"] if one["kind"] == "tool")
    assert (call["arguments"], call["state"], turn["state"]) == ({"text": SECRET}, "waiting", "parked")
    assert visitor(scene, "ann").get(f"turns/{asked['turnId']}")["steps"][1]["arguments"] == {"text": SECRET}
    assert visitor(scene, "mallory").call("GET", f"turns/{asked['turnId']}").status_code == 404


def test_words_of_a_direct_message_stay_there(scene: Scene) -> None:
    """Who manages the orchestrator sees of a turn elsewhere which calls it made, and not what was said."""
    ids = scene.site.ids
    ear, bob, ann = scene.as_("bob"), visitor(scene, "bob"), visitor(scene, "ann")
    turn = ask(scene, ear)["turnId"]
    assert ann.get(f"turns/{turn}")["steps"][0]["result"] is not None
    direct = bob.call("POST", "channels", json={"userIds": [ids["ada"]]}).json["id"]
    bob.call("POST", f"channels/{direct}/messages", json={"content": "use pin between us"})
    while (asked := ear.next("approval:requested"))["turnId"] == turn:
        pass
    assert bob.get(f"turns/{asked['turnId']}")["steps"][0]["result"] is not None
    assert ann.get(f"turns/{asked['turnId']}")["steps"][0]["result"] is None


def test_a_socket_decides(scene: Scene) -> None:
    """Acknowledged with what is now; the channel hears it, and then the answer; twice is harmless."""
    bob = scene.as_("bob")
    asked = ask(scene, bob)
    for bad in ({}, {"turnId": asked["turnId"], "decision": "maybe"}, {"turnId": 5, "decision": "deny"}):
        assert bob.ask("approval:decide", bad)["error"]["status"] == 422
    said = {"turnId": asked["turnId"], "decision": "approve", "stepId": asked["calls"][0]["id"]}
    ann = scene.as_("ann")
    assert ann.ask("approval:decide", said)["error"]["status"] == 403
    assert scene.as_("mallory").ask("approval:decide", said)["error"]["status"] == 404
    answer = bob.ask("approval:decide", said)
    assert (answer["ok"], answer["resumed"], answer["calls"][0]["state"]) == (True, True, "approved")
    assert bob.next("approval:decided")["resumed"]
    while (message := bob.next("message:done")["message"])["state"] != "final":
        pass
    assert f"Pinned {len(SECRET)} characters." in message["content"]
    again = bob.ask("approval:decide", {**said, "decision": "deny"})
    assert (again["resumed"], again["calls"][0]["state"]) == (False, "done")


def test_http_decides(scene: Scene) -> None:
    """Members 403, strangers 404, an owner may deny; a foreign page cannot decide; a long reason is refused."""
    asked = ask(scene, scene.as_("bob"))
    path = f"turns/{asked['turnId']}"
    assert visitor(scene, "ann").call("POST", f"{path}/approve").status_code == 403
    assert visitor(scene, "ada").call("POST", f"{path}/approve").status_code == 403
    for stranger in ("mallory", "eve"):
        assert visitor(scene, stranger).call("POST", f"{path}/deny").status_code == 404
    bob = visitor(scene, "bob")
    foreign = {**SAME_ORIGIN, "Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    assert bob.call("POST", f"{path}/approve", headers=foreign).status_code == 403
    assert bob.call("POST", f"{path}/deny", json={"reason": "x" * 501}).status_code == 422
    assert bob.call("POST", f"{path}/deny", json={"stepId": "999"}).status_code == 404
    assert scene.site.with_key("bob", "messages:read").call("POST", f"{path}/approve").status_code == 403
    denied = visitor(scene, "ann").call("POST", f"{path}/deny", json={"reason": "Not now."})
    assert (denied.status_code, denied.json["calls"][0]["state"]) == (200, "denied")
