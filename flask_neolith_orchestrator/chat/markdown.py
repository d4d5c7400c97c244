"""Markdown as this house reads it, and the only way it becomes HTML.

What a person or a model writes is data. Raw HTML is shown as text, nothing is fetched from outside (an image
becomes a link), links lead to http, https and mailto only. Two walls: the parser makes no other markup, and nh3
lets no other markup through.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import nh3
from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

from .text import clean

_SAFE_LINK: Final = re.compile(r"(?:https?://|mailto:)[^\s<>\"]", re.IGNORECASE)
_LANGUAGE: Final = re.compile(r"language-[A-Za-z0-9+#._-]{1,40}")
_ATTRIBUTES: Final = {"a": {"href", "title"}, "code": {"class"}, "ol": {"start"}}
_TAGS: Final = {
    *("p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre", "code", "ul", "ol", "li"),
    *("a", "em", "strong", "s", "table", "thead", "tbody", "tr", "th", "td"),
}


def new_parser() -> MarkdownIt:
    """A parser for CommonMark with tables and strikethrough. Holds no state of a document; safe on threads.

    One departure from CommonMark: a quote ends where its `>` ends. In chat the line after a quoted line is the
    answer to it, not the quote's continuation.
    """
    parser = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable(["table", "strikethrough"])
    parser.validateLink = _is_safe_link  # type: ignore[method-assign]  # its documented way
    parser.block.ruler.before("paragraph", "quote_end", _quote_end, {"alt": ["blockquote"]})
    parser.core.ruler.after("inline", "image_link", _images_to_links)
    return parser


def _is_safe_link(url: str) -> bool:
    return _SAFE_LINK.match(url) is not None


def _quote_end(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    # A quote asks this silently at a line without `>`: whatever that line is, it ends the quote. (A table asks
    # the same rules what ends it; a paragraph does not.)
    return silent and state.parentType == "blockquote"


def _images_to_links(state: StateCore) -> None:
    for block in state.tokens:
        if block.children and any(token.type == "image" for token in block.children):
            block.children = _without_images(block.children)


def _without_images(tokens: list[Token]) -> list[Token]:
    found: list[Token] = []
    in_link = False
    for token in tokens:
        in_link = token.type == "link_open" or (in_link and token.type != "link_close")
        if token.type != "image":
            found.append(token)
            continue
        source = str(token.attrs["src"])
        alt = "".join(child.content for child in token.children or ())
        label = Token("text", "", 0, content=alt or source)
        if in_link:
            found.append(label)
        else:
            found += [Token("link_open", "a", 1, attrs={"href": source}), label, Token("link_close", "a", -1)]
    return found


def _attribute(tag: str, name: str, value: str) -> str | None:
    if name == "href":
        return value if _is_safe_link(value) else None
    if name == "class":
        return value if _LANGUAGE.fullmatch(value) else None
    return value


_PARSER: Final = new_parser()


@lru_cache(maxsize=256)
def to_html(text: str) -> str:
    """Sanitised HTML for Markdown from anybody. Pure; takes any str and never raises.

    Typical messages take well under a millisecond. Hostile ones may take a second, but only once: lists show the
    same messages again and again, so the last ones are remembered.
    """
    return nh3.clean(
        _PARSER.render(clean(text)),
        tags=_TAGS,
        clean_content_tags={"script", "style"},
        attributes=_ATTRIBUTES,
        attribute_filter=_attribute,
        url_schemes={"http", "https", "mailto"},
        link_rel="nofollow noopener noreferrer",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
