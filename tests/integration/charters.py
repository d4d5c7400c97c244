"""Charters for worlds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .world import World


def give(world: World, name: str, charter: Mapping[str, Any]) -> None:
    """Make a charter the active one of an orchestrator, as its managers do."""
    house, key = world.house, world.orchestrators[name]
    with world.stores.database.write() as tx:
        house.charters.activate(tx, key, charter, author_id=world.ids["ann"])
        snapshot = house.people.snapshot(tx, key)
        assert snapshot is not None
        house.front.listening.write(tx, key, house.study.charters.of(tx, snapshot))
