"""The fake Claude as a process of its own, for tests of processes and for trying things out:

    python -m flask_neolith_orchestrator.testing.fake_claude --port 8200 --gap 0.05
    ANTHROPIC_BASE_URL=http://127.0.0.1:8200 ANTHROPIC_API_KEY=test flask run

It prints its URL, echoes what it is told, and ends cleanly on SIGTERM and Ctrl-C. `GET /fake/report` answers
what has happened so far: {"requests": [{"at": .., "body": ..}], "openStreams": n, "cutStreams": n}.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from .fake_claude_server import FakeClaude, Request
from .fake_claude_steps import Step, text

__all__ = ["FakeClaude", "Request", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal says to stop; returns the exit code."""
    parser = argparse.ArgumentParser(prog="fake_claude", description="A fake Claude API that echoes.")
    parser.add_argument("--port", type=int, default=0, help="0 (the default) takes a free one")
    parser.add_argument("--gap", type=float, default=0.0, help="seconds between two events of a stream")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before the first byte")
    options = parser.parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with FakeClaude(options.port) as api:
        api.answer_with(lambda body: _echo(body, options.gap, options.delay))
        sys.stdout.write(f"{api.url}\n")
        sys.stdout.flush()
        stop.wait()
    return 0


def _echo(body: Mapping[str, Any], gap: float, delay: float) -> Step:
    content = body["messages"][-1]["content"]
    if not isinstance(content, str):
        content = " ".join(block["text"] for block in content if block["type"] == "text")
    return text(f"You said: {content}", gap=gap, delay=delay)


if __name__ == "__main__":
    sys.exit(main())
