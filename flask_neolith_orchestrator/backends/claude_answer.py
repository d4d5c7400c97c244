"""What comes out of one call to Claude: the provider's stream events turned into ours."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..core.errors import ModelInterrupted, ModelUnavailable
from ..core.model import Block, ModelEvent, ModelStop, Opaque, TextDelta, ToolCall, UsageReport
from ..core.types import Usage
from .claude_request import PROVIDER, sendable

if TYPE_CHECKING:  # the package is imported with the first call only, it takes a second
    from anthropic.types import RawContentBlockDeltaEvent, RawContentBlockStartEvent, RawMessageStreamEvent


@dataclass(slots=True)
class _OpenTool:
    id: str
    name: str
    raw: str = ""


@dataclass(slots=True)
class _OpenText:
    text: str = ""


@dataclass(slots=True)
class _OpenThought:
    """Thinking, or what the provider hides of it (`redacted`): only it can read that, and wants it back as it was."""

    thinking: str = ""
    signature: str = ""
    redacted: str | None = None

    def kept(self) -> dict[str, str]:
        """As it goes back."""
        if self.redacted is not None:
            return {"type": "redacted_thinking", "data": self.redacted}
        return {"type": "thinking", "thinking": self.thinking, "signature": self.signature}


class Answer:
    """Collects one answer. Lifetime: one call.

    Text is passed on as it comes. Tool calls are kept until the provider has said why it stopped: the input
    of a call in a stream that broke off may be cut in half and must never be run.
    """

    def __init__(self, model: str) -> None:
        self.began = False  # somebody may have seen a part of it
        self.request_id: str | None = None
        self.stop_reason: str | None = None
        self._model = model
        self._usage = Usage()
        self._blocks: dict[int, _OpenTool | _OpenText | _OpenThought] = {}

    def take(self, event: RawMessageStreamEvent) -> Iterator[ModelEvent]:
        """The next event of the stream. Thinking, and kinds that are unknown, yield nothing."""
        if event.type == "message_start":
            self._model = event.message.model
            self._count(event.message.usage)
            yield UsageReport(self._usage)  # the prompt is paid for, whatever comes of it
        elif event.type == "content_block_start":
            yield from self._start(event)
        elif event.type == "content_block_delta":
            yield from self._continue(event)
        elif event.type == "message_delta":
            self.stop_reason = event.delta.stop_reason or self.stop_reason
            self._count(event.usage)

    def end(self) -> Iterator[ModelEvent]:
        """The stream has ended cleanly: finished tool calls, the final usage, the stop.

        Raises ModelInterrupted if the end came too early, ModelUnavailable if nothing had been said yet.
        """
        if self.stop_reason is None:
            kind = ModelInterrupted if self.began else ModelUnavailable
            raise kind("The model's answer ended without a stop reason.", request_id=self.request_id)
        content = tuple(self._content())
        yield from [block for block in content if isinstance(block, ToolCall)]
        yield UsageReport(self._usage)
        yield ModelStop(self.stop_reason, self._model, self.request_id, content)

    def _start(self, event: RawContentBlockStartEvent) -> Iterator[ModelEvent]:
        block = event.content_block
        if block.type == "tool_use":
            self.began = True
            self._blocks[event.index] = _OpenTool(block.id, block.name)
        elif block.type == "text":
            self._blocks[event.index] = _OpenText()
            yield from self._say(event.index, block.text)
        elif block.type == "thinking":
            self._blocks[event.index] = _OpenThought(block.thinking, block.signature)
        elif block.type == "redacted_thinking":
            self._blocks[event.index] = _OpenThought(redacted=block.data)

    def _continue(self, event: RawContentBlockDeltaEvent) -> Iterator[ModelEvent]:
        block, delta = self._blocks.get(event.index), event.delta
        if delta.type == "text_delta":
            yield from self._say(event.index, delta.text)
        elif delta.type == "input_json_delta" and isinstance(block, _OpenTool):
            block.raw += delta.partial_json
        elif delta.type == "thinking_delta" and isinstance(block, _OpenThought):
            block.thinking += delta.thinking
        elif delta.type == "signature_delta" and isinstance(block, _OpenThought):
            block.signature += delta.signature

    def _content(self) -> Iterator[Block]:
        """The answer in blocks. Calls are only meant, and only whole, where the model stopped for them."""
        for _, block in sorted(self._blocks.items()):
            if isinstance(block, _OpenThought):
                yield Opaque(PROVIDER, block.kept())
            elif isinstance(block, _OpenTool):
                if self.stop_reason == "tool_use":
                    yield self._finished(block)
            elif block.text:
                yield block.text

    def _say(self, index: int, text: str) -> Iterator[ModelEvent]:
        if text:
            self.began = True
            block = self._blocks.get(index)
            if isinstance(block, _OpenText):
                block.text += text
            yield TextDelta(text)

    def _finished(self, tool: _OpenTool) -> ToolCall:
        try:
            arguments = _storable(json.loads(tool.raw or "{}", parse_constant=_refuse))
        except (ValueError, RecursionError):
            arguments = None
        if not isinstance(arguments, Mapping):
            raise ModelInterrupted("The model's tool call is not complete.", request_id=self.request_id)
        return ToolCall(tool.id, tool.name, arguments)

    def _count(self, usage: Any) -> None:
        """Counts are cumulative and replace earlier ones; those that an event leaves out keep their value."""
        counts = {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cache_read_tokens": usage.cache_read_input_tokens,
            "cache_write_tokens": usage.cache_creation_input_tokens,
        }
        self._usage = replace(self._usage, **{k: v for k, v in counts.items() if v is not None})


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _storable(value: Any) -> Any:
    """Without null bytes, which databases refuse, and lone surrogates, which no request can hold."""
    if isinstance(value, str):
        return sendable(value.replace("\0", ""))
    if isinstance(value, list):
        return [_storable(one) for one in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(one) for key, one in value.items()}
    return value
