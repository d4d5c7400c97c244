"""What somebody has not read: counted by honest rules, in bounded looks, on both databases."""

from __future__ import annotations

from typing import Any

import pytest

from flask_neolith_orchestrator.core.errors import NotFound
from flask_neolith_orchestrator.core.events import activity_room, user_room
from flask_neolith_orchestrator.store.chat import marks

from .conftest import Databases, MakeWorld
from .world import World


@pytest.fixture
def world(make_world: MakeWorld, databases: Databases) -> World:
    """ann, bob and ada in #general; nothing runs."""
    return make_world(on=databases, ORCHESTRATOR_MODE=False)


def new(world: World, who: str) -> tuple[int, int]:
    """Unread messages and mentions of #general."""
    with world.context():
        (channel,) = world.neolith.chat.channels(world.ids[who])
        return channel["unread"], channel["mentions"]


def read(world: World, who: str, message: Any, channel: str = "") -> dict[str, Any]:
    """Read up to a message."""
    with world.context():
        try:
            shown = world.neolith.chat.read(world.ids[who], channel or world.general, str(message))
            world.db.session.commit()
        finally:
            world.db.session.rollback()
        return shown


def test_what_others_say_is_new_until_it_is_read(world: World) -> None:
    """One's own messages are not; a mark goes forward only; a deleted message is new to nobody."""
    first = world.post("ann", "one")
    second = world.post("ann", "two")
    assert (new(world, "ann"), new(world, "bob")) == ((0, 0), (2, 0))
    assert read(world, "bob", first["id"]) == {
        "channelId": world.general,
        "lastReadId": first["id"],
        "unread": 1,
        "mentions": 0,
    }
    read(world, "bob", second["id"])
    assert read(world, "bob", first["id"])["lastReadId"] == second["id"], "never back"
    third = world.post("ann", "three")
    assert new(world, "bob") == (1, 0)
    world.post("ann", "four")
    assert new(world, "bob") == (2, 0)
    world.delete("ann", third["id"])
    assert new(world, "bob") == (1, 0)
    told = [one for one in world.channel.emitted if one.event == "channel:read"]
    assert {one.room for one in told} == {user_room(world.ids["bob"])}
    assert [one.payload["lastReadId"] for one in told] == [first["id"], second["id"]]


def test_a_channel_shows_its_last_message(world: World) -> None:
    """With its author, and whether it is in a thread."""
    root = world.post("ann", "root")
    reply = world.post("bob", "reply", thread=root["id"])
    with world.context():
        (channel,) = world.neolith.chat.channels(world.ids["ann"])
    last = channel["lastMessage"]
    assert (last["id"], last["threadId"], last["author"]["name"]) == (reply["id"], root["id"], "bob")
    assert last["at"] == reply["createdAt"]


def test_a_thread_is_new_to_those_who_take_part(make_world: MakeWorld, databases: Databases) -> None:
    """Who began it or wrote in it hears of replies; others do not, unless they are named."""
    world = make_world(on=databases, people=("ann", "bob", "cid"), ORCHESTRATOR_MODE=False)
    root = world.post("ann", "root")
    for name in ("bob", "cid"):
        read(world, name, root["id"])
    world.post("bob", "reply", thread=root["id"])
    assert (new(world, "ann"), new(world, "bob"), new(world, "cid")) == ((1, 0), (0, 0), (0, 0))
    world.post("ann", "and?", thread=root["id"])
    assert (new(world, "bob"), new(world, "cid")) == ((1, 0), (0, 0))
    world.post("ann", f"ask <@{world.ids['cid']}> about it", thread=root["id"])
    assert (new(world, "bob"), new(world, "cid")) == ((2, 0), (1, 1))


def test_a_mention_is_a_name_or_an_id_in_running_text(world: World) -> None:
    """As the wake rules read it: code is not running text."""
    texts = {'@"bob" look': 1, "<@{bob}> look": 1, "`<@{bob}>`": 0, '@"ann" look': 0, "bob look": 0}
    for text, count in texts.items():
        message = world.post("ann", text.replace("{bob}", world.ids["bob"]))
        assert new(world, "bob") == (1, count), text
        read(world, "bob", message["id"])


def test_an_answer_to_me_counts_as_a_mention(world: World) -> None:
    """By what it replies to, whoever wrote it."""
    mine = world.post("bob", "question")
    with world.context():
        world.neolith.chat.post(world.ids["ann"], world.general, "answer", reply_to_id=mine["id"])
        world.db.session.commit()
    assert new(world, "bob") == (1, 1)


def test_an_orchestrator_is_mentioned_by_its_handle(world: World) -> None:
    """It is a user like any other and may have a browser."""
    world.post("ann", "@ada hello")
    world.post("ann", "hello")
    assert new(world, "ada") == (2, 1)


def test_what_was_said_before_one_came_is_read(world: World) -> None:
    """A new member does not begin with years of unread messages."""
    with world.context():
        chat = world.neolith.chat
        room = chat.create_channel(world.ids["ann"], organization_id=world.organization, name="quiet")
        chat.post(world.ids["ann"], room["id"], "old")
        chat.add_member(world.ids["ann"], room["id"], world.ids["bob"])
        world.db.session.commit()
        (_, shown) = chat.channels(world.ids["bob"])
        assert (shown["unread"], shown["lastMessage"]["author"]["name"]) == (0, "ann")
        chat.post(world.ids["ann"], room["id"], "new")
        world.db.session.commit()
        assert chat.channels(world.ids["bob"])[1]["unread"] == 1


def test_counting_ends_somewhere(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a hundred; and only the newest messages of a channel are looked at."""
    with world.context():
        for n in range(105):
            world.neolith.chat.post(world.ids["ann"], world.general, str(n))
        world.db.session.commit()
    assert new(world, "bob") == (100, 0)
    monkeypatch.setattr(marks, "LOOKED_AT", 7)
    assert new(world, "bob") == (7, 0)


def test_nobody_marks_what_they_cannot_read(world: World) -> None:
    """Neither a channel of others, nor a message of another channel."""
    message = world.post("ann", "here")
    with world.context():
        chat = world.neolith.chat
        room = chat.create_channel(world.ids["ann"], organization_id=world.organization, name="hers")
        world.db.session.commit()
    for who, channel in (("bob", room["id"]), ("ann", room["id"])):
        with pytest.raises(NotFound):
            read(world, who, message["id"], channel)


def test_members_hear_that_something_is_said(world: World) -> None:
    """Who, where and whom it names, once for each message and never its text."""
    first = world.post("bob", "hello")
    world.post("ann", f'secret words for @"bob" and <@{world.ids["ada"]}>', thread=first["id"])
    one, two = [told for told in world.channel.emitted if told.event == "channel:activity"]
    assert {one.room, two.room} == {activity_room(world.general)}
    assert one.payload == {
        "channelId": world.general,
        "threadId": None,
        "messageId": first["id"],
        "authorId": world.ids["bob"],
        "authorName": "bob",
        "at": first["createdAt"],
        "mentions": [],
        "replyToUserId": None,
    }
    assert two.payload["mentions"] == sorted([world.ids["bob"], world.ids["ada"]])
    assert two.payload["threadId"] == first["id"]
    assert "secret" not in str(two.payload)


def test_an_answer_is_told_when_it_is_there(make_world: MakeWorld, databases: Databases) -> None:
    """Once, as an answer to whoever asked."""
    world = make_world(on=databases)
    world.start("ada")
    world.post("bob", "@ada hello")
    world.rest()
    world.channel.wait_for("channel:activity", 2)
    (_, answer) = world.channel.of("channel:activity")
    (row,) = world.answers()
    assert (answer["messageId"], answer["authorName"]) == (str(row["id"]), "ada")
    assert answer["replyToUserId"] == world.ids["bob"]
    assert new(world, "bob") == (1, 1)


def test_a_user_hears_of_coming_and_going(world: World) -> None:
    """In all their browsers: new channels, new direct messages, and what they were taken out of."""
    with world.context():
        chat, ids = world.neolith.chat, world.ids
        room = chat.create_channel(ids["ann"], organization_id=world.organization, name="new")
        chat.add_member(ids["ann"], room["id"], ids["bob"])
        dm = chat.open_dm(ids["ann"], [ids["ada"]])
        world.db.session.commit()
        chat.remove_member(ids["ann"], room["id"], ids["bob"])
        world.db.session.commit()
    told = [(one.room, one.payload["channel"]["id"]) for one in world.channel.emitted if one.event == "channel:added"]
    assert (user_room(world.ids["bob"]), room["id"]) in told
    assert (user_room(world.ids["ada"]), dm["id"]) in told
    assert world.channel.emitted[-1].event == "channel:removed"
    assert (world.channel.emitted[-1].room, world.channel.emitted[-1].payload) == (
        user_room(world.ids["bob"]),
        {"channelId": room["id"]},
    )
