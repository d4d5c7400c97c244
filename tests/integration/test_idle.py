"""run_until_idle: it returns when there is nothing to do, and not a moment before."""

from __future__ import annotations

import threading
from typing import Any

from .test_supervision import Call
from .world import World


def test_a_turn_that_is_just_being_claimed_is_waited_for(world: World) -> None:
    """Its claim is committed, so nothing is ready any more, and its thread has not begun it: that is not idle."""
    claimed, go_on = threading.Event(), threading.Event()
    register = world.house.worker._register

    def slow(attempt: Any) -> Any:
        claimed.set()
        assert go_on.wait(10)
        return register(attempt)

    world.house.worker._register = slow  # type: ignore[method-assign]
    world.start("ada")
    world.post("ann", "@ada hello")
    assert claimed.wait(10)
    resting = Call(world.rest)
    resting.wait(0.2)
    still = resting.found is None and resting.is_alive
    go_on.set()
    assert resting.end() is None
    assert still
    assert world.deliveries() == ["answered"]
