"""The registry of tools: what a function must be, what models read of it, and what comes of a call."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from enum import Enum
from functools import partial
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from flask_neolith_orchestrator.chat.tool_context import ToolContext
from flask_neolith_orchestrator.chat.tools import LONGEST_RESULT, NO_RESULT, Approval, Scope, Tool, Toolkit, make_tool
from flask_neolith_orchestrator.core.cancel import Cancel
from flask_neolith_orchestrator.core.errors import BadTool, ToolError
from flask_neolith_orchestrator.core.types import OrchestratorSnapshot, OrchestratorStatus, Place, UserRef


class Unit(Enum):
    """A closed list of words."""

    CELSIUS = "c"
    FAHRENHEIT = "f"


class Spot(BaseModel):
    """A model of the host's own."""

    title: str
    height: float = 0.0


class Unknown:
    """A class that no JSON stands for."""


def weather(
    city: str,
    days: Annotated[int, Field(ge=1, le=7)] = 1,
    unit: Unit = Unit.CELSIUS,
    title: str | None = None,
    spots: list[Spot] | None = None,
    *,
    json: Literal["a", "b"] = "a",
    me: ToolContext,
) -> str:
    """The weather in a city.

    Use it whenever somebody asks.

    Args:
        city: Its name,
            in any language.
        days (int): How many days: today is one.
        me: who asks

    Returns:
        unit: not an argument
    """
    return f"{city} {days} {unit.value} {title} {spots} {json} {me.key}"


def context(key: str = "7:2") -> ToolContext:
    """The context of a call."""
    ada = OrchestratorSnapshot("1", "ada", "", "", OrchestratorStatus.ONLINE, UserRef("3", "Ada"))
    return ToolContext("5", ada, Place("9"), "7", key, "UTC", Cancel(), chat=None)  # type: ignore[arg-type]  # unused


def tool(function: Callable[..., Any], **options: Any) -> Tool:
    """A function as a tool."""
    return make_tool(function, **options)


def test_the_schema_comes_from_hints_and_docstring() -> None:
    """Name, description and every argument with its type, default and words; the context is not part of it."""
    spec = tool(weather).spec
    assert (spec.name, spec.description) == ("weather", "The weather in a city.\n\nUse it whenever somebody asks.")
    properties = spec.parameters["properties"]
    assert list(properties) == ["city", "days", "unit", "title", "spots", "json"]
    assert properties["city"] == {"type": "string", "description": "Its name, in any language."}
    assert properties["days"]["description"] == "How many days: today is one."
    assert (properties["days"]["minimum"], properties["days"]["default"]) == (1, 1)
    assert properties["title"] == {"type": "string"}, "None need not be written out"
    assert properties["spots"]["items"] == {"$ref": "#/$defs/Spot"}
    assert spec.parameters["$defs"]["Spot"]["properties"]["title"] == {"type": "string"}
    assert (spec.parameters["required"], spec.parameters["additionalProperties"]) == (["city"], False)
    json.dumps(spec.parameters)


def test_a_call_gets_what_the_types_say() -> None:
    """Arguments arrive as the types of the function, defaults are filled in, the context is put in."""
    made = tool(weather)
    given = {"city": "Köln", "days": "3", "unit": "f", "spots": [{"title": "Dom"}]}
    assert made.problem(given) is None
    assert made.call(given, context()) == "Köln 3 f None [Spot(title='Dom', height=0.0)] a 7:2"


def test_bad_arguments_are_told_without_their_values() -> None:
    """The model hears which argument is wrong and why; the function is not called."""
    told = tool(weather).problem({"days": 9, "secret-field": "secret-value"})
    assert told is not None
    assert "city: Field required" in told
    assert "days: Input should be less than or equal to 7" in told
    assert "secret-field: Extra inputs are not permitted" in told
    assert "secret-value" not in told


def test_only_ten_problems_are_told() -> None:
    """However wrong a call is, its message stays short."""
    told = tool(weather).problem({"city": "x", **{f"n{i}": 1 for i in range(50)}})
    assert told is not None
    assert told.count("Extra inputs") == 10


def test_a_function_without_arguments_is_a_tool() -> None:
    """There need be nothing to ask for; what comes is told as text."""

    def nothing() -> None:
        """Does something."""

    made = tool(nothing)
    assert made.spec.parameters == {"type": "object", "properties": {}, "additionalProperties": False}
    assert made.context is None
    assert made.call({}, context()) == NO_RESULT


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ("text", "text"),
        ("with\0null", "withnull"),
        ({"a": [1, "ü"]}, '{"a": [1, "ü"]}'),
        (Spot(title="Dom"), '{"title": "Dom", "height": 0.0}'),
        (date(2026, 1, 2), '"2026-01-02"'),
        (None, NO_RESULT),
        (0, "0"),
    ],
)
def test_results_become_text(result: object, told: str) -> None:
    """Text as it is, nothing as a sentence, everything else as JSON."""

    def give() -> object:
        """Gives it."""
        return result

    assert tool(give).call({}, context()) == told


def test_a_result_that_is_no_data_is_an_error_for_the_model() -> None:
    """What cannot be shown is not shown by its repr."""

    def give() -> object:
        """Gives it."""
        return Unknown()

    with pytest.raises(ToolError, match="cannot be shown"):
        tool(give).call({}, context())


def test_a_long_result_is_cut_and_says_so() -> None:
    """A result has a bound."""

    def give() -> str:
        """Gives it."""
        return "x" * (LONGEST_RESULT + 1234)

    told = tool(give).call({}, context())
    assert told.startswith("x" * LONGEST_RESULT + "\n(... 1,234 characters are left out")
    assert len(told) < LONGEST_RESULT + 100


def test_defaults_follow_what_a_tool_does() -> None:
    """What only reads runs by itself and may be repeated; what writes asks, and may not."""
    reads, writes = tool(weather, scopes=["read"]), tool(weather)
    assert (reads.approval, reads.idempotent, reads.reads_only) == (Approval.AUTO, True, True)
    assert (writes.approval, writes.idempotent, writes.reads_only) == (Approval.ASK, False, False)
    own = tool(weather, name="forecast", approval="dm", timeout=2.5, idempotent=True, scopes=["read", "write"])
    assert (own.name, own.approval, own.timeout, own.idempotent) == ("forecast", Approval.DM, 2.5, True)
    assert own.scopes == {Scope.READ, Scope.WRITE}


def no_docstring(city: str) -> str:
    return city


def only_args(city: str) -> str:
    """
    Args:
        city: its name
    """
    return city


def no_type(city) -> str:  # type: ignore[no-untyped-def]
    """Does it."""
    return str(city)


def star(*cities: str) -> str:
    """Does it."""
    return str(cities)


def positional(city: str, /) -> str:
    """Does it."""
    return city


def foreign(größe: str) -> str:
    """Does it."""
    return größe


def no_data(what: Unknown) -> str:
    """Does it."""
    return str(what)


def no_schema(what: Callable[[], int]) -> str:
    """Does it."""
    return str(what)


def wrong_name(city: str) -> str:
    """Does it.

    Args:
        town: its name
    """
    return city


def lost(what: Nowhere) -> str:  # type: ignore[name-defined]  # noqa: F821 -- that is what is wrong with it
    """Does it."""
    return str(what)


async def later(city: str) -> str:
    """Does it."""
    return city


def long(city: str) -> str:
    """Does it."""
    return city


long.__doc__ = "x" * 4001


@pytest.mark.parametrize(
    ("function", "options", "remedy"),
    [
        (no_docstring, {}, "needs a docstring"),
        (only_args, {}, "needs a docstring"),
        (long, {}, "characters; 4,000 are the most"),
        (no_type, {}, "needs a type, such as city: str"),
        (star, {}, "has no name that a model could give"),
        (positional, {}, "has no name that a model could give"),
        (foreign, {}, "has no name that a model could give"),
        (no_data, {}, "a model cannot give what it takes"),
        (no_schema, {}, "a model cannot give what it takes"),
        (wrong_name, {}, "explains town, which it does not take"),
        (lost, {}, "Define them at the top of a module"),
        (later, {}, "async functions cannot be tools"),
        (weather, {"name": "Weather"}, "cannot be a tool's name"),
        (weather, {"name": "w" * 65}, "cannot be a tool's name"),
        (partial(weather, "x"), {}, "cannot be a tool's name"),
        (weather, {"approval": "maybe"}, "approval cannot be 'maybe'; it is one of auto, dm, ask"),
        (weather, {"scopes": ["destroy"]}, "scopes cannot be 'destroy'"),
        (weather, {"scopes": []}, "scopes must name"),
        (weather, {"timeout": 0}, "timeout is in seconds"),
        (weather, {"timeout": 90_000}, "timeout is in seconds"),
    ],
)
def test_what_cannot_be_a_tool_is_refused_with_the_remedy(
    function: Callable[..., Any], options: dict[str, Any], remedy: str
) -> None:
    """Every mistake is found when the function is registered, and named."""
    with pytest.raises(BadTool, match=remedy):
        tool(function, **options)


def test_the_decorator_keeps_the_function() -> None:
    """With and without options a function is registered and stays what it was; each name is there once."""
    kit = Toolkit()
    assert kit.tool(weather) is weather
    assert kit.tool(name="forecast")(weather) is weather
    assert (len(kit), [one.name for one in kit]) == (2, ["weather", "forecast"])
    found = kit.get("forecast")
    assert found is not None
    assert found.function is weather
    assert kit.get("nothing") is None
    with pytest.raises(BadTool, match="There is a tool 'weather' already"):
        kit.tool(weather)


def test_odd_docstrings_are_read_as_far_as_they_go() -> None:
    """Text between the arguments that explains none is left out; a section may be empty."""

    def odd(a: str, b: str = "") -> str:
        """Does it.

        Args:
            something that is no argument
            a: first
                more of it: really

            b:
                second
        Note:
            nothing
        """
        return a + b

    properties = tool(odd).spec.parameters["properties"]
    assert properties["a"]["description"] == "first more of it: really"
    assert properties["b"]["description"] == "second"
