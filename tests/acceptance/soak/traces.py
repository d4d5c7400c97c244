"""Tracebacks in a server's log: those that our code has no part in are counted, all others are problems."""

from __future__ import annotations

import re
from collections.abc import Iterator

FRAME = re.compile(r'^  File "([^"]+)"')
FOREIGN = ("/engineio/", "/simple_websocket/")
"""Whose own threads may meet with a socket that its browser has just closed."""

Trace = tuple[list[str], str]
"""The files of a traceback, outermost first, and its last line."""


def tracebacks(log: str) -> Iterator[Trace]:
    """Every traceback of a log."""
    files: list[str] | None = None
    for line in log.splitlines():
        if line.startswith("Traceback "):
            files = []
        elif files is not None and not line.startswith(" "):
            yield files, line
            files = None
        elif files is not None and (found := FRAME.match(line)):
            files.append(found[1])


def is_foreign(trace: Trace) -> bool:
    """Whether a WebSocket server's own thread wrote to a socket that was gone, and nobody else had a part in it."""
    files, last = trace
    others = [file for file in files if "/threading.py" not in file]
    return last.startswith("OSError") and bool(others) and all(any(one in file for one in FOREIGN) for file in others)
