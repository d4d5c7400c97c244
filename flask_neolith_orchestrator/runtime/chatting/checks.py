"""What people may write: every check of input that does not need the database, each with a clear sentence. Pure."""

from __future__ import annotations

import re
from typing import Final

from ...core.errors import Invalid, NotFound
from ...core.handles import MAX_HANDLE, fold, is_invisible, is_word, valid_handle

MAX_EMOJI: Final = 40
MAX_CLIENT_ID: Final = 100
MAX_CHANNEL_NAME: Final = 80
MAX_TOPIC: Final = 500
MAX_PAGE: Final = 200
MAX_SLUG: Final = 100

_ID = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)  # 18 digits always fit into 64 bit
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_CONTROL_IN_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def row_id(value: object, what: str) -> str:
    """An id of ours. Raises NotFound if it can be no row's: "There is no such `what`."."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise NotFound(f"There is no such {what}.")
    return value


def cursor(value: object) -> str | None:
    """What `before` may be: None, or the cursor of an earlier answer."""
    if value is None or (isinstance(value, str) and _ID.fullmatch(value)):
        return value
    raise Invalid("before must be the cursor of an earlier page.")


def page_size(value: object) -> int:
    """How many messages a page may have."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_PAGE:
        raise Invalid(f"limit must be a number from 1 to {MAX_PAGE}.")
    return value


def content(value: object, longest: int) -> str:
    """A message's text with line ends as newlines. Control characters other than tab and newline are refused."""
    if not isinstance(value, str):
        raise Invalid("content must be text.")
    if len(value) > 2 * longest:  # before it is copied: \r\n counts as one character
        raise Invalid(f"content must have at most {longest:,} characters.")
    text = value.replace("\r\n", "\n").replace("\r", "\n")
    if len(text) > longest:
        raise Invalid(f"content must have at most {longest:,} characters.")
    _refuse("content", text, _CONTROL_IN_TEXT)
    if _blank(text):
        raise Invalid("content must not be empty.")
    return text


def emoji(value: object) -> str:
    """The emoji of a reaction, or a custom one's name."""
    text = _short("emoji", value, MAX_EMOJI)
    if _blank(text):
        raise Invalid("emoji must not be empty.")
    return text


def client_id(value: object) -> str | None:
    """The sender's own id of a message; None where there is none."""
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_CLIENT_ID or not value.isprintable():
        raise Invalid(f"clientId must have 1 to {MAX_CLIENT_ID} printable characters.")
    return value


def channel_name(value: object) -> str:
    """A channel's name in the form it is stored and compared in: folded to lower case."""
    name = fold(value) if isinstance(value, str) and len(value) <= 2 * MAX_CHANNEL_NAME else ""
    fits = 1 <= len(name) <= MAX_CHANNEL_NAME and any(map(is_word, name))
    if not fits or not all(is_word(char) or char in "-_." for char in name):
        raise Invalid(f"name must have 1 to {MAX_CHANNEL_NAME} letters, digits, hyphens, underscores and dots.")
    return name


def topic(value: object) -> str:
    """What a channel is about, in one line; may be empty."""
    return _short("topic", value, MAX_TOPIC, least=0).strip()


def label(what: str, value: object, longest: int, *, least: int = 0) -> str:
    """A short text in one line, such as an organization's name or an orchestrator's role."""
    text = _short(what, value, longest, least=least).strip()
    if len(text) < least:
        raise Invalid(f"{what} must not be empty.")
    return text


def slug(value: object) -> str:
    """The short name of an organization, as in addresses."""
    if not isinstance(value, str) or len(value) > MAX_SLUG or not _SLUG.fullmatch(value):
        raise Invalid(f"slug must be 1 to {MAX_SLUG} lower case letters (a-z), digits and single hyphens.")
    return value


def handle(value: object) -> str:
    """What an orchestrator is mentioned by, in the form it is stored and compared in."""
    if not isinstance(value, str) or not valid_handle(value):
        raise Invalid(
            f"handle must have 1 to {MAX_HANDLE} letters or digits, with single hyphens, dots or underscores between."
        )
    return fold(value)


def user_ids(what: str, value: object, most: int) -> list[str]:
    """A list of at most `most` user ids, each once, in order; whether they are anybody's is seen later."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, str) for one in value):
        raise Invalid(f"{what} must be a list of user ids.")
    if len(value) > most:
        raise Invalid(f"{what} must name at most {most} people.")
    return list(dict.fromkeys(value))


def _short(what: str, value: object, longest: int, *, least: int = 1) -> str:
    if not isinstance(value, str) or not least <= len(value) <= longest:
        raise Invalid(f"{what} must be text of {least} to {longest} characters.")
    _refuse(what, value, _CONTROL)
    return value


def _refuse(what: str, text: str, control: re.Pattern[str]) -> None:
    found = control.search(text)
    if found:
        raise Invalid(f"{what} must not contain the control character U+{ord(found[0]):04X}.")
    if _SURROGATE.search(text):
        raise Invalid(f"{what} must not contain half a character (a lone surrogate).")


def _blank(text: str) -> bool:
    return all(char.isspace() or is_invisible(char) for char in text)
