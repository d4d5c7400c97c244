"""Models to fall back to, over the real SDK and real HTTP: who answers, and what the turn remembers of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from flask_neolith_orchestrator.backends.claude import ClaudeModel
from flask_neolith_orchestrator.testing import FakeClaude, Step, drop, error, silence, text, use_model

from .conftest import MakeWorld
from .world import World, until


@pytest.fixture
def api() -> Iterator[FakeClaude]:
    """A Claude-compatible server."""
    with FakeClaude() as server:
        yield server


@pytest.fixture
def claude(make_world: MakeWorld, api: FakeClaude) -> Iterator[World]:
    """A world whose orchestrators ask model `first`, and `second` where that cannot serve."""
    world = make_world(NEOLITH_MODEL="claude-first", NEOLITH_FALLBACK_MODELS="claude-second")
    model = ClaudeModel(api_key="test-key", base_url=api.url, connect_timeout=2.0, read_timeout=0.3)
    world.start()
    with use_model(world.app, model):
        yield world
        world.close()
    model.close()


def by_model(api: FakeClaude, **steps: Callable[[], Step]) -> None:
    """Let each model answer in its own way."""

    def answer(body: Mapping[str, Any]) -> Step:
        return steps[body["model"].removeprefix("claude-")]()

    api.answer_with(answer)


def asked(api: FakeClaude) -> list[str]:
    """Which models were called, in order."""
    return [one.body["model"].removeprefix("claude-") for one in api.requests]


@pytest.mark.parametrize(
    ("fails", "kind", "calls"),
    [
        (lambda: error(529), "ModelUnavailable", 2),
        (lambda: error(404), "ModelNotServed", 1),
        (lambda: silence(before_headers=True), "ModelUnavailable", 2),
    ],
)
def test_the_second_model_answers(
    claude: World, api: FakeClaude, fails: Callable[[], Step], kind: str, calls: int
) -> None:
    """Overload, a model that is not served and a time-out: another model answers, and the turn tells of both."""
    by_model(api, first=fails, second=lambda: text("Here I am."))
    claude.post("ann", "@ada hello")
    claude.rest()
    (answer,) = claude.answers()
    assert (answer["content"], answer["state"]) == ("Here I am.", "final")
    (turn,) = claude.rows("Turn")
    assert turn["model"] == "claude-second"
    assert json.loads(turn["tried"]) == [{"model": "claude-first", "error": kind}]
    assert asked(api) == ["first"] * calls + ["second"]


def test_a_cut_after_the_first_text_falls_back_to_nobody(claude: World, api: FakeClaude) -> None:
    """No model goes on with another's text: the partial text stays, and the same model is asked again later."""
    by_model(api, first=lambda: drop(after=5, say="half an answer"), second=lambda: text("Here I am."))
    claude.post("ann", "@ada hello")
    until(lambda: claude.answers() and claude.answers()[0]["state"] == "interrupted", "a cut answer")
    assert claude.answers()[0]["content"].startswith("half")
    assert asked(api) == ["first"]
    (turn,) = claude.rows("Turn")
    assert json.loads(turn["tried"]) == [{"model": "claude-first", "error": "ModelInterrupted"}]


def test_all_models_down_is_a_wait(claude: World, api: FakeClaude) -> None:
    """Nobody is punished for it, and people see what is waited for; one that may come back decides."""
    by_model(api, first=lambda: error(529), second=lambda: error(404))
    claude.post("ann", "@ada hello")
    until(lambda: claude.answers() and claude.answers()[0]["notice"], "a notice")
    assert "Waiting for the model" in claude.answers()[0]["notice"]
    assert claude.deliveries() == ["waiting"]
    (delivery,) = claude.rows("Delivery")
    assert delivery["attempts"] == 0
    assert {one["model"] for one in json.loads(claude.rows("Turn")[0]["tried"])} == {"claude-first", "claude-second"}


def test_a_charters_own_list_wins(claude: World, api: FakeClaude) -> None:
    """What the charter names is asked, not what the app does."""
    with claude.context():
        charter = {"model": {"name": "claude-own", "fallbacks": ["claude-other"]}}
        claude.neolith.directory.set_charter(claude.ada, charter)
        claude.db.session.commit()
    by_model(api, own=lambda: error(404), other=lambda: text("Mine."))
    claude.post("ann", "@ada hello")
    claude.rest()
    assert asked(api) == ["own", "other"]
    assert claude.answers()[0]["content"] == "Mine."
