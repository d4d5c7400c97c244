"""The campaign's side of the cradle: orders processes, and watches and signals them."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
_FOREIGN = ("COV", "ANTHROPIC_", "DAEMON_", "NEOLITH_", "ORCHESTRATOR_")
"""Beginnings of environment variables that would change the servers, or slow them down by measuring them."""


class Process:
    """One process that a cradle has made. Lifetime: until `close`, which kills it; safe twice."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = os.pidfd_open(pid)
        self._gone = False

    def is_gone(self, timeout: float = 0.0) -> bool:
        """Whether it has ended, or does within `timeout` seconds."""
        if not self._gone:
            watch = select.poll()
            watch.register(self._fd, select.POLLIN)
            self._gone = bool(watch.poll(timeout * 1000))
        return self._gone

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it is there."""
        if not self.is_gone():
            signal.pidfd_send_signal(self._fd, number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        if not self.is_gone(30.0):
            raise TimeoutError(f"process {self.pid} does not die")

    def close(self) -> None:
        """End it, and forget it."""
        if self._fd >= 0:
            self.kill()
            os.close(self._fd)
            self._fd = -1


class Nursery:
    """A cradle and the way to it. Lifetime: its `with` block; several campaigns may share one, one after the other."""

    def __init__(self) -> None:
        alive, self._alive = os.pipe()
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)},
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        self._cradle = subprocess.Popen(
            [sys.executable, "-m", "tests.acceptance.campaign.cradle", str(alive)],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[alive],
            start_new_session=True,
        )
        os.close(alive)

    def bear(self, kind: str, log: Path, environment: Mapping[str, str], order: Mapping[str, Any]) -> Process:
        """A new process of a kind (server, model or seed) with additions to its environment."""
        assert self._cradle.stdin is not None
        assert self._cradle.stdout is not None
        whole = {"kind": kind, "log": str(log), "environment": dict(environment), **order}
        self._cradle.stdin.write(json.dumps(whole) + "\n")
        self._cradle.stdin.flush()
        return Process(int(self._cradle.stdout.readline()))

    def close(self) -> None:
        """End the cradle and what is left of its children. Safe twice."""
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1
        self._cradle.kill()
        self._cradle.communicate(timeout=30)

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
