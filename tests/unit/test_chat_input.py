"""What people may write."""

from __future__ import annotations

import pytest

from flask_neolith_orchestrator.core.errors import Invalid, NotFound
from flask_neolith_orchestrator.runtime.chatting import checks


@pytest.mark.parametrize(
    "value",
    ["", "0", "01", "-1", "1.0", " 1", "1\n", "\u0661", "x", "9" * 19, "9" * 5000, "1\0", 1, None, True, ["1"], {}],
)
def test_an_id_that_is_no_number_of_ours_is_not_found(value: object) -> None:
    """Each row has one spelling of its id; everything else is nobody's, in words that name what was looked for."""
    with pytest.raises(NotFound, match="There is no such channel"):
        checks.row_id(value, "channel")


def test_an_id_of_ours_passes() -> None:
    """The longest one accepted still fits into 64 bit."""
    assert checks.row_id("9" * 18, "channel") == "9" * 18
    assert checks.cursor(None) is None
    assert checks.cursor("5") == "5"


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (None, "must be text"),
        (5, "must be text"),
        (["hi"], "must be text"),
        ("", "must not be empty"),
        (" \n\t\u00a0", "must not be empty"),
        ("\u200b\u2060", "must not be empty"),
        ("x" * 11, "at most 10 characters"),
        ("x" * 10_000, "at most 10 characters"),
        ("a\0b", r"control character U\+0000"),
        ("a\x1bb", r"control character U\+001B"),
        ("a\x7fb", r"control character U\+007F"),
        ("a\x85b", r"control character U\+0085"),
        ("a\ud83db", "lone surrogate"),
    ],
)
def test_content_that_cannot_be_used_is_refused_with_a_sentence(value: object, sentence: str) -> None:
    """Wrong types, nothing visible, too much, control characters and half characters say what is wrong."""
    with pytest.raises(Invalid, match=sentence):
        checks.content(value, 10)


def test_content_is_kept_as_written_but_for_line_ends() -> None:
    """Tabs, newlines, emoji and right-to-left text are text; \\r\\n is one character, as its author saw it."""
    assert checks.content("\ta\nb 👩‍👩‍👧 שלום ", 100) == "\ta\nb 👩‍👩‍👧 שלום "
    assert checks.content("a\r\nb\rc", 5) == "a\nb\nc"
    assert checks.content("x" * 10, 10) == "x" * 10


@pytest.mark.parametrize("value", ["", " ", "a\n", "\0", "x" * 41, "\ud800", None, 3])
def test_a_bad_emoji_is_refused(value: object) -> None:
    """1 to 40 visible characters without control characters."""
    with pytest.raises(Invalid, match="emoji"):
        checks.emoji(value)


def test_an_emoji_may_be_joined_or_a_name() -> None:
    """Joined emoji and the names of a host's own ones."""
    assert checks.emoji("👩‍👩‍👧") == "👩‍👩‍👧"
    assert checks.emoji("party_parrot") == "party_parrot"


@pytest.mark.parametrize("value", ["", "x" * 101, "a\nb", "\0", "\ud800", 5, ["x"]])
def test_a_bad_client_id_is_refused(value: object) -> None:
    """1 to 100 printable characters, or none at all."""
    with pytest.raises(Invalid, match="clientId"):
        checks.client_id(value)
    assert checks.client_id(None) is None
    assert checks.client_id("x" * 100) == "x" * 100


@pytest.mark.parametrize(
    "value", ["", "a b", "#general", "a/b", "...", "-_-", "x" * 81, "x" * 10_000, "\0", "\ud800", None, 4]
)
def test_a_bad_channel_name_is_refused(value: object) -> None:
    """Letters, digits, - _ . and at least one letter or digit; 80 at most."""
    with pytest.raises(Invalid, match="name must have"):
        checks.channel_name(value)


def test_a_channel_name_is_folded() -> None:
    """Names that look alike are one name."""
    assert checks.channel_name("Général-2.0") == "général-2.0"
    assert checks.channel_name("ge\u0301ne\u0301ral") == "général"
    assert checks.channel_name("\uff26\uff35\uff2c\uff2c") == "full"
    assert checks.channel_name("x" * 80) == "x" * 80


@pytest.mark.parametrize("value", [0, -1, 201, 10**30, True, "5", None, 1.5])
def test_a_page_has_a_sensible_size(value: object) -> None:
    """From 1 to 200, as a number."""
    with pytest.raises(Invalid, match="limit"):
        checks.page_size(value)
    assert checks.page_size(200) == 200


@pytest.mark.parametrize("value", ["abc", None, {"1": 2}, [1], ["a"] * 4])
def test_a_list_of_people_is_a_list_of_ids(value: object) -> None:
    """A text is no list, a number no id, and there is a bound."""
    with pytest.raises(Invalid, match="userIds"):
        checks.user_ids("userIds", value, 3)


def test_everybody_is_named_once() -> None:
    """Duplicates are harmless."""
    assert checks.user_ids("userIds", ["b", "a", "b"], 3) == ["b", "a"]


@pytest.mark.parametrize("value", ["x", 5, "1e3", "-1"])
def test_a_cursor_that_nobody_was_given_is_refused(value: object) -> None:
    """A cursor is no id: it is input that cannot be used."""
    with pytest.raises(Invalid, match="before"):
        checks.cursor(value)


@pytest.mark.parametrize("value", ["", "Acme", "a b", "-a", "a--b", "ä", "x" * 101, None])
def test_a_bad_slug_is_refused(value: object) -> None:
    """Lower case ASCII letters, digits and single hyphens."""
    with pytest.raises(Invalid, match="slug"):
        checks.slug(value)
    assert checks.slug("acme-2") == "acme-2"


@pytest.mark.parametrize("value", ["", "a b", "@ada", "ada.", "x" * 65, None])
def test_a_bad_handle_is_refused(value: object) -> None:
    """What could not be mentioned cannot be a handle."""
    with pytest.raises(Invalid, match="handle"):
        checks.handle(value)
    assert checks.handle("Ada") == "ada"


def test_a_label_is_one_line() -> None:
    """Trimmed, bounded, and not empty where something is needed."""
    assert checks.label("role", " Engineer ", 20) == "Engineer"
    assert checks.topic("  ") == ""
    for value in ("", "   ", "a\nb", "x" * 21, None):
        with pytest.raises(Invalid, match="name"):
            checks.label("name", value, 20, least=1)
