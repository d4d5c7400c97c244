"""What is asked is always asked, however much others have said since: the history's limit is for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from flask_neolith_orchestrator.core.errors import ModelRejected

from .conftest import MakeWorld
from .stage import Scene, echo
from .world import World

LIMIT = 4


@pytest.fixture
def world(make_world: MakeWorld) -> Iterator[World]:
    """A world that gives few lines of history to its model."""
    made = make_world(NEOLITH_HISTORY_LIMIT=LIMIT)
    yield made
    made.close()


def test_both_lines_of_a_turn_are_asked(world: World) -> None:
    """Ann's first line waits; Bob says more than the history holds; with her second it is one turn that has both."""
    thread = world.thread()
    world.post("ann", "@ada where is the report?", thread=thread)
    for n in range(3 * LIMIT):
        world.post("bob", f"Meanwhile {n}.", thread=thread)
    world.post("ann", "@ada and how long is it?", thread=thread)
    world.start()
    world.rest()
    assert world.deliveries() == ["answered", "answered"]
    (scene,) = world.model.scenes
    assert "where is the report?" in scene.asked
    assert "how long is it?" in scene.asked
    assert [f"Meanwhile {n}." in scene.asked for n in range(3 * LIMIT)] == [False] * 2 * LIMIT + [True] * LIMIT


def test_a_question_that_is_tried_again_late_is_asked(world: World) -> None:
    """A failed delivery's retry asks its question although the orchestrator has answered a lot since."""

    def refuse(_scene: Scene) -> Iterable[str]:
        raise ModelRejected

    thread = world.thread()
    world.start()
    world.model.script = refuse
    world.post("ann", "@ada where is the report?", thread=thread)
    world.rest()
    world.model.script = echo
    for n in range(LIMIT + 1):
        world.post("bob", f"@ada question {n}?", thread=thread)
        world.rest()
    (failed,) = [row["id"] for row in world.rows("Delivery", state="failed")]
    with world.stores.database.write() as tx:
        assert world.stores.turns.retry(tx, str(failed))
    world.house.manager.ring(world.ada)
    world.rest()
    assert world.deliveries() == ["answered"] * (LIMIT + 2)
    assert "where is the report?" in world.model.scenes[-1].asked


def test_a_question_that_was_deleted_is_not_looked_for(world: World) -> None:
    """Of two lines the first is deleted while it waits: the turn has the other alone, and the history its limit."""
    thread = world.thread()
    first = world.post("ann", "@ada where is the report?", thread=thread)
    for n in range(3 * LIMIT):
        world.post("bob", f"Meanwhile {n}.", thread=thread)
    world.post("ann", "@ada and how long is it?", thread=thread)
    world.delete("ann", first["id"])
    world.start()
    world.rest()
    assert world.deliveries() == ["cancelled", "answered"]
    (scene,) = world.model.scenes
    assert "report" not in scene.asked
    assert [f"Meanwhile {n}." in scene.asked for n in range(3 * LIMIT)].count(True) == LIMIT - 1
