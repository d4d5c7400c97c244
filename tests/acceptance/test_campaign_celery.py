"""The crash campaign over Celery, Postgres and Redis: its short form.

The long form: `python -m tests.acceptance.campaign --engine celery --kills 50` (see CONTRIBUTING.md).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.postgres_server import PostgresServer

from .campaign.backing import Servers
from .campaign.campaign import LEASE
from .campaign.killer import ADD, DRAIN, PAUSE, TIMED
from .campaign.nursery import Nursery
from .campaign.storm import WEB, Storm

pytestmark = [pytest.mark.process, pytest.mark.postgres]


def test_two_servers_and_three_workers(nursery: Nursery, tmp_path: Path, postgres: PostgresServer) -> None:
    """Killed, paused, drained, added under load, Redis away: nothing lost or doubled, every browser hears all."""
    with Storm(nursery, tmp_path, Servers(postgres), seed=7) as storm:
        storm.waits = (0.0,)
        storm.begin()
        for what in (TIMED, DRAIN, WEB, ADD):
            storm.happen(what)
        storm.flush()
        storm.outage(1.0)
        storm.happen(PAUSE)
        storm.crowd.end(timeout=30)
        storm.drain()
        took = storm.fail_over()
        report = storm.judge()
    assert report.violations == [], "\n".join(report.lines())
    assert took <= LEASE + 1.0
    assert report.counted >= 1  # the last one waits for a turn; the first, at any instant, may find none
    assert report.acknowledged == report.posts > 20
    assert report.heard > 2 * report.posts
