"""Who answers whom, by what charters say: ACCEPTANCE D, with everything that a message really meets."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from flask_neolith_orchestrator.core.types import IncomingMessage
from tests.integration.charters import give
from tests.integration.conftest import Databases, MakeWorld
from tests.integration.stage import Scene
from tests.integration.world import World

NAMES = ("ada", "max")


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """ann and bob with ada and max in #general, whose daemons run in the caller's thread."""
    return make_world(orchestrators=NAMES)


def woken(world: World, message: dict[str, Any]) -> dict[str, str]:
    """Whom a message woke, with the reason that was kept."""
    names = {key: name for name, key in world.orchestrators.items()}
    rows = world.rows("Delivery", message_id=message["id"])
    return {names[str(row["orchestrator_id"])]: row["reason"] for row in rows if row["state"] != "refused"}


def explained(world: World, message: dict[str, Any]) -> dict[str, str | None]:
    """Why each orchestrator does or does not wake, by handle."""
    with world.stores.database.read() as tx:
        shown = world.stores.chat.view(tx, message["id"])
        assert shown is not None
        return {one.handle: one.reason for one in world.house.front.explaining.of(tx, shown)}


def test_a_keyword_wakes_where_it_is_said_as_a_word(make_world: MakeWorld, databases: Databases) -> None:
    """Folded, as whole words, in running text only; whoever is not in the channel hears nothing (D2, D3)."""
    world = make_world(on=databases, orchestrators=NAMES)
    give(world, "ada", {"behaviour": {"keyword_triggers": ["Deploy", "production down", "部署"]}})
    for text in ("DEPLOY!", "please deploy it", "is\nproduction  down?", "我们今天部署了"):
        assert woken(world, world.post("ann", text)) == {"ada": "keyword"}, text
    for text in ("redeploy", "`deploy`", "> deploy\n\nwhat", "https://x.example/deploy", "a@deploy.example", "down"):
        assert woken(world, world.post("ann", text)) == {}, text
    with world.context():
        apart = world.neolith.chat.create_channel(world.ids["ann"], organization_id=world.organization, name="apart")
        world.db.session.commit()
    assert woken(world, world.post("ann", "deploy", channel=apart["id"])) == {}


def test_a_role_calls_only_who_asked_for_it(make_world: MakeWorld, databases: Databases) -> None:
    """`@role` works where the charter says so, and a handle of that name comes first (D2)."""
    world = make_world(on=databases, orchestrators=NAMES)
    give(world, "ada", {"role": "Release Manager", "discipline": "max", "behaviour": {"role_mentions": True}})
    give(world, "max", {"role": "Release Manager"})
    assert woken(world, world.post("ann", "@release-manager go")) == {"ada": "role-mentioned"}
    assert woken(world, world.post("ann", '@"release manager" go')) == {"ada": "role-mentioned"}
    assert woken(world, world.post("ann", "the release manager goes")) == {}
    assert woken(world, world.post("ann", "@max go")) == {"max": "mentioned"}


def test_a_watched_channel_wakes_for_everything_that_is_for_nobody_else(world: World) -> None:
    """By name or by id; a message to somebody else is left alone (D3)."""
    give(world, "ada", {"behaviour": {"watched_channels": ["#General"]}})
    give(world, "max", {"behaviour": {"watched_channels": [world.general]}})
    assert woken(world, world.post("ann", "hello")) == {"ada": "watched-channel", "max": "watched-channel"}
    assert woken(world, world.post("ann", "@max hello")) == {"max": "mentioned"}
    message = world.post("ann", '@"bob" hello')
    assert woken(world, message) == {}
    assert explained(world, message) == {"ada": "others-meant", "max": "others-meant"}


@pytest.fixture
def talk(world: World) -> tuple[World, str]:
    """A thread in which ada, who follows threads, has answered ann; and max has answered bob."""
    give(world, "ada", {"behaviour": {"follow_threads": True}})
    give(world, "max", {"behaviour": {"follow_threads": True}})
    world.start()
    root = world.post("ann", "@ada what is two and two?")["id"]
    world.post("bob", "@max and three and three?", thread=root)
    world.rest()
    return world, root


def test_a_thread_goes_on_without_a_mention(talk: tuple[World, str]) -> None:
    """With the people it has answered there, and nobody else (D3)."""
    world, root = talk
    assert woken(world, world.post("ann", "and four and four?", thread=root)) == {"ada": "thread-followed"}
    assert woken(world, world.post("bob", "and five and five?", thread=root)) == {"max": "thread-followed"}
    assert woken(world, world.post("ann", "on the main line")) == {}


def test_a_followed_thread_is_silent_when_somebody_else_is_meant(talk: tuple[World, str]) -> None:
    """A line to a person, or to another orchestrator, is not for who follows; the next one is (D3)."""
    world, root = talk
    for text in ('@"bob" what do you think?', "@somebody hello", f"<@{world.ids['bob']}> look"):
        assert woken(world, world.post("ann", text, thread=root)) == {}, text
    assert woken(world, world.post("ann", "@max what do you think?", thread=root)) == {"max": "mentioned"}
    world.rest()
    assert woken(world, world.post("ann", "why?", thread=root)) == {"max": "thread-followed"}, "who was spoken to last"


def test_mention_only_takes_all_else_away(talk: tuple[World, str]) -> None:
    """Neither thread nor keyword nor channel; a mention and a DM still do, and a change holds at once (D3)."""
    world, root = talk
    quiet = {"mention_only": True, "follow_threads": True, "keyword_triggers": ["why"], "watched_channels": ["general"]}
    give(world, "ada", {"behaviour": quiet})
    message = world.post("ann", "why?", thread=root)
    assert woken(world, message) == {}
    assert explained(world, message)["ada"] == "mention-only"
    assert woken(world, world.post("ann", "@ada why?", thread=root)) == {"ada": "mentioned"}
    with world.context():
        direct = world.neolith.chat.open_dm(world.ids["ann"], [world.ids["ada"]])["id"]
        world.db.session.commit()
    assert woken(world, world.post("ann", "why?", channel=direct)) == {"ada": "direct-message"}


def test_who_answers_nobody_wakes_for_nothing(world: World) -> None:
    """auto_reply off holds for mentions and DMs, too, and says so (D3)."""
    give(world, "ada", {"behaviour": {"auto_reply": False}})
    message = world.post("ann", "@ada hello")
    assert woken(world, message) == {}
    assert explained(world, message) == {"ada": "auto-reply-off", "max": "not-mentioned"}


def test_an_edit_that_adds_a_keyword_wakes_once(world: World) -> None:
    """Another edit of the same message does not (D6)."""
    give(world, "ada", {"behaviour": {"keyword_triggers": ["deploy"], "watched_channels": ["elsewhere"]}})
    message = world.post("ann", "We ship it.")
    with world.context():
        for text in ("We deploy it.", "We ship it.", "We deploy it now."):
            world.neolith.chat.edit(world.ids["ann"], message["id"], text)
            world.db.session.commit()
    assert [row["reason"] for row in world.rows("Delivery")] == ["keyword-added"]


def test_a_message_is_explained_to_whoever_may_read_it(world: World) -> None:
    """With what was decided then beside what would be now; also of one that was deleted, or has left (D3)."""
    message = world.post("ann", "@ada hello")
    explaining = world.house.front.explaining

    def now() -> dict[str, Any]:
        with world.stores.database.read() as tx:
            shown = world.stores.chat.view(tx, message["id"])
            assert shown is not None
            return {one.handle: one for one in explaining.of(tx, shown)}

    assert (now()["ada"].wakes, now()["ada"].delivery["state"]) == (True, "waiting")
    assert (now()["max"].wakes, now()["max"].delivery) == (False, None)
    give(world, "ada", {"behaviour": {"auto_reply": False}})
    assert (now()["ada"].reason, now()["ada"].delivery["reason"]) == ("auto-reply-off", "mentioned")
    with world.context():
        world.neolith.chat.remove_member(world.ids["ada"], world.general, world.ids["ada"])
        world.db.session.commit()
    assert (now()["ada"].reason, now()["ada"].sentence) == (None, "It is not in this channel any more.")
    world.delete("ann", message["id"])
    assert (now()["ada"].sentence, now()["ada"].delivery["state"]) == ("The message was deleted.", "cancelled")
    assert "max" not in now()


def test_a_rename_works_at_once(world: World) -> None:
    """The new handle calls, the old one does not (D6)."""
    with world.context():
        row = world.db.session.get(world.neolith.models.Orchestrator, int(world.ada))
        assert row is not None
        row.handle = "grace"
        world.db.session.commit()
    assert woken(world, world.post("ann", "@grace hello")) == {"ada": "mentioned"}
    assert woken(world, world.post("ann", "@ada hello")) == {}


def test_only_a_mention_alone_gets_an_answer(world: World) -> None:
    """`@ada` and nothing else is a question to the model like any other (D7)."""
    world.start("ada")
    world.post("ann", "@ada")
    world.rest()
    assert [row["state"] for row in world.answers()] == ["final"]
    assert "@ada" in world.model.scenes[0].asked


def test_two_in_one_message_answer_once_each(world: World) -> None:
    """Their answers, whatever they mention, do not wake each other (D4)."""
    world.model.script = lambda scene: [f"@ada @max {scene.number}"]
    world.start()
    world.post("ann", "@ada @max hello")
    world.rest()
    assert [len(world.answers(name)) for name in NAMES] == [1, 1]
    assert len(world.rows("Delivery")) == 2


def chatter(world: World) -> list[str]:
    """ada and max may answer each other, and do nothing else; ann begins. Who said what, in order."""
    for one, other in (NAMES, NAMES[::-1]):
        give(world, one, {"behaviour": {"answers_bots": [other]}})

    def script(scene: Scene) -> list[str]:
        return ["@max your turn" if "You are ada" in scene.request.system else "@ada your turn"]

    world.model.script = script
    world.start()
    root = world.post("ann", "@ada talk to max")["id"]
    world.rest()
    return [row["content"] for row in world.rows("Message", parent_id=int(root))]


def test_two_that_mention_each_other_stop(make_world: MakeWorld, databases: Databases) -> None:
    """After NEOLITH_LOOP_EXCHANGES they are silent, people are told once, and are still answered (D4)."""
    world = make_world(on=databases, orchestrators=NAMES, NEOLITH_LOOP_EXCHANGES=3)
    said = chatter(world)
    assert said[:4] == ["@max your turn", "@ada your turn", "@max your turn", "@ada your turn"]
    assert len(said) == 5
    assert said[4].startswith("max and I have answered each other several times")
    refused = [row for row in world.rows("Delivery") if row["state"] == "refused"]
    assert [row["outcome"] for row in refused] == ["loop-guard"]
    world.post("ann", "@ada once more")
    world.rest()
    again = [row for row in world.rows("Delivery") if row["state"] == "refused"]
    assert [row["outcome"] for row in again] == ["loop-guard", "loop-guard"]
    assert sum(row["content"].startswith(("max and I", "ada and I")) for row in world.rows("Message")) == 1
    assert world.answers()[-1]["content"] == "@max your turn", "people are still answered"


def test_one_that_may_not_be_answered_is_not(world: World) -> None:
    """Only who is in `answers_bots` is, and only by name; a refusal says which orchestrator wrote it (D4)."""
    give(world, "max", {"behaviour": {"answers_bots": ["grace"], "watched_channels": ["general"]}})
    world.model.script = lambda _scene: ["@max hello"]
    world.start()
    world.post("ann", "@ada hi")
    world.rest()
    answer = world.answers()[0]
    assert explained(world, {"id": str(answer["id"])}) == {"ada": "own-message", "max": "author-is-orchestrator"}
    give(world, "max", {"behaviour": {"answers_bots": ["ada"], "watched_channels": ["general"]}})
    world.model.script = lambda _scene: ["hello"]
    world.post("ann", "@ada hi")
    world.rest()
    assert world.answers("max") == [], "the watched channel alone: what ada says without a name is for nobody"


def test_bots_wake_only_whose_charter_names_them(world: World) -> None:
    """Webhooks and the system wake nobody else, mention or not (D5)."""
    give(world, "ada", {"behaviour": {"answers_bots": ["Pager Bot"], "watched_channels": ["ops"]}})

    def accept(number: int, text: str, name: str | None) -> list[str]:
        metadata = {"is_bot": True, "author_name": name} if name else {"is_bot": True}
        message = IncomingMessage(f"m{number}", text, "ops", "hook-1", 1.0, metadata=metadata)
        with world.context():
            world.neolith.accept(IncomingMessage("m0", "first", "ops", world.ids["ann"], 0.5))
            found = world.neolith.accept(message)
            world.db.session.commit()
        return [one.delivery.orchestrator_id for one in found if one.delivery is not None]

    assert accept(1, "@ada @max the disk is full", "pager bot") == [world.ada]
    assert accept(2, "the disk is full again", "Pager Bot") == [world.ada]
    assert accept(3, "@ada @max the disk is full", "Other") == []
    assert accept(4, "@ada @max the disk is full", None) == []


def test_decisions_are_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Who wakes at INFO, who was looked at and sleeps at DEBUG, each with its reason, and never with the text (D3)."""
    give(world, "max", {"behaviour": {"auto_reply": False}})
    with caplog.at_level(logging.DEBUG, logger="flask_neolith_orchestrator"):
        world.post("ann", "@ada @max secret")
    found = [(one.levelname, one.__dict__["reason"]) for one in caplog.records if hasattr(one, "reason")]
    assert found == [("INFO", "mentioned"), ("DEBUG", "auto-reply-off")]
    assert "secret" not in caplog.text


def test_a_first_listener_of_another_process_is_heard_within_a_second(
    make_world: MakeWorld, databases: Databases
) -> None:
    """Once anybody listens each message asks, so what another process changes then holds at once."""
    world = make_world(on=databases, orchestrators=NAMES)
    other = make_world(like=world)
    assert woken(other, other.post("ann", "deploy")) == {}
    give(world, "ada", {"behaviour": {"keyword_triggers": ["deploy"]}})
    other.stores.triggers._asked = (float("-inf"), frozenset())  # a second later
    assert woken(other, other.post("ann", "deploy")) == {"ada": "keyword"}
    give(world, "max", {"behaviour": {"keyword_triggers": ["release"]}})
    assert woken(other, other.post("ann", "release")) == {"max": "keyword"}
    give(world, "ada", {})
    assert woken(other, other.post("ann", "deploy")) == {}
