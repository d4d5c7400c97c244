"""The offline model keeps the promises of the model port without any provider."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from flask_neolith_orchestrator.backends.scripted import REMEMBERED_REQUESTS, Reply
from flask_neolith_orchestrator.core.cancel import Cancel, Cancelled, StopReason
from flask_neolith_orchestrator.core.errors import ModelInterrupted, ModelUnavailable
from flask_neolith_orchestrator.core.model import (
    Model,
    ModelEvent,
    ModelMessage,
    ModelRequest,
    ModelStop,
    TextDelta,
    ToolCall,
    ToolResult,
    ToolSpec,
    UsageReport,
)
from flask_neolith_orchestrator.core.types import Usage
from flask_neolith_orchestrator.testing import ScriptedModel


def ask(*lines: str, system: str = "You are Ada.") -> ModelRequest:
    """A request whose lines are all by the user."""
    return ModelRequest("claude-sonnet-5-5", system, tuple(ModelMessage("user", line) for line in lines))


def answer(model: Model, request: ModelRequest) -> str:
    """The text of one complete answer."""
    return "".join(event.text for event in model.stream(request, Cancel()) if isinstance(event, TextDelta))


def test_it_says_that_it_is_the_offline_model() -> None:
    """Nobody can take it for Claude: each answer says what it is, what it heard and what to do."""
    text = answer(ScriptedModel(), ask("first", "How are you?"))
    assert "offline model" in text
    assert "> How are you?" in text
    assert "first" not in text
    assert "ANTHROPIC_API_KEY" in text


def test_it_answers_the_same_each_time() -> None:
    """No chance and no memory: the same request has the same answer."""
    model = ScriptedModel()
    assert answer(model, ask("hi")) == answer(model, ask("hi"))


def test_it_quotes_the_last_words_of_the_user() -> None:
    """Its own earlier answers are not what it heard."""
    lines = (ModelMessage("user", "question"), ModelMessage("assistant", "answer"))
    assert "> question" in answer(ScriptedModel(), ModelRequest("m", "", lines))


def test_every_line_of_a_quote_stays_in_the_quote() -> None:
    """Fences and lists that were said do not change how the rest of the answer looks."""
    text = answer(ScriptedModel(), ask("look:\n```\ncode\n\nmore"))
    assert "> look:\n> ```\n> code\n>\n> more\n\nSet" in text


@pytest.mark.parametrize(
    ("heard", "quoted"),
    [
        ("", "Hello!"),
        (" \n ", "Hello!"),
        ("a\ud800b", "> a?b"),
        ("a\x00b\x1b[1m", "> ab[1m"),
        ("\U0001f600 é", "> \U0001f600 é"),
        ("x" * 20_000, "> " + "x" * 500 + " …\n"),
    ],
)
def test_no_text_breaks_it(heard: str, quoted: str) -> None:
    """Whatever was said, the answer can be stored and sent."""
    text = answer(ScriptedModel(), ask(heard))
    assert quoted in text
    assert text.encode("utf-8")
    assert "\x00" not in text


def test_a_request_without_messages_is_answered() -> None:
    """Whoever says nothing is greeted."""
    assert "Hello!" in answer(ScriptedModel(), ask())


def test_it_streams_word_by_word_between_usage_and_stop() -> None:
    """Usage comes early and at the end, the stop last; the words together are the reply, white space kept."""
    reply = "  one two\n\nthree "
    events = list(ScriptedModel(replies=[reply]).stream(ask("12345678", system="1234"), Cancel()))
    assert events == [
        UsageReport(Usage(input_tokens=3)),
        TextDelta("  "),
        TextDelta("one "),
        TextDelta("two\n\n"),
        TextDelta("three "),
        UsageReport(Usage(input_tokens=3, output_tokens=5)),
        ModelStop("end_turn", "scripted", content=(reply,)),
    ]


def test_a_series_of_replies_is_used_up() -> None:
    """Each request takes the next reply; after the last one the offline answer comes."""
    model = ScriptedModel(replies=["one", "two"])
    assert [answer(model, ask("hi")) for _ in range(2)] == ["one", "two"]
    assert "offline" in answer(model, ask("hi"))


def test_replies_may_depend_on_the_request() -> None:
    """A function of the request decides."""
    model = ScriptedModel(replies=lambda request: request.messages[-1].text.upper())
    assert answer(model, ask("hi")) == "HI"


def test_an_error_is_raised_in_its_turn() -> None:
    """An exception among the replies is raised, and the next request goes on with the script."""
    model = ScriptedModel(replies=[ModelUnavailable(retry_after=3), "well again"])
    with pytest.raises(ModelUnavailable) as caught:
        answer(model, ask("hi"))
    assert caught.value.retry_after == 3
    assert answer(model, ask("hi")) == "well again"


def test_an_answer_may_break_off() -> None:
    """Text before an exception has been said."""
    stream = ScriptedModel(replies=[("half an ", ModelInterrupted())]).stream(ask("hi"), Cancel())
    assert [next(stream) for _ in range(3)][1:] == [TextDelta("half "), TextDelta("an ")]
    with pytest.raises(ModelInterrupted):
        next(stream)


def test_a_tool_may_be_called() -> None:
    """A tool call passes through and is the reason of the stop."""
    call = ToolCall("t1", "add", {"a": 1})
    events = list(ScriptedModel(replies=[("let me see", call)]).stream(ask("hi"), Cancel()))
    assert call in events
    assert events[-1] == ModelStop("tool_use", "scripted", content=("let me see", call))


def test_the_offline_answer_names_the_tools() -> None:
    """Who tries it out without a key is told what Claude could use here."""
    request = replace(ask("hi"), tools=(ToolSpec("add", "Adds.", {}), ToolSpec("mail", "Mails.", {})))
    assert "use tools here: `add`, `mail`" in answer(ScriptedModel(), request)


def test_an_empty_reply_is_an_empty_answer() -> None:
    """A model that says nothing can be played."""
    replies: list[Reply] = ["", ()]
    model = ScriptedModel(replies=replies)
    assert [answer(model, ask("hi")) for _ in range(2)] == ["", ""]


def test_requests_are_recorded() -> None:
    """A test can look at what was asked; a demo that runs for weeks does not fill the memory."""
    model = ScriptedModel()
    for number in range(REMEMBERED_REQUESTS + 5):
        next(model.stream(ask(str(number)), Cancel()))
    assert len(model.requests) == REMEMBERED_REQUESTS
    assert model.requests[-1] == ask(str(REMEMBERED_REQUESTS + 4))


def test_a_stop_ends_a_slow_answer_at_once() -> None:
    """The delay between two words is no hindrance."""
    model, cancel = ScriptedModel(delay=60), Cancel()
    waiting, ended = threading.Event(), threading.Event()
    outcome: list[type[Exception] | ModelEvent] = []

    def run() -> None:
        stream = model.stream(ask("hi"), cancel)
        next(stream)
        waiting.set()
        try:
            outcome.append(next(stream))
        except Cancelled:
            outcome.append(Cancelled)
        ended.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert waiting.wait(5)
    told_at = time.monotonic()
    cancel.set(StopReason.PERSON)
    assert ended.wait(5)
    assert time.monotonic() - told_at < 0.5
    thread.join()
    assert outcome == [Cancelled]


def test_a_stop_is_seen_between_two_words_and_at_the_end() -> None:
    """Without any delay a stop is obeyed too, and nothing is asked after it."""
    cancel = Cancel()
    stream = ScriptedModel(replies=["one two"]).stream(ask("hi"), cancel)
    assert [next(stream) for _ in range(3)][-1] == TextDelta("two")
    cancel.set(StopReason.PERSON)
    with pytest.raises(Cancelled):
        next(stream)
    model = ScriptedModel()
    with pytest.raises(Cancelled):
        next(model.stream(ask("hi"), cancel))
    assert not model.requests


def test_it_needs_nothing_and_can_be_closed_twice() -> None:
    """There is always an offline model."""
    model = ScriptedModel()
    assert model.check() is None
    model.close()
    model.close()
    assert model.name == "scripted"


def test_only_what_was_asked_last_is_quoted() -> None:
    """The marks of the prompt and other people's lines are no business of the demo's reader; a bare call is greeted."""
    heard = "[Otto (@otto)]: I am done.\n\n[Maya]: @ada and you?"
    said = answer(ScriptedModel(), ask(heard))
    assert "> @ada and you?" in said
    assert "[Maya]" not in said
    assert "Otto" not in said
    assert "Hello!" in answer(ScriptedModel(), ask("[Maya]: @ada"))


def calling(*lines: str, may_call: bool = True) -> list[ModelEvent]:
    """What happens where there is a tool."""
    tool = ToolSpec("pin", "Pins.", {"type": "object", "properties": {"text": {}}, "required": ["text"]})
    bare = ToolSpec("look", "Looks.", {"type": "object"})
    request = replace(ask(*lines), tools=(tool, bare), may_call=may_call)
    return list(ScriptedModel().stream(request, Cancel()))


def calls(events: list[ModelEvent]) -> list[tuple[str, object]]:
    """The calls among events."""
    return [(one.name, one.arguments) for one in events if isinstance(one, ToolCall)]


@pytest.mark.parametrize(
    ("said", "arguments"),
    [
        ("@ada use pin out of order", {"text": "out of order"}),
        ('use `pin`: {"text": "a", "n": 1}', {"text": "a", "n": 1}),
        ("Use PIN [1]", {"text": "[1]"}),
        ("use pin", {}),
    ],
)
def test_it_calls_a_tool_that_is_spelled_out(said: str, arguments: object) -> None:
    """With a JSON object, or with the rest as the text of its first parameter; it stops for the call."""
    events = calling(said)
    assert calls(events) == [("pin", arguments)]
    assert isinstance(events[-1], ModelStop)
    assert events[-1].reason == "tool_use"


def test_it_calls_nothing_else() -> None:
    """No tool that is not there, none where it may not, and none because the word is said."""
    assert calls(calling("use hammer now")) == calls(calling("of no use pin")) == []
    assert calls(calling("use pin x", may_call=False)) == []
    assert calls(calling("use look around")) == [("look", {})]


def test_it_tells_what_came_of_a_call() -> None:
    """The results of the last round are all that it speaks of."""
    call = ToolCall("c", "pin", {"text": "x"})
    result = ModelMessage("user", (ToolResult("c", "<tool-result>\nIt is there.\nTwice.\n</tool-result>"),))
    request = replace(ask("use pin x"), tools=(ToolSpec("pin", "Pins.", {}),))
    request = replace(request, messages=(*request.messages, ModelMessage("assistant", (call,)), result))
    assert answer(ScriptedModel(), request) == "What came of it:\n\n> It is there.\n> Twice."
