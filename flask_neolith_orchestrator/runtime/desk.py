"""The front desk: logins of orchestrators come and go here, on a thread of ours, never in the host's request."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Any, Literal

from ..core.errors import NeolithError, UnsupportedDatabase
from ..core.events import login_room
from ..core.ports import Channel
from ..core.types import Cause, Wanted
from ..settings import Settings
from ..store.stores import Stores
from .daemon import OrchestratorDaemon
from .duty import Duty

log = logging.getLogger("flask_neolith_orchestrator")

PATIENCE = 5.0
"""Seconds for which a user that is not committed yet is looked for."""

CACHE = 1.0
"""Seconds for which a look at a login is believed."""


@dataclass(frozen=True, slots=True)
class Note:
    """What a request left behind. `fresh` is a login by credentials, not by a cookie; `token` may be unknown."""

    kind: Literal["login", "logout", "logout-all", "login-user"]
    user_id: str
    token: str = ""
    fresh: bool = False
    reason: str = "logout"


class Desk:
    """Records logins and starts and stops daemons for them. Lifetime: app, in one process; safe for all threads.

    Notes are worked off one after another on one thread, which exists only while there are any.
    """

    def __init__(self, stores: Stores, settings: Settings, duty: Duty, channel: Channel, *, ttl: float) -> None:
        self._stores = stores
        self._settings = settings
        self._duty = duty
        self._lives = duty.manager.lives
        self._channel = channel
        self._ttl = ttl
        self._clock = stores.database.clock
        self._changed = threading.Condition()
        self._notes: list[tuple[float, float, Note]] = []
        self._busy = False
        self._seen: dict[str, float] = {}
        self._known: dict[str, tuple[float, bool]] = {}
        self._warned: set[str] = set()
        self._closed = False

    # -- from requests -------------------------------------------------------------------------------------

    def put(self, note: Note) -> None:
        """Hand over a note; returns at once. In a database that threads cannot share it is only warned."""
        self.put_later(note, 0.0)

    def put_later(self, note: Note, seconds: float) -> None:
        """Hand over a note that is worked off after some seconds."""
        if not self._stores.database.threads:
            self._warn_once("memory", UnsupportedDatabase.__doc__ or "")
            return
        now = self._clock.monotonic()
        with self._changed:
            if self._closed:
                return
            self._notes.append((now + seconds, now + seconds + PATIENCE, note))
            if self._busy:
                self._changed.notify_all()
                return
            self._busy = True
        threading.Thread(target=self._run, name="neolith-desk", daemon=True).start()

    def seen(self, token: str, user_id: str) -> None:
        """An authenticated orchestrator came with this token: costs a dictionary look-up, except at first."""
        now = self._clock.monotonic()
        first = token not in self._seen
        self._seen[token] = self._clock.wall()
        if first or (token in self._known and now - self._known[token][0] > self._ttl):
            self.put(Note("login", user_id, token))

    def is_live(self, token: str) -> bool:
        """Whether a login goes on. A token that has not been recorded yet does."""
        if not self._stores.database.threads:
            return True
        now = self._clock.monotonic()
        known = self._known.get(token)
        if known is None or (known[1] and now - known[0] > CACHE):
            with self._stores.database.read() as tx:
                known = (now, not self._stores.logins.ended_of(tx, [token]))
            self._known[token] = known
        return known[1]

    def wait_idle(self, timeout: float) -> bool:
        """Wait until all notes are worked off (for tests and the end of a process)."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy, timeout)

    # -- on our thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._notes or self._closed:
                    self._busy = False
                    self._changed.notify_all()
                    return
                due, deadline, note = min(self._notes, key=lambda one: one[0])
                wait = due - self._clock.monotonic()
                if wait > 0:
                    self._changed.wait(wait)
                    continue
                self._notes.remove((due, deadline, note))
            if not self._try(note) and self._clock.monotonic() < deadline:
                with self._changed:
                    self._notes.append((self._clock.monotonic() + 0.05, deadline, note))

    def _try(self, note: Note) -> bool:
        """Work a note off; False if its user is not there yet."""
        try:
            return self._work(note)
        except Exception:
            log.exception("A login could not be recorded", extra={"action": "login-failed"})
            return True

    def _work(self, note: Note) -> bool:
        with self._stores.database.read() as tx:
            orchestrator_id = self._stores.people.orchestrator_id(tx, note.user_id)
        if note.kind == "logout":
            self.end(note.token, note.reason)
            return True
        if orchestrator_id is None:
            return False
        if note.kind == "logout-all":
            self.end_all(orchestrator_id, note.reason)
        else:
            self._login(orchestrator_id, note)
        return True

    def _login(self, orchestrator_id: str, note: Note) -> None:
        stores = self._stores
        with stores.database.write() as tx:
            stores.daemons.ensure(tx, orchestrator_id)
            stores.daemons.lock(tx, orchestrator_id)
            new = stores.logins.record(tx, note.token, orchestrator_id)
            if not new and not stores.logins.is_live(tx, note.token):
                self._known[note.token] = (self._clock.monotonic(), False)
                return
            wanted = self._want(tx, orchestrator_id, note)
        if wanted:
            self._start(orchestrator_id)

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
        try:
            self._lives.run(daemon)
        except NeolithError as error:
            manager.emit("auto-start-error", orchestrator_id=orchestrator_id, error=error)
        except Exception as error:
            log.exception("A daemon could not be started", extra={"action": "auto-start-error"})
            manager.emit("auto-start-error", orchestrator_id=orchestrator_id, error=error)

    # -- ends ----------------------------------------------------------------------------------------------

    def end(self, token: str, reason: str) -> None:
        """End one login, cut its sockets, and stop the daemon if that was the last (see DAEMON_STOP_ON)."""
        stores = self._stores
        stop = False
        with stores.database.write() as tx:
            orchestrator_id = stores.logins.end(tx, token, reason)
            if orchestrator_id is not None:
                stores.daemons.lock(tx, orchestrator_id)
                stop = self._must_stop(tx, orchestrator_id)
        self._known[token] = (self._clock.monotonic(), False)
        self._seen.pop(token, None)
        self._channel.cut(login_room(token))
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
            self._known[token] = (self._clock.monotonic(), False)
            self._seen.pop(token, None)
            self._channel.cut(login_room(token))
        if stop:
            self._stop(orchestrator_id, reason)

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
        stores = self._stores
        seen = dict(self._seen)
        with stores.database.read() as tx:
            known = stores.logins.last_seen(tx, list(seen))
        due = {token: at for token, at in seen.items() if at - known.get(token, at) > min(60.0, self._ttl / 4)}
        if due:
            with stores.database.write() as tx:
                stores.logins.seen(tx, due)
        with stores.database.read() as tx:
            expired = stores.logins.expired(tx, self._ttl)
            old = stores.logins.prunable(tx, self._ttl)
        for token in expired:
            self.end(token, "login-expired")
        if old:
            with stores.database.write() as tx:
                stores.logins.prune(tx, self._ttl)

    def _warn_once(self, key: str, sentence: str) -> None:
        if key not in self._warned:
            self._warned.add(key)
            log.warning(" ".join(sentence.split()), extra={"action": f"login-{key}"})

    def close(self) -> None:
        """Take no more notes. Safe twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
