"""Which model answers where the first one cannot: in order, before the first text only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from flask_neolith_orchestrator.chat.breaker import FAILURES_TO_OPEN, Breaker
from flask_neolith_orchestrator.chat.reading import Answer, Tried
from flask_neolith_orchestrator.chat.responder import RETRIES, RETRIES_BEFORE_FALLBACK, Responder
from flask_neolith_orchestrator.core.cancel import Cancel
from flask_neolith_orchestrator.core.errors import (
    EmptyAnswer,
    ModelError,
    ModelInterrupted,
    ModelNotServed,
    ModelRejected,
    ModelUnavailable,
)
from flask_neolith_orchestrator.core.model import ModelEvent, ModelMessage, ModelRequest, ModelStop, TextDelta

Step = TextDelta | ModelError
ASK = ModelRequest("one", "", (ModelMessage("user", "hi"),), fallbacks=("two", "three"))


class Models:
    """Plays for each model its calls in order, the last one again and again; remembers who was asked."""

    name = "fake"

    def __init__(self, **scripts: list[list[Step]]) -> None:
        self.scripts = scripts
        self.asked: list[str] = []
        self.now = 0.0
        self.breaker = Breaker(monotonic=lambda: self.now, jitter=lambda: 1.0)

    def stream(self, request: ModelRequest, cancel: Cancel) -> Iterator[ModelEvent]:
        """One call."""
        assert request.fallbacks == ()
        before = self.asked.count(request.model)
        self.asked.append(request.model)
        calls = self.scripts[request.model]
        for step in calls[min(before, len(calls) - 1)]:
            if isinstance(step, ModelError):
                raise step
            yield step
        yield ModelStop("end_turn", f"{request.model}-1")

    def check(self) -> str | None:
        """Nothing is needed."""
        return None

    def close(self) -> None:
        """Nothing to close."""

    def wait(self, _cancel: Cancel, seconds: float) -> bool:
        """Time passes."""
        self.now += seconds
        return False

    def respond(self, request: ModelRequest = ASK, heard: list[str] | None = None) -> Answer:
        """Ask."""
        responder = Responder(
            lambda _name: self,
            wait=self.wait,
            monotonic=lambda: self.now,
            breaker=self.breaker,
            jitter=lambda: 1.0,
        )
        try:
            return responder.respond(request, Cancel(), ([] if heard is None else heard).append)
        finally:
            assert responder.asked == self.asked[-1] if self.asked else True


def fails(error: ModelError) -> list[list[Step]]:
    """Always fails so."""
    return [[error]]


Passing = ModelUnavailable
FINE: list[list[Step]] = [[TextDelta("Here.")]]


@pytest.mark.parametrize("error", [ModelUnavailable("busy"), ModelInterrupted("late"), EmptyAnswer()])
def test_the_next_model_answers(error: ModelError) -> None:
    """Overload and time-out of the first lead to the second after one more try, emptiness at once; it is told of."""
    models = Models(one=[[]] if isinstance(error, EmptyAnswer) else fails(error), two=FINE)
    answer = models.respond()
    assert (answer.text, answer.model) == ("Here.", "two-1")
    assert answer.tried == (Tried("one", type(error).__name__),)
    retried = 0 if isinstance(error, EmptyAnswer) else RETRIES_BEFORE_FALLBACK
    assert models.asked == ["one"] * (1 + retried) + ["two"]
    assert answer.calls == len(models.asked)


def test_what_is_not_served_is_left_at_once() -> None:
    """A model that is not there for us is not asked twice."""
    models = Models(one=fails(ModelNotServed("404")), two=fails(ModelNotServed("403")), three=FINE)
    assert models.respond().tried == (Tried("one", "ModelNotServed"), Tried("two", "ModelNotServed"))
    assert models.asked == ["one", "two", "three"]


def test_a_bad_request_is_nobodys_business() -> None:
    """What every model would refuse goes to no other one."""
    models = Models(one=fails(ModelRejected("400")), two=FINE)
    with pytest.raises(ModelRejected, match="400"):
        models.respond()
    assert models.asked == ["one"]


@pytest.mark.parametrize("error", [ModelUnavailable("busy"), ModelInterrupted("cut"), ModelNotServed("gone")])
def test_no_model_goes_on_with_anothers_text(error: ModelError) -> None:
    """After the first text there is no fallback: the partial text stays, and the error is raised."""
    models = Models(one=[[TextDelta("So"), error]], two=FINE)
    heard: list[str] = []
    with pytest.raises(type(error)) as caught:
        models.respond(heard=heard)
    assert heard == ["So"]
    assert models.asked == ["one"]
    assert caught.value.tried == (("one", type(error).__name__),)


def test_the_last_one_gets_all_retries() -> None:
    """Where nobody is left to ask, the last is asked as often as an only one."""
    models = Models(one=fails(ModelNotServed()), two=fails(ModelUnavailable("b", retry_after=0.1)))
    request = ModelRequest("one", "", ASK.messages, fallbacks=("two", "one"))
    with pytest.raises(ModelUnavailable):
        models.respond(request)
    assert models.asked == ["one"] + ["two"] * (1 + RETRIES)


def test_the_most_hopeful_failure_decides() -> None:
    """Where all are down: one that passes before one that lasts, and the shortest wish of those that have one."""
    everybody: Iterable[tuple[list[ModelError], type[ModelError], str]] = (
        (
            [ModelUnavailable("a", retry_after=30), ModelUnavailable("b", retry_after=7), ModelNotServed("c")],
            Passing,
            "b",
        ),
        ([ModelUnavailable("a", retry_after=9), ModelInterrupted("b"), ModelUnavailable("c")], Passing, "c"),
        ([ModelInterrupted("a"), ModelNotServed("b"), ModelNotServed("c")], ModelInterrupted, "a"),
        ([ModelNotServed("a"), ModelNotServed("b"), ModelNotServed("c")], ModelNotServed, "c"),
    )
    for errors, kind, said in everybody:
        models = Models(one=fails(errors[0]), two=fails(errors[1]), three=fails(errors[2]))
        with pytest.raises(kind, match=f"^{said}$") as caught:
            models.respond()
        names = ("one", "two", "three")
        assert caught.value.tried == tuple((name, type(one).__name__) for name, one in zip(names, errors, strict=True))


def test_an_only_model_is_told_of_by_itself() -> None:
    """Without a fallback there is nothing to list: the turn's own error says it."""
    models = Models(one=fails(ModelNotServed()))
    with pytest.raises(ModelNotServed) as caught:
        models.respond(ModelRequest("one", "", ASK.messages))
    assert caught.value.tried == ()


def test_a_model_that_is_held_off_is_passed_over() -> None:
    """The breaker is per model: what is known to be down is not called, and the next one is asked at once."""
    models = Models(one=fails(ModelUnavailable("down")), two=FINE)
    for _ in range(FAILURES_TO_OPEN):
        models.respond()
    models.asked.clear()
    assert models.respond().tried == (Tried("one", "ModelUnavailable"),)
    assert models.asked == ["two"]
