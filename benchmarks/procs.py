"""Ending processes that a measurement began."""

from __future__ import annotations

import subprocess
from typing import Any


def stop(process: subprocess.Popen[Any], patience: float = 10.0) -> None:
    """Ask a process to end, and kill it if it takes too long."""
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
