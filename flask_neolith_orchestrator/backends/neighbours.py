"""What processes of one machine tell each other without any server: sockets in the folder of the lock files.

Every process has a socket file there, and writes to those of all others that run on the same database. Nothing that is
told is a truth: that is in the database, and what is lost is seen at the next sweep or read anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

log = logging.getLogger("flask_neolith_orchestrator")

Hear = Callable[..., None]

LONGEST: Final = 32 * 1024 * 1024
"""Bytes of one piece of news at the most; who sends more is not one of us."""

MOST: Final = 20_000
"""Pieces of news that wait to be sent; what comes on top of them is lost."""

PATIENCE: Final = 1.0
"""Seconds for which a neighbour may read nothing before it is left alone."""

ALONE: Final = 5.0
"""Seconds for which it is left alone."""

LOOK: Final = 1.0
"""Seconds between two looks at who is there; who comes says so besides."""

_LENGTH: Final = struct.Struct(">I")

_PATH: Final = 100
"""Characters that the path of a socket may have everywhere; for a longer one there is a way around on Linux."""


class Neighbours:
    """The other processes on this machine. Lifetime: app, in one process, from `start` to `close`.

    `folder` is that of the lock files, `key` names the database. For all threads; telling never waits, never raises.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        self._end = f".{hashlib.sha256(key.encode()).hexdigest()[:8]}.sock"
        self._heard: dict[str, Hear] = {}
        self._own = ""
        self._changed = threading.Condition()
        self._news: list[bytes] = []
        self._closed = False
        self._listener: socket.socket | None = None
        self._wake: tuple[socket.socket, socket.socket] | None = None
        self._threads: list[threading.Thread] = []
        self._peers: dict[str, socket.socket] = {}
        self._shunned: dict[str, float] = {}
        self._looked_at = float("-inf")

    def on(self, kind: str, hear: Hear) -> None:
        """Call `hear(*what)` for news of this kind, on a thread of ours; of other kinds it is dropped."""
        self._heard[kind] = hear

    def start(self, name: str) -> bool:
        """Begin to listen as `name`, and to tell; False, with a line in the log, where the folder allows no socket."""
        self._own = name + self._end
        try:
            listener = self._open()
        except (OSError, AttributeError) as error:
            log.warning(
                "Other processes on this machine hear nothing of this one: %s. Look at NEOLITH_STATE_DIR",
                error,
                extra={"action": "no-neighbours"},
            )
            return False
        self._listener, self._wake = listener, socket.socketpair()
        for work, what in ((self._listen, "ear"), (self._speak, "mouth")):
            self._threads.append(threading.Thread(target=work, name=f"neolith-neighbours-{what}", daemon=True))
            self._threads[-1].start()
        self.tell("hello")
        return True

    def _open(self) -> socket.socket:
        """Listen, and be seen only then: a socket that nobody listens to would be taken for a dead process's."""
        self._folder.mkdir(parents=True, exist_ok=True)
        hidden = f"{self._own}.new"
        with contextlib.ExitStack() as failed:
            listener = failed.enter_context(socket.socket(socket.AF_UNIX))
            with self._address(hidden) as address:
                listener.bind(address)
            failed.callback((self._folder / hidden).unlink, missing_ok=True)
            os.chmod(self._folder / hidden, 0o600)  # before anybody can connect
            listener.listen(64)
            os.rename(self._folder / hidden, self._folder / self._own)
            failed.pop_all()
        return listener

    @contextlib.contextmanager
    def _address(self, name: str) -> Iterator[str]:
        path = str(self._folder / name)
        if len(os.fsencode(path)) <= _PATH:
            yield path
            return
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            yield f"/proc/self/fd/{folder}/{name}"
        finally:
            os.close(folder)

    def names(self) -> set[str]:
        """The other processes that have a socket here, dead ones too until somebody has noticed."""
        try:
            found = {one.name for one in os.scandir(self._folder) if one.name.endswith(self._end)}
        except OSError:
            return set()
        return {one.removesuffix(self._end) for one in found - {self._own}}

    @property
    def are_there(self) -> bool:
        """Whether anybody may hear what is told; as of the last look."""
        return bool(self._peers)

    def tell(self, kind: str, *what: Any) -> None:
        """Tell all others, each once and in the order of the calls."""
        if not self._threads or (kind != "hello" and not self._peers and self._is_seen()):
            return
        text = json.dumps([kind, *what], ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        with self._changed:
            if not self._closed and len(self._news) < MOST:
                self._news.append(_LENGTH.pack(len(text)) + text)
                self._changed.notify()

    def _is_seen(self) -> bool:
        """Whether the last look is young enough to be believed that nobody is there."""
        return time.monotonic() - self._looked_at < LOOK

    def _speak(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._news) or self._closed)
                news, self._news = self._news, []
                if not news and self._closed:
                    return
            try:
                self._meet()
                self._send(b"".join(news))
            except Exception:
                # the loop's border: what was to be told is lost, and what comes next is not
                log.exception("Nothing was told to other processes", extra={"action": "neighbours-failed"})

    def _meet(self) -> None:
        if self._is_seen():
            return
        self._looked_at = now = time.monotonic()
        there = self.names()
        for name in self._peers.keys() - there:
            self._peers.pop(name).close()
        self._shunned = {name: until for name, until in self._shunned.items() if until > now}
        for name in there - self._peers.keys() - self._shunned.keys():
            self._connect(name)

    def _connect(self, name: str) -> None:
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(PATIENCE)
        try:
            with self._address(name + self._end) as address:
                peer.connect(address)
        except ConnectionRefusedError:  # it was killed
            peer.close()
            (self._folder / (name + self._end)).unlink(missing_ok=True)
        except OSError:
            peer.close()
            self._shunned[name] = time.monotonic() + ALONE
        else:
            self._peers[name] = peer

    def _send(self, data: bytes) -> None:
        for name, peer in list(self._peers.items()):
            try:
                peer.sendall(data)
            except OSError:
                self._peers.pop(name).close()
                self._shunned[name] = time.monotonic() + ALONE

    def _listen(self) -> None:
        listener, wake = self._listener, self._wake
        if listener is None or wake is None:
            return
        chosen = selectors.DefaultSelector()
        buffers: dict[socket.socket, bytearray] = {}
        chosen.register(listener, selectors.EVENT_READ)
        chosen.register(wake[0], selectors.EVENT_READ)
        with chosen:
            while not self._closed:
                for key, _ in chosen.select():
                    one: Any = key.fileobj
                    if one is listener:
                        made, _address = listener.accept()
                        buffers[made] = bytearray()
                        chosen.register(made, selectors.EVENT_READ)
                    elif one is not wake[0] and not self._read(one, buffers[one]):
                        chosen.unregister(one)
                        del buffers[one]
                        one.close()
            for one in buffers:
                one.close()

    def _read(self, peer: socket.socket, buffer: bytearray) -> bool:
        """Take what has come; False where nothing more will."""
        try:
            got = peer.recv(1 << 16)
        except OSError:
            return False
        buffer += got
        while len(buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer)
            if length > LONGEST:
                return False
            if len(buffer) < _LENGTH.size + length:
                break
            text = bytes(buffer[_LENGTH.size : _LENGTH.size + length])
            del buffer[: _LENGTH.size + length]
            self._hear(text)
        return bool(got)

    def _hear(self, text: bytes) -> None:
        try:
            kind, *what = json.loads(text)
            if kind == "hello":
                self._looked_at = float("-inf")  # a new one: the next look is now
                self.tell("here")
            elif kind in self._heard:
                self._heard[kind](*what)
        except Exception:
            # the loop's border: one piece of news that cannot be used must not silence the rest
            log.exception("News of another process was of no use", extra={"action": "neighbours-failed"})

    def close(self) -> None:
        """Tell what waits, and be gone. Safe twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._wake is not None:
            self._wake[1].send(b".")
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(2 * PATIENCE)
        if self._listener is not None:
            (self._folder / self._own).unlink(missing_ok=True)
        self.forked()
        self._threads = []

    def forked(self) -> None:
        """In a forked child: what the parent hears and tells is the parent's."""
        for one in (self._listener, *(self._wake or ()), *self._peers.values()):
            if one is not None:
                one.close()
        self._listener = self._wake = None
        self._peers = {}
