"""A call to Claude ends at once when it is told to, wherever it waits, and leaves nothing behind."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flask_neolith_orchestrator.backends.claude import ClaudeModel
from flask_neolith_orchestrator.backends.claude_wire import Call, Line, Wire
from flask_neolith_orchestrator.core.cancel import Cancel, Cancelled, StopReason
from flask_neolith_orchestrator.core.errors import ModelError, ModelInterrupted, ModelUnavailable
from flask_neolith_orchestrator.core.model import ModelEvent, ModelMessage, ModelRequest, ModelStop, TextDelta
from flask_neolith_orchestrator.testing import FakeClaude, Step, drop, error, silence, text, truncate

PROMPT = 0.5  # seconds; what was measured is a thousandth

CERTIFICATE = Path(__file__).with_name("tls_127_0_0_1.pem")  # for this test only, self-signed
ASK = ModelRequest("claude-sonnet-5-5", "You are Ada.", (ModelMessage("user", "hi"),))


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxies of the machine that runs the tests are not tested here."""
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def api() -> Iterator[FakeClaude]:
    """A fake Claude for one test."""
    with FakeClaude() as server:
        yield server


@pytest.fixture
def model(api: FakeClaude) -> Iterator[ClaudeModel]:
    """A backend that would wait for a minute."""
    backend = ClaudeModel("k", api.url, connect_timeout=60, read_timeout=60)
    yield backend
    backend.close()


@dataclass
class Outcome:
    """How a call that ran on a thread of its own ended."""

    error: Exception | None = None
    ended_at: float = 0.0


class Running:
    """A call on a thread of its own, for the time of a `with` block."""

    def __init__(self, model: ClaudeModel, cancel: Cancel) -> None:
        self.outcome = Outcome()
        self.seen: list[ModelEvent] = []
        self.said = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(model, cancel))

    def _run(self, model: ClaudeModel, cancel: Cancel) -> None:
        try:
            for event in model.stream(ASK, cancel):
                self.seen.append(event)
                if isinstance(event, TextDelta):
                    self.said.set()
        except Exception as error:  # noqa: BLE001 -- judged by the test
            self.outcome.error = error
        self.outcome.ended_at = time.monotonic()

    def run(self) -> None:
        """Call, and wait for the end."""
        with self:
            self.join()

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.join()

    def join(self) -> Outcome:
        """Wait for the end of the call."""
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self.outcome


def assert_stops_at_once(model: ClaudeModel, waits: Callable[[Running], object]) -> None:
    """Start a call, wait until it `waits` where the test wants it, stop it: Cancelled, and promptly."""
    cancel = Cancel()
    with Running(model, cancel) as call:
        waits(call)
        told_at = time.monotonic()
        cancel.set(StopReason.PERSON)
        outcome = call.join()
    assert isinstance(outcome.error, Cancelled)
    assert outcome.ended_at - told_at < PROMPT


def eventually(state: Callable[[], bool]) -> None:
    """Wait for what no event tells (a socket's state, the end of a foreign thread)."""
    waiting = threading.Event()
    for _ in range(500):
        if state():
            return
        waiting.wait(0.01)
    raise AssertionError("it did not happen within 5 s")


@pytest.mark.parametrize("step", [silence(before_headers=True), text("late", delay=60), error(529, delay=60)])
@pytest.mark.parametrize("kept", [False, True])
def test_a_stop_ends_the_wait_for_the_headers(api: FakeClaude, model: ClaudeModel, step: Step, kept: bool) -> None:
    """Before anything has come, on a new and on a kept connection; the server sees the cut."""
    if kept:
        list(model.stream(ASK, Cancel()))
    api.script(step)
    assert_stops_at_once(model, lambda call: api.wait_for_request(1 + kept))
    api.wait_for_cut(1, timeout=1)
    assert api.accepted_connections == 1


@pytest.mark.parametrize("step", [silence(after=4), text("very slow", gap=60, piece=1)])
def test_a_stop_ends_a_silent_stream(api: FakeClaude, model: ClaudeModel, step: Step) -> None:
    """In the middle of an answer; the server sees the cut."""
    api.script(step)
    waits = (lambda call: call.said.wait(5)) if step.kind == "silence" else (lambda call: api.wait_for_request())
    assert_stops_at_once(model, waits)
    api.wait_for_cut(1, timeout=1)


def test_a_stop_ends_a_busy_stream(api: FakeClaude, model: ClaudeModel) -> None:
    """A provider that talks without end is interrupted too."""
    api.script(text("bla " * 100_000, gap=0.001))
    assert_stops_at_once(model, lambda call: call.said.wait(5))
    api.wait_for_cut(1, timeout=1)


def test_a_stop_before_the_call_makes_no_call(api: FakeClaude, model: ClaudeModel) -> None:
    """What is already told to end does not begin."""
    cancel = Cancel()
    cancel.set(StopReason.SHUTDOWN)
    with pytest.raises(Cancelled):
        list(model.stream(ASK, cancel))
    assert not api.requests


def test_a_stop_between_two_events_is_seen_at_the_next(api: FakeClaude, model: ClaudeModel) -> None:
    """Whoever stops while the listener is busy elsewhere gets no further event."""
    api.script(text("a", "b", "c", piece=1))
    cancel = Cancel()
    stream = model.stream(ASK, cancel)
    next(stream)
    cancel.set(StopReason.DELETED)
    with pytest.raises(Cancelled):
        next(stream)


@pytest.mark.parametrize("step", [drop(after=0), error(529), error(400), truncate(after=4), text("complete")])
def test_the_stop_flag_comes_before_the_error(api: FakeClaude, model: ClaudeModel, step: Step) -> None:
    """However a call ends that was told to end: it was cancelled, it did not fail."""
    cancel = Cancel()

    def answer(body: Any) -> Step:
        cancel.set(StopReason.PERSON)
        return step

    api.answer_with(answer)
    with pytest.raises(Cancelled):
        list(model.stream(ASK, cancel))


def test_a_stop_after_the_end_harms_nobody(api: FakeClaude, model: ClaudeModel) -> None:
    """A late stop does not cut the connection, which by then works for another call."""
    cancel = Cancel()
    list(model.stream(ASK, cancel))
    api.script(text("bla " * 50, gap=0.002))
    with Running(model, Cancel()) as call:
        assert call.said.wait(5)
        cancel.set(StopReason.PERSON)
        assert call.join().error is None
    assert isinstance(call.seen[-1], ModelStop)
    assert api.accepted_connections == 1


def test_a_connection_listens_only_to_the_call_it_works_for() -> None:
    """A stop that was already on its way when its call ended cuts nothing of the next one."""
    wire = Wire()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        with Call(Cancel()) as first, wire.opening(first):
            line = wire.connect_tcp(host, port, timeout=5)
            assert isinstance(line, Line)
            line.write(b"0")
        with listener.accept()[0] as other_side, Call(Cancel()) as second:
            other_side.settimeout(5)
            with wire.opening(second):
                line.write(b"1")
            line.cut(first)
            line.write(b"2")
            assert b"".join(other_side.recv(1) for _ in range(3)) == b"012"
            line.cut(second)
            assert other_side.recv(1) == b""
        line.close()


def full_listener() -> tuple[socket.socket, list[socket.socket]]:
    """A listening socket that takes no connection any more: the next one waits in connect()."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    queued = []
    for _ in range(2):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
        queued.append(client)
    return listener, queued


def connecting_threads() -> list[threading.Thread]:
    """Threads that connect for somebody."""
    return [thread for thread in threading.enumerate() if thread.name == "neolith-connect"]


def test_a_stop_ends_the_connecting() -> None:
    """A host that does not answer at all holds nobody; the connecting thread ends by itself."""
    listener, queued = full_listener()
    model = ClaudeModel("k", f"http://127.0.0.1:{listener.getsockname()[1]}", connect_timeout=1)
    assert_stops_at_once(model, lambda call: eventually(lambda: bool(connecting_threads())))
    eventually(lambda: not connecting_threads())
    model.close()
    for sock in (listener, *queued):
        sock.close()


def test_a_stop_ends_the_looking_up_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that does not answer holds nobody; a connection made too late is closed."""
    asked, answered, closed = threading.Event(), threading.Event(), threading.Event()

    class Late(socket.socket):
        def close(self) -> None:
            super().close()
            closed.set()

    def connect(*args: Any, **options: Any) -> socket.socket:
        asked.set()
        answered.wait(10)
        return Late()

    monkeypatch.setattr(socket, "create_connection", connect)
    model = ClaudeModel("k", "http://claude.test")
    assert_stops_at_once(model, lambda call: asked.wait(5))
    answered.set()
    eventually(lambda: not connecting_threads())
    assert closed.is_set()
    model.close()


def test_a_host_that_does_not_answer_is_unavailable() -> None:
    """The time limit for connecting holds."""
    listener, queued = full_listener()
    model = ClaudeModel("k", f"http://127.0.0.1:{listener.getsockname()[1]}", connect_timeout=0.2)
    with pytest.raises(ModelUnavailable, match="ConnectTimeout"):
        list(model.stream(ASK, Cancel()))
    model.close()
    for sock in (listener, *queued):
        sock.close()


def test_a_name_server_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking up a name has no time limit of its own: ours holds for it."""
    answered = threading.Event()

    def look_up(*args: Any, **options: Any) -> list[Any]:
        answered.wait(10)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    model = ClaudeModel("k", "http://claude.test", connect_timeout=0.1)
    with pytest.raises(ModelUnavailable, match="ConnectTimeout"):
        list(model.stream(ASK, Cancel()))
    answered.set()
    eventually(lambda: not connecting_threads())
    with pytest.raises(ModelUnavailable, match="not known"):
        list(model.stream(ASK, Cancel()))
    model.close()


def test_a_stop_ends_the_tls_handshake() -> None:
    """A server that takes the connection and says nothing holds nobody, and sees the cut."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        model = ClaudeModel("k", f"https://127.0.0.1:{listener.getsockname()[1]}", read_timeout=60)
        accepted: list[socket.socket] = []

        def waits(call: Running) -> None:
            accepted.append(listener.accept()[0])
            accepted[0].settimeout(5)
            assert accepted[0].recv(1) == b"\x16"  # the client's hello

        assert_stops_at_once(model, waits)
        with accepted[0] as server_side:
            while server_side.recv(65536):
                pass
        model.close()


def test_a_stop_while_connecting_succeeds_sends_nothing(
    api: FakeClaude, model: ClaudeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that comes up in the instant of the stop is not used."""
    cancel, connect = Cancel(), socket.create_connection

    def connect_and_stop(*args: Any, **options: Any) -> socket.socket:
        connection = connect(*args, **options)
        cancel.set(StopReason.PERSON)
        return connection

    monkeypatch.setattr(socket, "create_connection", connect_and_stop)
    with pytest.raises(Cancelled):
        list(model.stream(ASK, cancel))
    eventually(lambda: not connecting_threads())
    assert not api.requests


def test_closing_while_connecting_keeps_no_connection(
    api: FakeClaude, model: ClaudeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that comes up after the model was closed is closed too."""
    connect = socket.create_connection

    def connect_late(*args: Any, **options: Any) -> socket.socket:
        connection = connect(*args, **options)
        model.close()
        return connection

    monkeypatch.setattr(socket, "create_connection", connect_late)
    with pytest.raises(ModelUnavailable, match="closed meanwhile"):
        list(model.stream(ASK, Cancel()))
    eventually(lambda: not connecting_threads())
    assert not api.requests


def test_too_many_open_files_is_a_failure_like_others(
    api: FakeClaude, model: ClaudeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The half-made connection is given back, and the next call works."""

    def fail(self: socket.socket) -> socket.socket:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "dup", fail)
        with pytest.raises(ModelUnavailable, match="Too many open files"):
            list(model.stream(ASK, Cancel()))
    assert isinstance(list(model.stream(ASK, Cancel()))[-1], ModelStop)


@pytest.fixture
def secure_api() -> Iterator[FakeClaude]:
    """A fake Claude that speaks HTTPS with a certificate of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    with FakeClaude(tls=context) as server:
        yield server


@pytest.fixture
def secure_model(secure_api: FakeClaude, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClaudeModel]:
    """A backend that trusts it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    backend = ClaudeModel("k", secure_api.url, read_timeout=60)
    yield backend
    backend.close()


def test_https_connections_are_used_again(secure_api: FakeClaude, secure_model: ClaudeModel) -> None:
    """The real API speaks TLS: it works through our connections, and they are kept."""
    for _ in range(3):
        assert isinstance(list(secure_model.stream(ASK, Cancel()))[-1], ModelStop)
    assert secure_api.accepted_connections == 1


@pytest.mark.parametrize("step", [silence(before_headers=True), silence(after=4), text("bla " * 9999, gap=0.001)])
@pytest.mark.parametrize("kept", [False, True])
def test_a_stop_ends_a_call_over_https(
    secure_api: FakeClaude, secure_model: ClaudeModel, step: Step, kept: bool
) -> None:
    """A stop cuts below TLS: at once, and seen by the server."""
    if kept:
        list(secure_model.stream(ASK, Cancel()))
    secure_api.script(step)
    assert_stops_at_once(secure_model, lambda call: secure_api.wait_for_request(1 + kept))
    secure_api.wait_for_cut(1, timeout=1)
    assert isinstance(list(secure_model.stream(ASK, Cancel()))[-1], ModelStop)


def test_a_certificate_that_is_not_trusted_is_named(secure_api: FakeClaude) -> None:
    """Nothing is sent to a server that cannot prove who it is, and the error says why."""
    model = ClaudeModel("k", secure_api.url)
    with pytest.raises(ModelUnavailable, match="certificate"):
        list(model.stream(ASK, Cancel()))
    model.close()
    assert not secure_api.requests


def test_healthy_connections_are_used_again(api: FakeClaude, model: ClaudeModel) -> None:
    """Answers and HTTP errors leave the connection to the next call."""
    api.script(text("one"), error(529), text("two"))
    for _ in range(4):
        try:
            list(model.stream(ASK, Cancel()))
        except ModelUnavailable:
            continue
    assert len(api.requests) == 4
    assert api.accepted_connections == 1


@pytest.mark.parametrize("step", [silence(after=4), silence(before_headers=True)])
def test_a_cut_connection_is_not_used_again(api: FakeClaude, model: ClaudeModel, step: Step) -> None:
    """The call after a stop works at once, on a new connection."""
    api.script(step)
    assert_stops_at_once(model, lambda call: api.wait_for_request())
    assert isinstance(list(model.stream(ASK, Cancel()))[-1], ModelStop)
    assert api.accepted_connections == 2


def test_a_listener_that_goes_away_ends_the_call(api: FakeClaude, model: ClaudeModel) -> None:
    """An abandoned stream closes its connection instead of leaving the provider talking."""
    api.script(text("bla " * 1000, gap=0.01))
    stream = model.stream(ASK, Cancel())
    next(stream)
    stream.close()  # type: ignore[attr-defined]  # the port promises an Iterator; ours is a generator
    api.wait_for_cut(1, timeout=1)


def test_a_server_that_does_not_end_its_answer_is_not_waited_for(api: FakeClaude, model: ClaudeModel) -> None:
    """A complete answer is passed on soon although the connection stays silent."""
    api.script(silence(after=7, say="ok"))
    before = time.monotonic()
    assert isinstance(list(model.stream(ASK, Cancel()))[-1], ModelStop)
    assert time.monotonic() - before < 2


def test_nothing_is_left_after_all_kinds_of_ends(api: FakeClaude) -> None:
    """Threads and descriptors are back to where they began once the model is closed."""
    threads = set(threading.enumerate())
    warm = ClaudeModel("k", api.url)  # imports and the like open something once
    list(warm.stream(ASK, Cancel()))
    warm.close()
    eventually(lambda: set(threading.enumerate()) == threads)
    descriptors = len(os.listdir("/proc/self/fd"))
    model = ClaudeModel("k", api.url, read_timeout=0.2)
    steps = [text("x"), drop(after=4), truncate(after=4), error(529), silence(after=4), silence(before_headers=True)]
    for step in steps * 3:
        api.script(step)
        Running(model, Cancel()).run()
    for _ in range(10):
        api.script(silence(after=4))
        assert_stops_at_once(model, lambda call: call.said.wait(5))
    model.close()
    model.close()
    eventually(lambda: set(threading.enumerate()) == threads)
    eventually(lambda: len(os.listdir("/proc/self/fd")) == descriptors)


@pytest.mark.parametrize(
    ("step", "kind"), [(silence(after=4), ModelInterrupted), (silence(before_headers=True), ModelUnavailable)]
)
def test_closing_ends_running_calls(api: FakeClaude, model: ClaudeModel, step: Step, kind: type[ModelError]) -> None:
    """Nobody waits on a closed model; a later call works again."""
    api.script(step)
    with Running(model, Cancel()) as call:
        if step.before_headers:
            api.wait_for_request()
        else:
            assert call.said.wait(5)
        told_at = time.monotonic()
        model.close()
        outcome = call.join()
    assert type(outcome.error) is kind
    assert outcome.ended_at - told_at < PROMPT
    assert isinstance(list(model.stream(ASK, Cancel()))[-1], ModelStop)


@pytest.mark.process
def test_a_forked_child_makes_its_own_connections(api: FakeClaude) -> None:
    """Parent and child call through one model made before the fork, and do not share a connection."""
    script = f"""
        import os, sys
        from flask_neolith_orchestrator.backends.claude import ClaudeModel
        from flask_neolith_orchestrator.core.cancel import Cancel
        from flask_neolith_orchestrator.core.model import ModelMessage, ModelRequest
        ask = ModelRequest("claude-sonnet-5-5", "x", (ModelMessage("user", "hi"),))
        model = ClaudeModel("k", {api.url!r})
        list(model.stream(ask, Cancel()))
        before = len(os.listdir("/proc/self/fd"))
        child = os.fork()
        list(model.stream(ask, Cancel()))
        same = len(os.listdir("/proc/self/fd")) == before
        if child == 0:
            os._exit(0 if same else 7)
        _, status = os.waitpid(child, 0)
        list(model.stream(ask, Cancel()))
        model.close()
        sys.exit(os.waitstatus_to_exitcode(status))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(api.requests) == 4
    assert api.accepted_connections == 2
