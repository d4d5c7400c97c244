"""The door to the models: what is asked, and what comes back while it is answered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from .cancel import Cancel
from .types import Usage


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model reads it. `parameters` is a JSON schema of an object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model wants a tool to be run. `id` is the provider's, and its result goes back with it."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of a call, as the model is told."""

    call_id: str
    content: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Opaque:
    """A block of one provider's own (thinking and its signature), to go back to that provider as it came."""

    provider: str
    data: Mapping[str, Any]


Block = str | ToolCall | ToolResult | Opaque
"""A part of a message; a str is text."""


@dataclass(frozen=True, slots=True)
class ModelMessage:
    """One entry of the conversation as a model reads it."""

    role: Literal["user", "assistant"]
    content: str | tuple[Block, ...]

    @property
    def text(self) -> str:
        """Its text alone, without calls and results."""
        if isinstance(self.content, str):
            return self.content
        return "\n\n".join(block for block in self.content if isinstance(block, str))


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One call of a model. `system` is stable for a charter, so that providers can cache it.

    `fallbacks` are models to ask, in order, where `model` cannot serve. `effort` is the provider's word (low,
    medium, high) or None. Without `may_call` the model must answer without calling any of its `tools`, which are still
    told: the messages may hold calls of them.
    """

    model: str
    system: str
    messages: tuple[ModelMessage, ...]
    max_tokens: int = 4096
    metadata: Mapping[str, str] = field(default_factory=dict)
    fallbacks: tuple[str, ...] = ()
    effort: str | None = None
    tools: tuple[ToolSpec, ...] = ()
    may_call: bool = True


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class UsageReport:
    """What the call has cost so far; a later report replaces an earlier one."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class ModelStop:
    """The last event of a complete answer; `reason` is the provider's word (end_turn, max_tokens, tool_use).

    `content` is the whole answer in blocks, to be sent back with the results of its tool calls.
    """

    reason: str
    model: str
    request_id: str | None = None
    content: tuple[Block, ...] = ()


ModelEvent = TextDelta | ToolCall | UsageReport | ModelStop


class Model(Protocol):
    """A model provider. Lifetime: app, in one process; made lazily after a fork; used by many threads."""

    name: str

    def stream(self, request: ModelRequest, cancel: Cancel) -> Iterator[ModelEvent]:
        """Answer `request` piece by piece, ending with `ModelStop`. `request.fallbacks` is not its business.

        Raises ModelUnavailable, ModelInterrupted or ModelRejected, and `Cancelled` promptly (well under a
        second, even while the provider is silent) once `cancel` is set. It does not retry.
        """
        ...

    def check(self) -> str | None:
        """None if calls can be made, else what is missing, in one sentence. Makes no call."""
        ...

    def close(self) -> None:
        """Give connections back. Safe twice."""
        ...


@runtime_checkable
class Counter(Protocol):
    """What a Model can do besides: count before it is asked."""

    def count_tokens(self, request: ModelRequest, cancel: Cancel) -> int | None:
        """How many tokens the request's input has, by the provider's own count; None where it cannot say.

        Raises as `Model.stream` does.
        """
        ...


@runtime_checkable
class Warmable(Protocol):
    """What a Model can do besides: get ready before it is asked, so that the first answer does not wait for that."""

    def warm(self) -> None:
        """Begin to get ready, apart and once a process. Neither waits nor raises."""
        ...
