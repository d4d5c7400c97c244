"""The fake Claude in a process of its own, so that it does not compete for our interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from .live import ROOT
from .procs import stop

KEY = "sk-benchmark"
MODEL = "claude-sonnet-5-5"


@contextmanager
def fake_claude(gap: float) -> Iterator[str]:
    """It echoes what it is told, with `gap` seconds between two events; its address."""
    command = [sys.executable, "-m", "flask_neolith_orchestrator.testing.fake_claude", "--gap", str(gap)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        stop(process)


def report(api: str) -> Mapping[str, Any]:
    """What has happened there so far: requests (with `at`, time.monotonic), openStreams, cutStreams."""
    with urllib.request.urlopen(f"{api}/fake/report", timeout=10) as answer:
        found: Mapping[str, Any] = json.load(answer)
        return found


def requests(api: str, count: int, timeout: float = 20.0) -> Sequence[Mapping[str, Any]]:
    """The requests, once there are `count` of them. Raises TimeoutError."""
    deadline = time.monotonic() + timeout
    while len(found := report(api)["requests"]) < count:
        if time.monotonic() > deadline:
            msg = f"{len(found)} of {count} requests came."
            raise TimeoutError(msg)
        threading.Event().wait(0.01)
    return list(found)
