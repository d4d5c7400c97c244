"""What a host's own code hands in is made usable, or refused before anything is written."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from flask_neolith_orchestrator import IncomingMessage
from flask_neolith_orchestrator.core.errors import Invalid
from flask_neolith_orchestrator.runtime.arrival.host_input import LAST_INSTANT, usable

GOOD = IncomingMessage("1", "Hello", "room", "ann", 1_700_000_000.0)


def test_a_good_message_stays_as_it_is() -> None:
    """Numbers become floats and an aware datetime becomes epoch seconds; nothing else changes."""
    assert usable(GOOD, 100) == GOOD
    assert usable(replace(GOOD, timestamp=datetime(2026, 1, 1, tzinfo=UTC)), 100).timestamp == 1_767_225_600.0


def test_text_that_no_database_keeps_is_mended() -> None:
    """NUL and lone surrogates go, and what is too long is cut with a mark: the host has stored it already."""
    assert usable(replace(GOOD, content="a\x00b\ud800"), 100).content.isprintable()
    cut = usable(replace(GOOD, content="x" * 500), 100).content
    assert (len(cut), cut[-2:]) == (100, " …")


@pytest.mark.parametrize(
    "bad",
    [
        {"id": ""},
        {"id": 5},
        {"id": "x" * 256},
        {"channel_id": None},
        {"author_id": "a\x00"},
        {"thread_id": ""},
        {"content": None},
        {"content": b"bytes"},
        {"metadata": ["list"]},
        {"metadata": {"reply_to_author_id": 2}},
        {"timestamp": None},
        {"timestamp": True},
        {"timestamp": "2026-01-01"},
        {"timestamp": math.nan},
        {"timestamp": math.inf},
        {"timestamp": -1.0},
        {"timestamp": LAST_INSTANT + 1},
        {"timestamp": 1.7e12 * 1000},
        {"timestamp": datetime(2026, 1, 1)},  # noqa: DTZ001 -- the naive one is the case
    ],
    ids=repr,
)
def test_what_cannot_be_used_is_named(bad: dict[str, Any]) -> None:
    """Each names the member that is wrong."""
    with pytest.raises(Invalid, match=next(iter(bad))):
        usable(replace(GOOD, **bad), 100)


def test_an_id_in_the_metadata_is_named() -> None:
    """A number would make a reply that nobody hears, without a word."""
    with pytest.raises(Invalid, match="reply_to_author_id"):
        usable(replace(GOOD, metadata={"reply_to_author_id": 2}), 100)
    assert usable(replace(GOOD, metadata={"reply_to_author_id": "2"}), 100).metadata == {"reply_to_author_id": "2"}
