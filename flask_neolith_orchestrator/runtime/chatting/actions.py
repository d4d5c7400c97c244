"""What an orchestrator can do besides answering: the actions of the specification, on the bundled chat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from ...core.errors import ActionError, RequestError
from ...core.types import OrchestratorAction, OrchestratorSnapshot, OrchestratorStatus
from ...store.stores import Stores
from ..broadcast.news import News
from .chat import Chat

Scope = Callable[[], AbstractContextManager[Any]]
"""A session of our own, committed at the end, in which `Chat` works."""


class BundledActions:
    """Implements `core.ports.Actions` on the bundled chat. Lifetime: app, in one process; safe for all threads."""

    def __init__(self, stores: Stores, chat: Chat, news: News, scope: Scope) -> None:
        self._stores = stores
        self._chat = chat
        self._news = news
        self.scope = scope
        self._handlers: dict[str, Callable[[OrchestratorSnapshot, Mapping[str, Any]], Mapping[str, Any]]] = {
            "send_message": self._send_message,
            "react": self._react,
            "update_status": self._update_status,
            "join_channel": self._join,
            "leave_channel": self._leave,
        }

    def perform(self, orchestrator: OrchestratorSnapshot, action: OrchestratorAction) -> Mapping[str, Any]:
        """Do it as this orchestrator. Raises ActionError for an unknown type or a payload that cannot be used."""
        kind, payload = action.type, action.payload
        handler = self._handlers.get(kind)
        if handler is None:
            known = ", ".join(self._handlers)
            msg = f"There is no handler for the action {kind!r}. There are: {known}."
            raise ActionError(msg)
        try:
            with self.scope():
                return handler(orchestrator, payload)
        except KeyError as error:
            msg = f"The action {kind} needs {error.args[0]!r} in its payload."
            raise ActionError(msg) from None
        except RequestError as error:
            msg = f"The action {kind} cannot be done: {error}"
            raise ActionError(msg) from error

    def _send_message(self, orchestrator: OrchestratorSnapshot, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        posted = self._chat.post(
            orchestrator.user.id,
            str(payload["channel_id"]),
            str(payload["content"]),
            thread_id=payload.get("thread_id"),
            reply_to_id=payload.get("reply_to_id"),
        )
        return posted.message

    def _react(self, orchestrator: OrchestratorSnapshot, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._chat.react(orchestrator.user.id, str(payload["message_id"]), str(payload["emoji"]))

    def _update_status(self, orchestrator: OrchestratorSnapshot, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            status = OrchestratorStatus(str(payload["status"]).upper())
        except ValueError:
            msg = f"There is no status {payload['status']!r}. There are: {', '.join(OrchestratorStatus)}."
            raise ActionError(msg) from None
        changed = self._stores.database.run(lambda tx: self._stores.people.set_status(tx, orchestrator.id, status))
        if changed:
            self._news.presence(orchestrator, status)
        return {"status": str(status)}

    def _join(self, orchestrator: OrchestratorSnapshot, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        channel_id = str(payload["channel_id"])
        self._chat.admit(orchestrator.user.id, channel_id)
        return {"channelId": channel_id}

    def _leave(self, orchestrator: OrchestratorSnapshot, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        channel_id, user_id = str(payload["channel_id"]), orchestrator.user.id
        self._chat.remove_member(user_id, channel_id, user_id)
        return {"channelId": channel_id}
