"""Login, cookie and logout hooks. A handler only writes a note into `g`; a thread of ours reads it afterwards.

The login is known by our own random token in the cookie session (Flask-Login's `_id` is equal for two browsers of
one kind). Nothing here runs SQL or raises into the host's request. Facts, measured: `request_finished` comes for
normal, streaming and failed answers but never for Socket.IO; `teardown_request` always comes, twice with
`stream_with_context`.
"""

from __future__ import annotations

import logging
import secrets
from typing import Any

from flask import Flask, Response, current_app, g, has_request_context, request, request_finished, session
from flask_login import current_user, user_accessed, user_loaded_from_cookie, user_logged_in, user_logged_out

from ..runtime.daemons.desk import PERSON, REMEMBERED, SOCKET
from ..runtime.daemons.notes import Note
from ..runtime.state import State

log = logging.getLogger("flask_neolith_orchestrator")

TOKEN = "_neolith_login"  # noqa: S105 -- the name of a key, not a secret
"""Where the token is in the cookie session."""

USER = "_neolith_user"
"""Whose token it is, so that a login as somebody else is seen."""

LIVENESS = "neolith.live"
"""The endpoint of `GET health/live`."""

GRACE = 10.0
"""Seconds for which the login of a socket without a token outlives the socket."""


def register(app: Flask, state: State) -> None:
    """Hear Flask-Login's signals for this app."""
    hooks = Hooks(app, state)
    # this sender only: other apps are not ours. The signals hold bound methods weakly, and the state holds the hooks:
    # an app that a test forgets is gone
    user_logged_in.connect(hooks.on_login, sender=app)
    user_loaded_from_cookie.connect(hooks.on_cookie, sender=app)
    user_logged_out.connect(hooks.on_logout, sender=app)
    user_accessed.connect(hooks.on_access, sender=app)
    request_finished.connect(hooks.on_finished, sender=app)
    app.before_request(hooks.on_request)
    app.after_request(hooks.on_response)
    app.teardown_request(hooks.on_teardown)
    state.hooks = hooks


class Hooks:
    """What happens around a request. Lifetime: app. Every hook contains its own failures."""

    def __init__(self, app: Flask, state: State) -> None:
        self._app = app
        self._state = state
        self._sockets: dict[str, tuple[str, str]] = {}

    def on_request(self) -> None:
        """First sign of life. The very first request of a process waits until a forgotten migration has been named."""
        if request.endpoint != LIVENESS:  # whoever asks that must not wait for the database
            self._contained(self._state.begin)

    def on_login(self, _sender: object, user: Any = None, **_: object) -> None:
        """`user_logged_in`: by credentials."""
        self._contained(self._note_login, user, fresh=True)

    def on_cookie(self, _sender: object, user: Any = None, **_: object) -> None:
        """`user_loaded_from_cookie`: remembered."""
        self._contained(self._note_login, user, fresh=False)

    def on_logout(self, _sender: object, **_: object) -> None:
        """`user_logged_out`: also sent for visitors who were nobody."""
        self._contained(self._note_logout)

    def on_access(self, _sender: object, **_: object) -> None:
        """`user_accessed`: keep the token before anybody clears the session."""
        self._contained(self._remember)

    def on_finished(self, _sender: object, **_: object) -> None:
        """`request_finished`: the request is over, hand the notes over."""
        self._contained(self.hand_over)

    def on_teardown(self, error: BaseException | None) -> None:
        """For a host's own Socket.IO handlers, which send no `request_finished`; nothing after an exception."""
        if error is None and has_request_context():
            self._contained(self.hand_over)

    @staticmethod
    def _contained(hook: Any, *arguments: Any, **keywords: Any) -> None:
        try:
            hook(*arguments, **keywords)
        except Exception:
            # the login itself always succeeds, whatever happens to us
            log.exception("A login hook failed", extra={"action": "login-hook-failed"})

    def _note_login(self, user: Any, *, fresh: bool) -> None:
        if not getattr(user, "is_orchestrator", False):
            self._note_person(self.user_id(user))
            return
        user_id = self.user_id(user)
        before = self._present()
        if session.get(USER) != user_id or TOKEN not in session or (fresh and not self._vouched(session[TOKEN])):
            session[TOKEN] = ("" if fresh else REMEMBERED) + secrets.token_urlsafe(32)
            session[USER] = user_id
        self._add(Note("login", user_id, session[TOKEN], fresh=fresh))
        # after the new one, so that the daemon does not stop in between
        if before is not None and before[0] != session[TOKEN]:
            self._add(Note("logout", before[1], before[0]))

    def _note_person(self, user_id: str) -> None:
        """A person's login has a token too, by which its sockets are cut; no note is taken of it."""
        before = self._present()
        token = session.get(TOKEN, "")
        if session.get(USER) != user_id or not token.startswith(PERSON) or not self._state.house.desk.is_live(token):
            session[TOKEN] = PERSON + secrets.token_urlsafe(32)
            session[USER] = user_id
        if before is not None and before[0] != session[TOKEN]:
            self._add(Note("logout", before[1], before[0]))

    def _vouched(self, token: str) -> bool:
        """Whether a token can be kept by a login by credentials: one that has ended is never revived."""
        return self._state.house.desk.vouches(token)

    def _note_logout(self) -> None:
        before = self._present()
        if before is not None:
            self._add(Note("logout", before[1], before[0]))
        session.pop(TOKEN, None)
        session.pop(USER, None)

    def _present(self) -> tuple[str, str] | None:
        """Token and user of the login that this request came with or got."""
        if TOKEN in session:
            return session[TOKEN], session.get(USER, "")
        kept: tuple[str, str] | None = g.get("neolith_login")
        return kept

    def _remember(self) -> None:
        if has_request_context() and "neolith_login" not in g and (token := session.get(TOKEN)):
            g.neolith_login = (token, session.get(USER, ""))

    @staticmethod
    def _add(note: Note) -> None:
        notes = g.setdefault("neolith_notes", [])
        if note not in notes:
            notes.append(note)

    def hand_over(self) -> None:
        """Give this request's notes to the desk, once, and see whether its login has silently ended."""
        notes: list[Note] = g.pop("neolith_notes", [])
        ended = self._silently_ended()
        if ended is not None and ended not in notes:
            notes.append(ended)
        for note in notes:
            self._state.house.desk.put(note)
        if "neolith_told" not in g:  # a request that brought a login has not come back with its cookie yet
            g.neolith_told = True
            if not notes:
                self._seen()

    def _silently_ended(self) -> Note | None:
        """The login this request came with, if the session that goes out no longer has it."""
        if not session.modified or g.get("neolith_looked"):
            return None
        g.neolith_looked = True
        came = current_app.session_interface.open_session(self._app, request)
        before = None if came is None else came.get(TOKEN)
        if came is None or not before or before == session.get(TOKEN):
            return None
        return Note("logout", came.get(USER, ""), before)

    def _seen(self) -> None:
        token, user_id = session.get(TOKEN), session.get(USER)
        if token and user_id and session.get("_user_id") and not token.startswith(PERSON):
            self._state.house.desk.seen(token, user_id)

    def on_response(self, response: Response) -> Response:
        """Who was logged in before we were installed gets a token with this answer."""
        self._contained(self._adopt)
        return response

    def _adopt(self) -> None:
        user = g.get("_login_user")
        if not getattr(user, "is_authenticated", False) or not session.get("_user_id"):
            return
        token = session.get(TOKEN)
        if token is None:
            self._note_login(user, fresh=False)
        elif self._state.house.desk.takes_owed(token):
            # credentials were shown under a token that another process had ended: they get one of their own now
            self._note_login(user, fresh=True)

    def user_id(self, user: Any) -> str:
        """`str(primary key)` of a user of the host, never `get_id()`, which may be an alternative token."""
        return self._state.models.user_id(user)

    def socket_connected(self, sid: str) -> str | None:
        """A socket of an orchestrator: returns its login's token; one without a token is a login of its own."""
        if not getattr(current_user, "is_orchestrator", False):
            return session.get(TOKEN)
        user_id = self.user_id(current_user)
        token = session.get(TOKEN) or f"{SOCKET}{sid}"
        desk = self._state.house.desk
        self._sockets[sid] = (token, user_id)
        if session.get(TOKEN):
            desk.seen(token, user_id)
        else:
            desk.put(Note("login", user_id, token))
        return token

    def socket_seen(self) -> None:
        """Open sockets count as seen."""
        desk = self._state.house.desk
        for token, user_id in list(self._sockets.values()):
            desk.seen(token, user_id)

    def socket_disconnected(self, sid: str) -> None:
        """A socket has gone; a login that was only a socket ends a little later, unless it comes back."""
        token, user_id = self._sockets.pop(sid, ("", ""))
        if token.startswith(SOCKET):
            self._state.house.desk.put_later(Note("logout", user_id, token, reason="socket-closed"), GRACE)

    def is_live(self, token: str | None) -> bool:
        """Whether the login of a socket goes on."""
        return token is None or self._state.house.desk.is_live(token)
