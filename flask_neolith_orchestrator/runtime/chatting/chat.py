"""The bundled chat, host side: what people and orchestrators do with messages, in the host's own transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...core.cancel import StopReason
from ...core.errors import Conflict, Forbidden, Invalid, NotFound
from ...store.chat.messages import Draft, Stored
from ...store.chat.rooms import Room
from ...store.turns.turns import Stopped
from ..arrival.hearing import Heard
from . import checks
from .approvals import ChatApprovals
from .sessions import ChatSessions
from .turns import ChatTurns

MOST_EMOJI = 50
"""Different emoji on one message."""


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of a post: the message as the wire shows it; `fresh` is False if it had been sent before.

    `work` is what it has become at those whom it woke, as `Chat.work` shows it.
    """

    message: dict[str, Any]
    fresh: bool
    work: list[dict[str, Any]]


class Chat(ChatTurns, ChatApprovals, ChatSessions):
    """Channels and messages, kept in our own tables. Lifetime: app, in one process; safe for all threads.

    Every method takes the id of the user who acts, checks what that user may do, and works in the host's session
    without committing: what it tells (Socket.IO events, the daemons' bell) goes out after the host's commit.
    It raises NotFound for what the user may not see, Forbidden, Conflict, and Invalid for input that cannot be used.
    """

    def post(
        self,
        author_id: str,
        channel_id: str,
        content: str,
        *,
        thread_id: str | None = None,
        client_id: str | None = None,
        reply_to_id: str | None = None,
        wakes: bool = True,
    ) -> Posted:
        """Store a message and accept the work of everybody it wakes, unless it `wakes` nobody. Members only.

        `thread_id` is a message on the channel's main line (of a reply, its thread is meant). The same `client_id`
        twice is the same message, and wakes nobody twice.
        """
        text = checks.content(content, self._parts.settings.max_message_length)
        client = checks.client_id(client_id)
        tx = self._reading()
        room = self._room(tx, author_id, channel_id)
        if room.kind == "external":
            raise Conflict("This channel belongs to the app's own chat; post there.")
        root = None if thread_id is None else self._thread(tx, room, thread_id, "thread")
        replied = None if reply_to_id is None else self._within(tx, room, reply_to_id, "message to reply to")
        draft = Draft(
            channel_id=room.id,
            author_id=author_id,
            content=text,
            at=self._now(),
            thread_id=None if root is None else root.id,
            reply_to_id=None if replied is None else replied.id,
            client_id=client,
        )
        tx = self._writing()
        message_id, fresh = self._parts.messages.add(tx, draft)
        shown = self._parts.messages.view(tx, message_id)
        if fresh:
            # told before the bell rings, so that no browser sees an answer before its question
            self._tell("message", room.id, {"message": shown})
            self._tell_root(tx, shown)
            self._tell_activity(tx, shown, None if replied is None else replied.author_id)
            heard = self._heard(shown, room, text, self._addressee(tx, room, replied))
            if wakes and not self._decided_in_words(tx, heard):
                accepted = self._parts.reception.receive(self._parts.session(), heard)
                return Posted(shown, fresh, self._work(tx, [one.delivery_id for one in accepted]))
        return Posted(shown, fresh, [])

    def edit(self, actor: str, message_id: str, content: str) -> dict[str, Any]:
        """Change one's own message. An added mention wakes, once; any other edit wakes nobody.

        Nor does one of a message older than NEOLITH_KEEP_DELIVERIES: who answered it then may have been forgotten.
        """
        text = checks.content(content, self._parts.settings.max_message_length)
        tx = self._reading()
        before, room = self._message(tx, actor, message_id)
        if before.author_id != actor:
            raise Forbidden("Only its author may edit a message.")
        if before.content == text and not before.deleted:
            return self._parts.messages.view(tx, before.id)
        tx = self._writing()
        if not self._parts.messages.edit(tx, before.id, text, self._now()):
            raise Conflict("A message that is deleted or still being written cannot be edited.")
        shown = self._parts.messages.view(tx, before.id)
        self._tell("message:updated", room.id, {"message": shown})
        keep = self._parts.settings.keep_deliveries / 1000
        if not keep or self._now() - before.created_at < keep:
            heard = self._heard(shown, room, text, None)
            self._parts.reception.edited(self._parts.session(), heard, before.content)
        return shown

    def delete(self, actor: str, message_id: str) -> dict[str, Any]:
        """Delete one's own message, or any one in a channel of an organization one manages. Harmless twice.

        What waits for an answer to it, or to anything in the thread it began, is cancelled; an answer that is
        being written to it, or that is itself deleted, ends. Of an answer of several messages all are deleted.
        """
        tx = self._reading()
        found, room = self._answer(tx, actor, message_id)
        managed = found.author_id == actor or (room.organization_id and self.can_manage(actor, room.organization_id))
        if not managed:
            raise Forbidden("Only its author, or an owner or admin of the organization, may delete a message.")
        tx = self._writing()
        gone = self._parts.messages.delete(tx, found.id, self._now())
        shown = self._parts.messages.view(tx, found.id)
        if gone:
            self._cancel_work(tx, found)
            for one in gone:
                self._tell("message:deleted", room.id, {"messageId": one, "channelId": room.id})
            self._tell_root(tx, shown)
        return shown

    def host_edited(self, channel_id: str, message_id: str, content: str) -> bool:
        """A message of the host's own chat has another text: from now on that is what is read. It wakes nobody.

        For the host's own code, not for requests; ids are the host's. False if nothing is known of it here.
        """
        found = self._copy(channel_id, message_id)
        text = checks.content(content, self._parts.settings.max_message_length)
        return found is not None and self._parts.messages.edit(self._writing(), found.id, text, self._now())

    def host_deleted(self, channel_id: str, message_id: str) -> bool:
        """A message of the host's own chat is gone: so is its copy, and what waits for an answer to it is cancelled.

        For the host's own code, not for requests; ids are the host's. False if nothing is known of it here.
        """
        found = self._copy(channel_id, message_id)
        if found is None:
            return False
        tx = self._writing()
        gone = self._parts.messages.delete(tx, found.id, self._now())
        if gone:
            self._cancel_work(tx, found)
        return bool(gone)

    def _copy(self, channel_id: str, message_id: str) -> Stored | None:
        tx, external = self._reading(), self._parts.external
        ours = None if external is None else external.find(tx, channel_id, message_id)
        return None if ours is None else self._parts.messages.get(tx, ours)

    def react(self, actor: str, message_id: str, emoji: str) -> dict[str, Any]:
        """Put an emoji on a message; harmless twice."""
        emoji = checks.emoji(emoji)
        found, room = self._message(self._reading(), actor, message_id)
        if found.deleted:
            raise Conflict("This message has been deleted.")
        tx = self._writing()
        if self._parts.messages.other_emoji(tx, found.id, emoji) >= MOST_EMOJI:
            raise Conflict(f"A message can have {MOST_EMOJI} different emoji at most.")
        changed = self._parts.messages.react(tx, found.id, actor, emoji, self._now())
        return self._tell_reactions(tx, found, room, changed=changed)

    def unreact(self, actor: str, message_id: str, emoji: str) -> dict[str, Any]:
        """Take one's own emoji from a message; harmless twice."""
        emoji = checks.emoji(emoji)
        found, room = self._message(self._reading(), actor, message_id)
        tx = self._writing()
        changed = self._parts.messages.unreact(tx, found.id, actor, emoji)
        return self._tell_reactions(tx, found, room, changed=changed)

    def messages(
        self,
        actor: str,
        channel_id: str,
        *,
        thread_id: str | None = None,
        before: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> tuple[list[dict[str, Any]], str | None]:
        """The newest messages of a main line, or of a thread with its root, oldest first, at most 200.

        The second value is what to give as `before` for the page of older ones, or None. With `after` they are the
        first that follow that message, and the second value is the next `after`. Deleted messages are there without
        their content.
        """
        before, after, limit = checks.cursor(before), checks.cursor(after), checks.page_size(limit)
        if before and after:
            raise Invalid("Take before or after, not both.")
        tx = self._reading()
        room = self._room(tx, actor, channel_id)
        root = None if thread_id is None else self._root_of(self._find(tx, room, thread_id, "thread"))
        return self._parts.messages.page(tx, room.id, root, before=before, after=after, limit=limit)

    def message(self, actor: str, message_id: str) -> dict[str, Any]:
        """One message of a channel the actor is in, with `work`: what becomes of it at those whom it woke."""
        tx = self._reading()
        shown = self._parts.messages.view(tx, self._message(tx, actor, message_id)[0].id)
        return {**shown, "work": [one.payload() for one in self._parts.turns.queue.of_message(tx, shown["id"])]}

    def _find(self, tx: Any, room: Room, message_id: object, what: str) -> Stored:
        found = self._parts.messages.get(tx, checks.row_id(message_id, f"{what} in this channel"))
        if found is None or found.channel_id != room.id:
            raise NotFound(f"There is no such {what} in this channel.")
        return found

    def _within(self, tx: Any, room: Room, message_id: object, what: str) -> Stored:
        found = self._find(tx, room, message_id, what)
        if found.deleted:
            raise Conflict(f"This {what} has been deleted.")
        return found

    def _root_of(self, message: Stored) -> str:
        return message.thread_id or message.id

    def _thread(self, tx: Any, room: Room, message_id: object, what: str) -> Stored:
        found = self._find(tx, room, message_id, what)
        return self._within(tx, room, self._root_of(found), what)

    def _heard(self, shown: dict[str, Any], room: Room, text: str, reply_to_author_id: str | None) -> Heard:
        author = shown["author"]
        return Heard(
            message_id=shown["id"],
            channel_id=room.id,
            thread_id=shown["threadId"],
            content=text,
            author_id=author["id"],
            author_is_orchestrator=author["isOrchestrator"],
            is_dm=room.is_dm,
            reply_to_author_id=reply_to_author_id,
        )

    def _addressee(self, tx: Any, room: Room, replied: Stored | None) -> str | None:
        # in a channel a reply to a person wakes nobody: saying so here saves the look at all members
        author = None if replied is None else replied.author_id
        if author is None or room.is_dm:
            return author
        return author if self._parts.people.orchestrator_id(tx, author) is not None else None

    def _tell_root(self, tx: Any, shown: dict[str, Any]) -> None:
        root = shown["threadId"]
        if root is not None:
            payload = {"message": self._parts.messages.view(tx, root)}
            self._tell("message:updated", shown["channelId"], payload)

    def _tell_reactions(self, tx: Any, found: Stored, room: Room, *, changed: bool) -> dict[str, Any]:
        shown = self._parts.messages.view(tx, found.id)
        if changed:
            payload = {"messageId": found.id, "channelId": room.id, "reactions": shown["reactions"]}
            self._tell("reaction", room.id, payload)
        return shown

    def _cancel_work(self, tx: Any, deleted: Stored) -> None:
        questions = [deleted.id]
        if deleted.thread_id is None:
            questions += self._parts.messages.open_questions(tx, deleted.id)
        done = self._parts.turns.question_deleted(tx, questions)
        self._after_end(done.ended, done.asked, StopReason.DELETED)
        for reply in done.replies:
            self._tell("message:deleted", deleted.channel_id, {"messageId": reply, "channelId": deleted.channel_id})
        # an answer that is taken away while it is written ends as if stopped: its question is still there
        worked_on = deleted.state != "final" or self._parts.turns.regenerations.is_open(tx, deleted.id)
        for target in self._parts.turns.targets(tx, deleted.id) if worked_on else ():
            result = self._parts.turns.stop(tx, target, StopReason.PERSON)
            running = [result.turn_id] if result.found is Stopped.RUNNING and result.turn_id else []
            self._after_end(result.ended, running, StopReason.PERSON)
