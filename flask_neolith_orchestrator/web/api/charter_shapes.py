"""Charters on the wire. A charter itself keeps the spelling of its author; what we say around it is camelCase."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, Field, JsonValue, model_validator

from ...chat.charter_changes import Change
from ...chat.charter_reading import Problem, UnusableCharter
from ...chat.charter_spelling import spelled_out
from ...chat.charter_yaml import LONGEST, lines, parse, to_yaml
from ...runtime.charters.keeper import Report
from ...store.chat.views import iso
from ...store.people.charter_versions import CharterVersion
from ..shapes import Body, Limit, Line, Query, Wire, printable

MAX_DEPTH: Final = 8
"""How deep a charter may be nested."""

_AT_LINE: Final = re.compile(r"line (\d+)")


def _bounded(charter: dict[str, JsonValue]) -> dict[str, JsonValue]:
    _walk(charter, depth=0)
    return charter


def _walk(value: JsonValue, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, dict):
        for key, inner in value.items():
            printable(key)
            _walk(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _walk(inner, depth + 1)
    else:
        _storable(value)


def _storable(value: object) -> None:
    """Refuse what some database cannot keep."""
    if isinstance(value, str):
        printable(value)
    elif isinstance(value, float) and not isfinite(value):
        raise ValueError("a finite number is expected")
    elif isinstance(value, int) and abs(value) >= 2**63:
        raise ValueError("a smaller number is expected")


Given = Annotated[dict[str, JsonValue], Field(max_length=50), AfterValidator(_bounded)]
Number = Annotated[int, Field(ge=0, le=2**31 - 1)]


class CharterBody(Body):
    """A new charter. `version` is the one that was read: if another one holds by now, nothing is written (409).

    A charter that is less safe than the one before is refused (409, code `unconfirmed`, with all `weakenings`)
    unless `confirm` is true.
    """

    charter: Given
    version: Number
    reason: Annotated[Line, Field(max_length=500)] = ""
    confirm: bool = False


class CheckBody(Body):
    """A charter to look at, as JSON or as the `text` of a file (YAML or JSON); nothing is saved."""

    charter: Given | None = None
    text: Annotated[str, Field(max_length=LONGEST), AfterValidator(printable)] | None = None

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if (self.charter is None) is (self.text is None):
            raise ValueError("one of charter and text is expected")
        return self


class ActivateBody(Body):
    """An older version that shall hold again; `expected` is the version that holds now, where it was read."""

    version: Number
    expected: Number | None = None
    reason: Annotated[Line, Field(max_length=500)] = ""
    confirm: bool = False


class VersionQuery(Query):
    """Which versions, the newest first."""

    cursor: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    limit: Limit = 50


class DiffQuery(Query):
    """Two versions; without `to` the one that holds now. 0 is the empty charter."""

    from_: Number = Field(alias="from")
    to: Number | None = None


class CharterVersionView(Wire):
    """A version of a charter. Version 0 is the empty charter of one that has none yet."""

    version: int
    active: bool
    charter: dict[str, Any]
    author_id: str | None
    author_name: str | None
    reason: str
    created_at: str | None


class CharterView(CharterVersionView):
    """The version that holds. `inForce` is what comes of it within the organization's; null if it cannot be used."""

    orchestrator_id: str
    parent_version: int
    in_force: dict[str, Any] | None


class OrganizationCharterView(CharterVersionView):
    """An organization's charter, the parent of its orchestrators'."""

    organization_id: str


class ProblemView(Wire):
    """Why a charter cannot be used. `line` is where in the text, if one was sent and it can be told."""

    at: str = Field(examples=["safety.auto_approve"])
    problem: str
    line: int | None = None


class WeakeningView(Wire):
    """One thing that would be less safe."""

    path: str
    before: Any
    after: Any
    text: str


class CheckView(Wire):
    """What saving would say. `prompt` is the charter as a system prompt, `inForce` what comes of it within the
    organization's; both are null where there are problems.

    `charter` is what was sent, or what the text says; `fields` is the same with each field by its own name, and `yaml`
    the same as YAML. They are null where the text cannot be read at all.
    """

    problems: list[ProblemView]
    warnings: list[str]
    weakenings: list[WeakeningView]
    prompt: str | None
    in_force: dict[str, Any] | None
    charter: dict[str, Any] | None
    fields: dict[str, Any] | None
    yaml: str | None


class ChangeView(Wire):
    """One field that differs; null where it is not given."""

    path: str
    before: Any
    after: Any


class DiffView(Wire):
    """What differs between two versions, field by field and as text."""

    from_: int = Field(serialization_alias="from")
    to: int
    changes: list[ChangeView]
    text: str


def version_fields(one: CharterVersion, author_name: str | None) -> dict[str, Any]:
    """What every view of a version has."""
    return {
        "version": one.version,
        "active": one.active,
        "charter": dict(one.charter),
        "author_id": one.author_id,
        "author_name": author_name,
        "reason": one.reason,
        "created_at": iso(one.created_at),
    }


def check_view(body: CheckBody, examine: Callable[[dict[str, Any]], Report]) -> CheckView:
    """What `examine` says about the charter that was sent, as the wire shows it."""
    where: dict[str, int] = {}
    try:
        charter = dict(body.charter or {})
        if body.text is not None:
            charter = _bounded(_with_names(parse(body.text)))
            where = lines(body.text)
    except UnusableCharter as error:
        return _report_view(Report(problems=error.problems), {}, None)
    except ValueError as error:
        return _report_view(Report(problems=(Problem("file", str(error)),)), {}, None)
    return _report_view(examine(charter), where, charter)


def _with_names(value: Any) -> Any:
    """In a file a key may be a number."""
    if isinstance(value, dict):
        return {str(key): _with_names(inner) for key, inner in value.items()}
    return [_with_names(one) for one in value] if isinstance(value, list) else value


def _report_view(report: Report, where: Mapping[str, int], charter: dict[str, Any] | None) -> CheckView:
    return CheckView(
        problems=[
            ProblemView(at=one.path, problem=one.problem, line=_line(one.path, where)) for one in report.problems
        ],
        warnings=list(report.warnings),
        weakenings=[
            WeakeningView(path=one.path, before=one.before, after=one.after, text=one.text) for one in report.weakenings
        ],
        prompt=report.prompt,
        in_force=None if report.holds is None else report.holds.model_dump(mode="json", exclude_unset=True),
        charter=charter,
        fields=None if charter is None else spelled_out(charter),
        yaml=None if charter is None else to_yaml(charter) if charter else "",
    )


def _line(path: str, where: Mapping[str, int]) -> int | None:
    """The line of a path, else of the nearest thing around it; of a file that cannot be read, the parser's."""
    if found := _AT_LINE.fullmatch(path):
        return int(found[1])
    while path:
        if path in where:
            return where[path]
        path = path.rpartition(".")[0]
    return None


def change_view(one: Change) -> ChangeView:
    """A change as the wire shows it."""
    return ChangeView(path=one.path, before=one.before, after=one.after)
