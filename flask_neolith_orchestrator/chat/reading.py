"""What one answer is so far, while a model writes it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..core.errors import EmptyAnswer
from ..core.handles import is_invisible
from ..core.model import Block, ModelStop, ToolCall
from ..core.types import Usage
from .text import clean

REFUSED: Final = "I'm sorry, but I can't help with that."
"""The answer where the model refused before it wrote anything."""

REFUSED_MIDWAY: Final = "_(I'm sorry, but I can't go on with this.)_"
"""Ends an answer that the model broke off by a refusal."""

CUT_SHORT: Final = "_(This answer reached its length limit and ends here.)_"
"""Ends an answer that ran out of tokens."""

_CUT_REASONS: Final = frozenset({"max_tokens", "model_context_window_exceeded"})
_FENCE: Final = re.compile(r"(?m)^ {0,3}(`{3,}|~{3,})(.*)$")


@dataclass(frozen=True, slots=True)
class Tried:
    """A model that did not answer, and why: the class of its error."""

    model: str
    error: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered. `text` is exactly what `on_text` was given, in one piece; "" where it only calls tools.

    `usage` is of all `calls` together; `first_text_at` is monotonic seconds, None without text. `content` is the
    answer in blocks, to go back with the results of its `tool_calls`. `tried` are the models that were asked before.
    """

    text: str
    usage: Usage
    stop_reason: str
    model: str
    first_text_at: float | None
    calls: int
    request_id: str | None
    tool_calls: tuple[ToolCall, ...] = ()
    content: tuple[Block, ...] = ()
    tried: tuple[Tried, ...] = ()


class Reading:
    """What one answer is so far. Lifetime: one `Responder.respond`."""

    def __init__(self, on_text: Callable[[str], None], monotonic: Callable[[], float]) -> None:
        self.usage = Usage()  # of the present call; a later report replaces an earlier one
        self.first_text_at: float | None = None
        self.tool_calls: list[ToolCall] = []  # of the present call; a provider gives them once they are complete
        self.calls = 0
        self._on_text = on_text
        self._monotonic = monotonic
        self._parts: list[str] = []
        self._blank = ""
        self._spent = Usage()
        self._began_at = 0

    @property
    def heard_in_call(self) -> str:
        """The text of the present call."""
        return "".join(self._parts[self._began_at :])

    def hear(self, text: str) -> None:
        """Take the next piece; blank lines before the first word are dropped."""
        text = clean(text)
        if self.first_text_at is None:
            text = self._blank + text
            if all(char.isspace() or is_invisible(char) for char in text):
                self._blank = text
                return
            blank = text[: len(text) - len(text.lstrip())]
            text = text[blank.rfind("\n") + 1 :]
            self.first_text_at = self._monotonic()
        if text:
            self._parts.append(text)
            self._on_text(text)

    def end_call(self) -> Usage:
        """Add up what the call has cost, say it, and begin anew with what is of one call alone."""
        ended, self.usage = self.usage, Usage()
        self._spent = add(self._spent, ended)
        self._blank = ""
        self._began_at = len(self._parts)
        self.calls += 1
        return ended

    def finish(self, stop: ModelStop, tried: tuple[Tried, ...]) -> Answer:
        """The answer, with a visible end where the model did not end it itself. Raises EmptyAnswer."""
        if stop.reason == "refusal" and not self._parts:
            self.hear(REFUSED)
        elif stop.reason == "refusal":
            self._note(REFUSED_MIDWAY)
        elif stop.reason in _CUT_REASONS and self._parts:
            self._note(CUT_SHORT)
        # calls are only meant where the model stopped for them
        tool_calls = tuple(self.tool_calls) if stop.reason == "tool_use" else ()
        if self.first_text_at is None and not tool_calls:
            raise EmptyAnswer(request_id=stop.request_id)
        return Answer(
            text="".join(self._parts),
            usage=self._spent,
            stop_reason=stop.reason,
            model=stop.model,
            first_text_at=self.first_text_at,
            calls=self.calls,
            request_id=stop.request_id,
            tool_calls=tool_calls,
            content=stop.content,
            tried=tried,
        )

    def _note(self, note: str) -> None:
        fence = _open_fence("".join(self._parts))
        self.hear(f"\n{fence}\n\n{note}" if fence else f"\n\n{note}")


def add(one: Usage, other: Usage) -> Usage:
    """The sum of two usages, kind by kind."""
    return Usage(
        one.input_tokens + other.input_tokens,
        one.output_tokens + other.output_tokens,
        one.cache_read_tokens + other.cache_read_tokens,
        one.cache_write_tokens + other.cache_write_tokens,
    )


def _open_fence(text: str) -> str:
    # The fence of a code block that the text leaves open: a note behind it would be shown as code.
    fence = ""
    for match in _FENCE.finditer(text):
        run, rest = match[1], match[2]
        if not fence:
            fence = run if run[0] == "~" or "`" not in rest else ""
        elif run.startswith(fence) and not rest.strip():
            fence = ""
    return fence
