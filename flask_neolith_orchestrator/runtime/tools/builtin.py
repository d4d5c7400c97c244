"""The tools that every orchestrator has, unless NEOLITH_BUILTIN_TOOLS or its charter say otherwise.

What they show of the chat is what the person who asked may read (see `store.chat.reader`); what they do, they do as the
orchestrator.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field

from ...chat.context_marks import transcript
from ...chat.tool_context import ToolContext
from ...chat.tools import Tool, Toolkit
from ...core.errors import ToolError
from ...core.types import Line

Channel = Annotated[str, Field(min_length=1, max_length=255)]
READS: Final = ("read",)


def current_time(context: ToolContext, timezone: Annotated[str, Field(max_length=64)] | None = None) -> str:
    """The date and the time now. You cannot know them otherwise.

    Args:
        timezone: An IANA name such as Europe/Berlin; without one, your own.
    """
    name = timezone or context.timezone
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ToolError(f"There is no time zone {name!r}. Give an IANA name such as Europe/Berlin.") from error
    return datetime.now(UTC).astimezone(zone).strftime("%A, %Y-%m-%d %H:%M:%S %Z (UTC%z)")


def read_messages(
    context: ToolContext, channel: Channel | None = None, limit: Annotated[int, Field(ge=1, le=200)] = 50
) -> str:
    """Read the newest messages of this conversation or of a channel, oldest first.

    You already see the newest messages of this conversation: use this for older ones, and for other channels.

    Args:
        channel: A channel's name or id, to read its main line; without one, this conversation.
        limit: How many messages at the most.
    """
    lines = context.chat.history(channel, limit)
    return "\n".join(_shown(line) for line in lines) or "There are no messages."


def search_messages(
    context: ToolContext,
    words: Annotated[str, Field(min_length=1, max_length=200)],
    limit: Annotated[int, Field(ge=1, le=50)] = 20,
) -> str:
    """Search the messages that the person who asked may read here. Newest first.

    Args:
        words: Words that all have to be in a message, in any order.
        limit: How many messages at the most.
    """
    found = context.chat.search(words, limit)
    shown = (f"in {'#' + one.channel if one.channel else 'a direct message'}, {_shown(one.line)}" for one in found)
    return "\n".join(shown) or "Nothing was found."


def list_members(context: ToolContext, channel: Channel | None = None) -> str:
    """List who is in a channel: people and orchestrators.

    Args:
        channel: A channel's name or id; without one, this conversation's.
    """
    members = context.chat.members(channel)
    lines = (f"- {one.name}" + (f" (@{one.handle}, an orchestrator)" if one.handle else "") for one in members)
    return "\n".join(lines) or "There is nobody."


def react(
    context: ToolContext,
    emoji: Annotated[str, Field(min_length=1, max_length=40)],
    message_id: Annotated[str, Field(max_length=20)] | None = None,
) -> str:
    """Put an emoji on a message, as yourself, where that says enough or was asked for.

    Args:
        emoji: An emoji, such as 👍.
        message_id: The number of a message, as other tools show it; without one, the message that you answer.
    """
    context.chat.react(emoji, message_id)
    return "The emoji is on the message."


def post_message(
    context: ToolContext, channel: Channel, text: Annotated[str, Field(min_length=1, max_length=10_000)]
) -> str:
    """Post a message to another channel, as yourself, when the person who asked wants that.

    Both of you must be in that channel. Your answer here is posted by itself: do not use this for it.

    Args:
        channel: The channel's name or id.
        text: The message, in Markdown.
    """
    return f"Posted as message #{context.chat.post(channel, text)}."


@cache
def builtin_tools() -> tuple[Tool, ...]:
    """All of them. Made once in a process: reading their signatures takes several milliseconds."""
    toolkit = Toolkit()
    for look in (current_time, read_messages, search_messages, list_members):
        toolkit.tool(scopes=READS)(look)
    # these can be repeated: an emoji is there or not, and a call posts one message
    toolkit.tool(approval="auto", idempotent=True)(react)
    toolkit.tool(approval="ask", idempotent=True)(post_message)
    return tuple(toolkit)


def _shown(line: Line) -> str:
    at = datetime.fromtimestamp(line.at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"#{line.message_id}, {at}: {transcript([line])}"
