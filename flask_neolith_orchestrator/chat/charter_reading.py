"""Reads charters as people and hosts write them, and says what is wrong with them by path, never by value. Pure.

`orchestrator_config` may have, all optional:

    {"charter": {... see CharterDocument ...},
     "personality": the same as the charter's, used where that has none}

Other keys of the configuration are left to others. A charter that is there must be usable as a whole: it never half
applies. Short forms: `personality` and `model` may be plain text, `max_tokens` may stand beside `model`, a list of
one may be written without the list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, TypeGuard, get_args

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from ..core.errors import StartFailed
from ..core.types import OrchestratorSnapshot
from .charter import Charter, CharterDocument, Personality
from .charter_parent import IDENTITY, under
from .charter_text import render
from .charter_words import Part
from .text import one_line

MAX_CHARTER: Final = 100_000
"""The longest rendered charter in characters: about 30,000 tokens, paid for with every answer."""

EMPTY: Final = CharterDocument()
"""What a configuration says that says nothing of a charter: most of ten thousand do, and share it."""

_BESIDE: Final = TypeAdapter(CharterDocument.model_fields["personality"].rebuild_annotation())


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a charter cannot be used. `path` is as its author wrote it; no value is in either."""

    path: str
    problem: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


class UnusableCharter(ValueError):
    """A document is no charter. It has all the `problems`."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)


def read_document(given: object, at: str = "") -> CharterDocument:
    """What somebody wrote, checked. `at` is what paths begin with. Raises UnusableCharter with every problem."""
    if given is None:
        return EMPTY
    if not isinstance(given, Mapping):
        raise UnusableCharter([Problem(at or "charter", "a mapping of fields is expected")])
    try:
        found = CharterDocument.model_validate(dict(given))
    except ValidationError as error:
        raise UnusableCharter(_problems(error, at)) from None  # its text would quote the charter
    if found.max_tokens is None:
        return found
    if found.model.max_tokens not in (None, found.max_tokens):
        raise UnusableCharter([Problem(_under(at, "max_tokens"), "says another thing than model.max_tokens")])
    model = found.model.model_copy(update={"max_tokens": found.max_tokens})
    return replaced(found, model=model, max_tokens=None)


def read_parent(given: object) -> CharterDocument:
    """An organization's charter, checked. Raises UnusableCharter with every problem."""
    found = read_document(given)
    wrong = [name for name in IDENTITY if name in found.model_fields_set]
    if wrong:
        raise UnusableCharter([Problem(name, "belongs to one orchestrator, not to an organization") for name in wrong])
    return found


def read_configuration(config: object) -> CharterDocument:
    """The charter in an `orchestrator_config`. Raises UnusableCharter with every problem."""
    if not isinstance(config, Mapping):
        raise UnusableCharter([Problem("configuration", "a mapping is expected")])
    problems: list[Problem] = []
    document, beside = EMPTY, None
    try:
        document = read_document(config.get("charter"), "charter")
    except UnusableCharter as error:
        problems += error.problems
    try:
        if config.get("personality") is not None:
            beside = _BESIDE.validate_python(config["personality"])
    except ValidationError as error:
        problems += _problems(error, "personality", Personality)
    if problems:
        raise UnusableCharter(problems)
    if beside is None or document.personality != Personality():
        return document
    return replaced(document, personality=beside)


def replaced(document: CharterDocument, **fields: Any) -> CharterDocument:
    """The same with other values, which are right already; None for a field takes it out."""
    kept = {name: getattr(document, name) for name in document.model_fields_set} | fields
    return CharterDocument.model_construct(**{name: value for name, value in kept.items() if value is not None})


def load_charter(snapshot: OrchestratorSnapshot, version: int = 0, parent: CharterDocument = EMPTY) -> Charter:
    """The charter of an orchestrator as its configuration says it, within its organization's.

    Raises StartFailed, naming every bad field and never its value, or when the whole is longer than MAX_CHARTER.
    """
    try:
        document = read_configuration(snapshot.config)
    except UnusableCharter as error:
        msg = f"The charter of @{one_line(snapshot.handle)} cannot be used. Correct these fields: {error}."
        raise StartFailed(msg) from None
    charter = in_force(document, snapshot, version=version, parent=parent)
    excess = too_large(charter)
    if excess:
        raise StartFailed(excess)
    return charter


def too_large(charter: Charter) -> str:
    """A sentence where the rendered charter is longer than MAX_CHARTER, else nothing."""
    length = len(render(charter))
    if length <= MAX_CHARTER:
        return ""
    return (
        f"The charter of @{charter.handle} is too large: {length:,} characters, at most {MAX_CHARTER:,} "
        f"are allowed. Shorten its mission (system_prompt) or personality."
    )


def in_force(
    document: CharterDocument, snapshot: OrchestratorSnapshot, *, version: int = 0, parent: CharterDocument = EMPTY
) -> Charter:
    """A document as the charter of one orchestrator: what it leaves open of who it is, its rows say.

    The handle is always the row's: an old charter must not undo a new name.
    """
    merged = document if parent is EMPTY else under(parent, document)
    # every field is given: pydantic would copy the default of each that is not, deeply
    fields = {name: getattr(merged, name) for name in CharterDocument.model_fields}
    own: dict[str, Any] = {
        "name": document.name or one_line(snapshot.user.name) or one_line(snapshot.handle),
        "handle": one_line(snapshot.handle),
        "role": document.role or one_line(snapshot.role),
        "discipline": document.discipline or one_line(snapshot.discipline),
    }
    own |= {"version": version, "parent_version": snapshot.parent_version}
    return Charter.model_construct({*merged.model_fields_set, *own}, **(fields | own))


def _problems(error: ValidationError, at: str, model: type[Part] = CharterDocument) -> list[Problem]:
    return [
        Problem(_under(at, ".".join(_shown(part) for part in one["loc"] if part != "[key]")), _sentence(one, model))
        for one in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def _under(at: str, path: str) -> str:
    return f"{at}.{path}" if at and path else at or path or "charter"


def _shown(part: int | str) -> str:
    return one_line(str(part))[:60]


def _sentence(error: Any, model: type[Part]) -> str:
    if error["type"] == "extra_forbidden":
        *way, key = error["loc"]
        return _unknown(str(key), _part_at(way, model))
    text: str = error["msg"]
    return "is needed" if error["type"] == "missing" else text.removeprefix("Value error, ").replace("Input ", "it ")


def _part_at(way: Sequence[int | str], model: type[Part]) -> type[Part]:
    for step in way:
        if isinstance(step, str):
            model = _part_in(model.model_fields[model.spellings()[step]])
    return model


def _part_in(field: FieldInfo) -> type[Part]:
    kinds = (field.annotation, *get_args(field.annotation))
    return next(one for one in kinds if is_part(one))


def is_part(kind: object) -> TypeGuard[type[Part]]:
    """Whether a field's type has fields of its own."""
    return isinstance(kind, type) and issubclass(kind, Part)


def _unknown(key: str, model: type[Part]) -> str:
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[\s-]+", "_", key).lower()
    known = model.spellings()
    if key in known:
        return f"is given twice: it is the same as {known[key]}"
    near = [known[one] for one in get_close_matches(plain, known, 1)]
    near += [path for path in paths(CharterDocument) if path.rpartition(".")[2] == plain]
    return f"is not known here; do you mean {near[0]}?" if near else "is not known here"


def paths(model: type[Part], at: str = "") -> Iterator[str]:
    """Every field of a model and of its parts, by path."""
    for name, field in model.model_fields.items():
        path = _under(at, name)
        yield path
        if is_part(field.annotation):
            yield from paths(field.annotation, path)
