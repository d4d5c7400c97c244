"""The host app of a fleet: `flask --app benchmarks.fleet_app neolith worker` makes a worker of it.

Its model takes a fixed time. Each call is written down in a file that all workers share, and so is every warning.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flask import Flask

from flask_neolith_orchestrator.testing import Parts, ScriptedModel

from .app import make_app
from .ear import FOLDER, tell
from .witness import SCHEDULER, listen_for_skipped_jobs

DATABASE = "NEOLITH_BENCHMARK_DATABASE"
"""The environment variable with the database's URL."""

SECONDS = "NEOLITH_BENCHMARK_SECONDS"
"""What a job takes."""

CALLS, COMPLAINTS = "calls", "complaints"
"""Files of the folder."""

_JOB = re.compile(r"@agent(\d+) job (\d+)\.(\d+)")


class Lines:
    """A file to which many processes append lines. Lifetime: the process."""

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def add(self, *what: object) -> None:
        """Write one line, which no other can tear."""
        os.write(self._file, (json.dumps([os.getpid(), *what]) + "\n").encode())


class Job:
    """A model that takes its time. Lifetime: the process; used by many threads."""

    name = "job"

    def __init__(self, folder: Path, seconds: float) -> None:
        self._calls = Lines(folder / CALLS)
        self._seconds = seconds
        self._is_heard = (folder / "ear").exists()
        self._inner = ScriptedModel(replies=lambda _request: "done")

    def stream(self, request: Any, cancel: Any) -> Iterator[Any]:
        """Say and write down when it began, take the time, write down when it ended."""
        began = time.monotonic()
        if self._is_heard:
            tell()
        listen_for_skipped_jobs()  # the runtime is up, which turned the scheduler's lines off
        job = [int(one) for one in _JOB.findall(request.messages[-1].text)[-1]]
        self._calls.add(*job, began, None)
        if self._seconds:
            cancel.wait(self._seconds)
        self._calls.add(*job, began, time.monotonic())
        yield from self._inner.stream(request, cancel)

    def check(self) -> str | None:
        """Always ready."""
        return None

    def close(self) -> None:
        """Nothing to close."""


class Complaints(logging.Handler):
    """Writes every warning down, for the process that judges. Lifetime: the process."""

    def __init__(self, file: Path) -> None:
        super().__init__(logging.WARNING)
        self._lines = Lines(file)

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        words = record.getMessage()
        if record.name != SCHEDULER or "renew" in words:  # a sweep that is left out is done by the next one
            cause = f" ({record.exc_info[1]!r})" if record.exc_info else ""
            self._lines.add(record.name, words + cause)


def create_app() -> Flask:
    """For Flask's command line; the rest of the settings comes from the environment."""
    folder = Path(os.environ[FOLDER])
    logging.getLogger().addHandler(Complaints(folder / COMPLAINTS))
    model = Job(folder, float(os.environ[SECONDS]))
    parts = Parts(model_for=lambda _name: model)
    return make_app(folder, parts=parts, SQLALCHEMY_DATABASE_URI=os.environ[DATABASE])
