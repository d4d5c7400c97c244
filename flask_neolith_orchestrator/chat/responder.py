"""One answer from a model: the calls it takes, and what counts as an answer at all.

| what happens                                      | what comes of it                                             |
|---------------------------------------------------|--------------------------------------------------------------|
| unavailable, or cut, before the first text        | more calls within RETRY_WINDOW, the next model, then raised  |
| not served to us, before the first text           | the next model at once, then raised                          |
| unavailable or cut after the first text           | raised at once; the partial text was given to `on_text`      |
| a stream that ends without saying why             | ModelInterrupted                                             |
| a complete answer without a visible character     | the next model, then EmptyAnswer, unless it calls tools      |
| a refusal (stop reason `refusal`)                 | an answer that says so                                       |
| the length limit (`max_tokens`, context window)   | an answer with a mark at its end                             |
| rejected                                          | raised at once                                               |
| told to stop, at any moment                       | Cancelled, whatever else happened                            |
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from ..core.cancel import Cancel, Cancelled
from ..core.errors import (
    ModelError,
    ModelInterrupted,
    ModelNotServed,
    ModelRejected,
    ModelUnavailable,
    ModelUnpriced,
)
from ..core.model import Model, ModelRequest, ModelStop, TextDelta, ToolCall, UsageReport
from .breaker import Breaker
from .metering import Meter, Spent, Unmetered
from .reading import Answer, Reading, Tried

RETRIES: Final = 2
"""Calls after the first one of the last model in the list."""

RETRIES_BEFORE_FALLBACK: Final = 1
"""The same where another model could be asked instead: somebody is waiting."""

RETRY_WINDOW: Final = 5.0
"""Seconds from the first call of a model to the start of its last; a longer wait is the inbox's business."""

_PAUSES: Final = (0.5, 1.5)  # seconds before the second and the third call


class Responder:
    """Gets answers from models. Lifetime: a turn; used by its thread.

    `model_for` gives the provider of a model's name. `wait` sleeps on a turn's stop flag and says whether it was set;
    it, `monotonic` and `jitter` (0 to 1) can be replaced in tests. Without a `breaker` it has one of its own. `asked`
    is the model that was asked last.
    """

    def __init__(
        self,
        model_for: Callable[[str], Model],
        *,
        meter: Meter | None = None,
        wait: Callable[[Cancel, float], bool] = Cancel.wait,
        monotonic: Callable[[], float] = time.monotonic,
        breaker: Breaker | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.breaker = breaker if breaker is not None else Breaker(monotonic=monotonic)
        self._model_for = model_for
        self._meter: Meter = meter if meter is not None else Unmetered()
        self._wait = wait
        self._monotonic = monotonic
        self._jitter = jitter
        self.asked: str | None = None

    def respond(self, request: ModelRequest, cancel: Cancel, on_text: Callable[[str], None]) -> Answer:
        """Ask the model, else its fallbacks, and give the text to `on_text` as it comes, on this thread.

        Raises ModelUnavailable (also, with `retry_after`, while the breaker holds calls off), ModelInterrupted,
        EmptyAnswer, ModelRejected, OverBudget or Cancelled, and whatever `on_text` raises. What `on_text` was given
        before is then the partial text. Where several models were tried, what gives most hope: a failure that passes
        rather than one that does not, and of those that wish to be left alone the one that wishes it shortest.
        """
        reading = Reading(on_text, self._monotonic)
        models = tuple(dict.fromkeys((request.model, *request.fallbacks)))
        tried: list[Tried] = []
        failures: list[ModelError] = []
        for name in models:
            self.asked = name
            retries = RETRIES if name == models[-1] else RETRIES_BEFORE_FALLBACK
            try:
                stop = self._ask(_for(request, name), cancel, reading, retries)
                return reading.finish(stop, tuple(tried))
            except (ModelUnavailable, ModelInterrupted, ModelNotServed) as error:
                tried.append(Tried(name, type(error).__name__))
                error.tried = tuple((one.model, one.error) for one in tried) if len(models) > 1 else ()
                if reading.first_text_at is not None:
                    raise
                failures.append(error)
        raise _most_hopeful(failures)

    def _ask(self, request: ModelRequest, cancel: Cancel, reading: Reading, retries: int) -> ModelStop:
        began, calls = self._monotonic(), 0
        while True:
            calls += 1
            cancel.check()
            self._ask_leave(request.model)
            try:
                return self._call(request, cancel, reading)
            except (ModelUnavailable, ModelInterrupted) as error:
                pause = self._pause(error, calls)
                late = self._monotonic() - began + pause > RETRY_WINDOW
                if reading.first_text_at is not None or calls > retries or late:
                    raise
            if self._wait(cancel, pause):
                raise Cancelled

    def _ask_leave(self, model: str) -> None:
        hold = self.breaker.admit(model)
        if hold:
            raise ModelUnavailable(
                "The model has been unavailable; new calls are held off for a moment.", retry_after=hold
            )

    def _call(self, request: ModelRequest, cancel: Cancel, reading: Reading) -> ModelStop:
        verdict = self.breaker.released
        try:
            stop = self._charged(request, cancel, reading)
            verdict = self.breaker.answered
        except ModelError as error:
            if cancel.is_set():  # a call that we cut ourselves looks like a failure of the provider
                raise Cancelled from error
            if isinstance(error, ModelUnavailable):
                verdict = self.breaker.failed
            elif isinstance(error, ModelRejected) and not isinstance(error, ModelUnpriced):  # that one was not asked
                verdict = self.breaker.reached
            raise
        finally:
            verdict(request.model)
        return stop

    def _charged(self, request: ModelRequest, cancel: Cancel, reading: Reading) -> ModelStop:
        charge = self._meter.reserve(request)
        model, request_id = request.model, None
        failure: str | None = "Cancelled"
        reading.tool_calls.clear()  # of a call that broke off
        try:
            stop = self._read(request, cancel, reading)
            model, request_id, failure = stop.model, stop.request_id, None
            return stop
        except ModelError as error:
            request_id, failure = error.request_id, type(error).__name__
            raise
        finally:
            heard = reading.heard_in_call
            charge.settle(Spent(model, reading.end_call(), request_id, failure, heard))

    def _read(self, request: ModelRequest, cancel: Cancel, reading: Reading) -> ModelStop:
        stream = self._model_for(request.model).stream(request, cancel)
        try:
            for event in stream:
                cancel.check()
                if isinstance(event, ModelStop):
                    return event
                if isinstance(event, UsageReport):
                    reading.usage = event.usage
                elif isinstance(event, ToolCall):
                    reading.tool_calls.append(event)
                else:
                    self._hear(event, request.model, reading)
        finally:
            close = getattr(stream, "close", None)  # a generator would keep its connection until collected
            if close is not None:
                close()
        cancel.check()
        raise ModelInterrupted("The model's answer ended without a stop reason. It is tried again later.")

    def _hear(self, event: TextDelta, model: str, reading: Reading) -> None:
        if reading.first_text_at is None:
            self.breaker.reached(model)
        reading.hear(event.text)

    def _pause(self, error: ModelError, calls: int) -> float:
        if isinstance(error, ModelUnavailable) and error.retry_after is not None:
            return error.retry_after
        return _PAUSES[min(calls, len(_PAUSES)) - 1] * (0.5 + self._jitter() / 2)


def _most_hopeful(failures: list[ModelError]) -> ModelError:
    passing = [one for one in failures if isinstance(one, ModelUnavailable)]
    if passing:
        chosen: ModelError = min(passing, key=lambda one: one.retry_after or 0.0)
    else:
        chosen = next((one for one in reversed(failures) if not isinstance(one, ModelNotServed)), failures[-1])
    chosen.tried = failures[-1].tried
    return chosen


def _for(request: ModelRequest, model: str) -> ModelRequest:
    return replace(request, model=model, fallbacks=()) if request.fallbacks else request
