"""For the host app's own tests: doubles for the outside. Importing this imports no model provider's SDK."""

from __future__ import annotations

from ..backends.scripted import ScriptedModel
from ..runtime.wiring import Parts
from .doubles import Emitted, ManualClock, ManualDispatcher, RecordingChannel
from .fake_claude_server import FakeClaude, Request
from .fake_claude_steps import Step, drop, error, raw, silence, stream_error, text, thinking, tool, tools, truncate
from .harness import run_until_idle, shutdown, use_model

__all__ = [
    "Emitted",
    "FakeClaude",
    "ManualClock",
    "ManualDispatcher",
    "Parts",
    "RecordingChannel",
    "Request",
    "ScriptedModel",
    "Step",
    "drop",
    "error",
    "raw",
    "run_until_idle",
    "shutdown",
    "silence",
    "stream_error",
    "text",
    "thinking",
    "tool",
    "tools",
    "truncate",
    "use_model",
]
