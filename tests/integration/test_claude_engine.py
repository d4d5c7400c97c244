"""The whole way to Claude and back: a message, the inbox, the real SDK over HTTP, the answer's row."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flask_neolith_orchestrator.backends.claude import ClaudeModel
from flask_neolith_orchestrator.testing import FakeClaude, drop, error, silence, text, truncate, use_model

from .conftest import MakeWorld
from .world import World, until

SNAPSHOT = Path(__file__).parent / "claude_request.json"


@pytest.fixture
def api() -> Iterator[FakeClaude]:
    """A Claude-compatible server."""
    with FakeClaude() as server:
        yield server


@pytest.fixture
def claude(make_world: MakeWorld, api: FakeClaude) -> Iterator[World]:
    """A world whose orchestrators talk to that server."""
    world = make_world()
    model = ClaudeModel(api_key="test-key", base_url=api.url, connect_timeout=2.0, read_timeout=5.0)
    world.start()
    with use_model(world.app, model):
        yield world
        world.close()
    model.close()


def the_answer(world: World) -> Any:
    """The only answer's row."""
    (answer,) = world.answers()
    return answer


def test_the_whole_request_of_a_thread_of_two_people(claude: World, api: FakeClaude) -> None:
    """What is sent for a thread of two people is exactly the reviewed request, with the charter marked for caching."""
    api.script(text("The report is in the folder *Q3*."), text("It is 12 pages long."))
    root = claude.post("ann", "Where is the report?")["id"]
    claude.post("bob", "@ada do you know?", thread=root)
    claude.rest()
    claude.post("ann", "Thanks! @ada and how long is it?", thread=root)
    claude.rest()
    sent = api.requests[-1].body
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text(json.dumps(sent, indent=2, ensure_ascii=False) + "\n")
    assert sent == json.loads(SNAPSHOT.read_text())


def test_an_overloaded_provider_delays_the_answer_and_nothing_else(claude: World, api: FakeClaude) -> None:
    """529 and 429 before the first text are tried again within the turn; people see one answer, written once."""
    api.script(error(529), error(429, retry_after=0), text("Here I am."))
    claude.post("ann", "@ada hello")
    claude.rest()
    assert the_answer(claude)["content"] == "Here I am."
    assert the_answer(claude)["state"] == "final"
    assert claude.deliveries() == ["answered"]
    assert len(api.requests) == 3


@pytest.mark.parametrize("cut", [drop(after=5, say="half an"), truncate(after=5, say="half an")])
def test_a_cut_stream_keeps_its_text_and_is_tried_again_in_the_same_row(
    claude: World, api: FakeClaude, cut: Any
) -> None:
    """A stream that breaks off leaves the partial text as interrupted; the next attempt begins the same row again."""
    api.script(cut, text("The whole answer."))
    claude.post("ann", "@ada hello")
    first = until(lambda: the_answer(claude) if claude.answers() else None, "an answer's row")
    until(lambda: the_answer(claude)["state"] == "interrupted" and the_answer(claude)["content"], "a cut answer")
    assert the_answer(claude)["content"].startswith("half")
    until(lambda: the_answer(claude)["state"] == "final", "the second attempt", timeout=10)
    assert the_answer(claude)["id"] == first["id"]
    assert the_answer(claude)["content"] == "The whole answer."
    assert [one["messageId"] for one in claude.channel.of("message:reset")] == [str(first["id"])]
    assert claude.deliveries() == ["answered"]


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_refused_request_fails_at_once_and_says_so(claude: World, api: FakeClaude, status: int) -> None:
    """A permanent error is not tried again: the answer's row says that it failed, and the next question works."""
    api.script(error(status), text("Now it works."))
    claude.post("ann", "@ada hello")
    until(lambda: claude.deliveries() == ["failed"], "a failed delivery")
    assert the_answer(claude)["state"] == "failed"
    assert the_answer(claude)["content"]
    assert len(api.requests) == 1
    claude.post("ann", "@ada again?")
    claude.rest()
    assert claude.answers()[-1]["content"] == "Now it works."


def test_stop_ends_the_call_itself_within_a_second(claude: World, api: FakeClaude) -> None:
    """Stop cuts the provider's connection while it is silent; the partial text stays, and the next message works."""
    api.script(silence(after=6), text("Next."))
    asked = claude.post("ann", "@ada hello")
    until(lambda: claude.channel.of("message:delta"), "some text")
    began = time.monotonic()
    assert claude.stop("ann", asked["id"])["state"] == "stopping"
    api.wait_for_cut(timeout=1.0)
    until(lambda: the_answer(claude)["state"] == "interrupted", "an interrupted answer")
    assert time.monotonic() - began < 1.0
    assert claude.deliveries() == ["cancelled"]
    assert claude.stop("ann", asked["id"])["state"] == "over"
    claude.post("ann", "@ada and now?")
    claude.rest()
    assert claude.answers()[-1]["content"] == "Next."
