"""What a host's message carries besides its text: names and types alone. Nothing is ever fetched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

MOST: Final = 50
"""Attachments of one message that are kept."""

LONGEST: Final = 200
"""Characters of one attachment's name and type."""

_NAMES: Final = ("name", "filename", "title")
_TYPES: Final = ("type", "contentType", "content_type", "mimeType", "mime_type")


def attached(metadata: Mapping[str, Any]) -> list[str]:
    """`metadata["attachments"]` as lines like "plan.pdf (application/pdf)".

    Each may be a name, or a mapping with its name (name, filename or title) and type (type, contentType, mimeType).
    What cannot be read is "a file"; whatever else is there is left out.
    """
    given = metadata.get("attachments")
    if not isinstance(given, list | tuple):
        return []
    return [_line(one) for one in given[:MOST]]


def _line(one: Any) -> str:
    if not isinstance(one, Mapping):
        return _text(one) or "a file"
    name = _first(one, _NAMES) or "a file"
    kind = _first(one, _TYPES)
    return f"{name} ({kind})" if kind else name


def _first(one: Mapping[Any, Any], keys: Iterable[str]) -> str:
    return next((text for key in keys if (text := _text(one.get(key)))), "")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    printable = "".join(char if char.isprintable() else " " for char in value[:LONGEST])
    return " ".join(printable.split())
