"""For the host app's own tests: doubles for the outside. Importing this imports no model provider's SDK."""

from __future__ import annotations

from ..backends.scripted import ScriptedModel
from .fake_claude_server import FakeClaude, Request
from .fake_claude_steps import Step, drop, error, raw, silence, stream_error, text, thinking, tool, truncate

__all__ = [
    "FakeClaude",
    "Request",
    "ScriptedModel",
    "Step",
    "drop",
    "error",
    "raw",
    "silence",
    "stream_error",
    "text",
    "thinking",
    "tool",
    "truncate",
]
