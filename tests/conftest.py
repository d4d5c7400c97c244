"""For every test: what it starts must have ended with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

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
