"""What people do with answers: Stop, Regenerate and its versions, retry, and answers of several messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from flask_neolith_orchestrator.core.errors import Conflict, Forbidden, ModelRejected, ModelUnavailable, NotFound
from flask_neolith_orchestrator.store.turns.claims import LostRace

from .conftest import Databases, MakeWorld
from .stage import Door, Scene
from .world import World, until


class Answers:
    """The answer of each call in order; the last one for all further calls."""

    def __init__(self, *texts: str | Exception) -> None:
        self.texts = list(texts)

    def __call__(self, scene: Scene) -> Iterable[str]:
        text = self.texts[min(scene.number, len(self.texts)) - 1]
        if isinstance(text, Exception):
            raise text
        return [text]


def act(world: World, name: str, who: str, message_id: object, *more: Any) -> Any:
    """Do something with an answer as a person, and commit."""
    with world.context():
        try:
            done = getattr(world.neolith.chat, name)(world.ids[who], str(message_id), *more)
            world.db.session.commit()
        except Exception:
            world.db.session.rollback()
            raise
        return done


def shown(world: World, message_id: object) -> dict[str, Any]:
    """A message as the wire shows it."""
    return dict(act(world, "message", "ann", message_id))


def answered(world: World, *texts: str | Exception, text: str = "@ada hello") -> tuple[str, str]:
    """A question by bob that ada has answered: the ids of both. ann is the owner of the organization."""
    world.model.script = Answers(*texts)
    world.start()
    asked = world.post("bob", text)["id"]
    world.rest()
    return asked, str(world.answers()[0]["id"])


def take_over(world: World, turn_id: int) -> None:
    """What another process does with a turn whose own is dead; the owner, who lives, may renew in between."""
    for _ in range(50):
        orphan = world.stores.leases.find(str(turn_id))
        assert orphan is not None
        with suppress(LostRace):
            assert world.stores.recovery.take_over(orphan) is not None
            return
    raise AssertionError("never taken over")


@pytest.fixture
def carl(make_world: MakeWorld, databases: Databases) -> World:
    """ann (the owner), bob and carl."""
    return make_world(on=databases, people=("ann", "bob", "carl"))


def test_a_new_version_takes_the_place_of_the_old_one(carl: World) -> None:
    """Regenerate: the same row at the finish, the old text as a version, the old turn superseded; told as it comes."""
    asked, answer = answered(carl, "One.", "Two.")
    carl.channel.wait_for("message:done")
    done = act(carl, "regenerate", "bob", answer)
    assert done["message"]["content"] == "One."
    assert (done["work"]["state"], done["work"]["position"]) == ("waiting", 0)
    carl.rest()
    now = shown(carl, answer)
    assert (now["content"], now["state"], now["versions"], now["notice"]) == ("Two.", "final", 1, None)
    assert [row["state"] for row in carl.rows("Turn")] == ["superseded", "done"]
    assert carl.deliveries() == ["answered", "answered"]
    versions = act(carl, "versions", "carl", answer)
    assert [(one["n"], one["content"], one["current"]) for one in versions] == [(1, "One.", False), (2, "Two.", True)]
    (reset,) = carl.channel.of("message:reset")
    assert reset["messageId"] == answer
    assert {delta["epoch"] for delta in carl.channel.of("message:delta") if delta["text"] == "Two."} == {reset["epoch"]}
    assert carl.channel.of("message:done")[-1]["message"]["content"] == "Two."
    assert len(carl.answers()) == 1
    assert [work["state"] for work in shown(carl, asked)["work"]] == ["answered", "answered"]


def test_the_old_answer_stays_until_the_new_one_is_complete(world: World) -> None:
    """While it is written the row, and so whoever reads it, has the old text; a second Regenerate is refused (409)."""
    _, answer = answered(world, "One.")
    door = Door()

    def slow(scene: Scene) -> Iterator[str]:
        yield "Two"
        door.wait(scene.cancel)
        yield " it is."

    world.model.script = slow
    act(world, "regenerate", "bob", answer)
    until(lambda: [one for one in world.channel.of("message:delta") if one["text"] == "Two"], "the new text")
    until(lambda: world.house.worker.running(), "a running turn")
    assert (shown(world, answer)["content"], shown(world, answer)["state"]) == ("One.", "final")
    for name in ("regenerate", "restore"):
        with pytest.raises(Conflict):
            act(world, name, "bob", answer, *([1] if name == "restore" else []))
    door.open()
    world.rest()
    assert shown(world, answer)["content"] == "Two it is."


def test_a_stopped_or_failed_regeneration_leaves_the_old_answer(carl: World) -> None:
    """What was to take its place did not: the old text is current, with a notice that says why, in the newer epoch."""
    _, answer = answered(carl, "One.")
    epoch = shown(carl, answer)["epoch"]

    def endless(scene: Scene) -> Iterator[str]:
        yield "Tw"
        Door().wait(scene.cancel)

    carl.model.script = endless
    act(carl, "regenerate", "bob", answer)
    until(lambda: carl.house.worker.running(), "a running turn")
    assert carl.stop("bob", answer)["state"] == "stopping"
    carl.rest()
    now = shown(carl, answer)
    assert (now["content"], now["state"], now["versions"]) == ("One.", "final", 0)
    assert "stopped" in now["notice"]
    assert now["epoch"] > epoch
    carl.model.script = lambda _scene: (_ for _ in ()).throw(ModelRejected)
    act(carl, "regenerate", "bob", answer)
    carl.rest()
    now = shown(carl, answer)
    assert now["content"] == "One."
    assert "could not be written" in now["notice"]
    assert carl.channel.of("message:done")[-1]["message"]["content"] == "One."
    carl.model.script = Answers("Three.")
    act(carl, "regenerate", "bob", answer)
    carl.rest()
    now = shown(carl, answer)
    assert (now["content"], now["notice"], now["versions"]) == ("Three.", None, 1)
    states = [row["state"] for row in carl.rows("Turn")]
    assert states == ["superseded", "interrupted", "failed", "done"]


def test_a_waiting_regeneration_can_be_stopped(world: World) -> None:
    """Stop works before it begins, and the old answer stays."""
    _, answer = answered(world, "One.")
    with world.context():
        world.neolith.manager.stop_daemon(world.ada)
    act(world, "regenerate", "bob", answer)
    assert world.stop("bob", answer)["state"] == "stopped"
    assert (shown(world, answer)["content"], shown(world, answer)["state"]) == ("One.", "final")
    assert world.deliveries() == ["answered", "cancelled"]


def test_history_is_cut_at_the_original_question(world: World) -> None:
    """What was said after it, also by the orchestrator, is not known to the new version; the old one neither."""
    asked, answer = answered(world, "First answer.", "Second answer.", "Anew.", text="@ada first question")
    thread = world.rows("Message", id=int(answer))[0]["parent_id"]
    world.post("bob", "@ada second question", thread=str(thread or asked))
    world.rest()
    act(world, "regenerate", "bob", answer)
    world.rest()
    request = world.model.scenes[-1].request
    said = "\n".join(message.text for message in request.messages)
    assert "first question" in said
    assert "second question" not in said
    assert "answer." not in said


def test_a_version_can_be_restored(carl: World) -> None:
    """A former version is the answer again, and what it was before is kept; who may not steer it may not."""
    _, answer = answered(carl, "One.", "Two.")
    act(carl, "regenerate", "bob", answer)
    carl.rest()
    with pytest.raises(Forbidden):
        act(carl, "restore", "carl", answer, 1)
    with pytest.raises(NotFound):
        act(carl, "restore", "bob", answer, 7)
    assert act(carl, "restore", "bob", answer, 1)["content"] == "One."
    contents = [(one["n"], one["content"]) for one in act(carl, "versions", "bob", answer)]
    assert contents == [(1, "One."), (2, "Two."), (3, "One.")]
    assert [row["state"] for row in carl.rows("Turn")] == ["done", "superseded"]
    act(carl, "regenerate", "bob", answer)
    carl.rest()
    assert carl.rows("Turn")[-1]["regenerates"] == carl.rows("Turn")[0]["id"]


def test_who_may_steer_an_answer(carl: World) -> None:
    """The asker, the orchestrator itself and who manages its organization; other members are refused (E2)."""
    asked, answer = answered(carl, "One.", "Two.", "Three.", "Four.")
    for message in (asked, answer):
        for name in ("regenerate", "retry", "stop"):
            with pytest.raises(Forbidden):
                act(carl, name, "carl", message)
    for who in ("ann", "bob", "ada"):
        act(carl, "regenerate", who, answer if who != "ann" else asked)
        carl.rest()
    assert shown(carl, answer)["content"] == "Four."


def test_an_admin_stops_and_the_asker_stops_what_an_admin_began(carl: World) -> None:
    """Stop is for the asker and for who manages: also of a new version that the other of them has asked for."""
    asked, answer = answered(carl, "One.")

    def endless(scene: Scene) -> Iterator[str]:
        yield "Tw"
        Door().wait(scene.cancel)

    carl.model.script = endless
    act(carl, "regenerate", "ann", answer)
    until(lambda: carl.house.worker.running(), "a running turn")
    assert carl.stop("bob", answer)["state"] == "stopping"
    carl.rest()
    second = carl.post("bob", "@ada more")["id"]
    until(lambda: carl.house.worker.running(), "a running turn")
    with pytest.raises(Forbidden):
        carl.stop("carl", second)
    assert carl.stop("ann", second)["state"] == "stopping"
    carl.rest()
    assert carl.stop("ann", second)["state"] == "over"
    assert carl.stop("ann", carl.post("bob", "nobody is asked")["id"])["state"] == "over"
    assert asked


def test_what_cannot_be_written_anew(world: World) -> None:
    """A question without an answer, one that is still written, one with several answers, one that was deleted: 409."""
    plain = world.post("bob", "nobody is asked")["id"]
    with pytest.raises(Conflict):
        act(world, "regenerate", "bob", plain)
    asked, answer = answered(world, "One.")
    waiting = world.post("bob", "@ada wait")["id"]
    world.rest()
    world.delete("bob", waiting)
    with pytest.raises(Conflict):
        act(world, "regenerate", "bob", world.answers()[-1]["id"])
    world.delete("ann", answer)
    with pytest.raises(Conflict):
        act(world, "regenerate", "bob", asked)
    with pytest.raises(Conflict):
        act(world, "retry", "bob", plain)


def test_several_answers_must_be_told_apart(make_world: MakeWorld) -> None:
    """By its question an answer can be meant only where one has answered; and all of them are stopped by it."""
    world = make_world(orchestrators=("ada", "bert"))
    asked, _ = answered(world, "One.", text="@ada @bert hello")
    with pytest.raises(Conflict, match="Several"):
        act(world, "regenerate", "bob", asked)
    act(world, "regenerate", "bob", world.answers("bert")[0]["id"])
    world.rest()
    assert shown(world, world.answers("bert")[0]["id"])["versions"] == 1


def test_a_failed_answer_is_tried_again_by_who_asked(carl: World) -> None:
    """Retry from the chat: the same turn and the same row, by the answer's or the question's id."""
    asked, answer = answered(carl, ModelRejected("no"), ModelRejected("no"), "Here I am.")
    assert shown(carl, answer)["state"] == "failed"
    done = act(carl, "retry", "bob", answer)
    assert [one["state"] for one in done["work"]] == ["waiting"]
    carl.rest()
    act(carl, "retry", "ann", asked)
    carl.rest()
    assert (shown(carl, answer)["content"], shown(carl, answer)["state"]) == ("Here I am.", "final")
    assert len(carl.answers()) == len(carl.rows("Turn")) == 1
    with pytest.raises(Conflict):
        act(carl, "retry", "bob", answer)


def test_what_is_deleted_is_not_tried_again(carl: World) -> None:
    """Nobody answers a deleted question (D6): it is said at once, and no second answer is begun."""
    asked, _ = answered(carl, ModelRejected("no"))
    act(carl, "delete", "bob", asked)
    with pytest.raises(Conflict):
        act(carl, "retry", "bob", asked)
    carl.rest()
    assert len(carl.rows("Turn")) == 1


def test_partial_text_stays_with_a_sentence(make_world: MakeWorld, databases: Databases) -> None:
    """A turn that fails for good keeps what it had said; what happened stands beside it (E1)."""
    world = make_world(on=databases, DAEMON_MAX_ATTEMPTS=1)

    def breaks(_scene: Scene) -> Iterator[str]:
        yield "So far so"
        raise RuntimeError

    world.model.script = breaks
    world.start()
    world.post("bob", "@ada hello")
    world.rest()
    (answer,) = world.answers()
    assert (answer["content"], answer["state"]) == ("So far so", "failed")
    assert "went wrong too often" in answer["notice"]
    world.model.script = lambda _scene: []
    world.post("bob", "@ada hello")
    world.rest()
    empty = world.answers()[-1]
    assert empty["state"] == "failed"
    assert "I could not answer this" in empty["content"]


LONG = "A first paragraph.\n\n```python\n" + "x = 1\n" * 60 + "```\n\nThe end."


def test_a_long_answer_is_several_messages(make_world: MakeWorld, databases: Databases) -> None:
    """At its finish, in order, each a reply to the one before, in the same place; one answer for counts and history."""
    world = make_world(on=databases, NEOLITH_MAX_ANSWER_LENGTH=200)
    asked, answer = answered(world, LONG, "Yes.")
    rows = world.answers()
    assert len(rows) > 2
    assert [row["continuation_of"] for row in rows] == [None] + [int(answer)] * (len(rows) - 1)
    assert [row["reply_to_id"] for row in rows] == [int(asked), *(row["id"] for row in rows[:-1])]
    assert {(row["parent_id"], row["state"]) for row in rows} == {(int(asked), "final")}
    assert all(len(row["content"]) <= 200 for row in rows)
    world.channel.wait_for("message", len(rows) + 1)
    told = [one["message"] for one in world.channel.of("message")][2:]
    assert [(one["id"], one["continues"]) for one in told] == [(str(row["id"]), answer) for row in rows[1:]]
    assert shown(world, asked)["replyCount"] == 1
    world.post("bob", "@ada is that all?", thread=asked)
    world.rest()
    own = [message.text for message in world.model.scenes[-1].request.messages if message.role == "assistant"]
    assert len(own) == 1
    assert own[0].count("x = 1") == 60


def test_a_long_answer_is_written_anew_and_deleted_as_one(make_world: MakeWorld, databases: Databases) -> None:
    """A shorter version has fewer messages, its former one all of its own; deleting one deletes them all."""
    world = make_world(on=databases, NEOLITH_MAX_ANSWER_LENGTH=200)
    _, answer = answered(world, LONG, "Short.")
    parts = [str(row["id"]) for row in world.answers()[1:]]
    act(world, "regenerate", "bob", parts[0])
    world.rest()
    assert shown(world, answer)["content"] == "Short."
    assert all(shown(world, part)["deleted"] for part in parts)
    until(lambda: {one["messageId"] for one in world.channel.of("message:deleted")} == set(parts), "parts that went")
    with world.context():
        page, _ = world.neolith.chat.messages(world.ids["bob"], world.general, thread_id=answer)
    assert [one["content"] for one in page][1:] == ["Short."]
    assert act(world, "versions", "bob", answer)[0]["content"].count("x = 1") == 60
    act(world, "restore", "bob", answer, 1)
    now = [row for row in world.answers() if row["deleted_at"] is None]
    assert len(now) == 1 + len(parts)
    world.delete("ann", str(now[-1]["id"]))
    assert all(row["deleted_at"] is not None for row in world.answers())
    assert world.rows("MessageVersion") == []


def test_a_host_gets_the_parts_one_by_one(make_world: MakeWorld) -> None:
    """In a chat of the host's own each part is a message:send, in order, with the answer it belongs to."""
    from .test_stop_and_notices import host_message

    world = make_world(NEOLITH_MAX_ANSWER_LENGTH=200)
    world.model.script = Answers(LONG)
    heard: list[Any] = []
    world.start()
    with world.context():
        world.neolith.manager.on("daemon:message-send", lambda response, **_: heard.append(response))
        world.neolith.accept(host_message(world, "q1", "@ada hello"), to=[world.ada])
        world.db.session.commit()
    count = until(lambda: len(world.answers()) > 2 and len(world.answers()), "parts")
    until(lambda: len(heard) == count, "all parts")
    assert [one.content for one in heard] == [row["content"] for row in world.answers()]
    assert [one.metadata["part"] for one in heard] == list(range(1, count + 1))
    assert {one.metadata["answerId"] for one in heard} == {str(world.answers()[0]["id"])}
    assert {one.reply_to_id for one in heard} == {"q1"}


def test_a_new_version_outlives_trouble(make_world: MakeWorld, databases: Databases) -> None:
    """A model that is away and a worker that dies leave the old answer; the next attempt writes the new one."""
    world = make_world(on=databases)
    _, answer = answered(world, "One.")
    door = Door()

    def play(scene: Scene) -> Iterator[str]:
        if scene.number == 2:
            raise ModelUnavailable("away", retry_after=5.5)
        yield "Two"
        if scene.number == 3:
            door.wait()
        yield "."

    world.model.script = play
    act(world, "regenerate", "bob", answer)
    until(lambda: shown(world, answer)["notice"], "a notice")
    assert (shown(world, answer)["content"], shown(world, answer)["state"]) == ("One.", "final")
    assert "Waiting for the model" in shown(world, answer)["notice"]
    (turn,) = world.rows("Turn", state="interrupted")
    with world.stores.database.write() as tx:
        table = world.neolith.models.table("Delivery")
        tx.execute(table.update().where(table.c.turn_id == turn["id"]).values(ready_at=0.0))
    world.model.wait_for(3)
    take_over(world, turn["id"])
    assert (shown(world, answer)["content"], shown(world, answer)["state"]) == ("One.", "final")
    door.open()
    world.rest()
    assert (shown(world, answer)["content"], shown(world, answer)["versions"]) == ("Two.", 1)


def test_a_new_version_that_is_a_dead_letter_leaves_the_old_one(make_world: MakeWorld) -> None:
    """However it ends badly, by its process's death or by its age: the old answer stays and says so."""
    world = make_world(DAEMON_MAX_ATTEMPTS=1, DAEMON_MAX_AGE=60_000)
    _, answer = answered(world, "One.")
    door = Door()

    def hangs(_scene: Scene) -> Iterator[str]:
        door.wait()
        yield "Late."

    world.model.script = hangs
    act(world, "regenerate", "bob", answer)
    world.model.wait_for(2)
    take_over(world, world.rows("Turn")[-1]["id"])
    door.open()
    now = shown(world, answer)
    assert (now["content"], now["state"]) == ("One.", "final")
    assert "every attempt broke off" in now["notice"]
    with world.context():
        world.neolith.manager.stop_daemon(world.ada)
    act(world, "regenerate", "bob", answer)
    delivery = world.rows("Delivery")[-1]
    world.stores.recovery.expire(str(delivery["id"]))
    now = shown(world, answer)
    assert (now["content"], now["state"]) == ("One.", "final")
    assert "waited too long" in now["notice"]


def test_a_deleted_question_ends_the_new_version_only(world: World) -> None:
    """The old answer is still an answer where its question is deleted while a new version is written, or waits."""
    asked, answer = answered(world, "One.")

    def endless(scene: Scene) -> Iterator[str]:
        yield "Tw"
        Door().wait(scene.cancel)

    world.model.script = endless
    act(world, "regenerate", "bob", answer)
    until(lambda: world.house.worker.running(), "a running turn")
    other = world.post("bob", "@ada second")["id"]
    until(lambda: len(world.house.worker.running()) == 2, "two running turns")
    world.stop("bob", other)
    world.delete("bob", asked)
    world.rest()
    assert world.deliveries() == ["answered", "cancelled", "cancelled"]
    rows = {str(row["id"]): row for row in world.answers()}
    assert (rows[answer]["content"], rows[answer]["deleted_at"]) == ("One.", None)
    assert world.channel.of("message:done")[-1]["message"]["state"] != "streaming"
