"""The front desk: logins of orchestrators come and go here, on a thread of ours, never in the host's request."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from typing import Any

from ...core.errors import NeolithError, UnsupportedDatabase
from ...core.events import login_room
from ...core.ports import Channel
from ...core.types import Cause, Wanted
from ...settings import Settings
from ...store.stores import Stores
from .daemon import OrchestratorDaemon
from .duty import Duty
from .login_memory import LoginMemory
from .notes import Note, NoteBox

log = logging.getLogger("flask_neolith_orchestrator")

CACHE = 1.0
"""Seconds for which a look at a login is believed."""

SOCKET = "socket:"
"""What the token of a login begins with that is only a socket."""

REMEMBERED = "r-"
"""What the token of a login begins with that came by a cookie."""

PERSON = "p-"
"""What the token of a person's login begins with: no row tells of it, but its sockets are cut when it ends."""

UNUSED = 600.0
"""Seconds after which a remembered login ends whose token never came back: of several requests that a browser sends
at once, each mints one, and the browser keeps the last."""

SOCKET_TTL = 300.0
"""Seconds after which a login that is only a socket has ended, if no process has that socket open."""


class Desk:
    """Records logins and starts and stops daemons for them. Lifetime: app, in one process; safe for all threads."""

    def __init__(
        self,
        stores: Stores,
        settings: Settings,
        duty: Duty,
        channel: Channel,
        *,
        ttl: float,
        ensure_started: Callable[[], None],
    ) -> None:
        self._stores = stores
        self._settings = settings
        self._duty = duty
        self._lives = duty.manager.lives
        self._channel = channel
        self._ttl = ttl
        self._ensure_started = ensure_started
        self._clock = stores.database.clock
        self._box = NoteBox(self._clock, self._work, self._given_up)
        self.memory = LoginMemory(self._clock)
        self._owed: set[str] = set()
        self._warned: set[str] = set()
        self._closing = False

    def put(self, note: Note) -> None:
        """Hand over a note; returns at once. In a database that threads cannot share it is only warned."""
        self.put_later(note, 0.0)

    def put_later(self, note: Note, seconds: float) -> None:
        """Hand over a note that is worked off after some seconds."""
        if note.token.startswith(PERSON):
            threading.Thread(target=self._ended, args=(note.token,), name="neolith-cut", daemon=True).start()
        elif self._stores.database.threads:
            self._box.put(note, seconds)
        else:
            self._warn_once("memory", UnsupportedDatabase.__doc__ or "")

    def seen(self, token: str, user_id: str) -> None:
        """An authenticated orchestrator came with this token: costs a dictionary look-up, except at first."""
        if self.memory.see(token):
            self.put(Note("login", user_id, token))

    def is_live(self, token: str) -> bool:
        """Whether a login goes on. A token that has not been recorded yet does."""
        if token.startswith(PERSON):
            return self.memory.says_live(token, default=True)
        if not self._stores.database.threads:
            return True
        if not self.memory.is_fresh(token, CACHE):
            with self._stores.database.read() as tx:
                ended = self._stores.logins.ended_of(tx, [token])
            self.memory.confirm(token, not ended)
        return self.memory.says_live(token, default=True)

    def vouches(self, token: str) -> bool:
        """Whether this process knows that a login goes on, without asking anybody."""
        if not self._stores.database.threads:
            return True
        return self.memory.says_live(token, default=False)

    def takes_owed(self, token: str) -> bool:
        """Whether somebody logged in by credentials under a token that had ended; says so once."""
        if token not in self._owed:
            return False
        self._owed.discard(token)
        return True

    def wait_idle(self, timeout: float) -> bool:
        """Wait until all notes that are due are worked off (for tests and the end of a process)."""
        return self._box.wait_idle(timeout)

    def _work(self, note: Note) -> bool:
        """Work a note off; False if its user is not there yet."""
        if not self._closing:
            self._ensure_started()  # whoever ran in an earlier life is told to be gone before anybody starts
        if note.kind == "logout":
            self._box.forget_login(note.token)
            self.end(note.token, note.reason, note.user_id)
            return True
        with self._stores.database.read() as tx:
            orchestrator_id = self._stores.people.orchestrator_id(tx, note.user_id)
        if orchestrator_id is None:
            return False
        if note.kind == "logout-all":
            self.end_all(orchestrator_id, note.reason)
        else:
            self._login(orchestrator_id, note)
        return True

    def _given_up(self, note: Note) -> None:
        if note.kind == "login":
            self.memory.unsee(note.token)  # the next request tries again

    def _login(self, orchestrator_id: str, note: Note) -> None:
        stores = self._stores
        with stores.database.write() as tx:
            stores.daemons.ensure(tx, orchestrator_id)
            stores.daemons.lock(tx, orchestrator_id)
            token = note.token or self._manual_token(tx, orchestrator_id, note.user_id)
            new = stores.logins.record(tx, token, orchestrator_id)
            live = new or stores.logins.is_live(tx, token)
            if live and not new:
                stores.logins.seen(tx, {token: self._clock.wall()})
            wanted = live and self._want(tx, orchestrator_id, note)
        self.memory.learn(token, live)
        if not live and note.fresh:
            self._owed.add(token)
        if wanted:
            self._lives.wished()  # it runs in every process
            self._start(orchestrator_id)

    def _manual_token(self, tx: Any, orchestrator_id: str, user_id: str) -> str:
        """For a login that has no cookie: the one that goes on, or a new one, since an ended one stays ended."""
        prefix = f"manual:{user_id}:"
        live = [one for one in self._stores.logins.live_tokens(tx, orchestrator_id) if one.startswith(prefix)]
        return live[0] if live else (prefix + secrets.token_urlsafe(16))[-80:]

    def _want(self, tx: Any, orchestrator_id: str, note: Note) -> bool:
        """Whether this login makes the daemon wanted: a person's stop yields only to a fresh login."""
        if not self._settings.mode:
            self._warn_once("mode", "An orchestrator logged in, but ORCHESTRATOR_MODE is off: no daemon starts.")
            return False
        if not self._settings.auto_start:
            return False
        row = self._stores.daemons.rows(tx, [orchestrator_id])[orchestrator_id]
        if row.wanted == Wanted.RUNNING:
            return row.state != "error" or note.fresh
        if row.cause == Cause.PERSON and not note.fresh:
            return False
        self._stores.daemons.want(tx, orchestrator_id, Wanted.RUNNING, Cause.LOGIN)
        return True

    def _start(self, orchestrator_id: str) -> None:
        manager = self._duty.manager
        daemon = manager.daemon_for(orchestrator_id)
        # one that is just stopping takes its time: the sweep starts it again, and other logins do not wait for it
        if self._closing or not daemon.life.acquire(blocking=False):
            return
        try:
            self._lives.run(daemon)
        except Exception as error:
            if not isinstance(error, NeolithError):
                log.exception("A daemon could not be started", extra={"action": "auto-start-error"})
            manager.emit("auto-start-error", orchestrator_id=orchestrator_id, error=error)
        finally:
            daemon.life.release()

    def end(self, token: str, reason: str, user_id: str = "") -> None:
        """End one login, cut its sockets, and stop the daemon if that was the last (see DAEMON_STOP_ON)."""
        stores = self._stores
        stop = False
        with stores.database.write() as tx:
            orchestrator_id = stores.logins.end(tx, token, reason)
            if orchestrator_id is not None:
                stores.daemons.lock(tx, orchestrator_id)
                stop = self._must_stop(tx, orchestrator_id)
            elif user_id and (known := stores.people.orchestrator_id(tx, user_id)) is not None:
                # its login has not been recorded yet, perhaps by another process: when it is, it has ended
                stores.logins.record(tx, token, known)
                stores.logins.end(tx, token, reason)
        self._ended(token)
        if stop and orchestrator_id is not None:
            self._stop(orchestrator_id, reason)

    def end_all(self, orchestrator_id: str, reason: str) -> None:
        """End all logins of an orchestrator."""
        stores = self._stores
        with stores.database.write() as tx:
            stores.daemons.ensure(tx, orchestrator_id)
            stores.daemons.lock(tx, orchestrator_id)
            tokens = stores.logins.end_all(tx, orchestrator_id, reason)
            stop = self._must_stop(tx, orchestrator_id)
        for token in tokens:
            self._ended(token)
        if stop:
            self._stop(orchestrator_id, reason)

    def _ended(self, token: str) -> None:
        self.memory.learn(token, live=False)
        self.memory.unsee(token)
        self._channel.cut(login_room(token))

    def _must_stop(self, tx: Any, orchestrator_id: str) -> bool:
        """Whether an ended login stops the daemon; a person's start survives it."""
        stores, policy = self._stores, self._settings.stop_on
        row = stores.daemons.rows(tx, [orchestrator_id]).get(orchestrator_id)
        if row is None or row.wanted == Wanted.STOPPED or row.cause == Cause.PERSON or policy == "never":
            return False
        if policy == "last_logout" and stores.logins.live_tokens(tx, orchestrator_id):
            return False
        stores.daemons.want(tx, orchestrator_id, Wanted.STOPPED, Cause.LOGIN)
        return True

    def _stop(self, orchestrator_id: str, reason: str) -> None:
        self._lives.wished()
        daemon = self._duty.manager.daemon_for(orchestrator_id)
        # a stop waits for running turns: other logins must not wait for it
        self._duty.apart(daemon, lambda one: self._halt_unless_wanted(one, reason))

    def _halt_unless_wanted(self, daemon: OrchestratorDaemon, reason: str) -> None:
        with daemon.life:  # a login may have come meanwhile
            with self._stores.database.read() as tx:
                row = self._stores.daemons.rows(tx, [daemon.id])[daemon.id]
            if row.wanted == Wanted.STOPPED:
                self._lives.halt(daemon, reason)

    def sweep(self) -> None:
        """Write when logins were last seen, end those not seen for their lifetime, forget the long ended."""
        stores, seen = self._stores, self.memory.seen
        with stores.database.read() as tx:
            known = stores.logins.last_seen(tx, list(seen))
            ended = stores.logins.ended_of(tx, list(seen))
        due = {token: at for token, at in seen.items() if at - known.get(token, at) > min(60.0, self._ttl / 4)}
        if due:
            with stores.database.write() as tx:
                stores.logins.seen(tx, due)
        for token in known:
            self.memory.confirm(token, token not in ended)
        with stores.database.read() as tx:
            expired = stores.logins.expired(tx, self._ttl)
            expired += stores.logins.expired(tx, min(self._ttl, SOCKET_TTL), prefix=SOCKET)
            unused = stores.logins.unused(tx, UNUSED, prefix=REMEMBERED)
            old = stores.logins.prunable(tx, self._ttl)
        for token in dict.fromkeys(expired):
            self.end(token, "login-expired")
        for token in unused:
            self.end(token, "login-unused")
        if old:
            with stores.database.write() as tx:
                stores.logins.prune(tx, self._ttl)
        self.memory.forget(self._ttl)

    def _warn_once(self, key: str, sentence: str) -> None:
        if key not in self._warned:
            self._warned.add(key)
            log.warning(" ".join(sentence.split()), extra={"action": f"login-{key}"})

    def close(self, seconds: float = 2.0) -> None:
        """Take no more notes; what was said before is still written. Safe twice."""
        self._closing = True
        self._box.close(seconds)
