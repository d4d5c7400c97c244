"""Claude through the anthropic SDK. It is imported when a daemon starts that answers with it, or at the latest with
the first call, and not before: that takes a second and 70 MB, which `flask routes` should not pay. The parts of this
backend are `claude_answer` (stream events), `claude_failures` (errors), `claude_wire` and `claude_transport`
(connections that can be cut).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..core.cancel import Cancel
from ..core.errors import ModelRejected
from ..core.model import ModelEvent, ModelRequest
from .claude_answer import Answer
from .claude_request import counted_parameters, parameters

if TYPE_CHECKING:
    from anthropic import Anthropic, Stream
    from anthropic.types import RawMessageStreamEvent

    from .claude_wire import Wire

log = logging.getLogger(__name__)

NO_PACKAGE = "The package anthropic is not installed. Run `pip install anthropic`."
NO_KEY = "There is no key for Claude. Set ANTHROPIC_API_KEY in the environment."
BAD_KEY = "The key for Claude holds characters that no key has. Copy it again, without quotes or line breaks."

_IMPORTED_AT_A_CALL = ("anthropic.resources.messages", ".claude_failures", ".claude_transport", ".claude_wire")
_NOT_IN_A_KEY = re.compile(r"[^\x21-\x7e]")
_OTHER_CREDENTIALS = ("ANTHROPIC_PROFILE", "ANTHROPIC_CONFIG_DIR", "ANTHROPIC_FEDERATION_RULE_ID")


class ClaudeModel:
    """The model port over Claude's Messages API. Lifetime: app; used by many threads.

    `api_key` and `base_url` default to ANTHROPIC_API_KEY (or another credential that the SDK finds) and
    ANTHROPIC_BASE_URL. `connect_timeout` is in seconds for each address of the host; `read_timeout` is the
    longest silence, in seconds, before and within an answer (the API pings while it thinks).

    The client is made with the first call, in the process that calls: a forked child makes its own.
    """

    name = "claude"

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        connect_timeout: float = 5.0,
        read_timeout: float = 75.0,
    ) -> None:
        self._api_key = api_key
        self._base_url = base_url
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._sessions: dict[int, _Session] = {}
        self._warmed_in: int | None = None

    def check(self) -> str | None:
        """None if calls can be made, else what is missing, in one sentence. Makes no call."""
        if importlib.util.find_spec("anthropic") is None:
            return NO_PACKAGE
        key = self._key()
        if key is not None:
            return BAD_KEY if _NOT_IN_A_KEY.search(key) else None
        if os.environ.get("ANTHROPIC_AUTH_TOKEN"):
            return None
        return self._check_other_credentials()

    def warm(self) -> None:
        """See `core.model.Warmable`: import the SDK on a thread of its own, which ends with that."""
        pid = os.getpid()
        if self._warmed_in == pid:
            return
        self._warmed_in = pid
        with contextlib.suppress(RuntimeError):  # no more threads: the first call imports it
            threading.Thread(target=_import_sdk, name="neolith-warm", daemon=True).start()

    def stream(self, request: ModelRequest, cancel: Cancel) -> Iterator[ModelEvent]:
        """See `core.model.Model`. The call begins with the first event asked for."""
        cancel.check()
        problem = self.check()
        if problem:
            raise ModelRejected(problem)
        from .claude_failures import translated
        from .claude_wire import Call

        answer = Answer(request.model)
        with translated(cancel, answer), Call(cancel) as call:
            session = self._session()
            with session.wire.opening(call):
                stream = self._open(session.client, request)
            with contextlib.closing(stream):
                answer.request_id = stream.response.headers.get("request-id")
                for event in stream:
                    cancel.check()
                    yield from answer.take(event)
                    if answer.stop_reason is not None:
                        call.finish()
                        self._drain(stream, answer)
                        break
            cancel.check()
            yield from answer.end()

    def count_tokens(self, request: ModelRequest, cancel: Cancel) -> int | None:
        """See `core.model.Counter`: one call, which costs nothing."""
        cancel.check()
        problem = self.check()
        if problem:
            raise ModelRejected(problem)
        from .claude_failures import translated
        from .claude_wire import Call

        with translated(cancel, Answer(request.model)), Call(cancel) as call:
            session = self._session()
            with session.wire.opening(call):
                counted = session.client.messages.count_tokens(**counted_parameters(request))
        return counted.input_tokens

    def close(self) -> None:
        """Give this process's connections back, cutting calls that still run. Safe twice.

        A later call makes new ones.
        """
        session = self._sessions.pop(os.getpid(), None)
        if session is not None:
            session.close()

    @staticmethod
    def _open(client: Anthropic, request: ModelRequest) -> Stream[RawMessageStreamEvent]:
        stream: Stream[RawMessageStreamEvent] = client.messages.create(**parameters(request), stream=True)
        return stream

    @staticmethod
    def _drain(stream: Iterable[RawMessageStreamEvent], answer: Answer) -> None:
        """Read the little that follows the stop, so that the connection can be used again.

        The answer is complete: when this fails, only the connection is lost.
        """
        import anthropic
        import httpx2

        try:
            for event in stream:
                list(answer.take(event))  # `end` reports the last counts
        except (anthropic.APIError, httpx2.HTTPError, ValueError):
            log.debug("a connection broke after its answer", exc_info=True, extra={"action": "claude.drain"})

    def _session(self) -> _Session:
        """This process's client. After a fork the parent's is dropped, its descriptors closed."""
        pid = os.getpid()
        for other in [each for each in list(self._sessions) if each != pid]:
            session = self._sessions.pop(other, None)
            if session is not None:
                session.abandon()
        options = {"api_key": self._key(), "base_url": self._base_url}
        fresh = _Session(options, self._connect_timeout, self._read_timeout)
        return self._sessions.setdefault(pid, fresh)

    def _key(self) -> str | None:
        return (self._api_key or os.environ.get("ANTHROPIC_API_KEY") or "").strip() or None

    def _check_other_credentials(self) -> str | None:
        """Profiles and workload identity are found by the SDK itself; ask it only if there is a sign of them."""
        signs = any(os.environ.get(name) for name in _OTHER_CREDENTIALS)
        if not signs and not os.path.isdir(os.path.expanduser("~/.config/anthropic")):
            return NO_KEY
        import anthropic

        try:
            return None if self._session().client.credentials is not None else NO_KEY
        except anthropic.AnthropicError as error:
            return f"The credentials for Claude cannot be used ({type(error).__name__}): {error}"


def _import_sdk() -> None:
    try:
        for name in _IMPORTED_AT_A_CALL:
            importlib.import_module(name, __package__)
    except Exception:
        # the thread's border: the first call finds the same, and tells it
        log.debug("The SDK could not be imported yet", exc_info=True, extra={"action": "claude.warm"})


@dataclass
class _Session:
    """The SDK's client and its connections. Lifetime: one process, from the first call to `close`."""

    options: dict[str, Any]
    connect_timeout: float
    read_timeout: float
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _made: tuple[Anthropic, Wire] | None = None

    @property
    def client(self) -> Anthropic:
        """Made once; it never retries by itself, because its waits cannot be stopped."""
        return self._make()[0]

    @property
    def wire(self) -> Wire:
        """What lies below the client."""
        return self._make()[1]

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            made = self._made
        if made is not None:
            made[0].close()

    def abandon(self) -> None:
        """Close the descriptors of a client that belongs to the parent process, without its locks."""
        if self._made is not None:
            self._made[1].abandon()

    def _make(self) -> tuple[Anthropic, Wire]:
        with self._lock:
            if self._made is None:
                import anthropic
                import httpx2

                from .claude_transport import Transport
                from .claude_wire import Wire

                wire = Wire()
                timeout = httpx2.Timeout(self.read_timeout, connect=self.connect_timeout)
                http = httpx2.Client(transport=Transport(wire), timeout=timeout, follow_redirects=True)
                client = anthropic.Anthropic(**self.options, max_retries=0, timeout=timeout, http_client=http)
                self._made = client, wire
            return self._made
