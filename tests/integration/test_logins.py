"""Logins of orchestrators: which request begins and ends which login, and what becomes of the daemon."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask, Request, Response, session
from flask.sessions import SecureCookieSession, SessionInterface, SessionMixin
from flask_login import current_user, logout_user, user_logged_in
from sqlalchemy import Engine, event

from flask_neolith_orchestrator.runtime.daemons import desk as desks
from flask_neolith_orchestrator.runtime.daemons import notes
from flask_neolith_orchestrator.runtime.daemons.notes import Note
from flask_neolith_orchestrator.testing import ManualClock

from .conftest import MakeWorld
from .login_app import Browser, LoginWorld
from .world import until

MakeLogins = Callable[..., LoginWorld]


@pytest.fixture
def make_logins(make_world: MakeWorld) -> MakeLogins:
    """Makes worlds with flask-login."""

    def make(**config: Any) -> LoginWorld:
        return LoginWorld(make_world(**config))

    return make


@pytest.fixture
def logins(make_logins: MakeLogins) -> LoginWorld:
    """One world with ann, bob, and the orchestrators ada and leo."""
    return make_logins(orchestrators=("ada", "leo"))


def test_a_login_starts_and_the_logout_stops(logins: LoginWorld) -> None:
    """An orchestrator's login starts its daemon, its logout stops it, and both are told once."""
    browser = logins.browser()
    browser.post("/login/ada")
    logins.await_running()
    assert logins.live() == [browser.token()]
    browser.post("/logout")
    logins.await_stopped()
    assert list(logins.ended().values()) == ["logout"]
    told = [one["status"] for one in logins.world.channel.of("presence")]
    assert told == ["ONLINE", "OFFLINE"]


def test_a_login_is_not_undone_by_the_start_of_the_process(logins: LoginWorld) -> None:
    """The very first request of a process may be a login: its daemon starts once the process has joined the others."""
    node, desk, early, noted = logins.world.house.node, logins.world.house.desk, [], threading.Event()
    join, put = node.join, desk.put

    def noting(note: Note) -> None:
        put(note)
        noted.set()

    def slowly() -> None:
        pause = threading.Event()
        assert noted.wait(10)
        for _ in range(30):  # time enough for a daemon that does not wait
            early.extend(logins.world.house.manager.get_running_daemons())
            pause.wait(0.01)
        join()

    node.join = slowly  # type: ignore[method-assign]  # a start that takes its time
    desk.put = noting  # type: ignore[method-assign]  # and begins after the login
    logins.browser().post("/login/ada")
    logins.await_running()
    assert early == []
    assert logins.state().status == "running"
    assert logins.world.rows("Orchestrator")[0]["status"] == "ONLINE"


def test_people_who_log_in_are_none_of_our_business(logins: LoginWorld) -> None:
    """A person's login leaves no row and no daemon: only a token, by which its sockets are cut when it ends."""
    browser = logins.browser()
    browser.post("/login/ann")
    assert browser.me() == "ann"
    token = browser.token()
    assert str(token).startswith("p-")
    assert logins.world.rows("Login") == []
    browser.post("/logout")
    until(lambda: logins.world.channel.cuts == [f"login:{token}"], "a cut room")
    assert logins.world.rows("Login") == []


def test_repeated_logins_are_one(logins: LoginWorld) -> None:
    """Logging in again in the same browser is harmless: the same login, and its sockets stay."""
    browser = logins.browser()
    for _ in range(3):
        browser.post("/login/ada")
    assert len(logins.live()) == 1
    assert logins.ended() == {}
    assert logins.world.channel.cuts == []


def test_two_browsers_of_one_kind_are_two_logins(logins: LoginWorld) -> None:
    """flask-login's own session id is equal for two such browsers; the daemon stops with the last of them."""
    first, second = logins.browser(), logins.browser()
    first.post("/login/ada")
    second.post("/login/ada")
    assert len(logins.live()) == 2
    first.post("/logout")
    assert logins.live() == [second.token()]
    assert logins.state().wanted == "running"
    logins.await_running()
    second.post("/logout")
    logins.await_stopped()


def test_an_anonymous_logout_ends_nothing(logins: LoginWorld) -> None:
    """flask-login tells of the logout of nobody too."""
    logins.browser().post("/login/ada")
    logins.browser().post("/logout")
    assert len(logins.live()) == 1
    assert logins.state().wanted == "running"


def test_an_inactive_user_does_not_log_in(logins: LoginWorld) -> None:
    """A login that flask-login refuses is none."""
    assert logins.browser().post("/login-inactive/ada").text == "False"
    assert logins.world.rows("Login") == []


@pytest.mark.parametrize("path", ["/login/ada", "/logout", "/me"])
def test_a_hook_that_fails_never_fails_the_request(
    logins: LoginWorld, path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever breaks in our handlers, the host's login, logout and every other request succeed; it is logged."""
    browser = logins.browser()
    browser.post("/login/ada")

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    hooks = logins.world.app.extensions["neolith"].hooks
    for name in ("_note_login", "_note_logout", "_remember", "hand_over", "_adopt"):
        monkeypatch.setattr(hooks, name, broken)
    answer = browser.client.open(path, method="GET" if path == "/me" else "POST")
    assert answer.status_code == 200
    assert "A login hook failed" in caplog.text


def test_the_login_request_runs_no_sql_of_ours(logins: LoginWorld) -> None:
    """The handler writes a note; every statement on our tables runs on a thread of ours."""
    browser, mine = logins.browser(), threading.get_ident()
    statements: list[str] = []

    def heard(_c: object, _u: object, statement: str, *_: object) -> None:
        if threading.get_ident() == mine and "neolith_" in statement:
            statements.append(statement)

    event.listen(Engine, "before_cursor_execute", heard)
    try:
        browser.client.post("/login/ada")
        browser.client.get("/me")
        browser.client.post("/logout")
    finally:
        event.remove(Engine, "before_cursor_execute", heard)
    logins.settle()
    assert statements == []
    assert len(logins.ended()) == 1


def test_clearing_the_session_ends_the_login(logins: LoginWorld) -> None:
    """session.clear() alone sends no signal, and ends the login all the same."""
    browser = logins.browser()
    browser.post("/login/ada")
    browser.post("/clear")
    assert logins.live() == []
    logins.await_stopped()


def test_clear_and_logout_with_a_remember_cookie_end_the_login(logins: LoginWorld) -> None:
    """The token is gone from the session when the logout is told, and the remember cookie logs nobody in again."""
    browser = logins.browser()
    browser.post("/remember/ada")
    token = browser.token()
    browser.post("/clear-logout")
    assert token in logins.ended()
    assert logins.live() == []
    assert browser.me() == "nobody"
    logins.await_stopped()


def test_a_remembered_user_is_a_new_login(logins: LoginWorld) -> None:
    """After session.clear() alone the remember cookie is a login of its own, with a token of its own."""
    browser = logins.browser()
    browser.post("/remember/ada")
    first = browser.token()
    browser.post("/clear")
    assert browser.me() == "ada"
    assert logins.live() == [browser.token()]
    assert browser.token() != first
    logins.await_running()


class ServerSide(SessionInterface):
    """Sessions that are kept in the server, as Flask-Session does: the cookie is only their name."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession:
        """What is kept now, which after an answer is what that answer left."""
        return SecureCookieSession(self.kept.get(request.cookies.get("sid", ""), {}))

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Keep it for the one browser of the test."""
        self.kept["one"] = dict(session)
        response.set_cookie("sid", "one")


def test_sessions_in_the_server_end_too(logins: LoginWorld) -> None:
    """The session of before cannot be read again there; the token was copied when the user was looked at."""
    interface = logins.world.app.session_interface = ServerSide()
    browser = logins.browser()

    @logins.world.app.post("/leave")
    def leave() -> str:
        name = str(current_user.name)
        session.clear()
        logout_user()
        return name

    browser.post("/login/ada")
    token = interface.kept["one"]["_neolith_login"]
    assert browser.post("/leave").text == "ada"
    assert list(logins.ended()) == [token]


@pytest.mark.parametrize("how", ["/login", "/swap"])
def test_a_login_as_somebody_else_ends_the_first(logins: LoginWorld, how: str) -> None:
    """One browser is one login: ada's ends when leo logs in there, with and without session.clear()."""
    browser = logins.browser()
    browser.post("/login/ada")
    first = browser.token()
    browser.post(f"{how}/leo")
    assert list(logins.ended()) == [first]
    assert logins.live() == [browser.token()]
    logins.await_stopped("ada")
    logins.await_running("leo")


@pytest.mark.parametrize("how", ["/login", "/swap"])
def test_a_plain_user_in_the_same_browser_ends_it_too(logins: LoginWorld, how: str) -> None:
    """When ann logs in where ada was, ada has left."""
    browser = logins.browser()
    browser.post("/login/ada")
    browser.post(f"{how}/ann")
    assert logins.live() == []
    logins.await_stopped()


def test_the_same_user_in_a_cleared_session_never_stops(logins: LoginWorld) -> None:
    """session.clear(); login_user(ada): a new login that begins before the old one ends."""
    browser = logins.browser()
    browser.post("/login/ada")
    logins.await_running()
    first = browser.token()
    browser.post("/swap/ada")
    assert list(logins.ended()) == [first]
    assert logins.live() == [browser.token()]
    assert [one["status"] for one in logins.world.channel.of("presence")] == ["ONLINE"]


def test_a_streamed_answer_logs_in(logins: LoginWorld) -> None:
    """A login whose answer is streamed counts once."""
    browser = logins.browser()
    assert browser.post("/login-stream/ada").text == "first, ada"
    assert logins.live() == [browser.token()]


def test_an_answer_that_fails_still_logged_in(logins: LoginWorld) -> None:
    """The cookie of a 500 answer is a cookie: whoever logged in before the failure is logged in."""
    logins.world.app.config["PROPAGATE_EXCEPTIONS"] = False
    browser = logins.browser()
    browser.post("/login-500/ada", expect=500)
    assert browser.me() == "ada"
    assert logins.live() == [browser.token()]


def test_an_exception_that_leaves_no_answer_is_no_login(logins: LoginWorld) -> None:
    """Without an answer there is no cookie, so nobody is logged in."""
    logins.world.app.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(ValueError, match="ada"):
        logins.browser().client.post("/login-500/ada")
    logins.settle()
    assert logins.world.rows("Login") == []


def test_who_was_logged_in_before_us_is_recorded_when_seen(logins: LoginWorld) -> None:
    """A session from before the extension was installed gets a token with its next answer."""
    browser = logins.browser()
    with browser.client.session_transaction() as kept:
        kept["_user_id"] = logins.world.ids["ada"]
        kept["_fresh"] = True
    assert browser.me() == "ada"
    assert logins.live() == [browser.token()]
    logins.await_running()


def test_an_ended_token_is_never_revived(logins: LoginWorld) -> None:
    """A cookie that was copied before the logout logs nobody in again."""
    browser, thief = logins.browser(), logins.browser()
    browser.post("/login/ada")
    with browser.client.session_transaction() as kept:
        copy = dict(kept)
    browser.post("/logout")
    with thief.client.session_transaction() as kept:
        kept.update(copy)
    assert thief.me() == "ada"  # for the host this cookie is good
    assert logins.live() == []
    assert logins.state().wanted == "stopped"


def test_a_login_after_an_end_elsewhere_counts(logins: LoginWorld) -> None:
    """A browser that still has the token of a login that was ended by the user's id can log in again."""
    browser = logins.browser()
    browser.post("/login/ada")
    first = browser.token()
    with logins.world.context():
        logins.world.neolith.manager.on_user_logout(logins.world.ids["ada"])
    logins.settle()
    logins.await_stopped()
    browser.post("/login/ada")
    assert browser.token() != first
    assert logins.live() == [browser.token()]
    logins.await_running()


def test_a_login_under_a_token_that_another_process_ended_counts_with_the_next_request(logins: LoginWorld) -> None:
    """This process believes the token good; the database knows better, and the next answer brings a new one."""
    browser = logins.browser()
    browser.post("/login/ada")
    first = browser.token()
    world = logins.world
    with world.stores.database.write() as tx:  # as another process does
        world.stores.logins.end_all(tx, world.ada, "logout")
    browser.post("/login/ada")  # the sweep may have told this process meanwhile: then the new token comes at once
    logins.settle()
    assert browser.me() == "ada"
    assert browser.token() != first
    assert logins.live() == [browser.token()]


def test_a_logout_overtakes_its_own_login(logins: LoginWorld) -> None:
    """A logout that is worked off before its login was recorded, here or elsewhere, still ends it."""
    world = logins.world
    desk = world.house.desk
    desk.end("quick", "logout", world.ids["ada"])
    desk.put(Note("login", world.ids["ada"], "quick", fresh=True))
    logins.settle()
    assert logins.live() == []
    assert logins.state().wanted == "stopped"


def test_a_row_that_commits_late_is_found(logins: LoginWorld) -> None:
    """A sign-up that logs in before it commits is a login, within 5 s of the commit."""
    looked = threading.Event()
    world = logins.world
    world.house.ensure_started()  # the start writes, and on SQLite it waits for the sign-up's open transaction
    find, people = world.house.people.orchestrator_id, world.house.people

    def looking(tx: Any, user_id: str) -> str | None:
        found = find(tx, user_id)
        if found is None and logins.gate.reached.is_set():
            looked.set()
        return found

    people.orchestrator_id = looking  # type: ignore[method-assign]  # a look that can be waited for
    answers: list[str] = []

    def sign_up() -> None:
        answers.append(logins.browser().client.post("/login-late/new").text)

    request = threading.Thread(target=sign_up)
    request.start()
    assert logins.gate.reached.wait(10)
    assert looked.wait(10)
    assert world.rows("Login") == []
    logins.gate.open.set()
    request.join(10)
    assert answers == ["late"]
    until(lambda: len(logins.live()) == 1, "the late user's login", timeout=notes.PATIENCE)
    logins.await_running("new")


def test_a_login_survives_a_database_that_fails(logins: LoginWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A note is not lost because the database could not be used just then."""
    desk, failures = logins.world.house.desk, [RuntimeError("away"), RuntimeError("still away")]
    login = desk._login

    def failing(orchestrator_id: str, note: Note) -> None:
        if failures:
            raise failures.pop()
        login(orchestrator_id, note)

    monkeypatch.setattr(desk, "_login", failing)
    browser = logins.browser()
    browser.post("/login/ada")
    assert logins.live() == [browser.token()]
    assert failures == []


def test_a_persons_start_survives_logouts(logins: LoginWorld) -> None:
    """What a person started, no logout stops."""
    browser = logins.browser()
    logins.world.start("ada")
    browser.post("/login/ada")
    browser.post("/logout")
    assert logins.state().status == "running"
    assert logins.state().cause == "person"


def test_a_persons_stop_survives_cookie_loads_but_no_fresh_login(logins: LoginWorld) -> None:
    """A remember cookie does not undo a person's stop; credentials do."""
    browser = logins.browser()
    browser.post("/remember/ada")
    logins.await_running()
    with logins.world.context():
        logins.world.neolith.manager.stop_daemon(logins.world.ada)
    browser.post("/clear")
    assert browser.me() == "ada"
    assert len(logins.live()) == 1
    assert logins.state().wanted == "stopped"
    browser.post("/login/ada")
    logins.await_running()


def test_a_logout_by_the_users_id_ends_all(logins: LoginWorld) -> None:
    """on_user_logout(user_id) ends every login of the user, cuts their sockets and stops the daemon."""
    browsers = [logins.browser() for _ in range(3)]
    for browser in browsers:
        browser.post("/login/ada")
    tokens = {browser.token() for browser in browsers}
    with logins.world.context():
        logins.world.neolith.manager.on_user_logout(logins.world.ids["ada"])
    logins.settle()
    assert set(logins.ended()) == tokens
    assert set(logins.world.channel.cuts) == {f"login:{token}" for token in tokens}
    logins.await_stopped()


def test_a_login_without_flask_login_can_come_again(logins: LoginWorld) -> None:
    """on_user_login takes an id, a row or a snapshot, and works again after on_user_logout."""
    world = logins.world
    with world.context():
        manager = world.neolith.manager
        snapshot = manager.get_all_daemon_statuses()[0].orchestrator
        row = world.db.session.get(world.neolith.models.Orchestrator, int(world.ada))
        user = world.db.session.get(world.user, int(world.ids["ada"]))
        for who in (world.ids["ada"], int(world.ids["ada"]), snapshot, row, user):
            manager.on_user_login(who)
            manager.on_user_login(who)
            logins.settle()
            assert len(logins.live()) == 1, who
            logins.await_running()
            manager.on_user_logout(world.ids["ada"])
            logins.settle()
            assert logins.live() == [], who
            logins.await_stopped()


def test_with_the_mode_off_logins_are_recorded_and_nothing_runs(
    make_logins: MakeLogins, caplog: pytest.LogCaptureFixture
) -> None:
    """One WARNING at the first login; wanted stays as it was, and no daemon starts."""
    logins = make_logins(ORCHESTRATOR_MODE=False)
    for _ in range(2):
        logins.browser().post("/login/ada")
    assert len(logins.live()) == 2
    assert logins.state().wanted == "stopped"
    assert caplog.text.count("ORCHESTRATOR_MODE is off") == 1


@pytest.fixture
def timed(make_logins: MakeLogins) -> tuple[LoginWorld, ManualClock]:
    """A world whose clock moves when told, with sessions of an hour."""
    clock = ManualClock()
    logins = make_logins(clock=clock, PERMANENT_SESSION_LIFETIME=timedelta(hours=1))
    return logins, clock


def test_a_login_that_is_not_seen_expires(timed: tuple[LoginWorld, ManualClock]) -> None:
    """Expiry sends no signal: the sweep ends logins not seen for the session's lifetime, and says why."""
    logins, clock = timed
    used, idle = logins.browser(), logins.browser()
    used.post("/login/ada")
    idle.post("/login/ada")
    clock.advance(3_000)
    assert used.me() == "ada"
    logins.world.house.desk.sweep()
    clock.advance(1_000)
    logins.world.house.desk.sweep()
    assert logins.ended() == {idle.token(): "login-expired"}
    assert logins.live() == [used.token()]
    clock.advance(4_000)
    logins.world.house.desk.sweep()
    assert logins.live() == []
    logins.await_stopped()


def test_an_ended_login_is_kept_while_its_cookie_still_comes(timed: tuple[LoginWorld, ManualClock]) -> None:
    """Forgotten too early, a cookie that is still sent would begin the login again."""
    logins, clock = timed
    browser = logins.browser()
    browser.post("/login/ada")
    logins.world.house.desk.end_all(logins.world.ada, "logout")
    for _ in range(4):
        clock.advance(1_800)
        browser.me()
        logins.world.house.desk.sweep()
    assert logins.live() == []
    assert list(logins.ended()) == [browser.token()]
    for _ in range(2):
        clock.advance(4_000)
        logins.world.house.desk.sweep()
    assert logins.world.rows("Login") == []
    assert len(logins.world.house.desk.memory) == 0


def test_of_tokens_minted_at_once_the_unused_end(timed: tuple[LoginWorld, ManualClock]) -> None:
    """Several requests with one remember cookie mint several tokens; those that never come back end soon."""
    logins, clock = timed
    browser = logins.browser()
    browser.post("/remember/ada")
    browser.post("/clear")
    twin = logins.browser()
    cookie = browser.client.get_cookie("remember")
    assert cookie is not None
    twin.client.set_cookie("remember", cookie.value)
    lost, kept = twin, browser
    assert (lost.me(), kept.me()) == ("ada", "ada")
    clock.advance(1)
    assert kept.me() == "ada"
    clock.advance(desks.UNUSED)
    logins.world.house.desk.sweep()
    assert logins.live() == [kept.token()]
    assert logins.ended()[str(lost.token())] == "login-unused"


def test_a_socket_without_a_token_is_a_login_of_its_own(timed: tuple[LoginWorld, ManualClock]) -> None:
    """It ends with the socket after a grace, and with the process that had it."""
    logins, clock = timed
    world, desk = logins.world, logins.world.house.desk
    desk.put(Note("login", world.ids["ada"], "socket:one"))
    desk.put(Note("login", world.ids["ada"], "socket:of-a-dead-process"))
    logins.settle()
    for _ in range(3):
        clock.advance(desks.SOCKET_TTL / 2)
        desk.seen("socket:one", world.ids["ada"])
        desk.sweep()
    assert logins.live() == ["socket:one"]
    desk.put_later(Note("logout", world.ids["ada"], "socket:one", reason="socket-closed"), 10.0)
    logins.settle()
    assert logins.live() == ["socket:one"]
    clock.advance(11)
    desk.put(Note("logout", "", "nobody's"))  # wakes the desk's thread, which waits by the test's clock
    until(lambda: not logins.live(), "the end of the socket's login")
    assert logins.ended()["socket:one"] == "socket-closed"


def test_a_login_in_another_app_is_not_ours(make_logins: MakeLogins) -> None:
    """Two apps in one process: a login in one starts nobody in the other."""
    one = make_logins()
    other = make_logins()
    one.browser().post("/login/ada")
    one.await_running()
    other.settle()
    assert other.world.rows("Login") == []


def test_a_hosts_own_login_handler_that_raises_is_the_hosts(logins: LoginWorld) -> None:
    """A handler of the host that raises is told to the host as before; ours has done its part or not at all."""

    def broken(_sender: object, **_: object) -> None:
        raise RuntimeError("the host's own")

    with user_logged_in.connected_to(broken, logins.world.app):
        logins.world.app.config["PROPAGATE_EXCEPTIONS"] = False
        logging.getLogger("world").setLevel(logging.CRITICAL)
        logins.browser().post("/login/ada", expect=500)
    browser: Browser = logins.browser()
    browser.post("/login/ada")
    assert browser.token() in logins.live()
