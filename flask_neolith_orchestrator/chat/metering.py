"""What a model call costs, before and after: the seam between the answering and the counting. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from ..core.model import Block, ModelRequest, ToolCall, ToolResult, ToolSpec
from ..core.types import Usage
from .context_room import estimate_tokens


@dataclass(frozen=True, slots=True)
class Spent:
    """How one call ended. `usage` is what the provider reported, which may be less than it bills where it broke off.

    `model` is the provider's own name of what answered; `error` is the class of what went wrong, or None. `heard` is
    the text that came.
    """

    model: str
    usage: Usage
    request_id: str | None = None
    error: str | None = None
    heard: str = ""


class Charge(Protocol):
    """What was reserved for one call. Lifetime: that call."""

    def settle(self, spent: Spent) -> None:
        """The call has ended, well or badly: count what it cost and give the rest back. Called exactly once."""
        ...


class Meter(Protocol):
    """Whoever counts what calls cost. Lifetime: a turn."""

    def reserve(self, request: ModelRequest) -> Charge:
        """Ask leave for one call. Raises OverBudget where there is nothing left to spend.

        Raises ModelUnpriced where dollars are limited and nobody knows what this model takes.
        """
        ...


class Unmetered:
    """Counts nothing and allows everything. Lifetime: any."""

    def reserve(self, request: ModelRequest) -> Charge:
        """Always."""
        return self

    def settle(self, spent: Spent) -> None:
        """Nothing is kept."""


def estimate_input(request: ModelRequest) -> int:
    """About how many tokens the input of a call has, rather too many than too few."""
    return estimate_said(request) + estimate_tools(request.tools)


def estimate_said(request: ModelRequest) -> int:
    """The same without its tools."""
    said = estimate_tokens(request.system)
    for message in request.messages:
        content = message.content
        if isinstance(content, str):
            said += estimate_tokens(content)
        else:
            said += sum(estimate_tokens(_text(block)) for block in content)
    return said


def estimate_tools(tools: Iterable[ToolSpec]) -> int:
    """What the tools of a call take."""
    # JSON would cost ten times this, and be as long
    return sum(estimate_tokens(f"{tool.name} {tool.description} {tool.parameters}") for tool in tools)


def _text(block: Block) -> str:
    if isinstance(block, str):
        return block
    if isinstance(block, ToolResult):
        return block.content
    return json.dumps(dict(block.arguments if isinstance(block, ToolCall) else block.data), default=str)


def billed(spent: Spent, input_tokens: Callable[[], int]) -> Usage:
    """What a call is billed for, as far as one can know. `input_tokens` estimates its input.

    A call that broke off is billed for what had come by then, and reports less or nothing: its text is estimated.
    Without any sign that the model had begun, nothing is billed.
    """
    usage = spent.usage
    if spent.error is None or not (spent.heard or total(usage)):
        return usage
    if not (usage.input_tokens or usage.cache_read_tokens or usage.cache_write_tokens):
        usage = replace(usage, input_tokens=input_tokens())
    return replace(usage, output_tokens=max(usage.output_tokens, estimate_tokens(spent.heard)))


def total(usage: Usage) -> int:
    """Tokens of all kinds: what budgets of tokens count."""
    return usage.input_tokens + usage.output_tokens + usage.cache_read_tokens + usage.cache_write_tokens
