"""Three foreign host apps do the main job through the front door only: log in, ask, be answered, log out."""

from __future__ import annotations

import itertools
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import inspect

from flask_neolith_orchestrator import NeolithOrchestrator, SchemaMissing, UnsupportedDatabase
from flask_neolith_orchestrator.testing import run_until_idle

from . import in_memory, migrated, tokens


def until(true: Callable[[], Any], timeout: float = 10.0) -> None:
    """Wait for what has no event of its own."""
    deadline, pause = time.monotonic() + timeout, threading.Event()
    while not true():
        assert time.monotonic() < deadline, "it never happened"
        pause.wait(0.01)


@contextmanager
def running(app: Flask, neolith: NeolithOrchestrator, db: SQLAlchemy, *, alone: bool = True) -> Iterator[Flask]:
    """The app, closed at the end; where it is alone, with no thread of ours left."""
    before = set(threading.enumerate())
    try:
        with app.app_context():
            yield app
    finally:
        neolith.shutdown(app, 2.0)
        with app.app_context():
            db.session.remove()
            db.engine.dispose()
    until(lambda: not alone or not [one for one in set(threading.enumerate()) - before if "neolith-" in one.name])


@pytest.fixture
def voices() -> Iterator[None]:
    """Flask-Migrate's env.py switches all loggers off that are there already; afterwards they are on again."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
    for found in list(logging.Logger.manager.loggerDict.values()):
        if isinstance(found, logging.Logger):
            found.disabled = False


@pytest.mark.usefixtures("voices")
@pytest.mark.filterwarnings("ignore:'get_engine' is deprecated:DeprecationWarning")  # its env.py
def test_a_migrated_host_with_uuids_and_its_own_messages(tmp_path: Path) -> None:
    """Flask-Migrate makes our tables beside the host's; question and answer are rows of the host's own table."""
    db, neolith, user, message = migrated.db, migrated.neolith, migrated.User, migrated.Message
    with running(migrated.create_app(tmp_path), neolith, db) as app:
        for command in (["db", "init"], ["db", "migrate", "-m", "all"], ["db", "upgrade"]):
            result = app.test_cli_runner().invoke(args=command)
            assert result.exit_code == 0, result.output
        assert {"account", "message", "neolith_delivery"} <= set(inspect(db.engine).get_table_names())
        maya, ada = user(full_name="Maya"), user(full_name="Ada", is_orchestrator=True)
        db.session.add_all([maya, ada])
        db.session.flush()
        home = neolith.directory.create_organization("Home", "home")
        neolith.directory.add_to_organization(home, str(maya.id), "owner")
        made = neolith.directory.create_orchestrator(str(ada.id), home, "ada")
        db.session.commit()
        ids = {"maya": maya.id, "ada": ada.id}
        db.session.remove()

        bot, person = app.test_client(), app.test_client()
        bot.post(f"/login/{ids['ada']}")
        until(lambda: neolith.manager.is_daemon_running(made))
        person.post(f"/login/{ids['maya']}")
        question = person.post("/rooms/lobby", json={"text": "@ada what is new?"}).text
        neolith.run_until_idle()
        answers = db.session.scalars(db.select(message).filter_by(author_id=ids["ada"])).all()
        assert [(one.room, str(one.root_id), one.state) for one in answers] == [("lobby", question, "final")]
        assert "what is new?" in answers[0].text
        assert answers[0].author.full_name == "Ada"
        assert [one.url_map.bind("").test("/neolith/") for one in [app]] == [False]
        bot.post("/logout")
        until(lambda: not neolith.manager.is_daemon_running(made))
        assert neolith.get_orchestrator(str(ids["ada"])) is neolith.manager.get_daemon(made)
        assert neolith.get_orchestrator(str(uuid.uuid4())) is None


@pytest.mark.usefixtures("voices")
@pytest.mark.filterwarnings("ignore:'get_engine' is deprecated:DeprecationWarning")  # its env.py
def test_a_second_migration_finds_nothing_to_do(tmp_path: Path) -> None:
    """What Flask-Migrate has made is what our classes say: no endless migrations."""
    db, neolith = migrated.db, migrated.neolith
    with running(migrated.create_app(tmp_path), neolith, db) as app:
        for command in (["db", "init"], ["db", "migrate", "-m", "all"], ["db", "upgrade"]):
            assert app.test_cli_runner().invoke(args=command).exit_code == 0
        made = list((tmp_path / "migrations" / "versions").glob("*.py"))
        assert app.test_cli_runner().invoke(args=["db", "migrate", "-m", "again"]).exit_code == 0
        assert list((tmp_path / "migrations" / "versions").glob("*.py")) == made


@pytest.fixture
def suite() -> Iterator[Flask]:
    """The fixture of a host's own test suite: everything in memory, made anew for each test."""
    app = in_memory.create_app()
    with running(app, in_memory.neolith, in_memory.db):
        in_memory.db.create_all()
        yield app


def seed() -> tuple[str, str]:
    """Maya, and Ada the orchestrator; her id, and their channel's."""
    db, neolith = in_memory.db, in_memory.neolith
    db.session.add_all([in_memory.User(nick="maya"), in_memory.User(nick="ada", is_orchestrator=True)])
    db.session.flush()
    home = neolith.directory.create_organization("Home", "home")
    neolith.directory.add_to_organization(home, "maya", "owner")
    made = neolith.directory.create_orchestrator("ada", home, "ada")
    channel = neolith.chat.create_channel("maya", organization_id=home, name="general", member_ids=["ada"])
    return made, channel["id"]


def test_a_hosts_tests_in_memory(suite: Flask) -> None:
    """With text ids in memory: login, question, run_until_idle, answer; only a start is refused, with the remedy."""
    db, neolith = in_memory.db, in_memory.neolith
    made, channel = seed()
    db.session.commit()
    bot, person = suite.test_client(), suite.test_client()
    assert bot.post("/login/ada").status_code == 200
    person.post("/login/maya")
    question = person.post(f"/channels/{channel}", json={"text": "@ada what is new?"}).get_json()
    run_until_idle(suite)
    messages, _ = neolith.chat.messages("maya", channel, thread_id=question["id"])
    assert [one["author"]["name"] for one in messages] == ["Maya", "Ada"]
    assert "what is new?" in messages[1]["content"]
    with pytest.raises(UnsupportedDatabase, match="run_until_idle"):
        neolith.manager.start_daemon(made)
    assert bot.post("/logout").status_code == 200


def test_in_memory_nothing_of_the_hosts_is_committed_or_rolled_back(suite: Flask) -> None:
    """A test that rolls back at its end finds its database as it was: we neither commit nor roll back for it."""
    db, neolith = in_memory.db, in_memory.neolith
    made, channel = seed()
    db.session.flush()
    assert neolith.manager.get_all_daemon_statuses()[0].orchestrator.id == made
    assert neolith.get_orchestrator("ada") is not None
    question = neolith.chat.post("maya", channel, "@ada hello").message
    neolith.run_until_idle()
    assert len(neolith.chat.messages("maya", channel, thread_id=question["id"])[0]) == 2
    db.session.rollback()
    assert db.session.scalars(db.select(in_memory.User)).all() == []


def test_one_app_after_the_other_on_one_socketio(tmp_path: Path) -> None:
    """create_app is called twice on a module-level SocketIO; each app has its own database, daemons and settings."""
    urls = [f"sqlite:///{tmp_path / name}.db" for name in ("one", "two")]
    apps = [
        in_memory.create_app(SQLALCHEMY_DATABASE_URI=url, DAEMON_MAX_CONCURRENT_CONVERSATIONS=number)
        for number, url in enumerate(urls, start=1)
    ]
    db, neolith = in_memory.db, in_memory.neolith
    for number, app in enumerate(apps, start=1):
        with running(app, neolith, db):
            db.create_all()
            made, _ = seed()
            db.session.commit()
            assert neolith.manager.start_daemon(made).limit == number
            assert app.test_client().get("/neolith/api/v1/health/live").status_code == 200
            people = in_memory.socketio.test_client(app, namespace="/neolith")
            assert not people.is_connected("/neolith")  # nobody has logged in


@pytest.mark.parametrize("order", list(itertools.permutations(("db", "login", "csrf", "neolith")))[::5])
def test_a_host_whose_get_id_is_a_token(tmp_path: Path, order: tuple[str, ...]) -> None:
    """Classes of the same names, extensions in any order, CSRFProtect, and get_id() that is not the key."""
    db, neolith, user = tokens.db, tokens.neolith, tokens.User
    with running(tokens.create_app(tmp_path, order), neolith, db) as app:
        db.create_all()
        maya, ada = user(username="maya"), user(username="ada", is_orchestrator=True)
        db.session.add_all([maya, ada, user(username="late")])
        db.session.flush()
        home = neolith.directory.create_organization("Home", "home")
        neolith.directory.add_to_organization(home, str(maya.id), "owner")
        made = neolith.directory.create_orchestrator(str(ada.id), home, "ada")
        channel = neolith.chat.create_channel(
            str(maya.id), organization_id=home, name="general", member_ids=[str(ada.id)]
        )
        db.session.add(tokens.Message(author=maya, channel=tokens.Channel()))
        db.session.commit()
        bot, person = app.test_client(), app.test_client()
        bot.post(f"/login/{ada.id}")
        until(lambda: neolith.manager.is_daemon_running(made))
        person.post(f"/login/{maya.id}")
        url = f"/neolith/api/v1/channels/{channel['id']}/messages"
        posted = person.post(url, json={"content": "@ada hello"}, headers={"Sec-Fetch-Site": "same-origin"})
        assert posted.status_code == 201, posted.text
        neolith.run_until_idle()
        answers = person.get(url, query_string={"threadId": posted.get_json()["id"]}).get_json()["items"]
        assert [one["author"]["name"] for one in answers] == ["maya", "ada"]
        bot.post("/logout")
        until(lambda: not neolith.manager.is_daemon_running(made))


def test_a_second_init_app_is_refused(tmp_path: Path) -> None:
    """init_app twice on one app says what to do."""
    app = tokens.create_app(tmp_path)
    with pytest.raises(Exception, match="Call it once, in the place where the app is created"):
        tokens.neolith.init_app(app)


def test_a_forgotten_migration_is_named_before_the_page_fails(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without is_vp every query of a user fails; the commands that mend it are in the log before that."""
    db, neolith = tokens.db, tokens.neolith
    with running(tokens.create_app(tmp_path), neolith, db) as app:
        db.create_all()
        with db.engine.begin() as tx:
            tx.exec_driver_sql("ALTER TABLE user DROP COLUMN is_vp")
        app.config["PROPAGATE_EXCEPTIONS"] = False
        assert app.test_client().post("/login/1").status_code == 500
        named = [one for one in caplog.records if "flask neolith create-tables" in one.getMessage()]
        failed = [one for one in caplog.records if one.exc_info]
        assert named
        assert failed
        assert caplog.records.index(named[0]) < caplog.records.index(failed[0])
        for use in (lambda: neolith.chat, lambda: neolith.directory, lambda: neolith.manager.start_daemon("1")):
            with pytest.raises(SchemaMissing, match="flask db upgrade"):
                use()
        result = app.test_cli_runner().invoke(args=["neolith", "create-tables"])
        assert result.output.strip() == "user.is_vp"
        neolith.directory.create_organization("Home", "home")
        db.session.rollback()


def test_two_hosts_in_one_process(tmp_path: Path) -> None:
    """Two apps with different user models, databases and settings run side by side."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    one = tokens.create_app(folders[0], DAEMON_MAX_CONCURRENT_CONVERSATIONS=1)
    two = migrated.create_app(folders[1], DAEMON_MAX_CONCURRENT_CONVERSATIONS=2)
    with running(one, tokens.neolith, tokens.db), running(two, migrated.neolith, migrated.db, alone=False):
        made = {}
        for app, host, names in ((one, tokens, {"username": "ada"}), (two, migrated, {"full_name": "Ada"})):
            module: Any = host
            with app.app_context():
                module.db.create_all()
                ada = module.User(is_orchestrator=True, **names)
                module.db.session.add(ada)
                module.db.session.flush()
                home = module.neolith.directory.create_organization("Home", "home")
                made[app] = module.neolith.directory.create_orchestrator(str(ada.id), home, "ada")
                module.db.session.commit()
                module.neolith.manager.start_daemon(made[app])
        for app, host, limit in ((one, tokens, 1), (two, migrated, 2)):
            with app.app_context():
                daemon = host.neolith.manager.get_daemon(made[app])
                assert daemon is not None
                assert (daemon.is_running(), daemon.limit) == (True, limit)
