"""What an orchestrator may read for a person is what that person may read (F5); and what fits into its window (E5)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flask_neolith_orchestrator.chat.context import THREAD, WINDOW
from flask_neolith_orchestrator.core.cancel import Cancel
from flask_neolith_orchestrator.core.errors import ModelUnavailable
from flask_neolith_orchestrator.core.model import ModelRequest, ToolCall
from flask_neolith_orchestrator.core.types import IncomingMessage
from flask_neolith_orchestrator.testing import FakeClaude, ScriptedModel, use_model

from .charters import give
from .conftest import MakeWorld
from .stage import Scene, Stage
from .world import World, build, settle_down

PEOPLE = ("ann", "bob", "cleo")


@pytest.fixture
def world(make_world: MakeWorld) -> Iterator[World]:
    """Three people, ada and max; long talks are summed up."""
    made = make_world(
        people=PEOPLE, orchestrators=("ada", "max"), NEOLITH_SUMMARY_MODEL="mini", NEOLITH_SUMMARY_AFTER=2
    )
    made.model.script = lambda _scene: ["Noted."]  # an echo would quote what it was told
    made.start()
    yield made
    made.close()


def whole(scene: Scene) -> str:
    """All that a model was sent."""
    return "\n".join([scene.request.system, *(message.text for message in scene.request.messages)])


def place(world: World, *names: str) -> str:
    """A direct message of these people; of ada and ann and nobody else, a private channel."""
    with world.context():
        first, *others = [world.ids[name] for name in names]
        made = world.neolith.chat.open_dm(first, others)
        world.db.session.commit()
        return str(made["id"])


def private(world: World, name: str, *members: str) -> str:
    """A private channel of ada's."""
    with world.context():
        first, *others = [world.ids[one] for one in (*members, "ada")]
        made = world.neolith.chat.create_channel(
            first, organization_id=world.organization, name=name, member_ids=others
        )
        world.db.session.commit()
        return str(made["id"])


def test_no_place_is_told_of_in_another(world: World) -> None:
    """DMs, private channels and threads, each with a secret: no request, and no summary, ever holds two of them."""
    give(world, "ada", {"behaviour": {"channel_window": 20}})
    places = {
        "secret1": (place(world, "ann", "ada"), None, "ann"),
        "secret2": (place(world, "bob", "ada"), None, "bob"),
        "secret3": (place(world, "ann", "bob", "ada"), None, "ann"),
        "secret4": (private(world, "one", "ann"), None, "ann"),
        "secret5": (private(world, "two", "ann", "bob"), None, "bob"),
        "secret6": (world.general, world.thread(), "ann"),
        "secret7": (world.general, world.thread("cleo"), "ann"),
    }
    for _ in range(3):
        for secret, (channel, thread, who) in places.items():
            world.post(who, f"@ada keep {secret}", channel=channel, thread=thread)
            world.rest()
    assert {scene.request.model for scene in world.model.scenes} >= {"mini"}
    for scene in world.model.scenes:
        assert sum(secret in whole(scene) for secret in places) == 1
    for row in world.rows("Session"):
        assert sum(secret in str(row["summary"]) for secret in places) <= 1
    with world.context():
        for name in PEOPLE:
            seen = str(world.neolith.chat.sessions(world.ids[name])[0])
            channels = {one["id"] for one in world.neolith.chat.channels(world.ids[name])}
            mine = {secret for secret, (channel, _, _) in places.items() if channel in channels}
            assert not any(secret in seen for secret in set(places) - mine)


def test_the_window_is_opt_in_and_of_this_channel(world: World) -> None:
    """The last lines of the main line before the thread began, between notes of the house; none without a charter."""
    for n in range(4):
        world.post("bob", f"Main {n}.")
    root = world.post("ann", "@ada and you?")
    world.post("bob", "Later on the main line.")
    world.rest()
    assert "Main" not in whole(world.model.scenes[-1])
    give(world, "ada", {"behaviour": {"channel_window": 2}})
    world.post("ann", "@ada once more?", thread=root["id"])
    world.rest()
    told = world.model.scenes[-1].request.messages[0].text
    assert told.startswith(f"{WINDOW}\n\n[bob]: Main 2.\n\n[bob]: Main 3.\n\n{THREAD}\n\n[ann]: @ada and you?")
    assert "Later" not in told


def test_the_window_is_for_who_is_in_the_channel(world: World) -> None:
    """Who was taken out of it since asks for nothing that they may not read any more."""
    give(world, "ada", {"behaviour": {"channel_window": 5}})
    channel = private(world, "three", "ann", "bob")
    world.post("ann", "For members only.", channel=channel)
    root = world.post("bob", "@ada hello?", channel=channel)
    world.rest()
    assert "For members only." in whole(world.model.scenes[-1])
    with world.context():
        world.neolith.manager.stop_daemon(world.ada)
    world.post("bob", "@ada again?", channel=channel, thread=root["id"])
    with world.context():
        world.neolith.chat.remove_member(world.ids["bob"], channel, world.ids["bob"])
        world.db.session.commit()
    world.start("ada")
    world.rest()
    scene = world.model.scenes[-1]
    assert "again?" in whole(scene)
    assert "For members only." not in whole(scene)


def test_a_hosts_files_and_peoples_reactions_are_told(world: World) -> None:
    """Names and types of attachments, and emoji with their number; nothing is fetched."""
    files = [{"filename": "plan.pdf", "content_type": "application/pdf", "url": "http://127.0.0.1:9/x"}, "a.png", 7]
    with world.context():
        message = IncomingMessage("m1", "see", "c1", world.ids["ann"], 1.0, metadata={"attachments": files})
        world.neolith.accept(message, to=[world.ada])
        world.db.session.commit()
    world.rest()
    assert whole(world.model.scenes[-1]).endswith("[ann; attached: plan.pdf (application/pdf), a.png, a file]: see")
    thread = world.thread()
    with world.context():
        for name in ("ann", "bob"):
            world.neolith.chat.react(world.ids[name], thread, "👍")
        world.db.session.commit()
    world.post("ann", "@ada well?", thread=thread)
    world.rest()
    assert "[ann; reactions: 👍 2]: Let us talk here." in whole(world.model.scenes[-1])


class Counting(Stage):
    """A model whose provider counts four times what we guess, until it has been asked often enough."""

    def __init__(self, factor: float = 4.0, fails: bool = False) -> None:
        super().__init__()
        self.factor, self.fails = factor, fails
        self.counted: list[int] = []

    def count_tokens(self, request: ModelRequest, cancel: Cancel) -> int | None:
        """Bytes over three and a half, times the factor."""
        if self.fails:
            raise ModelUnavailable
        size = len(request.system) + sum(len(message.text) for message in request.messages)
        self.counted.append(int(size / 3.5 * self.factor))
        return self.counted[-1]


@pytest.mark.parametrize(("factor", "lines"), [(0.5, 40), (4.0, 40), (1.0, 2)])
def test_the_provider_counts_near_the_limit(make_world: MakeWorld, factor: float, lines: int) -> None:
    """Far from it nobody is asked; near it, what is counted as too long loses its oldest lines (E5)."""
    model = Counting(factor)
    world = make_world(model=model, NEOLITH_CONTEXT_TOKENS=5_000)
    thread = world.thread()
    for n in range(lines):
        world.post("bob", f"n{n} " + "x" * 390, thread=thread)
    world.post("ann", "@ada well?", thread=thread)
    world.start()
    world.rest()
    told = whole(model.scenes[-1])
    assert told.endswith("@ada well?")
    assert (model.counted == []) is (lines == 2)
    if factor == 4.0:
        assert model.counted[0] > 5_000 >= model.counted[-1]
        assert told.count("[bob]") < 12
    if factor == 0.5:
        assert len(model.counted) == 1
        assert told.count("[bob]") > 20


def test_what_cannot_be_counted_is_estimated(make_world: MakeWorld) -> None:
    """A provider that is out of breath for a count is asked all the same."""
    world = make_world(model=Counting(fails=True), NEOLITH_CONTEXT_TOKENS=1_000)
    thread = world.thread()
    for n in range(20):
        world.post("bob", f"n{n} " + "x" * 390, thread=thread)
    world.post("ann", "@ada well?", thread=thread)
    world.start()
    world.rest()
    assert world.deliveries() == ["answered"]


def test_the_real_provider_counts(make_world: MakeWorld) -> None:
    """Over HTTP: the count is asked before the answer, and not for a short request."""
    with FakeClaude() as api:
        config: dict[str, Any] = {"ANTHROPIC_API_KEY": "test", "ANTHROPIC_BASE_URL": api.url}
        from flask_neolith_orchestrator.backends.claude import ClaudeModel

        claude: Any = ClaudeModel("test", api.url)
        world = make_world(model=claude, NEOLITH_CONTEXT_TOKENS=2_000, **config)
        world.start()
        thread = world.thread()
        for n in range(30):
            world.post("bob", f"n{n} " + "x" * 390, thread=thread)
        world.post("ann", "@ada well?", thread=thread)
        world.rest()
        claude.close()
        paths = [request.path for request in api.requests]
    assert paths[0].endswith("/count_tokens")
    assert paths[-1].endswith("/messages")


def test_what_is_deleted_while_a_tool_runs_is_not_told_again(make_world: MakeWorld) -> None:
    """The later rounds of a turn read the conversation anew; a question that is gone ends the turn."""
    world = make_world(NEOLITH_BUILTIN_TOOLS="none")
    thread = world.thread()
    secret = world.post("bob", "The code is 4711.", thread=thread)
    model = ScriptedModel(
        replies=lambda asked: ToolCall("t1", "forget", {}) if len(asked.messages) == 1 else "Forgotten."
    )

    @world.neolith.tool(scopes=["read"])
    def forget() -> str:
        """Makes bob delete it."""
        world.delete("bob", secret["id"])
        return "done"

    world.start()
    with use_model(world.app, model):
        world.post("ann", "@ada forget it", thread=thread)
        world.rest()
        first, second = [" ".join(message.text for message in one.messages) for one in model.requests]
        assert "4711" in first
        assert "4711" not in second
        assert "@ada forget it" in second
        world.close()


def test_it_works_in_memory_too(tmp_path: Path) -> None:
    """Where there is one thread, run_until_idle writes the summaries itself, in the caller's transaction."""
    world = build("sqlite://", tmp_path, NEOLITH_SUMMARY_MODEL="mini", NEOLITH_SUMMARY_AFTER=2)
    world.model.script = lambda scene: ["Sum." if scene.request.model == "mini" else "Noted."]
    with world.app.app_context():
        settle_down(world, ("ann", "bob"), ("ada",))
        chat = world.neolith.chat
        thread = chat.post(world.ids["ann"], world.general, "Let us talk here.")
        for text in ("one", "two", "three", "@ada four?"):
            chat.post(world.ids["ann"], world.general, text, thread_id=thread.message["id"])
        world.neolith.run_until_idle()
        (session,) = chat.sessions(world.ids["ann"])[0]
        assert session["summary"]["text"] == "Sum."
        world.db.session.rollback()
        world.neolith.shutdown(world.app)
        world.db.engine.dispose()


def test_a_host_tells_of_edits_and_deletions(world: World) -> None:
    """Of messages that are mirrored here: from its commit on the copy says what the host's message says, or nothing."""

    def say(key: str, text: str, *, to: list[str]) -> None:
        with world.context():
            message = IncomingMessage(key, text, "c1", world.ids["ann"], 1.0, thread_id=None if key == "m1" else "m1")
            world.neolith.accept(message, to=to)
            world.db.session.commit()

    say("m1", "The code is 4711.", to=[])
    say("m2", "It is in room 12.", to=[])
    with world.context():
        chat = world.neolith.chat
        assert chat.host_edited("c1", "m1", "Never mind.")
        assert chat.host_deleted("c1", "m2")
        assert not chat.host_deleted("c1", "m2")
        assert not chat.host_edited("c1", "m9", "x")
        assert not chat.host_deleted("c9", "m1")
        world.db.session.commit()
    say("m3", "well?", to=[world.ada])
    world.rest()
    told = whole(world.model.scenes[-1])
    assert "Never mind." in told
    assert "4711" not in told
    assert "room 12" not in told
