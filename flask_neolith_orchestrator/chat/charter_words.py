"""Kinds of values that a charter is made of: how each is read from YAML or JSON, and what it refuses. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasGenerator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    model_validator,
)
from pydantic.alias_generators import to_camel

from .text import clean, one_line

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SPAN: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)\s*[-\u2013]\s*(?:([01]?\d|2[0-3]):([0-5]\d)|(24:00))", re.ASCII)


class Part(BaseModel):
    """A part of a charter: frozen, in snake_case or camelCase, and nothing that it does not know."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=AliasGenerator(validation_alias=lambda name: AliasChoices(name, to_camel(name))),
    )

    @classmethod
    def spellings(cls) -> dict[str, str]:
        """Every way to write a field, with the field's name."""
        found: dict[str, str] = {}
        for name, field in cls.model_fields.items():
            choices = field.validation_alias
            written = choices.choices if isinstance(choices, AliasChoices) else ()
            found |= {str(one): name for one in (name, *written)}
        return found

    @model_validator(mode="before")
    @classmethod
    def _leave_out_nulls(cls, given: Any) -> Any:
        """Null is the same as leaving it out."""
        if not isinstance(given, Mapping):
            return given
        known = cls.spellings()
        return {key: value for key, value in given.items() if value is not None or key not in known}


def as_text(value: Any) -> Any:
    """Cleaned, without blanks around it; nothing is no text."""
    return clean(value).strip() if isinstance(value, str) else "" if value is None else value


def _as_label(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    return one_line(value) if isinstance(value, str) else "" if value is None else value


def _as_labels(value: Any) -> Any:
    if value is None:
        return ()
    parts = value if isinstance(value, list | tuple) else (value,)
    labels = [_as_label(part) for part in parts]
    if not all(isinstance(label, str) for label in labels):
        raise ValueError("a list of short texts is expected")
    return tuple(dict.fromkeys(label for label in labels if label))


def _as_names(value: Any) -> Any:
    labels = _as_labels(value)
    return tuple(dict.fromkeys(name for label in labels if (name := label.lstrip("@#").strip())))


def _as_quality(value: Any) -> Any:
    labels = _as_labels(value)
    return ", ".join(labels)


Text = Annotated[StrictStr, BeforeValidator(as_text)]
"""Text of any length; the rendered charter as a whole is bounded."""

Label = Annotated[StrictStr, Field(max_length=1_000), BeforeValidator(_as_label)]
"""One line. Numbers are taken as they are written."""

Labels = Annotated[tuple[Label, ...], Field(max_length=100), BeforeValidator(_as_labels)]
"""Short texts, each once, in order; a single one may stand without a list."""

Quality = Annotated[StrictStr, Field(max_length=1_000), BeforeValidator(_as_quality)]
"""One line; a list becomes one with commas."""

Names = Annotated[tuple[Label, ...], Field(max_length=100), BeforeValidator(_as_names)]
"""The same for handles, channels, people and tools; an @ or # before it is left out."""


def _or_none(value: Any) -> Any:
    return as_text(value) or None if isinstance(value, str) else value


ModelName = Annotated[StrictStr, Field(pattern=r"^\S{1,200}$"), BeforeValidator(as_text)]
OptionalModelName = Annotated[StrictStr | None, Field(pattern=r"^\S{1,200}$"), BeforeValidator(_or_none)]

Switch = StrictBool

Tokens = Annotated[StrictInt, Field(ge=1, le=10**12)]


def _no_switch(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a number is expected")  # noqa: TRY004 -- pydantic takes ValueError for a problem
    return value


Money = Annotated[Decimal, Field(ge=0, le=10**9, decimal_places=6), BeforeValidator(_no_switch)]
"""US dollars, as a number or as text (2.50)."""

Seconds = Annotated[float, Field(ge=0, le=3_600, allow_inf_nan=False, strict=True)]


def _as_zone(value: str) -> str:
    try:
        return value if value == "UTC" else ZoneInfo(value).key
    except (ValueError, OSError, LookupError):
        raise ValueError("a time zone like Europe/Berlin or UTC is expected") from None


TimeZone = Annotated[Label, AfterValidator(_as_zone)]


def _as_days(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    days = {as_day(key): _as_labels(spans) for key, spans in value.items()}
    if len(days) < len(value):
        raise ValueError("a day is given twice")
    if not any(days.values()):
        raise ValueError("give one span of time at least, or leave it out")
    return days


def as_day(key: object) -> object:
    """A day of the week as it is kept: `mon` for Monday; what is none stays as it is."""
    day = str(key).strip().lower()
    return day[:3] if day in _DAYS else day


def _as_span(value: str) -> str:
    found = _SPAN.fullmatch(value)
    if found is None:
        raise ValueError("a span of time like 09:00-17:00 is expected")
    hour, minute, to_hour, to_minute, midnight = found.groups()
    end = midnight or f"{int(to_hour):02}:{to_minute}"
    begin = f"{int(hour):02}:{minute}"
    if begin == end:
        raise ValueError("a span of time that begins and ends at different times is expected")
    return f"{begin}-{end}"


Hours = Annotated[
    Mapping[Day, tuple[Annotated[Label, AfterValidator(_as_span)], ...]] | None, BeforeValidator(_as_days)
]
"""Spans of local time by day, as `HH:MM-HH:MM`. One that ends earlier than it begins ends on the next day."""


def spans(hours: Mapping[Day, tuple[str, ...]], day: Day) -> tuple[tuple[int, int], ...]:
    """The spans of one day in minutes from its midnight; one that ends on the next day has an end above 1440."""
    found = []
    for span in hours.get(day, ()):
        begin, end = (int(time[:2]) * 60 + int(time[3:]) for time in span.split("-"))
        found.append((begin, end if end > begin else end + 1_440))
    return tuple(found)
