"""The whole runtime at the instants at which it could go wrong: held there by hooks, and never by luck."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flask_neolith_orchestrator.core.types import Claim

from .conftest import Databases, MakeWorld
from .stage import PATIENCE
from .world import World, until

SLOW_SWEEP: dict[str, Any] = {"DAEMON_SWEEP_INTERVAL": 60_000}
"""For tests in which a sweep would hide that nobody was rung."""


def looks(world: World, monkeypatch: pytest.MonkeyPatch) -> list[Claim | None]:
    """What every look for work has found, in order of their ends."""
    claim, found = world.stores.claims.claim, []

    def counted(*given: Any, **named: Any) -> Claim | None:
        got = claim(*given, **named)
        found.append(got)
        return got

    monkeypatch.setattr(world.stores.claims, "claim", counted)
    return found


@pytest.mark.postgres
def test_a_message_during_the_last_look_is_answered(
    make_world: MakeWorld, on_postgres: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is committed after a finish has looked for more and before that finish is: whoever it rings finds it held.

    It is answered all the same, in the same conversation, without another message and without the sweep.
    """
    world = make_world(on=on_postgres, **SLOW_SWEEP)
    thread, found = world.thread(), looks(world, monkeypatch)
    counted, looked = world.stores.claims.claim, threading.Event()

    def post_behind(*given: Any, **named: Any) -> Claim | None:
        got = counted(*given, **named)
        if world.model.scenes and not looked.is_set():
            looked.set()
            before = len(found)
            with ThreadPoolExecutor(1) as pool:
                pool.submit(world.post, "bob", "@ada second", thread=thread).result(PATIENCE)
            until(lambda: len(found) > before, "somebody was rung and has looked")
            assert found[before] is None
        return got

    monkeypatch.setattr(world.stores.claims, "claim", post_behind)
    world.start()
    world.post("ann", "@ada first", thread=thread)
    world.channel.wait_for("message:done", 2)
    assert world.deliveries() == ["answered", "answered"]
