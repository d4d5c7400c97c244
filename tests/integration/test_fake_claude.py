"""The fake Claude behaves like the real API towards a client that knows nothing of it but HTTP."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from flask_neolith_orchestrator.testing import (
    FakeClaude,
    drop,
    error,
    raw,
    silence,
    stream_error,
    text,
    thinking,
    tool,
    truncate,
)

HEADERS = {"authorization": "Bearer k", "anthropic-version": "2026-10-21", "content-type": "application/json"}
ASK: Mapping[str, Any] = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "hi"}],
}


@pytest.fixture
def api() -> Iterator[FakeClaude]:
    """A fake Claude for one test."""
    with FakeClaude() as server:
        yield server


def connect(url: str) -> http.client.HTTPConnection:
    """A connection of a plain HTTP client."""
    return http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)


def post(api: FakeClaude, body: object, headers: Mapping[str, str] = HEADERS) -> tuple[int, str, Mapping[str, str]]:
    """One POST to /v1/messages: status, text and headers of the answer."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection = connect(api.url)
    try:
        connection.request("POST", "/v1/messages", raw, dict(headers))
        response = connection.getresponse()
        return response.status, response.read().decode(), dict(response.headers)
    finally:
        connection.close()


def event_names(body: str) -> list[str]:
    """The names of the server-sent events in a body."""
    return [line.removeprefix("event: ") for line in body.splitlines() if line.startswith("event: ")]


def test_a_stream_has_the_events_of_the_real_api_in_order(api: FakeClaude) -> None:
    """A streamed text is message_start, ping, one block with its pieces, message_delta, message_stop."""
    api.script(text("hello there", piece=6))
    status, body, headers = post(api, {**ASK, "stream": True})
    assert status == 200
    assert headers["request-id"].startswith("req_fake")
    assert event_names(body) == [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


@pytest.mark.parametrize(
    ("step", "types", "reason"),
    [
        (text("hello"), ["text"], "end_turn"),
        (text("hello", stop_reason="max_tokens"), ["text"], "max_tokens"),
        (tool("add", {"a": 1}, say="calling"), ["text", "tool_use"], "tool_use"),
        (thinking("hm", "42"), ["thinking", "text"], "end_turn"),
    ],
)
def test_an_answer_without_streaming_is_one_message(api: FakeClaude, step: Any, types: list[str], reason: str) -> None:
    """Without `stream` the same step comes as one JSON message."""
    api.script(step)
    message = json.loads(post(api, ASK)[1])
    assert [block["type"] for block in message["content"]] == types
    assert message["stop_reason"] == reason


def test_scripted_steps_come_before_the_responder_and_the_default(api: FakeClaude) -> None:
    """The script is used up first, then the responder is asked, and without its word the answer is "ok"."""
    api.script(text("first"))
    api.answer_with(lambda body: text("second") if body["max_tokens"] == 64 else None)
    answers = [json.loads(post(api, {**ASK, "max_tokens": n})[1])["content"][0]["text"] for n in (64, 64, 65)]
    assert answers == ["first", "second", "ok"]


def test_a_responder_that_raises_is_an_internal_error(api: FakeClaude, caplog: pytest.LogCaptureFixture) -> None:
    """A broken responder shows as HTTP 500 and in the log, not as a hanging client."""
    api.answer_with(lambda body: text(body["no such key"]))
    assert post(api, ASK)[0] == 500
    assert "responder" in caplog.text


def test_an_http_error_has_the_real_body_and_headers(api: FakeClaude) -> None:
    """An error carries its type, its code and the provider's wish when to come again."""
    api.script(error(429, retry_after=7, error_code="enforced_spend_limit_reached"))
    status, body, headers = post(api, ASK)
    assert status == 429
    assert headers["retry-after"] == "7"
    assert json.loads(body) == {
        "type": "error",
        "error": {
            "type": "rate_limit_error",
            "message": "scripted",
            "details": {"error_code": "enforced_spend_limit_reached"},
        },
    }


def test_an_error_inside_the_stream_follows_a_200(api: FakeClaude) -> None:
    """`stream_error` begins well and ends with an error event."""
    api.script(stream_error(after=4))
    status, body, _ = post(api, {**ASK, "stream": True})
    assert status == 200
    assert event_names(body)[-2:] == ["content_block_delta", "error"]
    assert "overloaded_error" in body


def test_a_truncated_stream_ends_cleanly_without_a_stop(api: FakeClaude) -> None:
    """`truncate` is valid HTTP that lacks the end of the message."""
    api.script(truncate(after=4))
    status, body, _ = post(api, {**ASK, "stream": True})
    assert status == 200
    assert "message_stop" not in event_names(body)
    assert len(event_names(body)) == 4


def test_a_raw_answer_is_what_was_given(api: FakeClaude) -> None:
    """`raw` stands for whatever else may sit between us and the API."""
    api.script(raw("<p>Please log in</p>", status=503))
    status, body, headers = post(api, ASK)
    assert (status, body, headers["content-type"]) == (503, "<p>Please log in</p>", "text/html")


def test_connections_are_counted(api: FakeClaude) -> None:
    """A kept connection counts once, a new one again."""
    connection = connect(api.url)
    for _ in range(2):
        connection.request("POST", "/v1/messages", json.dumps(ASK), HEADERS)
        connection.getresponse().read()
    connection.close()
    assert api.accepted_connections == 1
    post(api, ASK)
    assert api.accepted_connections == 2


def test_a_drop_breaks_the_body(api: FakeClaude) -> None:
    """`drop` ends the connection in the middle of the chunked body."""
    api.script(drop(after=4))
    with pytest.raises(http.client.IncompleteRead):
        post(api, {**ASK, "stream": True})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": None}, "model: Field required"),
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"messages": None}, "messages: Field required"),
        ({"max_tokens": 0}, "greater than or equal to 1"),
        ({"max_tokens": "64"}, "valid integer"),
        ({"max_tokens": True}, "valid integer"),
        ({"stream": "yes"}, "valid boolean"),
        ({"model": 5}, "model: Input should be a valid string"),
        ({"messages": []}, "at least one message"),
        ({"messages": "hi"}, "valid list"),
        ({"messages": ["hi"]}, "valid dictionary"),
        ({"messages": [{"role": "user"}]}, "content: Field required"),
        ({"messages": [{"role": "user", "content": ""}]}, "non-empty"),
        ({"messages": [{"role": "user", "content": []}]}, "non-empty"),
        ({"messages": [{"role": "user", "content": " \n"}]}, "non-whitespace"),
        ({"messages": [{"role": "user", "content": 5}]}, "valid string or list"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": None}]}]}, "valid string"),
        ({"messages": [{"role": "user", "content": [{"type": "song"}]}]}, "expected tags"),
        ({"messages": [{"role": "user", "content": "hi", "name": "ada"}]}, "name: Extra inputs"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "role: Input should be"),
        ({"messages": [{"role": "assistant", "content": "hi"}, {"role": "user", "content": "x"}]}, "first message"),
        ({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "x"}]}, "prefill"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "surrogate"),
        ({"system": ""}, "system: text content blocks must be non-empty"),
        ({"system": [{"type": "text", "text": " "}]}, "non-whitespace"),
        ({"system": [{"type": "text", "text": "", "cache_control": {"type": "ephemeral"}}]}, "cache_control cannot"),
        ({"system": [{"type": "text", "text": "x", "cache_control": {"type": "eternal"}}]}, "ephemeral"),
        ({"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}] * 5}, "maximum of 4"),
        ({"temperature": 1.0}, "temperature"),
        ({"top_p": 1.0}, "top_p"),
        ({"top_k": 5}, "top_k"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"metadata": {"channel": "5"}}, "metadata.channel: Extra inputs"),
        ({"metadata": {"user_id": "x" * 257}}, "at most 256"),
    ],
)
def test_what_the_real_api_refuses_is_refused(api: FakeClaude, change: dict[str, Any], words: str) -> None:
    """A bad request gets 400 with a reason, and uses up no scripted step."""
    body = {name: value for name, value in {**ASK, **change}.items() if value is not None}
    api.script(text("for the next one"))
    status, answer, _ = post(api, body)
    assert status == 400
    assert json.loads(answer)["error"]["type"] == "invalid_request_error"
    assert words in json.loads(answer)["error"]["message"]
    assert "for the next one" in post(api, ASK)[1]


def test_what_the_real_api_takes_is_taken(api: FakeClaude) -> None:
    """Blocks, system messages, consecutive roles, caching marks and a user id are fine."""
    mark = {"type": "ephemeral", "ttl": "1h"}
    body = {
        **ASK,
        "system": [{"type": "text", "text": "be kind", "cache_control": mark}],
        "metadata": {"user_id": "u1"},
        "stop_sequences": ["END"],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            {"role": "user", "content": "again"},
            {"role": "assistant", "content": "yes"},
            {"role": "system", "content": "time has passed"},
            {"role": "user", "content": "\U0001f600"},
        ],
    }
    assert post(api, body)[0] == 200


def test_a_body_that_is_no_json_is_refused(api: FakeClaude) -> None:
    """Broken JSON and JSON that is no object get 400."""
    assert post(api, b"{")[0] == 400
    assert post(api, [1])[0] == 400


def test_credentials_version_and_model_are_needed(api: FakeClaude) -> None:
    """No key is 401, no version header 400, an unknown model 404; an old-style key header is fine."""
    version = {"anthropic-version": "2026-10-21"}
    assert post(api, ASK, version)[0] == 401
    assert post(api, ASK, {"authorization": "Bearer k"})[0] == 400
    assert post(api, {**ASK, "model": "gpt"})[0] == 404
    assert post(api, ASK, {**version, "x-api-key": "k"})[0] == 200


def test_every_request_is_recorded_with_its_time(api: FakeClaude) -> None:
    """The record holds path, headers, body and arrival of every request, refused ones included."""
    before = time.monotonic()
    post(api, ASK)
    post(api, {**ASK, "max_tokens": 0})
    second = api.wait_for_request(2)
    assert [request.body["max_tokens"] for request in api.requests] == [64, 0]
    assert second.path == "/v1/messages"
    assert second.headers["authorization"] == "Bearer k"
    assert before <= api.requests[0].at <= second.at <= time.monotonic()


def test_waiting_in_vain_says_what_was_seen(api: FakeClaude) -> None:
    """A wait that is not fulfilled raises TimeoutError with the state."""
    with pytest.raises(TimeoutError, match=r"no request 1 within 0\.01 s \(0 requests"):
        api.wait_for_request(1, timeout=0.01)


@pytest.mark.parametrize(
    "step",
    [silence(before_headers=True), silence(), silence(after=4), text("slow", delay=60), text("slow", gap=60)],
)
def test_a_client_that_goes_is_noticed_at_once(api: FakeClaude, step: Any) -> None:
    """A silent answer counts as open, and as cut as soon as its client closes the connection."""
    api.script(step)
    connection = connect(api.url)
    connection.request("POST", "/v1/messages", json.dumps({**ASK, "stream": True}), HEADERS)
    api.wait_for_request()
    assert api.cut_streams == 0
    assert connection.sock is not None
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
    api.wait_for_cut(1, timeout=1)
    assert (api.open_streams, api.cut_streams) == (0, 1)


def test_a_complete_answer_is_no_cut(api: FakeClaude) -> None:
    """A client that goes after the end of its answer has cut nothing."""
    post(api, {**ASK, "stream": True})
    api.wait_until_idle()
    assert api.cut_streams == 0


def test_the_end_of_the_server_ends_everything() -> None:
    """Leaving the block with a silent stream and an idle connection leaves no thread and no socket."""
    threads, sockets = set(threading.enumerate()), len(os.listdir("/proc/self/fd"))
    with FakeClaude() as api:
        api.script(silence(before_headers=True))
        held, idle = connect(api.url), connect(api.url)
        held.request("POST", "/v1/messages", json.dumps(ASK), HEADERS)
        api.wait_for_request()
        idle.request("GET", "/v1/models")
        assert idle.getresponse().read()
    api.close()
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        held.getresponse()
    held.close()
    idle.close()
    assert set(threading.enumerate()) == threads
    assert len(os.listdir("/proc/self/fd")) == sockets


def test_the_port_can_be_chosen_again_at_once() -> None:
    """A test can take a server away and bring it back at the same address."""
    with FakeClaude() as first:
        port = int(first.url.rsplit(":", 1)[1])
        post(first, ASK)
    with FakeClaude(port) as second:
        assert second.url == first.url
        assert post(second, ASK)[0] == 200


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_runs_as_a_process_and_ends_cleanly(number: signal.Signals, tmp_path: Path) -> None:
    """Stand-alone it prints its URL, echoes, reports, and ends with 0 on a signal, a stream being open."""
    command = [sys.executable, "-W", "error", "-m", "flask_neolith_orchestrator.testing.fake_claude", "--gap", "9"]
    with (tmp_path / "errors").open("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout is not None
        with process.stdout:
            url = process.stdout.readline().strip()
            held, second = connect(url), connect(url)
            held.request("POST", "/v1/messages", json.dumps({**ASK, "stream": True}), HEADERS)
            response = held.getresponse()
            assert b"message_start" in response.readline()
            second.request("POST", "/v1/messages", json.dumps(ASK), HEADERS)
            answer = json.loads(second.getresponse().read())
            second.request("GET", "/fake/report")
            report = json.loads(second.getresponse().read())
            process.send_signal(number)
            assert process.wait(5) == 0
            response.close()
            held.close()
            second.close()
        errors.seek(0)
        assert errors.read() == ""
    assert answer["content"][0]["text"] == "You said: hi"
    assert [request["body"]["max_tokens"] for request in report["requests"]] == [64, 64]
    assert report["openStreams"] == 1


def test_importing_the_testing_tools_imports_no_sdk() -> None:
    """`flask_neolith_orchestrator.testing` costs no vendor import."""
    code = "import sys, flask_neolith_orchestrator.testing; print('anthropic' in sys.modules, 'httpx2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
