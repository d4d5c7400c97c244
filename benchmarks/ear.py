"""How a task in another process says when it began: one datagram, on the clock that all processes share."""

from __future__ import annotations

import os
import socket
import struct
import time
from pathlib import Path

FOLDER = "NEOLITH_BENCHMARK_FOLDER"
"""The environment variable that tells workers where the ear is."""

_MOMENT = struct.Struct("d")


class Ear:
    """Hears tasks begin. Lifetime: its `with` block."""

    def __init__(self, folder: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "ear"))

    def hear(self, timeout: float) -> float:
        """When the next task began (time.monotonic). Raises TimeoutError."""
        self._socket.settimeout(timeout)
        moment: float = _MOMENT.unpack(self._socket.recv(_MOMENT.size))[0]
        return moment

    def __enter__(self) -> Ear:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()


def tell() -> None:
    """The task begins now."""
    now = time.monotonic()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mouth:
        mouth.sendto(_MOMENT.pack(now), str(Path(os.environ[FOLDER]) / "ear"))
