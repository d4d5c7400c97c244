"""Fixtures for acceptance tests: a real browser, and where the crash campaign's processes come from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from .campaign.nursery import Nursery

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; without it the tests are skipped at home and fail in CI."""
    if not CHROMIUM.exists():
        assert os.environ.get("CI") != "true", f"CI needs {CHROMIUM}"
        pytest.skip(f"{CHROMIUM} is not there")
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """One for all tests: it imports everything once."""
    with Nursery() as made:
        yield made
