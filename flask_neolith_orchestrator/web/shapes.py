"""What pydantic models of the wire are made of: camelCase, nothing unknown, nothing converted, everything bounded."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Any, Final, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from ..core.errors import Invalid, NotFound

_UNPRINTABLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_OWN_ID: Final = re.compile(r"[0-9]{1,18}", re.ASCII)


class Wire(BaseModel):
    """Base of all models of the wire."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True, frozen=True, extra="forbid"
    )


class Body(Wire):
    """Base of what clients send as JSON: no conversions, no unknown members."""

    model_config = ConfigDict(strict=True, validate_by_name=False, validate_by_alias=True, hide_input_in_errors=True)


class Query(Wire):
    """Base of query strings: everything arrives as text and is converted; unknown names are refused."""

    model_config = ConfigDict(validate_by_name=False, validate_by_alias=True, hide_input_in_errors=True)


ItemT = TypeVar("ItemT")
WireT = TypeVar("WireT", bound=Wire)


class Page(Wire, Generic[ItemT]):
    """Part of a list; `next` is the cursor of the following part, null at the end."""

    items: list[ItemT]
    next: str | None = None


def printable(value: str) -> str:
    """Text that any database and any browser can take; ValueError for control characters and lone surrogates."""
    if _UNPRINTABLE.search(value):
        raise ValueError("control characters and half surrogate pairs are not allowed")
    return value


def _one_line(value: str) -> str:
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in value):
        raise ValueError("one line without control characters is expected")
    return value


Text = Annotated[str, AfterValidator(printable)]
"""Text of several lines."""

Line = Annotated[str, AfterValidator(_one_line)]
"""Text of one line."""

OwnId = Annotated[str, Field(pattern=r"^[0-9]{1,18}$", examples=["42"])]
"""The id of something of ours."""

UserId = Annotated[Line, Field(min_length=1, max_length=255)]
"""The id of a user of the host: the text of its primary key."""

Limit = Annotated[int, Field(ge=1, le=200)]
"""How many items a page has at the most."""


def own_id(text: str) -> str:
    """An id from a URL. Raises NotFound where it can be none: then there is nothing with this id."""
    if not _OWN_ID.fullmatch(text):
        raise NotFound
    return text


def explain(error: ValidationError) -> list[dict[str, Any]]:
    """What is wrong, member by member, without the values: they may be secret, huge or unprintable."""
    return [
        {"at": ".".join(printed(part) for part in one["loc"]), "problem": one["msg"].removeprefix("Value error, ")}
        for one in error.errors(include_url=False, include_input=False, include_context=False)[:20]
    ]


def printed(part: int | str) -> str:
    """A name that a client chose, as it can be shown anywhere."""
    return str(part)[:80].encode("ascii", "backslashreplace").decode()


def validated(model: type[WireT], value: object) -> WireT:
    """A decoded value as `model`. Raises Invalid, naming every bad member."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise Malformed(explain(error)) from None


class Malformed(Invalid):
    """What was sent does not have the expected form. Each bad member is named."""

    def __init__(self, problems: list[dict[str, Any]]) -> None:
        super().__init__()
        self.problems = problems
