"""What gives way to a row that is there already says so, on every database."""

from __future__ import annotations

from .conftest import Databases, MakeWorld


def test_a_login_is_new_once(make_world: MakeWorld, databases: Databases) -> None:
    """Recorded again it is known, and ended it stays so: whoever comes with its token afterwards starts nobody."""
    world = make_world(on=databases)
    stores = world.house.stores
    with world.house.database.write() as tx:
        assert stores.logins.record(tx, "token", world.orchestrators["ada"])
        assert not stores.logins.record(tx, "token", world.orchestrators["ada"])
        assert stores.logins.is_live(tx, "token")
        stores.logins.end(tx, "token", "logout")
        assert not stores.logins.record(tx, "token", world.orchestrators["ada"])
        assert not stores.logins.is_live(tx, "token")
