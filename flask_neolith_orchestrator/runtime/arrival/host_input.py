"""What a host's own code may hand in: it is checked before it touches the host's transaction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from ...chat.text import clean
from ...core.errors import Invalid
from ...core.types import IncomingMessage

LAST_INSTANT = 253_402_300_799.0
"""The end of the year 9999 in epoch seconds: what is later cannot be shown, and is milliseconds by mistake."""

MAX_ID = 255
"""Characters of an id of the host's."""


def usable(message: IncomingMessage, longest: int) -> IncomingMessage:
    """The message in the form that can be stored and read.

    Text loses what no database keeps (NUL, lone surrogates, control characters) and is cut to `longest` characters: the
    host has stored it, so refusing it would only lose the question. Raises Invalid for ids (that of
    `reply_to_author_id` in the metadata, too) that are no text of 1 to 255 characters, content that is no text, and a
    timestamp that is neither epoch seconds nor an aware datetime.
    """
    for name in ("id", "channel_id", "author_id"):
        _check_id(name, getattr(message, name))
    if message.thread_id is not None:
        _check_id("thread_id", message.thread_id)
    if not isinstance(message.content, str):
        raise Invalid("content must be text.")
    if message.metadata is not None and not isinstance(message.metadata, Mapping):
        raise Invalid("metadata must be a mapping.")
    replied = (message.metadata or {}).get("reply_to_author_id")
    if replied is not None:  # a number would be nobody's id, and the reply nobody's
        _check_id("metadata['reply_to_author_id']", replied)
    content = clean(message.content)
    if len(content) > longest:
        content = content[: longest - 2] + " …"
    return replace(message, content=content, timestamp=_seconds(message.timestamp))


def _check_id(name: str, value: object) -> None:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_ID or clean(value) != value:
        raise Invalid(f"{name} must be text of 1 to {MAX_ID} characters, without control characters.")


def _seconds(value: object) -> float:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise Invalid("timestamp must be an aware datetime: a naive one does not say which instant it is.")
        return value.timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Invalid("timestamp must be epoch seconds or an aware datetime.")
    if not math.isfinite(value) or not 0 <= value <= LAST_INSTANT:
        raise Invalid("timestamp must be epoch seconds (not milliseconds) up to the year 9999.")
    return float(value)
