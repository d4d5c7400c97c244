"""That something new was said, for the members of a channel who do not look at it: who and where, and never what."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ...core.events import activity_room
from ...core.ports import Channel


def tell_activity(
    channel: Channel, message: Mapping[str, Any], *, mentions: Collection[str] = (), reply_to: str | None = None
) -> None:
    """Tell of a message as the wire shows it. `mentions` are users that it names, `reply_to` whom it answers."""
    author, channel_id = message["author"], str(message["channelId"])
    payload = {
        "channelId": channel_id,
        "threadId": message["threadId"],
        "messageId": message["id"],
        "authorId": author["id"],
        "authorName": author["name"],
        "at": message["createdAt"],
        "mentions": sorted(mentions),
        "replyToUserId": reply_to,
    }
    channel.emit("channel:activity", payload, activity_room(channel_id))
