"""What becomes of a model call: rules of ACCEPTANCE E1-E3 and C1, DESIGN "When it fails"."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_neolith_orchestrator.chat.breaker import FAILURES_TO_OPEN, LONGEST_HOLD, PROBE_SECONDS, Breaker
from flask_neolith_orchestrator.chat.metering import Charge, Spent
from flask_neolith_orchestrator.chat.reading import CUT_SHORT, REFUSED, REFUSED_MIDWAY, Answer
from flask_neolith_orchestrator.chat.responder import RETRIES, RETRY_WINDOW, Responder
from flask_neolith_orchestrator.core.cancel import Cancel, Cancelled, StopReason
from flask_neolith_orchestrator.core.errors import (
    EmptyAnswer,
    ModelError,
    ModelInterrupted,
    ModelRejected,
    ModelUnavailable,
    ModelUnpriced,
    OverBudget,
)
from flask_neolith_orchestrator.core.model import (
    ModelEvent,
    ModelMessage,
    ModelRequest,
    ModelStop,
    TextDelta,
    ToolCall,
    UsageReport,
)
from flask_neolith_orchestrator.core.types import Usage

REQUEST = ModelRequest("m", "system", (ModelMessage("user", "hi"),))
STOP = ModelStop("end_turn", "m-1", "req_1")
Step = ModelEvent | BaseException | Callable[[], None]


class FakeModel:
    """Plays one script per call: events are given, exceptions raised, callables called."""

    name = "fake"

    def __init__(self, *scripts: Iterable[Step]) -> None:
        self.scripts = [list(script) for script in scripts]
        self.calls = 0
        self.open = 0

    def stream(self, request: ModelRequest, cancel: Cancel) -> Iterator[ModelEvent]:
        assert request is REQUEST
        script = self.scripts[self.calls]
        self.calls += 1
        self.open += 1
        try:
            for step in script:
                if isinstance(step, BaseException):
                    raise step
                if callable(step):
                    step()
                else:
                    yield step
        finally:
            self.open -= 1

    def check(self) -> str | None:
        return None

    def close(self) -> None:
        pass


class World:
    """A clock that only waiting moves, and everything a responder is made from."""

    def __init__(self, *scripts: Iterable[Step]) -> None:
        self.now = 100.0
        self.model = FakeModel(*scripts)
        self.cancel = Cancel()
        self.heard: list[str] = []
        self.waited: list[float] = []
        self.breaker = Breaker(monotonic=self.monotonic, jitter=lambda: 1.0)
        self.responder = Responder(
            lambda name: self.model, wait=self.wait, monotonic=self.monotonic, breaker=self.breaker, jitter=lambda: 1.0
        )

    def monotonic(self) -> float:
        return self.now

    def wait(self, cancel: Cancel, seconds: float) -> bool:
        self.waited.append(seconds)
        self.now += seconds
        return cancel.is_set()

    def pass_time(self, seconds: float) -> Callable[[], None]:
        """A step of a script that takes so long."""

        def step() -> None:
            self.now += seconds

        return step

    def stop(self) -> None:
        self.cancel.set(StopReason.PERSON)

    def respond(self) -> Answer:
        try:
            return self.responder.respond(REQUEST, self.cancel, self.heard.append)
        finally:
            assert self.model.open == 0, "a stream was left open"


def ignore(text: str) -> None:
    """Hear nothing."""


def say(*texts: str) -> list[Step]:
    """A complete answer in these pieces."""
    return [*map(TextDelta, texts), STOP]


def test_an_answer_is_the_text_that_was_heard() -> None:
    """Pieces go out as they come; the answer has them in one, with cost, model and request id (E1)."""
    usage = Usage(10, 2, 3, 4)
    world = World(
        [
            UsageReport(Usage(10)),
            TextDelta("Hel"),
            ToolCall("t", "n", {}),
            TextDelta(""),
            TextDelta("lo"),
            UsageReport(usage),
            STOP,
        ]
    )
    assert world.respond() == Answer("Hello", usage, "end_turn", "m-1", 100.0, 1, "req_1")
    assert world.heard == ["Hel", "lo"]
    assert world.waited == []


def test_nothing_is_read_behind_the_stop() -> None:
    """The stop is the last event; the stream is closed there."""
    world = World([TextDelta("a"), STOP, TextDelta("b")])
    assert world.respond().text == "a"


def test_blank_beginnings_are_dropped_and_text_is_cleaned() -> None:
    """An answer begins with its first visible line, and what cannot be stored never gets out (F6)."""
    world = World(say("\n", " \n", "  ", "", "\n    co", "de\x00\ud800\r\n", "\n"))
    assert world.respond().text == "    code\ufffd\n\n"
    assert world.heard == ["    co", "de\ufffd\n", "\n"]


def test_the_first_text_is_timed() -> None:
    """The time of the first visible character is known, not that of blanks before it."""
    world = World([])
    world.model.scripts = [[TextDelta("\n"), world.pass_time(3), TextDelta("x"), world.pass_time(1), STOP]]
    assert world.respond().first_text_at == 103.0


UNAVAILABLE = ModelUnavailable("busy")


@pytest.mark.parametrize("failure", [ModelUnavailable("busy"), ModelInterrupted("cut")])
def test_passing_failures_before_the_text_are_tried_again(failure: ModelError) -> None:
    """At most two more calls are made before the first text, with growing pauses, and their cost adds up (E3)."""
    world = World(
        [UsageReport(Usage(5)), failure],
        [TextDelta("  "), UsageReport(Usage(5)), failure],
        [UsageReport(Usage(5, 1)), *say("x")],
    )
    answer = world.respond()
    assert (answer.text, answer.calls, answer.usage) == ("x", 3, Usage(15, 1))
    assert world.waited == [0.5, 1.5]


def test_it_gives_up_after_the_last_retry() -> None:
    """The third failure is raised as it is."""
    world = World(*[[ModelUnavailable(str(n), retry_after=0.1)] for n in range(9)])
    with pytest.raises(ModelUnavailable, match=r"^2$"):
        world.respond()
    assert world.model.calls == 1 + RETRIES
    assert world.waited == [0.1, 0.1]


def test_a_long_wait_is_left_to_the_inbox() -> None:
    """Where the provider wants more time than the window has, the failure is raised at once with its wish (E3)."""
    world = World([ModelUnavailable("limited", retry_after=RETRY_WINDOW + 0.1)])
    with pytest.raises(ModelUnavailable) as caught:
        world.respond()
    assert caught.value.retry_after == RETRY_WINDOW + 0.1
    assert world.waited == []
    slow = World([])
    slow.model.scripts = [[slow.pass_time(RETRY_WINDOW), UNAVAILABLE]]
    with pytest.raises(ModelUnavailable):
        slow.respond()
    assert slow.waited == []
    exact = World([ModelUnavailable("limited", retry_after=RETRY_WINDOW)], say("x"))
    assert exact.respond().calls == 2


@pytest.mark.parametrize("failure", [ModelUnavailable("busy"), ModelInterrupted("cut")])
def test_after_the_first_text_nothing_is_repeated(failure: ModelError) -> None:
    """A stream that fails after its first text leaves the partial text and is not called again (E1, E3)."""
    world = World([TextDelta("Hel"), failure])
    with pytest.raises(type(failure)):
        world.respond()
    assert world.heard == ["Hel"]
    assert world.model.calls == 1


def test_a_stream_without_a_stop_is_interrupted() -> None:
    """A stream that just ends was cut, however much it said; without text it is tried again (E3)."""
    world = World([TextDelta("Hello.")])
    with pytest.raises(ModelInterrupted, match="without a stop reason"):
        world.respond()
    assert World([], say("x")).respond().calls == 2


def test_a_rejection_is_final() -> None:
    """A permanent error is raised at once (E3)."""
    world = World([ModelRejected("bad key")])
    with pytest.raises(ModelRejected):
        world.respond()
    assert world.model.calls == 1
    assert world.waited == []


@pytest.mark.parametrize(
    "script",
    [
        say(),
        say("", " \n", "\t"),
        say("\u200b", " \ufeff"),
        [ModelStop("max_tokens", "m")],
        [ToolCall("t", "n", {}), ModelStop("end_turn", "m")],
    ],
)
def test_an_empty_answer_is_a_failure(script: list[Step]) -> None:
    """An answer in which nobody sees anything is none, and it is not asked for again at once (E1)."""
    world = World(script)
    with pytest.raises(EmptyAnswer, match="empty answer"):
        world.respond()
    assert world.heard == []
    assert world.model.calls == 1
    with pytest.raises(EmptyAnswer) as caught:
        World(say()).respond()
    assert caught.value.request_id == "req_1"


def test_a_refusal_is_told_politely() -> None:
    """A refusal is an answer: a sentence of its own, or the end of what was already said."""
    world = World([TextDelta("\n"), ModelStop("refusal", "m")])
    assert world.respond().text == REFUSED
    assert world.heard == [REFUSED]
    midway = World([TextDelta("First,"), ModelStop("refusal", "m")])
    assert midway.respond().text == f"First,\n\n{REFUSED_MIDWAY}"
    assert "".join(midway.heard) == f"First,\n\n{REFUSED_MIDWAY}"


@pytest.mark.parametrize("reason", ["max_tokens", "model_context_window_exceeded"])
def test_a_cut_answer_is_kept_with_a_mark(reason: str) -> None:
    """An answer that reached its limit stays, and says so (E1)."""
    world = World([TextDelta("Very long"), ModelStop(reason, "m")])
    answer = world.respond()
    assert (answer.text, answer.stop_reason) == (f"Very long\n\n{CUT_SHORT}", reason)


@pytest.mark.parametrize(
    ("text", "fence"),
    [
        ("```py\nx = 1", "```"),
        ("~~~~\nx\n~~~", "~~~~"),
        ("```\na\n```\n````md\n```\nb", "````"),
        ("``` a`b\nx", ""),
        ("~~~ a`b\nx", "~~~"),
        ("```\nx\n```", ""),
        ("```\nx\n``` no end", "```"),
        ("    ```\nx", ""),
    ],
)
def test_the_mark_stands_outside_code(text: str, fence: str) -> None:
    """A fence that the limit left open is closed first, so that the mark is no code (E4)."""
    world = World([TextDelta(text), ModelStop("max_tokens", "m")])
    closing = f"\n{fence}" if fence else ""
    assert world.respond().text == f"{text}{closing}\n\n{CUT_SHORT}"


def test_told_to_stop_before_it_begins() -> None:
    """A turn that was stopped makes no call (E2)."""
    world = World(say("x"))
    world.stop()
    with pytest.raises(Cancelled):
        world.respond()
    assert world.model.calls == 0


def test_told_to_stop_between_two_pieces() -> None:
    """Nothing more is heard after the stop; the partial text stays (E2)."""
    world = World([])
    world.model.scripts = [[TextDelta("a"), world.stop, TextDelta("b"), STOP]]
    with pytest.raises(Cancelled):
        world.respond()
    assert world.heard == ["a"]


@pytest.mark.parametrize("failure", [ModelUnavailable(), ModelInterrupted(), ModelRejected(), Cancelled(), None])
def test_a_stop_is_no_failure_of_the_provider(failure: Exception | None) -> None:
    """Whatever the cut call looks like, a stopped turn is stopped, and the breaker counts nothing (E2, E3)."""
    for _ in range(FAILURES_TO_OPEN + 1):
        world = World([])
        world.model.scripts = [[world.stop, *([failure] if failure else [])]]
        with pytest.raises(Cancelled):
            world.respond()
        assert world.waited == []
    assert world.breaker.wait_seconds("m") == 0


def test_a_pause_ends_with_the_stop() -> None:
    """While it waits for the next call, stop is instant (E3)."""
    world = World([UNAVAILABLE], say("x"))
    world.model.scripts[0].insert(0, lambda: None)

    def wait(cancel: Cancel, seconds: float) -> bool:
        world.stop()
        return cancel.wait(seconds)

    responder = Responder(lambda name: world.model, wait=wait)
    with pytest.raises(Cancelled):
        responder.respond(REQUEST, world.cancel, world.heard.append)
    assert world.model.calls == 1


def test_the_real_wait_is_the_stop_flag() -> None:
    """Without replacements it sleeps on the stop flag of the turn: a stop from another thread ends it at once."""
    cancel = Cancel()
    model = FakeModel([ModelUnavailable("busy", retry_after=4.9)], say("x"))
    threading.Timer(0.05, cancel.set, [StopReason.PERSON]).start()
    with pytest.raises(Cancelled):
        Responder(lambda name: model).respond(REQUEST, cancel, ignore)
    assert model.calls == 1


def test_a_listener_that_raises_ends_the_call() -> None:
    """What `on_text` raises comes through, and the stream is closed."""
    world = World(say("a", "b"))

    def refuse(text: str) -> None:
        raise LookupError(text)

    with pytest.raises(LookupError):
        world.responder.respond(REQUEST, world.cancel, refuse)
    assert world.model.open == 0


def test_a_stream_need_not_be_a_generator() -> None:
    """Any iterator of events will do."""

    class Plain(FakeModel):
        def stream(self, request: ModelRequest, cancel: Cancel) -> Iterator[ModelEvent]:
            return iter(self.scripts[0])  # type: ignore[arg-type]  # these scripts hold events only

    assert Responder(lambda name: Plain(say("x"))).respond(REQUEST, Cancel(), ignore).text == "x"
    with pytest.raises(ModelInterrupted):
        Responder(lambda name: Plain([TextDelta("x")])).respond(REQUEST, Cancel(), ignore)


PIECES = st.lists(st.text(alphabet=" \n\tab`\x00\ud800", max_size=4), max_size=6)


@given(PIECES, st.sampled_from(["end_turn", "max_tokens", "refusal", "stop_sequence"]))
def test_the_answer_is_always_what_was_heard(pieces: list[str], reason: str) -> None:
    """However the text is cut into pieces and ends, the answer is their sum, visible and storable."""
    world = World([*map(TextDelta, pieces), ModelStop(reason, "m")])
    try:
        answer = world.respond()
    except EmptyAnswer:
        assert not "".join(pieces).replace("\x00", "").strip()
        return
    assert answer.text == "".join(world.heard)
    assert answer.text.strip()
    answer.text.encode("utf-8")


def fail(world: World, times: int) -> None:
    """So many unavailable calls, each raised at once."""
    for _ in range(times):
        world.model.scripts.append([ModelUnavailable("down", retry_after=60)])
        with pytest.raises(ModelUnavailable, match="down"):
            world.respond()


def test_it_opens_after_failures_in_a_row() -> None:
    """Five failures in a row hold new calls off without a call; the wait is told (C1)."""
    world = World()
    fail(world, FAILURES_TO_OPEN - 1)
    assert world.breaker.wait_seconds("m") == 0
    fail(world, 1)
    assert world.breaker.wait_seconds("m") == 1.0
    with pytest.raises(ModelUnavailable, match="held off") as caught:
        world.respond()
    assert caught.value.retry_after == 1.0
    assert world.model.calls == FAILURES_TO_OPEN
    assert world.breaker.wait_seconds("another model") == 0


def test_a_success_between_failures_keeps_it_closed() -> None:
    """Only failures in a row count: an answer, a text or a rejection shows that the provider lives."""
    signs: list[list[Step]] = [say("x"), [TextDelta("x"), ModelInterrupted("cut")], [ModelRejected("no")]]
    for sign in signs:
        world = World()
        fail(world, FAILURES_TO_OPEN - 1)
        world.model.scripts.append(sign)
        with contextlib.suppress(ModelError):
            world.respond()
        fail(world, FAILURES_TO_OPEN - 1)
        assert world.breaker.wait_seconds("m") == 0


def test_one_call_probes_and_pauses_grow() -> None:
    """After the pause one call may try, the others wait; failed probes double the pause up to 30 s (C1)."""
    world = World()
    fail(world, FAILURES_TO_OPEN)
    holds = []
    for _ in range(8):
        hold = world.breaker.wait_seconds("m")
        holds.append(hold)
        world.now += hold
        assert world.breaker.wait_seconds("m") == 0
        fail(world, 1)
    assert holds == [1, 2, 4, 8, 16, LONGEST_HOLD, LONGEST_HOLD, LONGEST_HOLD]
    world.now += LONGEST_HOLD
    assert world.breaker.admit("m") == 0
    assert world.breaker.admit("m") == 1.0
    assert world.breaker.wait_seconds("m") == 1.0
    world.breaker.answered("m")
    assert world.breaker.wait_seconds("m") == 0
    fail(world, FAILURES_TO_OPEN)
    assert world.breaker.wait_seconds("m") == 1.0


def test_the_first_text_of_a_probe_lets_the_others_in() -> None:
    """The provider is back with its first word; nobody waits for the end of the answer (C1)."""
    world = World()
    fail(world, FAILURES_TO_OPEN)
    world.now += 1
    seen: list[float] = []

    def look() -> None:
        seen.append(world.breaker.wait_seconds("m"))

    world.model.scripts.append([look, TextDelta("x"), look, TextDelta("y"), look, STOP])
    assert world.respond().text == "xy"
    assert seen == [1.0, 0, 0]


def test_a_probe_that_tells_nothing_is_given_back() -> None:
    """A probe that was stopped lets the next call try at once, and one that vanished is forgotten in time."""
    world = World()
    fail(world, FAILURES_TO_OPEN)
    world.now += 1
    world.model.scripts.append([world.stop, ModelUnavailable()])
    with pytest.raises(Cancelled):
        world.respond()
    assert world.breaker.admit("m") == 0
    world.now += PROBE_SECONDS - 0.25
    assert world.breaker.admit("m") == 0.25
    world.now += 0.25
    assert world.breaker.admit("m") == 0


def test_late_failures_change_nothing() -> None:
    """Calls that began before it opened and fail later do not make the pause longer."""
    world = World()
    for _ in range(20):
        world.breaker.failed("m")
    assert world.breaker.wait_seconds("m") == 1.0
    world.now += 1
    world.breaker.failed("m")
    assert world.breaker.wait_seconds("m") == 2.0


def test_jitter_spreads_the_pauses() -> None:
    """Pauses are between half and all of their length, so that processes do not return in step."""
    for jitter, hold in ((0.0, 0.5), (0.5, 0.75), (1.0, 1.0)):
        breaker = Breaker(monotonic=lambda: 0.0, jitter=lambda jitter=jitter: jitter)  # type: ignore[misc]  # bound per round
        for _ in range(FAILURES_TO_OPEN):
            breaker.failed("m")
        assert breaker.wait_seconds("m") == hold
    world = World([UNAVAILABLE], say("x"))
    lazy = Responder(lambda name: world.model, wait=world.wait, monotonic=world.monotonic, jitter=lambda: 0.0)
    lazy.respond(REQUEST, world.cancel, world.heard.append)
    assert world.waited == [0.25]


def test_whether_others_were_answered_is_known() -> None:
    """Only complete answers after the moment count, so a cut stream is not its own witness (DESIGN 5)."""
    world = World([TextDelta("x"), ModelInterrupted("cut")], say("y"), say())
    assert not world.breaker.answered_since("m", 0.0)
    with pytest.raises(ModelInterrupted):
        world.respond()
    assert not world.breaker.answered_since("m", 0.0)
    world.now += 1
    world.respond()
    assert world.breaker.answered_since("m", 100.0)
    assert not world.breaker.answered_since("m", 101.0)
    assert not world.breaker.answered_since("another model", 0.0)
    fail_at = world.now
    world.breaker.failed("m")
    world.breaker.reached("m")
    assert world.breaker.answered_since("m", fail_at - 0.5)


def test_many_threads_get_one_probe() -> None:
    """The leave to probe is given once, whatever the number of threads that ask."""
    now = [0.0]
    breaker = Breaker(monotonic=lambda: now[0], jitter=lambda: 1.0)
    for _ in range(FAILURES_TO_OPEN):
        breaker.failed("m")
    now[0] = 1.0
    start = threading.Barrier(16)
    leaves: list[float] = []

    def ask() -> None:
        start.wait()
        leaves.append(breaker.admit("m"))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert leaves.count(0.0) == 1
    assert len(leaves) == 16


class Purse:
    """A meter that remembers, and refuses models by name. Lifetime: a test."""

    def __init__(self, **refusals: Exception) -> None:
        self.refusals = refusals
        self.told: list[str | Spent] = []

    def reserve(self, request: ModelRequest) -> Charge:
        """Ask leave."""
        self.told.append(f"reserve {request.model}")
        if request.model in self.refusals:
            raise self.refusals[request.model]
        return self

    def settle(self, spent: Spent) -> None:
        """It has ended."""
        self.told.append(spent)


class Cast:
    """Models by name, each with scripts of its own. Lifetime: a test."""

    def __init__(self, **scripts: list[list[Step]]) -> None:
        self.scripts = scripts
        self.asked: list[str] = []

    def __call__(self, name: str) -> FakeModel:
        self.asked.append(name)
        model = FakeModel(self.scripts[name].pop(0))
        model.stream = lambda request, cancel: FakeModel.stream(model, REQUEST, cancel)  # type: ignore[method-assign]  # named anew
        return model


def metered(purse: Purse, cast: Cast, *fallbacks: str) -> Answer:
    """An answer that a purse pays."""
    responder = Responder(cast, meter=purse, wait=lambda _cancel, _seconds: False, jitter=lambda: 1.0)
    return responder.respond(replace(REQUEST, fallbacks=fallbacks), Cancel(), ignore)


def test_every_call_is_reserved_before_and_settled_after() -> None:
    """A retry is a call of its own; the one that broke off is settled with what came of it and why."""
    usage = UsageReport(Usage(10, 1))
    cast = Cast(m=[[usage, ModelInterrupted("cut", request_id="r0")], [usage, *say("Hel", "lo")]])
    purse = Purse()
    assert metered(purse, cast).text == "Hello"
    cut, whole = Spent("m", Usage(10, 1), "r0", "ModelInterrupted"), Spent("m-1", Usage(10, 1), "req_1", None, "Hello")
    assert purse.told == ["reserve m", cut, "reserve m", whole]


def test_the_text_of_a_broken_call_is_told_to_whoever_counts() -> None:
    """Its own alone: not what other calls had said."""
    purse = Purse()
    with pytest.raises(ModelInterrupted):
        metered(purse, Cast(m=[[TextDelta("Hel"), TextDelta("lo"), ModelInterrupted("cut")]]))
    assert purse.told[1] == Spent("m", Usage(), None, "ModelInterrupted", "Hello")


def test_a_fallback_is_reserved_by_its_own_name() -> None:
    """Each model has its own price."""
    purse = Purse()
    cast = Cast(m=[[ModelUnavailable("busy")], [ModelUnavailable("busy")]], other=[say("x")])
    assert metered(purse, cast, "other").tried[0].model == "m"
    assert [one for one in purse.told if isinstance(one, str)] == ["reserve m", "reserve m", "reserve other"]


def test_over_budget_no_model_is_asked() -> None:
    """Neither this one nor its fallbacks: the money is the same."""
    purse, cast = Purse(m=OverBudget()), Cast(other=[say("x")])
    with pytest.raises(OverBudget):
        metered(purse, cast, "other")
    assert (cast.asked, purse.told) == ([], ["reserve m"])


def test_a_model_without_a_price_is_passed_over() -> None:
    """Where dollars are limited the next one may be paid; that nobody was asked says nothing of the provider."""
    purse, cast = Purse(m=ModelUnpriced()), Cast(other=[say("x")])
    assert metered(purse, cast, "other").text == "x"
    breaker = Breaker(monotonic=lambda: 0.0, jitter=lambda: 1.0)
    for _ in range(FAILURES_TO_OPEN - 1):
        breaker.failed("m")
    with pytest.raises(ModelUnpriced):
        Responder(cast, meter=purse, breaker=breaker).respond(REQUEST, Cancel(), ignore)
    breaker.failed("m")
    assert breaker.wait_seconds("m") > 0


def test_a_stopped_call_is_settled_too() -> None:
    """Whatever ends a call, what was reserved is given back."""
    world, purse = World([]), Purse()
    world.model.scripts = [[UsageReport(Usage(10)), TextDelta("a"), world.stop, TextDelta("b"), STOP]]
    with pytest.raises(Cancelled):
        Responder(lambda _name: world.model, meter=purse).respond(REQUEST, world.cancel, ignore)
    assert purse.told == ["reserve m", Spent("m", Usage(10), None, "Cancelled", "a")]
