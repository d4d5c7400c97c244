"""The Socket.IO namespace /neolith: who connects, into which rooms, and what clients may ask.

Rooms are chosen here and never named by a client. A socket lives longer than the request that opened it, so
every event asks again who this is and what it may.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flask import current_app, request, session
from flask_socketio import (
    ConnectionRefusedError,  # noqa: A004 -- the library's own name for it
    Namespace,
    emit,
    join_room,
    leave_room,
)

from ..core.errors import Forbidden
from ..core.events import channel_room, login_room, organization_room, user_room, watch_room
from ..runtime.broadcast.news import presence_payload
from ..runtime.state import State
from .auth import Identity, by_cookie, by_key, by_key_id, key_room, shown_key
from .login import TOKEN
from .problem import Problem, problem_of, unauthenticated
from .rights import Rights
from .shapes import Body, validated
from .socket_bodies import AnswerBody, ChannelBody, DecideBody, SendBody, WatchBody
from .socket_rooms import RoomKeeper, Rooms, enter_channels

NAMESPACE: Final = "/neolith"

_ENVIRON: Final = "neolith.socket"


@dataclass(frozen=True, slots=True)
class Socket:
    """Who opened a socket. Lifetime: the connection."""

    user_id: str
    token: str | None
    key_id: str | None


Reaction = Callable[["State", Identity, Any], Mapping[str, Any]]


def register_sockets(socketio: Any, state: State) -> None:
    """Put the namespace onto a SocketIO object, whether or not it has an app yet.

    One SocketIO may serve several apps: the handlers ask the app of the event for its state.
    """
    namespace = NeolithNamespace()
    socketio.on_namespace(namespace)
    # a SocketIO that gets another app later makes a new server and remembers only what came before the first
    if namespace not in socketio.namespace_handlers:
        socketio.namespace_handlers.append(namespace)
    channel = state.wiring.channel
    if isinstance(channel, RoomKeeper):
        state.memberships.append(Rooms(channel))


class NeolithNamespace(Namespace):  # type: ignore[misc]  # flask_socketio has no types
    """The handlers. Lifetime: the SocketIO object's."""

    def __init__(self) -> None:
        super().__init__(NAMESPACE)
        events: tuple[tuple[str, type[Body], str, Reaction], ...] = (
            ("channel:join", ChannelBody, "messages:read", _join),
            ("channel:leave", ChannelBody, "messages:read", _leave),
            ("message:send", SendBody, "messages:write", _send),
            ("message:stop", AnswerBody, "messages:write", _stop),
            ("message:regenerate", AnswerBody, "messages:write", _regenerate),
            ("message:retry", AnswerBody, "messages:write", _retry),
            ("approval:decide", DecideBody, "messages:write", _decide),
            ("dashboard:watch", WatchBody, "orchestrators:read", _watch),
        )
        for event, model, scope, react in events:
            setattr(self, f"on_{event}", _handler(event, model, scope, react))

    def on_connect(self, auth: object = None) -> None:
        """Let in whoever is known, into the rooms that are theirs."""
        state = _state_of_app()
        try:
            state.ensure_started()
            _enter(state, auth)
        except Exception as error:  # noqa: BLE001 -- the border: problem_of logs what is not a client's
            _roll_back(state)
            problem = problem_of(error, action="socket-connect")
            raise ConnectionRefusedError(problem.detail or problem.code, problem.body()) from None

    def on_disconnect(self, *_reason: object) -> None:
        """The socket is gone."""
        state = _state_of_app()
        try:
            state.hooks.socket_disconnected(_sid())
        except Exception as error:  # noqa: BLE001 -- the border: problem_of logs it
            problem_of(error, action="socket-disconnect")


def _state_of_app() -> State:
    state: State = current_app.extensions["neolith"]
    return state


def _sid() -> str:
    sid: str = request.sid  # type: ignore[attr-defined]  # flask_socketio puts it there
    return sid


def _enter(state: State, auth: object) -> None:
    identity = _who(state, auth)
    house = state.house
    if isinstance(house.channel, RoomKeeper):
        house.channel.hear()
    tx = house.session().connection()
    organizations = house.people.organizations_of(tx, identity.user_id) if identity.may("orchestrators:read") else {}
    _roll_back(state)
    # a key is no login: it starts and stops nobody
    token = None if identity.via_key else state.hooks.socket_connected(_sid())
    request.environ[_ENVIRON] = Socket(identity.user_id, token, identity.key_id)
    # what is told to a user alone (arguments of calls) is for whoever may read the user's messages
    rooms = [user_room(identity.user_id)] if identity.may("messages:read") else []
    rooms += [organization_room(one) for one in organizations]
    rooms += [login_room(token)] if token is not None else []
    rooms += [key_room(identity.key_id)] if identity.key_id is not None else []
    for room in rooms:
        join_room(room)
    try:
        if identity.may("messages:read"):
            enter_channels(state, identity.user_id)
        _known(state)  # what ended before the rooms were joined has not cut this socket
        # read only now, and dated before: what changes from here on is heard, and is newer than this list
        now = house.clock.wall()
        tx = house.session().connection()
        there = [one for one in house.people.snapshots(tx) if one.organization_id in organizations]
        paused = house.front.pauses.of(tx, [one.id for one in there])
    except Exception:
        state.hooks.socket_disconnected(_sid())
        raise
    _roll_back(state)
    shown = [presence_payload(one, one.status, now, paused.get(one.id)) for one in there]
    emit("presence:snapshot", shown, ignore_queue=True)


def _who(state: State, auth: object) -> Identity:
    shown = auth.get("token") if isinstance(auth, dict) else None
    if shown is None:
        shown = shown_key()
    if shown is not None:
        return by_key(state, shown if isinstance(shown, str) else "")
    identity = by_cookie(state)
    if identity is None:
        raise unauthenticated("Log in first, or connect with auth={token: 'nlk_...'}.")
    if not state.hooks.is_live(session.get(TOKEN)):
        raise unauthenticated("This login has ended.")
    return identity


def _known(state: State) -> Identity:
    """Who opened this socket, if that still holds."""
    socket = request.environ.get(_ENVIRON)
    if not isinstance(socket, Socket):
        raise unauthenticated()
    if socket.key_id is not None:
        return by_key_id(state, socket.key_id)
    identity = by_cookie(state)
    if identity is None or identity.user_id != socket.user_id:
        raise unauthenticated("This login has ended.")
    if not state.hooks.is_live(socket.token):
        raise unauthenticated("This login has ended.")
    return identity


def _handler(event: str, model: type[Body], scope: str, react: Reaction) -> Callable[..., dict[str, Any]]:
    def handle(*args: object) -> dict[str, Any]:
        state = _state_of_app()
        try:
            identity = _known(state)
            identity.require(scope)
            if len(args) != 1 or not isinstance(args[0], dict):
                raise Problem(422, f"{event} takes one object.", code="invalid")
            body = validated(model, args[0])
            answer = react(state, identity, body)
            state.house.session().commit()
        except Exception as error:  # noqa: BLE001 -- the border of the sockets: problem_of logs what is not a client's
            _roll_back(state)
            return {"ok": False, "error": problem_of(error, action=f"socket-{event}").body()}
        return {"ok": True, **answer}

    return handle


def _roll_back(state: State) -> None:
    try:
        state.house.session().rollback()
    except Exception as error:  # noqa: BLE001 -- the first error is the one to tell
        problem_of(error, action="socket-rollback")


def _join(state: State, identity: Identity, body: ChannelBody) -> dict[str, Any]:
    chat = state.house.chat
    chat.require_member(identity.user_id, body.channel_id)
    room = channel_room(body.channel_id)
    join_room(room)
    try:
        # somebody who was removed before the room was joined has not been taken out of it
        _roll_back(state)
        members = chat.members(identity.user_id, body.channel_id)
    except Exception:
        leave_room(room)
        raise
    return {"channelId": body.channel_id, "members": members}


def _leave(_state: State, _identity: Identity, body: ChannelBody) -> dict[str, Any]:
    leave_room(channel_room(body.channel_id))
    return {"channelId": body.channel_id}


def _send(state: State, identity: Identity, body: SendBody) -> dict[str, Any]:
    state.house.front.rates.post(identity.user_id)
    posted = state.house.chat.post(
        identity.user_id,
        body.channel_id,
        body.content,
        thread_id=body.thread_id,
        client_id=body.client_id,
        reply_to_id=body.reply_to_id,
    )
    return {"message": posted.message, "fresh": posted.fresh, "work": posted.work}


def _stop(state: State, identity: Identity, body: AnswerBody) -> dict[str, Any]:
    return state.house.chat.stop(identity.user_id, body.message_id)


def _regenerate(state: State, identity: Identity, body: AnswerBody) -> dict[str, Any]:
    state.house.front.rates.post(identity.user_id)
    return state.house.chat.regenerate(identity.user_id, body.message_id)


def _retry(state: State, identity: Identity, body: AnswerBody) -> dict[str, Any]:
    state.house.front.rates.post(identity.user_id)
    return state.house.chat.retry(identity.user_id, body.message_id)


def _decide(state: State, identity: Identity, body: DecideBody) -> dict[str, Any]:
    return state.house.chat.decide(
        identity.user_id,
        body.turn_id,
        body.decision,
        step_id=body.step_id,
        reason=body.reason,
        key_id=identity.key_id,
    )


def _watch(state: State, identity: Identity, _body: WatchBody) -> dict[str, Any]:
    rights = Rights(state, state.house.session().connection(), identity)
    if not rights.manages_anything():
        raise Forbidden
    for organization_id in rights.roles:
        join_room(watch_room(organization_id))
    return {"organizations": list(rights.roles)}
