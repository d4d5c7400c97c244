"""Reading one text for things that look like mentions, whoever they may mean. Pure.

The rules are in `mentions`; this is how they are read: the Markdown tree gives the running text, and each @ in it
is looked at once, with the few characters around it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from markdown_it.token import Token

from ..core.handles import SEPARATORS, fold, is_invisible, is_word
from .markdown import new_parser
from .text import clean

_OPAQUE: Final = "\ufffc"  # stands for code, links and images: neither a letter nor a blank
_LONGEST_RUN: Final = 256  # characters; more than any handle, even decomposed
_AT: Final = re.compile("[@\uff20]")
_ID: Final = re.compile(r"@([^\s<>]{1,255})>")
_QUOTED: Final = re.compile('[@\uff20]["“”„«]([^"“”„«»\n]{1,200})["“”»]')
_URL: Final = re.compile(
    r"(?:(?<![a-z0-9+.-])[a-z][a-z0-9+.-]*://|(?<!\w)www\.|(?<![\w@.-])[\w-]+(?:\.[\w-]+)+(?::\d+)?/)"
    '[^\\s<>"\u3001\u3002\u300d\u300f\u3011\uff01\uff09\uff0c\uff1b\uff1f]*',  # CJK punctuation ends it too
    re.IGNORECASE,
)
# Scripts that write no spaces: Thai, Lao, Burmese, Khmer, kana, Han.
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)
_HANGUL: Final = re.compile("[\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3]")
# Up to three Hebrew or Arabic letters with their points, and nothing before them: a preposition, an article.
_PARTICLE: Final = re.compile(
    "(?<![\\w\u0591-\u05c7\u064b-\u0652])(?:[\u05d0-\u05ea\u0620-\u064a][\u0591-\u05c7\u064b-\u0652]{0,3}){1,3}$"
)


@dataclass(frozen=True, slots=True)
class Mention:
    """One mention as written. `keys` are what to look for, folded, the longest first; ids are not folded."""

    kind: Literal["handle", "name", "id"]
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A mention, and where the longest of its keys ends in the scanned text."""

    end: int
    mention: Mention


def may_mention(content: str) -> bool:
    """Whether a text has an @ at all."""
    return _AT.search(content) is not None


def fold_name(name: str) -> str:
    """The form in which display names are compared."""
    return " ".join(fold(name).split())


def running_text(content: str) -> Iterator[str]:
    """The parts of a Markdown text in which somebody speaks for themselves: no code, quotes, links or images."""
    quotes = 0
    for token in _PARSER.parse(clean(content)):
        quotes += {"blockquote_open": 1, "blockquote_close": -1}.get(token.type, 0)
        if token.type == "inline" and not quotes:
            yield _flatten(token.children or ())


_PARSER: Final = new_parser().disable("text_join")  # joined text would no longer tell an escaped @ from an @


def _flatten(tokens: Sequence[Token]) -> str:
    parts: list[str] = []
    in_link = False
    for token in tokens:
        if token.type in ("link_open", "link_close"):
            in_link = token.type == "link_open"
            parts.append(_OPAQUE)
        elif not in_link:
            parts.append(_visible(token))
    return "".join(parts)


def _visible(token: Token) -> str:
    if token.type == "text":
        return token.content
    if token.type == "text_special":
        return _OPAQUE if _AT.fullmatch(token.content) else token.content
    if token.type in ("softbreak", "hardbreak"):
        return "\n"
    return _OPAQUE if token.type == "code_inline" else token.markup


def bare_urls(text: str) -> list[tuple[int, int]]:
    """Where URLs stand in a plain text."""
    return [match.span() for match in _URL.finditer(text)]


def is_unspaced(char: str) -> bool:
    """Whether a character belongs to a script that writes no spaces."""
    return _UNSPACED.match(char) is not None


def scan(text: str) -> Iterator[Found]:
    """What looks like a mention in a plain text, in its order."""
    urls = bare_urls(text)
    seen = 0
    for match in _AT.finditer(text):
        at = match.start()
        while urls and urls[0][1] <= at:
            urls.pop(0)
        if at < seen or (urls and urls[0][0] <= at):
            continue
        found = _read(text, at)
        if found is not None:
            seen = found.end
            yield found


def _read(text: str, at: int) -> Found | None:
    by_id = _ID.match(text, at)
    if by_id and text[at - 1 : at] == "<":
        return Found(by_id.end(), Mention("id", (by_id[1],)))
    if not _may_begin(text, at):
        return None
    quoted = _QUOTED.match(text, at)
    if quoted:
        name = fold_name(quoted[1])
        return Found(quoted.end(), Mention("name", (name,))) if name else None
    cuts = _cuts(text, at + 1)
    if not cuts or _is_address(text, cuts[-1]) or _is_shortcode(text, at, cuts[-1]):
        return None
    return Found(cuts[-1], Mention("handle", tuple(fold(text[at + 1 : end]) for end in reversed(cuts))))


def _may_begin(text: str, at: int) -> bool:
    before = text[at - 1 : at]
    if not before or not is_word(before) or _UNSPACED.match(before):
        return True
    return _PARTICLE.search(text, max(0, at - 12), at) is not None


def _cuts(text: str, start: int) -> list[int]:
    # Every place where a handle that begins at `start` may end, the nearest first.
    cuts: list[int] = []
    previous = ""
    for index in range(start, min(len(text), start + _LONGEST_RUN)):
        char = text[index]
        if is_invisible(char):
            continue
        if not is_word(char):
            if not (previous and char in SEPARATORS and _word_at(text, index + 1)):
                return [*cuts, index] if previous else []
        elif _may_part(previous, char):
            cuts.append(index)
        previous = char
    if previous and len(text) <= start + _LONGEST_RUN:
        cuts.append(len(text))
    return cuts


def _may_part(left: str, right: str) -> bool:
    if not left or left in SEPARATORS or not right.isalnum():
        return False
    if _UNSPACED.match(left) or _UNSPACED.match(right):
        return True
    # Korean is spaced, but its particles follow a foreign name directly.
    return not _HANGUL.match(left) and _HANGUL.match(right) is not None


def _word_at(text: str, index: int) -> bool:
    return 0 <= index < len(text) and is_word(text[index])


def _is_address(text: str, end: int) -> bool:
    # The @ of ada@example.org is no mention because of what precedes it; this is @ada@example.org.
    return not _UNSPACED.match(text, end - 1) and _AT.match(text, end) is not None and _word_at(text, end + 1)


def _is_shortcode(text: str, at: int, end: int) -> bool:
    framed = text[at - 1 : at] == ":" and text[end : end + 1] == ":"
    return framed and not _word_at(text, at - 2) and not _word_at(text, end + 1)
