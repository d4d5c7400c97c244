"""One answer from a model: the calls it takes, and what counts as an answer at all.

| what happens                                      | what comes of it                                             |
|---------------------------------------------------|--------------------------------------------------------------|
| unavailable, or cut, before the first text        | at most RETRIES more calls within RETRY_WINDOW, then raised  |
| unavailable or cut after the first text           | raised at once; the partial text was given to `on_text`      |
| a stream that ends without saying why             | ModelInterrupted                                             |
| a complete answer without a visible character     | EmptyAnswer                                                  |
| a refusal (stop reason `refusal`)                 | an answer that says so                                       |
| the length limit (`max_tokens`, context window)   | an answer with a mark at its end                             |
| rejected                                          | raised at once                                               |
| told to stop, at any moment                       | Cancelled, whatever else happened                            |
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..core.cancel import Cancel, Cancelled
from ..core.errors import EmptyAnswer, ModelError, ModelInterrupted, ModelRejected, ModelUnavailable
from ..core.ports import Model, ModelRequest, ModelStop, TextDelta, UsageReport
from ..core.types import Usage
from .breaker import Breaker as Breaker
from .text import clean

RETRIES: Final = 2
"""Calls after the first one."""

RETRY_WINDOW: Final = 5.0
"""Seconds from the start of the first call to the start of the last; a longer wait is the inbox's business."""

REFUSED: Final = "I'm sorry, but I can't help with that."
"""The answer where the model refused before it wrote anything."""

REFUSED_MIDWAY: Final = "_(I'm sorry, but I can't go on with this.)_"
"""Ends an answer that the model broke off by a refusal."""

CUT_SHORT: Final = "_(This answer reached its length limit and ends here.)_"
"""Ends an answer that ran out of tokens."""

_PAUSES: Final = (0.5, 1.5)  # seconds before the second and the third call
_CUT_REASONS: Final = frozenset({"max_tokens", "model_context_window_exceeded"})
_FENCE: Final = re.compile(r"(?m)^ {0,3}(`{3,}|~{3,})(.*)$")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered. `text` is exactly what `on_text` was given, in one piece.

    `usage` is of all `calls` together; `first_text_at` is monotonic seconds.
    """

    text: str
    usage: Usage
    stop_reason: str
    model: str
    first_text_at: float
    calls: int
    request_id: str | None


class Responder:
    """Gets answers from a model. Lifetime: app, in one process; keeps nothing of a turn; used by many threads.

    `wait` sleeps on a turn's stop flag and says whether it was set; it, `monotonic` and `jitter` (0 to 1) can be
    replaced in tests. Without a `breaker` it has one of its own.
    """

    def __init__(
        self,
        model: Model,
        *,
        wait: Callable[[Cancel, float], bool] = Cancel.wait,
        monotonic: Callable[[], float] = time.monotonic,
        breaker: Breaker | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.breaker = breaker if breaker is not None else Breaker(monotonic=monotonic)
        self._model = model
        self._wait = wait
        self._monotonic = monotonic
        self._jitter = jitter

    def respond(self, request: ModelRequest, cancel: Cancel, on_text: Callable[[str], None]) -> Answer:
        """Ask the model and give its text to `on_text` as it comes, on this thread.

        Raises ModelUnavailable (also, with `retry_after`, while the breaker holds calls off), ModelInterrupted,
        EmptyAnswer, ModelRejected or Cancelled, and whatever `on_text` raises. What `on_text` was given before
        is then the partial text.
        """
        began = self._monotonic()
        reading = _Reading(on_text, self._monotonic)
        calls = 0
        while True:
            calls += 1
            cancel.check()
            self._ask_leave(request.model)
            try:
                stop = self._call(request, cancel, reading)
            except (ModelUnavailable, ModelInterrupted) as error:
                pause = self._pause(error, calls)
                late = self._monotonic() - began + pause > RETRY_WINDOW
                if reading.first_text_at is not None or calls > RETRIES or late:
                    raise
            else:
                return reading.finish(stop, calls)
            if self._wait(cancel, pause):
                raise Cancelled

    def _ask_leave(self, model: str) -> None:
        hold = self.breaker.admit(model)
        if hold:
            raise ModelUnavailable(
                "The model has been unavailable; new calls are held off for a moment.", retry_after=hold
            )

    def _call(self, request: ModelRequest, cancel: Cancel, reading: _Reading) -> ModelStop:
        verdict = self.breaker.released
        try:
            stop = self._read(request, cancel, reading)
            verdict = self.breaker.answered
        except ModelError as error:
            if cancel.is_set():  # a call that we cut ourselves looks like a failure of the provider
                raise Cancelled from error
            if isinstance(error, ModelUnavailable):
                verdict = self.breaker.failed
            elif isinstance(error, ModelRejected):
                verdict = self.breaker.reached
            raise
        finally:
            reading.end_call()
            verdict(request.model)
        return stop

    def _read(self, request: ModelRequest, cancel: Cancel, reading: _Reading) -> ModelStop:
        stream = self._model.stream(request, cancel)
        try:
            for event in stream:
                cancel.check()
                if isinstance(event, ModelStop):
                    return event
                if isinstance(event, UsageReport):
                    reading.usage = event.usage
                elif isinstance(event, TextDelta):
                    if reading.first_text_at is None:
                        self.breaker.reached(request.model)
                    reading.hear(event.text)
        finally:
            close = getattr(stream, "close", None)  # a generator would keep its connection until collected
            if close is not None:
                close()
        cancel.check()
        raise ModelInterrupted("The model's answer ended without a stop reason. It is tried again later.")

    def _pause(self, error: ModelError, calls: int) -> float:
        if isinstance(error, ModelUnavailable) and error.retry_after is not None:
            return error.retry_after
        return _PAUSES[min(calls, len(_PAUSES)) - 1] * (0.5 + self._jitter() / 2)


class _Reading:
    """What one answer is so far. Lifetime: one `respond`."""

    def __init__(self, on_text: Callable[[str], None], monotonic: Callable[[], float]) -> None:
        self.usage = Usage()  # of the present call; a later report replaces an earlier one
        self.first_text_at: float | None = None
        self._on_text = on_text
        self._monotonic = monotonic
        self._parts: list[str] = []
        self._blank = ""
        self._spent = Usage()

    def hear(self, text: str) -> None:
        """Take the next piece; blank lines before the first word are dropped."""
        text = clean(text)
        if self.first_text_at is None:
            text = self._blank + text
            if not text.strip():
                self._blank = text
                return
            blank = text[: len(text) - len(text.lstrip())]
            text = text[blank.rfind("\n") + 1 :]
            self.first_text_at = self._monotonic()
        if text:
            self._parts.append(text)
            self._on_text(text)

    def end_call(self) -> None:
        """Add up what the call has cost and forget its blanks."""
        now, before = self.usage, self._spent
        self._spent = Usage(
            before.input_tokens + now.input_tokens,
            before.output_tokens + now.output_tokens,
            before.cache_read_tokens + now.cache_read_tokens,
            before.cache_write_tokens + now.cache_write_tokens,
        )
        self.usage = Usage()
        self._blank = ""

    def finish(self, stop: ModelStop, calls: int) -> Answer:
        """The answer, with a visible end where the model did not end it itself. Raises EmptyAnswer."""
        if stop.reason == "refusal" and not self._parts:
            self.hear(REFUSED)
        elif stop.reason == "refusal":
            self._note(REFUSED_MIDWAY)
        elif stop.reason in _CUT_REASONS and self._parts:
            self._note(CUT_SHORT)
        if self.first_text_at is None:
            raise EmptyAnswer(request_id=stop.request_id)
        return Answer(
            text="".join(self._parts),
            usage=self._spent,
            stop_reason=stop.reason,
            model=stop.model,
            first_text_at=self.first_text_at,
            calls=calls,
            request_id=stop.request_id,
        )

    def _note(self, note: str) -> None:
        fence = _open_fence("".join(self._parts))
        self.hear(f"\n{fence}\n\n{note}" if fence else f"\n\n{note}")


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
