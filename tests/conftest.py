"""For every test: what it starts must have ended with it; a Postgres; and which tests the coverage is measured by."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from coverage import Coverage

from tests.integration.postgres_server import PostgresServer

ACCEPTANCE = Path(__file__).parent / "acceptance"

PATIENCE = 5.0
"""Seconds that threads have to end after the test; idle ones linger for two."""


def _ours() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith(("neolith-", "APScheduler"))}


@pytest.fixture(autouse=True)
def no_thread_is_left_over() -> Iterator[None]:
    """No thread of the runtime outlives its test."""
    before = _ours()
    yield
    deadline = time.monotonic() + PATIENCE
    for thread in _ours() - before:
        thread.join(max(0.0, deadline - time.monotonic()))
    left = sorted(thread.name for thread in _ours() - before)
    assert not left, f"threads left over: {left}"


def _is_covered_elsewhere(item: pytest.Item) -> bool:
    """Journeys of whole apps, and what runs on SQLite too: tracing them costs minutes and shows no line of its own."""
    return item.path.is_relative_to(ACCEPTANCE) or "postgres" in item.name


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Do not trace a test whose lines other tests cover, its fixtures included."""
    measured = Coverage.current()
    if measured is None or not _is_covered_elsewhere(item):
        return (yield)
    measured.stop()
    try:
        return (yield)
    finally:
        measured.start()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real Postgres; without one its tests are skipped at home and fail in CI."""
    try:
        server = PostgresServer()
    except Exception as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"Postgres cannot be started: {type(error).__name__}: {error}")
    yield server
    server.close()
