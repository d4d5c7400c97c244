"""From a function's signature and docstring to what a model reads of it. Pure."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.errors import PydanticUserError

from ..core.errors import BadTool
from .tool_context import ToolContext

LONGEST_DESCRIPTION: Final = 4_000
"""Characters of a docstring: models are told it with every answer."""

_SECTION: Final = re.compile(
    r"(Args|Arguments|Parameters|Returns|Return|Yields|Raises|Example|Examples|Note|Notes):\s*", re.IGNORECASE
)
_ARGUMENT: Final = re.compile(r"(\w+)\s*(?:\([^)]*\))?:\s*(.*)")
_KINDS: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True)
class Signature:
    """What there is to know of a function. `context` is the parameter that takes the ToolContext, or None."""

    description: str
    arguments: type[BaseModel]
    schema: Mapping[str, Any]
    context: str | None


def read_signature(function: Callable[..., Any], name: str) -> Signature:
    """Read a tool's function. Raises BadTool with the remedy."""
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise BadTool(f"{name}: async functions cannot be tools; turns run on threads. Write a plain function.")
    description, told = _docstring(function, name)
    fields: dict[str, Any] = {}
    context: str | None = None
    hints = _hints(function, name)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in _KINDS or not parameter.name.isascii():
            raise BadTool(f"{name}: the parameter {parameter} has no name that a model could give it by.")
        if parameter.name not in hints:
            raise BadTool(f"{name}: the parameter {parameter.name} needs a type, such as {parameter.name}: str.")
        hint = hints[parameter.name]
        if hint is ToolContext:
            context = parameter.name
        else:
            default = ... if parameter.default is inspect.Parameter.empty else parameter.default
            told_of = told.pop(parameter.name, None)
            # by another name within, as many an attribute's name of the model class is a good name for an argument
            fields[f"given_{len(fields)}"] = (hint, Field(default, alias=parameter.name, description=told_of))
    told.pop(context or "", None)
    if told:
        raise BadTool(f"{name}: its docstring explains {', '.join(told)}, which it does not take.")
    arguments = _model(name, fields)
    return Signature(description, arguments, _schema(arguments, name), context)


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        msg = f"{name}: its types cannot be read ({error}). Define them at the top of a module."
        raise BadTool(msg) from error


def _model(name: str, fields: dict[str, Any]) -> type[BaseModel]:
    try:
        return create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
    except (PydanticUserError, NameError, TypeError) as error:
        msg = f"{name}: a model cannot give what it takes. {str(error).splitlines()[0]}"
        raise BadTool(msg) from error


def _schema(arguments: type[BaseModel], name: str) -> Mapping[str, Any]:
    try:
        schema: dict[str, Any] = _untitled(arguments.model_json_schema())
    except PydanticUserError as error:
        msg = f"{name}: a model cannot give what it takes. {str(error).splitlines()[0]}"
        raise BadTool(msg) from error
    properties = {name: _plain(one) for name, one in schema.get("properties", {}).items()}
    return {"type": "object", **schema, "properties": properties}


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """Without saying that None, which is the default, may also be written out."""
    kinds = schema.get("anyOf", [])
    named = [kind for kind in kinds if kind != {"type": "null"}]
    if len(named) != 1 or len(kinds) != 2 or schema.get("default", ...) is not None:
        return schema
    return {**named[0], **{key: value for key, value in schema.items() if key not in ("anyOf", "default")}}


def _untitled(schema: Any) -> Any:
    # titles only say once more what the names say, and each token is paid for with every answer
    if isinstance(schema, list):
        return [_untitled(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _untitled(one) for name, one in value.items()}
        if key in ("properties", "$defs")
        else _untitled(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str))
    }


def _docstring(function: Callable[..., Any], name: str) -> tuple[str, dict[str, str]]:
    """The description, and what is said of each argument (Google style)."""
    lines = (inspect.getdoc(function) or "").splitlines()
    start = next((place for place, line in enumerate(lines) if _SECTION.fullmatch(line)), len(lines))
    description = "\n".join(lines[:start]).strip()
    if not description:
        raise BadTool(f"{name}: a tool needs a docstring that tells models what it does and when to use it.")
    if len(description) > LONGEST_DESCRIPTION:
        raise BadTool(
            f"{name}: its docstring has {len(description):,} characters; {LONGEST_DESCRIPTION:,} are the most."
        )
    return description, _arguments(lines[start:])


def _arguments(lines: list[str]) -> dict[str, str]:
    told: dict[str, str] = {}
    inside, depth, current = False, 0, ""
    for line in lines:
        section = _SECTION.fullmatch(line)
        if section:
            inside, current = section[1].lower() in ("args", "arguments", "parameters"), ""
        elif inside and line.strip():
            indent = len(line) - len(line.lstrip())
            found = _ARGUMENT.fullmatch(line.strip())
            if found and (not current or indent <= depth):
                current, depth = found[1], indent
                told[current] = found[2]
            elif current:
                told[current] = f"{told[current]} {line.strip()}".strip()
    return told
