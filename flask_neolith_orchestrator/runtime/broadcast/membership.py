"""That somebody is in a channel now, or is not any more: told to that user alone, in all their browsers."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ...core.events import user_room
from ...core.ports import Channel, Crowd
from ...store.chat.rooms import Rooms
from ...store.sql.database import Database

log = logging.getLogger("flask_neolith_orchestrator")

Told = Callable[[str, str, bool], None]
"""(channel id, user id, whether they joined)"""


class Membership:
    """Tells users of their own coming and going. Lifetime: app, in one process. Called after the commit."""

    def __init__(self, rooms: Rooms, database: Database, channel: Channel, then: Told) -> None:
        self._rooms = rooms
        self._database = database
        self._channel = channel
        self._then = then

    def __call__(self, channel_id: str, user_id: str, joined: bool) -> None:
        """First their sockets enter or leave the channel's rooms, then they are told."""
        self._then(channel_id, user_id, joined)
        room = user_room(user_id)
        if isinstance(self._channel, Crowd) and not self._channel.is_heard(room):
            return  # what nobody hears need not be read
        if not joined:
            self._channel.emit("channel:removed", {"channelId": channel_id}, room)
            return
        try:
            with self._database.read() as tx:
                shown = self._rooms.view(tx, channel_id)
        except Exception:
            # the membership is committed: a browser that reads its channels again sees it
            log.exception("A new member was not told", extra={"action": "news-failed"})
            return
        fresh = {"unread": 0, "mentions": 0, "lastReadId": None, "lastMessage": None}
        self._channel.emit("channel:added", {"channel": {**shown, **fresh}}, room)
