"""Flask-SocketIO as the way to browsers: rooms of the namespace /neolith, on this and on every other process."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..core.errors import UnsupportedServer
from ..core.events import activity_room, channel_room, user_room
from ..core.ports import Neighbours
from .socket_queue import MISSED, MessageQueue, is_queue

log = logging.getLogger("flask_neolith_orchestrator")

NAMESPACE: Final = "/neolith"

SETTLE: Final = 0.5
"""Seconds after which browsers look again that may have missed something: by then everybody is heard again."""

BATCH: Final = 100
"""Sockets that are closed at once for that; then others have a moment."""


def check_async_mode(socketio: Any) -> None:
    """Raise UnsupportedServer unless Flask-SocketIO runs on threads. Says nothing of one that has no app yet."""
    options = getattr(socketio, "server_options", {})
    mode = getattr(getattr(socketio, "server", None), "async_mode", None) or options.get("async_mode")
    if mode not in (None, "threading"):
        msg = f'Flask-SocketIO runs in async_mode "{mode}", but daemons need threads: SocketIO(async_mode="threading").'
        raise UnsupportedServer(msg)


def warn_of_open_origins(socketio: Any) -> bool:
    """Log one WARNING if any page of the web may connect with a visitor's cookie; True if so."""
    server = getattr(socketio, "server", None)
    if server is None:
        origins = getattr(socketio, "server_options", {}).get("cors_allowed_origins")
    else:
        origins = server.eio.cors_allowed_origins
    is_open = origins == "*" or (isinstance(origins, list) and ("*" in origins or not origins))
    if is_open:
        log.warning(
            "SocketIO(cors_allowed_origins=%r) lets every web page connect as its visitor; name your origins, or "
            "leave it out to allow only your own",
            origins,
            extra={"action": "open-origins"},
        )
    return is_open


class SocketIOChannel:
    """Implements `core.ports.Channel`, `Crowd` and `Posting`. For all threads; never raises.

    Lifetime: app, in one process.
    """

    def __init__(self, socketio: Any) -> None:
        self._socketio = socketio
        self._heard: Any = None
        self._neighbours: Neighbours | None = None
        self._queue: MessageQueue | None = None
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._catching_up = False
        self._warned = warn_of_open_origins(socketio)  # at start, as far as it is known by then

    def emit(self, event: str, payload: Mapping[str, Any], room: str) -> None:
        """Tell everybody in `room`, over the message queue also on other processes."""
        self._emit(event, dict(payload), room)

    def emit_list(self, event: str, payloads: Sequence[Mapping[str, Any]], room: str) -> None:
        """The same for many things at once."""
        self._emit(event, [dict(one) for one in payloads], room)

    def _emit(self, event: str, payload: object, room: str) -> None:
        try:
            self.hear()
            self._socketio.emit(event, payload, to=room, namespace=NAMESPACE)
            self._pass_on("emit", event, payload, room)
        except Exception:
            log.exception("%s was not sent", event, extra={"action": "emit-failed", "event": event})

    def live_beside(self, neighbours: Neighbours) -> None:
        """Where there is no message queue, let those processes hear what is emitted here, and hear them."""
        self._neighbours = neighbours
        neighbours.on("emit", self._emit_here)
        neighbours.on("order", self._obey)

    def _pass_on(self, kind: str, *what: object) -> None:
        if self._neighbours is not None and not is_queue(self._manager()):
            self._neighbours.tell(kind, *what)

    def _emit_here(self, event: str, payload: object, room: str) -> None:
        self._socketio.emit(event, payload, to=room, namespace=NAMESPACE, ignore_queue=True)

    def is_heard(self, room: str) -> bool:
        """Whether anybody is in `room` here; elsewhere somebody may be, where other processes hear this one."""
        manager = self._manager()
        if manager is None or is_queue(manager):
            return True
        if self._neighbours is not None and self._neighbours.are_there:
            return True
        return bool(manager.rooms.get(NAMESPACE, {}).get(room))

    def cut(self, room: str) -> None:
        """Disconnect every socket in `room`, on every process."""
        self._order("cut", room, "")

    def enter_channel(self, user_id: str, channel_id: str) -> None:
        """Let every socket of a user, on every process, hear that something is said in a channel: it is a member."""
        self._order("enter", user_room(user_id), activity_room(channel_id))

    def leave_channel(self, user_id: str, channel_id: str) -> None:
        """Take every socket of a user out of a channel's rooms, on every process: the user is no member any more."""
        self._order("leave", user_room(user_id), channel_room(channel_id))
        self._order("leave", user_room(user_id), activity_room(channel_id))

    def health(self) -> Mapping[str, Any]:
        """{"ok": whether there is a server, "queue": whether other processes hear it too, "detail": sentence}"""
        manager = self._manager()
        if manager is None:
            return {"ok": False, "queue": None, "detail": "SocketIO has no app: call socketio.init_app(app)."}
        self.hear()
        return {"ok": True, "queue": is_queue(manager), "detail": "" if self._queue is None else self._queue.problem}

    def flush(self, seconds: float) -> bool:
        """Wait until other processes have been told all; False if that takes too long."""
        return self._queue is None or self._queue.flush(seconds)

    def hear(self) -> None:
        """Get to know the server, as soon as there is one: warn of open origins, listen to other processes' orders.

        Called at each connect and emit; does something once per server.
        """
        manager = self._manager()
        if (manager, os.getpid()) == self._heard:
            return
        with self._lock:
            if (manager, os.getpid()) == self._heard:
                return
            if is_queue(manager):
                self._queue = MessageQueue(manager, self._obey, forked=os.getpid() != self._pid)
            self._heard = manager, os.getpid()
        self._warned = self._warned or warn_of_open_origins(self._socketio)
        check_async_mode(self._socketio)

    def _order(self, what: str, room: str, target: str) -> None:
        try:
            self.hear()
            self._obey(what, room, target)
            if self._queue is not None:
                self._queue.order(what, room, target)
            self._pass_on("order", what, room, target)
        except Exception:
            log.exception("An order for sockets was not carried out", extra={"action": f"{what}-failed"})

    def _obey(self, what: str, room: str, target: str) -> None:
        server = self._socketio.server
        if server is None:
            return
        if what == MISSED:
            self._catch_up(server)
            return
        for sid, _ in list(server.manager.get_participants(NAMESPACE, room)):
            try:
                if what == "cut":
                    server.disconnect(sid, namespace=NAMESPACE, ignore_queue=True)
                elif what == "enter":
                    server.enter_room(sid, target, namespace=NAMESPACE)
                else:
                    server.leave_room(sid, target, namespace=NAMESPACE)
            except Exception:
                # a handler of the host that raises must not save the other sockets
                log.exception("A socket was not %s", what, extra={"action": f"{what}-failed"})

    def _catch_up(self, server: Any) -> None:
        """Close our sockets' transports, as a network that broke would: browsers come back at once and look again."""
        with self._lock:
            if self._catching_up or not server.manager.rooms.get(NAMESPACE):
                return
            self._catching_up = True
        threading.Thread(target=self._close_all, args=(server,), name="neolith-catch-up", daemon=True).start()

    def _close_all(self, server: Any) -> None:
        never = threading.Event()
        never.wait(SETTLE)
        self._catching_up = False
        for number, (_, eio_sid) in enumerate(list(server.manager.get_participants(NAMESPACE, None))):
            if number % BATCH == BATCH - 1:
                never.wait(0.1)
            try:
                if (socket := server.eio.sockets.get(eio_sid)) is not None:
                    # not a word where the transport itself can end: some clients take that for a goodbye for good
                    socket.close(wait=False, abort=socket.upgraded)
            except Exception:
                # a handler of the host that raises must not keep the others from looking again
                log.exception("A socket was not closed", extra={"action": "catch-up-failed"})

    def _manager(self) -> Any:
        server = getattr(self._socketio, "server", None)
        return None if server is None else server.manager
