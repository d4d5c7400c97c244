"""What comes out of one call to Claude: the provider's stream events turned into ours."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..core.errors import ModelInterrupted, ModelUnavailable
from ..core.model import ModelEvent, ModelStop, TextDelta, ToolCall, UsageReport
from ..core.types import Usage

if TYPE_CHECKING:  # the package is imported with the first call only, it takes a second
    from anthropic.types import RawContentBlockDeltaEvent, RawContentBlockStartEvent, RawMessageStreamEvent


@dataclass(slots=True)
class _OpenTool:
    id: str
    name: str
    raw: str = ""


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
        self._tools: dict[int, _OpenTool] = {}

    def take(self, event: RawMessageStreamEvent) -> Iterator[ModelEvent]:
        """The next event of the stream. Kinds that are unknown or hold no answer (thinking) yield nothing."""
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
        if self.stop_reason == "tool_use":
            yield from [self._finished(tool) for tool in self._tools.values()]
        yield UsageReport(self._usage)
        yield ModelStop(self.stop_reason, self._model, self.request_id)

    def _start(self, event: RawContentBlockStartEvent) -> Iterator[ModelEvent]:
        block = event.content_block
        if block.type == "tool_use":
            self.began = True
            self._tools[event.index] = _OpenTool(block.id, block.name)
        elif block.type == "text":
            yield from self._say(block.text)

    def _continue(self, event: RawContentBlockDeltaEvent) -> Iterator[ModelEvent]:
        if event.delta.type == "text_delta":
            yield from self._say(event.delta.text)
        elif event.delta.type == "input_json_delta" and event.index in self._tools:
            self._tools[event.index].raw += event.delta.partial_json

    def _say(self, text: str) -> Iterator[ModelEvent]:
        if text:
            self.began = True
            yield TextDelta(text)

    def _finished(self, tool: _OpenTool) -> ToolCall:
        try:
            arguments: Any = json.loads(tool.raw or "{}")
        except ValueError:
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
