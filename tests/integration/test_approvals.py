"""Approvals from the question to the answer: who is asked, who may decide, who hears what, and what then happens."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from flask_neolith_orchestrator.chat.rounds import DENIED, EXPIRED
from flask_neolith_orchestrator.core.errors import Conflict, Forbidden, Invalid, NotFound
from flask_neolith_orchestrator.core.events import channel_room, user_room
from flask_neolith_orchestrator.runtime.upkeep.sweeper import EXPIRY_INTERVAL
from flask_neolith_orchestrator.testing import ManualClock

from .asking import SECRET, Box, Caller, give
from .conftest import MakeWorld
from .world import World, until

HOUR = 3600.0


class Scenery:
    """A world whose model calls a tool that asks. ann owns the organization; bob and cleo are in it."""

    def __init__(self, make_world: MakeWorld, **config: Any) -> None:
        self.model, self.box = Caller(config.pop("calls", 1)), Box()
        self.make = make_world
        self.config = config
        self.world = self.made(people=("ann", "bob", "cleo"))

    def made(self, **more: Any) -> World:
        """A process."""
        return give(self.make(model=self.model, **more, **self.config), self.box)

    def ask(self, who: str = "bob", text: str = "@ada tell everybody") -> str:
        """Ask for it; the turn that then waits."""
        self.world.post(who, text)
        self.world.start("ada")
        return self.parked()

    def parked(self, count: int = 1) -> str:
        """The newest turn that waits, once there are so many."""
        rows = until(lambda: len(found := self.world.rows("Turn", state="parked")) >= count and found, "parked")
        self.wait()
        return str(rows[-1]["id"])

    def wait(self) -> None:
        """Until nobody works."""
        self.world.rest()

    def decide(self, who: str, turn: str, decision: Any = "approve", world: World | None = None, **more: Any) -> Any:
        """Decide and commit."""
        site = world or self.world
        with site.context():
            found = site.neolith.chat.decide(site.ids[who], turn, decision, **more)
            site.db.session.commit()
            return found

    def view(self) -> Any:
        """The last answer as everybody sees it."""
        with self.world.context():
            return self.world.neolith.chat.message(self.world.ids["bob"], str(self.world.answers()[-1]["id"]))

    def heard(self, event: str, room: str) -> list[Any]:
        """What was told in a room."""
        return [one.payload for one in self.world.channel.emitted if (one.event, one.room) == (event, room)]


@pytest.fixture
def scene(make_world: MakeWorld) -> Scenery:
    """ada, who asks before she tells everybody."""
    return Scenery(make_world)


def test_an_approved_call_is_run_and_the_answer_goes_on(scene: Scenery) -> None:
    """The question waits visibly, the approval runs the call once, and the same row tells what came of it."""
    turn = scene.ask()
    shown = scene.view()
    assert (shown["state"], shown["content"], scene.box.runs) == ("interrupted", "I would announce it.", [])
    approval = shown["approval"]
    assert (approval["turnId"], approval["requester"]) == (turn, {"id": scene.world.ids["bob"], "name": "bob"})
    assert [(one["name"], one["state"]) for one in approval["tools"]] == [("announce", "waiting")]
    found = scene.decide("bob", turn)
    assert (found["resumed"], found["calls"][0]["state"]) == (True, "approved")
    scene.wait()
    assert scene.box.runs == [{"text": SECRET}]
    final = scene.view()
    assert (final["id"], final["state"], final["approval"]) == (shown["id"], "final", None)
    assert final["content"].startswith("I would announce it.\n\nThen: <tool-result>\nannounced\n")
    assert scene.decide("bob", turn, "deny") == {
        "turnId": turn,
        "state": "done",
        "resumed": False,
        "calls": [{**found["calls"][0], "state": "done"}],
    }
    assert scene.world.deliveries() == ["answered", "answered"]


def test_a_denied_call_is_told_to_the_model_with_its_reason(scene: Scenery) -> None:
    """It is not run, and the answer goes on without it."""
    turn = scene.ask()
    assert scene.decide("bob", turn, "deny", reason=" Not before friday. ")["resumed"]
    scene.wait()
    assert scene.box.runs == []
    result = scene.model.told[0][0]
    assert (result.content, result.is_error) == (f'{DENIED} They said: "Not before friday."', True)


def test_who_may_decide(scene: Scenery) -> None:
    """Only who asked may approve; who manages may deny; others who see it may not; strangers do not find it."""
    turn = scene.ask("bob")
    world = scene.world
    for who, decision in (("ann", "approve"), ("cleo", "approve"), ("cleo", "deny"), ("ada", "approve")):
        with pytest.raises(Forbidden):
            scene.decide(who, turn, decision)
    with world.context():
        stranger = world.user(name="eve")
        world.db.session.add(stranger)
        world.db.session.commit()
        world.ids["eve"] = str(stranger.id)
        world.neolith.chat.remove_member(world.ids["ann"], world.general, world.ids["cleo"])
        world.db.session.commit()
    for who, what in (("eve", turn), ("cleo", turn), ("bob", "999"), ("bob", "x")):
        with pytest.raises(NotFound):
            scene.decide(who, what)
    with pytest.raises(NotFound):
        scene.decide("bob", turn, step_id="999")
    with pytest.raises(Invalid):
        scene.decide("bob", turn, "maybe")
    assert not scene.box.runs
    assert scene.decide("ann", turn, "deny")["resumed"]
    scene.decide("bob", turn, "deny")
    written = [(row["action"], row["actor_id"], row["details"]) for row in world.rows("Audit", subject_kind="turn")]
    assert written == [("approval.denied", world.ids["ann"], {"tools": ["announce"]})], "the first decision, once"


def test_what_is_escalated_is_for_those_who_manage(scene: Scenery) -> None:
    """The charter wants them to be asked: the requester may deny it, and cannot approve it."""
    scene.box.asks = "managers"
    turn = scene.ask("bob")
    assert scene.view()["approval"]["tools"][0]["asks"] == "managers"
    with pytest.raises(Forbidden):
        scene.decide("bob", turn)
    assert scene.decide("ann", turn)["resumed"]
    scene.wait()
    assert len(scene.box.runs) == 1
    scene.world.post("bob", "@ada once more")
    assert scene.decide("bob", scene.parked(), "deny")["resumed"]


def test_who_is_no_longer_there_cannot_approve(scene: Scenery) -> None:
    """Somebody who was taken out of the channel decides on nothing in it."""
    turn = scene.ask("bob")
    with scene.world.context():
        scene.world.neolith.chat.remove_member(scene.world.ids["ann"], scene.world.general, scene.world.ids["bob"])
        scene.world.db.session.commit()
    with pytest.raises(NotFound):
        scene.decide("bob", turn)


def test_arguments_are_for_the_requester_alone(scene: Scenery, caplog: pytest.LogCaptureFixture) -> None:
    """The channel hears the tool's name; the arguments go to the requester's own room, and nowhere else, no log."""
    caplog.set_level(logging.DEBUG, "flask_neolith_orchestrator")
    python: list[Any] = []
    scene.world.house.manager.on("approval:requested", lambda **told: python.append(told))
    scene.world.house.manager.on("approval:decided", lambda **told: python.append(told))
    turn = scene.ask("bob")
    ids = scene.world.ids
    (mine,) = until(lambda: scene.heard("approval:requested", user_room(ids["bob"])), "asked")
    (theirs,) = scene.heard("approval:requested", channel_room(scene.world.general))
    assert mine["calls"][0]["arguments"] == {"text": SECRET}
    assert {**mine, "calls": theirs["calls"]} == theirs
    assert set(theirs["calls"][0]) == {"id", "name", "state", "asks"}
    assert theirs["requester"] == {"id": ids["bob"], "name": "bob"}
    scene.decide("bob", turn, "deny", reason="Not now.")
    scene.wait()
    (decided,) = scene.heard("approval:decided", channel_room(scene.world.general))
    assert (decided["decidedBy"], decided["resumed"], decided["turnId"]) == (ids["bob"], True, turn)
    elsewhere = [one.payload for one in scene.world.channel.emitted if one.room != user_room(ids["bob"])]
    assert SECRET not in json.dumps(elsewhere)
    until(lambda: len(python) == 2, "both told")
    assert SECRET not in json.dumps(python)
    assert [one["turn_id"] for one in python] == [turn, turn]
    assert SECRET not in "".join(record.getMessage() + str(vars(record)) for record in caplog.records)


def test_words_in_the_chat_decide(scene: Scenery) -> None:
    """`@ada approve` by who asked, in that thread and alone in its message; nothing else is taken for a decision."""
    turn = scene.ask("bob")
    thread = str(scene.world.answers()[0]["parent_id"])
    scene.world.post("cleo", "@ada approve", thread=thread)
    scene.world.post("bob", "@ada approve of nothing", thread=thread)
    scene.world.post("bob", "approve", thread=thread)
    assert scene.world.rows("Turn", id=int(turn))[0]["state"] == "parked"
    scene.parked(3)  # ann's and bob's messages were for ada, as any other
    scene.world.post("bob", " @Ada approve. ", thread=thread)
    scene.wait()
    assert len(scene.box.runs) == 1
    assert len(scene.world.rows("Turn")) == 3
    newest = scene.world.rows("Turn", state="done")[0]
    assert newest["requester_id"] == scene.world.ids["bob"]
    scene.world.post("bob", "@ada deny: not that", thread=thread)
    scene.wait()
    assert "not that" in scene.model.told[-1][0].content


def test_a_call_that_ended_is_not_run_again(scene: Scenery) -> None:
    """The attempt that ran it breaks down before the answer; the next one tells what came of it."""
    turn = scene.ask()
    scene.model.fails = 1
    scene.decide("bob", turn)
    until(lambda: len(scene.model.told) == 2, "told again")
    until(lambda: scene.view()["state"] == "final", "answered")
    assert scene.box.runs == [{"text": SECRET}]
    assert scene.view()["content"].startswith("I would announce it.\n\nThen: <tool-result>\nannounced\n")


def test_it_survives_a_restart(scene: Scenery) -> None:
    """The process that asked is gone; another one hears the decision and goes on."""
    turn = scene.ask()
    other = scene.made(like=scene.world)
    scene.world.neolith.shutdown(scene.world.app, 2.0)
    other.rest()
    assert [row["state"] for row in other.rows("Turn")] == ["parked"]
    assert scene.decide("bob", turn, world=other)["resumed"]
    until(lambda: other.rows("Turn")[0]["state"] == "done", "answered")
    assert scene.box.runs == [{"text": SECRET}]


def test_arguments_that_fit_no_more_are_not_run(make_world: MakeWorld) -> None:
    """A call that has waited is held against the tool as it is by then; the model is told what is wrong."""
    model, ran = Caller(), list[object]()

    def told(text: str) -> None:
        """Tell everybody."""
        ran.append(text)

    def counted(count: int) -> None:
        """Tell everybody so many times."""
        ran.append(count)

    first = make_world(model=model, people=("ann", "bob"))
    first.neolith.tool(name="announce")(told)
    first.post("bob", "@ada tell everybody")
    first.start("ada")
    turn = until(lambda: [row["id"] for row in first.rows("Turn", state="parked")], "parked")[0]
    later = make_world(model=model, like=first)
    later.neolith.tool(name="announce")(counted)
    first.neolith.shutdown(first.app, 2.0)
    with later.context():
        later.neolith.chat.decide(later.ids["bob"], str(turn), "approve")
        later.db.session.commit()
    until(lambda: later.rows("Turn")[0]["state"] == "done", "answered")
    assert ran == []
    assert "Nothing was run" in model.told[0][0].content


def test_what_nobody_decides_expires(make_world: MakeWorld) -> None:
    """After NEOLITH_APPROVAL_TIMEOUT the sweep takes the turn up, and the model is told."""
    clock = ManualClock()
    scene = Scenery(make_world, clock=clock, NEOLITH_APPROVAL_TIMEOUT=60_000)
    turn = scene.ask()
    clock.advance(50.0)
    scene.world.house.sweeper.expire()
    assert scene.world.rows("Turn", id=int(turn))[0]["state"] == "parked"
    clock.advance(10.0 + EXPIRY_INTERVAL)
    scene.world.house.sweeper.expire()
    scene.wait()
    assert (scene.box.runs, scene.model.told[0][0].content) == ([], EXPIRED)
    (decided,) = scene.heard("approval:decided", channel_room(scene.world.general))
    assert (decided["decidedBy"], decided["calls"][0]["state"]) == (None, "expired")


def test_stop_and_deletion_end_what_is_parked(scene: Scenery) -> None:
    """Stop leaves the text and nothing to decide; a deleted question takes the answer with it."""
    turn = scene.ask()
    question = str(scene.world.rows("Delivery")[0]["message_id"])
    stopped = scene.world.stop("bob", question)
    assert (stopped["state"], stopped["message"]["approval"]) == ("stopped", None)
    assert scene.decide("bob", turn)["calls"][0]["state"] == "cancelled"
    scene.world.post("bob", "@ada once more")
    second = scene.parked()
    scene.world.delete("bob", str(scene.world.rows("Delivery")[-1]["message_id"]))
    assert scene.decide("bob", second)["calls"][0]["state"] == "cancelled"
    scene.wait()
    assert scene.box.runs == []
    assert scene.world.deliveries() == ["cancelled", "cancelled"]


def test_others_are_answered_meanwhile(scene: Scenery) -> None:
    """The slots are free, presence says so, and the same thread goes on."""
    scene.ask()
    thread = str(scene.world.answers()[0]["parent_id"])
    assert scene.world.rows("Orchestrator")[0]["status"] == "ONLINE"
    scene.model.calls = 0
    scene.world.post("cleo", "@ada and now?", thread=thread)
    until(lambda: len(scene.world.answers()) == 2, "another answer")


def again(scene: Scenery) -> None:
    """Ask for the last answer anew."""
    with scene.world.context():
        answer = str(scene.world.answers()[-1]["id"])
        scene.world.neolith.chat.regenerate(scene.world.ids["bob"], answer)
        scene.world.db.session.commit()


def test_an_answer_that_is_written_anew_asks_again(scene: Scenery) -> None:
    """A new version is parked and taken up as any answer; a stop while it waits gives the old one back."""
    scene.decide("bob", scene.ask())
    scene.wait()
    old = scene.view()
    again(scene)
    turn = scene.parked()
    shown = scene.view()
    assert (shown["id"], shown["approval"]["turnId"]) == (old["id"], turn)
    assert (shown["state"], shown["content"]) == ("final", old["content"])
    with pytest.raises(Conflict):
        again(scene)
    scene.decide("bob", turn)
    scene.wait()
    new = scene.view()
    assert (new["id"], new["state"], new["approval"], len(scene.box.runs)) == (old["id"], "final", None, 2)
    again(scene)
    waiting = scene.parked()
    scene.decide("bob", waiting, "deny")
    scene.wait()
    again(scene)
    scene.parked()
    before = scene.view()["content"]
    scene.world.stop("bob", old["id"])
    scene.wait()
    kept = scene.view()
    assert (kept["state"], kept["content"], kept["approval"]) == ("final", before, None)
    assert len(scene.box.runs) == 2


def test_a_new_version_that_is_decided_leaves_the_old_one_as_it_is(scene: Scenery) -> None:
    """Until it is complete, and also where it is stopped before anybody takes it up."""
    scene.decide("bob", scene.ask())
    scene.wait()
    old = scene.view()
    again(scene)
    turn = scene.parked()
    with scene.world.context():
        scene.world.neolith.manager.stop_daemon(scene.world.ada)
    scene.decide("bob", turn)
    assert (scene.view()["state"], scene.view()["content"]) == ("final", old["content"])
    scene.world.stop("bob", old["id"])
    assert (scene.view()["state"], scene.view()["content"]) == ("final", old["content"])
