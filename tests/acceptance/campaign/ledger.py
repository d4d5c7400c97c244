"""Files that several processes append to: one JSON line at a time, which neither a kill nor a neighbour can tear."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_down(path: Path, **what: Any) -> None:
    """Append one line."""
    line = json.dumps(what) + "\n"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Every line so far; the last one may still be being written."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
