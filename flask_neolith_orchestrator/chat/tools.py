"""Tools: what a host lets its orchestrators do, as functions. The registry. Pure.

@neolith.tool
def weather(city: str) -> str:
    \"\"\"The weather in a city, now.

    Args:
        city: Its name, in any language.
    \"\"\"
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar, overload

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from ..core.errors import BadTool, ToolError
from ..core.model import ToolSpec
from .text import clean
from .tool_context import ToolContext
from .tool_schema import read_signature

LONGEST_RESULT: Final = 20_000
"""Characters of one result that the model is told; the rest is left out, and said so."""

NO_RESULT: Final = "Done. There is nothing to tell."

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")

Function = TypeVar("Function", bound=Callable[..., Any])


class Approval(StrEnum):
    """A tool's own word on when it runs by itself; a charter's word on it counts more (see `approval`)."""

    AUTO = "auto"  # anywhere
    DM = "dm"  # in a direct message; elsewhere the person who asked is asked
    ASK = "ask"  # never: the person who asked is always asked


class Scope(StrEnum):
    """What a tool does to the world."""

    READ = "read"  # nothing: it only looks
    WRITE = "write"  # it changes something


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that models may call. Lifetime: the registry it is in. `timeout` is in seconds; None: the app's.

    An `idempotent` one can be called again with the same key and does no harm. `context` is the parameter that takes
    the ToolContext, if there is one.
    """

    spec: ToolSpec
    function: Callable[..., Any]
    arguments: type[BaseModel]
    context: str | None
    approval: Approval
    scopes: frozenset[Scope]
    timeout: float | None
    idempotent: bool

    @property
    def name(self) -> str:
        """What models call it by."""
        return self.spec.name

    @property
    def reads_only(self) -> bool:
        """Whether it changes nothing."""
        return Scope.WRITE not in self.scopes

    def problem(self, arguments: Mapping[str, Any]) -> str | None:
        """What is wrong with a call's arguments, for the model; None if nothing is."""
        try:
            self.arguments.model_validate(dict(arguments))
        except ValidationError as error:
            return f"These arguments cannot be used: {_problems(error)}. Nothing was run."
        return None

    def call(self, arguments: Mapping[str, Any], context: ToolContext) -> str:
        """Run it, and what came of it as text of at most LONGEST_RESULT characters. Raises what the function does.

        The arguments must have no `problem`.
        """
        valid = self.arguments.model_validate(dict(arguments))
        given = {str(field.alias): getattr(valid, name) for name, field in type(valid).model_fields.items()}
        if self.context is not None:
            given[self.context] = context
        return bounded(_as_text(self.function(**given)))


class Toolkit:
    """The tools of one extension object, by name. Lifetime: the extension's; filled while the app is made."""

    def __init__(self) -> None:
        self._tools: dict[str, Tool] = {}

    def __len__(self) -> int:
        """How many there are; none is ever taken away."""
        return len(self._tools)

    def __iter__(self) -> Iterator[Tool]:
        return iter(tuple(self._tools.values()))

    def get(self, name: str) -> Tool | None:
        """The tool of this name."""
        return self._tools.get(name)

    @overload
    def tool(self, function: Function, /) -> Function: ...

    @overload
    def tool(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        approval: str | None = None,
        timeout: float | None = None,
        idempotent: bool | None = None,
        scopes: Sequence[str] = ("write",),
    ) -> Callable[[Function], Function]: ...

    def tool(
        self,
        function: Any = None,
        /,
        *,
        name: str | None = None,
        approval: str | None = None,
        timeout: float | None = None,
        idempotent: bool | None = None,
        scopes: Sequence[str] = ("write",),
    ) -> Any:
        """Let orchestrators call a function: `@neolith.tool`, or `@neolith.tool(name=..., ...)`.

        `name` is what models call it by (default: the function's); `scopes` say what it does: "read", "write" (the
        default). `approval` is "auto", "dm" or "ask" (default: "auto" for what only reads, else "ask"). `timeout` is in
        seconds (default: NEOLITH_TOOL_TIMEOUT). `idempotent` (default: what only reads is) says that a call which may
        or may not have happened can be made again with the same `context.key`.

        Raises BadTool with the remedy. The function itself is returned as it is.
        """

        def register(wanted: Function) -> Function:
            made = make_tool(
                wanted, name=name, approval=approval, timeout=timeout, idempotent=idempotent, scopes=scopes
            )
            self.add(made)
            return wanted

        return register if function is None else register(function)

    def add(self, tool: Tool) -> None:
        """Add a tool. Raises BadTool if there is one of this name."""
        if tool.name in self._tools:
            msg = f"There is a tool {tool.name!r} already. Give one of both another name: @neolith.tool(name=...)."
            raise BadTool(msg)
        self._tools[tool.name] = tool


def make_tool(
    function: Callable[..., Any],
    *,
    name: str | None = None,
    approval: str | None = None,
    timeout: float | None = None,
    idempotent: bool | None = None,
    scopes: Sequence[str] = ("write",),
) -> Tool:
    """A function as a tool (see `Toolkit.tool`). Raises BadTool."""
    called = name if name is not None else getattr(function, "__name__", "")
    if not _NAME.fullmatch(called):
        msg = (
            f"{called!r} cannot be a tool's name: a small letter, then up to 63 small letters, digits and underscores."
        )
        raise BadTool(msg)
    does = frozenset(_word(Scope, "scopes", called, scope) for scope in scopes)
    if not does:
        raise BadTool(f"{called}: scopes must name what the tool does: read or write.")
    if timeout is not None and not 0 < timeout <= 86_400:
        raise BadTool(f"{called}: timeout is in seconds, more than 0 and at most a day.")
    reads_only = Scope.WRITE not in does
    signature = read_signature(function, called)
    return Tool(
        spec=ToolSpec(called, signature.description, signature.schema),
        function=function,
        arguments=signature.arguments,
        context=signature.context,
        approval=_word(Approval, "approval", called, approval or ("auto" if reads_only else "ask")),
        scopes=does,
        timeout=timeout,
        idempotent=reads_only if idempotent is None else idempotent,
    )


Word = TypeVar("Word", bound=StrEnum)


def _word(words: type[Word], what: str, tool: str, given: str) -> Word:
    try:
        return words(given)
    except ValueError:
        msg = f"{tool}: {what} cannot be {given!r}; it is one of {', '.join(words)}."
        raise BadTool(msg) from None


def _problems(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False, include_context=False)
    told = [f"{'.'.join(map(str, one['loc'])) or 'all of them'}: {one['msg']}" for one in found[:10]]
    return clean("; ".join(told))


def _as_text(result: Any) -> str:
    if result is None:
        return NO_RESULT
    if isinstance(result, str):
        return result
    try:
        return json.dumps(to_jsonable_python(result), ensure_ascii=False)
    except (PydanticSerializationError, ValueError) as error:
        raise ToolError("The tool's result cannot be shown.") from error


def bounded(text: str) -> str:
    """What the model is told of a result: storable, and not longer than LONGEST_RESULT."""
    text = clean(text)
    if len(text) <= LONGEST_RESULT:
        return text
    return f"{text[:LONGEST_RESULT]}\n(... {len(text) - LONGEST_RESULT:,} characters are left out here ...)"
