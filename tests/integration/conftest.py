"""Fixtures for tests with real parts: databases (a SQLite file, a real Postgres) and worlds on them."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from sqlalchemy import make_url

from .postgres_server import PostgresServer
from .redis_server import RedisServer
from .world import World, build, open_files, our_threads, settle_down, until


class MakeWorld(Protocol):
    """Makes an app with people (ann, bob), orchestrators (ada) and a channel; `like` makes a second process."""

    def __call__(
        self,
        *,
        on: Databases | None = None,
        people: tuple[str, ...] = ("ann", "bob"),
        orchestrators: tuple[str, ...] = ("ada",),
        like: World | None = None,
        **config: Any,
    ) -> World: ...


class Databases(Protocol):
    """Gives databases with people in them."""

    def __call__(self, people: tuple[str, ...], orchestrators: tuple[str, ...]) -> tuple[str, World]:
        """The URL of a copy, and the world that it was copied from (closed)."""
        ...


class Copies:
    """Databases that are filled once and then copied: making tables costs more than most tests."""

    def __init__(self, folder: Path, make: Callable[[], str], copy: Callable[[str], str]) -> None:
        self._folder = folder
        self._make = make
        self._copy = copy
        self._worlds: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[str, World]] = {}

    def __call__(self, people: tuple[str, ...], orchestrators: tuple[str, ...]) -> tuple[str, World]:
        key = (people, orchestrators)
        if key not in self._worlds:
            url = self._make()
            world = build(url, self._folder)
            settle_down(world, people, orchestrators)
            world.close()
            self._worlds[key] = (url, world)
        url, world = self._worlds[key]
        return self._copy(url), world


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Databases:
    """SQLite files."""
    folder = tmp_path_factory.mktemp("sqlite")
    numbers = itertools.count()

    def make() -> str:
        return f"sqlite:///{folder / f'{next(numbers)}.db'}"

    def copy(url: str) -> str:
        made = make()
        shutil.copy(str(make_url(url).database), str(make_url(made).database))
        return made

    return Copies(folder, make, copy)


@pytest.fixture(scope="session")
def on_postgres(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Databases:
    """Databases of a real Postgres."""
    return Copies(tmp_path_factory.mktemp("postgres"), postgres.database, postgres.database)


@pytest.fixture(params=["sqlite", pytest.param("on_postgres", marks=pytest.mark.postgres, id="postgres")])
def databases(request: pytest.FixtureRequest) -> Databases:
    """Both kinds of databases, one after the other."""
    found: Databases = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def make_world(tmp_path: Path, sqlite: Databases) -> Iterator[MakeWorld]:
    """Makes worlds; at the end each is closed, and no thread, socket or file of it may be left."""
    before, threads_before = open_files(), set(our_threads())
    made: list[World] = []

    def make(
        *,
        on: Databases | None = None,
        people: tuple[str, ...] = ("ann", "bob"),
        orchestrators: tuple[str, ...] = ("ada",),
        like: World | None = None,
        **config: Any,
    ) -> World:
        if like is None:
            url, source = (on or sqlite)(people, orchestrators)
        else:
            url, source = like.app.config["SQLALCHEMY_DATABASE_URI"], like
            config = {"model": like.model, **config}
        world = build(url, tmp_path, **config)
        world.know(source)
        made.append(world)
        return world

    yield make
    for world in reversed(made):
        world.close()
    _assert_clean("threads", lambda: set(our_threads()) - threads_before)
    for world in made:
        world.close_late()
    _assert_clean("files or sockets", lambda: open_files() - before)


def _assert_clean(what: str, left: Callable[[], set[str]]) -> None:
    try:
        until(lambda: not left(), what, timeout=3.0)
    except TimeoutError:
        pytest.fail(f"Left over: {what}: {sorted(left())}")


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """ann, bob and ada in #general, on a SQLite file; nothing runs yet."""
    return make_world()


@pytest.fixture(scope="module")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for the module."""
    try:
        made = RedisServer(tmp_path_factory.mktemp("redis"))
    except Exception as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"Redis cannot be started: {type(error).__name__}: {error}")
    yield made
    made.stop()
    import kombu.pools

    kombu.pools.reset()  # type: ignore[no-untyped-call]  # it has no types; its connections are the process's


@pytest.fixture
def redis(shared_redis: RedisServer) -> RedisServer:
    """It runs, and is empty."""
    shared_redis.client.flushall()
    shared_redis.client.connection_pool.disconnect()
    return shared_redis
