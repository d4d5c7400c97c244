"""The Claude backend over the real SDK and real HTTP: answers, failures and what is sent."""

from __future__ import annotations

import importlib.util
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import anthropic
import anthropic.lib.credentials
import anthropic.lib.foundry
import httpx2
import pytest

from flask_neolith_orchestrator.backends.claude import BAD_KEY, NO_KEY, NO_PACKAGE, ClaudeModel
from flask_neolith_orchestrator.backends.claude_answer import Answer
from flask_neolith_orchestrator.backends.claude_failures import failure_of, retry_after
from flask_neolith_orchestrator.core.cancel import Cancel
from flask_neolith_orchestrator.core.errors import (
    ModelError,
    ModelInterrupted,
    ModelNotServed,
    ModelRejected,
    ModelUnavailable,
)
from flask_neolith_orchestrator.core.model import (
    Model,
    ModelEvent,
    ModelMessage,
    ModelRequest,
    ModelStop,
    Opaque,
    TextDelta,
    ToolCall,
    ToolSpec,
    UsageReport,
)
from flask_neolith_orchestrator.core.types import Usage
from flask_neolith_orchestrator.testing import (
    FakeClaude,
    Step,
    drop,
    error,
    raw,
    silence,
    stream_error,
    text,
    thinking,
    tool,
    tools,
    truncate,
)

KEY = "sk-ant-secret-key"
QUESTION = "a very private question"
VARIABLES = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_PROFILE",
    "ANTHROPIC_FEDERATION_RULE_ID",
    "ANTHROPIC_CUSTOM_HEADERS",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, profile or proxy of the machine that runs the tests."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ANTHROPIC_CONFIG_DIR", raising=False)


@pytest.fixture
def api() -> Iterator[FakeClaude]:
    """A fake Claude for one test."""
    with FakeClaude() as server:
        yield server


@pytest.fixture
def model(api: FakeClaude) -> Iterator[ClaudeModel]:
    """A backend that talks to it and calls half a second of silence a failure."""
    backend = ClaudeModel(KEY, api.url, connect_timeout=2, read_timeout=0.5)
    yield backend
    backend.close()


def ask(*lines: str, system: str = "You are Ada.", **options: Any) -> ModelRequest:
    """A request whose lines are all by the user."""
    messages = tuple(ModelMessage("user", line) for line in lines or (QUESTION,))
    return ModelRequest("claude-sonnet-5-5", system, messages, **options)


def events(model: Model, request: ModelRequest | None = None) -> list[ModelEvent]:
    """All events of one call."""
    return list(model.stream(request or ask(), Cancel()))


def collect(seen: list[ModelEvent], stream: Iterator[ModelEvent]) -> None:
    """Keep every event, also those before an error."""
    for event in stream:
        seen.append(event)  # noqa: PERF402 -- what extend() keeps when the iterator raises is not promised


def said(of: list[ModelEvent]) -> str:
    """The text in some events."""
    return "".join(event.text for event in of if isinstance(event, TextDelta))


def test_an_answer_is_streamed_with_usage_and_stop(api: FakeClaude, model: ClaudeModel) -> None:
    """Text comes in pieces, usage early and at the end, and the stop is the last event."""
    counts = {"cache_read_input_tokens": 100, "cache_creation_input_tokens": 5, "output_tokens": 9}
    api.script(text("hello there", piece=6, usage=counts))
    *pieces, usage, stop = events(model)
    assert pieces[0] == UsageReport(Usage(10, 1, 100, 5))
    assert pieces[1:] == [TextDelta("hello "), TextDelta("there")]
    assert usage == UsageReport(Usage(10, 9, 100, 5))
    assert isinstance(stop, ModelStop)
    assert (stop.reason, stop.model) == ("end_turn", "claude-sonnet-5-5")
    assert stop.request_id is not None
    assert stop.request_id.startswith("req_")


@pytest.mark.parametrize("reason", ["max_tokens", "refusal", "stop_sequence", "model_context_window_exceeded"])
def test_the_provider_s_word_for_the_stop_is_kept(api: FakeClaude, model: ClaudeModel, reason: str) -> None:
    """Whoever asked decides what a refusal or a full answer means."""
    api.script(text("half", stop_reason=reason))
    stop = events(model)[-1]
    assert isinstance(stop, ModelStop)
    assert stop.reason == reason


def test_thinking_is_not_said(api: FakeClaude, model: ClaudeModel) -> None:
    """Only the answer's text is passed on."""
    api.script(thinking("secret plan", "42"))
    assert said(events(model)) == "42"


def test_a_tool_call_comes_complete_and_after_the_text(api: FakeClaude, model: ClaudeModel) -> None:
    """A tool call is one event with parsed arguments."""
    api.script(tool("add", {"a": 1, "b": "é"}, say="let me see"))
    found = [event for event in events(model) if isinstance(event, TextDelta | ToolCall)]
    assert said(list(found)) == "let me see"
    call = found[-1]
    assert isinstance(call, ToolCall)
    assert (call.name, call.arguments) == ("add", {"a": 1, "b": "é"})
    assert call.id


def test_the_whole_answer_comes_in_blocks_with_its_stop(api: FakeClaude, model: ClaudeModel) -> None:
    """Thinking, hidden thinking, text and calls, in their order: what goes back with the results."""
    api.script(tools(("add", {"a": 1}), ("add", {"a": 2}), say="let me see", thought="hm"))
    *_, one, two, _usage, stop = events(model)
    assert isinstance(stop, ModelStop)
    visible, hidden, words, *calls = stop.content
    assert visible == Opaque("claude", {"type": "thinking", "thinking": "hm", "signature": "c2ln"})
    assert hidden == Opaque("claude", {"type": "redacted_thinking", "data": "aGlkZGVu"})
    assert (words, calls) == ("let me see", [one, two])


def test_an_answer_without_calls_has_its_text_in_blocks(api: FakeClaude, model: ClaudeModel) -> None:
    """A call that was cut off is no block of it."""
    api.script(Step(blocks=({"type": "text", "text": "so"}, HALF_TOOL), stop_reason="max_tokens"))
    stop = events(model)[-1]
    assert isinstance(stop, ModelStop)
    assert stop.content == ("so",)


@pytest.mark.parametrize(
    ("raw_input", "arguments"),
    [
        ('{"a": "x\\u0000y", "b": ["\\ud800"]}', {"a": "xy", "b": ["\ufffd"]}),
        ('{"\\udfffkey": {"deep": "\\u0000"}}', {"\ufffdkey": {"deep": ""}}),
        ('{"a": NaN}', None),
        ("[" * 100_000, None),
        ("[1]", None),
    ],
)
def test_arguments_can_be_stored_and_sent_again(
    api: FakeClaude, model: ClaudeModel, raw_input: str, arguments: Any
) -> None:
    """No null bytes and half characters; what is no JSON object, or not fit for one, is no call."""
    api.script(Step(blocks=({**HALF_TOOL, "input": raw_input},), stop_reason="tool_use", piece=50_000))
    if arguments is None:
        with pytest.raises(ModelInterrupted, match="not complete"):
            events(model)
    else:
        calls = [event for event in events(model) if isinstance(event, ToolCall)]
        assert [call.arguments for call in calls] == [arguments]


def test_who_may_not_call_is_told_so(api: FakeClaude, model: ClaudeModel) -> None:
    """The tools stay in the request, as the messages may hold calls of them, and none may be chosen."""
    request = replace(ask(), tools=(ToolSpec("add", "Adds.", {"type": "object"}),), may_call=False, effort="low")
    events(model, request)
    body = api.requests[-1].body
    assert body["tool_choice"] == {"type": "none"}
    assert (body["tools"][0]["name"], body["output_config"]) == ("add", {"effort": "low"})


def test_no_arguments_are_an_empty_object(api: FakeClaude, model: ClaudeModel) -> None:
    """A tool without arguments is called with {}."""
    api.script(tool("now", {}))
    assert [event.arguments for event in events(model) if isinstance(event, ToolCall)] == [{}]


TOOL = {"type": "tool_use", "name": "pay", "input": {"amount": 1000}}
HALF_TOOL = {"type": "tool_use", "name": "pay", "input": '{"amount": 10'}


@pytest.mark.parametrize("after", [3, 4, 5, 6, 7])
def test_a_tool_call_in_a_stream_that_ends_early_is_never_run(api: FakeClaude, model: ClaudeModel, after: int) -> None:
    """Without a stop reason no tool call is passed on, even if its block looks finished."""
    api.script(truncate(after=after, blocks=(TOOL,)))
    seen: list[ModelEvent] = []
    with pytest.raises(ModelInterrupted):
        collect(seen, model.stream(ask(), Cancel()))
    assert not [event for event in seen if isinstance(event, ToolCall)]


def test_a_tool_call_cut_by_the_token_limit_is_never_run(api: FakeClaude, model: ClaudeModel) -> None:
    """A call that ran into max_tokens is dropped; the stop says why."""
    api.script(Step(blocks=(HALF_TOOL,), stop_reason="max_tokens"))
    found = events(model)
    assert not [event for event in found if isinstance(event, ToolCall)]
    assert isinstance(found[-1], ModelStop)


def test_a_tool_call_that_is_no_json_is_a_failure(api: FakeClaude, model: ClaudeModel) -> None:
    """A broken call with an otherwise good stop is a broken answer."""
    api.script(Step(blocks=(HALF_TOOL,), stop_reason="tool_use"))
    with pytest.raises(ModelInterrupted, match="not complete"):
        events(model)


def test_an_answer_whose_connection_breaks_after_the_stop_is_complete(api: FakeClaude, model: ClaudeModel) -> None:
    """What follows the stop reason is of no importance: a drop or silence there loses nothing."""
    api.script(drop(after=6, say="ok"), silence(after=7, say="ok"), silence(after=6, say="ok"))
    for _ in range(3):
        found = events(model)
        assert said(found) == "ok"
        assert isinstance(found[-1], ModelStop)


def test_the_charter_is_sent_as_a_block_to_be_cached(api: FakeClaude, model: ClaudeModel) -> None:
    """The body holds what the API knows and nothing else; the system block is marked for caching."""
    events(model, ask("one", "two", max_tokens=99, metadata={"user_id": "u1", "channel": "5"}))
    assert api.requests[0].body == {
        "model": "claude-sonnet-5-5",
        "max_tokens": 99,
        "stream": True,
        "system": [{"type": "text", "text": "You are Ada.", "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": "one"}, {"role": "user", "content": "two"}],
        "metadata": {"user_id": "u1"},
    }


def test_the_headers_are_those_of_the_present_api(api: FakeClaude, model: ClaudeModel) -> None:
    """The key goes as a bearer token, and no retry of the SDK's hides behind a call."""
    api.script(error(529))
    with pytest.raises(ModelUnavailable):
        events(model)
    assert len(api.requests) == 1
    headers = api.requests[0].headers
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["anthropic-version"] >= "2026-10-21"
    assert headers["x-stainless-retry-count"] == "0"


def test_text_that_the_api_refuses_is_mended(api: FakeClaude, model: ClaudeModel) -> None:
    """Blank messages and a blank charter are left out; lone surrogates become U+FFFD, emoji stay."""
    events(model, ask("a\ud800b \U0001f600", "  \n", system=" "))
    body = api.requests[0].body
    assert body["messages"] == [{"role": "user", "content": "a\ufffdb \U0001f600"}]
    assert "system" not in body


FAILURES = [
    (error(400), ModelRejected),
    (error(401), ModelRejected),
    (error(402), ModelNotServed),
    (error(403), ModelNotServed),
    (error(404), ModelNotServed),
    (error(413), ModelRejected),
    (error(422), ModelRejected),
    (error(501), ModelRejected),
    (error(408), ModelUnavailable),
    (error(409), ModelUnavailable),
    (error(429), ModelUnavailable),
    (error(500), ModelUnavailable),
    (error(503), ModelUnavailable),
    (error(504), ModelUnavailable),
    (error(529), ModelUnavailable),
    (error(429, error_code="enforced_spend_limit_reached"), ModelNotServed),
    (error(429, error_code="contract_spend_limit_reached"), ModelNotServed),
    (error(429, error_code="ramp_limit_exceeded"), ModelUnavailable),
    (error(400, error_code="request_body_timeout"), ModelUnavailable),
    (error(400, headers={"x-should-retry": "true"}), ModelUnavailable),
    (stream_error(after=3, status=529), ModelUnavailable),
    (stream_error(after=4, status=529), ModelInterrupted),
    (stream_error(after=3, status=500), ModelUnavailable),
    (stream_error(after=4, status=429), ModelInterrupted),
    (stream_error(after=4, status=429, details={"error_code": "enforced_spend_limit_reached"}), ModelNotServed),
    (stream_error(after=3, status=400), ModelRejected),
    (stream_error(after=4, status=401), ModelRejected),
    (drop(after=0), ModelUnavailable),
    (drop(after=3), ModelUnavailable),
    (drop(after=4), ModelInterrupted),
    (truncate(after=0), ModelUnavailable),
    (truncate(after=3), ModelUnavailable),
    (truncate(after=4), ModelInterrupted),
    (silence(before_headers=True), ModelUnavailable),
    (silence(after=0), ModelUnavailable),
    (silence(after=4), ModelInterrupted),
    (raw("<p>Please log in</p>"), ModelUnavailable),
    (raw("<p>Bad gateway</p>", status=502), ModelUnavailable),
    (raw("event: message_start\ndata: {oops\n\n", "text/event-stream"), ModelUnavailable),
    (raw("event: error\ndata: oops\n\n", "text/event-stream"), ModelUnavailable),
]


@pytest.mark.parametrize(("step", "kind"), FAILURES)
def test_every_failure_has_its_kind(api: FakeClaude, model: ClaudeModel, step: Step, kind: type[ModelError]) -> None:
    """Passing, broken off, or for good; the cause stays attached, the next call works."""
    api.script(step, text("well again"))
    with pytest.raises(ModelError) as caught:
        events(model)
    assert type(caught.value) is kind
    assert said(events(model)) == "well again"


def test_the_failure_carries_the_vendor_s_error_and_request(api: FakeClaude, model: ClaudeModel) -> None:
    """What the SDK raised is the cause, and the provider's id of the call is there to be quoted."""
    api.script(error(529), drop(after=4))
    for vendor in (anthropic.OverloadedError, httpx2.RemoteProtocolError):
        with pytest.raises(ModelError) as caught:
            events(model)
        assert isinstance(caught.value.__cause__, vendor)
        assert str(caught.value.request_id).startswith("req_")


def test_text_before_a_failure_has_been_passed_on(api: FakeClaude, model: ClaudeModel) -> None:
    """What was said before the stream broke is kept by whoever listened."""
    api.script(drop(after=5, say="half an answer"))
    seen: list[ModelEvent] = []
    with pytest.raises(ModelInterrupted):
        collect(seen, model.stream(ask(), Cancel()))
    assert said(seen) == "half an answ"


def test_the_provider_s_wish_is_told(api: FakeClaude, model: ClaudeModel) -> None:
    """retry-after travels with the error."""
    api.script(error(429, retry_after=2.5), error(529))
    with pytest.raises(ModelUnavailable) as caught:
        events(model)
    assert caught.value.retry_after == 2.5
    with pytest.raises(ModelUnavailable) as caught:
        events(model)
    assert caught.value.retry_after is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "-7"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
    ],
)
def test_a_wish_that_makes_no_sense_is_no_wish(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds, milliseconds and nonsense."""
    assert retry_after(headers) == seconds


def test_a_wish_may_be_a_date() -> None:
    """HTTP allows a date in retry-after."""
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    seconds = retry_after({"retry-after": later})
    assert seconds is not None
    assert 55 < seconds <= 60


def test_nobody_listens() -> None:
    """A refused connection is passing."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        model = ClaudeModel(KEY, f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(ModelUnavailable, match="refused"):
            events(model)
        model.close()


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "127.0.0.1:80", "http://127.0.0.1:port"])
def test_a_bad_address_is_for_good(url: str) -> None:
    """An address that can never work is not tried again."""
    model = ClaudeModel(KEY, url)
    with pytest.raises(ModelRejected):
        events(model)
    model.close()


def subclasses(of: type[Exception]) -> Iterator[type[Exception]]:
    """A class and everything below it."""
    yield of
    for each in of.__subclasses__():
        yield from subclasses(each)


def made(kind: type[Exception]) -> Exception:
    """An error of the SDK or its HTTP layer, made without knowing its constructor."""
    request = httpx2.Request("POST", "http://claude.test")
    if issubclass(kind, anthropic.APIStatusError):
        status = getattr(kind, "status_code", 500)
        return kind("x", response=httpx2.Response(status, request=request), body=None)
    problem = kind.__new__(kind)
    Exception.__init__(problem, "x")
    return problem


@pytest.mark.parametrize("began", [False, True])
@pytest.mark.parametrize("root", [anthropic.AnthropicError, httpx2.HTTPError, httpx2.StreamError, ConnectionError])
def test_the_map_of_errors_is_complete(root: type[Exception], began: bool) -> None:
    """Every class that the SDK can raise has its place, also those that a later version adds."""
    answer = Answer("claude-sonnet-5-5")
    answer.began = began
    kinds = set(subclasses(root))
    told = {kind: failure_of(made(kind), answer) for kind in kinds}
    assert not [kind for kind, failure in told.items() if failure is None]
    passing = ModelInterrupted if began else ModelUnavailable
    assert {type(failure) for failure in told.values()} <= {passing, ModelRejected, ModelNotServed}


def test_lasting_and_passing_errors_are_told_apart_by_class() -> None:
    """Some classes by name, as the documentation of the SDK describes them."""
    answer = Answer("claude-sonnet-5-5")
    lasting = (anthropic.AuthenticationError, anthropic.CredentialsError, anthropic.ContentTooLargeError)
    passing = (anthropic.OverloadedError, anthropic.RateLimitError, anthropic.IdentityTokenFileError)
    assert {type(failure_of(made(kind), answer)) for kind in lasting} == {ModelRejected}
    assert {type(failure_of(made(kind), answer)) for kind in passing} == {ModelUnavailable}


def test_a_bug_is_not_a_failure_of_the_provider() -> None:
    """What the SDK does not raise is not translated."""
    assert failure_of(KeyError("x"), Answer("m")) is None
    assert failure_of(TypeError("x"), Answer("m")) is None


def test_the_sdk_s_own_complaint_about_a_missing_key_is_for_good() -> None:
    """Without a credential the SDK raises a TypeError when it builds the request."""
    with pytest.raises(TypeError) as caught:
        anthropic.Anthropic(max_retries=0).messages.create(model="m", max_tokens=1, messages=[])
    assert isinstance(failure_of(caught.value, Answer("m")), ModelRejected)


def test_no_key_is_said_without_a_call(api: FakeClaude) -> None:
    """Without any credential `check` says what to do, and a call is refused before it is made."""
    model = ClaudeModel(None, api.url)
    assert model.check() == NO_KEY
    with pytest.raises(ModelRejected, match="ANTHROPIC_API_KEY"):
        events(model)
    assert not api.requests


def test_the_key_and_the_address_come_from_the_environment(api: FakeClaude, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's own variables work, white space around the key does no harm."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", f" {KEY}\n")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", api.url)
    model = ClaudeModel()
    assert model.check() is None
    assert said(events(model)) == "ok"
    assert api.requests[0].headers["authorization"] == f"Bearer {KEY}"
    model.close()


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the SDK the model names the remedy instead of failing at import."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert ClaudeModel(KEY).check() == NO_PACKAGE


def test_a_token_is_a_credential_too(api: FakeClaude, monkeypatch: pytest.MonkeyPatch) -> None:
    """ANTHROPIC_AUTH_TOKEN is used where there is no key."""
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "token")
    model = ClaudeModel(None, api.url)
    assert model.check() is None
    assert said(events(model)) == "ok"
    assert api.requests[0].headers["authorization"] == "Bearer token"
    model.close()


def test_a_profile_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile that does not exist is a sentence, not a crash."""
    monkeypatch.setenv("ANTHROPIC_PROFILE", "nowhere")
    model = ClaudeModel()
    assert "nowhere" in str(model.check())
    model.close()


def test_an_empty_profile_folder_is_no_key(tmp_path: Path) -> None:
    """The SDK's folder without a profile in it counts as nothing."""
    (tmp_path / ".config" / "anthropic").mkdir(parents=True)
    model = ClaudeModel()
    assert model.check() == NO_KEY
    model.close()


@pytest.mark.parametrize("key", ["sk\nant", "“sk-ant”", "sk ant"])
def test_a_key_that_cannot_be_sent_is_not_repeated(api: FakeClaude, key: str) -> None:
    """A damaged key is refused with a remedy and never quoted."""
    model = ClaudeModel(key, api.url)
    assert model.check() == BAD_KEY
    with pytest.raises(ModelRejected) as caught:
        events(model)
    assert key not in str(caught.value)
    assert not api.requests


@pytest.mark.parametrize("step", [error(400), error(401), drop(), stream_error(), silence(before_headers=True)])
def test_neither_key_nor_prompt_is_logged(
    api: FakeClaude, model: ClaudeModel, step: Step, caplog: pytest.LogCaptureFixture
) -> None:
    """Above DEBUG no logger, and no error's words, hold what was sent."""
    caplog.set_level(logging.INFO)
    api.script(step)
    with pytest.raises(ModelError) as caught:
        events(model)
    told = caplog.text + str(caught.value) + repr(caught.value)
    assert KEY not in told
    assert QUESTION not in told


def test_a_long_message_of_the_provider_is_cut(api: FakeClaude, model: ClaudeModel) -> None:
    """What the provider says is quoted, but not pages of it."""
    api.script(raw('{"error": {"type": "invalid_request_error", "message": "%s"}}' % ("x" * 9999), status=400))
    with pytest.raises(ModelRejected) as caught:
        events(model)
    assert "xxx" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_the_proxy_of_the_environment_is_used(api: FakeClaude, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY is honoured, and NO_PROXY excepts from it."""
    monkeypatch.setenv("HTTP_PROXY", api.url.replace("http://", "http://user:pass@"))
    model = ClaudeModel(KEY, "http://claude.test")
    with pytest.raises(ModelRejected, match="No such path"):
        events(model)
    model.close()
    assert api.requests[0].path == "http://claude.test/v1/messages"
    assert api.requests[0].headers["proxy-authorization"].startswith("Basic ")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    direct = ClaudeModel(KEY, api.url)
    assert said(events(direct)) == "ok"
    direct.close()


def test_nothing_is_imported_before_the_first_call() -> None:
    """The module, a model and its check cost no import of the SDK."""
    code = (
        "import sys; from flask_neolith_orchestrator.backends.claude import ClaudeModel;"
        "assert ClaudeModel('k').check() is None;"
        "print('anthropic' in sys.modules, 'httpx2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_the_sdk_can_be_imported_before_the_first_call() -> None:
    """`warm` imports all that a call needs, once, on a thread that ends; nothing is asked."""
    code = (
        "import sys, threading; from flask_neolith_orchestrator.backends.claude import ClaudeModel;"
        "model = ClaudeModel('k', 'http://127.0.0.1:9'); model.warm();"
        "threads = [one for one in threading.enumerate() if one.name == 'neolith-warm'];"
        "[one.join() for one in threads]; model.warm(); print(len(threads), threading.active_count());"
        "known = set(sys.modules); client = model._session().client.messages;"
        "print('anthropic' in known, [one for one in set(sys.modules) - known if one.startswith('anthropic')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1 1\nTrue []\n"


def test_fifty_streams_at_once_do_not_mix(api: FakeClaude, model: ClaudeModel) -> None:
    """One model serves many threads at the same time, each with its own answer."""
    together = threading.Barrier(50)

    def answer(body: Any) -> Step:
        together.wait(60)
        return text(f"about {body['messages'][0]['content']}, at length", gap=0.001)

    api.answer_with(answer)
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda n: said(events(model, ask(f"number {n}"))), range(50)))
    assert answers == [f"about number {n}, at length" for n in range(50)]
