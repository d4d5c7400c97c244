"""What the server has prepared is used again: planning costs a claim more than running it does."""

from __future__ import annotations

import pytest

from .conftest import Databases, MakeWorld


@pytest.mark.postgres
def test_reads_do_not_cost_the_prepared_statements(make_world: MakeWorld, on_postgres: Databases) -> None:
    """The driver gives all of them up at a ROLLBACK, so a look that has changed nothing ends by a COMMIT."""
    world = make_world(on=on_postgres)
    for _ in range(2):  # by itself the driver would prepare what it has seen five times
        assert world.stores.leases.ready() == {}
    with world.stores.database.read() as tx:
        kept = tx.exec_driver_sql("SELECT statement FROM pg_prepared_statements").scalars().all()
    assert any("neolith_delivery" in one for one in kept), kept
