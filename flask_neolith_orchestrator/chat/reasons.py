"""Why an orchestrator wakes or sleeps, in words that are stored, logged and shown as they are."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Reason(StrEnum):
    """Why an orchestrator wakes or sleeps."""

    ADDRESSED = "addressed"  # wakes: the sender named it as an addressee
    MENTIONED = "mentioned"  # wakes: its handle, name or id is in the text
    MENTION_ADDED = "mention-added"  # wakes: an edit put it there
    ROLE = "role-mentioned"  # wakes: its role is called, and its charter asks for that
    REPLY = "reply"  # wakes: the message replies to one of its own
    DIRECT = "direct-message"  # wakes: a direct message needs no mention
    KEYWORD = "keyword"  # wakes: a word of its charter is said
    KEYWORD_ADDED = "keyword-added"  # wakes: an edit put it there
    THREAD = "thread-followed"  # wakes: it has answered this person in this thread
    WATCHED = "watched-channel"  # wakes: it listens to everything here
    OWN = "own-message"  # sleeps: it wrote this itself
    BOT = "author-is-bot"  # sleeps: system, webhook and foreign bots' messages wake nobody unless allowed
    ORCHESTRATOR = "author-is-orchestrator"  # sleeps: orchestrators wake only whose charter allows it, by name
    SILENT = "auto-reply-off"  # sleeps: it answers nobody
    NOT_ADDRESSED = "not-addressed"  # sleeps: the sender named others
    OTHERS_MEANT = "others-meant"  # sleeps: it would listen here, but somebody else is meant
    MENTION_ONLY = "mention-only"  # sleeps: it would have been called, but wants to be mentioned
    NOT_MENTIONED = "not-mentioned"  # sleeps
    LIMITED = "rate-limit"  # sleeps: its author has sent too many messages in a short time
    LOOP = "loop-guard"  # sleeps: these two have answered each other too often in a short time


WAKING: Final = frozenset(
    {
        Reason.ADDRESSED,
        Reason.MENTIONED,
        Reason.MENTION_ADDED,
        Reason.ROLE,
        Reason.REPLY,
        Reason.DIRECT,
        Reason.KEYWORD,
        Reason.KEYWORD_ADDED,
        Reason.THREAD,
        Reason.WATCHED,
    }
)
"""Those by which somebody wakes."""
