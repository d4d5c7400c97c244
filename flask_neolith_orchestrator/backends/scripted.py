"""The offline model: for trying things out without a key, and for tests that want to say what is answered."""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from ..core.cancel import Cancel
from ..core.model import ModelEvent, ModelRequest, ModelStop, TextDelta, ToolCall, ToolResult, UsageReport
from ..core.types import Usage

Part = str | ToolCall | Exception
Reply = Part | Sequence[Part]

REMEMBERED_REQUESTS = 1000
QUOTED_CHARACTERS = 500
CHARACTERS_PER_TOKEN = 4  # a rule of thumb; nothing is billed here

_WORD = re.compile(r"\S+\s*|\s+")
_MARK = re.compile(r"^\[[^\[\]\n]{1,300}\]: ", re.MULTILINE)
_FENCE = re.compile(r"</?tool-result>")
_CALL = re.compile(r"@\S+")
_ASKED = re.compile(r"\w")
_USE = re.compile(r"(?:@\S+\s+)*(?:please\s+)?use\s+`?([a-z][a-z0-9_]*)`?[:,]?(?:\s+(.*))?", re.IGNORECASE | re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class ScriptedModel:
    """The model port without a provider. Lifetime: app; used by many threads.

    `delay` is in seconds before each word. `replies` says what to answer: a function of the request, called
    on the thread that asks, or a series that is used up one by one. A reply is a text, a `ToolCall`, an
    exception to raise, or several of them in order, such as ("half an ", ModelInterrupted()). Without a
    reply the model says that it is the offline one and repeats the question.

    `requests` holds the latest thousand requests, oldest first.
    """

    name = "scripted"

    def __init__(
        self, delay: float = 0.0, replies: Callable[[ModelRequest], Reply] | Iterable[Reply] | None = None
    ) -> None:
        self._delay = delay
        self._lock = threading.Lock()
        self._requests: deque[ModelRequest] = deque(maxlen=REMEMBERED_REQUESTS)
        self._answer = replies if callable(replies) else None
        self._replies = deque(() if replies is None or callable(replies) else replies)

    @property
    def requests(self) -> tuple[ModelRequest, ...]:
        """What has been asked."""
        with self._lock:
            return tuple(self._requests)

    def check(self) -> str | None:
        """None: nothing is needed."""
        return None

    def stream(self, request: ModelRequest, cancel: Cancel) -> Iterator[ModelEvent]:
        """See `core.model.Model`; usage is a rough estimate. Raises what the script says."""
        cancel.check()
        with self._lock:
            self._requests.append(request)
        prompt = _prompt(request)
        yield UsageReport(Usage(input_tokens=_tokens(prompt)))
        content: list[str | ToolCall] = []
        for part in self._parts(request):
            if isinstance(part, Exception):
                raise part
            content.append(part)
            if isinstance(part, ToolCall):
                yield part
            else:
                yield from self._say(part, cancel)
        cancel.check()
        said = "".join(part for part in content if isinstance(part, str))
        reason = "tool_use" if any(isinstance(part, ToolCall) for part in content) else "end_turn"
        yield UsageReport(Usage(_tokens(prompt), _tokens(said)))
        yield ModelStop(reason, self.name, content=tuple(content))

    def count_tokens(self, request: ModelRequest, cancel: Cancel) -> int | None:
        """See `core.model.Counter`: a rough estimate."""
        return _tokens(_prompt(request))

    def close(self) -> None:
        """Nothing to give back. Safe twice."""

    def _parts(self, request: ModelRequest) -> Sequence[Part]:
        reply = self._answer(request) if self._answer else self._next(request)
        return (reply,) if isinstance(reply, str | ToolCall | Exception) else reply

    def _next(self, request: ModelRequest) -> Reply:
        with self._lock:
            if self._replies:
                return self._replies.popleft()
        return offline_answer(request)

    def _say(self, text: str, cancel: Cancel) -> Iterator[TextDelta]:
        for word in _WORD.findall(text):
            if self._delay:
                cancel.wait(self._delay)
            cancel.check()
            yield TextDelta(word)


def offline_answer(request: ModelRequest) -> Reply:
    """What the offline model says to a request: who it is, what it heard, and what to do about it.

    To `use TOOL ...` it calls that tool, with what is behind it: a JSON object, or the text of its first parameter;
    and then it says what came of the call.
    """
    last = request.messages[-1].content if request.messages else ""
    results = [block.content for block in last if isinstance(block, ToolResult)] if isinstance(last, tuple) else []
    if results:
        told = [_FENCE.sub("", one).strip() for one in results]
        return "What came of it:\n\n" + "\n".join(f"> {line}" for one in told for line in one.split("\n"))
    heard = next((message.text for message in reversed(request.messages) if message.role == "user"), "")
    words = _clean(_MARK.split(heard)[-1])  # the last message only, without the mark of who wrote it
    call = _wished(request, words)
    if call is not None:
        return (f"I am the **offline model**. I call `{call.name}`, as you say.", call)
    if not _ASKED.search(_CALL.sub("", words)):
        said = "Hello! Ask me something, and I will show you how answers appear here."
    else:
        quote = "\n".join(f"> {line}".rstrip() for line in words.split("\n"))
        said = f"You said:\n\n{quote}"
    return (
        "I am the **offline model**: no key for Claude is set, so nobody has thought about this answer.\n\n"
        f"{said}\n\n"
        f"Set `ANTHROPIC_API_KEY` to talk to Claude{_with_tools(request)}."
    )


def _wished(request: ModelRequest, words: str) -> ToolCall | None:
    """The call that somebody spells out."""
    found = _USE.fullmatch(words)
    tool = next((one for one in request.tools if found and one.name == found[1].lower()), None)
    if found is None or tool is None or not request.may_call:
        return None
    rest = (found[2] or "").strip()
    try:
        arguments = json.loads(rest)
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        first = next(iter(tool.parameters.get("required", ())), None)
        arguments = {first: rest} if first is not None and rest else {}
    return ToolCall(f"offline_{len(request.messages)}", tool.name, arguments)


def _with_tools(request: ModelRequest) -> str:
    if not request.tools:
        return ""
    return ", who can also use tools here: " + ", ".join(f"`{tool.name}`" for tool in request.tools)


def _clean(text: str) -> str:
    """`text` without what cannot be stored or sent (control characters, lone surrogates), and not too long."""
    words = _CONTROL.sub("", text).encode("utf-8", "replace").decode("utf-8").strip()
    return words if len(words) <= QUOTED_CHARACTERS else words[:QUOTED_CHARACTERS].rstrip() + " …"


def _prompt(request: ModelRequest) -> str:
    return request.system + "".join(message.text for message in request.messages)


def _tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)
