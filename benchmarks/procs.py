"""Ending processes that a measurement began."""

from __future__ import annotations

import signal
import subprocess
from typing import Any


def stop(process: subprocess.Popen[Any], how: signal.Signals, patience: float = 10.0) -> None:
    """Ask a process to end, and kill it if it takes too long."""
    if process.poll() is None:
        process.send_signal(how)
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
