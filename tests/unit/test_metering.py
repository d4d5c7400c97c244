"""What a call may need, and what it is billed for."""

from __future__ import annotations

from typing import Any

import pytest

from flask_neolith_orchestrator.chat.metering import Spent, Unmetered, billed, estimate_input, total
from flask_neolith_orchestrator.core.model import ModelMessage, ModelRequest, Opaque, ToolCall, ToolResult, ToolSpec
from flask_neolith_orchestrator.core.types import Usage


def request(**more: Any) -> ModelRequest:
    """A small request."""
    return ModelRequest("m", "system", (ModelMessage("user", "hello"),), **more)


def test_everything_that_is_sent_is_estimated() -> None:
    """System prompt, lines, calls and their results, thinking, tools: each makes the estimate larger."""
    plain = estimate_input(request())
    assert plain > 0
    assert estimate_input(request(tools=(ToolSpec("find", "Finds things.", {"type": "object"}),))) > plain + 10
    blocks = [
        "x" * 350,
        ToolCall("1", "find", {"a": "x" * 350}),
        ToolResult("1", "x" * 350),
        Opaque("p", {"b": "x" * 350}),
    ]
    for block in blocks:
        message = ModelMessage("assistant", (block,))  # type: ignore[arg-type]  # a block each
        assert 95 < estimate_input(ModelRequest("m", "", (message,))) < 120


def never() -> int:
    """Not needed."""
    raise AssertionError


@pytest.mark.parametrize(
    ("spent", "found"),
    [
        (Spent("m", Usage(10, 5, 3, 2), heard="hello"), Usage(10, 5, 3, 2)),
        (Spent("m", Usage(), error="ModelUnavailable"), Usage()),
        (Spent("m", Usage(10, 7), error="Cut", heard="x"), Usage(10, 7)),
        (Spent("m", Usage(10, 1), error="Cut", heard="x" * 350), Usage(10, 104)),
        (Spent("m", Usage(cache_read_tokens=9), error="Cut", heard=""), Usage(0, 4, 9)),
        (Spent("m", Usage(cache_write_tokens=9), error="Cut"), Usage(0, 4, 0, 9)),
    ],
)
def test_who_reports_is_believed_unless_the_call_broke_off(spent: Spent, found: Usage) -> None:
    """Of a broken call the text that came counts as well; one that never began costs nothing."""
    assert billed(spent, never) == found


def test_a_model_that_reports_nothing_is_estimated() -> None:
    """Text came, so the input was read."""
    assert billed(Spent("m", Usage(), error="Cut", heard="x" * 35), lambda: 77) == Usage(77, 14)


def test_all_kinds_count() -> None:
    """A budget of tokens is of all of them."""
    assert total(Usage(1, 2, 4, 8)) == 15


def test_without_a_meter_everything_is_allowed() -> None:
    """And nothing is kept."""
    free = Unmetered()
    charge = free.reserve(request())
    assert charge is free
    charge.settle(Spent("m", Usage(1)))
