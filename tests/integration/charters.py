"""Charters for worlds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask_neolith_orchestrator.runtime.charters.keeper import Author

from .world import World


def give(world: World, name: str, charter: Mapping[str, Any]) -> None:
    """Make a charter the active one of an orchestrator, as its managers do."""
    with world.stores.database.write() as tx:
        snapshot = world.house.people.snapshot(tx, world.orchestrators[name])
        assert snapshot is not None
        world.house.keeper.save(tx, snapshot, charter, Author(world.ids["ann"], confirm=True))
