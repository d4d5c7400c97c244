"""A charter with its fields' own names, as a form needs it: whatever way each was written. Pure, and never refuses.

What is not known, or does not have the expected shape, stays where it is and as it is: `charter_reading` names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args

from pydantic.fields import FieldInfo

from .charter import CharterDocument
from .charter_reading import is_part
from .charter_words import Part, as_day

_SHORT: Final = {"personality": "background", "model": "name"}
"""Parts that may be written as plain text, with the field that the text is then of."""


def spelled_out(charter: Mapping[str, Any]) -> dict[str, Any]:
    """The same charter with the names that `docs/charter.md` lists, without short forms, and without nulls."""
    found = _part(charter, CharterDocument)
    model = found.get("model", {})
    if "max_tokens" in found and isinstance(model, dict) and "max_tokens" not in model:
        found["model"] = {**model, "max_tokens": found.pop("max_tokens")}
    return found


def _part(given: Mapping[str, Any], model: type[Part]) -> dict[str, Any]:
    known, found = model.spellings(), {}
    for key, value in given.items():
        name = known.get(key)
        if name is None or name in found:  # not known, or given twice
            found[key] = value
        elif value is not None:
            found[name] = _value(name, value, model.model_fields[name])
    return found


def _value(name: str, value: Any, field: FieldInfo) -> Any:
    if name in _SHORT and isinstance(value, str):
        return {_SHORT[name]: value}
    if name == "hours" and isinstance(value, Mapping):
        return {str(as_day(day)): spans for day, spans in value.items()}
    inner = next((one for one in (field.annotation, *get_args(field.annotation)) if is_part(one)), None)
    if inner is None:
        return value
    if isinstance(value, Mapping):
        return _part(value, inner)
    if isinstance(value, list):
        return [_part(one, inner) if isinstance(one, Mapping) else one for one in value]
    return value
