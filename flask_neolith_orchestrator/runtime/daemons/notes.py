"""What requests leave for the front desk: notes, worked off one after another on one thread of ours."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ...core.errors import NeolithError
from ...core.ports import Clock

log = logging.getLogger("flask_neolith_orchestrator")

PATIENCE = 5.0
"""Seconds for which a user that is not committed yet is looked for."""

STUBBORN = 60.0
"""Seconds for which a note is tried again while the database cannot be used."""

AGAIN = 0.05
"""Seconds between two tries."""


@dataclass(frozen=True, slots=True)
class Note:
    """What a request left behind. `fresh` is a login by credentials, not by a cookie; `token` may be unknown.

    A login without a token is one that Flask-Login knows nothing of.
    """

    kind: Literal["login", "logout", "logout-all"]
    user_id: str
    token: str = ""
    fresh: bool = False
    reason: str = "logout"


@dataclass(slots=True)
class _Waiting:
    due: float
    since: float
    note: Note
    failed: bool = False


class NoteBox:
    """Works notes off in order, on one thread that exists only while there are any. Safe for all threads.

    `work` says whether a note is done; one that is not, or that raises, is tried again for a while, and then
    `give_up` is called. Lifetime: app, in one process.
    """

    def __init__(self, clock: Clock, work: Callable[[Note], bool], give_up: Callable[[Note], None]) -> None:
        self._clock = clock
        self._work = work
        self._give_up = give_up
        self._changed = threading.Condition()
        self._notes: list[_Waiting] = []
        self._busy = False
        self._working = False
        self._closed = False

    def put(self, note: Note, seconds: float = 0.0) -> None:
        """Hand over a note that is worked off after some seconds; returns at once."""
        now = self._clock.monotonic()
        with self._changed:
            if self._closed:
                return
            self._notes.append(_Waiting(now + seconds, now + seconds, note))
            if self._busy:
                self._changed.notify_all()
                return
            self._busy = True
        threading.Thread(target=self._run, name="neolith-desk", daemon=True).start()

    def forget_login(self, token: str) -> None:
        """Drop logins with this token that could not be worked off yet: they have ended meanwhile."""
        with self._changed:
            self._notes = [one for one in self._notes if one.note.kind != "login" or one.note.token != token]

    def wait_idle(self, timeout: float) -> bool:
        """Wait until nothing is due (notes for later may be left)."""
        with self._changed:
            return self._changed.wait_for(self._is_idle, timeout)

    def _is_idle(self) -> bool:
        now = self._clock.monotonic()
        return not self._busy or (not self._working and all(one.since > now for one in self._notes))

    def _run(self) -> None:
        while True:
            with self._changed:
                self._working = False
                self._changed.notify_all()
                if not self._notes or self._closed:
                    self._busy = False
                    return
                waiting = min(self._notes, key=lambda one: one.due)
                pause = waiting.due - self._clock.monotonic()
                if pause > 0:
                    self._changed.wait(pause)
                    continue
                self._notes.remove(waiting)
                self._working = True
            self._try(waiting)

    def _try(self, waiting: _Waiting) -> None:
        patience = PATIENCE
        try:
            if self._work(waiting.note):
                return
        except NeolithError as error:  # it says what to do, and trying again would not help
            log.error("A login could not be recorded: %s", error, extra={"action": "login-failed"})
            self._give_up(waiting.note)
            return
        except Exception:
            patience = STUBBORN
            if not waiting.failed:
                log.exception("A login could not be recorded yet", extra={"action": "login-failed"})
            waiting.failed = True
        now = self._clock.monotonic()
        if now - waiting.since >= patience:
            log.warning(
                "Given up: a %s of user %s, %s",
                waiting.note.kind,
                waiting.note.user_id,
                "the database cannot be used" if waiting.failed else "who has no orchestrator row",
                extra={"action": "login-given-up"},
            )
            self._give_up(waiting.note)
            return
        waiting.due = now + (1.0 if waiting.failed else AGAIN)
        with self._changed:
            self._notes.append(waiting)

    def close(self, seconds: float) -> None:
        """Take no more notes, and work off once what is there, also what was for later. Safe twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            ended = self._changed.wait_for(lambda: not self._busy, seconds)
            left, self._notes = self._notes, []
        for waiting in sorted(left, key=lambda one: one.due) if ended else ():
            self._try(waiting)
        self._notes.clear()
