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


SENTENCES: Final = {
    Reason.ADDRESSED: "The sender named it as an addressee.",
    Reason.MENTIONED: "It is mentioned.",
    Reason.MENTION_ADDED: "An edit mentions it.",
    Reason.ROLE: "Its role is mentioned, and its charter asks for that.",
    Reason.REPLY: "The message replies to one of its own.",
    Reason.DIRECT: "A direct message needs no mention.",
    Reason.KEYWORD: "A keyword of its charter is said.",
    Reason.KEYWORD_ADDED: "An edit says a keyword of its charter.",
    Reason.THREAD: "It has answered this person in this thread, and its charter lets it go on.",
    Reason.WATCHED: "Its charter lets it listen to everything in this channel.",
    Reason.OWN: "It wrote the message itself.",
    Reason.BOT: "A bot, a webhook or the system wrote it, and its charter does not let it answer that one.",
    Reason.ORCHESTRATOR: "Another orchestrator wrote it, which has to mention it, and its charter has to allow that.",
    Reason.SILENT: "It answers nobody: auto_reply is off.",
    Reason.NOT_ADDRESSED: "The sender named others as addressees.",
    Reason.OTHERS_MEANT: "Somebody else is meant.",
    Reason.MENTION_ONLY: "It would have been called, but its charter wants a mention.",
    Reason.NOT_MENTIONED: "Nothing in the message calls it.",
    Reason.LIMITED: "Its author has sent too many messages in a short time.",
    Reason.LOOP: "These two have answered each other too often in a short time.",
}
"""What each reason means, for people."""
